//! Who shares a repository, and whether all have the same.

use super::operation::{Operation, Schemas};
use super::shapes::{
    between, count, date, hex, key, list, named, node, node_or_name, object, or_null, path, text, truth, word,
};

const TAG: &str = "federation";

/// `POST /artifactory/api/mesh/federation/{key}/invite`
pub fn invite() -> Operation {
    let invited = object([("repository", key()), ("invited", node())]);
    Operation::of(TAG).takes_json(object([("node", node_or_name())])).json(200, invited).problem(&[409])
}

/// `POST /artifactory/api/mesh/federation/{key}/remove`
pub fn remove() -> Operation {
    let removed = object([("repository", key()), ("removed", node())]);
    Operation::of(TAG).takes_json(object([("node", node_or_name())])).json(200, removed).problem(&[409])
}

/// `POST /artifactory/api/mesh/federation/{key}/adopt`
pub fn adopt() -> Operation {
    let adopted = object([("repository", key()), ("federation", text()), ("more", truth())]);
    Operation::of(TAG).takes_json(object([("from?", or_null(node_or_name()))])).json(200, adopted).problem(&[409])
}

/// `GET /artifactory/api/mesh/federation/{key}/holds`
pub fn holds() -> Operation {
    let hold = object([
        ("author", node()),
        ("name", or_null(text())),
        ("since", date()),
        ("paths", count()),
        ("allowed", count()),
    ]);
    Operation::of(TAG).json(200, object([("repository", key()), ("holds", list(hold))]))
}

/// `POST /artifactory/api/mesh/federation/{key}/release`
pub fn release() -> Operation {
    let released = object([("repository", key()), ("released", or_null(text()))]);
    Operation::of(TAG).takes_json(object([("author?", or_null(node_or_name()))])).json(200, released).problem(&[409])
}

/// `POST /artifactory/api/mesh/federation/{key}/sync`
pub fn sync() -> Operation {
    let wish = object([("member?", or_null(node_or_name())), ("dry_run?", truth())]);
    let begun = object([("repository", key()), ("dry_run", truth())]);
    Operation::of(TAG).takes_json(wish).json(202, begun).problem(&[409])
}

/// `GET /artifactory/api/mesh/federation/{key}/sync`
pub fn sync_progress() -> Operation {
    let progress = object([("repository", key()), ("progress", or_null(named("SyncProgress")))]);
    Operation::of(TAG).json(200, progress)
}

/// `POST /artifactory/api/mesh/federation/{key}/checkpoint`
pub fn checkpoint() -> Operation {
    Operation::of(TAG).takes_json(object([("wait_s?", between(0, 3600))])).json(200, named("Checkpoint"))
}

/// What these answer with.
pub fn schemas() -> Schemas {
    let member = object([
        ("node", node()),
        ("name", or_null(text())),
        ("confirmed", truth()),
        ("connected", truth()),
        ("behind_entries", or_null(count())),
        ("diverged", truth()),
    ]);
    let checkpoint = object([
        ("repository", key()),
        ("state_digest", or_null(hex(64))),
        ("confirmed", truth()),
        ("members", list(member)),
    ]);
    let difference = object([("kind", word(&["take", "deleted-here", "drop", "give"])), ("path", path())]);
    let progress = object([
        ("done", truth()),
        ("rounds", count()),
        ("bytes", count()),
        ("take", count()),
        ("deleted_here", count()),
        ("drop", count()),
        ("give", count()),
        ("committed", truth()),
        ("listed", list(difference)),
    ]);
    vec![("Checkpoint", checkpoint), ("SyncProgress", progress)]
}
