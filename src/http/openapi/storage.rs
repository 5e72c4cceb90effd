//! Metadata of files and folders, their properties, and moving and copying them.

use serde_json::{Value, json};

use super::artifacts::meant;
use super::operation::{Operation, Schemas};
use super::shapes::{
    KEY, SEGMENT, count, date, hex, key, list, map, matching, named, object, or_null, properties, text, truth, word,
};

const TAG: &str = "storage";

/// `GET /artifactory/api/storage/{repo}/{path}`
pub fn get() -> Operation {
    let answers =
        ["File", "Folder", "FileList", "PropertiesOfItem", "LastModified", "Permissions", "Downloads"].map(named);
    Operation::of(TAG)
        .flag("list", "Answers with the files of the folder.")
        .query("deep", text(), "With `list`: 1 or true for the files of all folders below, too.")
        .query("depth", text(), "With `list` and `deep`: so many levels, from 1.")
        .query("listFolders", text(), "With `list`: 1 or true for the folders, too.")
        .flag("lastModified", "Answers with what changed last, and when.")
        .flag("stats", "Answers with how often the file was downloaded at this site.")
        .flag("permissions", "Answers with who may do what there; for administrators.")
        .flag("properties", "Answers with its properties: those that are named with commas between them, or all.")
        .json(200, json!({"oneOf": answers}))
}

fn recursive(operation: Operation, name: &str) -> Operation {
    operation.query(name, text(), "0 or false: of a folder itself, not of what is in it.")
}

/// `PUT /artifactory/api/storage/{repo}/{path}`
pub fn put_properties() -> Operation {
    let form = "NAME=VALUE,VALUE;NAME=VALUE. A backslash takes its meaning from what follows it; values may be percent-encoded.";
    let operation = Operation::of(TAG).needs_query("properties", assignments(), form);
    meant(recursive(operation, "recursive").empty(204).problem(&[409, 507]))
}

fn assignments() -> Value {
    let name = r"[A-Za-z0-9_.:-]{1,64}";
    let value = r"[^;|\\%]{0,64}";
    matching(&format!("^{name}={value}(?:;{name}={value})*;?$"))
}

/// `DELETE /artifactory/api/storage/{repo}/{path}`
pub fn delete_properties() -> Operation {
    let names = matching(r"^[A-Za-z0-9_.:-]{1,64}(?:,[A-Za-z0-9_.:-]{1,64})*,?$");
    let operation = Operation::of(TAG).needs_query("properties", names, "Their names, with commas between them.");
    meant(recursive(operation, "recursive").empty(204).problem(&[409, 507]))
}

/// `PATCH /artifactory/api/metadata/{repo}/{path}`
pub fn patch_properties() -> Operation {
    let value = json!({"type": "string", "maxLength": 600, "description": "At most 2400 bytes of UTF-8."});
    let values = json!({"type": "array", "items": value, "maxItems": 64});
    let mut props = map(or_null(json!({"anyOf": [value, values]})));
    props["minProperties"] = json!(1);
    props["maxProperties"] = json!(128);
    props["propertyNames"] = json!({"pattern": "^[A-Za-z0-9_.:-]{1,64}$"});
    let mut wish = map(json!({}));
    wish["required"] = json!(["props"]);
    wish["properties"] = json!({"props": props});
    meant(recursive(Operation::of(TAG), "recursiveProperties").takes_json(wish).empty(204).problem(&[409, 507]))
}

/// `POST /artifactory/api/move/{repo}/{path}` and `POST /artifactory/api/copy/{repo}/{path}`
pub fn relocate() -> Operation {
    let message = object([("level", word(&["INFO"])), ("message", text())]);
    let to = matching(&format!("^/?{KEY}(?:/{SEGMENT})*/?$"));
    let operation = Operation::of(TAG)
        .needs_query("to", to, "/REPOSITORY/PATH; with a slash at its end, a folder.")
        .query("dry", text(), "1 or true: only says what that would be.")
        .json(200, object([("messages", list(message)), ("files", count())]))
        .problem(&[409, 410, 507]);
    meant(operation)
}

/// What these answer with.
pub fn schemas() -> Schemas {
    let rights = || map(list(word(&["r", "w", "n", "d", "m"])));
    vec![
        ("File", file()),
        ("Folder", folder()),
        ("FileList", object([("uri", text()), ("created", date()), ("files", list(named("FileListRow")))])),
        ("FileListRow", row()),
        ("PropertiesOfItem", object([("uri", text()), ("properties", properties())])),
        ("LastModified", object([("uri", text()), ("lastModified", date())])),
        ("Downloads", downloads()),
        ("Permissions", object([("uri", text()), ("principals", object([("users", rights()), ("groups", rights())]))])),
        ("Checksums", object([("sha1", hex(40)), ("md5?", hex(32)), ("sha256", hex(64))])),
    ]
}

/// A file's metadata.
pub fn file() -> Value {
    object([
        ("repo", key()),
        ("path", matching("^/")),
        ("created", date()),
        ("createdBy", text()),
        ("lastModified", date()),
        ("modifiedBy", text()),
        ("lastUpdated", date()),
        ("downloadUri", text()),
        ("mimeType", text()),
        ("size", matching("^[0-9]+$")),
        ("checksums", named("Checksums")),
        ("originalChecksums", named("Checksums")),
        ("uri", text()),
    ])
}

fn downloads() -> Value {
    object([
        ("uri", text()),
        ("downloadCount", count()),
        ("lastDownloaded", count()),
        ("lastDownloadedBy?", text()),
        ("remoteDownloadCount", count()),
        ("remoteLastDownloaded", count()),
    ])
}

fn folder() -> Value {
    object([
        ("repo", key()),
        ("path", matching("^/")),
        ("created", date()),
        ("createdBy?", text()),
        ("lastModified", date()),
        ("modifiedBy?", text()),
        ("lastUpdated", date()),
        ("children", list(object([("uri", matching("^/")), ("folder", truth())]))),
        ("uri", text()),
    ])
}

fn row() -> Value {
    object([
        ("uri", matching("^/")),
        ("size", json!({"type": "integer", "minimum": -1, "description": "-1 of a folder."})),
        ("folder", truth()),
        ("lastModified", date()),
        ("sha1?", hex(40)),
        ("sha2?", hex(64)),
    ])
}
