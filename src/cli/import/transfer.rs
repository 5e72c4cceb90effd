//! The work: several files at a time, each until it is there or can't be.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use futures::{Stream, TryStreamExt as _, stream};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;

use super::content::{Pieces, sum_of_file};
use super::failure::{Failure, Next, Remedy};
use super::listed::{Listed, Sums};
use super::node::{Node, Upload};
use super::options::JOBS_MAX;
use super::plan::{self, Planned, Same, Sameness, Step};
use super::rate::Pace;
use super::report::Report;
use super::source::{Opened, Source};
use super::spool::Rows;
use super::walk::names_checksum;
use crate::cli::client::Body;

/// So many failures without a success between them are enough, be they refusals, or what waiting didn't help against.
const FAILURES_MAX: u64 = 100;

type Frames = Pin<Box<dyn Stream<Item = io::Result<Frame<Bytes>>> + Send + Sync>>;

/// So many files are compared by one thread, one after the other,
const COMPARED_TOGETHER: usize = 128;
/// by so many at the same time,
const COMPARED_AT_ONCE: usize = 4;
/// if they aren't larger.
const COMPARED_BYTES_MAX: u64 = 1 << 20;

/// All that a transfer needs.
pub(in crate::cli) struct Transfer<'run> {
    pub(in crate::cli) source: &'run Source,
    pub(in crate::cli) node: &'run Node<'run>,
    pub(in crate::cli) sameness: Sameness,
    pub(in crate::cli) pace: Arc<Pace>,
    pub(in crate::cli) report: Arc<Report>,
    /// Since the last success.
    pub(in crate::cli) failures: AtomicU64,
}

/// What became of a file.
enum Done {
    /// So many bytes were sent.
    Imported(u64),
    /// They were there.
    Already,
    /// They were there with other properties, which are set now.
    Properties,
}

/// What is known of a file from attempts before.
#[derive(Default)]
struct Before {
    tries: u32,
    /// The bytes that were sent, in case that others arrived.
    sums: Sums,
}

impl Transfer<'_> {
    /// Does every step, `jobs` at a time.
    ///
    /// # Errors
    /// Why it makes no sense to go on. What was transferred stays.
    pub(in crate::cli) async fn all(&self, steps: Rows<Planned>, jobs: usize) -> anyhow::Result<()> {
        let steps = stream::iter(steps.enumerate().map(|(index, step)| step.map(|step| (index, step))));
        let steps = steps.map_err(|error| anyhow::Error::from(error).context("the plan"));
        let some = steps.try_chunks(COMPARED_TOGETHER).map_err(|error| error.1);
        let settled = some.map_ok(|steps| self.compare(steps)).try_buffered(COMPARED_AT_ONCE);
        let left = settled.map_ok(|steps| stream::iter(steps.into_iter().map(Ok))).try_flatten();
        left.try_for_each_concurrent(jobs, |(index, planned)| self.one(index, planned)).await
    }

    /// Reads small files that only reading tells from their artifacts, many by one thread: that costs less than handing over
    /// each. Those that need nothing are gone then; one that can't be read is left for its turn.
    async fn compare(&self, steps: Vec<(usize, Planned)>) -> anyhow::Result<Vec<(usize, Planned)>> {
        let Source::Tree(tree) = self.source else { return Ok(steps) };
        if !steps.iter().any(|(_, planned)| matches!(planned.step, Step::Compare { .. })) {
            return Ok(steps);
        }
        let (root, piece_bytes, before) = (tree.root.clone(), self.pace.chunk_bytes, steps.len());
        let settle = move |(index, mut planned): (usize, Planned)| {
            if let Step::Compare { sha256, same } = &planned.step
                && planned.file.size <= COMPARED_BYTES_MAX
                && let Ok(actual) = sum_of_file(&root, &planned.file.path, piece_bytes)
            {
                let is_same = actual == *sha256;
                // What is there by then is compared with these bytes.
                planned.file.sums.sha256 = Some(actual);
                planned.step = match same {
                    _ if !is_same => Step::Upload,
                    Same::Done => return None,
                    Same::Properties => Step::Properties,
                };
            }
            Some((index, planned))
        };
        let settled = tokio::task::spawn_blocking(move || steps.into_iter().filter_map(settle).collect::<Vec<_>>());
        let settled = settled.await?;
        self.report.tally().already += (before - settled.len()) as u64;
        Ok(settled)
    }

    async fn one(&self, index: usize, planned: Planned) -> anyhow::Result<()> {
        let mut before = Before::default();
        loop {
            // The first steps may be those that an import that was killed had sent, and the node finished since it was asked.
            let is_doubtful = index < usize::from(JOBS_MAX) || before.tries > 0;
            let failure = match self.attempt(&planned, is_doubtful, &mut before).await {
                Ok(done) => {
                    self.failures.store(0, Ordering::Relaxed);
                    self.count(&planned.file, &before, done);
                    return Ok(());
                }
                Err(failure) => failure,
            };
            match failure.next(before.tries) {
                Next::Try(pause) => {
                    self.report.waits(&format!("{}: {}", planned.file.path, failure.reason));
                    tokio::time::sleep(pause).await;
                    before.tries += 1;
                }
                Next::Leave => return self.leave(&planned.file, &failure),
                Next::Stop => bail!("{}: {}", planned.file.path, failure.reason),
            }
        }
    }

    fn count(&self, file: &Listed, before: &Before, done: Done) {
        let mut tally = self.report.tally();
        match done {
            Done::Imported(bytes) => (tally.files, tally.bytes) = (tally.files + 1, tally.bytes + bytes),
            // An attempt of this run brought it there, and its answer got lost.
            Done::Already if before.tries > 0 => {
                (tally.files, tally.bytes) = (tally.files + 1, tally.bytes + file.size);
            }
            Done::Already => tally.already += 1,
            Done::Properties => tally.properties += 1,
        }
    }

    fn leave(&self, file: &Listed, failure: &Failure) -> anyhow::Result<()> {
        self.report.failed(file.path.as_str(), &failure.reason);
        // Of a checksum file the node wants the file first.
        let is_counted =
            matches!(failure.remedy, Remedy::Refused | Remedy::Wait) && !names_checksum(file.path.as_str());
        if is_counted && self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES_MAX {
            bail!("{FAILURES_MAX} files failed one after the other, the last: {}", failure.reason);
        }
        Ok(())
    }

    async fn attempt(&self, planned: &Planned, is_doubtful: bool, before: &mut Before) -> Result<Done, Failure> {
        let Planned { file, step } = planned;
        match step {
            Step::Upload => {
                if is_doubtful && self.is_there(file).await? {
                    return Ok(Done::Already);
                }
                self.upload(file, before).await
            }
            Step::Compare { sha256, same } => {
                let opened = self.open(file).await?;
                if opened.content.drain().await? != *sha256 {
                    return self.upload(file, before).await;
                }
                match same {
                    Same::Done => Ok(Done::Already),
                    Same::Properties => {
                        self.node.set(&file.path, &opened.properties).await?;
                        Ok(Done::Properties)
                    }
                }
            }
            Step::Properties => {
                self.node.set(&file.path, file.properties.as_ref().unwrap_or(&Default::default())).await?;
                Ok(Done::Properties)
            }
        }
    }

    async fn open(&self, file: &Listed) -> Result<Opened, Failure> {
        self.source.open(file, self.pace.chunk_bytes, &self.report).await
    }

    async fn is_there(&self, file: &Listed) -> Result<bool, Failure> {
        let held = self.node.look(&file.path).await?;
        Ok(held.is_some() && plan::step(file, held.as_ref(), self.sameness).is_none())
    }

    async fn upload(&self, file: &Listed, before: &mut Before) -> Result<Done, Failure> {
        let Opened { content, mut sums, properties } = self.open(file).await?;
        if sums.sha256.is_none() {
            sums.sha256 = before.sums.sha256.take();
        }
        let (size, witness) = (content.size, content.witness.clone());
        let body = self.body(content.pieces);
        let put = self.node.put(Upload { path: &file.path, size, sums: &sums, properties: &properties, body }).await;
        if let Some(broken) = witness.broken() {
            // That is why the upload ended.
            return Err(broken);
        }
        let (stored, sent) = (put?, witness.sha256());
        if stored.is_some_and(|stored| stored != sent) {
            let reason = format!("the node stored something else than what was sent, sha256 {sent}");
            before.sums.sha256 = Some(sent);
            return Err(Failure::new(Remedy::Again, reason));
        }
        Ok(Done::Imported(size.unwrap_or(file.size)))
    }

    /// The pieces as a body, at the pace that is allowed.
    fn body(&self, pieces: Pieces) -> Body {
        let (pace, report) = (Arc::clone(&self.pace), Arc::clone(&self.report));
        let frames = pieces.and_then(move |piece| {
            let (pace, report) = (Arc::clone(&pace), Arc::clone(&report));
            async move {
                pace.wait(piece.len()).await;
                report.goes_on(piece.len() as u64);
                Ok(Frame::data(piece))
            }
        });
        let frames: Frames = Box::pin(frames);
        StreamBody::new(frames).boxed()
    }
}

/// Lists the steps and does none.
pub(in crate::cli) fn rehearse(
    steps: Rows<Planned>,
    each: impl Fn(&Planned) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for planned in steps {
        each(&planned.context("the plan")?)?;
    }
    Ok(())
}
