//! `artimesh artifact get` of a folder, or of all that matches a pattern.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use artimesh_core::model::ArtifactPath;
use bytes::Bytes;
use futures::{TryStreamExt as _, stream};
use http_body_util::BodyExt as _;
use hyper::{Method, Request};
use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;

use super::beneath::{Growing, Place, Root};
use super::clashes::Clashes;
use super::download::Watch;
use super::fetch::{Durable, Fetch, PARTED_BYTES, Trouble};
use super::glob::{Filter, covers};
use crate::cli::client::{ANSWER_TIMEOUT, Client, full};
use crate::cli::import::failure::{Failure, Remedy};
use crate::cli::import::listed::Listed;
use crate::cli::import::node::Node;
use crate::cli::import::options::Options;
use crate::cli::import::rate::Pace;
use crate::cli::import::report::{Report, Words};
use crate::cli::import::spool::{Rows, Spool};
use crate::cli::import::tries::Tries;
use crate::cli::import::walk::is_part;
use crate::cli::location::{Folder, Location};
use crate::cli::output;

/// What is read or written at a time.
const PIECE_BYTES: usize = 256 << 10;

/// What is downloaded.
pub(super) struct Tree {
    /// Everything in here,
    pub(super) from: Folder,
    /// by its path in it: what matches.
    pub(super) pattern: Option<String>,
    pub(super) filter: Filter,
    pub(super) to: PathBuf,
    pub(super) options: Options,
    pub(super) json: bool,
}

/// What is to be done.
struct Plan {
    files: Rows<Listed>,
    count: u64,
    bytes: u64,
}

/// All that a download needs.
struct Download<'run> {
    client: &'run Client,
    node: &'run Node<'run>,
    root: Arc<Root>,
    pace: Arc<Pace>,
    report: Arc<Report>,
    tries: Tries,
}

/// What became of a file.
enum Done {
    Downloaded(u64),
    Already,
}

impl Tree {
    /// Downloads what isn't there with the same bytes. Nothing is deleted.
    ///
    /// # Errors
    /// Something was left out by failure, or it makes no sense to go on. What was downloaded stays, and the same command goes on
    /// from there.
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<()> {
        let Tree { from, pattern, filter, to, options, json } = self;
        let (node, report) = (Node::new(client, from), Arc::new(Report::new(Words::DOWNLOAD)));
        let listed = node.list().await?;
        let takes = move |path: &ArtifactPath| {
            filter.takes(path.as_str()) && pattern.as_ref().is_none_or(|pattern| covers(pattern, path.as_str()))
        };
        let told = Arc::clone(&report);
        let planned = spawn_blocking(move || plan(listed.sorted()?, takes, &told)).await?;
        let Plan { files, count, bytes } = planned.context("the list of files")?;
        if count == 0 && report.tally().failed == 0 {
            bail!("nothing there matches");
        }
        if options.dry_run {
            for file in files {
                let file = file.context("the list of files")?;
                if !json {
                    output::say(&format!("download  {}", output::plain(file.path.as_str())))?;
                }
                let mut tally = report.tally();
                (tally.files, tally.bytes) = (tally.files + 1, tally.bytes + file.size);
            }
            return report.ends(json, true);
        }
        let root = Arc::new(Root::open(&to).with_context(|| to.display().to_string())?);
        report.begins(count, bytes);
        let pace = Arc::new(Pace::new(options.rate_limit));
        let (told, tries) = (Arc::clone(&report), Tries::new(Arc::clone(&report)));
        let download = Download { client, node: &node, root: Arc::clone(&root), pace, report: told, tries };
        let stopped = download.all(files, options.at_once()).await;
        spawn_blocking(move || root.sync()).await?.with_context(|| to.display().to_string())?;
        let ended = report.ends(json, false);
        stopped.map_err(|error| error.context("stopped; the same command goes on from here"))?;
        ended
    }
}

/// Which files are downloaded: those that could overwrite each other where case makes no difference are left out, and told.
fn plan(
    listed: impl Iterator<Item = std::io::Result<Listed>>,
    takes: impl Fn(&ArtifactPath) -> bool,
    report: &Report,
) -> std::io::Result<Plan> {
    let mut all = Spool::new()?;
    let mut clashes = Clashes::default();
    for file in listed {
        let file = file?;
        if takes(&file.path) && is_part(file.path.name()) {
            report.failed(file.path.as_str(), "parts of downloads are called so on this machine");
        } else if takes(&file.path) {
            clashes.note(file.path.as_str());
            all.push(&file)?;
        }
    }
    let (mut kept, mut count, mut bytes) = (Spool::new()?, 0, 0);
    for file in all.rows::<Listed>()? {
        let file = file?;
        if clashes.has(file.path.as_str()) {
            let reason = "where case makes no difference, another path is the same: neither is downloaded";
            report.failed(file.path.as_str(), reason);
            continue;
        }
        (count, bytes) = (count + 1, u64::saturating_add(bytes, file.size));
        kept.push(&file)?;
    }
    Ok(Plan { files: kept.rows()?, count, bytes })
}

impl Download<'_> {
    async fn all(&self, files: Rows<Listed>, jobs: usize) -> anyhow::Result<()> {
        let files = stream::iter(files).map_err(|error| anyhow::Error::from(error).context("the list of files"));
        files.try_for_each_concurrent(jobs, |file| self.one(file)).await
    }

    async fn one(&self, file: Listed) -> anyhow::Result<()> {
        let done = self.tries.until_done(file.path.as_str(), async || self.attempt(&file).await).await?;
        let mut tally = self.report.tally();
        match done {
            Some(Done::Downloaded(bytes)) => (tally.files, tally.bytes) = (tally.files + 1, tally.bytes + bytes),
            Some(Done::Already) => tally.already += 1,
            None => {}
        }
        Ok(())
    }

    async fn attempt(&self, file: &Listed) -> Result<Done, Failure> {
        let (root, wanted) = (Arc::clone(&self.root), file.clone());
        let prepared = spawn_blocking(move || prepare(&root, &wanted)).await;
        let prepared = prepared.map_err(|error| Failure::new(Remedy::Leave, error))?;
        match prepared.map_err(|error| Failure::new(Remedy::Leave, error))? {
            Prepared::Already => Ok(Done::Already),
            Prepared::Small(growing) => self.fetch(file, growing).await.map(Done::Downloaded),
            Prepared::Large(place) => {
                let (client, location) = (self.client, &self.location(file)?);
                let fetch = Fetch { client, location, place: &place, durable: Durable::Later, watch: self };
                fetch.run().await.map(|received| Done::Downloaded(received.size)).map_err(Trouble::of_one)
            }
        }
    }

    fn location(&self, listed: &Listed) -> Result<Location, Failure> {
        self.node.place.location(&listed.path).map_err(|error| Failure::new(Remedy::Leave, error))
    }

    async fn fetch(&self, listed: &Listed, mut growing: Growing) -> Result<u64, Failure> {
        let location = self.location(listed)?;
        let request = Request::builder().method(Method::GET).body(full(Bytes::new())).expect("constants");
        let target = format!("/artifactory/{}", location.target());
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, self.client.send(&target, request)).await;
        let broke_off = |why: String| Failure::new(Remedy::Wait, format!("the download broke off: {why}"));
        let response = answer.map_err(|_| broke_off("no answer within a minute".into()))?.map_err(Failure::of_node)?;
        let announced = response.headers().get("x-checksum-sha256").and_then(|value| value.to_str().ok());
        let announced = announced.map(str::to_ascii_lowercase).or_else(|| listed.sums.sha256.clone());
        let (mut hasher, mut size, mut body) = (Sha256::new(), 0, response.into_body());
        let mut file = growing.file.take().ok_or_else(|| Failure::new(Remedy::Leave, "it is open no more"))?;
        let mut waiting = Vec::new();
        loop {
            let frame = tokio::time::timeout(ANSWER_TIMEOUT, body.frame()).await;
            let frame = frame.map_err(|_| broke_off("nothing came for a minute".into()))?;
            let frame = frame.transpose().map_err(|error| broke_off(error.to_string()))?;
            let is_end = frame.is_none();
            if let Some(piece) = frame.and_then(|frame| frame.into_data().ok()) {
                self.pace.wait(piece.len()).await;
                self.report.goes_on(piece.len() as u64);
                hasher.update(&piece);
                size += piece.len() as u64;
                waiting.extend_from_slice(&piece);
            }
            if is_end || waiting.len() >= PIECE_BYTES {
                let piece = std::mem::take(&mut waiting);
                let written = spawn_blocking(move || file.write_all(&piece).map(|()| file)).await;
                let written = written.map_err(|error| Failure::new(Remedy::Leave, error))?;
                // A full disk takes no other file either.
                file = written.map_err(|error| Failure::new(Remedy::Stop, format!("can't write: {error}")))?;
            }
            if is_end {
                break;
            }
        }
        let sha256 = data_encoding::HEXLOWER.encode(&hasher.finalize());
        if announced.is_some_and(|announced| announced != sha256) {
            return Err(Failure::new(Remedy::Again, "what came is not what the node announced"));
        }
        growing.settle().map_err(|error| Failure::new(Remedy::Leave, error))?;
        Ok(size)
    }
}

impl Watch for Download<'_> {
    fn begins(&self, at: u64, _: Option<u64>) {
        self.report.goes_on(at);
    }

    async fn came(&self, bytes: usize) {
        self.pace.wait(bytes).await;
        self.report.goes_on(bytes as u64);
    }

    fn waits(&self, reason: &str) {
        self.report.waits(reason);
    }
}

/// What is there of a file.
enum Prepared {
    /// The same bytes.
    Already,
    /// Its beginning.
    Small(Growing),
    /// Its place, where a part of it may be.
    Large(Arc<Place>),
}

fn prepare(root: &Root, file: &Listed) -> std::io::Result<Prepared> {
    let place = root.place(&file.path)?;
    let present = place.present()?;
    if let (Some(present), Some(sha256)) = (present, &file.sums.sha256)
        && present.metadata()?.len() == file.size
        && hash(present)? == *sha256
    {
        return Ok(Prepared::Already);
    }
    let place = Arc::new(place);
    if file.size > PARTED_BYTES { Ok(Prepared::Large(place)) } else { place.grow().map(Prepared::Small) }
}

fn hash(mut file: File) -> std::io::Result<String> {
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; PIECE_BYTES]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(data_encoding::HEXLOWER.encode(&hasher.finalize())),
            count => hasher.update(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::import::listed::Sums;

    fn planned(paths: &[&str]) -> (Vec<String>, u64) {
        let listed =
            |path: &&str| Ok(Listed { path: path.parse().unwrap(), size: 1, sums: Sums::default(), properties: None });
        let report = Report::new(Words::DOWNLOAD);
        let plan = plan(paths.iter().map(listed), |path| path.as_str() != "left/out", &report).unwrap();
        let failed = report.tally().failed;
        (plan.files.map(|file| file.unwrap().path.to_string()).collect(), failed)
    }

    #[test]
    fn files_that_would_be_one_where_case_makes_no_difference_are_left_out() {
        assert_eq!(planned(&["a/x", "a/X", "b", "left/out"]), (vec!["b".into()], 2));
        assert_eq!(planned(&["A", "a/x", "c"]), (vec!["a/x".into(), "c".into()], 1));
        assert_eq!(planned(&["A/x", "a/y"]), (vec!["A/x".into(), "a/y".into()], 0), "a folder may be one");
        assert_eq!(planned(&["A/x", "a/x"]).1, 2);
        assert_eq!(planned(&["ÄB", "äb"]).1, 2);
    }
}
