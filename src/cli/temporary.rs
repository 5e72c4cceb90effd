//! A file that isn't there until it is whole.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// A name beside a file's own, for while it grows. Goes when it is dropped, unless the file got its real name before.
pub(super) struct Temporary {
    path: PathBuf,
    folder: PathBuf,
}

impl Temporary {
    /// For the file that will be at `path`. Nothing is made yet.
    ///
    /// # Errors
    /// The path has no name, or the system no randomness.
    pub(super) fn beside(path: &Path) -> anyhow::Result<Temporary> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = path.file_name().with_context(|| format!("{} is not a file's name", path.display()))?;
        let mut random = [0; 6];
        getrandom::fill(&mut random).map_err(std::io::Error::other)?;
        let mut temporary = OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}.part", data_encoding::HEXLOWER.encode(&random)));
        Ok(Temporary { path: folder.join(temporary), folder: folder.to_owned() })
    }

    /// Where it grows.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its real name, durably. It has been synced before.
    pub(super) fn settle(&self, path: &Path) -> anyhow::Result<()> {
        std::fs::rename(&self.path, path).with_context(|| path.display().to_string())?;
        std::fs::File::open(&self.folder)
            .and_then(|folder| folder.sync_all())
            .with_context(|| path.display().to_string())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Dropping can't fail; a file that stays behind is visibly partial.
        let _ = std::fs::remove_file(&self.path);
    }
}
