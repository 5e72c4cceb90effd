//! `artimesh artifact move|copy`

use anyhow::bail;
use artimesh_core::model::ArtifactPath;
use clap::Args;
use hyper::Method;
use serde_json::Value;

use super::each::{Done, Manner, each};
use super::selection::{Pattern, Selection};
use crate::cli::client::{Client, LONG_TIMEOUT};
use crate::cli::import::failure::{Failure, Remedy};
use crate::cli::import::node::{Node, Place};
use crate::cli::import::report::Words;
use crate::cli::location::Folder;
use crate::cli::output;

/// What goes where.
#[derive(Debug, Args)]
pub struct Relocate {
    /// A file or folder: REPO/PATH; REPO alone: all that is in it; or a pattern such as REPO/org/**/*.jar
    from: Selection,
    /// Where to: REPO/PATH, or REPO; a file that is put into a folder keeps its name, and what matches a pattern its path from the
    /// first wildcard's folder on
    to: Folder,
    #[command(flatten)]
    manner: Manner,
}

/// Which of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Move,
    Copy,
}

impl Verb {
    /// The route's.
    fn word(self) -> &'static str {
        match self {
            Verb::Move => "move",
            Verb::Copy => "copy",
        }
    }

    fn words(self) -> Words {
        match self {
            Verb::Move => Words::MOVE,
            Verb::Copy => Words::COPY,
        }
    }
}

/// Moves or copies.
pub(super) async fn run(client: &Client, command: &Relocate, verb: Verb, json: bool) -> anyhow::Result<()> {
    let Relocate { from, to, manner } = command;
    let from = match from {
        Selection::Matching(pattern) => return matching(client, pattern, to, manner, verb, json).await,
        Selection::Place(from) => from,
    };
    let dry = u8::from(manner.dry_run);
    let (verb, from, to) = (verb.word(), from.target(), to.slashed_target());
    let path = format!("/artifactory/api/{verb}/{from}?to=/{to}&dry={dry}");
    let answer = client.call_within(LONG_TIMEOUT, Method::POST, &path, None).await?;
    output::answer(json, &answer, human)
}

async fn matching(
    client: &Client,
    pattern: &Pattern,
    to: &Folder,
    manner: &Manner,
    verb: Verb,
    json: bool,
) -> anyhow::Result<()> {
    // A repository that isn't there would be told for each file, as if that were gone.
    Node::new(client, to.clone()).check().await?;
    let (matches, into) = (pattern.clone(), to.clone());
    let check = move |path: &ArtifactPath| not_again(&matches, &into, path);
    let to = Place::new(to.clone());
    each(client, pattern, manner, verb.words(), json, check, async |node, file| {
        let at = |place: &Place| place.location(&file.path).map_err(|error| Failure::new(Remedy::Leave, error));
        let (from, to) = (at(&node.place)?.target(), at(&to)?.target());
        let path = format!("/artifactory/api/{}/{from}?to=/{to}", verb.word());
        Done::of(client.change(Method::POST, &path, None, file.sums.sha1.as_deref()).await)
    })
    .await
}

/// What is put where it matches again would be taken once more by the same command, and perhaps by this one.
fn not_again(pattern: &Pattern, to: &Folder, path: &ArtifactPath) -> anyhow::Result<()> {
    let location = Place::new(to.clone()).location(path)?;
    let is_same = location.repo.folded() == pattern.folder.repo.folded();
    let within = match &pattern.folder.prefix {
        None => Some(location.path.as_str()),
        Some(prefix) => location.path.as_str().strip_prefix(prefix.as_str()).and_then(|rest| rest.strip_prefix('/')),
    };
    if is_same && within.is_some_and(|rest| pattern.covers(rest)) {
        bail!("{path} would come to {}, which matches {pattern} as well: choose a place that doesn't", location.path);
    }
    Ok(())
}

fn human(answer: &Value) -> String {
    let messages = output::items(answer, "messages").iter().map(|message| output::field(message, "message"));
    messages.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_goes_where_it_would_match_again() {
        let check = |pattern: &str, to: &str, path: &str| {
            let Ok(Selection::Matching(pattern)) = pattern.parse() else { panic!("{pattern} is none") };
            not_again(&pattern, &to.parse().unwrap(), &path.parse().unwrap()).is_ok()
        };
        assert!(check("libs/a/*.jar", "libs/a/old", "x.jar"));
        assert!(check("libs/**/*.jar", "other/old", "x.jar"));
        assert!(check("libs/a/**", "libs/ab", "x"));
        assert!(!check("libs/**/*.jar", "LIBS/old", "a/x.jar"));
        assert!(!check("libs/a/**", "libs/a/b", "x"));
        assert!(!check("libs/**", "libs", "x"));
    }
}
