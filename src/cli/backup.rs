//! `artimesh backup`

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::Args;
use http_body_util::BodyExt as _;
use hyper::header::CONTENT_LENGTH;
use hyper::{Method, Request};
use serde_json::json;

use super::client::{ANSWER_TIMEOUT, CallError, Client, full};
use super::command::Global;
use super::named::Named;
use super::output;
use super::temporary::Temporary;
use crate::node::backup::Stopped;
use crate::node::restore::verify;

/// The route of a running node's backup.
const PATH: &str = "/artifactory/api/mesh/backup";

/// Where to.
#[derive(Debug, Args)]
pub struct Backup {
    /// The archive to make, or - for standard output
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

/// Asks the node that runs for a backup, or makes one of the folder when none does. The file appears under its name when
/// it is whole and was read back, not before.
pub(super) async fn run(global: &Global, command: &Backup) -> anyhow::Result<()> {
    let to = &command.to;
    if to.as_os_str() == "-" {
        fill(global, io::stdout()).await?;
        output::note("it holds this node's private keys; check it with `artimesh restore --from FILE --dry-run`");
        return Ok(());
    }
    if to.symlink_metadata().is_ok() {
        bail!("{} exists: name another file; nothing was changed", to.display());
    }
    let temporary = Temporary::beside(to)?;
    let shown = || temporary.path().display().to_string();
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(temporary.path())
        .with_context(shown)?;
    fill(global, &mut file).await?;
    file.sync_all().with_context(shown)?;
    let bytes = file.metadata().with_context(shown)?.len();
    let bar = output::progress("read back", Some(bytes));
    let contents = verify(bar.wrap_read(File::open(temporary.path()).with_context(shown)?))?;
    bar.finish_and_clear();
    temporary.settle(to)?;
    let about = &contents.about;
    let value = json!({"backup": to, "bytes": bytes, "files": contents.files.len(), "about": about});
    output::answer(global.json, &value, |_| {
        let commit = about.commit.map_or_else(|| "its last commit".to_owned(), |number| format!("commit {number}"));
        format!(
            "wrote {}: node {} as of {commit}, {} files, {}; read back and whole\n\
             Keep it as you keep the node's folder: it holds its private keys and its administrator's token.",
            to.display(),
            about.name,
            contents.files.len(),
            output::bytes(bytes)
        )
    })
}

/// Writes the archive: over HTTP if a node answers, else from the folder, which is locked meanwhile.
async fn fill(global: &Global, sink: impl Write) -> anyhow::Result<()> {
    let folder = match global.named()? {
        Some(Named::Folder(folder)) => Some(folder),
        _ => None,
    };
    if let Some(folder) = folder
        && super::serve::folder(global).is_ok()
        && !folder.join("http.addr").exists()
    {
        return of_folder(folder, sink);
    }
    let client = Client::find(global)?;
    let request = Request::builder().method(Method::GET).body(full(Bytes::new()))?;
    let sent =
        tokio::time::timeout(ANSWER_TIMEOUT, client.send(PATH, request)).await.context("no answer within a minute")?;
    match (sent, folder) {
        (Ok(response), _) => receive(response, sink).await,
        // A node that was killed leaves its address behind.
        (Err(CallError::Nobody(_)), Some(folder)) => of_folder(folder, sink),
        (Err(error), _) => Err(error.into()),
    }
}

async fn receive(mut response: hyper::Response<hyper::body::Incoming>, mut sink: impl Write) -> anyhow::Result<()> {
    let announced = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let bar = output::progress("back up", announced);
    while let Some(frame) =
        tokio::time::timeout(ANSWER_TIMEOUT, response.frame()).await.context("nothing came for a minute")?
    {
        let frame = frame.context("the backup broke off: see the node's log, and try again")?;
        let Ok(piece) = frame.into_data() else { continue };
        sink.write_all(&piece).context("can't write")?;
        bar.inc(piece.len() as u64);
    }
    bar.finish_and_clear();
    sink.flush().context("can't write")
}

fn of_folder(folder: &Path, sink: impl Write) -> anyhow::Result<()> {
    let stopped = Stopped::open(folder)?;
    let bar = output::progress("back up", Some(stopped.archive_bytes()));
    stopped.write(bar.wrap_write(sink))?;
    bar.finish_and_clear();
    Ok(())
}
