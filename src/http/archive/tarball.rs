//! Tarballs as POSIX.1-2001 has them: ustar, and pax records for what doesn't fit into its headers.

use std::io;

use bytes::Bytes;
use tar::{Builder, EntryType, Header};

use super::out::Out;

/// Files of at most so many bytes go out together with what stands beside them.
pub const COPIED_BYTES_MAX: u64 = 32 << 10;

/// Files and their parts are padded to as much.
const BLOCK_BYTES: u64 = 512;
/// The longest name that is surely understood without a record.
const NAME_BYTES_MAX: usize = 100;
/// The most bytes of a file in the headers of every reader.
const SIZE_MAX: u64 = 0o77_777_777_777;

/// A tarball that is being written.
pub struct Tarball {
    builder: Builder<Vec<u8>>,
    /// Of the file that is being written.
    size: u64,
}

impl Tarball {
    /// An empty one.
    pub fn new() -> Tarball {
        Tarball { builder: Builder::new(Vec::new()), size: 0 }
    }

    /// A folder, `a/b/`.
    pub fn folder(&mut self, name: &str, modified_s: u64, out: &mut Out) -> io::Result<()> {
        let mut header = header(EntryType::Directory, 0, 0o755, modified_s);
        self.entry(&mut header, name, out)
    }

    /// A file of so many bytes, which must follow.
    pub fn file(&mut self, name: &str, modified_s: u64, size: u64, out: &mut Out) -> io::Result<()> {
        self.size = size;
        let mut header = header(EntryType::Regular, size, 0o644, modified_s);
        self.entry(&mut header, name, out)
    }

    /// More bytes of the file. Those of a large one are not looked at.
    pub fn data(&mut self, piece: Bytes, out: &mut Out) {
        if self.size > COPIED_BYTES_MAX { out.pass(piece) } else { out.put(&piece) }
    }

    /// All its bytes were written.
    pub fn end_file(&mut self, out: &mut Out) {
        let padding = self.size.next_multiple_of(BLOCK_BYTES) - self.size;
        out.put(&[0; BLOCK_BYTES as usize][..padding as usize]);
    }

    /// There are no more files.
    pub fn finish(&mut self, out: &mut Out) -> io::Result<()> {
        self.builder.finish()?;
        self.drain(out);
        Ok(())
    }

    fn entry(&mut self, header: &mut Header, name: &str, out: &mut Out) -> io::Result<()> {
        let size = header.size()?.to_string();
        let is_plain = name.is_ascii() && name.len() <= NAME_BYTES_MAX && header.set_path(name).is_ok();
        let mut records = Vec::new();
        if !is_plain {
            records.push(("path", name.as_bytes()));
            // For who doesn't know records.
            let end = name.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= NAME_BYTES_MAX);
            if header.set_path(&name[..end.last().unwrap_or(0)]).is_err() {
                header.set_path("name")?;
            }
        }
        if header.size()? > SIZE_MAX {
            records.push(("size", size.as_bytes()));
        }
        header.set_cksum();
        self.builder.append_pax_extensions(records)?;
        self.builder.append(header, io::empty())?;
        self.drain(out);
        Ok(())
    }

    fn drain(&mut self, out: &mut Out) {
        out.put(self.builder.get_ref());
        self.builder.get_mut().clear();
    }
}

fn header(kind: EntryType, size: u64, mode: u32, modified_s: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header.set_mtime(modified_s);
    header.set_uid(0);
    header.set_gid(0);
    header
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn every_name_and_byte_is_read_again() {
        let long = format!("{}/ü.bin", "folder-with-a-long-name/".repeat(12));
        let dots = format!("{}/..b", "n".repeat(97));
        let names = ["a", "b c/d", "grün/ß", &long, &"n".repeat(200), &"ü".repeat(120), &dots];
        let (mut tarball, mut out) = (Tarball::new(), Out::default());
        tarball.folder("b c/", 7, &mut out).expect("written");
        tarball.folder(&format!("{}/", "ö".repeat(60)), 7, &mut out).expect("written");
        for (index, name) in names.iter().enumerate() {
            let body = vec![index as u8; index * 511];
            tarball.file(name, 784_111_777, body.len() as u64, &mut out).expect("written");
            tarball.data(body.into(), &mut out);
            tarball.end_file(&mut out);
        }
        tarball.finish(&mut out).expect("written");
        let mut bytes = Vec::new();
        while let Some(piece) = out.take() {
            bytes.extend(piece);
        }
        assert_eq!(bytes.len() % 512, 0);
        let mut archive = tar::Archive::new(&bytes[..]);
        let mut found = Vec::new();
        for entry in archive.entries().expect("entries") {
            let mut entry = entry.expect("an entry");
            let name = String::from_utf8(entry.path_bytes().into_owned()).expect("UTF-8");
            let mut body = Vec::new();
            entry.read_to_end(&mut body).expect("bytes");
            found.push((name, entry.header().mtime().expect("a time"), body));
        }
        assert_eq!(found[0].0, "b c/");
        for (index, (name, modified, body)) in found[2..].iter().enumerate() {
            assert_eq!((name.as_str(), *modified), (names[index], 784_111_777));
            assert!(*body == vec![index as u8; index * 511], "{name}");
        }
        assert_eq!(found.len(), names.len() + 2);
    }

    #[test]
    fn a_size_beyond_what_headers_hold_is_a_record_too() {
        let (mut tarball, mut out) = (Tarball::new(), Out::default());
        let size = 9 << 30;
        tarball.file("large", 0, size, &mut out).expect("written");
        let bytes = out.take().expect("a header");
        assert!(bytes.windows(16).any(|window| window == b"size=9663676416\n"), "{bytes:?}");
    }
}
