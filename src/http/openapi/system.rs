//! Is it there, can it work, which version is it, what has it counted, and what does it serve?

use serde_json::json;

use super::operation::{Operation, Schemas};
use super::shapes::{count, key, list, map, matching, named, object, text, word};

const TAG: &str = "system";

/// `GET /` and `GET /ui`
pub fn to_console() -> Operation {
    Operation::of(TAG).empty(302).with_header(302, "Location", word(&["/ui/"]), "The console.")
}

/// `GET /ui/`
pub fn console() -> Operation {
    Operation::of(TAG).page(200)
}

/// `GET /healthz`
pub fn live() -> Operation {
    Operation::of(TAG).text(200, word(&["ok\n"]))
}

/// `GET /readyz`
pub fn ready() -> Operation {
    Operation::of(TAG).text(200, word(&["ready\n"])).problem(&[503])
}

/// `GET /artifactory/api/v1/system/liveness`
pub fn liveness() -> Operation {
    Operation::of(TAG).json(200, named("Health"))
}

/// `GET /artifactory/api/v1/system/readiness`
pub fn readiness() -> Operation {
    liveness().problem(&[503])
}

/// `GET /artifactory/api/system/ping`
pub fn ping() -> Operation {
    Operation::of(TAG).text(200, word(&["OK"]))
}

/// `GET /artifactory/api/system/version`
pub fn version() -> Operation {
    Operation::of(TAG).json(200, named("Version"))
}

/// `GET /artifactory/api/system/service_id`
pub fn service_id() -> Operation {
    Operation::of(TAG).text(200, matching("^jfrt@[0-9a-f]{64}$"))
}

/// `GET /artifactory/api/storageinfo`
pub fn storage_info() -> Operation {
    Operation::of(TAG).json(200, named("StorageInfo"))
}

/// `GET /artifactory/api/build`
pub fn builds() -> Operation {
    Operation::of(TAG).json(200, named("Builds"))
}

/// `GET /metrics`
pub fn metrics() -> Operation {
    let of = json!({"schema": text()});
    Operation::of(TAG).gives(200, "application/openmetrics-text", of).problem(&[401, 403])
}

/// `GET /artifactory/api/openapi.json`
pub fn openapi() -> Operation {
    Operation::of(TAG).json(200, named("OpenApi"))
}

/// What these answer with.
pub fn schemas() -> Schemas {
    let anything = || map(json!({}));
    let document = object([
        ("openapi", matching("^3\\.1\\.")),
        ("info", anything()),
        ("servers", list(anything())),
        ("security", list(anything())),
        ("tags", list(anything())),
        ("paths", anything()),
        ("components", anything()),
    ]);
    let version =
        object([("version", text()), ("revision", text()), ("addons", list(text())), ("product", word(&["Artimesh"]))]);
    let number = || matching("^[0-9]+$");
    let size = || matching("^[0-9]+ bytes$");
    let binaries = object([("binariesCount", number()), ("binariesSize", size()), ("itemsCount", number())]);
    let store = object([
        ("storageType", text()),
        ("storageDirectory", text()),
        ("totalSpace", size()),
        ("usedSpace", size()),
        ("freeSpace", size()),
    ]);
    let repository = object([
        ("repoKey", key()),
        ("repoType", word(&["FEDERATED", "LOCAL"])),
        ("packageType", text()),
        ("itemsCount", count()),
    ]);
    let storage_info = object([
        ("binariesSummary", binaries),
        ("fileStoreSummary", store),
        ("repositoriesSummaryList", list(repository)),
    ]);
    let build = object([("uri", text()), ("lastStarted", text())]);
    let builds = object([("uri", text()), ("builds", list(build))]);
    vec![
        ("StorageInfo", storage_info),
        ("Builds", builds),
        ("Health", object([("code", word(&["OK"]))])),
        ("OpenApi", document),
        ("Version", version),
    ]
}
