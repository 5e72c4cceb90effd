//! `artimesh store move`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::command::Global;
use super::misuse::Misuse;
use super::named::Named;
use super::output;
use crate::node::moving::{Moved, OldPlace, Stage, move_store};

/// Where a node keeps its artifacts.
#[derive(Debug, Subcommand)]
pub enum Store {
    /// Move the store of a stopped node to another folder, most often on another disk
    ///
    /// Packs and large files are copied, synced, read back and compared; the index is built anew from them. Then
    /// store.location in the data folder names the new place, and the old one is removed. Until then the old one counts: a
    /// move that is interrupted at any moment leaves one whole store, which the node finds, and can be repeated.
    /// The node must be stopped meanwhile (and all of the store must fit the new place): it can't be moved while it runs yet.
    Move(Move),
}

/// Where to.
#[derive(Debug, Args)]
pub struct Move {
    /// The new place: an empty folder, or one that doesn't exist yet
    #[arg(value_name = "DIR")]
    to: PathBuf,
    /// Leave the old place as it is
    #[arg(long)]
    keep: bool,
}

/// Moves it.
pub(super) fn run(global: &Global, command: &Store) -> anyhow::Result<()> {
    let Store::Move(Move { to, keep }) = command;
    if let Some(Named::Url(_) | Named::Profile(_)) = global.named()? {
        return Err(Misuse("a store is moved on its node's own machine, while the node is stopped: --data DIR").into());
    }
    let folder = super::serve::folder(global)?;
    let bar = output::progress("copy", Some(0));
    let mut verifies = false;
    let mut told = |stage: Stage, bytes: u64| {
        if stage == Stage::Verify && !std::mem::replace(&mut verifies, true) {
            bar.set_message("verify");
        }
        bar.inc(bytes);
    };
    // Each byte is seen to twice.
    let mut begun = |bytes: u64| bar.set_length(2 * bytes);
    let old = if *keep { OldPlace::Kept } else { OldPlace::Removed };
    let moved = move_store(folder, to, old, &mut begun, &mut told)?;
    bar.finish_and_clear();
    let Moved { from, to, files, bytes, blobs, commit, left_behind } = &moved;
    let value = json!({
        "from": from, "to": to, "files": files, "bytes": bytes, "blobs": blobs, "commit": commit, "kept": keep,
        "left_behind": left_behind,
    });
    output::answer(global.json, &value, |_| {
        let left = match left_behind {
            _ if *keep => "stays; the node doesn't use it any more".to_owned(),
            None => "is removed".to_owned(),
            Some(reason) => format!("can't be removed ({reason}); the next start tries again"),
        };
        format!(
            "moved the store to {}: {files} files, {}, {blobs} blobs as of commit {commit}, read back and whole\n\
             {} {left}. The next `artimesh serve` uses the new place.",
            to.display(),
            output::bytes(*bytes),
            from.display()
        )
    })
}
