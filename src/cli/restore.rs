//! `artimesh restore`

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::command::Global;
use super::misuse::Misuse;
use super::output;
use crate::node::restore::{self, Restored};

/// What to restore.
#[derive(Debug, Args)]
pub struct Restore {
    /// The backup, or - for standard input
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Only read the backup, and say whether it is whole
    #[arg(long)]
    dry_run: bool,
}

/// Makes a data folder out of a backup, or verifies one.
pub(super) fn run(global: &Global, command: &Restore) -> anyhow::Result<()> {
    let from = &command.from;
    let bar = output::progress("restore", from.metadata().ok().map(|metadata| metadata.len()));
    let archive: Box<dyn Read> = if from.as_os_str() == "-" {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(from).with_context(|| from.display().to_string())?)
    };
    let archive = bar.wrap_read(archive);
    if command.dry_run {
        let contents = restore::verify(archive)?;
        bar.finish_and_clear();
        let value = json!({"about": contents.about, "files": contents.files.len(), "whole": true});
        return output::answer(global.json, &value, |_| {
            let (name, node) = (&contents.about.name, output::short(&contents.about.node));
            let made = output::moment(contents.about.made_ms);
            format!("{} is whole: node {name} ({node}), made {made}, {} files", from.display(), contents.files.len())
        });
    }
    let folder = global.data.as_deref().ok_or(Misuse("say which folder to restore into: --data DIR"))?;
    let restored = restore::restore(archive, folder)?;
    bar.finish_and_clear();
    let Restored { about, files, blobs, damaged_blobs, commit } = &restored;
    let value = json!({
        "data": folder, "about": about, "files": files, "blobs": blobs, "damaged_blobs": damaged_blobs, "commit": commit,
    });
    output::answer(global.json, &value, |_| human(&restored, folder))
}

fn human(restored: &Restored, folder: &Path) -> String {
    let Restored { about, files, blobs, damaged_blobs, commit } = restored;
    let (name, shown) = (&about.name, folder.display());
    let mut text = format!(
        "restored node {name} into {shown}\n  node id   {}\n  made      {} by {}\n  verified  {files} files, {}\n  blobs     {blobs}, \
         as of commit {commit}\n",
        about.node,
        output::moment(about.made_ms),
        about.made_by,
        output::bytes(about.bytes),
    );
    if *damaged_blobs > 0 {
        text +=
            &format!("  damaged   {damaged_blobs} blobs were damaged when the backup was made; peers may have them\n");
    }
    text += &format!(
        "The next start begins a new incarnation, and asks a peer what the node wrote since before it writes itself\n\
         (`serve --alone` doesn't). The node must not run anywhere else. Addresses are those of the backup: see\n\
         {shown}/artimesh.toml. The circle's root key is in no backup.\n\
         next: artimesh serve --data {shown}"
    );
    text
}
