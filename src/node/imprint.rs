//! `DIR/imprint.json`: by what a data folder is told from a copy of it, or from itself as it was earlier.
//!
//! Two nodes that go on from one folder would give different entries one number, which everybody else takes for a fault of
//! their author; and so would one node that goes on from an older copy. So each start compares the folder with what the
//! last one noted, and goes on under a new incarnation when it isn't surely the same.
//!
//! # Why
//! - *When a file was born* is kept by the file system alone: no copy has it, whatever tool made it, while moving the folder
//!   keeps it. Where a file system doesn't tell, the inode stands in.
//! - *No device numbers:* they change from boot to boot, and a new incarnation for nothing makes the node wait for a peer.
//! - *What this can't see* (an image of the whole machine) peers can: they tell a node how much of it they have.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::config::write_new;
use crate::store::HOLLOW_PACK_BYTES;

const FILE_NAME: &str = "imprint.json";
/// What lives as long as its folder. Beside these the oldest pack that holds anything is noted, which a store that is set
/// back brings along.
const LASTING: [&str; 2] = [".", "keys/log.key"];
/// What packs are called in the note, wherever the store is.
const PACKS: &str = "store/packs/";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Imprint {
    /// A hash of the machine's id; `None` where there is none.
    machine: Option<String>,
    /// When lasting files were born, or which inodes they have.
    files: BTreeMap<String, Mark>,
    /// The store's last commit then.
    commit: u64,
    /// Set by a restore: the folder never ran.
    #[serde(default)]
    restored: bool,
    /// A peer was to be asked what it knows of this node, and none was reached before the end.
    #[serde(default)]
    asks: bool,
}

/// What the note says of the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// Why the folder can't be taken for the one that the node last ran on; `None` when it can.
    pub(super) changed: Option<String>,
    /// Whether the last start asked for a peer, and ended without having reached one.
    pub(super) asks: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mark {
    BornNs(u64),
    Inode(u64),
}

/// Compares the folder, and its store in the folder `store`, with the note. `commit` is the last commit of the store as it was just opened.
///
/// # Errors
/// The note can't be read. One that can't be understood counts as absent.
pub(super) fn look(folder: &Path, store: &Path, commit: u64) -> anyhow::Result<Seen> {
    let changed = |reason: String| Ok(Seen { changed: Some(reason), asks: true });
    let path = folder.join(FILE_NAME);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return changed("nothing says that this folder is where the node last ran".into());
        }
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    let Ok(noted) = serde_json::from_slice::<Imprint>(&text) else {
        return changed(format!("{} can't be understood", path.display()));
    };
    Ok(Seen { changed: noted.differs(&Places { folder, store }, commit), asks: noted.asks })
}

/// Whether any release has noted anything of this folder.
pub(super) fn is_noted(folder: &Path) -> bool {
    folder.join(FILE_NAME).exists()
}

/// Notes that the node runs on this folder, on this machine; `asks` says whether a peer has still to be asked.
pub(super) fn note(folder: &Path, store: &Path, commit: u64, asks: bool) -> anyhow::Result<()> {
    write(folder, &Imprint::of(&Places { folder, store }, commit, asks))
}

/// Notes that the folder was restored and never ran.
pub(super) fn mark_restored(folder: &Path, commit: u64) -> anyhow::Result<()> {
    write(folder, &Imprint { machine: None, files: BTreeMap::new(), commit, restored: true, asks: true })
}

fn write(folder: &Path, imprint: &Imprint) -> anyhow::Result<()> {
    let path = folder.join(FILE_NAME);
    let beside = folder.join("imprint.json.next");
    let text = serde_json::to_vec_pretty(imprint)?;
    let written = match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => write_new(&beside, &text, 0o644).and_then(|()| fs::rename(&beside, &path)),
    };
    written.and_then(|()| fs::File::open(folder)?.sync_all()).with_context(|| path.display().to_string())
}

/// Where what is compared lies.
struct Places<'a> {
    folder: &'a Path,
    store: &'a Path,
}

impl Places<'_> {
    /// What stands under a name in the note.
    fn of(&self, name: &str) -> PathBuf {
        name.strip_prefix(PACKS).map_or_else(|| self.folder.join(name), |pack| self.store.join("packs").join(pack))
    }

    /// The name of the oldest pack that holds anything.
    fn oldest_pack(&self) -> Option<String> {
        let listed = fs::read_dir(self.store.join("packs")).ok()?;
        let names = listed.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let packs = names.filter(|name| name.ends_with(".pack")).map(|name| format!("{PACKS}{name}"));
        packs.filter(|name| !is_hollow(&self.of(name))).min()
    }
}

impl Imprint {
    fn of(places: &Places<'_>, commit: u64, asks: bool) -> Imprint {
        let names = LASTING.iter().map(|name| (*name).to_owned()).chain(places.oldest_pack());
        let files = names.filter_map(|name| Mark::of(&places.of(&name)).ok().map(|mark| (name, mark))).collect();
        Imprint { machine: machine(), files, commit, restored: false, asks }
    }

    /// Why what is there now, with a store that ends at `commit`, isn't what was noted.
    fn differs(&self, places: &Places<'_>, commit: u64) -> Option<String> {
        if self.restored {
            return Some(format!("it was restored from a backup as of commit {}", self.commit));
        }
        if self.machine != machine() {
            return Some("it was last used on another machine".into());
        }
        let is_other = |(name, mark): &(&String, &Mark)| {
            let path = places.of(name);
            // A pack that was compacted since is another file or, merged with others, none, and says nothing.
            let was_compacted = is_hollow(&path) || (!path.exists() && places.oldest_pack().as_ref() > Some(name));
            !was_compacted && Mark::of(&path).ok().as_ref() != Some(mark)
        };
        let other = self.files.iter().find(is_other);
        if let Some((name, _)) = other {
            let what = if name == "." { "this folder" } else { name };
            return Some(format!("{what} is a copy, and not what the node last ran on"));
        }
        (commit < self.commit)
            .then(|| format!("its store was set back: it ends at commit {commit}, and was at {}", self.commit))
    }
}

fn is_hollow(path: &Path) -> bool {
    let is_pack = path.extension().is_some_and(|extension| extension == "pack");
    is_pack && path.metadata().is_ok_and(|metadata| metadata.len() <= HOLLOW_PACK_BYTES)
}

impl Mark {
    fn of(path: &Path) -> io::Result<Mark> {
        let metadata = path.metadata()?;
        let born = metadata.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
        Ok(born.map_or(Mark::Inode(metadata.ino()), |born| Mark::BornNs(born.as_nanos() as u64)))
    }
}

/// A hash of the machine's id, for systemd asks that the id itself stays on the machine.
fn machine() -> Option<String> {
    let text = fs::read_to_string("/etc/machine-id").ok()?;
    let id = text.trim();
    (!id.is_empty())
        .then(|| blake3::derive_key("artimesh/machine/v1", id.as_bytes()))
        .map(|hash| data_encoding::HEXLOWER.encode(&hash[..16]))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const FIRST: &str = "store/packs/0000000000000001.pack";

    /// A folder with what lasts in it, on which a node ran up to commit 7.
    fn used() -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join("node");
        for name in ["keys", "store/packs"] {
            fs::create_dir_all(folder.join(name)).expect("made");
        }
        for name in [LASTING[1], FIRST, "store/packs/0000000000000002.pack"] {
            fs::write(folder.join(name), [7; 1000]).expect("written");
        }
        note(&folder, &folder.join("store"), 7, false).expect("noted");
        root
    }

    fn copy(root: &Path, from: &str, to: &str) {
        let status = Command::new("cp").arg("-a").arg(root.join(from)).arg(root.join(to)).status().expect("cp runs");
        assert!(status.success());
    }

    fn reason(folder: &Path, commit: u64) -> String {
        look(folder, &folder.join("store"), commit).expect("readable").changed.unwrap_or_default()
    }

    #[test]
    fn the_same_folder_is_itself_also_after_it_was_moved() {
        let root = used();
        assert_eq!(reason(&root.path().join("node"), 7), "");
        fs::rename(root.path().join("node"), root.path().join("moved")).expect("renamed");
        assert_eq!(reason(&root.path().join("moved"), 9), "");
    }

    #[test]
    fn a_store_that_is_elsewhere_is_compared_where_it_is() {
        let root = used();
        let (folder, elsewhere) = (root.path().join("node"), root.path().join("elsewhere"));
        copy(root.path(), "node/store", "elsewhere");
        let changed = |store: &Path| look(&folder, store, 7).expect("readable").changed;
        assert!(changed(&elsewhere).is_some());
        note(&folder, &elsewhere, 7, false).expect("noted");
        assert_eq!(changed(&elsewhere), None);
        assert!(changed(&folder.join("store")).is_some());
    }

    #[test]
    fn who_found_no_peer_to_ask_asks_again() {
        let root = used();
        let folder = root.path().join("node");
        note(&folder, &folder.join("store"), 7, true).expect("noted");
        assert_eq!(look(&folder, &folder.join("store"), 7).expect("readable"), Seen { changed: None, asks: true });
    }

    #[test]
    fn a_copy_is_not_the_folder() {
        let root = used();
        copy(root.path(), "node", "copy");
        assert!(reason(&root.path().join("copy"), 7).contains("is a copy"));
        assert_eq!(reason(&root.path().join("node"), 7), "");
    }

    #[test]
    fn a_store_that_was_put_back_or_that_ends_earlier_is_noticed() {
        let root = used();
        let folder = root.path().join("node");
        assert!(reason(&folder, 6).contains("ends at commit 6, and was at 7"));
        copy(root.path(), "node/store", "old");
        fs::remove_dir_all(folder.join("store")).expect("removed");
        copy(root.path(), "old", "node/store");
        assert!(reason(&folder, 7).contains("0000000000000001.pack is a copy"));
    }

    #[test]
    fn a_pack_that_was_compacted_is_no_other_and_then_the_next_one_counts() {
        let root = used();
        let folder = root.path().join("node");
        fs::write(root.path().join("hollow"), vec![7; HOLLOW_PACK_BYTES as usize]).expect("written");
        fs::rename(root.path().join("hollow"), folder.join(FIRST)).expect("renamed");
        assert_eq!(reason(&folder, 7), "");
        fs::remove_file(folder.join(FIRST)).expect("removed");
        assert_eq!(reason(&folder, 7), "", "merged with another");
        note(&folder, &folder.join("store"), 8, false).expect("noted");
        copy(root.path(), "node/store", "old");
        fs::remove_dir_all(folder.join("store")).expect("removed");
        copy(root.path(), "old", "node/store");
        assert!(reason(&folder, 8).contains("0000000000000002.pack is a copy"));
        fs::remove_file(folder.join("store/packs/0000000000000002.pack")).expect("removed");
        assert!(reason(&folder, 8).contains("0000000000000002.pack is a copy"), "nothing later is there");
    }

    #[test]
    fn a_folder_that_nobody_noted_or_that_was_restored_is_another() {
        let root = used();
        let folder = root.path().join("node");
        mark_restored(&folder, 7).expect("noted");
        assert!(reason(&folder, 7).contains("restored from a backup as of commit 7"));
        fs::write(folder.join(FILE_NAME), "{").expect("written");
        assert!(reason(&folder, 7).contains("can't be understood"));
        fs::remove_file(folder.join(FILE_NAME)).expect("removed");
        assert!(reason(&folder, 7).contains("nothing says"));
    }
}
