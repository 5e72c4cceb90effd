//! `artimesh artifact ls`: however many there are, and however slowly they are read.

use std::io::{self, BufWriter, Write};

use anyhow::anyhow;
use bytes::Bytes;
use clap::Args;
use hyper::Request;
use serde_json::Value;

use super::selection::{Pattern, Selection};
use crate::cli::client::{ANSWER_TIMEOUT, Client, full};
use crate::cli::import::listing::{self, Piece};
use crate::cli::import::spool::Spool;
use crate::cli::output::{self, field};

/// What to list.
#[derive(Debug, Args)]
pub struct List {
    /// REPO, REPO/PREFIX, or a pattern such as REPO/org/**/*.jar
    what: Selection,
}

/// Lists everything below a folder, or what matches.
pub(super) async fn run(client: &Client, command: &List, json: bool) -> anyhow::Result<()> {
    let (folder, pattern) = match &command.what {
        Selection::Place(folder) => (folder, None),
        Selection::Matching(pattern) => (&pattern.folder, Some(pattern)),
    };
    let path = format!("/artifactory/api/storage/{}?list&deep=1", folder.target());
    let request = Request::get("/").body(full(Bytes::new())).expect("constants");
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, client.send(&path, request)).await;
    let response = answer.map_err(|_| anyhow!("no answer within a minute"))??;
    // A node doesn't wait for who looks at the first page; and what broke off isn't printed as if it were all.
    let mut rows = Spool::new()?;
    listing::read(response, |piece| match piece {
        Piece::Row(row) => Ok(rows.push(&serde_json::from_slice::<Value>(row)?)?),
        Piece::Beside(_) => Ok(()),
    })
    .await?;
    let mut printed = Printed::new(BufWriter::new(io::stdout().lock()), pattern, json);
    let mut rows = rows.rows::<Value>()?;
    match rows.try_for_each(|row| printed.row(&row?)).and_then(|()| printed.end()) {
        // That nobody reads it any more is no failure.
        Err(error) if is_closed(&error) => Ok(()),
        other => other,
    }
}

fn is_closed(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// A list on its way out.
pub(super) struct Printed<'pattern, W: Write> {
    out: W,
    pattern: Option<&'pattern Pattern>,
    json: bool,
    rows: u64,
}

impl<'pattern, W: Write> Printed<'pattern, W> {
    pub(super) fn new(out: W, pattern: Option<&'pattern Pattern>, json: bool) -> Self {
        Printed { out, pattern, json, rows: 0 }
    }

    /// The next, as the node tells it.
    pub(super) fn row(&mut self, file: &Value) -> anyhow::Result<()> {
        let path = field(file, "uri").trim_start_matches('/').to_owned();
        let is_folder = file["folder"] == true;
        if self.pattern.is_some_and(|pattern| is_folder || !pattern.covers(&path)) {
            return Ok(());
        }
        self.rows += 1;
        let is_first = self.rows == 1;
        if self.json {
            writeln!(self.out, "{}", if is_first { r#"{"files":["# } else { "," })?;
            return Ok(serde_json::to_writer(&mut self.out, file).map_err(io::Error::from)?);
        }
        if is_first {
            writeln!(self.out, "{:>11}  {:24}  PATH", "SIZE", "LAST MODIFIED")?;
        }
        let size = file["size"].as_u64().filter(|_| !is_folder).map_or("-".to_owned(), output::bytes);
        let slash = if is_folder { "/" } else { "" };
        Ok(writeln!(self.out, "{size:>11}  {:24}  {path}{slash}", field(file, "lastModified"))?)
    }

    /// That is all.
    pub(super) fn end(mut self) -> anyhow::Result<()> {
        match (self.json, self.rows) {
            (true, 0) => writeln!(self.out, r#"{{"files":[]}}"#)?,
            (true, _) => writeln!(self.out, "\n]}}")?,
            (false, 0) => writeln!(self.out, "no files")?,
            (false, _) => {}
        }
        Ok(self.out.flush()?)
    }
}
