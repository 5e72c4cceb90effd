//! The files of a directory tree.

use std::fs::{self, ReadDir};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use artimesh_core::model::ArtifactPath;

use super::listed::{Listed, Sums};
use super::node::Place;
use super::report::Report;
use super::sort::Sorter;
use super::source::Tree;

/// What the names of checksum files end in.
const CHECKSUM_ENDS: [&str; 3] = [".md5", ".sha1", ".sha256"];

/// Lists all files below `root` that can be artifacts below `place`. What can't is told, one by one.
///
/// # Errors
/// The root can't be read, or the temporary files can't be written.
pub(in crate::cli) fn walk(tree: &Tree, place: &Place, report: &Report) -> anyhow::Result<Sorter> {
    let root = tree.root.as_path();
    let mut walk = Walk { root, tree, place, report, sorter: Sorter::new() };
    let first = fs::read_dir(root).with_context(|| root.display().to_string())?;
    // One open folder a level; the length of paths bounds the levels.
    let mut open: Vec<(PathBuf, ReadDir)> = vec![(PathBuf::new(), first)];
    while let Some((folder, entries)) = open.last_mut() {
        let folder = folder.clone();
        let Some(entry) = entries.next() else {
            open.pop();
            continue;
        };
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                report.failed(&root.join(&folder).display().to_string(), &format!("not read to its end: {error}"));
                open.pop();
                continue;
            }
        };
        if let Some(deeper) = walk.entry(&folder.join(entry.file_name()), &entry)? {
            open.push(deeper);
        }
    }
    Ok(walk.sorter)
}

struct Walk<'walk> {
    root: &'walk Path,
    tree: &'walk Tree,
    place: &'walk Place,
    report: &'walk Report,
    sorter: Sorter,
}

impl Walk<'_> {
    /// Takes one entry; a folder is returned, to be read next.
    fn entry(&mut self, relative: &Path, entry: &fs::DirEntry) -> io::Result<Option<(PathBuf, ReadDir)>> {
        let shown = self.root.join(relative).display().to_string();
        let file_type = match entry.file_type() {
            Ok(file_type) => file_type,
            Err(error) => {
                self.report.failed(&shown, &error.to_string());
                return Ok(None);
            }
        };
        // What isn't wanted is no matter of concern, whatever it is.
        if !file_type.is_dir() && !self.tree.filter.takes(&relative.to_string_lossy()) {
            return Ok(None);
        }
        if file_type.is_symlink() {
            self.report.note(&format!("a symbolic link, not followed: {shown}"));
            self.report.tally().links += 1;
            return Ok(None);
        }
        if !file_type.is_dir() && !file_type.is_file() {
            self.report.note(&format!("a special file, left out: {shown}"));
            self.report.tally().special += 1;
            return Ok(None);
        }
        let path = match self.path(relative) {
            Ok(path) => path,
            Err(reason) => {
                self.report.failed(&shown, &reason);
                return Ok(None);
            }
        };
        if file_type.is_file() {
            self.file(path, entry, &shown)?;
            return Ok(None);
        }
        match fs::read_dir(entry.path()) {
            Ok(entries) => Ok(Some((relative.to_owned(), entries))),
            Err(error) => {
                self.report.failed(&shown, &error.to_string());
                Ok(None)
            }
        }
    }

    /// Checks that an artifact can be called so where it is to be.
    fn path(&self, relative: &Path) -> Result<ArtifactPath, String> {
        let text = relative.to_str().ok_or("the name is not UTF-8")?;
        let path: ArtifactPath = text.parse().map_err(|error| format!("{error}"))?;
        self.place.location(&path).map_err(|error| error.to_string())?;
        Ok(path)
    }

    fn file(&mut self, path: ArtifactPath, entry: &fs::DirEntry, shown: &str) -> io::Result<()> {
        let stat = entry.metadata().and_then(|metadata| Ok((metadata.len(), metadata.modified()?)));
        let (size, modified) = match stat {
            Ok(stat) => stat,
            Err(error) => {
                self.report.failed(shown, &error.to_string());
                return Ok(());
            }
        };
        if is_part(entry.file_name().to_str().unwrap_or_default()) {
            self.report.note(&format!("a part of a download, left out: {shown}"));
            self.report.tally().special += 1;
            return Ok(());
        }
        match checksum_file(&entry.path()) {
            Some(true) => {
                self.report.tally().checksum_files += 1;
                return Ok(());
            }
            Some(false) => {
                self.report
                    .failed(shown, "it is a checksum file by its name, and the file that it would be of isn't there");
                return Ok(());
            }
            None => {}
        }
        self.report.goes_on(1);
        self.sorter.push(Listed { path, size, sums: Sums::default(), properties: Some(self.tree.properties(modified)) })
    }
}

/// Whether it is what a download that was broken off by force left behind: `.NAME.12 digits.part`, or with the SHA-256 before
/// its end.
pub(in crate::cli) fn is_part(name: &str) -> bool {
    let is_hex = |text: &str, digits| text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let Some(name) = name.strip_prefix('.').and_then(|name| name.strip_suffix(".part")) else { return false };
    let (rest, last) = name.rsplit_once('.').unwrap_or_default();
    is_hex(last, 12) || (is_hex(last, 64) && rest.rsplit_once('.').is_some_and(|(_, tag)| is_hex(tag, 12)))
}

/// Whether the file beside it is there, if its name is that of a checksum file: a node stores none of these, but computes
/// them.
fn checksum_file(path: &Path) -> Option<bool> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let base = CHECKSUM_ENDS.iter().find_map(|end| name.strip_suffix(end)).filter(|base| !base.is_empty())?;
    Some(path.with_file_name(base).symlink_metadata().is_ok_and(|beside| beside.is_file()))
}

/// Whether a path is that of a checksum file.
pub(in crate::cli) fn names_checksum(path: &str) -> bool {
    CHECKSUM_ENDS.iter().any(|end| path.ends_with(end))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;
    use crate::cli::artifact::glob::Filter;
    use crate::cli::import::report::{Tally, Words};

    fn walked(root: &Path, place: &str) -> (Vec<String>, Report) {
        filtered(root, place, Filter::default())
    }

    fn filtered(root: &Path, place: &str, filter: Filter) -> (Vec<String>, Report) {
        let report = Report::new(Words::IMPORT);
        let tree = Tree { root: root.to_owned(), filter, keeps_times: true };
        let sorter = walk(&tree, &Place::new(place.parse().unwrap()), &report).unwrap();
        let paths = sorter.sorted().unwrap().map(|row| row.unwrap().path.to_string()).collect();
        (paths, report)
    }

    #[test]
    fn files_are_listed_and_what_can_be_none_is_counted() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        for folder in ["b", "a-b", "empty", "b/c"] {
            fs::create_dir(at(folder)).unwrap();
        }
        for name in ["b/x", "a-b/y", "a;b", "b/c/ü %41", "j.jar", "j.jar.sha1", "lone.md5", "back\\slash", "tab\t"] {
            fs::write(at(name), b"1").unwrap();
        }
        fs::write(root.path().join(OsStr::from_bytes(b"\xff")), b"1").unwrap();
        std::os::unix::fs::symlink(root.path(), at("round")).unwrap();
        let (paths, report) = walked(root.path(), "libs/here");
        assert_eq!(paths, ["a-b/y", "a;b", "b/c/ü %41", "b/x", "j.jar"]);
        let (paths, wanted) = filtered(root.path(), "libs", Filter::including("**/*.jar"));
        assert_eq!(paths, ["j.jar"]);
        assert_eq!(*wanted.tally(), Tally::default(), "what isn't wanted is not told");
        let tally = report.tally().clone();
        assert_eq!((tally.failed, tally.links, tally.checksum_files), (4, 1, 1));
    }

    #[test]
    fn parts_of_downloads_are_known_by_their_names() {
        let (tag, sum) = ("0123456789ab", "f".repeat(64));
        for name in [format!(".x.jar.{tag}.part"), format!(".x.{tag}.{sum}.part")] {
            assert!(is_part(&name), "{name}");
        }
        for name in ["x.part", ".x.part", ".part", ".x.0123456789ag.part", &format!(".x.{sum}.part")] {
            assert!(!is_part(name), "{name}");
        }
    }

    #[test]
    fn a_path_that_is_too_long_where_it_is_to_be_is_told() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("d".repeat(200))).unwrap();
        fs::write(root.path().join("d".repeat(200)).join("x"), b"1").unwrap();
        let deep = format!("libs/{}", vec!["p".repeat(250); 4].join("/"));
        let (paths, report) = walked(root.path(), &deep);
        assert_eq!((paths.len(), report.tally().failed), (0, 1));
        assert_eq!(walked(root.path(), "libs").0.len(), 1);
    }
}
