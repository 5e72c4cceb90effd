//! `artimesh artifact get`

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use hyper::Method;
use indicatif::ProgressBar;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWrite;

use super::beneath::Place;
use super::download::{Announced, Received, Transfer, Watch, ask};
use super::fetch::{Durable, Fetch, Trouble};
use super::get_tree::Tree;
use super::glob::{self, Filter};
use crate::cli::client::Client;
use crate::cli::import::options::Options;
use crate::cli::location::{BadLocation, Folder, Location};
use crate::cli::misuse::Misuse;
use crate::cli::output;

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
        if !glob::is_escaped_well(text) {
            return Err(BadLocation::Backslash(text.to_owned()));
        }
        let path = text.split_once('/').map(|(_, path)| path);
        match path {
            Some(pattern) if glob::is_pattern(pattern) => {
                let (repo, _) = text.split_at(text.len() - pattern.len() - 1);
                let folder = glob::folder(pattern);
                let rest = pattern[folder.len()..].trim_start_matches('/');
                let folder = glob::literal(folder);
                Ok(What::Many(format!("{repo}/{folder}").trim_end_matches('/').parse()?, Some(rest.to_owned())))
            }
            Some(path) if !path.is_empty() && !path.ends_with('/') => glob::literal(text).parse().map(What::One),
            _ => Ok(What::Many(glob::literal(text).parse()?, None)),
        }
    }
}

/// Downloads one artifact. A file appears under its name when it is whole, verified and on the disk, not before; what came
/// of a large one until it broke off is kept for the same command.
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
    if command.filter.is_given() || command.options.rate_limit.is_some() {
        return Err(Misuse("--include, --exclude and --rate-limit are for folders and patterns").into());
    }
    let name = location.path.name();
    let path = match &command.file {
        Some(path) if path.as_os_str() == "-" && !command.options.dry_run => {
            get(client, location, tokio::io::stdout()).await?;
            return Ok(());
        }
        Some(path) if path.is_dir() => path.join(name),
        Some(path) => path.clone(),
        None => PathBuf::from(name),
    };
    if command.options.dry_run {
        // Whether it is there.
        client.call(Method::GET, &format!("/artifactory/api/storage/{}", location.target()), None).await?;
        let value = json!({"dry_run": true, "path": path.display().to_string()});
        return output::answer(json, &value, |_| format!("download  {}", path.display()));
    }
    let received = get_file(client, location, &path).await?;
    let Received { size, sha256, resumed, .. } = &received;
    let value = json!({"path": path.display().to_string(), "size": size, "sha256": sha256, "resumed": resumed});
    output::answer(json, &value, |_| {
        let there = match resumed {
            0 => String::new(),
            bytes => format!(" ({} were there from before)", output::bytes(*bytes)),
        };
        format!("wrote {}: {}{there}, sha256 {sha256}", path.display(), output::bytes(*size))
    })
}

pub(super) async fn get_file(client: &Client, location: &Location, path: &Path) -> anyhow::Result<Received> {
    let shown = || path.display().to_string();
    let place = Arc::new(Place::of(path).with_context(shown)?);
    let bar = Bar::default();
    let fetch = Fetch { client, location, place: &place, durable: Durable::AtOnce, watch: &bar };
    let received = fetch.run().await;
    bar.ends();
    let left = || place.parts().is_ok_and(|parts| !parts.is_empty());
    let received = match received {
        Err(Trouble::Call(error)) => return Err(error.into()),
        Err(Trouble::Io(error)) => return Err(error).with_context(shown),
        Err(trouble) if left() => bail!("{trouble}; what came is kept, and the same command goes on from there"),
        Err(trouble) => return Err(trouble.into()),
        Ok(received) => received,
    };
    doubt(&received);
    Ok(received)
}

/// Streams an artifact into `sink` and verifies it on the way.
///
/// # Errors
/// Also when everything was written and is wrong: the caller must not use it.
async fn get(client: &Client, location: &Location, sink: impl AsyncWrite + Unpin) -> anyhow::Result<()> {
    let answer = ask(client, location, Method::GET, 0, &Announced::default()).await?;
    if answer.is_page {
        return Err(Trouble::Folder(format!("{}/{}", location.repo, location.path)).into());
    }
    let (announced, bar) = (answer.announced.clone(), Bar::default());
    let mut transfer = Transfer { client, location, announced, hasher: Sha256::new(), at: 0, sink, watch: &bar };
    let received = transfer.run(Some(answer)).await;
    bar.ends();
    doubt(&received.map_err(Trouble::Failed)?);
    Ok(())
}

fn doubt(received: &Received) {
    if !received.is_verified {
        output::note("the node named no checksum: what came could not be verified");
    }
}

/// Shows how far a download is.
#[derive(Default)]
struct Bar {
    bar: OnceCell<ProgressBar>,
}

impl Bar {
    fn ends(&self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }
}

impl Watch for Bar {
    fn begins(&self, at: u64, size: Option<u64>) {
        self.bar.get_or_init(|| output::progress("download", size)).set_position(at);
    }

    async fn came(&self, bytes: usize) {
        if let Some(bar) = self.bar.get() {
            bar.inc(bytes as u64);
        }
    }

    fn waits(&self, reason: &str) {
        output::note(&output::plain(&format!("{reason}; trying again")));
    }
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
