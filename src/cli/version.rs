//! `artimesh version`

use serde_json::json;

use super::command::Global;
use super::output;

/// Prints the name and version of this program.
pub(super) fn run(global: &Global) -> anyhow::Result<()> {
    let value = json!({"name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION")});
    output::answer(global.json, &value, |value| {
        format!("{} {}", output::field(value, "name"), output::field(value, "version"))
    })
}
