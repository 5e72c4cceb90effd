//! An import from its beginning to its end.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use anyhow::Context as _;

use super::node::Node;
use super::options::Options;
use super::plan::{Plan, Planned, Sameness, Step, plan};
use super::rate::Pace;
use super::report::{Report, Words};
use super::source::Source;
use super::transfer::{Transfer, rehearse};
use crate::cli::client::Client;
use crate::cli::location::Folder;
use crate::cli::output;

/// What is imported, and where to.
pub(in crate::cli) struct Import {
    pub(in crate::cli) source: Source,
    pub(in crate::cli) into: Folder,
    pub(in crate::cli) sameness: Sameness,
    pub(in crate::cli) options: Options,
    pub(in crate::cli) json: bool,
    pub(in crate::cli) words: Words,
}

impl Import {
    /// Does it.
    ///
    /// # Errors
    /// Something was left out by failure, or it makes no sense to go on. What was transferred stays, and the same command
    /// goes on from there.
    pub(in crate::cli) async fn run(self, client: &Client) -> anyhow::Result<()> {
        let Import { source, into, sameness, options, json, words } = self;
        let (node, report) = (Node::new(client, into), Arc::new(Report::new(words)));
        node.check().await?;
        let (files, held) = tokio::try_join!(source.list(&node.place, &report), node.list())?;
        let made = tokio::task::spawn_blocking(move || plan(files.sorted()?, held.sorted()?, sameness)).await?;
        let Plan { steps, files, bytes, already } = made.context("the temporary files")?;
        report.tally().already = already;
        if options.dry_run {
            rehearse(steps, |planned| tell(planned, &report, words, json))?;
            return report.ends(json, true);
        }
        report.begins(files, bytes);
        let pace = Arc::new(Pace::new(options.rate_limit));
        let failures = AtomicU64::new(0);
        let transfer = Transfer { source: &source, node: &node, sameness, pace, report: Arc::clone(&report), failures };
        let stopped = transfer.all(steps, options.at_once()).await;
        let ended = report.ends(json, false);
        stopped.map_err(|error| error.context("stopped; the same command goes on from here"))?;
        ended
    }
}

/// Says what would be done for a file.
fn tell(planned: &Planned, report: &Report, words: Words, json: bool) -> anyhow::Result<()> {
    let mut tally = report.tally();
    let what = match planned.step {
        Step::Upload => {
            (tally.files, tally.bytes) = (tally.files + 1, tally.bytes + planned.file.size);
            words.to_do
        }
        Step::Compare { .. } => "compare",
        Step::Properties => {
            tally.properties += 1;
            "properties"
        }
    };
    drop(tally);
    if json { Ok(()) } else { output::say(&format!("{what:<10}  {}", output::plain(planned.file.path.as_str()))) }
}
