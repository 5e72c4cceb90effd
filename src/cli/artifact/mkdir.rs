//! `artimesh artifact mkdir`

use clap::Args;
use hyper::Method;
use serde_json::Value;

use crate::cli::client::Client;
use crate::cli::location::Location;
use crate::cli::output::{self, field};

/// What to make.
#[derive(Debug, Args)]
pub struct Mkdir {
    /// REPO/PATH
    location: Location,
}

/// Makes a folder; one that is there already is left as it is.
pub(super) async fn run(client: &Client, command: &Mkdir, json: bool) -> anyhow::Result<()> {
    let path = format!("/artifactory/{}/", command.location.target());
    output::answer(json, &client.call(Method::PUT, &path, None).await?, human)
}

fn human(folder: &Value) -> String {
    format!("made {}{}/", field(folder, "repo"), field(folder, "path"))
}
