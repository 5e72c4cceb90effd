//! `REPO/PATH` as an operator types it.

use std::fmt;
use std::str::FromStr;

use artimesh_core::model::{ArtifactPath, BadPath, BadRepoKey, RepoKey};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stays as it is in a request target. A semicolon doesn't: it would begin a matrix parameter.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// An artifact in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// Which repository.
    pub repo: RepoKey,
    /// Which artifact.
    pub path: ArtifactPath,
}

/// A repository, or what is below a path of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Which repository.
    pub repo: RepoKey,
    /// Below what; `None`: all.
    pub prefix: Option<ArtifactPath>,
    /// Whether it was typed with a slash at its end: then it is no file.
    pub is_folder: bool,
}

/// The text isn't a place in a repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLocation {
    /// The part before the first slash.
    #[error(transparent)]
    Repo(#[from] BadRepoKey),
    /// The part behind it.
    #[error(transparent)]
    Path(#[from] BadPath),
    /// There is no part behind it.
    #[error("'{0}' names a repository and no artifact: write REPO/PATH")]
    NoPath(String),
    /// A backslash that isn't before a wildcard.
    #[error("'{0}' has a backslash that stands for nothing: write \\* or \\? for these characters themselves")]
    Backslash(String),
}

impl Location {
    /// `REPO/PATH`, percent-encoded for a request target.
    pub fn target(&self) -> String {
        format!("{}/{}", self.repo, utf8_percent_encode(self.path.as_str(), ENCODED))
    }
}

/// The same where a folder that was made as one is meant too: `REPO/PATH/`.
pub fn file_or_folder(text: &str) -> Result<Location, BadLocation> {
    match text.strip_suffix('/') {
        Some(folder) => {
            let Location { repo, path } = folder.parse()?;
            Ok(Location { repo, path: path.as_folder() })
        }
        None => text.parse(),
    }
}

impl FromStr for Location {
    type Err = BadLocation;

    fn from_str(text: &str) -> Result<Self, BadLocation> {
        let (repo, path) = text.split_once('/').ok_or_else(|| BadLocation::NoPath(text.chars().take(80).collect()))?;
        Ok(Location { repo: repo.parse()?, path: path.parse()? })
    }
}

impl Folder {
    /// The same with a slash at its end if it can be no file.
    pub fn slashed_target(&self) -> String {
        self.target() + if self.is_folder { "/" } else { "" }
    }

    /// `REPO` or `REPO/PREFIX`, percent-encoded for a request target.
    pub fn target(&self) -> String {
        match &self.prefix {
            Some(prefix) => format!("{}/{}", self.repo, utf8_percent_encode(prefix.as_str(), ENCODED)),
            None => self.repo.to_string(),
        }
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = self.prefix.as_ref().map(|prefix| format!("/{prefix}")).unwrap_or_default();
        write!(f, "{}{prefix}", self.repo)
    }
}

impl FromStr for Folder {
    type Err = BadLocation;

    fn from_str(text: &str) -> Result<Self, BadLocation> {
        let (text, is_folder) = text.strip_suffix('/').map_or((text, false), |text| (text, true));
        let (repo, prefix) = text.split_once('/').map_or((text, None), |(repo, prefix)| (repo, Some(prefix)));
        let prefix = prefix.map(str::parse).transpose()?;
        Ok(Folder { repo: repo.parse()?, is_folder: is_folder || prefix.is_none(), prefix })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_becomes_a_target_that_decodes_to_itself() {
        let location: Location = "libs/a b/ü;x=1/%41?#".parse().unwrap();
        let target = location.target();
        assert_eq!(target, "libs/a%20b/%C3%BC%3Bx%3D1/%2541%3F%23");
        let path = target.strip_prefix("libs/").unwrap();
        assert_eq!(ArtifactPath::from_target(path).unwrap(), location.path);
    }

    #[test]
    fn a_repository_alone_is_a_folder_and_no_artifact() {
        assert!(matches!("libs".parse::<Location>(), Err(BadLocation::NoPath(_))));
        assert!(matches!("libs/".parse::<Location>(), Err(BadLocation::Path(BadPath::Empty))));
        assert_eq!("libs/".parse::<Folder>().unwrap().target(), "libs");
        let folder = "libs/a/".parse::<Folder>().unwrap();
        assert_eq!((folder.target(), folder.slashed_target()), ("libs/a".into(), "libs/a/".into()));
        let slashed = |text: &str| text.parse::<Folder>().unwrap().slashed_target();
        assert_eq!((slashed("libs"), slashed("libs/a")), ("libs/".into(), "libs/a".into()));
        assert!("../x".parse::<Location>().is_err());
    }
}
