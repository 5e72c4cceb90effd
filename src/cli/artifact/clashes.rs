//! Files that would be one where case makes no difference.

use std::collections::HashSet;

/// Paths that are the same but for their case, by short digests: a million of them have to be held.
#[derive(Default)]
pub(super) struct Clashes {
    files: HashSet<u128>,
    /// As they are, and whatever their case.
    folders: HashSet<(u128, u128)>,
    folded_folders: HashSet<u128>,
    twice: HashSet<u128>,
}

fn digest(text: &str) -> u128 {
    let hash = blake3::hash(text.as_bytes());
    u128::from_le_bytes(hash.as_bytes()[..16].try_into().expect("a hash has 32 bytes"))
}

impl Clashes {
    /// One more path.
    pub(super) fn note(&mut self, path: &str) {
        let folded = path.to_lowercase();
        if !self.files.insert(digest(&folded)) {
            self.twice.insert(digest(&folded));
        }
        for (end, _) in path.match_indices('/') {
            let (folder, folded) = (digest(&path[..end]), digest(&path[..end].to_lowercase()));
            if self.folders.insert((folder, folded)) {
                self.folded_folders.insert(folded);
            }
        }
    }

    /// Whether a file would be where another is, or where a folder has to be.
    pub(super) fn has(&self, path: &str) -> bool {
        let folded = digest(&path.to_lowercase());
        self.twice.contains(&folded) || self.folded_folders.contains(&folded)
    }
}
