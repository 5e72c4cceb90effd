//! What is to be done: what the source has, beside what the node has.

use std::io;
use std::iter::Peekable;

use serde::{Deserialize, Serialize};

use super::listed::Listed;
use super::spool::{Rows, Spool};

/// When a file is the same as the artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Sameness {
    /// If size and modification time are.
    Time,
    /// If the bytes are.
    Bytes,
}

/// What one file needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::cli) enum Step {
    /// It isn't there, or has other bytes.
    Upload,
    /// Only reading it tells: it is there with as many bytes, which have this SHA-256.
    Compare {
        /// Of the artifact.
        sha256: String,
        /// If they are the same.
        same: Same,
    },
    /// Its bytes are there, and its properties are others.
    Properties,
}

/// What is left to do for a file whose bytes are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::cli) enum Same {
    /// Nothing.
    Done,
    /// Its properties.
    Properties,
}

/// One file that needs something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::cli) struct Planned {
    pub(in crate::cli) file: Listed,
    pub(in crate::cli) step: Step,
}

/// All of them, in the order of their paths.
pub(in crate::cli) struct Plan {
    pub(in crate::cli) steps: Rows<Planned>,
    pub(in crate::cli) files: u64,
    /// What is to be transferred at most.
    pub(in crate::cli) bytes: u64,
    /// Files that need nothing.
    pub(in crate::cli) already: u64,
}

/// Compares two lists in the order of paths.
pub(in crate::cli) fn plan(
    files: impl Iterator<Item = io::Result<Listed>>,
    held: impl Iterator<Item = io::Result<Listed>>,
    sameness: Sameness,
) -> io::Result<Plan> {
    let mut held = held.peekable();
    let mut spool = Spool::new()?;
    let (mut count, mut bytes, mut already) = (0, 0, 0);
    for file in files {
        let file = file?;
        let held = counterpart(&file, &mut held)?;
        match step(&file, held.as_ref(), sameness) {
            Some(step) => {
                count += 1;
                let more = if step == Step::Properties { 0 } else { file.size };
                // A source may tell any sizes.
                bytes = u64::saturating_add(bytes, more);
                spool.push(&Planned { file, step })?;
            }
            None => already += 1,
        }
    }
    Ok(Plan { steps: spool.rows()?, files: count, bytes, already })
}

/// The artifact at the file's path, if there is one; what stands before it is passed by.
fn counterpart(
    file: &Listed,
    held: &mut Peekable<impl Iterator<Item = io::Result<Listed>>>,
) -> io::Result<Option<Listed>> {
    let is_before = |row: &io::Result<Listed>| row.as_ref().is_ok_and(|row| row.path < file.path);
    while held.next_if(is_before).is_some() {}
    held.next_if(|row| row.as_ref().map_or(true, |row| row.path == file.path)).transpose()
}

/// What `file` needs where the node has `held`; nothing if they are the same.
pub(in crate::cli) fn step(file: &Listed, held: Option<&Listed>, sameness: Sameness) -> Option<Step> {
    // Of what exists nowhere any more a node tells no SHA-256: it is healed by an upload.
    let is_whole = |held: &&Listed| held.size == file.size && held.sums.sha256.is_some();
    let Some(held) = held.filter(is_whole) else { return Some(Step::Upload) };
    let has_properties = file.properties.as_ref().is_none_or(|wanted| held.has(wanted));
    match (file.sums.agree(&held.sums), &held.sums.sha256) {
        (Some(false), _) => Some(Step::Upload),
        (Some(true), _) if has_properties => None,
        (Some(true), _) => Some(Step::Properties),
        (None, _) if has_properties && file.properties.is_some() && sameness == Sameness::Time => None,
        (None, Some(sha256)) => {
            let same = if has_properties { Same::Done } else { Same::Properties };
            Some(Step::Compare { sha256: sha256.clone(), same })
        }
        (None, None) => Some(Step::Upload),
    }
}

#[cfg(test)]
mod tests {
    use super::super::listed::{Properties, Sums};
    use super::*;

    fn file(path: &str, size: u64, sum: Option<&str>, time: &str) -> Listed {
        let properties = Properties::from([("import.modified".into(), vec![time.to_owned()])]);
        let sums = Sums { sha256: sum.map(str::to_owned), sha1: None };
        Listed { path: path.parse().unwrap(), size, sums, properties: Some(properties) }
    }

    #[test]
    fn a_file_of_a_tree_is_the_same_by_size_and_time_or_by_its_bytes() {
        let (local, there) = (file("a", 3, None, "t"), file("a", 3, Some("s"), "t"));
        let compare = |same| Some(Step::Compare { sha256: "s".into(), same });
        assert_eq!(step(&local, None, Sameness::Time), Some(Step::Upload));
        assert_eq!(step(&local, Some(&there), Sameness::Time), None);
        assert_eq!(step(&local, Some(&there), Sameness::Bytes), compare(Same::Done));
        assert_eq!(step(&file("a", 4, None, "t"), Some(&there), Sameness::Time), Some(Step::Upload));
        assert_eq!(step(&file("a", 3, None, "u"), Some(&there), Sameness::Time), compare(Same::Properties));
    }

    #[test]
    fn a_file_of_a_server_is_the_same_by_its_sum() {
        let there = file("a", 3, Some("s"), "t");
        assert_eq!(step(&file("a", 3, Some("s"), "t"), Some(&there), Sameness::Time), None);
        assert_eq!(step(&file("a", 3, Some("s"), "u"), Some(&there), Sameness::Time), Some(Step::Properties));
        assert_eq!(step(&file("a", 3, Some("r"), "t"), Some(&there), Sameness::Time), Some(Step::Upload));
        let unknown = Listed { properties: None, ..file("a", 3, Some("s"), "t") };
        assert_eq!(step(&unknown, Some(&there), Sameness::Time), None, "nobody asks for each file's properties");
        let nameless = Listed { properties: None, ..file("a", 3, None, "t") };
        assert!(matches!(step(&nameless, Some(&there), Sameness::Time), Some(Step::Compare { .. })));
    }

    #[test]
    fn two_lists_are_compared_path_by_path() {
        let all = |paths: &[&str]| paths.iter().map(|path| Ok(file(path, 1, Some("s"), "t"))).collect::<Vec<_>>();
        let (here, there) = (all(&["a", "b/c", "d", "f"]), all(&["0", "b-", "b/c", "c", "d", "e", "z"]));
        let plan = plan(here.into_iter(), there.into_iter(), Sameness::Time).unwrap();
        assert_eq!((plan.files, plan.bytes, plan.already), (2, 2, 2));
        let paths: Vec<String> = plan.steps.map(|planned| planned.unwrap().file.path.to_string()).collect();
        assert_eq!(paths, ["a", "f"]);
    }

    #[test]
    fn a_list_that_fails_is_no_end_of_it() {
        let files = || [Ok(file("b", 1, None, "t"))].into_iter();
        let broken = || [Ok(file("a", 1, None, "t")), Err(io::Error::other("disk"))].into_iter();
        assert!(plan(files(), broken(), Sameness::Time).is_err());
        assert!(plan(broken(), files(), Sameness::Time).is_err());
    }
}
