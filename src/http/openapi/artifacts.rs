//! Artifacts themselves: downloads, uploads, deletes.

use serde_json::{Value, json};

use super::operation::Operation;
use super::shapes::{any_hex, hex, matching, named, text, word};
use crate::http::archive::Kind;

const TAG: &str = "artifacts";

/// `GET /artifactory/{repo}/{path}`
pub fn get() -> Operation {
    let mut operation = Operation::of(TAG)
        .header(
            "Range",
            text(),
            "Which bytes are wanted, by RFC 9110 section 14; what can't be understood counts as nothing.",
        )
        .header("If-Range", text(), "The validator with which the range is meant.")
        .header("If-Match", text(), "Entity tags of which one must be the artifact's.")
        .header("If-None-Match", text(), "Entity tags that the client has.")
        .header("If-Modified-Since", text(), "When the client has got it.")
        .header("If-Unmodified-Since", text(), "Since when it must not have changed.")
        .gives(200, "*/*", json!({}))
        .gives(206, "*/*", json!({}))
        .empty(304)
        .problem(&[410, 412, 416]);
    for status in [200, 206, 304] {
        operation = operation
            .with_header(status, "ETag", matching("^\"[0-9a-f]{40}\"$"), "The SHA-1, of an artifact.")
            .with_header(status, "Last-Modified", text(), "When it was put.");
    }
    for status in [200, 206] {
        operation = summed(operation, status)
            .with_header(status, "Accept-Ranges", word(&["bytes"]), "Of an artifact.")
            .with_header(status, "X-Artifactory-Filename", text(), "The name, percent-encoded.");
    }
    operation.with_header(206, "Content-Range", matching("^bytes [0-9]+-[0-9]+/[0-9]+$"), "Which bytes, of one range.")
}

/// `GET /artifactory/api/archive/download/{repo}/{path}`
pub fn archive() -> Operation {
    Operation::of(TAG)
        .needs_query("archiveType", word(&Kind::WORDS), "What is made.")
        .query("includeChecksumFiles", text(), "Whether each file has its .md5, .sha1 and .sha256 beside it: `true`.")
        .gives(200, "application/zip", json!({}))
        .gives(200, "application/x-tar", json!({}))
        .gives(200, "application/gzip", json!({}))
        .with_header(200, "Content-Disposition", text(), "The name of the folder, with the kind of archive behind it.")
        .problem(&[410])
}

/// `PUT /artifactory/{repo}/{path}`
pub fn put() -> Operation {
    let operation = Operation::of(TAG)
        .header("X-Checksum-Sha256", any_hex(64), "What the SHA-256 of the body must be.")
        .header("X-Checksum-Sha1", any_hex(40), "What the SHA-1 of the body must be.")
        .header("X-Checksum-Md5", any_hex(32), "What the MD5 of the body must be.")
        .header("X-Checksum", sum_of_any_kind(), "Any of these, by its length.")
        .header("X-Checksum-Deploy", text(), "Whether bytes are meant that are here already; true is 404.")
        .takes("*/*", json!({}))
        .json(201, json!({"oneOf": [named("File"), named("Folder")]}))
        .with_header(201, "Location", text(), "Where it is.");
    summed(operation, 201).problem(&[409, 507])
}

fn sum_of_any_kind() -> Value {
    matching("^(?:[0-9A-Fa-f]{32}|[0-9A-Fa-f]{40}|[0-9A-Fa-f]{64})$")
}

fn summed(operation: Operation, status: u16) -> Operation {
    operation
        .with_header(status, "X-Checksum-Md5", hex(32), "Of an artifact, as soon as it is known.")
        .with_header(status, "X-Checksum-Sha1", hex(40), "Of an artifact.")
        .with_header(status, "X-Checksum-Sha256", hex(64), "Of an artifact.")
}

/// `DELETE /artifactory/{repo}/{path}`
pub fn delete() -> Operation {
    meant(Operation::of(TAG).empty(204).problem(&[409, 507]))
}

/// A change that may name the content that it means.
pub fn meant(operation: Operation) -> Operation {
    let meaning = "Of the file: right before the change it is looked whether this is its content; a folder never is.";
    operation.header("If-Match", text(), meaning).problem(&[412])
}
