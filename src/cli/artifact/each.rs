//! Something is done to each file that matches a pattern, to many at the same time.

use std::sync::Arc;

use anyhow::bail;
use artimesh_core::model::ArtifactPath;
use clap::Args;
use futures::{TryStreamExt as _, stream};
use tokio::task::spawn_blocking;

use super::selection::Pattern;
use crate::cli::client::{CallError, Client};
use crate::cli::import::failure::{Failure, Remedy};
use crate::cli::import::listed::Listed;
use crate::cli::import::node::Node;
use crate::cli::import::options::JOBS_MAX;
use crate::cli::import::report::{Report, Words};
use crate::cli::import::spool::{Rows, Spool};
use crate::cli::import::tries::Tries;
use crate::cli::output;

/// How it is done to many.
#[derive(Debug, Clone, Args)]
pub struct Manner {
    /// Change nothing, and tell what would be done
    #[arg(long)]
    pub(super) dry_run: bool,
    /// With a pattern: ask for so many changes at the same time
    #[arg(long, value_name = "NUMBER", default_value_t = JOBS_MAX, value_parser = clap::value_parser!(u16).range(1..=JOBS_MAX as i64))]
    jobs: u16,
}

/// What became of a file.
pub(super) enum Done {
    Changed,
    /// It isn't there any more.
    Gone,
}

impl Done {
    /// Of a call; what somebody else deleted meanwhile is no failure.
    pub(super) fn of<T>(answer: Result<T, CallError>) -> Result<Done, Failure> {
        match answer {
            Ok(_) => Ok(Done::Changed),
            Err(error) if error.status() == Some(404) => Ok(Done::Gone),
            Err(error) if error.status() == Some(412) => {
                Err(Failure::new(Remedy::Changed, "it has changed since it was listed, or a folder is there now"))
            }
            Err(error) => Err(Failure::of_node(error)),
        }
    }
}

/// Does `act` to all files that match, by their paths in the pattern's folder, and says how it went. The list is made before
/// anything is done, and `check` may refuse it.
///
/// # Errors
/// Nothing matches; something was left out by failure, or it makes no sense to go on.
pub(super) async fn each(
    client: &Client,
    pattern: &Pattern,
    manner: &Manner,
    words: Words,
    json: bool,
    check: impl Fn(&ArtifactPath) -> anyhow::Result<()> + Send + 'static,
    act: impl AsyncFn(&Node<'_>, &Listed) -> Result<Done, Failure>,
) -> anyhow::Result<()> {
    let report = Arc::new(Report::new(words));
    let node = Node::new(client, pattern.folder.clone());
    let (files, count, bytes) = matching(&node, pattern.clone(), check).await?;
    if count == 0 {
        bail!("no file matches {pattern}");
    }
    report.begins(count, bytes);
    if manner.dry_run {
        for file in files {
            let file = file?;
            if !json {
                output::say(&format!("{}  {}", words.to_do, output::plain(file.path.as_str())))?;
            }
            count_in(&report, &file);
        }
        return report.ends(json, true);
    }
    let tries = Tries::new(Arc::clone(&report));
    let one = async |file: Listed| -> anyhow::Result<()> {
        match tries.until_done(file.path.as_str(), async || act(&node, &file).await).await? {
            Some(Done::Changed) => {
                count_in(&report, &file);
                report.goes_on(file.size);
            }
            Some(Done::Gone) => report.tally().already += 1,
            None => {}
        }
        Ok(())
    };
    let files = stream::iter(files).map_err(|error| anyhow::Error::from(error).context("the list of files"));
    let stopped = files.try_for_each_concurrent(usize::from(manner.jobs), &one).await;
    let ended = report.ends(json, false);
    stopped.map_err(|error| error.context("stopped; the same command goes on from here"))?;
    ended
}

async fn matching(
    node: &Node<'_>,
    pattern: Pattern,
    check: impl Fn(&ArtifactPath) -> anyhow::Result<()> + Send + 'static,
) -> anyhow::Result<(Rows<Listed>, u64, u64)> {
    let listed = node.list().await?;
    let sorted = move || {
        let (mut kept, mut count, mut bytes) = (Spool::new()?, 0, 0);
        for file in listed.sorted()? {
            let file = file?;
            if pattern.covers(file.path.as_str()) {
                check(&file.path)?;
                (count, bytes) = (count + 1, u64::saturating_add(bytes, file.size));
                kept.push(&file)?;
            }
        }
        Ok::<_, anyhow::Error>((kept.rows()?, count, bytes))
    };
    spawn_blocking(sorted).await?
}

fn count_in(report: &Report, file: &Listed) {
    let mut tally = report.tally();
    (tally.files, tally.bytes) = (tally.files + 1, tally.bytes + file.size);
}
