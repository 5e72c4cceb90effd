//! The file list of a folder, written while it is read: its length has no bound, the memory for it has.

use std::fmt::Write;

use artimesh_core::model::ArtifactPath;
use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};

use crate::http::answer::{Answer, empty};
use crate::http::ask::Ask;
use crate::http::body::{Body, Broken};
use crate::http::dates::iso8601;
use crate::http::error::HttpError;
use crate::http::item::Shown;
use crate::service::Folder;

/// Files per page of the service's list.
const PAGE: usize = 500;

/// How many levels below the folder are listed; 1 is the folder's own files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Depth(pub usize);

impl Depth {
    /// Every level.
    pub const ALL: Depth = Depth(usize::MAX);
}

/// Whether folders are rows too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Folders {
    /// They are.
    Listed,
    /// Files only.
    Left,
}

/// `{"uri":…,"created":…,"files":[…]}` in chunks of one page each. Fails in the middle by breaking the connection off.
pub fn list(ask: Ask, folder: Folder, depth: Depth, folders: Folders) -> Result<Answer, HttpError> {
    let uri = ask.links()?.storage(&folder.repo, folder.path.as_ref());
    let head = format!(
        "{{\"uri\":{},\"created\":{},\"files\":[",
        serde_json::to_string(&uri)?,
        serde_json::to_string(&iso8601(folder.created))?
    );
    let rows = Rows::new(&folder, depth, folders);
    let state = Walk { ask, folder, rows, head: Some(head), after: None, is_done: false };
    let mut answer = empty(StatusCode::OK);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    *answer.body_mut() = Body::chunked(futures::stream::try_unfold(state, Walk::next));
    Ok(answer)
}

struct Walk {
    ask: Ask,
    folder: Folder,
    rows: Rows,
    head: Option<String>,
    after: Option<ArtifactPath>,
    is_done: bool,
}

impl Walk {
    /// The next chunk: never empty until the end, since an empty one would say that this is the end.
    async fn next(mut self) -> Result<Option<(Bytes, Walk)>, Broken> {
        if self.is_done {
            return Ok(None);
        }
        let mut chunk = self.head.take().unwrap_or_default();
        loop {
            let Walk { ask, folder, after, .. } = &self;
            let prefix = folder.path.as_ref();
            let page = ask.service().list(&ask.caller, &folder.repo, prefix, after.as_ref(), PAGE).await?;
            for item in &page {
                self.rows.write(item.into(), &mut chunk)?;
            }
            match page.into_iter().last() {
                Some(last) => self.after = Some(last.path),
                None => {
                    chunk.push_str("]}");
                    self.is_done = true;
                }
            }
            if !chunk.is_empty() {
                return Ok(Some((Bytes::from(chunk), self)));
            }
        }
    }
}

/// Turns files in the order of their paths into rows, with a row for each folder before the first file in it; a folder
/// that was made as one comes before its files, or alone.
///
/// Paths are ordered byte by byte, so the files of one folder stand together and the last path is all to remember.
struct Rows {
    base: String,
    depth: Depth,
    folders: Folders,
    last: String,
    is_first: bool,
}

impl Rows {
    fn new(folder: &Folder, depth: Depth, folders: Folders) -> Rows {
        let base = folder.path.as_ref().map(|path| format!("{path}/")).unwrap_or_default();
        Rows { base, depth, folders, last: String::new(), is_first: true }
    }

    fn write(&mut self, item: Shown<'_>, into: &mut String) -> Result<(), Broken> {
        let Some(relative) = item.path.as_str().strip_prefix(&self.base).map(str::to_owned) else { return Ok(()) };
        if self.folders == Folders::Listed {
            let ends = relative.match_indices('/').map(|(end, _)| end).take(self.depth.0);
            for end in ends.filter(|end| !self.last.starts_with(&relative[..=*end])).collect::<Vec<_>>() {
                let row = json!({"uri": format!("/{}", &relative[..end]), "size": -1, "folder": true,
                    "lastModified": iso8601(item.modified)});
                self.push(&row, into)?;
            }
        }
        if !item.path.is_folder() && relative.split('/').count() <= self.depth.0 {
            let row = json!({"uri": format!("/{relative}"), "size": item.size, "folder": false,
                "lastModified": iso8601(item.modified), "sha1": item.checksums.sha1_hex(),
                "sha2": item.checksums.sha256_hex()});
            self.push(&row, into)?;
        }
        self.last = relative;
        Ok(())
    }

    fn push(&mut self, row: &Value, into: &mut String) -> Result<(), Broken> {
        if !std::mem::take(&mut self.is_first) {
            into.push(',');
        }
        write!(into, "{}", serde_json::to_string(row)?).expect("a String takes all");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::service::Timestamp;

    use super::*;
    use crate::http::item::samples::item;

    fn rows(base: Option<&str>, depth: Depth, folders: Folders) -> Vec<String> {
        let folder = Folder {
            repo: "libs".parse().expect("a key"),
            path: base.map(|path| path.parse().expect("a path")),
            own: None,
            created: Timestamp(0),
        };
        let mut rows = Rows::new(&folder, depth, folders);
        let mut text = String::from("[");
        for path in ["a", "a-b/x", "a/b/c/1", "a/b/c/2", "a/b/d", "a/e", "f/g"] {
            rows.write(item(path), &mut text).expect("it can be written");
        }
        text.push(']');
        let values: Vec<Value> = serde_json::from_str(&text).expect("JSON");
        let name = |row: &Value| row["uri"].as_str().unwrap_or_default().to_owned();
        values.iter().map(|row| name(row) + if row["folder"] == true { "/" } else { "" }).collect()
    }

    #[test]
    fn all_files_below_a_folder_are_listed_with_paths_from_it() {
        assert_eq!(rows(Some("a"), Depth::ALL, Folders::Left), ["/b/c/1", "/b/c/2", "/b/d", "/e"]);
        assert_eq!(rows(None, Depth(1), Folders::Left), ["/a"]);
        assert_eq!(rows(Some("a"), Depth(2), Folders::Left), ["/b/d", "/e"]);
    }

    #[test]
    fn each_folder_is_listed_once_and_before_its_files() {
        assert_eq!(
            rows(None, Depth::ALL, Folders::Listed),
            [
                "/a", "/a-b/", "/a-b/x", "/a/", "/a/b/", "/a/b/c/", "/a/b/c/1", "/a/b/c/2", "/a/b/d", "/a/e", "/f/",
                "/f/g"
            ]
        );
        assert_eq!(rows(None, Depth(1), Folders::Listed), ["/a", "/a-b/", "/a/", "/f/"]);
        assert_eq!(rows(Some("a"), Depth(2), Folders::Listed), ["/b/", "/b/c/", "/b/d", "/e"]);
    }
}
