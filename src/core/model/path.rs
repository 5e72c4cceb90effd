//! Names of repositories and of artifacts in them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A repository's key: 1–64 of `A–Z a–z 0–9 . _ -`, not starting with a dot; unique regardless of case on a node.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepoKey(String);

/// The text can't be a repository's key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not a repository key: use 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-', not starting with '.'; 'api' is taken"
)]
pub struct BadRepoKey(pub String);

impl RepoKey {
    /// The key as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form under which two keys of one node may not be equal.
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl FromStr for RepoKey {
    type Err = BadRepoKey;

    fn from_str(text: &str) -> Result<Self, BadRepoKey> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let fits = (1..=64).contains(&text.len()) && text.bytes().all(allowed);
        if fits && !text.starts_with('.') && !text.eq_ignore_ascii_case("api") {
            Ok(RepoKey(text.to_owned()))
        } else {
            Err(BadRepoKey(text.chars().take(80).collect()))
        }
    }
}

/// A path in a repository: `a/b/c.jar`, UTF-8, without a leading slash, never empty. With a slash at its end, `a/b/`, it
/// stands for the folder itself, which is there even when nothing is in it: such paths are made by
/// [`ArtifactPath::as_folder`] or read from what nodes write, never by parsing what a user typed.
///
/// Invariant: 1–1024 bytes, the last slash apart; each segment has 1–255 bytes, isn't `.` or `..`, and holds no control character and no backslash.
/// Paths are compared byte by byte, as they were written: no case folding, no Unicode normalisation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ArtifactPath(String);

/// The text can't be a path; says which rule it breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// Nothing at all.
    #[error("the path is empty")]
    Empty,
    /// Over 1,024 bytes in all, or 255 in one segment.
    #[error("the path is too long: at most 1024 bytes, and 255 in one segment")]
    TooLong,
    /// `//`, or a slash at an end.
    #[error("the path '{0}' has an empty segment")]
    EmptySegment(String),
    /// `.` or `..`.
    #[error("the path '{0}' has a '.' or '..' segment")]
    Relative(String),
    /// A control character or a backslash.
    #[error("the path '{0}' has a control character or a backslash")]
    Control(String),
    /// Percent signs that don't decode, or to bytes that aren't UTF-8.
    #[error("the path '{0}' is not percent-encoded UTF-8")]
    NotText(String),
    /// `%2f` or `%5c`: a separator in disguise.
    #[error("the path '{0}' has an encoded slash or backslash")]
    EncodedSlash(String),
}

impl ArtifactPath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last segment.
    pub fn name(&self) -> &str {
        let path = self.0.strip_suffix('/').unwrap_or(&self.0);
        path.rsplit('/').next().unwrap_or(path)
    }

    /// Whether it stands for a folder.
    pub fn is_folder(&self) -> bool {
        self.0.ends_with('/')
    }

    /// The path that stands for the folder of this name.
    #[must_use]
    pub fn as_folder(&self) -> ArtifactPath {
        if self.is_folder() { self.clone() } else { ArtifactPath(format!("{}/", self.0)) }
    }

    /// The path of a request target, percent-decoded exactly once. `target` has no leading slash and no query.
    pub fn from_target(target: &str) -> Result<ArtifactPath, BadPath> {
        let shown = || target.chars().take(120).collect::<String>();
        let lower = target.to_ascii_lowercase();
        if lower.contains("%2f") || lower.contains("%5c") {
            return Err(BadPath::EncodedSlash(shown()));
        }
        let bytes = percent_decoded(target).ok_or_else(|| BadPath::NotText(shown()))?;
        String::from_utf8(bytes).map_err(|_| BadPath::NotText(shown()))?.parse()
    }
}

fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            out.push(data_encoding::HEXLOWER_PERMISSIVE.decode(&digits).ok()?[0]);
        } else {
            out.push(byte);
        }
    }
    Some(out)
}

impl FromStr for ArtifactPath {
    type Err = BadPath;

    fn from_str(text: &str) -> Result<Self, BadPath> {
        let shown = || text.chars().take(120).flat_map(char::escape_default).collect::<String>();
        if text.is_empty() {
            return Err(BadPath::Empty);
        }
        if text.len() > 1024 || text.split('/').any(|segment| segment.len() > 255) {
            return Err(BadPath::TooLong);
        }
        if text.split('/').any(str::is_empty) {
            return Err(BadPath::EmptySegment(shown()));
        }
        if text.split('/').any(|segment| segment == "." || segment == "..") {
            return Err(BadPath::Relative(shown()));
        }
        if text.chars().any(|c| c.is_control() || c == '\\') {
            return Err(BadPath::Control(shown()));
        }
        Ok(ArtifactPath(text.to_owned()))
    }
}

impl TryFrom<String> for RepoKey {
    type Error = BadRepoKey;

    fn try_from(text: String) -> Result<Self, BadRepoKey> {
        text.parse()
    }
}

impl TryFrom<String> for ArtifactPath {
    type Error = BadPath;

    /// As nodes write it: it may stand for a folder.
    fn try_from(text: String) -> Result<Self, BadPath> {
        match text.strip_suffix('/') {
            Some(folder) => Ok(folder.parse::<ArtifactPath>()?.as_folder()),
            None => text.parse(),
        }
    }
}

macro_rules! text_conversions {
    ($name:ident) => {
        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_conversions!(RepoKey);
text_conversions!(ArtifactPath);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_decoded_once() {
        let path = ArtifactPath::from_target("a%20b/%2541").expect("a fine path");
        assert_eq!(path.as_str(), "a b/%41");
    }

    #[test]
    fn what_could_climb_or_hide_is_refused() {
        let bad = [
            "", "/", "a//b", "a/", "/a", ".", "..", "a/./b", "a/../b", "%2e%2e/x", "a%2Fb", "a%5cb", "a\\b", "a%00b",
            "a%0ab", "a%7f", "%", "%4", "%zz", "%ff",
        ];
        for target in bad {
            assert!(ArtifactPath::from_target(target).is_err(), "{target} was taken");
        }
    }

    #[test]
    fn a_folders_path_is_only_read_from_what_nodes_write() {
        let file: ArtifactPath = "a/b".parse().expect("a fine path");
        let folder = file.as_folder();
        assert_eq!((folder.as_str(), folder.name(), folder.is_folder()), ("a/b/", "b", true));
        assert_eq!((folder.as_folder(), file.is_folder()), (folder.clone(), false));
        assert_eq!(ArtifactPath::try_from("a/b/".to_owned()), Ok(folder));
        for bad in ["/", "a//", "a/../", "/a/", ""] {
            assert!(ArtifactPath::try_from(bad.to_owned()).is_err(), "{bad} was taken");
        }
    }

    #[test]
    fn keys_are_plain() {
        for good in ["libs-release", "A.b_c-9"] {
            assert!(good.parse::<RepoKey>().is_ok());
        }
        for bad in ["", ".x", "a/b", "a b", "api", "API", "ä"] {
            assert!(bad.parse::<RepoKey>().is_err(), "{bad} was taken");
        }
    }
}
