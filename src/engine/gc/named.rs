//! What was named while a collection ran, and is therefore no garbage whatever the collection thinks.

use std::collections::HashSet;

use artimesh_core::model::Digest;

use super::names::prefix;
use super::roots::{self, Roots};
use crate::store::RowWrite;

/// So many digests are noted at most, in about 40 MiB; if more are named, nothing is removed any more.
const NOTED_MAX: usize = 2 << 20;

/// The digests that were named since a collection began.
pub struct Named {
    roots: Vec<Box<dyn Roots>>,
    prefixes: HashSet<u64>,
    is_all: bool,
}

impl Named {
    /// Since now.
    pub fn new() -> Named {
        Named { roots: roots::all(), prefixes: HashSet::new(), is_all: false }
    }

    /// Notes what a row names that is about to be written. One that can't be read may name anything.
    pub fn note(&mut self, row: &RowWrite) {
        for named in self.roots.iter().filter_map(|roots| roots.named_by(row)) {
            match named {
                Ok(digests) if self.prefixes.len() < NOTED_MAX => self.prefixes.extend(digests.iter().map(prefix)),
                Ok(_) | Err(_) => self.is_all = true,
            }
        }
    }

    /// Whether it was named.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.is_all || self.prefixes.contains(&prefix(digest))
    }
}
