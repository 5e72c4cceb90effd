//! `artimesh artifact put`

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use clap::Args;
use futures::{Stream, TryStreamExt as _};
use http_body_util::{BodyExt as _, Limited, StreamBody};
use hyper::body::Frame;
use hyper::header::CONTENT_LENGTH;
use hyper::{Method, Request};
use indicatif::ProgressBar;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio_util::io::ReaderStream;

use super::glob::Filter;
use crate::cli::client::{Body, Client};
use crate::cli::import::options::Options;
use crate::cli::import::plan::Sameness;
use crate::cli::import::report::Words;
use crate::cli::import::run::Import;
use crate::cli::import::source::{Source, Tree};
use crate::cli::location::{Folder, Location};
use crate::cli::misuse::Misuse;
use crate::cli::output::{self, bytes};

/// How much of a file is in memory at a time.
const CHUNK_BYTES: usize = 256 << 10;

/// What to upload, and where to.
#[derive(Debug, Args)]
pub struct Put {
    /// Where to: REPO/PATH for a file; REPO or REPO/PREFIX for what is in a folder
    #[arg(value_name = "LOCATION")]
    to: Folder,
    /// What: a file, a folder, or - for standard input
    file: PathBuf,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    options: Options,
}

/// Uploads one file. The node is told its SHA-256 beforehand, or for standard input has to name the right one
/// afterwards, so nothing else than what was read is stored unnoticed.
///
/// Of a folder everything is uploaded that isn't there with the same bytes. Nothing is deleted.
pub(super) async fn run(client: &Client, command: &Put, json: bool) -> anyhow::Result<()> {
    let Put { to, file, filter, options } = command;
    if file.is_dir() {
        let tree = Tree { root: file.clone(), filter: filter.clone(), keeps_times: false };
        let (source, into, options) = (Source::Tree(tree), to.clone(), options.clone());
        let upload = Import { source, into, sameness: Sameness::Bytes, options, json, words: Words::UPLOAD };
        return upload.run(client).await;
    }
    let location = location(to, file)?;
    if filter.is_given() || options.rate_limit.is_some() {
        return Err(Misuse("--include, --exclude and --rate-limit are for folders").into());
    }
    if options.dry_run {
        let Location { repo, path } = &location;
        let place = format!("{repo}/{path}");
        return output::answer(json, &json!({"dry_run": true, "would_store": place}), |_| format!("upload  {place}"));
    }
    let item = if file == Path::new("-") {
        put_stream(client, &location, tokio::io::stdin()).await?
    } else {
        put_file(client, &location, file).await?
    };
    output::answer(json, &item, |item| {
        let size = item["size"].as_str().and_then(|size| size.parse().ok()).or(item["size"].as_u64());
        let sha256 = output::field(&item["checksums"], "sha256");
        let Location { repo, path } = &location;
        format!("stored {repo}/{path}: {}, sha256 {sha256}", size.map_or("-".to_owned(), bytes))
    })
}

/// Where a file is to be: one that is put in a folder keeps its name.
fn location(to: &Folder, file: &Path) -> anyhow::Result<Location> {
    let path = match &to.prefix {
        Some(path) if !to.is_folder => path.clone(),
        folder => {
            let name = file.file_name().and_then(|name| name.to_str()).filter(|name| *name != "-");
            let name = name.with_context(|| format!("{to} is a folder: write REPO/PATH"))?;
            folder.as_ref().map_or_else(|| name.to_owned(), |folder| format!("{folder}/{name}")).parse()?
        }
    };
    Ok(Location { repo: to.repo.clone(), path })
}

pub(super) async fn put_file(client: &Client, location: &Location, path: &Path) -> anyhow::Result<Value> {
    let shown = || path.display().to_string();
    let mut file = File::open(path).await.with_context(shown)?;
    let metadata = file.metadata().await.with_context(shown)?;
    ensure!(metadata.is_file(), "{} is not a file", path.display());
    let (sha256, size) = hash(&mut file, metadata.len()).await.with_context(shown)?;
    tokio::io::AsyncSeekExt::rewind(&mut file).await.with_context(shown)?;

    let bar = output::progress("upload", Some(size));
    let chunks = ReaderStream::with_capacity(file.take(size), CHUNK_BYTES);
    let request = Request::builder()
        .method(Method::PUT)
        .header(CONTENT_LENGTH, size)
        .header("X-Checksum-Sha256", &sha256)
        .body(body(chunks, bar.clone(), |_| ()))
        .context("a request of constant headers")?;
    let item = send(client, location, request).await;
    bar.finish_and_clear();
    agree(item?, &sha256)
}

pub(super) async fn put_stream(
    client: &Client,
    location: &Location,
    source: impl AsyncRead + Send + Sync + 'static,
) -> anyhow::Result<Value> {
    let hasher = Arc::new(Mutex::new(Sha256::new()));
    let shared = Arc::clone(&hasher);
    let bar = output::progress("upload", None);
    let hash = move |chunk: &Bytes| {
        shared.lock().expect("nobody panics while hashing").update(chunk);
    };
    let chunks = ReaderStream::with_capacity(source, CHUNK_BYTES);
    let request = Request::builder().method(Method::PUT).body(body(chunks, bar.clone(), hash))?;
    let item = send(client, location, request).await;
    bar.finish_and_clear();
    let item = item?;
    let sha256 = hasher.lock().expect("nobody panics while hashing").clone().finalize();
    agree(item, &data_encoding::HEXLOWER.encode(&sha256))
}

async fn send(client: &Client, location: &Location, request: Request<Body>) -> anyhow::Result<Value> {
    let response = client.send(&format!("/artifactory/{}", location.target()), request).await?;
    let collected = Limited::new(response.into_body(), 1 << 20).collect().await;
    let bytes = collected.map_err(|error| anyhow::anyhow!("the answer broke off: {error}"))?.to_bytes();
    serde_json::from_slice(&bytes).context("the node's answer is not JSON")
}

/// The item, if the node stored what was sent.
fn agree(item: Value, sha256: &str) -> anyhow::Result<Value> {
    match item["checksums"]["sha256"].as_str() {
        Some(stored) if stored != sha256 => {
            bail!("the node stored something else: sent sha256 {sha256}, stored {}", output::plain(stored))
        }
        _ => Ok(item),
    }
}

async fn hash(file: &mut File, size: u64) -> std::io::Result<(String, u64)> {
    let bar = output::progress("hash", Some(size));
    let (mut hasher, mut read, mut buffer) = (Sha256::new(), 0, vec![0; CHUNK_BYTES]);
    loop {
        let count = file.read(&mut buffer).await?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        read += count as u64;
        bar.set_position(read);
    }
    bar.finish_and_clear();
    Ok((data_encoding::HEXLOWER.encode(&hasher.finalize()), read))
}

fn body(
    chunks: impl Stream<Item = std::io::Result<Bytes>> + Send + Sync + 'static,
    bar: ProgressBar,
    seen: impl Fn(&Bytes) + Send + Sync + 'static,
) -> Body {
    let frames = chunks.map_ok(move |chunk| {
        seen(&chunk);
        bar.inc(chunk.len() as u64);
        Frame::data(chunk)
    });
    let frames: Pin<Box<dyn Stream<Item = std::io::Result<Frame<Bytes>>> + Send + Sync>> = Box::pin(frames);
    StreamBody::new(frames).boxed()
}
