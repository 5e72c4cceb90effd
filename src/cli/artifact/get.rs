//! `artimesh artifact get`

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use clap::Args;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use hyper::{HeaderMap, Method, Request, Response};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::fs::OpenOptions;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::get_tree::Tree;
use super::glob::{self, Filter, WILD};
use crate::cli::client::{ANSWER_TIMEOUT, Client, full};
use crate::cli::import::options::Options;
use crate::cli::location::{BadLocation, Folder, Location};
use crate::cli::output;
use crate::cli::temporary::Temporary;

/// What to download, and where to.
#[derive(Debug, Args)]
pub struct Get {
    /// What: REPO/PATH, REPO/FOLDER/ for all that is in a folder, or a pattern such as REPO/org/**/*.jar
    what: What,
    /// Where to: a file or folder, or - for standard output; the default is the artifact's name, here
    file: Option<PathBuf>,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    options: Options,
}

/// One artifact, or many.
#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    One(Location),
    /// What is in a folder: all, or what matches by its path in it.
    Many(Folder, Option<String>),
}

impl FromStr for What {
    type Err = BadLocation;

    fn from_str(text: &str) -> Result<What, BadLocation> {
        let path = text.split_once('/').map(|(_, path)| path);
        match path {
            Some(pattern) if pattern.contains(WILD) => {
                let (repo, _) = text.split_at(text.len() - pattern.len() - 1);
                let folder = glob::folder(pattern);
                let rest = pattern[folder.len()..].trim_start_matches('/');
                Ok(What::Many(format!("{repo}/{folder}").trim_end_matches('/').parse()?, Some(rest.to_owned())))
            }
            Some(path) if !path.is_empty() && !path.ends_with('/') => text.parse().map(What::One),
            _ => Ok(What::Many(text.parse()?, None)),
        }
    }
}

/// Downloads one artifact. A file appears under its name when it is whole, verified and on the disk, not before.
pub(super) async fn run(client: &Client, command: &Get, json: bool) -> anyhow::Result<()> {
    let location = match &command.what {
        What::One(location) => location,
        What::Many(from, pattern) => {
            let default = from.prefix.as_ref().filter(|_| pattern.is_none()).map_or(".", |prefix| prefix.name());
            let to = command.file.clone().unwrap_or_else(|| PathBuf::from(default));
            ensure!(to.as_os_str() != "-", "many files can't go to standard output");
            let (from, pattern, filter) = (from.clone(), pattern.clone(), command.filter.clone());
            let tree = Tree { from, pattern, filter, to, options: command.options.clone(), json };
            return tree.run(client).await;
        }
    };
    let name = location.path.name();
    let path = match &command.file {
        Some(path) if path.as_os_str() == "-" => {
            get(client, location, tokio::io::stdout()).await?;
            return Ok(());
        }
        Some(path) if path.is_dir() => path.join(name),
        Some(path) => path.clone(),
        None => PathBuf::from(name),
    };
    let received = get_file(client, location, &path).await?;
    let value = json!({"path": path, "size": received.size, "sha256": received.sha256});
    output::answer(json, &value, |_| {
        format!("wrote {}: {}, sha256 {}", path.display(), output::bytes(received.size), received.sha256)
    })
}

/// What came.
pub(super) struct Received {
    pub(super) size: u64,
    pub(super) sha256: String,
}

pub(super) async fn get_file(client: &Client, location: &Location, path: &Path) -> anyhow::Result<Received> {
    let temporary = Temporary::beside(path)?;
    let shown = || temporary.path().display().to_string();
    let mut file = OpenOptions::new().write(true).create_new(true).open(temporary.path()).await.with_context(shown)?;
    let received = get(client, location, &mut file).await?;
    file.sync_all().await.with_context(shown)?;
    temporary.settle(path)?;
    Ok(received)
}

/// Streams an artifact into `sink` and verifies it on the way.
///
/// # Errors
/// Also when everything was written and is wrong: the caller must not use it.
async fn get(client: &Client, location: &Location, mut sink: impl AsyncWrite + Unpin) -> anyhow::Result<Received> {
    let request = Request::builder().method(Method::GET).body(full(Bytes::new()))?;
    let target = format!("/artifactory/{}", location.target());
    let mut response = tokio::time::timeout(ANSWER_TIMEOUT, client.send(&target, request))
        .await
        .context("no answer within a minute")??;
    let is_page = |headers: &HeaderMap| !headers.contains_key("x-checksum-sha1") && !headers.contains_key(ETAG);
    let media_type = response.headers().get(CONTENT_TYPE).map(|value| value.as_bytes().to_owned()).unwrap_or_default();
    if is_page(response.headers()) && media_type.starts_with(b"text/html") {
        let Location { repo, path } = location;
        bail!("{repo}/{path} is a folder: write {repo}/{path}/ for all that is in it");
    }
    let announced = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_ascii_lowercase());
    let size = announced(CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok());
    let expected = announced("x-checksum-sha256");
    let bar = output::progress("download", size);
    let received = receive(&mut response, &mut sink, &bar).await;
    bar.finish_and_clear();
    let received = received?;
    match expected {
        Some(expected) if expected != received.sha256 => {
            bail!("what came is not what the node announced: sha256 {}, announced {expected}", received.sha256)
        }
        Some(_) => {}
        None => output::note("the node named no checksum: what came could not be verified"),
    }
    Ok(received)
}

async fn receive(
    response: &mut Response<Incoming>,
    sink: &mut (impl AsyncWrite + Unpin),
    bar: &indicatif::ProgressBar,
) -> anyhow::Result<Received> {
    let (mut hasher, mut size) = (Sha256::new(), 0);
    while let Some(frame) =
        tokio::time::timeout(ANSWER_TIMEOUT, response.frame()).await.context("nothing came for a minute")?
    {
        let Ok(chunk) = frame.context("the download broke off")?.into_data() else { continue };
        hasher.update(&chunk);
        sink.write_all(&chunk).await.context("can't write")?;
        size += chunk.len() as u64;
        bar.set_position(size);
    }
    sink.flush().await.context("can't write")?;
    let announced = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    ensure!(announced.is_none_or(|announced: u64| announced == size), "the download broke off after {size} bytes");
    Ok(Received { size, sha256: data_encoding::HEXLOWER.encode(&hasher.finalize()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_patterns_are_many() {
        let many =
            |folder: &str, pattern: Option<&str>| Ok(What::Many(folder.parse().unwrap(), pattern.map(str::to_owned)));
        assert_eq!("libs/a/x".parse(), Ok(What::One("libs/a/x".parse().unwrap())));
        assert_eq!("libs".parse(), many("libs", None));
        assert_eq!("libs/".parse(), many("libs/", None));
        assert_eq!("libs/a/b/".parse(), many("libs/a/b/", None));
        assert_eq!("libs/a/*.jar".parse(), many("libs/a", Some("*.jar")));
        assert_eq!("libs/a/b*/**".parse(), many("libs/a", Some("b*/**")));
        assert_eq!("libs/**/*.pom".parse(), many("libs", Some("**/*.pom")));
        assert!("/x".parse::<What>().is_err());
    }
}
