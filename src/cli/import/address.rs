//! What is imported from a server: `https://HOST/artifactory/REPO/PATH`.

use std::str::FromStr;

use artimesh_core::model::{ArtifactPath, RepoKey};

use crate::cli::location::Folder;

/// A repository of a server, or a folder there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// What stands before `/artifactory`.
    pub(in crate::cli) base: String,
    pub(in crate::cli) folder: Folder,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        let wanted = "write https://HOST[:PORT]/artifactory/REPO[/PATH], or http://…";
        let server = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let server = server.filter(|text| !text.contains(['?', '#', '@']));
        // A host may be called so, too.
        let Some((_, place)) = server.and_then(|server| server.split_once("/artifactory/")) else {
            return Err(wanted.into());
        };
        let base = &text[..text.len() - place.len() - "/artifactory/".len()];
        let uri: hyper::Uri = base.parse().map_err(|_| wanted)?;
        if uri.host().is_none_or(str::is_empty) {
            return Err(wanted.into());
        }
        let place = place.trim_end_matches('/');
        let (repo, prefix) = place.split_once('/').map_or((place, None), |(repo, prefix)| (repo, Some(prefix)));
        let prefix = prefix.map(ArtifactPath::from_target).transpose().map_err(|error| error.to_string())?;
        let repo = repo.parse::<RepoKey>().map_err(|error| error.to_string())?;
        Ok(Address { base: base.to_owned(), folder: Folder { repo, prefix, is_folder: true } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_server_a_repository_and_perhaps_a_folder() {
        let address: Address = "http://old.example:8081/artifactory/libs-release/a%20b/c/".parse().unwrap();
        assert_eq!(
            (address.base.as_str(), address.folder.target().as_str()),
            ("http://old.example:8081", "libs-release/a%20b/c")
        );
        let behind: Address = "http://proxy/x/artifactory/libs".parse().unwrap();
        assert_eq!((behind.base.as_str(), behind.folder.prefix), ("http://proxy/x", None));
        let container: Address = "http://artifactory/artifactory/libs".parse().unwrap();
        assert_eq!((container.base.as_str(), container.folder.repo.as_str()), ("http://artifactory", "libs"));
        for bad in [
            "old.example/artifactory/libs",
            "http://old.example/libs",
            "http://old.example/artifactory/",
            "http:///artifactory/libs",
            "http://user:secret@old.example/artifactory/libs",
            "http://old.example/artifactory/libs/../x",
            "http://old.example/artifactory/libs?x",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad} was taken");
        }
        assert_eq!("https://a:1/artifactory/b".parse::<Address>().unwrap().base, "https://a:1");
    }
}
