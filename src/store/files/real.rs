//! The machine's own file system.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use rustix::fs::{FallocateFlags, OFlags};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use super::{File, FileSystem, Listed, PAGE_BYTES, SyncPoint};
use crate::store::mapping::Mapping;

/// The machine's own file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFiles;

struct RealFile {
    file: Arc<fs::File>,
    /// Of the file as long as it was when a range was last asked for that the mapping before didn't have.
    mapping: Mutex<Option<Arc<Mapping>>>,
    /// The same file, opened to write past the cache; `None` where that isn't supported.
    direct: OnceLock<Option<fs::File>>,
}

impl RealFile {
    fn shared(file: fs::File) -> Arc<RealFile> {
        Arc::new(RealFile { file: Arc::new(file), mapping: Mutex::default(), direct: OnceLock::new() })
    }

    fn direct(&self) -> Option<&fs::File> {
        let open = || {
            let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            fs::OpenOptions::new().write(true).custom_flags(OFlags::DIRECT.bits().cast_signed()).open(path).ok()
        };
        self.direct.get_or_init(open).as_ref()
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

    fn write_past_cache(&self, bytes: &[u8], offset: u64) -> io::Result<bool> {
        let is_aligned = bytes.as_ptr().align_offset(PAGE_BYTES) == 0
            && bytes.len().is_multiple_of(PAGE_BYTES)
            && offset.is_multiple_of(PAGE_BYTES as u64);
        if let Some(direct) = is_aligned.then(|| self.direct()).flatten() {
            match direct.write_all_at(bytes, offset) {
                // The device wants more than that.
                Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {}
                other => return other.map(|()| true),
            }
        }
        self.write_at(bytes, offset).map(|()| false)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_past_the_cache_is_read_back_wherever_it_came_from() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let file = RealFiles.create(&path).unwrap();
        let memory: Vec<u8> = (0..12 * PAGE_BYTES).map(|at| (at / 7) as u8).collect();
        let aligned = memory.as_ptr().align_offset(PAGE_BYTES);
        let pieces = [
            (aligned, 4 * PAGE_BYTES, PAGE_BYTES as u64),
            (aligned + 1, 4 * PAGE_BYTES, 8 * PAGE_BYTES as u64),
            (aligned, PAGE_BYTES + 100, 12 * PAGE_BYTES as u64),
            (aligned, PAGE_BYTES, 20 * PAGE_BYTES as u64 + 9),
            (aligned, 0, 0),
        ];
        for (start, bytes, offset) in pieces {
            let piece = &memory[start..start + bytes];
            let is_aligned = start == aligned && (bytes as u64 | offset).is_multiple_of(PAGE_BYTES as u64);
            let went_past = file.write_past_cache(piece, offset).unwrap();
            assert!(!went_past || is_aligned, "{bytes} bytes at {offset}");
            let mut read = vec![0; bytes];
            file.read_at(&mut read, offset).unwrap();
            assert_eq!(read, piece, "{bytes} bytes at {offset}");
        }
        assert_eq!(file.size().unwrap(), 21 * PAGE_BYTES as u64 + 9);
    }
}
