//! Verifies an archive, and unpacks it.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use tar::{Archive, Entry, EntryType};

use super::manifest::{ABOUT, About, FORMAT, Line, MANIFEST};

/// How much is read from the archive at once.
const PIECE_BYTES: usize = 256 << 10;
/// The page about the backup is shorter.
const ABOUT_BYTES_MAX: u64 = 64 << 10;
/// No line of the manifest is longer.
const LINE_BYTES_MAX: u64 = 4 << 10;

/// What a backup that was verified holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// What it says of itself.
    pub about: About,
    /// The files, by their places below the data folder.
    pub files: BTreeMap<String, u64>,
}

/// It isn't a backup that can be used. What was unpacked so far is the caller's to remove.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Not an archive, or one of something else.
    #[error("this is not a backup of an Artimesh node: {0}")]
    Foreign(String),
    /// A newer release made it.
    #[error(
        "the backup has format {format}, and this release reads up to {FORMAT}: use the release that made it ({made_by})"
    )]
    Newer {
        /// Its format.
        format: u32,
        /// The release that made it.
        made_by: String,
    },
    /// It ends too early.
    #[error("the backup is cut off: {0}")]
    CutOff(String),
    /// A file isn't what the manifest says.
    #[error("the backup is damaged: {path} {reason}")]
    Damaged {
        /// Which file.
        path: String,
        /// In which way.
        reason: &'static str,
    },
    /// The archive can't be read, or the folder not be written.
    #[error("{place}: {reason}")]
    Io {
        /// The file or folder, or `the backup`.
        place: String,
        /// The operating system's answer.
        reason: io::Error,
    },
}

/// Sizes and digests of the files, as they came.
type Seen = BTreeMap<String, (u64, blake3::Hash)>;

/// Reads all of an archive and compares every file with the manifest. With `into`, an empty folder, the files are written
/// there as they come, each synced: what is there after a failure is of no use. Blocks.
pub fn read(archive: impl Read, into: Option<&Path>) -> Result<Contents, Failure> {
    let mut archive = Archive::new(BufReader::with_capacity(PIECE_BYTES, archive));
    let entries = archive.entries().map_err(broken)?;
    let (mut about, mut seen, mut manifest) = (None, Seen::new(), None);
    for entry in entries {
        let mut entry = entry.map_err(|error| not_a_tar(about.is_none(), error))?;
        let path = path_of(&entry)?;
        if manifest.is_some() {
            return Err(Failure::Damaged { path, reason: "stands behind the manifest" });
        }
        match (path.as_str(), &about) {
            (ABOUT, None) => {
                let (page, digest) = page(&mut entry)?;
                seen.insert(path, digest);
                about = Some(page);
            }
            (_, None) => return Err(Failure::Foreign(format!("it begins with {path} instead of {ABOUT}"))),
            (MANIFEST, Some(_)) => manifest = Some(lines(&mut entry)?),
            (_, Some(_)) => {
                let found = take(&mut entry, &path, into)?;
                if seen.insert(path.clone(), found).is_some() {
                    return Err(Failure::Damaged { path, reason: "stands in it twice" });
                }
            }
        }
    }
    let about = about.ok_or_else(|| Failure::Foreign("it is empty".into()))?;
    let manifest = manifest.ok_or_else(|| Failure::CutOff(format!("its last file, {MANIFEST}, is missing")))?;
    compare(&mut seen, &manifest)?;
    seen.remove(ABOUT);
    if let Some(folder) = into {
        sync_folders(folder)?;
    }
    Ok(Contents { about, files: seen.into_iter().map(|(path, (bytes, _))| (path, bytes)).collect() })
}

fn broken(reason: io::Error) -> Failure {
    if reason.kind() == io::ErrorKind::UnexpectedEof {
        return Failure::CutOff("it ends in the middle of a file".into());
    }
    Failure::Io { place: "the backup".into(), reason }
}

/// What can't be read as an archive from its first byte on is none.
fn not_a_tar(is_first: bool, error: io::Error) -> Failure {
    if is_first { Failure::Foreign(format!("it is no tar archive ({error})")) } else { broken(error) }
}

/// The entry's place below the data folder: parts of plain letters only, so that it can't lead elsewhere.
fn path_of(entry: &Entry<'_, impl Read>) -> Result<String, Failure> {
    let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let is_part = |part: &str| !part.is_empty() && part != "." && part != ".." && part.bytes().all(is_plain);
    if entry.header().entry_type() != EntryType::Regular || path.len() > 100 || !path.split('/').all(is_part) {
        let shown = path.chars().take(100).collect::<String>();
        return Err(Failure::Foreign(format!("it holds {shown:?}, which no backup does")));
    }
    Ok(path)
}

fn page(entry: &mut Entry<'_, impl Read>) -> Result<(About, (u64, blake3::Hash)), Failure> {
    let mut text = Vec::new();
    entry.take(ABOUT_BYTES_MAX).read_to_end(&mut text).map_err(broken)?;
    #[derive(serde::Deserialize)]
    struct Format {
        format: u32,
        made_by: String,
    }
    let foreign = |error: serde_json::Error| Failure::Foreign(format!("{ABOUT}: {error}"));
    let Format { format, made_by } = serde_json::from_slice(&text).map_err(foreign)?;
    if format > FORMAT {
        return Err(Failure::Newer { format, made_by });
    }
    let about = serde_json::from_slice(&text).map_err(foreign)?;
    Ok((about, (text.len() as u64, blake3::hash(&text))))
}

fn lines(entry: &mut Entry<'_, impl Read>) -> Result<BTreeMap<String, Line>, Failure> {
    let mut lines = BTreeMap::new();
    let mut reader = BufReader::new(entry);
    loop {
        let mut text = String::new();
        (&mut reader).take(LINE_BYTES_MAX).read_line(&mut text).map_err(broken)?;
        if text.is_empty() {
            return Ok(lines);
        }
        let damaged = |_| Failure::Damaged { path: MANIFEST.into(), reason: "can't be understood" };
        let line: Line = serde_json::from_str(&text).map_err(damaged)?;
        lines.insert(line.path.clone(), line);
    }
}

fn compare(seen: &mut Seen, manifest: &BTreeMap<String, Line>) -> Result<(), Failure> {
    let damaged = |path: &str, reason| Err(Failure::Damaged { path: path.to_owned(), reason });
    for (path, (bytes, digest)) in seen.iter() {
        match manifest.get(path) {
            None => return damaged(path, "is not in the manifest"),
            Some(line) if line.bytes != *bytes => return damaged(path, "has another length than the manifest says"),
            Some(line) if line.blake3 != digest.to_hex().as_str() => {
                return damaged(path, "has another digest than the manifest says");
            }
            Some(_) => {}
        }
    }
    match manifest.keys().find(|path| !seen.contains_key(*path)) {
        Some(path) => damaged(path, "is missing"),
        None => Ok(()),
    }
}

/// Hashes one file, and writes it if there is a folder for it.
fn take(entry: &mut Entry<'_, impl Read>, path: &str, into: Option<&Path>) -> Result<(u64, blake3::Hash), Failure> {
    let is_secret = entry.header().mode().is_ok_and(|mode| mode & 0o077 == 0);
    let target = into.map(|folder| folder.join(path));
    let failed =
        |reason| Failure::Io { place: target.as_deref().unwrap_or(Path::new(path)).display().to_string(), reason };
    let mut file = match &target {
        None => None,
        Some(target) => {
            let parent = target.parent().expect("it was joined to a folder");
            DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed)?;
            let mode = if is_secret { 0o600 } else { 0o644 };
            Some(OpenOptions::new().write(true).create_new(true).mode(mode).open(target).map_err(failed)?)
        }
    };
    let (mut hasher, mut bytes, mut piece) = (blake3::Hasher::new(), 0, vec![0; PIECE_BYTES]);
    loop {
        let count = entry.read(&mut piece).map_err(broken)?;
        if count == 0 {
            break;
        }
        hasher.update(&piece[..count]);
        bytes += count as u64;
        if let Some(file) = &mut file {
            file.write_all(&piece[..count]).map_err(failed)?;
        }
    }
    if bytes != entry.size() {
        return Err(Failure::CutOff(format!("it ends in the middle of {path}")));
    }
    if let Some(file) = file {
        file.sync_all().map_err(failed)?;
    }
    Ok((bytes, hasher.finalize()))
}

/// Makes the names in a folder and below it durable.
fn sync_folders(folder: &Path) -> Result<(), Failure> {
    let failed = |reason| Failure::Io { place: folder.display().to_string(), reason };
    let inside: Vec<PathBuf> = fs::read_dir(folder)
        .map_err(failed)?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<_>>()
        .map_err(failed)?;
    for path in inside.iter().filter(|path| path.is_dir()) {
        sync_folders(path)?;
    }
    fs::File::open(folder).and_then(|file| file.sync_all()).map_err(failed)
}
