//! A text file beside the packs, line by line, that never grows beyond a bound.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use super::files::File;
use super::handle::Store;
use super::shared::Shared;

/// A file that has grown to this is set aside, in the place of the one before; so there are at most twice as many bytes.
const BYTES_MAX: u64 = 16 << 20;

/// A journal, for appending. Several at once may be of the same file: each appends behind what the others wrote.
pub struct Journal {
    shared: Arc<Shared>,
    path: PathBuf,
}

impl Store {
    /// The journal `name` in the store's folder. Blocks.
    pub fn journal(&self, name: &str) -> io::Result<Journal> {
        let shared = self.shared().clone();
        let path = shared.folder.join(name);
        let journal = Journal { shared, path };
        journal.open()?;
        Ok(journal)
    }
}

impl Journal {
    fn open(&self) -> io::Result<Arc<dyn File>> {
        match self.shared.files.open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.shared.files.create(&self.path),
            other => other,
        }
    }

    /// Appends whole lines, each with its end. Not synced: a power failure may take the last ones. Blocks.
    pub fn append(&mut self, lines: &str) -> io::Result<()> {
        let _turn = self.shared.journalling.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = self.open()?;
        let mut end = file.size()?;
        if end + lines.len() as u64 > BYTES_MAX && end > 0 {
            let mut before = self.path.clone().into_os_string();
            before.push(".1");
            self.shared.files.rename(&self.path, &PathBuf::from(before))?;
            file = self.open()?;
            end = 0;
        }
        file.write_at(lines.as_bytes(), end)
    }
}

#[cfg(test)]
mod tests {
    use crate::store::{Options, RealFiles, Store};

    #[test]
    fn who_appends_at_the_same_time_loses_nobodys_lines() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) =
            Store::open(folder.path(), Options::default(), std::sync::Arc::new(RealFiles), [1; 16]).unwrap();
        let (mut one, mut other) = (store.journal("log").unwrap(), store.journal("log").unwrap());
        one.append("1\n").unwrap();
        other.append("2\n").unwrap();
        one.append("3\n").unwrap();
        assert_eq!(std::fs::read_to_string(folder.path().join("log")).unwrap(), "1\n2\n3\n");
    }
}
