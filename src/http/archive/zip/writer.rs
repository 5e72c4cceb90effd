//! Writing a zip: what is put where.

use bytes::Bytes;
use crc32fast::Hasher;

use super::records::{BLOCK_BYTES_MAX, Entry, LINE_BYTES, Packing, block_head, blocks_bytes, end};
use crate::http::archive::out::Out;

/// A plain file that everybody may read, in the words of Unix.
const FILE_MODE: u32 = 0o100_644;
/// A folder of the like.
const FOLDER_MODE: u32 = 0o40_755;

/// A zip that is being written.
pub struct Zip {
    /// Bytes so far.
    offset: u64,
    directory: Vec<u8>,
    entries: u64,
    file: Option<File>,
}

/// A file that is being written.
struct File {
    entry: Entry,
    crc: Hasher,
    left: u64,
    left_in_block: u64,
}

impl Zip {
    /// An empty one, whose directory may have so many bytes.
    pub fn new(directory_bytes_max: usize) -> Zip {
        Zip { offset: 0, directory: Vec::with_capacity(directory_bytes_max), entries: 0, file: None }
    }

    /// Whether there is room for one more file with this name.
    pub fn has_room(&self, name: &str) -> bool {
        self.directory.capacity() - self.directory.len() >= name.len() + LINE_BYTES as usize
    }

    /// A folder, `a/b/`.
    pub fn folder(&mut self, name: &str, modified_s: u64, out: &mut Out) {
        self.stored(name, modified_s, FOLDER_MODE, &[], out);
    }

    /// A file with these bytes.
    pub fn whole(&mut self, name: &str, modified_s: u64, bytes: &[u8], out: &mut Out) {
        self.stored(name, modified_s, FILE_MODE, bytes, out);
    }

    /// A file of so many bytes, which must follow.
    pub fn file(&mut self, name: &str, modified_s: u64, size: u64, out: &mut Out) {
        let packing = Packing::Blocks { packed: size + blocks_bytes(size) };
        let entry =
            Entry { name: name.to_owned(), modified_s, mode: FILE_MODE, packing, crc: 0, size, offset: self.offset };
        self.put(&entry.header(), out);
        if size == 0 {
            self.put(&block_head(0, 0), out);
        }
        self.file = Some(File { entry, crc: Hasher::new(), left: size, left_in_block: 0 });
    }

    /// More bytes of the file, of which there are as many.
    pub fn data(&mut self, piece: &Bytes, out: &mut Out) {
        let Some(mut file) = self.file.take() else { return };
        file.crc.update(piece);
        let mut rest = &piece[..];
        while !rest.is_empty() {
            if file.left_in_block == 0 {
                file.left_in_block = file.left.min(BLOCK_BYTES_MAX);
                self.put(&block_head(file.left_in_block, file.left), out);
            }
            let (now, later) = rest.split_at(rest.len().min(file.left_in_block as usize));
            self.put(now, out);
            file.left -= now.len() as u64;
            file.left_in_block -= now.len() as u64;
            rest = later;
        }
        self.file = Some(file);
    }

    /// All its bytes were written.
    pub fn end_file(&mut self, out: &mut Out) {
        let Some(File { mut entry, crc, .. }) = self.file.take() else { return };
        entry.crc = crc.finalize();
        self.put(&entry.behind(), out);
        self.list(&entry);
    }

    /// There are no more files.
    pub fn finish(&mut self, out: &mut Out) {
        let (start, bytes) = (self.offset, self.directory.len() as u64);
        out.pass(std::mem::take(&mut self.directory).into());
        out.put(&end(self.entries, start, bytes));
    }

    fn stored(&mut self, name: &str, modified_s: u64, mode: u32, bytes: &[u8], out: &mut Out) {
        let (size, name) = (bytes.len() as u64, name.to_owned());
        let (packing, crc, offset) = (Packing::Stored, crc32fast::hash(bytes), self.offset);
        let entry = Entry { name, modified_s, mode, packing, crc, size, offset };
        self.put(&entry.header(), out);
        self.put(bytes, out);
        self.list(&entry);
    }

    fn list(&mut self, entry: &Entry) {
        self.directory.extend(entry.line());
        self.entries += 1;
    }

    fn put(&mut self, bytes: &[u8], out: &mut Out) {
        self.offset += bytes.len() as u64;
        out.put(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What goes out when `pieces` of a file do.
    fn packed(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut zip, mut out) = (Zip::new(1000), Out::default());
        zip.file("f", 0, pieces.concat().len() as u64, &mut out);
        for piece in pieces {
            zip.data(&Bytes::copy_from_slice(piece), &mut out);
        }
        zip.end_file(&mut out);
        zip.finish(&mut out);
        let all: Vec<Bytes> = std::iter::from_fn(|| out.take()).collect();
        all.concat()
    }

    /// The bytes of the only file, by a reader of deflate streams, and how many they were in the archive.
    fn unpacked(archive: &[u8]) -> (Vec<u8>, u64) {
        let header = 30 + 1 + 9;
        let mut reader = flate2::bufread::DeflateDecoder::new(&archive[header..]);
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut reader, &mut bytes).expect("deflate");
        (bytes, reader.total_in())
    }

    #[test]
    fn blocks_have_the_length_that_was_told_however_the_bytes_come() {
        let bytes: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        for size in [0, 1, 65_534, 65_535, 65_536, 131_070, 800_000] {
            let whole = &bytes[..size];
            let once = packed(&[whole]);
            let (read, taken) = unpacked(&once);
            assert!(read == whole, "{size}");
            assert_eq!(taken, size as u64 + blocks_bytes(size as u64), "{size}");
            let at = 40 + taken as usize;
            assert_eq!(once[at..at + 4], *b"PK\x07\x08", "{size}");
            assert_eq!(once[at + 4..at + 8], crc32fast::hash(whole).to_le_bytes());
            let pieces: Vec<&[u8]> = whole.chunks(7_777).collect();
            assert!(packed(&pieces) == once, "{size}");
        }
    }

    #[test]
    fn there_is_room_for_as_many_names_as_were_counted() {
        let (mut zip, mut out) = (Zip::new(2 * (LINE_BYTES as usize + 1)), Out::default());
        assert!(zip.has_room("a"));
        zip.whole("a", 784_111_777, b"x", &mut out);
        assert!(zip.has_room("b") && !zip.has_room(&"b".repeat(100)));
    }
}
