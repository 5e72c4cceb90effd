//! `artimesh artifact properties`

use anyhow::ensure;
use artimesh_core::model::ArtifactPath;
use clap::Args;
use hyper::Method;
use serde_json::{Map, Value, json};

use super::each::{Done, Manner, each};
use super::selection::Selection;
use crate::cli::client::{CallError, Client, LONG_TIMEOUT};
use crate::cli::import::failure::{Failure, Remedy};
use crate::cli::import::report::Words;
use crate::cli::output;

/// Whose properties, and what becomes of them.
#[derive(Debug, Args)]
pub struct Properties {
    /// REPO/PATH; with --set or --remove a folder is changed with all that is in it, and a pattern such as REPO/org/**/*.jar stands
    /// for the files that match
    location: Selection,
    /// Set a property: NAME=VALUE, or NAME=VALUE,VALUE; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<(String, Vec<String>)>,
    /// Remove a property; may be repeated
    #[arg(long, value_name = "NAME")]
    remove: Vec<String>,
    /// Change a folder alone, not what is in it
    #[arg(long)]
    no_recursive: bool,
    #[command(flatten)]
    manner: Manner,
}

fn assignment(text: &str) -> Result<(String, Vec<String>), String> {
    let (name, values) = text.split_once('=').ok_or_else(|| format!("'{text}' has no '=': write NAME=VALUE"))?;
    Ok((name.to_owned(), values.split(',').map(str::to_owned).collect()))
}

/// Shows the properties, after changing them if that is asked for.
pub(super) async fn run(client: &Client, command: &Properties, json: bool) -> anyhow::Result<()> {
    let mut props = Map::new();
    props.extend(command.set.iter().map(|(name, values)| (name.clone(), json!(values))));
    props.extend(command.remove.iter().map(|name| (name.clone(), Value::Null)));
    let body = json!({"props": props});
    let location = match &command.location {
        Selection::Place(location) => location,
        Selection::Matching(pattern) => {
            ensure!(
                !props.is_empty(),
                "a pattern needs --set or --remove: `artimesh artifact search` shows the properties of many"
            );
            let any = |_: &ArtifactPath| Ok(());
            return each(client, pattern, &command.manner, Words::LABELLING, json, any, async |node, file| {
                let location = node.place.location(&file.path).map_err(|error| Failure::new(Remedy::Leave, error))?;
                let path = format!("/artifactory/api/metadata/{}", location.target());
                Done::of(client.change(Method::PATCH, &path, Some(&body), file.sums.sha1.as_deref()).await)
            })
            .await;
        }
    };
    let target = location.target();
    if !props.is_empty() {
        ensure!(
            !command.manner.dry_run,
            "--dry-run is for a pattern: leave out --set and --remove to see what is there"
        );
        let recursive = u8::from(!command.no_recursive);
        let path = format!("/artifactory/api/metadata/{target}?recursiveProperties={recursive}");
        client.call_within(LONG_TIMEOUT, Method::PATCH, &path, Some(body)).await?;
    }
    let path = format!("/artifactory/api/storage/{target}?properties");
    let none = |error: &CallError| matches!(error, CallError::Refused { message, .. } if message == NO_PROPERTIES);
    let shown = match client.call(Method::GET, &path, None).await {
        Err(error) if none(&error) => json!({"properties": {}}),
        other => other?,
    };
    output::answer(json, &shown, human)
}

/// What a node answers for an artifact without any.
const NO_PROPERTIES: &str = "No properties could be found.";

fn human(answer: &Value) -> String {
    let Some(properties) = answer["properties"].as_object().filter(|properties| !properties.is_empty()) else {
        return "no properties".to_owned();
    };
    let rows = properties.keys().map(|name| [output::plain(name), output::field(&answer["properties"], name)]);
    output::table(["property", "values"], rows)
}
