//! A look at the store of a node that doesn't run, from outside: what its packs and large files say by the format that is
//! written down, read with nothing of the store's own code. Of the product it takes what rows mean, and nothing else.
//!
//! ```text
//! pack     header of 64: "ArtiPack", format u32, store id [16], number u64, first commit u64, …, crc
//!          records, then, when it is full, a footer record and a trailer of 24
//! record   header of 52: A7 "Rec", kind u16, flags u16, length u32, crc of the payload u32, key [32], crc u32; the payload
//! large    a page of 4096, the bytes, a table
//! ```
//! All numbers are little-endian. The crcs in records are over the crc of the store id, and then the bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use artimesh_core::catalog::Versions;
use artimesh_core::model::Digest;
use artimesh_core::replica::{Want, rows};

const PACK_HEADER: usize = 64;
const RECORD_HEADER: usize = 52;
const META: usize = 76;
const TRAILER: usize = 24;
const LARGE_DATA: u64 = 4096;

const BLOB: u16 = 1;
const LARGE: u16 = 2;
const ROWS: u16 = 3;
const COMMIT: u16 = 4;
const FOOTER: u16 = 6;
const DELETED: u16 = 7;

const META_TREE: u8 = 1;
const CATALOG_TREE: u8 = 2;
const HISTORY_TREE: u8 = 4;

/// Where a blob's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    /// In a pack, from this byte on.
    Pack { number: u64, at: usize },
    /// In a large file.
    File(u64),
}

/// A blob that no later record deletes.
#[derive(Clone, Copy, Debug)]
pub struct Stored {
    pub bytes: u64,
    pub spot: Spot,
    /// Its bytes are there, and are its own.
    pub is_whole: bool,
}

/// A store as it lies there.
#[derive(Default)]
pub struct Walk {
    pub blobs: BTreeMap<Digest, Stored>,
    /// By tree and key, as the last commit left them: the pack, and the value.
    rows: BTreeMap<(u8, Vec<u8>), (u64, Vec<u8>)>,
    last_commit: u64,
    /// What each pack takes on the disk.
    packs: BTreeMap<u64, u64>,
    /// Packs of which only a header and a footer are left, a block of the disk each.
    hollow: BTreeSet<u64>,
    /// What large blobs take there.
    large_bytes: u64,
    /// Records that say that a blob or a row is gone.
    tombstone_bytes: u64,
    /// Files that nothing refers to, and bytes that are no record.
    pub strays: Vec<String>,
}

/// Who names what.
#[derive(Default)]
pub struct Named {
    /// Live versions and siblings.
    pub live: BTreeSet<Digest>,
    /// Versions in the history.
    pub past: BTreeSet<Digest>,
    /// To be fetched.
    pub wanted: BTreeSet<Digest>,
    /// To be written again, or promised to others.
    pub else_kept: BTreeSet<Digest>,
}

impl Named {
    fn contains(&self, digest: &Digest) -> bool {
        [&self.live, &self.past, &self.wanted, &self.else_kept].iter().any(|some| some.contains(digest))
    }
}

/// The bytes of a record whose crcs are right.
struct Record<'a> {
    kind: u16,
    key: Digest,
    /// Where the payload begins in the pack.
    at: usize,
    payload: &'a [u8],
    header: &'a [u8],
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn sealed(seal: u32, parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&seal.to_le_bytes());
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

/// The record at a place, if a whole one is there.
fn record(pack: &[u8], at: usize, seal: u32) -> Option<Record<'_>> {
    let header = pack.get(at..at + RECORD_HEADER)?;
    if &header[..4] != b"\xA7Rec" || u32_at(header, 48) != sealed(seal, &[&header[..48]]) {
        return None;
    }
    let start = at + RECORD_HEADER;
    let payload = pack.get(start..start + u32_at(header, 8) as usize)?;
    if sealed(seal, &[payload]) != u32_at(header, 12) {
        return None;
    }
    let kind = u16::from_le_bytes([header[4], header[5]]);
    Some(Record { kind, key: Digest(header[16..48].try_into().expect("32 bytes")), at: start, payload, header })
}

fn numbered(name: &str, extension: &str) -> Option<u64> {
    let digits = name.strip_suffix(extension)?.strip_suffix('.')?;
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok())?
}

/// Every file in a folder, and what it takes on the disk.
fn files(folder: &Path) -> BTreeMap<String, u64> {
    let entries = fs::read_dir(folder).expect("a folder");
    let entries = entries.map(|entry| entry.expect("an entry"));
    let blocks = |entry: &fs::DirEntry| entry.metadata().expect("a file").blocks();
    entries.map(|entry| (entry.file_name().into_string().expect("text"), blocks(&entry) * 512)).collect()
}

impl Walk {
    /// Walks through the store of a node's folder.
    pub fn of(node: &Path) -> Walk {
        let (packs, large) = (node.join("store/packs"), node.join("store/large"));
        let mut walk = Walk::default();
        for (name, bytes) in files(&packs) {
            match numbered(&name, "pack") {
                Some(number) => drop(walk.packs.insert(number, bytes)),
                None => walk.strays.push(format!("packs/{name}: {bytes} bytes")),
            }
        }
        let newest = walk.packs.keys().next_back().copied();
        for number in walk.packs.keys().copied().collect::<Vec<u64>>() {
            let bytes = fs::read(packs.join(format!("{number:016x}.pack"))).expect("a pack");
            walk.pack(number, &bytes, Some(number) == newest);
        }
        walk.large_files(&large);
        walk
    }

    fn pack(&mut self, number: u64, pack: &[u8], is_newest: bool) {
        assert_eq!(&pack[..8], b"ArtiPack", "pack {number}");
        assert_eq!(u32_at(pack, 60), crc32fast::hash(&pack[..60]), "the header of pack {number}");
        assert_eq!((u64_at(pack, 28), u64_at(pack, 36)), (number, self.last_commit + 1), "commits are consecutive");
        let seal = crc32fast::hash(&pack[12..28]);
        let (mut at, mut end, mut pending) = (PACK_HEADER, PACK_HEADER, Vec::new());
        while let Some(found) = record(pack, at, seal) {
            at = found.at + found.payload.len();
            match found.kind {
                FOOTER => {
                    assert!(pending.is_empty(), "a footer in the middle of a commit of pack {number}");
                    self.hollow.extend((end == PACK_HEADER).then_some(number));
                    self.last_commit = u64_at(found.payload, 0);
                    end = at + TRAILER;
                    break;
                }
                COMMIT => {
                    self.commit(number, &found, &pending, seal);
                    pending.clear();
                    end = at;
                }
                _ => pending.push(found),
            }
        }
        if end != pack.len() && !is_newest {
            self.strays.push(format!("pack {number}: {} bytes behind its records", pack.len() - end));
        }
    }

    fn commit(&mut self, pack: u64, commit: &Record<'_>, records: &[Record<'_>], seal: u32) {
        let headers: Vec<&[u8]> = records.iter().map(|record| record.header).collect();
        let (number, count) = (u64_at(commit.payload, 0), u32_at(commit.payload, 8));
        assert_eq!((number, count as usize), (self.last_commit + 1, records.len()), "a commit of pack {pack}");
        assert_eq!(u32_at(commit.payload, 12), sealed(seal, &headers), "commit {number}");
        self.last_commit = number;
        for Record { kind, key, at, payload, .. } in records {
            match *kind {
                BLOB => {
                    let bytes = &payload[META..];
                    let is_whole = blake3::hash(bytes).as_bytes() == &key.0;
                    let spot = Spot::Pack { number: pack, at: at + META };
                    self.blobs.insert(*key, Stored { bytes: bytes.len() as u64, spot, is_whole });
                }
                LARGE => {
                    let (bytes, file) = (u64_at(payload, META), u64_at(payload, META + 8));
                    self.blobs.insert(*key, Stored { bytes, spot: Spot::File(file), is_whole: false });
                }
                DELETED => {
                    self.tombstone_bytes += (RECORD_HEADER + payload.len()) as u64;
                    self.blobs.remove(key);
                }
                ROWS => self.take_rows(pack, payload),
                _ => {}
            }
        }
    }

    fn take_rows(&mut self, pack: u64, mut payload: &[u8]) {
        while let [tree, is_put, rest @ ..] = payload {
            let key_bytes = usize::from(u16::from_le_bytes([rest[0], rest[1]]));
            let value_bytes = u32_at(rest, 2) as usize;
            let (key, rest) = rest[6..].split_at(key_bytes);
            let (value, rest) = rest.split_at(value_bytes);
            if *is_put == 1 {
                self.rows.insert((*tree, key.to_vec()), (pack, value.to_vec()));
            } else {
                self.tombstone_bytes += 8 + key_bytes as u64;
                self.rows.remove(&(*tree, key.to_vec()));
            }
            payload = rest;
        }
    }

    fn large_files(&mut self, folder: &Path) {
        let mut listed = files(folder);
        self.large_bytes = listed.values().sum();
        for (digest, stored) in &mut self.blobs {
            let Spot::File(number) = stored.spot else { continue };
            let name = format!("{number:016x}.blob");
            if listed.remove(&name).is_some() {
                stored.is_whole = hash_of(&folder.join(name), stored.bytes) == digest.0;
            }
        }
        self.strays.extend(listed.iter().map(|(name, bytes)| format!("large/{name}: {bytes} bytes")));
    }

    /// Rows of a tree whose keys begin so.
    fn rows_of<'a>(&'a self, tree: u8, prefix: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let rows = self.rows.range((tree, prefix.to_vec())..);
        let is_of = move |(known, key): &(u8, Vec<u8>)| *known == tree && key.starts_with(prefix);
        rows.take_while(move |(key, _)| is_of(key)).map(|((_, key), (_, value))| (key.as_slice(), value.as_slice()))
    }

    /// What the rows name.
    pub fn named(&self) -> Named {
        let mut named = Named::default();
        for (_, value) in self.rows_of(CATALOG_TREE, b"") {
            let versions: Versions = rows::read(value).expect("versions");
            named.live.extend(versions.iter().map(|version| version.content.digest));
        }
        for (key, value) in self.rows_of(HISTORY_TREE, b"") {
            let past = rows::historic(key, value).expect("a row of the history");
            named.past.extend(past.map(|past| past.version.content.digest));
        }
        for (_, value) in self.rows_of(META_TREE, rows::WANTS) {
            named.wanted.insert(rows::read::<Want>(value).expect("a want").digest);
        }
        for (_, value) in self.rows_of(META_TREE, rows::AGAIN) {
            let unwritten: rows::Unwritten = rows::read(value).expect("a version");
            named.else_kept.insert(unwritten.version.content.digest);
        }
        for (key, _) in self.rows_of(META_TREE, b"lease/") {
            named.else_kept.insert(Digest(key[6..38].try_into().expect("a digest")));
        }
        named
    }

    /// The first of the packs that no compaction may touch yet: the one that is written, and the one before it, in which
    /// the index may have been when it was last saved.
    fn first_open(&self) -> u64 {
        self.packs.keys().nth_back(1).copied().unwrap_or_default()
    }

    /// What is live in packs before that one, and in large files: bytes of blobs, and of keys and values of rows.
    fn live_before(&self, pack: u64) -> u64 {
        let is_before = |stored: &&Stored| match stored.spot {
            Spot::Pack { number, .. } => number < pack,
            Spot::File(_) => true,
        };
        let blobs: u64 = self.blobs.values().filter(is_before).map(|stored| stored.bytes).sum();
        let rows = self.rows.iter().filter(|(_, (number, _))| *number < pack);
        blobs + rows.map(|((_, key), (_, value))| (key.len() + value.len()) as u64).sum::<u64>()
    }

    /// What settled packs and large files take on the disk, and what of that is live. Hollow packs are apart: they keep the
    /// numbers of commits consecutive, and how many there are depends on how much was ever written.
    pub fn settled(&self) -> (u64, u64) {
        let open = self.first_open();
        let packs = self.packs.range(..open).filter(|(number, _)| !self.hollow.contains(*number));
        (self.large_bytes + packs.map(|(_, bytes)| bytes).sum::<u64>(), self.live_before(open))
    }

    /// What hollow packs take.
    fn hollow_bytes(&self) -> u64 {
        self.hollow.iter().map(|number| self.packs[number]).sum()
    }

    /// What the packs take that are still open to growth.
    pub fn open_bytes(&self) -> u64 {
        self.packs.range(self.first_open()..).map(|(_, bytes)| bytes).sum()
    }

    /// Blobs that a mirror must have and hasn't whole.
    pub fn missing(&self, named: &Named) -> Vec<Digest> {
        let is_here = |digest: &Digest| self.blobs.get(digest).is_some_and(|stored| stored.is_whole);
        named.live.difference(&named.wanted).filter(|digest| !is_here(digest)).copied().collect()
    }

    /// Blobs that are here and that nothing names.
    pub fn leaked(&self, named: &Named) -> Vec<Digest> {
        self.blobs.keys().filter(|digest| !named.contains(digest)).copied().collect()
    }

    /// Blobs that are here and aren't what they were.
    pub fn broken(&self) -> Vec<Digest> {
        self.blobs.iter().filter(|(_, stored)| !stored.is_whole).map(|(digest, _)| *digest).collect()
    }

    /// One line for people.
    pub fn summary(&self) -> String {
        let (disk, live) = self.settled();
        let more = (disk as f64 / live.max(1) as f64 - 1.0) * 100.0;
        format!(
            "{} blobs and {} rows in {} packs: {live} bytes live, {disk} on the disk ({more:+.2} %), {} in the two newest packs \
             and {} in {} hollow ones; {} bytes only say that something is gone",
            self.blobs.len(),
            self.rows.len(),
            self.packs.len(),
            self.open_bytes(),
            self.hollow_bytes(),
            self.hollow.len(),
            self.tombstone_bytes,
        )
    }
}

/// The hash of a large file's bytes.
fn hash_of(path: &Path, bytes: u64) -> [u8; 32] {
    let mut file = fs::File::open(path).expect("a large file");
    let mut hasher = blake3::Hasher::new();
    std::io::copy(&mut file.by_ref().take(LARGE_DATA), &mut std::io::sink()).expect("read");
    std::io::copy(&mut file.take(bytes), &mut hasher).expect("read");
    *hasher.finalize().as_bytes()
}
