//! `artimesh config check|show`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::command::Global;
use super::misuse::Misuse;
use super::{output, serve};
use crate::config::{FILE_NAME, Origin, load};

/// The configuration: file, environment and defaults.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Report everything that is wrong
    Check(Which),
    /// Show what is in effect, and who set it
    Show(Which),
}

/// Which file.
#[derive(Debug, Args)]
pub struct Which {
    /// Another file than artimesh.toml of the data folder
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Checks or shows the configuration.
pub(super) fn run(global: &Global, command: &Config) -> anyhow::Result<()> {
    let (Config::Check(which) | Config::Show(which)) = command;
    let path = match (&which.file, &global.data) {
        (Some(file), _) => file.clone(),
        (None, Some(_)) => serve::folder(global)?.join(FILE_NAME),
        (None, None) => return Err(Misuse("say which configuration: --data DIR or --file FILE").into()),
    };
    let loaded = load(Some(&path), std::env::vars_os(), &[])?;
    match command {
        Config::Check(_) => {
            let value = json!({"fine": true, "file": path.display().to_string()});
            output::answer(global.json, &value, |_| format!("configuration is fine: {}", path.display()))
        }
        Config::Show(_) => {
            let rows = loaded.origins.iter().map(row).collect();
            output::answer(global.json, &Value::Array(rows), |_| shown(&loaded.origins))
        }
    }
}

fn row(origin: &Origin) -> Value {
    json!({
        "key": origin.key.name,
        "value": origin.value.to_string(),
        "source": origin.source.to_string(),
        "default": origin.key.default,
        "variable": origin.key.variable(),
        "flag": origin.key.flag.map(|flag| format!("--{flag}")),
        "reloadable": origin.key.reloadable,
    })
}

fn shown(origins: &[Origin]) -> String {
    let value = |origin: &Origin| Some(origin.value.to_string()).filter(|text| !text.is_empty());
    let rows = origins.iter().map(|origin| {
        [origin.key.name.to_owned(), value(origin).unwrap_or_else(|| "-".into()), origin.source.to_string()]
    });
    output::table(["key", "value", "source"], rows)
}
