//! Files and folders as the JSON that Artifactory's clients read.

use crate::service::Timestamp;
use artimesh_core::model::{ArtifactPath, Checksums, RepoKey};
use serde::Serialize;

use super::dates::iso8601;
use super::links::Links;
use crate::service::{Entry, Folder, Item, has_md5};

/// What answers tell of a file: an [`Item`] without what only the service needs.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'item> {
    /// The repository's key here.
    pub repo: &'item RepoKey,
    /// The file's path in it.
    pub path: &'item ArtifactPath,
    /// Bytes.
    pub size: u64,
    /// Of the bytes.
    pub checksums: &'item Checksums,
    /// As whoever put it says.
    pub claimed: &'item Checksums,
    /// Perhaps from another node: any text.
    pub media_type: &'item str,
    /// When the path was first put.
    pub created: Timestamp,
    /// By whom then.
    pub created_by: &'item str,
    /// When the shown version was put.
    pub modified: Timestamp,
    /// By whom.
    pub modified_by: &'item str,
}

impl<'item> From<&'item Item> for Shown<'item> {
    fn from(item: &'item Item) -> Self {
        Shown {
            repo: &item.repo,
            path: &item.path,
            size: item.size,
            checksums: &item.checksums,
            claimed: &item.claimed,
            media_type: &item.media_type,
            created: item.created,
            created_by: &item.created_by,
            modified: item.modified,
            modified_by: &item.modified_by,
        }
    }
}

/// The three sums, in hexadecimal.
#[derive(Serialize, Debug)]
pub struct Sums {
    sha1: String,
    /// Absent until it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    md5: Option<String>,
    sha256: String,
}

/// A file's metadata.
#[derive(Serialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct ItemView {
    repo: String,
    path: String,
    created: String,
    created_by: String,
    last_modified: String,
    modified_by: String,
    last_updated: String,
    download_uri: String,
    mime_type: String,
    size: String,
    checksums: Sums,
    original_checksums: Sums,
    uri: String,
}

impl Sums {
    fn of(checksums: &Checksums) -> Sums {
        let md5 = has_md5(checksums).then(|| checksums.md5_hex());
        Sums { sha1: checksums.sha1_hex(), md5, sha256: checksums.sha256_hex() }
    }
}

impl ItemView {
    /// Of a stored file.
    pub fn of<'item>(item: impl Into<Shown<'item>>, links: &Links) -> ItemView {
        let item = item.into();
        // Of an MD5 that was put off nothing was claimed.
        let md5 = if has_md5(item.claimed) { item.claimed.md5 } else { item.checksums.md5 };
        let original = Checksums { md5, ..*item.claimed };
        ItemView {
            repo: item.repo.to_string(),
            path: format!("/{}", item.path),
            created: iso8601(item.created),
            created_by: item.created_by.to_owned(),
            last_modified: iso8601(item.modified),
            modified_by: item.modified_by.to_owned(),
            last_updated: iso8601(item.modified),
            download_uri: links.content(item.repo, Some(item.path)),
            mime_type: item.media_type.to_owned(),
            size: item.size.to_string(),
            checksums: Sums::of(item.checksums),
            original_checksums: Sums::of(&original),
            uri: links.storage(item.repo, Some(item.path)),
        }
    }
}

/// One row of a folder.
#[derive(Serialize, Debug)]
pub struct Child {
    uri: String,
    folder: bool,
}

/// A folder's metadata, without its children.
#[derive(Serialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct FolderView {
    repo: String,
    path: String,
    created: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<String>,
    last_modified: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    modified_by: Option<String>,
    last_updated: String,
    uri: String,
}

impl FolderView {
    /// Of a folder; who made it is known if it was made as one.
    pub fn of(folder: &Folder, links: &Links) -> FolderView {
        let (path, own) = (folder.path.as_ref(), folder.own.as_ref());
        let modified = iso8601(own.map_or(folder.created, |own| own.modified));
        FolderView {
            repo: folder.repo.to_string(),
            path: path.map_or_else(|| "/".to_owned(), |path| format!("/{path}")),
            created: iso8601(folder.created),
            created_by: own.map(|own| own.created_by.clone()),
            last_modified: modified.clone(),
            modified_by: own.map(|own| own.modified_by.clone()),
            last_updated: modified,
            uri: links.storage(&folder.repo, path),
        }
    }
}

impl Child {
    /// Of what is in a folder.
    pub fn of(entry: &Entry) -> Child {
        match entry {
            Entry::Folder(name) => Child { uri: format!("/{name}"), folder: true },
            Entry::File(item) => Child { uri: format!("/{}", item.path.name()), folder: false },
        }
    }
}

#[cfg(test)]
pub mod samples {
    //! Items for the tests of this room.

    use super::*;

    /// A file of 12 bytes in `libs`. Tests are short enough to leak it.
    pub fn item(path: &str) -> Shown<'static> {
        Shown {
            repo: Box::leak(Box::new("libs".parse().expect("a key"))),
            path: Box::leak(Box::new(path.parse().expect("a path"))),
            size: 12,
            checksums: &Checksums { sha256: [0x25; 32], sha1: [0x1; 20], md5: [0x5; 16] },
            claimed: &Checksums { sha256: [0x25; 32], sha1: [0x1; 20], md5: [0x5; 16] },
            media_type: "application/java-archive",
            created: Timestamp(1_000),
            created_by: "alice",
            modified: Timestamp(1_795_297_642_005),
            modified_by: "bob",
        }
    }

    /// Links below `http://here`.
    pub fn links() -> Links {
        let request = hyper::Request::get("/").header("host", "here").body(()).expect("a request");
        Links::of(&request.into_parts().0, "http", None).expect("a usable host")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::samples::{item, links};
    use super::*;

    #[test]
    fn a_file_reads_as_clients_expect() {
        let view: Value = serde_json::to_value(ItemView::of(item("a/b c.jar"), &links())).expect("JSON");
        let sums = json!({"sha1": "01".repeat(20), "md5": "05".repeat(16), "sha256": "25".repeat(32)});
        let expected = json!({
            "repo": "libs", "path": "/a/b c.jar",
            "created": "1970-01-01T00:00:01.000Z", "createdBy": "alice",
            "lastModified": "2026-11-21T21:47:22.005Z", "modifiedBy": "bob", "lastUpdated": "2026-11-21T21:47:22.005Z",
            "downloadUri": "http://here/artifactory/libs/a/b%20c.jar", "mimeType": "application/java-archive",
            "size": "12", "checksums": sums, "originalChecksums": sums,
            "uri": "http://here/artifactory/api/storage/libs/a/b%20c.jar",
        });
        assert_eq!(view, expected);
    }

    #[test]
    fn what_was_claimed_falsely_is_told_as_the_original_sums_and_not_as_the_sums() {
        let lied = Checksums { sha256: [0x25; 32], sha1: [0x9; 20], md5: [0; 16] };
        let view: Value =
            serde_json::to_value(ItemView::of(Shown { claimed: &lied, ..item("a") }, &links())).expect("JSON");
        assert_eq!(view["checksums"]["sha1"], "01".repeat(20));
        let original = json!({"sha1": "09".repeat(20), "md5": "05".repeat(16), "sha256": "25".repeat(32)});
        assert_eq!(view["originalChecksums"], original, "and of an MD5 that was put off nothing was claimed");
    }

    #[test]
    fn a_folder_and_its_children_read_as_clients_expect() {
        let folder = Folder { repo: "libs".parse().expect("a key"), path: None, own: None, created: Timestamp(0) };
        let view: Value = serde_json::to_value(FolderView::of(&folder, &links())).expect("JSON");
        assert_eq!(view["path"], "/");
        assert_eq!(view["uri"], "http://here/artifactory/api/storage/libs");
        let child = serde_json::to_value(Child::of(&Entry::Folder("x".into()))).expect("JSON");
        assert_eq!(child, json!({"uri": "/x", "folder": true}));
    }
}
