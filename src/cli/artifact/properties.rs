//! `artimesh artifact properties`

use clap::Args;
use hyper::Method;
use serde_json::{Map, Value, json};

use crate::cli::client::{CallError, Client, LONG_TIMEOUT};
use crate::cli::location::Folder;
use crate::cli::output;

/// Whose properties, and what becomes of them.
#[derive(Debug, Args)]
pub struct Properties {
    /// REPO/PATH; with --set or --remove also a folder, whose files are changed all
    location: Folder,
    /// Set a property: NAME=VALUE, or NAME=VALUE,VALUE; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<(String, Vec<String>)>,
    /// Remove a property; may be repeated
    #[arg(long, value_name = "NAME")]
    remove: Vec<String>,
}

fn assignment(text: &str) -> Result<(String, Vec<String>), String> {
    let (name, values) = text.split_once('=').ok_or_else(|| format!("'{text}' has no '=': write NAME=VALUE"))?;
    Ok((name.to_owned(), values.split(',').map(str::to_owned).collect()))
}

/// Shows the properties, after changing them if that is asked for.
pub(super) async fn run(client: &Client, command: &Properties, json: bool) -> anyhow::Result<()> {
    let target = command.location.target();
    let mut props = Map::new();
    props.extend(command.set.iter().map(|(name, values)| (name.clone(), json!(values))));
    props.extend(command.remove.iter().map(|name| (name.clone(), Value::Null)));
    if !props.is_empty() {
        let path = format!("/artifactory/api/metadata/{target}");
        client.call_within(LONG_TIMEOUT, Method::PATCH, &path, Some(json!({"props": props}))).await?;
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
