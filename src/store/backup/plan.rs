//! What goes into a backup, decided in one moment.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::manifest::{ABOUT, About, FORMAT, Line, MANIFEST};
use crate::store::Store;
use crate::store::files::FileSystem;
use crate::store::pack::{self, HOLLOW_PACK_BYTES, PackHeader};
use crate::store::removal::Pin;
use crate::store::shared::Shared;

/// Tar writes in blocks of so many bytes, and ends with two empty ones.
const BLOCK_BYTES: u64 = 512;

/// A small file of the node's folder, read already.
#[derive(Clone)]
pub struct OwnFile {
    /// Its place below the folder.
    pub path: String,
    /// What it holds.
    pub bytes: Vec<u8>,
    /// Only its owner may read it.
    pub is_secret: bool,
}

impl OwnFile {
    /// Reads those of `names` that are plain files in `folder`; whatever else stands there under such a name (a pipe of a
    /// secret manager) isn't the folder's.
    pub fn read_all(folder: &Path, names: &[&str]) -> Result<Vec<OwnFile>, PlanError> {
        let mut own = Vec::new();
        for name in names {
            let path = folder.join(name);
            let metadata = match path.metadata() {
                Ok(metadata) if metadata.is_file() => metadata,
                Ok(_) => continue,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(reason) => return Err(PlanError::Io { path, reason }),
            };
            let is_secret = metadata.permissions().mode() & 0o077 == 0;
            let bytes = std::fs::read(&path).map_err(|reason| PlanError::Io { path, reason })?;
            own.push(OwnFile { path: (*name).to_owned(), bytes, is_secret });
        }
        Ok(own)
    }
}

/// What a file's bytes are taken from.
pub(super) enum Source {
    Memory(Vec<u8>),
    /// The first bytes of a file.
    File(PathBuf),
}

/// One file of the archive.
pub(super) struct Planned {
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) mode: u32,
    pub(super) source: Source,
}

/// Everything that will be in the archive, the manifest apart.
pub struct Plan {
    pub(super) about: About,
    pub(super) files: Vec<Planned>,
    /// Keeps what a running store would remove or compact meanwhile.
    _pin: Option<Pin>,
}

/// A backup can't be made. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The file system refused a call.
    #[error("{}: {reason}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        reason: io::Error,
    },
    /// There is nothing to back up.
    #[error("{} holds no packs: the node never ran, or its store is lost", .0.display())]
    Empty(PathBuf),
    /// A backup of this would be none.
    #[error("{} is missing, and later packs are there: a backup would be worth nothing", .0.display())]
    PackMissing(PathBuf),
}

impl Plan {
    /// A plan for a store that nobody has open: all that lies in `folder`, the store's. What no commit covers comes along, and
    /// is cut off when the copy is opened, as it would be here.
    pub fn of_stopped(
        about: About,
        own: Vec<OwnFile>,
        folder: &Path,
        files: &dyn FileSystem,
    ) -> Result<Plan, PlanError> {
        let packs = listed(files, &folder.join("packs"), "pack")?;
        let large = listed(files, &folder.join("large"), "blob")?;
        check_packs(files, &folder.join("packs"), &packs)?;
        Ok(Plan::new(About { commit: None, ..about }, own, folder, packs, large))
    }

    /// The store's packs up to its last commit, and the large files that belong to them. Blocks for two listings.
    fn of_running(about: About, own: Vec<OwnFile>, shared: &Arc<Shared>) -> Result<Plan, PlanError> {
        // First of all, so that neither the mark nor the lists are older than what is kept.
        let pin = Pin::new(shared);
        let mark = shared.mark();
        let mut packs = listed(shared.files.as_ref(), &shared.packs_folder(), "pack")?;
        packs.retain(|(number, _)| *number <= mark.pack);
        if let Some((_, bytes)) = packs.last_mut() {
            *bytes = mark.offset;
        }
        check_packs(shared.files.as_ref(), &shared.packs_folder(), &packs)?;
        let mut large = listed(shared.files.as_ref(), &shared.large_folder(), "blob")?;
        large.retain(|(number, _)| *number < mark.next_file && !mark.open_files.contains(number));
        let plan = Plan::new(About { commit: Some(mark.commit), ..about }, own, &shared.folder, packs, large);
        Ok(Plan { _pin: Some(pin), ..plan })
    }

    fn new(about: About, own: Vec<OwnFile>, folder: &Path, packs: Vec<(u64, u64)>, large: Vec<(u64, u64)>) -> Plan {
        let mode = |is_secret| if is_secret { 0o600 } else { 0o644 };
        let mut files: Vec<Planned> = own
            .into_iter()
            .map(|OwnFile { path, bytes, is_secret }| {
                let length = bytes.len() as u64;
                Planned { path, bytes: length, mode: mode(is_secret), source: Source::Memory(bytes) }
            })
            .collect();
        for (kind, extension, numbers) in [("packs", "pack", packs), ("large", "blob", large)] {
            files.extend(numbers.into_iter().map(|(number, bytes)| {
                let name = format!("{number:016x}.{extension}");
                let source = Source::File(folder.join(kind).join(&name));
                Planned { path: format!("store/{kind}/{name}"), bytes, mode: mode(false), source }
            }));
        }
        let bytes = files.iter().map(|file| file.bytes).sum();
        let about = About { format: FORMAT, files: files.len() as u64, bytes, ..about };
        let text = serde_json::to_vec_pretty(&about).expect("texts and numbers are JSON");
        let page =
            Planned { path: ABOUT.into(), bytes: text.len() as u64, mode: mode(false), source: Source::Memory(text) };
        files.insert(0, page);
        Plan { about, files, _pin: None }
    }

    /// What the archive says of itself.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// The length of the manifest.
    pub(super) fn manifest_bytes(&self) -> u64 {
        let zero = blake3::Hash::from_bytes([0; 32]);
        self.files.iter().map(|file| Line::encode(&file.path, file.bytes, &zero).len() as u64).sum()
    }

    /// The length of the whole archive.
    pub fn archive_bytes(&self) -> u64 {
        let stored = |bytes: u64| BLOCK_BYTES + bytes.next_multiple_of(BLOCK_BYTES);
        let files: u64 = self.files.iter().map(|file| stored(file.bytes)).sum();
        files + stored(self.manifest_bytes()) + 2 * BLOCK_BYTES
    }

    pub(super) fn manifest_name(&self) -> &'static str {
        MANIFEST
    }
}

impl Store {
    /// Decides on a backup of everything that was committed so far, with the folder's `own` files; the fields of `about` that
    /// count are filled in. Blocks. Writing goes on meanwhile and later.
    pub fn plan_backup(&self, about: About, own: Vec<OwnFile>) -> Result<Plan, PlanError> {
        Plan::of_running(about, own, self.shared())
    }
}

/// What the store had reached with its last commit.
#[derive(Debug, Clone, Default)]
pub struct Mark {
    /// The commit.
    pub commit: u64,
    /// The pack in which it stands.
    pub pack: u64,
    /// Where it ends there.
    pub offset: u64,
    /// The first large file that had no number yet.
    pub next_file: u64,
    /// Files with a number that no commit referred to yet.
    pub open_files: BTreeSet<u64>,
}

fn listed(files: &dyn FileSystem, folder: &Path, extension: &str) -> Result<Vec<(u64, u64)>, PlanError> {
    let listed = match files.list(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        other => other.map_err(|reason| PlanError::Io { path: folder.to_owned(), reason })?,
    };
    Ok(listed.iter().filter_map(|file| Some((pack::number_of(&file.name, extension)?, file.bytes))).collect())
}

fn check_packs(files: &dyn FileSystem, folder: &Path, packs: &[(u64, u64)]) -> Result<(), PlanError> {
    if packs.is_empty() {
        return Err(PlanError::Empty(folder.to_owned()));
    }
    let mut expected = 1;
    for (number, bytes) in packs {
        if *number > expected {
            return Err(PlanError::PackMissing(pack::path(folder, expected)));
        }
        expected = expected.max(number + 1);
        // Only hollow ones stand for others.
        if *bytes <= HOLLOW_PACK_BYTES {
            let path = pack::path(folder, *number);
            let header = files.open(&path).and_then(|file| PackHeader::read(file.as_ref()));
            let header = header.map_err(|reason| PlanError::Io { path, reason })?;
            expected = expected.max(header.map_or(0, |header| header.until + 1));
        }
    }
    Ok(())
}
