//! Something is done to each file that matches a pattern, to many at the same time.

use anyhow::bail;
use artimesh_core::model::ArtifactPath;
use clap::Args;
use futures::{TryStreamExt as _, stream};
use tokio::task::spawn_blocking;

use super::selection::Pattern;
use crate::cli::client::{CallError, Client};
use crate::cli::import::failure::{Failure, Next};
use crate::cli::import::listed::Listed;
use crate::cli::import::node::Node;
use crate::cli::import::options::JOBS_MAX;
use crate::cli::import::report::{Report, Words};
use crate::cli::import::spool::{Rows, Spool};
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
            Err(error) => Err(Failure::of_node(error)),
        }
    }
}

/// Does `act` to all files that match, by their paths in the pattern's folder, and says how it went. The list is made before
/// anything is done.
///
/// # Errors
/// Nothing matches; something was left out by failure, or it makes no sense to go on.
pub(super) async fn each(
    client: &Client,
    pattern: &Pattern,
    manner: &Manner,
    words: Words,
    json: bool,
    act: impl AsyncFn(&Node<'_>, &ArtifactPath) -> Result<Done, Failure>,
) -> anyhow::Result<()> {
    let report = Report::new(words);
    let node = Node::new(client, pattern.folder.clone());
    let (files, count, bytes) = matching(&node, pattern.clone()).await?;
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
    let (act, node, report) = (&act, &node, &report);
    let files = stream::iter(files).map_err(|error| anyhow::Error::from(error).context("the list of files"));
    let stopped = files
        .try_for_each_concurrent(usize::from(manner.jobs), |file| async move { one(node, report, &file, act).await })
        .await;
    let ended = report.ends(json, false);
    stopped.map_err(|error| error.context("stopped; the same command goes on from here"))?;
    ended
}

async fn matching(node: &Node<'_>, pattern: Pattern) -> anyhow::Result<(Rows<Listed>, u64, u64)> {
    let listed = node.list().await?;
    let sorted = move || {
        let (mut kept, mut count, mut bytes) = (Spool::new()?, 0, 0);
        for file in listed.sorted()? {
            let file = file?;
            if pattern.covers(file.path.as_str()) {
                (count, bytes) = (count + 1, u64::saturating_add(bytes, file.size));
                kept.push(&file)?;
            }
        }
        Ok::<_, std::io::Error>((kept.rows()?, count, bytes))
    };
    Ok(spawn_blocking(sorted).await??)
}

async fn one(
    node: &Node<'_>,
    report: &Report,
    file: &Listed,
    act: &impl AsyncFn(&Node<'_>, &ArtifactPath) -> Result<Done, Failure>,
) -> anyhow::Result<()> {
    let mut tries = 0;
    loop {
        let failure = match act(node, &file.path).await {
            Ok(Done::Changed) => {
                count_in(report, file);
                report.goes_on(file.size);
                return Ok(());
            }
            Ok(Done::Gone) => {
                report.tally().already += 1;
                return Ok(());
            }
            Err(failure) => failure,
        };
        match failure.next(tries) {
            Next::Try(pause) => {
                report.waits(&format!("{}: {}", file.path, failure.reason));
                tokio::time::sleep(pause).await;
                tries += 1;
            }
            Next::Leave => {
                report.failed(file.path.as_str(), &failure.reason);
                return Ok(());
            }
            Next::Stop => bail!("{}: {}", file.path, failure.reason),
        }
    }
}

fn count_in(report: &Report, file: &Listed) {
    let mut tally = report.tally();
    (tally.files, tally.bytes) = (tally.files + 1, tally.bytes + file.size);
}
