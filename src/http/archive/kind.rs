//! The kinds of archives.

use crate::http::error::HttpError;

/// What `archiveType` names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `zip`
    Zip,
    /// `tar`
    Tar,
    /// `tar.gz`, and `tgz`
    TarGz,
}

/// Whether the sums of files stand beside them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sums {
    /// Each file has its `.md5`, `.sha1` and `.sha256`.
    Beside,
    /// Files only.
    Left,
}

impl Kind {
    /// The words that are known.
    pub const WORDS: [&str; 4] = ["zip", "tar", "tar.gz", "tgz"];

    /// Of the parameter's value.
    pub fn parse(word: Option<&str>) -> Result<Kind, HttpError> {
        match word {
            Some("zip") => Ok(Kind::Zip),
            Some("tar") => Ok(Kind::Tar),
            Some("tar.gz" | "tgz") => Ok(Kind::TarGz),
            _ => Err(HttpError::Query { name: "archiveType", reason: "say zip, tar, tar.gz or tgz" }),
        }
    }

    /// Of the whole archive.
    pub fn media_type(self) -> &'static str {
        match self {
            Kind::Zip => "application/zip",
            Kind::Tar => "application/x-tar",
            Kind::TarGz => "application/gzip",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_a_kind_and_others_are_told_which_there_are() {
        let kinds = Kind::WORDS.map(|word| Kind::parse(Some(word)).expect("a kind"));
        assert_eq!(kinds, [Kind::Zip, Kind::Tar, Kind::TarGz, Kind::TarGz]);
        for word in [None, Some(""), Some("ZIP"), Some("rar"), Some("gz")] {
            let told = Kind::parse(word).expect_err("none").to_string();
            assert!(Kind::WORDS.iter().all(|known| told.contains(known)), "{told}");
        }
    }
}
