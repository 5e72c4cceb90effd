//! `artimesh artifact move|copy`

use clap::Args;
use hyper::Method;
use serde_json::Value;

use crate::cli::client::{Client, LONG_TIMEOUT};
use crate::cli::location::Folder;
use crate::cli::output;

/// What goes where.
#[derive(Debug, Args)]
pub struct Relocate {
    /// A file or folder: REPO/PATH; REPO alone: all that is in it
    from: Folder,
    /// Where to: REPO/PATH, or REPO; a file that is put into a folder keeps its name
    to: Folder,
    /// Change nothing, and say how many files it would be
    #[arg(long)]
    dry_run: bool,
}

/// Moves or copies; `verb` is the route's.
pub(super) async fn run(client: &Client, command: &Relocate, verb: &str, json: bool) -> anyhow::Result<()> {
    let Relocate { from, to, dry_run } = command;
    let dry = u8::from(*dry_run);
    let path = format!("/artifactory/api/{verb}/{}?to=/{}&dry={dry}", from.target(), to.slashed_target());
    let answer = client.call_within(LONG_TIMEOUT, Method::POST, &path, None).await?;
    output::answer(json, &answer, human)
}

fn human(answer: &Value) -> String {
    let messages = output::items(answer, "messages").iter().map(|message| output::field(message, "message"));
    messages.collect::<Vec<_>>().join("\n")
}
