//! Finding files by what they hold: by a checksum, or by the value of a property.
//!
//! The store keeps keys that are [derived](crate::store::derived) from blobs and catalog rows:
//!
//! ```text
//! m|s|t SUM DIGEST                    a blob whose sums (MD5, SHA-1, SHA-256) were computed here: 8 bytes of the sum
//! d DIGEST SPACE PATH                 a path whose shown version has these bytes
//! p SPACE NAME 0 VALUE 0 PATH         a path whose shown version has this property: 128 bytes of the value
//! o SPACE PATH                        a path with so many properties that they have no keys: it may have any
//! ```
//!
//! A space takes 8 bytes, a digest 12. What is cut off, and what has changed since, is told by the row itself.
//!
//! # Why
//! There are four keys for each small upload, and sled moves and copies pages for each. Up to 22 bytes it keeps a key in
//! place: three of them are as short.

use std::collections::VecDeque;

use artimesh_core::access::{self, Reach, Right};
use artimesh_core::catalog::{Content, Versions};
use artimesh_core::model::{ArtifactPath, Assurance, Digest, Properties, RepoKey, Space};
use artimesh_core::replica::rows;

use super::aql::{Comparison, Criterion, Field, Operand, Operator};
use super::artifacts::{Expected, Item};
use super::caller::Caller;
use super::error::ServiceError;
use super::handle::Service;
use crate::store::{BlobInfo, Derivation, ReadError, Store, Tree, has_md5};

/// Counts the rules: an index that was kept by others is built anew.
const VERSION: u32 = 2;

/// So much of a sum is kept.
const SUM_BYTES: usize = 8;
/// So much of a digest is kept.
const DIGEST_BYTES: usize = 12;
/// So much of a property's value is kept.
const VALUE_BYTES: usize = 128;
/// So much is kept of the properties of one path. Each key ends in the path: thousands of values at a long one would come to
/// hundreds of times what they are in their row, and any member of a federation can write them.
const PROPERTIES_BYTES_MAX: usize = 16 << 10;
/// So much of a space is kept.
const SPACE_BYTES: usize = 8;
/// What a key of the catalog begins with.
const CATALOG_SPACE_BYTES: usize = 33;

/// More alternatives than this are not looked up one by one.
const ANCHORS_MAX: usize = 64;
/// Keys read at once, for each anchor.
const PAGE: usize = 100;

/// The rules, for whoever opens the store.
pub fn derivation() -> Derivation {
    Derivation { version: VERSION, tree: Tree::Catalog, of_row, of_blob }
}

/// One of the sums that clients know files by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sum {
    /// MD5.
    Md5([u8; 16]),
    /// SHA-1.
    Sha1([u8; 20]),
    /// SHA-256.
    Sha256([u8; 32]),
}

impl Sum {
    fn bytes(&self) -> (u8, &[u8]) {
        match self {
            Sum::Md5(sum) => (b'm', sum),
            Sum::Sha1(sum) => (b's', sum),
            Sum::Sha256(sum) => (b't', sum),
        }
    }

    fn key(&self) -> Vec<u8> {
        let (algorithm, sum) = self.bytes();
        [&[algorithm][..], &sum[..SUM_BYTES]].concat()
    }

    /// Of hexadecimal digits.
    fn parse(field: Field, text: &str) -> Option<Sum> {
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?;
        match field {
            Field::ActualMd5 => bytes.try_into().ok().map(Sum::Md5),
            Field::ActualSha1 => bytes.try_into().ok().map(Sum::Sha1),
            Field::Sha256 => bytes.try_into().ok().map(Sum::Sha256),
            _ => None,
        }
    }

    fn is_of(&self, info: &BlobInfo) -> bool {
        let sums = &info.checksums;
        info.assurance == Assurance::Confirmed
            && match self {
                Sum::Md5(md5) => sums.md5 == *md5 && has_md5(sums),
                Sum::Sha1(sha1) => sums.sha1 == *sha1,
                Sum::Sha256(sha256) => sums.sha256 == *sha256,
            }
    }
}

fn of_blob(digest: &Digest, info: &BlobInfo, keys: &mut Vec<Vec<u8>>) {
    let sums = &info.checksums;
    if info.assurance != Assurance::Confirmed {
        return;
    }
    let mut add = |sum: Sum| keys.push([&sum.key()[..], &digest.0[..DIGEST_BYTES]].concat());
    add(Sum::Sha1(sums.sha1));
    add(Sum::Sha256(sums.sha256));
    if has_md5(sums) {
        add(Sum::Md5(sums.md5));
    }
}

fn of_row(key: &[u8], row: &[u8], keys: &mut Vec<Vec<u8>>) {
    let Ok(versions) = rows::read::<Versions>(row) else { return };
    let (Some(version), Some((space, path))) = (versions.shown(), key.split_at_checked(CATALOG_SPACE_BYTES)) else {
        return;
    };
    let Some(space) = space.get(1..=SPACE_BYTES) else { return };
    if !path.ends_with(b"/") {
        keys.push([&content_prefix(&version.content.digest)[..], space, path].concat());
    }
    let (start, mut bytes) = (keys.len(), 0);
    for (name, values) in version.properties().as_map() {
        for value in values {
            let key = [&property_prefix(space, name, value)[..], path].concat();
            bytes += key.len();
            if bytes > PROPERTIES_BYTES_MAX {
                keys.truncate(start);
                keys.push([&overflow_prefix(space)[..], path].concat());
                return;
            }
            keys.push(key);
        }
    }
}

fn short(space: &Space) -> [u8; SPACE_BYTES] {
    let key = space.key();
    std::array::from_fn(|at| key.get(1 + at).copied().unwrap_or_default())
}

fn content_prefix(digest: &Digest) -> Vec<u8> {
    [b"d", &digest.0[..DIGEST_BYTES]].concat()
}

fn overflow_prefix(space: &[u8]) -> Vec<u8> {
    [b"o", space].concat()
}

fn property_prefix(space: &[u8], name: &str, value: &str) -> Vec<u8> {
    let value = value.as_bytes();
    [b"p", space, name.as_bytes(), &[0], &value[..value.len().min(VALUE_BYTES)], &[0]].concat()
}

/// Something that is looked up rather than looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// Files with this sum.
    Sum(Sum),
    /// Files and folders with this property.
    Property(String, String),
}

impl Anchor {
    /// Whatever meets the criteria has one of these; `None` where that can't be said.
    pub fn all_of(criteria: &Criterion) -> Option<Vec<Anchor>> {
        match criteria {
            // Sums lead to fewer than properties do.
            Criterion::All(parts) | Criterion::SameProperty(parts) => {
                let rank = |anchors: &Vec<Anchor>| {
                    (anchors.iter().any(|anchor| matches!(anchor, Anchor::Property(..))), anchors.len())
                };
                parts.iter().filter_map(Anchor::all_of).min_by_key(rank)
            }
            Criterion::Any(parts) => {
                let mut all = Vec::new();
                for part in parts {
                    all.extend(Anchor::all_of(part)?);
                    if all.len() > ANCHORS_MAX {
                        return None;
                    }
                }
                Some(all)
            }
            Criterion::Field(field, comparison) => Some(vec![Anchor::Sum(Sum::parse(*field, equal(comparison)?)?)]),
            // An asterisk is any value.
            Criterion::Property(Some(name), comparison) => {
                let value = equal(comparison).filter(|value| *value != "*")?;
                Some(vec![Anchor::Property(name.clone(), value.to_owned())])
            }
            Criterion::Property(None, _) => None,
        }
    }
}

fn equal(comparison: &Comparison) -> Option<&str> {
    match &comparison.operand {
        Operand::Text(text) if comparison.operator == Operator::Equal => Some(text),
        _ => None,
    }
}

/// The blobs that have a sum, as computed here; at most `limit`, more than one only for a sum that is broken.
pub fn blobs_of(store: &Store, sum: &Sum, limit: usize) -> Result<Vec<Digest>, ReadError> {
    let from = sum.key();
    let keys = store.derived(&from, &rows::end_of(&from), limit)?;
    let mut digests = Vec::new();
    for key in keys {
        for digest in blobs_named(store, &key[from.len()..])? {
            if store.blob(&digest)?.is_some_and(|info| sum.is_of(&info)) {
                digests.push(digest);
            }
        }
    }
    Ok(digests)
}

impl Service {
    /// Puts the bytes that have the sums that the client names, all of them, as computed here, if they are at a path that
    /// the caller may read; `None` when they aren't. Two blobs that share a broken sum stand for neither.
    pub async fn deploy_by_sums(
        &self,
        caller: &Caller,
        repo: &RepoKey,
        path: &ArtifactPath,
        expected: &Expected,
        media_type: &str,
        properties: Properties,
    ) -> Result<Option<Item>, ServiceError> {
        let repository = self.writable_at(caller, Right::Write, repo, path)?;
        let Some(digest) = self.blob_of(expected)? else { return Ok(None) };
        if !self.names_for(caller, &digest)? {
            return Ok(None);
        }
        self.check_overwrite(caller, &repository, path)?;
        let Some(info) = self.engine().store().blob(&digest)? else { return Ok(None) };
        let (size, checksums, media_type) = (info.size, info.checksums, media_type.to_owned());
        let content = Content { digest, size, checksums, media_type, properties };
        match self.put(caller, &repository, path.clone(), content, None, None).await {
            // They went meanwhile.
            Err(ServiceError::NotHere { .. }) => Ok(None),
            other => other.map(Some),
        }
    }

    /// The one blob here that has all of these sums.
    fn blob_of(&self, expected: &Expected) -> Result<Option<Digest>, ServiceError> {
        let sums = [expected.sha256.map(Sum::Sha256), expected.sha1.map(Sum::Sha1), expected.md5.map(Sum::Md5)];
        let sums: Vec<Sum> = sums.into_iter().flatten().collect();
        let Some(first) = sums.first() else { return Ok(None) };
        let store = self.engine().store();
        let mut found = Vec::new();
        for digest in blobs_of(store, first, PAGE)? {
            // One whose MD5 was put off is asked for the others.
            let is_it = |info: &BlobInfo| {
                sums.iter().all(|sum| sum.is_of(info) || (matches!(sum, Sum::Md5(_)) && !has_md5(&info.checksums)))
            };
            if store.blob(&digest)?.as_ref().is_some_and(is_it) {
                found.push(digest);
            }
        }
        Ok(if let [digest] = found[..] { Some(digest) } else { None })
    }

    /// Whether the caller may read a path whose shown version has these bytes.
    fn names_for(&self, caller: &Caller, digest: &Digest) -> Result<bool, ServiceError> {
        let store = self.engine().store();
        for repository in self.snapshot().repositories.values() {
            let reach = access::reach(&caller.principal, Right::Read, &repository.key, "");
            let parts: Vec<&str> = match reach {
                Reach::Nothing => continue,
                Reach::All => vec![""],
                Reach::Part => access::parts(&caller.principal, Right::Read, &repository.key, "").collect(),
            };
            for part in parts {
                let prefix = [&content_prefix(digest)[..], &short(&repository.space)].concat();
                let mut paths = Candidates { streams: vec![Stream::new(prefix, part)], read: 0 };
                while let Some(path) = paths.next(store)? {
                    let shown = self.shown(repository, &path, &caller.account)?;
                    if shown.is_some_and(|item| item.digest == *digest) {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }
}

/// The blobs whose digests begin so: hardly ever more than one.
fn blobs_named(store: &Store, start: &[u8]) -> Result<Vec<Digest>, ReadError> {
    let mut from = Digest::ZERO;
    from.0[..start.len()].copy_from_slice(start);
    let mut blobs = store.blobs(&from, 2)?;
    blobs.retain(|(digest, _)| digest.0.starts_with(start));
    Ok(blobs.into_iter().map(|(digest, _)| digest).collect())
}

/// Paths of one space at which an anchor may be, in order, none twice.
pub struct Candidates {
    streams: Vec<Stream>,
    /// Keys that were read.
    pub read: u64,
}

/// The paths behind one prefix of keys.
struct Stream {
    prefix: Vec<u8>,
    from: Option<Vec<u8>>,
    end: Vec<u8>,
    paths: VecDeque<Vec<u8>>,
}

impl Candidates {
    /// Of paths that begin with `prefix`.
    pub fn new(store: &Store, anchors: &[Anchor], space: &Space, prefix: &str) -> Result<Candidates, ReadError> {
        let (space, mut streams, mut read) = (short(space), Vec::new(), 0);
        for anchor in anchors {
            match anchor {
                Anchor::Sum(sum) => {
                    for digest in blobs_of(store, sum, PAGE)? {
                        read += 1;
                        streams.push(Stream::new([&content_prefix(&digest)[..], &space].concat(), prefix));
                    }
                }
                Anchor::Property(name, value) => {
                    streams.push(Stream::new(property_prefix(&space, name, value), prefix));
                }
            }
        }
        if anchors.iter().any(|anchor| matches!(anchor, Anchor::Property(..))) {
            streams.push(Stream::new(overflow_prefix(&space), prefix));
        }
        Ok(Candidates { streams, read })
    }

    /// The next path.
    pub fn next(&mut self, store: &Store) -> Result<Option<ArtifactPath>, ReadError> {
        loop {
            for stream in &mut self.streams {
                self.read += stream.fill(store)?;
            }
            let Some(first) = self.streams.iter().filter_map(|stream| stream.paths.front()).min().cloned() else {
                return Ok(None);
            };
            for stream in &mut self.streams {
                if stream.paths.front() == Some(&first) {
                    stream.paths.pop_front();
                }
            }
            // A value that has a zero in it makes others of what isn't a path.
            if let Some(path) = String::from_utf8(first).ok().and_then(|path| ArtifactPath::try_from(path).ok()) {
                return Ok(Some(path));
            }
        }
    }
}

impl Stream {
    fn new(prefix: Vec<u8>, path: &str) -> Stream {
        let from = [&prefix[..], path.as_bytes()].concat();
        Stream { prefix, end: rows::end_of(&from), from: Some(from), paths: VecDeque::new() }
    }

    /// Reads on when nothing is left; says how many keys that were.
    fn fill(&mut self, store: &Store) -> Result<u64, ReadError> {
        if !self.paths.is_empty() {
            return Ok(0);
        }
        let Some(from) = self.from.take() else { return Ok(0) };
        let keys = store.derived(&from, &self.end, PAGE)?;
        if keys.len() == PAGE {
            self.from = keys.last().map(|last| [last.as_slice(), &[0]].concat());
        }
        let read = keys.len() as u64;
        self.paths.extend(keys.into_iter().map(|key| key[self.prefix.len()..].to_vec()));
        Ok(read)
    }
}
