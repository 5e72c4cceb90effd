//! A disk in memory that knows what was synced, and can be cut off from power.

mod drawn;

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::drawn::Lost;
use super::{File, FileSystem, Listed, SyncPoint};

/// A device writes, or loses, so many bytes as one.
const SECTOR_BYTES: usize = 512;

/// A disk in memory; clones are the same disk.
#[derive(Clone)]
pub struct SimulatedFiles(Arc<Mutex<Disk>>);

/// What becomes of the writes and names that weren't synced when power fails.
#[derive(Debug, Clone, Copy)]
pub enum Loss {
    /// All are lost.
    Everything,
    /// None is: the crash came late.
    Nothing,
    /// Names are kept, all bytes are lost.
    Bytes,
    /// Bytes are kept, all names are lost.
    Names,
    /// The first write to each file is lost, the others and the names are kept.
    FirstWrites,
    /// Of the names only the newest file's is kept, with all bytes: they came to the disk in another order.
    NewestName,
    /// Each write and each name is lost, kept or torn by the dice of this seed.
    Dice(u64),
}

#[derive(Clone)]
struct Disk {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, Node>,
    durable_names: BTreeMap<PathBuf, Node>,
    pending_names: Vec<NameChange>,
    operations: u64,
    off_at: Option<u64>,
    is_off: bool,
    omitted: Option<SyncPoint>,
    failing: Option<Failure>,
    failures: u64,
    capacity_bytes: u64,
}

/// A sync that is to fail.
#[derive(Clone, Copy)]
struct Failure {
    point: SyncPoint,
    /// Decides how much of what it should have written is on the disk all the same; nothing without it.
    seed: Option<u64>,
}

#[derive(Clone, Default)]
struct Inode {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    /// The sectors that a write touched, from `start` on, as they were in memory behind it, and which bytes of them it wrote.
    Write {
        start: usize,
        sectors: Vec<u8>,
        written: Range<usize>,
    },
    Resize(usize),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Node {
    Folder,
    File(usize),
}

#[derive(Clone)]
struct NameChange {
    folder: PathBuf,
    removed: Option<PathBuf>,
    added: Option<(PathBuf, Node)>,
}

struct SimulatedFile {
    disk: Arc<Mutex<Disk>>,
    inode: usize,
}

impl SimulatedFiles {
    /// An empty disk whose root is the folder `root`.
    pub fn new(root: &Path) -> SimulatedFiles {
        let names = BTreeMap::from([(root.to_path_buf(), Node::Folder)]);
        SimulatedFiles(Arc::new(Mutex::new(Disk {
            inodes: Vec::new(),
            durable_names: names.clone(),
            names,
            pending_names: Vec::new(),
            operations: 0,
            off_at: None,
            is_off: false,
            omitted: None,
            failing: None,
            failures: 0,
            capacity_bytes: u64::MAX,
        })))
    }

    /// Turns every sync at this point into a lie.
    pub fn omit(&self, point: SyncPoint) {
        self.disk().omitted = Some(point);
    }

    /// Whether every sync does its work.
    pub fn is_honest(&self) -> bool {
        self.disk().omitted.is_none()
    }

    /// Whether syncs at this point are lies.
    pub fn omits(&self, point: SyncPoint) -> bool {
        self.disk().omitted == Some(point)
    }

    /// Lets the next sync at this point fail; what it should have written looks clean but never reaches the disk.
    pub fn fail_next(&self, point: SyncPoint) {
        self.disk().failing = Some(Failure { point, seed: None });
    }

    /// The same, and a seed decides what of it reaches the disk, and whether memory forgets the rest.
    pub fn fail_next_by(&self, point: SyncPoint, seed: u64) {
        self.disk().failing = Some(Failure { point, seed: Some(seed) });
    }

    /// How many syncs have failed.
    pub fn failures(&self) -> u64 {
        self.disk().failures
    }

    /// Nothing that was to go wrong, and hasn't, does.
    pub fn calm(&self) {
        let mut disk = self.disk();
        disk.failing = None;
        disk.off_at = None;
    }

    /// Turns the machine off right before this operation, counted from 0.
    pub fn turn_off_at(&self, operation: u64) {
        self.disk().off_at = Some(operation);
    }

    /// Whether that has happened.
    pub fn is_off(&self) -> bool {
        self.disk().is_off
    }

    /// How many operations were started.
    pub fn operations(&self) -> u64 {
        self.disk().operations
    }

    /// Limits the bytes of all files together.
    pub fn limit(&self, capacity_bytes: u64) {
        self.disk().capacity_bytes = capacity_bytes;
    }

    /// The bytes of all files together.
    pub fn used_bytes(&self) -> u64 {
        self.disk().used_bytes()
    }

    /// Changes a byte of a file behind everybody's back.
    pub fn rot(&self, path: &Path, offset: usize) {
        let mut disk = self.disk();
        let Some(Node::File(inode)) = disk.names.get(path).copied() else { panic!("{} isn't there", path.display()) };
        disk.inodes[inode].bytes[offset] ^= 0x40;
        // What was never synced can't rot there.
        disk.inodes[inode].durable.get_mut(offset).into_iter().for_each(|byte| *byte ^= 0x40);
    }

    /// The disk after the process was killed: nothing is lost yet, and nothing more was synced.
    pub fn after_kill(&self) -> SimulatedFiles {
        let mut disk = self.disk().clone();
        disk.is_off = false;
        disk.off_at = None;
        disk.failing = None;
        disk.failures = 0;
        disk.operations = 0;
        SimulatedFiles(Arc::new(Mutex::new(disk)))
    }

    /// The disk after power failed.
    pub fn after_power_loss(&self, loss: Loss) -> SimulatedFiles {
        let disk = self.disk();
        let mut dice = Dice(match loss {
            Loss::Dice(seed) => seed,
            _ => 0,
        });
        let mut names = disk.durable_names.clone();
        // A new file that replaces another is two changes: it was made, and it was renamed.
        let newest = disk.pending_names.len().saturating_sub(2);
        for (position, change) in disk.pending_names.iter().enumerate() {
            let is_kept = match loss {
                Loss::NewestName => position >= newest,
                Loss::Everything | Loss::Names => false,
                Loss::Nothing | Loss::Bytes | Loss::FirstWrites => true,
                Loss::Dice(_) => dice.roll(2) == 0,
            };
            if is_kept {
                change.apply(&mut names);
            }
        }
        let inodes = disk.inodes.iter().map(|inode| inode.after_power_loss(loss, &mut dice)).collect();
        disk.started_again(names, inodes)
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, inode: usize) -> Arc<dyn File> {
        Arc::new(SimulatedFile { disk: self.0.clone(), inode })
    }
}

/// Whether all folders above a path are there; the root has none.
fn is_reachable(names: &BTreeMap<PathBuf, Node>, path: &Path) -> bool {
    let Some(root) = names.keys().next() else { return false };
    path == root
        || path.ancestors().skip(1).take_while(|above| above.starts_with(root)).all(|above| names.contains_key(above))
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % sides
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, Node>) {
        if let Some(removed) = &self.removed {
            names.remove(removed);
        }
        if let Some((path, node)) = &self.added {
            names.insert(path.clone(), *node);
        }
    }
}

/// Puts bytes into a file, which grows if it must.
fn put(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset..end].copy_from_slice(bytes);
}

impl Change {
    /// To the byte, as if disks had no sectors; of a write only the first `bytes_max`.
    fn apply_exactly(&self, file: &mut Vec<u8>, bytes_max: usize) {
        match self {
            Change::Write { start, sectors, written } => {
                let bytes = &sectors[written.clone()];
                put(file, start + written.start, &bytes[..bytes.len().min(bytes_max)]);
            }
            Change::Resize(size) => file.resize(*size, 0),
        }
    }

    /// Sector by sector, as memory had them.
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Change::Write { start, sectors, .. } => put(file, *start, sectors),
            Change::Resize(size) => file.resize(*size, 0),
        }
    }
}

impl Inode {
    fn after_power_loss(&self, loss: Loss, dice: &mut Dice) -> Inode {
        let mut bytes = self.durable.clone();
        for (position, change) in self.pending.iter().enumerate() {
            let kept_bytes = match loss {
                Loss::Everything | Loss::Bytes => continue,
                Loss::Nothing | Loss::Names | Loss::NewestName => usize::MAX,
                Loss::FirstWrites if position == 0 => continue,
                Loss::FirstWrites => usize::MAX,
                Loss::Dice(_) => match (dice.roll(3), change) {
                    (0, _) => continue,
                    (1, Change::Write { written, .. }) => dice.roll(written.len() as u64 + 1) as usize,
                    _ => usize::MAX,
                },
            };
            change.apply_exactly(&mut bytes, kept_bytes);
        }
        Inode::at_rest(bytes)
    }

    /// A file of which everything is on the disk.
    fn at_rest(bytes: Vec<u8>) -> Inode {
        Inode { durable: bytes.clone(), bytes, pending: Vec::new() }
    }

    /// What was written since the last sync, and nothing else: what a sync that failed should have written stays lost.
    fn sync(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            change.apply(&mut self.durable);
        }
    }

    /// Writes to memory, and notes which sectors are newer there.
    fn write(&mut self, bytes: &[u8], offset: usize) {
        put(&mut self.bytes, offset, bytes);
        let (start, end) = (offset / SECTOR_BYTES * SECTOR_BYTES, offset + bytes.len());
        let sectors = self.bytes[start..end.next_multiple_of(SECTOR_BYTES).min(self.bytes.len())].to_vec();
        self.pending.push(Change::Write { start, sectors, written: offset - start..end - start });
    }

    fn resize(&mut self, size: usize) {
        self.bytes.resize(size, 0);
        self.pending.push(Change::Resize(size));
    }
}

impl Disk {
    fn start(&mut self) -> io::Result<()> {
        if self.off_at == Some(self.operations) {
            self.is_off = true;
        }
        self.operations += 1;
        self.check_power()
    }

    fn check_power(&self) -> io::Result<()> {
        if self.is_off { Err(io::Error::other("the machine is off")) } else { Ok(()) }
    }

    fn used_bytes(&self) -> u64 {
        self.inodes.iter().map(|inode| inode.bytes.len() as u64).sum()
    }

    fn find(&self, path: &Path) -> io::Result<Node> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rename(&mut self, removed: Option<PathBuf>, added: Option<(PathBuf, Node)>) {
        let path = removed.as_ref().or(added.as_ref().map(|(path, _)| path)).expect("a change changes something");
        let change = NameChange { folder: path.parent().expect("not the root").to_path_buf(), removed, added };
        change.apply(&mut self.names);
        self.pending_names.push(change);
    }

    /// The file, before it is changed so that it ends at `end` or later.
    fn changing(&mut self, inode: usize, end: usize) -> io::Result<&mut Inode> {
        self.start()?;
        let growth = end.saturating_sub(self.inodes[inode].bytes.len()) as u64;
        if self.used_bytes() + growth > self.capacity_bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(&mut self.inodes[inode])
    }

    /// Whether a sync at this point shall do its work.
    fn sync(&mut self, point: SyncPoint, inode: Option<usize>) -> io::Result<bool> {
        self.start()?;
        if let Some(failure) = self.failing.filter(|failure| failure.point == point) {
            self.failing = None;
            self.failures += 1;
            if let Some(inode) = inode {
                self.inodes[inode].fail(failure.seed);
            }
            return Err(io::Error::other("the disk doesn't answer"));
        }
        Ok(self.omitted != Some(point))
    }

    /// The disk with these names and files, as the next process finds it.
    fn started_again(&self, mut names: BTreeMap<PathBuf, Node>, inodes: Vec<Inode>) -> SimulatedFiles {
        let orphans: Vec<PathBuf> = names.keys().filter(|path| !is_reachable(&names, path)).cloned().collect();
        orphans.iter().for_each(|path| {
            names.remove(path);
        });
        SimulatedFiles(Arc::new(Mutex::new(Disk {
            inodes,
            durable_names: names.clone(),
            names,
            pending_names: Vec::new(),
            operations: 0,
            off_at: None,
            is_off: false,
            omitted: self.omitted,
            failing: None,
            failures: 0,
            capacity_bytes: self.capacity_bytes,
        })))
    }
}

impl FileSystem for SimulatedFiles {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.start()?;
        if disk.find(path).is_err() {
            disk.rename(None, Some((path.to_path_buf(), Node::Folder)));
        }
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut disk = self.disk();
        disk.start()?;
        disk.find(path.parent().expect("a file is in a folder"))?;
        if disk.find(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = disk.inodes.len();
        disk.inodes.push(Inode::default());
        disk.rename(None, Some((path.to_path_buf(), Node::File(inode))));
        Ok(self.file(inode))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let disk = self.disk();
        disk.check_power()?;
        match disk.find(path)? {
            Node::File(inode) => Ok(self.file(inode)),
            Node::Folder => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Listed>> {
        let disk = self.disk();
        disk.check_power()?;
        disk.find(folder)?;
        let inside = disk.names.iter().filter(|(path, _)| path.parent() == Some(folder));
        let listed = inside.map(|(path, node)| Listed {
            name: path.file_name().expect("it is in a folder").to_string_lossy().into_owned(),
            bytes: match node {
                Node::File(inode) => disk.inodes[*inode].bytes.len() as u64,
                Node::Folder => 0,
            },
        });
        Ok(listed.collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.start()?;
        let node = disk.find(from)?;
        disk.rename(Some(from.to_path_buf()), Some((to.to_path_buf(), node)));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.start()?;
        disk.find(path)?;
        disk.rename(Some(path.to_path_buf()), None);
        Ok(())
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        let inside: Vec<PathBuf> = {
            let disk = self.disk();
            disk.check_power()?;
            disk.find(path)?;
            disk.names.keys().rev().filter(|inside| inside.starts_with(path)).cloned().collect()
        };
        // One after the other, the deepest first: it may end anywhere.
        inside.iter().try_for_each(|path| self.remove(path))
    }

    fn sync_folder(&self, folder: &Path, point: SyncPoint) -> io::Result<()> {
        let mut disk = self.disk();
        if disk.sync(point, None)? {
            let mut durable = std::mem::take(&mut disk.durable_names);
            disk.pending_names.retain(|change| {
                let is_here = change.folder == folder;
                if is_here {
                    change.apply(&mut durable);
                }
                !is_here
            });
            disk.durable_names = durable;
        }
        Ok(())
    }

    fn free_bytes(&self, _folder: &Path) -> io::Result<u64> {
        let disk = self.disk();
        Ok(disk.capacity_bytes.saturating_sub(disk.used_bytes()))
    }
}

impl SimulatedFile {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl File for SimulatedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let disk = self.disk();
        disk.check_power()?;
        let start = offset as usize;
        let bytes = disk.inodes[self.inode].bytes.get(start..start + buffer.len());
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let offset = offset as usize;
        self.disk().changing(self.inode, offset + bytes.len())?.write(bytes, offset);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.disk().inodes[self.inode].bytes.len() as u64)
    }

    fn set_size(&self, bytes: u64) -> io::Result<()> {
        self.disk().changing(self.inode, bytes as usize)?.resize(bytes as usize);
        Ok(())
    }

    fn allocate(&self, _offset: u64, _bytes: u64) -> io::Result<()> {
        self.disk().check_power()
    }

    fn sync(&self, point: SyncPoint) -> io::Result<()> {
        let mut disk = self.disk();
        if disk.sync(point, Some(self.inode))? {
            disk.inodes[self.inode].sync();
        }
        Ok(())
    }

    /// Makes nothing durable, for nobody may rely on it; fails when the sync that counts was to fail.
    fn sync_early(&self) -> io::Result<()> {
        let mut disk = self.disk();
        match disk.failing.map(|failure| failure.point) {
            Some(SyncPoint::LargeFile) => disk.sync(SyncPoint::LargeFile, Some(self.inode)).map(drop),
            _ => disk.check_power(),
        }
    }
}
