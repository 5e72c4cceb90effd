//! Whether the secrets are there and nobody else's.

use std::path::Path;

use super::check::Check;
use crate::config::{Keys, read_secret};

pub(super) fn checks(folder: &Path) -> Vec<Check> {
    let keys = match Keys::load(folder) {
        Ok(_) => Check::ok("key files", "there, and readable by their owner only"),
        Err(error) => {
            Check::fail("key files", error.to_string(), "as said; a node doesn't start with keys that leaked")
        }
    };
    let token = match read_secret(&folder.join("admin.token")) {
        Ok(_) => Check::ok("administrator's token", "there, and readable by its owner only"),
        Err(error) => {
            Check::fail("administrator's token", error.to_string(), "as said; make a new one if it may have leaked")
        }
    };
    let mut checks = vec![keys, token];
    if folder.join("circle-root.key").exists() {
        checks.push(Check::warn(
            "circle root key",
            "it is still in the data folder",
            "move circle-root.key to two media that you keep offline: whoever reads it owns the circle",
        ));
    }
    checks
}
