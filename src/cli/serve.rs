//! `artimesh serve`

use std::io;
use std::path::Path;

use anyhow::{Context as _, bail};
use clap::Args;
use tracing_subscriber::EnvFilter;

use super::command::Global;
use super::flags::SettingFlags;
use super::misuse::Misuse;
use super::run::Serving;
use crate::config::{FILE_NAME, LogFormat, Settings, load};
use crate::node::Start;

/// The options of `serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// Write at once, also when the folder was restored, copied or set back and no peer was asked what this node wrote
    #[arg(long)]
    alone: bool,
    #[command(flatten)]
    settings: SettingFlags,
}

impl Serve {
    /// The settings that were given as flags.
    pub(super) fn settings(&self) -> &SettingFlags {
        &self.settings
    }
}

/// Loads the configuration, begins to log, and runs the node.
pub(super) fn run(global: &Global, command: &Serve, serve: Serving) -> anyhow::Result<()> {
    let folder = folder(global)?;
    let loaded = load(Some(&folder.join(FILE_NAME)), std::env::vars_os(), &command.settings().0)?;
    begin_logging(&loaded.settings, std::env::var("ARTIMESH_LOG").ok().as_deref())?;
    let start = if command.alone { Start::Alone } else { Start::AskPeers };
    serve(loaded.settings, folder.to_owned(), start)
}

/// The data folder that `global` names, which `init` has made.
///
/// # Errors
/// [`Misuse`] when none is named; else that it is no data folder.
pub(super) fn folder(global: &Global) -> anyhow::Result<&Path> {
    let Some(folder) = global.data.as_deref() else {
        return Err(Misuse("say which data folder: --data DIR").into());
    };
    if !folder.join(FILE_NAME).exists() {
        let shown = folder.display();
        bail!("{shown} is not the data folder of a node: create one with `artimesh init --data {shown} --name NAME`");
    }
    Ok(folder)
}

fn begin_logging(settings: &Settings, replacement: Option<&str>) -> anyhow::Result<()> {
    let directives = replacement.filter(|text| !text.is_empty()).unwrap_or(&settings.log.level);
    let filter = EnvFilter::try_new(directives).with_context(|| format!("ARTIMESH_LOG={directives}"))?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let begun = match settings.log.format {
        LogFormat::Text => subscriber.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
    };
    begun.map_err(|error| anyhow::anyhow!("the log can't begin: {error}"))
}
