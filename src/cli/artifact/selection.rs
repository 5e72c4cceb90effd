//! What a command is about: one place in a repository, or all files that match a pattern.

use std::fmt;
use std::str::FromStr;

use super::glob::{self, covers};
use crate::cli::location::{BadLocation, Folder};

/// What is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// A file, a folder, or a repository.
    Place(Folder),
    /// Files.
    Matching(Pattern),
}

/// All files in a folder whose paths there match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    /// What all of them are in.
    pub(super) folder: Folder,
    rest: String,
}

impl Pattern {
    /// Whether a file is meant, by its path in the folder.
    pub(super) fn covers(&self, path: &str) -> bool {
        covers(&self.rest, path)
    }
}

impl FromStr for Selection {
    type Err = BadLocation;

    fn from_str(text: &str) -> Result<Selection, BadLocation> {
        if !glob::is_escaped_well(text) {
            return Err(BadLocation::Backslash(text.to_owned()));
        }
        match text.split_once('/') {
            Some((repo, pattern)) if glob::is_pattern(pattern) => {
                let folder = glob::folder(pattern);
                let rest = pattern[folder.len()..].trim_start_matches('/').to_owned();
                let folder = format!("{repo}/{}", glob::literal(folder)).trim_end_matches('/').parse()?;
                Ok(Selection::Matching(Pattern { folder, rest }))
            }
            _ => glob::literal(text).parse().map(Selection::Place),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.folder, self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_make_a_place_a_pattern() {
        for (text, folder, rest) in
            [("libs/*.jar", "libs", "*.jar"), ("libs/a/b?/**", "libs/a", "b?/**"), ("libs/**/x", "libs", "**/x")]
        {
            let Ok(Selection::Matching(pattern)) = text.parse() else { panic!("{text} is no pattern") };
            assert_eq!((pattern.folder.to_string().as_str(), pattern.rest.as_str()), (folder, rest));
            assert_eq!(pattern.to_string(), text);
        }
        for text in ["libs", "libs/", "libs/a/b", "libs/a/"] {
            assert_eq!(text.parse(), Ok(Selection::Place(text.parse().unwrap())));
        }
        assert_eq!(r"libs/a\?".parse(), Ok(Selection::Place("libs/a?".parse().unwrap())));
        let Ok(Selection::Matching(pattern)) = r"libs/a\*/x?".parse() else { panic!("no pattern") };
        assert_eq!((pattern.folder.to_string().as_str(), pattern.rest.as_str()), ("libs/a*", "x?"));
        for bad in ["", "/x", "/*", "l*bs/x", "libs/../*", r"libs/a*\"] {
            assert!(bad.parse::<Selection>().is_err(), "{bad} was taken");
        }
    }
}
