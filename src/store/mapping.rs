//! Files mapped into memory, so that their bytes can be named by address and sent without being copied.
//!
//! A [`Mapping`] hands out [`Bytes`] whose memory is the file's own pages. Whoever is to send such bytes asks
//! [`file_range`] which file and offset they are, and lets the kernel send them from there (sendfile); whoever doesn't ask
//! may treat them as any other bytes, and is right as well.
//!
//! # Why this is sound
//! All the unsafe code of serving is in this file: the two system calls, and the slice made of a mapped address.
//!
//! - **The memory is there as long as a slice is.** The [`Bytes`] own a [`Slice`], that owns an `Arc<Mapping>`, and only the
//!   last of those unmaps. A mapping never moves, shrinks or grows; a file that has grown gets a new one.
//! - **It is memory of the file.** [`Mapping::slice`] gives nothing past the length that the file had when it was mapped, and
//!   the store never cuts or overwrites what a commit covers: a pack only grows behind its last commit, a large file is
//!   sealed before it is committed, and compaction writes another file and renames it, which leaves this one as it is. The
//!   data folder is locked, so no second node writes there either. Someone with the rights to edit the store's files by
//!   hand could change bytes under a reader; against that no program that maps files has a defence.
//! - **An address in [`REGISTRY`] is the mapping's.** A mapping is entered after it was made and taken out before it is
//!   unmapped, so no other memory can be at an address that stands there. A `&[u8]` within it is therefore derived from a
//!   slice of that mapping, which is alive as long as the `&[u8]` is; the range found for it is true for at least as long.
//!   Nothing is ever read through the registry: it turns an address into a file and an offset and no further.
//! - **A page that can't be read kills nobody.** Reading it from this process would raise SIGBUS. But nothing here reads it:
//!   sendfile, and write for what is too short for sendfile, read pages inside the kernel and answer with an error. Bytes
//!   that are to be looked at (hashed, encrypted) are read with `pread`, never taken from a mapping.

#![expect(unsafe_code, reason = "mapping a file and naming its memory has no safe form; the proof is above")]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::Range;
use std::ptr::{NonNull, null_mut};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// How many mappings there may be at once: the kernel's own bound on a process is 65,530 by default.
const MAPPINGS_MAX: usize = 16_384;

/// All mappings, by the address at which they start.
static REGISTRY: RwLock<BTreeMap<usize, Mapped>> = RwLock::new(BTreeMap::new());

/// What lies from an address on.
struct Mapped {
    length: usize,
    file: Arc<fs::File>,
}

/// Where some bytes stand in a file.
#[derive(Debug, Clone)]
pub struct FileRange {
    /// Open for reading.
    pub file: Arc<fs::File>,
    /// Where the bytes start in it.
    pub offset: u64,
}

/// The file and offset of bytes that came out of a mapping; `None` for all others. Takes a lock for a moment.
pub fn file_range(bytes: &[u8]) -> Option<FileRange> {
    let start = bytes.as_ptr().addr();
    let registry = REGISTRY.read().unwrap_or_else(PoisonError::into_inner);
    let (base, mapped) = registry.range(..=start).next_back()?;
    let offset = start - base;
    let is_inside = !bytes.is_empty() && offset.checked_add(bytes.len()).is_some_and(|end| end <= mapped.length);
    is_inside.then(|| FileRange { file: mapped.file.clone(), offset: offset as u64 })
}

/// A whole file, as long as it was then, mapped for reading.
pub struct Mapping {
    address: NonNull<u8>,
    length: usize,
}

// SAFETY: the memory is only ever read, by shared slices; the address is used to unmap by the one owner that is last.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `file` as it is now. Fails when the file is empty, when there are too many mappings, and when the system says no:
    /// then its bytes are read instead.
    pub fn new(file: &Arc<fs::File>) -> io::Result<Mapping> {
        let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        if REGISTRY.read().unwrap_or_else(PoisonError::into_inner).len() >= MAPPINGS_MAX {
            return Err(io::Error::other("too many files are mapped"));
        }
        // SAFETY: a new mapping at an address of the kernel's choosing replaces no memory of this process.
        let address = unsafe { mmap(null_mut(), length, ProtFlags::READ, MapFlags::SHARED, file, 0)? };
        let address = NonNull::new(address.cast::<u8>()).ok_or_else(|| io::Error::other("mapped at address zero"))?;
        let mut registry = REGISTRY.write().unwrap_or_else(PoisonError::into_inner);
        registry.insert(address.addr().get(), Mapped { length, file: file.clone() });
        Ok(Mapping { address, length })
    }

    /// The bytes of a range of the file; `None` when it isn't all mapped. It must be a range that is never written again
    /// nor cut off: what a commit covers.
    pub fn slice(self: &Arc<Self>, range: Range<u64>) -> Option<Bytes> {
        let (start, end) = (usize::try_from(range.start).ok()?, usize::try_from(range.end).ok()?);
        let is_mapped = start <= end && end <= self.length;
        is_mapped.then(|| Bytes::from_owner(Slice { mapping: self.clone(), range: start..end }))
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        REGISTRY.write().unwrap_or_else(PoisonError::into_inner).remove(&self.address.addr().get());
        // SAFETY: the address and length are those of the one `mmap` in `new`; each slice of it holds an `Arc` of this value,
        // so that none is left; and the registry names it no more, so that nobody takes what comes to lie here for it.
        let unmapped = unsafe { munmap(self.address.as_ptr().cast(), self.length) };
        if let Err(error) = unmapped {
            tracing::error!(%error, "a mapped file can't be unmapped; its address space is lost until the next start");
        }
    }
}

impl std::fmt::Debug for Mapping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a mapping of {} bytes", self.length)
    }
}

/// A part of a mapping, which keeps it.
struct Slice {
    mapping: Arc<Mapping>,
    /// Within the mapping: see [`Mapping::slice`].
    range: Range<usize>,
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        let Range { start, end } = self.range;
        // SAFETY: the range was checked against the mapping's length when this value was made, and the mapping is readable,
        // initialised by the kernel, never written through, and alive as long as the `Arc` beside it.
        unsafe { std::slice::from_raw_parts(self.mapping.address.as_ptr().add(start), end - start) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file_of(bytes: &[u8]) -> Arc<fs::File> {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes).expect("written");
        Arc::new(file)
    }

    #[test]
    fn a_slice_is_the_files_bytes_and_is_known_by_its_address() {
        let file = file_of(b"0123456789");
        let mapping = Arc::new(Mapping::new(&file).expect("mapped"));
        let slice = mapping.slice(2..9).expect("within the file");
        assert_eq!(slice, "2345678");
        assert_eq!(file_range(&slice).expect("mapped").offset, 2);
        assert_eq!(file_range(&slice.slice(3..)).expect("mapped").offset, 5);
        assert!(file_range(b"elsewhere").is_none());
        assert!(file_range(&slice[..0]).is_none(), "no bytes are nobody's");
        assert!(mapping.slice(5..11).is_none() && mapping.slice(11..12).is_none());
    }

    #[test]
    fn a_mapping_lives_as_long_as_its_slices_and_not_longer() {
        let mapping = Arc::new(Mapping::new(&file_of(&[7; 10_000])).expect("mapped"));
        let address = mapping.address.addr().get();
        let is_known = || REGISTRY.read().expect("unpoisoned").contains_key(&address);
        let slice = mapping.slice(4096..10_000).expect("within the file");
        drop(mapping);
        assert!(is_known());
        assert!(slice.iter().all(|byte| *byte == 7));
        let rest = slice.slice(5000..);
        drop(slice);
        assert!(is_known());
        drop(rest);
        // Another thread's file may have come to lie there meanwhile, but then its own mapping is what is known.
        let length = REGISTRY.read().expect("unpoisoned").get(&address).map(|mapped| mapped.length);
        assert_ne!(length, Some(10_000));
    }

    #[test]
    fn an_empty_file_is_not_mapped_and_a_file_that_grew_is_mapped_anew() {
        assert!(Mapping::new(&file_of(b"")).is_err());
        let file = file_of(b"abc");
        let mapping = Arc::new(Mapping::new(&file).expect("mapped"));
        (&*file).write_all(b"defg").expect("appended");
        assert!(mapping.slice(0..7).is_none(), "it was shorter when it was mapped");
        let renewed = Arc::new(Mapping::new(&file).expect("mapped"));
        assert_eq!(renewed.slice(0..7).expect("within the file"), "abcdefg");
        assert_eq!(mapping.slice(0..3).expect("as before"), "abc");
    }
}
