//! Release bundles: an immutable, signed, named and versioned list of artifacts.
//!
//! So far: the manifest and its signature. Distribution comes with the Trust entries that will carry it.

use serde::{Deserialize, Serialize};

use crate::model::codec;
use crate::model::{ArtifactPath, BadSignature, CircleId, Digest, KeyPair, PublicKey, Signature, Use};

/// What a bundle is made of. Items are sorted by path, no path twice, at most 10,000 and 1 MiB of paths.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Manifest {
    name: String,
    version: String,
    items: Vec<(ArtifactPath, Digest)>,
}

/// The list can't be a bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadManifest {
    /// A name or version that is empty, over 128 bytes, or holds a slash.
    #[error("'{0}' can't be a bundle's name or version")]
    Name(String),
    /// One path twice.
    #[error("the path '{0}' is in the bundle twice")]
    Twice(ArtifactPath),
    /// Nothing in it, or too much.
    #[error("a bundle has 1 to 10000 items and at most 1 MiB of paths, not {0} items")]
    Count(usize),
}

impl Manifest {
    /// Checks and sorts.
    pub fn new(name: &str, version: &str, mut items: Vec<(ArtifactPath, Digest)>) -> Result<Manifest, BadManifest> {
        for text in [name, version] {
            if text.is_empty() || text.len() > 128 || text.contains('/') || text.chars().any(char::is_control) {
                return Err(BadManifest::Name(text.chars().take(80).collect()));
            }
        }
        let path_bytes: usize = items.iter().map(|(path, _)| path.as_str().len()).sum();
        if items.is_empty() || items.len() > 10_000 || path_bytes > 1024 * 1024 {
            return Err(BadManifest::Count(items.len()));
        }
        items.sort();
        if let Some(pair) = items.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(BadManifest::Twice(pair[0].0.clone()));
        }
        Ok(Manifest { name: name.to_owned(), version: version.to_owned(), items })
    }

    /// Path and digest of each item, by path.
    pub fn items(&self) -> &[(ArtifactPath, Digest)] {
        &self.items
    }

    /// Signs the manifest's bytes.
    pub fn sign(&self, key: &KeyPair, circle: &CircleId) -> Signature {
        key.sign(Use::Bundle, circle, &self.to_bytes())
    }

    /// Checks a signature over the manifest's bytes.
    pub fn verify(&self, key: &PublicKey, circle: &CircleId, signature: &Signature) -> Result<(), BadSignature> {
        key.verify(Use::Bundle, circle, &self.to_bytes(), signature)
    }

    fn to_bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_in_which_items_were_named_does_not_matter() {
        let item = |path: &str| (path.parse().expect("a path"), Digest::of(path.as_bytes()));
        let one = Manifest::new("app", "1.0", vec![item("b"), item("a")]).expect("fine");
        let two = Manifest::new("app", "1.0", vec![item("a"), item("b")]).expect("fine");
        let (key, circle) = (KeyPair::from_secret(&[1; 32]), CircleId([2; 32]));
        assert_eq!(two.verify(&key.public(), &circle, &one.sign(&key, &circle)), Ok(()));
        assert!(Manifest::new("app", "1.0", vec![item("a"), item("a")]).is_err());
    }
}
