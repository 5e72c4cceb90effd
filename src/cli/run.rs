//! From arguments to an exit code.

use std::ffi::OsString;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use artimesh_core::model::{KeyPair, NodeName};
use tokio::signal::unix::{SignalKind, signal};

use super::client::CallError;
use super::command::{Cli, Command};
use super::misuse::Misuse;
use super::{
    artifact, audit, backup, cache, config, conflict, doctor, federation, gc, import, init, manuals, output, pair,
    profile, repo, restore, rollback, scrub, serve, status, store, trust, version,
};
use crate::config::{Keys, Settings};
use crate::node::Start;

/// Writes `circle.founding` into a data folder: the first grant of a new circle, signed by its root key.
pub type WriteFounding = fn(&Path, &NodeName, &KeyPair, &Keys) -> anyhow::Result<()>;

/// Runs a node on a data folder.
pub type Serving = fn(Settings, PathBuf, Start) -> anyhow::Result<()>;

/// What the composition root gives to the command line.
#[derive(Clone, Copy)]
pub struct Seams {
    /// Runs a node on a data folder until it is told to stop.
    pub serve: Serving,
    /// Founds a circle.
    pub write_founding: WriteFounding,
}

/// Runs the command that the process was started with.
pub fn run(seams: &Seams) -> ExitCode {
    ExitCode::from(run_with(std::env::args_os(), seams))
}

/// Runs the command in `arguments` (the program's name first) and returns the exit code: 0 done, 1 refused or failed,
/// 2 misuse.
pub fn run_with(arguments: impl IntoIterator<Item = OsString>, seams: &Seams) -> u8 {
    let cli = match Cli::read(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to standard output, complaints to standard error; a closed one can't be told about.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    let json = cli.global.json;
    match perform(cli, seams) {
        Ok(()) => 0,
        Err(error) => {
            let code = if error.is::<Misuse>() { 2 } else { 1 };
            output::complain(&error, error.downcast_ref::<CallError>().and_then(CallError::status), json);
            code
        }
    }
}

fn perform(cli: Cli, seams: &Seams) -> anyhow::Result<()> {
    let Cli { global, command } = cli;
    match command {
        Command::Init(command) => init::run(&global, &command, seams.write_founding),
        Command::Serve(command) => serve::run(&global, &command, seams.serve),
        Command::Config(command) => config::run(&global, &command),
        Command::Restore(command) => restore::run(&global, &command),
        Command::Store(command) => store::run(&global, &command),
        Command::Completions(command) => manuals::completions(&command),
        Command::Man(command) => manuals::man(&command),
        Command::Version => version::run(&global),
        Command::Profile(command) => wait(profile::run(&global, &command)),
        Command::Doctor(command) => wait(doctor::run(&global, &command)),
        Command::Status => wait(status::run(&global)),
        Command::Pair(command) => wait(pair::run(&global, &command)),
        Command::Trust(command) => wait(trust::run(&global, &command)),
        Command::Repo(command) => wait(repo::run(&global, &command)),
        Command::Rollback(command) => wait(rollback::run(&global, &command)),
        Command::Audit(command) => wait(audit::run(&global, &command)),
        Command::Gc(command) => wait(gc::run(&global, &command)),
        Command::Scrub(command) => wait(scrub::run(&global, &command)),
        Command::Cache(command) => wait(cache::run(&global, &command)),
        Command::Backup(command) => wait(backup::run(&global, &command)),
        Command::Federation(command) => wait(federation::run(&global, &command)),
        Command::Conflict(command) => wait(conflict::run(&global, &command)),
        Command::Artifact(command) => wait(artifact::run(&global, &command)),
        Command::Import(command) => wait(import::run(&global, &command)),
    }
}

/// Runs a client's future to its end, or drops it when the operator interrupts, so that its temporary files go.
fn wait(future: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let outcome = runtime.block_on(async {
        let mut terminated = signal(SignalKind::terminate())?;
        tokio::select! {
            outcome = future => outcome,
            interrupted = tokio::signal::ctrl_c() => match interrupted {
                Ok(()) => Err(anyhow::anyhow!("interrupted")),
                Err(error) => Err(error.into()),
            },
            _ = terminated.recv() => Err(anyhow::anyhow!("terminated")),
        }
    });
    // A read of standard input can't be cancelled: don't wait for the line that nobody will type.
    runtime.shutdown_background();
    outcome
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
