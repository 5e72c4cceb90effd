//! `artimesh config check|show`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::command::Global;
use super::misuse::Misuse;
use super::{output, serve};
use crate::config::{FILE_NAME, Fault, Origin, Value as Setting, load};

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
    let loaded = load(Some(&path), std::env::vars_os(), &[]);
    if let (Config::Check(_), Err(faults), true) = (command, &loaded, global.json) {
        let faults: Vec<_> = faults.0.iter().map(fault).collect();
        output::say(&serde_json::to_string_pretty(&json!({"fine": false, "file": path, "faults": faults}))?)?;
    }
    let loaded = loaded?;
    match command {
        Config::Check(_) => {
            let value = json!({"fine": true, "file": path});
            output::answer(global.json, &value, |_| format!("configuration is fine: {}", path.display()))
        }
        Config::Show(_) => {
            let rows = loaded.origins.iter().map(row).collect();
            output::answer(global.json, &Value::Array(rows), |_| shown(&loaded.origins))
        }
    }
}

fn fault(fault: &Fault) -> Value {
    json!({"source": fault.source.to_string(), "problem": fault.to_string()})
}

fn row(origin: &Origin) -> Value {
    json!({
        "key": origin.key.name,
        "value": value(&origin.value),
        "source": origin.source.to_string(),
        "default": origin.key.default,
        "variable": origin.key.variable(),
        "flag": origin.key.flag.map(|flag| format!("--{flag}")),
    })
}

/// A setting as JSON: bytes and milliseconds as numbers, no bound as null.
fn value(value: &Setting) -> Value {
    match value {
        Setting::Absent | Setting::Unbounded => Value::Null,
        Setting::Name(name) => json!(name),
        Setting::Address(address) => json!(address.to_string()),
        Setting::Text(text) => json!(text),
        Setting::Truth(truth) => json!(truth),
        Setting::Count(number) | Setting::Size(number) => json!(number),
        Setting::Percent(percent) => json!(format!("{percent}%")),
        Setting::Time(time) => json!(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        Setting::List(items) => json!(items),
    }
}

fn shown(origins: &[Origin]) -> String {
    let value = |origin: &Origin| Some(origin.value.to_string()).filter(|text| !text.is_empty());
    let rows = origins.iter().map(|origin| {
        [origin.key.name.to_owned(), value(origin).unwrap_or_else(|| "-".into()), origin.source.to_string()]
    });
    output::table(["key", "value", "source"], rows)
}
