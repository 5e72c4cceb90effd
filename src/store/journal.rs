//! A text file beside the packs, line by line, that never grows beyond a bound.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::files::{File, FileSystem};
use super::handle::Store;

/// A file that has grown to this is set aside, in the place of the one before; so there are at most twice as many bytes.
const BYTES_MAX: u64 = 16 << 20;

/// A journal, open for appending. Who appends is the caller's to see to: one at a time.
pub struct Journal {
    files: Arc<dyn FileSystem>,
    path: PathBuf,
    file: Arc<dyn File>,
    end: u64,
}

impl Store {
    /// The journal `name` in the store's folder. Blocks.
    pub fn journal(&self, name: &str) -> io::Result<Journal> {
        let (files, path) = (self.shared().files.clone(), self.shared().folder.join(name));
        let file = match files.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => files.create(&path)?,
            other => other?,
        };
        let end = file.size()?;
        Ok(Journal { files, path, file, end })
    }
}

impl Journal {
    /// Appends whole lines, each with its end. Not synced: a power failure may take the last ones. Blocks.
    pub fn append(&mut self, lines: &str) -> io::Result<()> {
        if self.end + lines.len() as u64 > BYTES_MAX && self.end > 0 {
            let mut before = self.path.clone().into_os_string();
            before.push(".1");
            self.files.rename(&self.path, &PathBuf::from(before))?;
            self.file = self.files.create(&self.path)?;
            self.end = 0;
        }
        self.file.write_at(lines.as_bytes(), self.end)?;
        self.end += lines.len() as u64;
        Ok(())
    }
}
