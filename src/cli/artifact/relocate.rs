//! `artimesh artifact move|copy`

use clap::Args;
use hyper::Method;
use serde_json::Value;

use super::each::{Done, Manner, each};
use super::selection::{Pattern, Selection};
use crate::cli::client::{Client, LONG_TIMEOUT};
use crate::cli::import::failure::{Failure, Remedy};
use crate::cli::import::node::Place;
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
    let to = Place::new(to.clone());
    each(client, pattern, manner, verb.words(), json, async |node, path| {
        let at = |place: &Place| place.location(path).map_err(|error| Failure::new(Remedy::Leave, error));
        let (from, to) = (at(&node.place)?.target(), at(&to)?.target());
        Done::of(client.call(Method::POST, &format!("/artifactory/api/{}/{from}?to=/{to}", verb.word()), None).await)
    })
    .await
}

fn human(answer: &Value) -> String {
    let messages = output::items(answer, "messages").iter().map(|message| output::field(message, "message"));
    messages.collect::<Vec<_>>().join("\n")
}
