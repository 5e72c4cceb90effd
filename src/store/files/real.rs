//! The machine's own file system.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use rustix::fs::FallocateFlags;
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use super::{File, FileSystem, Listed, SyncPoint};
use crate::store::mapping::Mapping;

/// The machine's own file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFiles;

struct RealFile {
    file: Arc<fs::File>,
    /// Of the file as long as it was when a range was last asked for that the mapping before didn't have.
    mapping: Mutex<Option<Arc<Mapping>>>,
}

impl RealFile {
    fn shared(file: fs::File) -> Arc<RealFile> {
        Arc::new(RealFile { file: Arc::new(file), mapping: Mutex::default() })
    }
}

impl FileSystem for RealFiles {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            other => other,
        }
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = fs::OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(RealFile::shared(file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = fs::OpenOptions::new().read(true).write(true).open(path)?;
        Ok(RealFile::shared(file))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Listed>> {
        let mut listed = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            let bytes = if metadata.is_file() { metadata.len() } else { 0 };
            if let Ok(name) = entry.file_name().into_string() {
                listed.push(Listed { name, bytes });
            }
        }
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listed)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn sync_folder(&self, folder: &Path, _point: SyncPoint) -> io::Result<()> {
        fs::File::open(folder)?.sync_all()
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(folder)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

impl File for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn read_resident(&self, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
        let wanted = buffer.len();
        match preadv2(&self.file, &mut [io::IoSliceMut::new(buffer)], offset, ReadWriteFlags::NOWAIT) {
            Ok(read) => Ok(read == wanted),
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn map(&self, offset: u64, bytes: usize) -> Option<Bytes> {
        let range = offset..offset.checked_add(bytes as u64)?;
        let mut mapping = self.mapping.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slice) = mapping.as_ref().and_then(|mapping| mapping.slice(range.clone())) {
            return Some(slice);
        }
        let renewed = Arc::new(Mapping::new(&self.file).ok()?);
        let slice = renewed.slice(range)?;
        *mapping = Some(renewed);
        Some(slice)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_size(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn allocate(&self, offset: u64, bytes: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, offset, bytes) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            other => Ok(other?),
        }
    }

    fn sync(&self, _point: SyncPoint) -> io::Result<()> {
        self.file.sync_data()
    }

    fn forget_cached(&self) {
        // It is advice.
        let _ = rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed);
    }

    fn sync_early(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
