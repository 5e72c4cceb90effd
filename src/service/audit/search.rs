//! Finding lines again.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::Path;

use serde::Deserialize;

use super::files::numbered;

/// The most lines that are found at once.
const LINES_MAX: usize = 10_000;

/// Which lines are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Written since, in milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// Of this user.
    pub user: Option<String>,
    /// Of objects that begin so: `REPO/PATH`; a copy is also of what it was copied to.
    pub path: Option<String>,
    /// At most so many, the newest.
    pub limit: usize,
}

/// What decides about a line.
#[derive(Deserialize)]
struct Head<'a> {
    at: u64,
    #[serde(borrow)]
    who: Cow<'a, str>,
    #[serde(borrow)]
    object: Cow<'a, str>,
}

impl AuditQuery {
    fn wants(&self, head: &Head<'_>) -> bool {
        self.since_ms.is_none_or(|since| head.at >= since)
            && self.user.as_ref().is_none_or(|user| head.who == user.as_str())
            && self.path.as_ref().is_none_or(|path| is_of(&head.object, path))
    }
}

/// Whether an object begins with `path`, or is a copy to what does.
fn is_of(object: &str, path: &str) -> bool {
    object.starts_with(path) || object.match_indices(" to ").any(|(at, to)| object[at + to.len()..].starts_with(path))
}

/// The newest lines that match, oldest first. Files are read from the newest back, until there are enough. Threads bring
/// their lines to a file one after the other, so the order of what is near in time is made here. Blocks.
pub fn find(folder: &Path, query: &AuditQuery) -> io::Result<Vec<String>> {
    let limit = query.limit.min(LINES_MAX);
    let mut found: VecDeque<(u64, String)> = VecDeque::new();
    for (_, path) in numbered(folder)?.into_iter().rev() {
        if found.len() >= limit {
            break;
        }
        let file = match File::open(&path) {
            // The writer has just removed it, being the oldest.
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            other => other?,
        };
        let (older, is_before) = in_file(file, query, limit - found.len())?;
        for line in older.into_iter().rev() {
            found.push_front(line);
        }
        if is_before {
            break;
        }
    }
    found.make_contiguous().sort_by_key(|(at, _)| *at);
    Ok(found.into_iter().map(|(_, line)| line).collect())
}

/// The last lines of one file that match, and whether all before it are too old.
fn in_file(file: File, query: &AuditQuery, most: usize) -> io::Result<(VecDeque<(u64, String)>, bool)> {
    let mut found = VecDeque::new();
    let mut is_before = None;
    let mut lines = BufReader::with_capacity(1 << 16, file);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        // One that a crash has torn says nothing.
        if let Ok(head) = serde_json::from_slice::<Head<'_>>(&line) {
            is_before.get_or_insert(query.since_ms.is_some_and(|since| head.at < since));
            if query.wants(&head) {
                if found.len() >= most {
                    found.pop_front();
                }
                found.push_back((head.at, String::from_utf8_lossy(&line).trim_end().to_owned()));
            }
        }
        line.clear();
    }
    Ok((found, is_before.unwrap_or(false)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_by_time_user_and_path_and_the_newest_stay() {
        let folder = tempfile::tempdir().unwrap();
        for number in 1..4_u64 {
            let lines: String = [1, 0, 2, 3, 4, 5, 6, 7, 9, 8]
                .iter()
                .map(|line| {
                    let at = number * 100 + line;
                    let who = if line % 2 == 0 { "alice" } else { "bob \\\" x" };
                    format!("{{\"at\":{at},\"who\":\"{who}\",\"what\":\"download\",\"object\":\"libs/{line}\"}}\n")
                })
                .collect();
            std::fs::write(folder.path().join(format!("audit-{number:08}.jsonl")), lines).unwrap();
        }
        let count = |query: AuditQuery| find(folder.path(), &query).unwrap().len();
        let all = AuditQuery { limit: 100, ..AuditQuery::default() };
        assert_eq!(count(all.clone()), 30);
        assert_eq!(count(AuditQuery { since_ms: Some(205), ..all.clone() }), 15);
        assert_eq!(count(AuditQuery { user: Some("bob \" x".into()), ..all.clone() }), 15);
        assert_eq!(count(AuditQuery { path: Some("libs/7".into()), ..all.clone() }), 3);
        let copy = r#"{"at":400,"who":"eve","what":"copy","object":"libs/c to far/c"}"#.to_owned() + "\n";
        std::fs::write(folder.path().join("audit-00000004.jsonl"), copy).unwrap();
        for (path, copies) in [("libs/c", 1), ("far/", 1), ("ar/c", 0), ("libs/c to", 1)] {
            assert_eq!(count(AuditQuery { path: Some(path.into()), ..all.clone() }), copies, "{path}");
        }
        let newest = find(folder.path(), &AuditQuery { limit: 13, ..all }).unwrap();
        assert_eq!(newest.len(), 13);
        assert!(newest[0].contains(":208,") && newest[11].contains(":309,"), "{newest:?}");
    }
}
