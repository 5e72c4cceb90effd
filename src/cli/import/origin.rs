//! The Artifactory-compatible server that is imported from.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use artimesh_core::model::ArtifactPath;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, body::Incoming};
use serde::Deserialize;
use serde_json::Value;

use super::address::Address;
use super::aql::{self, Row};
use super::content::Content;
use super::failure::{Failure, Remedy};
use super::listed::{Listed, Properties, Sums};
use super::listing::{self, Piece};
use super::node::Place;
use super::provenance::{self, Provenance};
use super::report::{Report, Tally};
use super::sort::Sorter;
use super::source::Opened;
use crate::cli::client::{ANSWER_TIMEOUT, CallError, Client, LONG_TIMEOUT, full};
use crate::cli::target::Target;
use crate::cli::tls::Tls;
use crate::config::read_secret;

/// Talks to it.
pub(in crate::cli) struct Origin {
    client: Client,
    address: Address,
}

/// A file as the list of a folder tells it.
#[derive(Deserialize)]
struct File {
    uri: String,
    size: i64,
    #[serde(default)]
    folder: bool,
    sha1: Option<String>,
    sha2: Option<String>,
}

/// A file as its own page tells it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    created: Option<String>,
    created_by: Option<String>,
    last_modified: Option<String>,
    modified_by: Option<String>,
}

/// Everything by one query, or why it can't be asked so.
enum Asked {
    All(Sorter),
    Not(String),
}

impl Origin {
    /// Reads the secret, if there is one, from its file or (`-`) from standard input.
    pub(in crate::cli) fn new(
        address: Address,
        user: Option<&str>,
        secret: Option<&Path>,
        ca_file: Option<&Path>,
    ) -> anyhow::Result<Origin> {
        let secret = match secret {
            Some(path) if path == Path::new("-") => {
                let mut line = String::new();
                std::io::stdin().read_line(&mut line).context("standard input")?;
                Some(line.trim().to_owned())
            }
            Some(path) => Some(read_secret(path)?),
            None => None,
        };
        let authorization = secret.map(|secret| match user {
            Some(user) => {
                let pair = data_encoding::BASE64.encode(format!("{user}:{secret}").as_bytes());
                format!("Basic {pair}")
            }
            None => format!("Bearer {secret}"),
        });
        let value = authorization.map(HeaderValue::try_from).transpose();
        let value = value.map_err(|_| anyhow!("the secret of the source is not a line of text"))?;
        let nobody = format!("nobody answers at {}", address.base);
        let tls = Tls::for_base(&address.base, ca_file)?;
        let target = Target { base: address.base.clone(), token: None, tls, nobody };
        Ok(Origin { client: Client::authorized(target, value), address })
    }

    /// Lists all its files; what can be no artifact is told, one by one.
    pub(in crate::cli) async fn list(&self, place: &Place, report: &Report) -> anyhow::Result<Sorter> {
        let folder = format!("/artifactory/api/storage/{}", self.address.folder.target());
        self.get(&folder).await.with_context(|| format!("the source {}", self.address.folder))?;
        match self.query(place, report).await? {
            Asked::All(sorter) => Ok(sorter),
            Asked::Not(reason) => {
                report.note(&format!(
                    "the source doesn't answer a query ({reason}): asking file by file, so properties that changed \
                     without the file stay as they are"
                ));
                self.files(&folder, place, report).await
            }
        }
    }

    async fn query(&self, place: &Place, report: &Report) -> anyhow::Result<Asked> {
        let request = Request::post("/").header(CONTENT_TYPE, "text/plain");
        let request = request.body(full(Bytes::from(aql::query(&self.address.folder)))).expect("constants");
        let path = "/artifactory/api/search/aql";
        let answer = tokio::time::timeout(LONG_TIMEOUT, self.client.send(path, request)).await;
        // A server that looks at everything before it says anything is waited for.
        let late =
            |_| Err(CallError::Broken { what: format!("POST {path}"), reason: "no answer within an hour".into() });
        let response = match answer.unwrap_or_else(late) {
            Ok(response) => response,
            // Who asks for patience isn't asked for more.
            Err(CallError::Refused { status, message })
                if matches!(status, 400..=499) && !matches!(status, 408 | 429) =>
            {
                return Ok(Asked::Not(message));
            }
            Err(error) => return Err(anyhow!(error).context("the source")),
        };
        let prefix = self.address.folder.prefix.as_ref();
        let (mut sorter, mut trimmed, mut rows) = (Sorter::new(), None, 0);
        listing::read(response, |piece| {
            match piece {
                Piece::Beside(bytes) => {
                    trimmed = trimmed.take().or(aql::is_trimmed(&serde_json::from_slice(bytes)?));
                }
                Piece::Row(bytes) => {
                    rows += 1;
                    let row: Row = serde_json::from_slice(bytes)?;
                    if let Some(path) = aql::below(&row.full_path(), prefix)
                        && let Some(path) = checked(path, place, report)
                    {
                        let properties = take(&path, row.provenance(), row.properties(), report);
                        report.goes_on(1);
                        let (size, sums) = (row.size, row.sums());
                        sorter.push(Listed { path, size, sums, properties: Some(properties) })?;
                    }
                }
            }
            Ok(())
        })
        .await
        .context("the source's answer to a query")?;
        // A repository that caches another answers queries, but by another name.
        let reason = trimmed.or((rows == 0).then(|| "it finds nothing".to_owned()));
        let Some(reason) = reason else { return Ok(Asked::All(sorter)) };
        // All of it is listed, and told, once more.
        *report.tally() = Tally::default();
        Ok(Asked::Not(reason))
    }

    async fn files(&self, folder: &str, place: &Place, report: &Report) -> anyhow::Result<Sorter> {
        let response = self.get(&format!("{folder}?list&deep=1&listFolders=0")).await.context("the source")?;
        let mut sorter = Sorter::new();
        listing::read(response, |piece| {
            let Piece::Row(bytes) = piece else { return Ok(()) };
            let file: File = serde_json::from_slice(bytes)?;
            let Ok(size) = u64::try_from(file.size) else { return Ok(()) };
            if !file.folder
                && let Some(path) = checked(file.uri.trim_start_matches('/'), place, report)
            {
                report.goes_on(1);
                let sums = Sums::of(file.sha2.as_deref(), file.sha1.as_deref());
                sorter.push(Listed { path, size, sums, properties: None })?;
            }
            Ok(())
        })
        .await
        .context("the source's list of files")?;
        Ok(sorter)
    }

    /// Begins to download a file.
    pub(in crate::cli) async fn open(&self, file: &Listed, report: &Report) -> Result<Opened, Failure> {
        let properties = match &file.properties {
            Some(properties) => properties.clone(),
            None => self.properties(file, report).await?,
        };
        let response = self.get(&format!("/artifactory/{}", self.target(file)?)).await.map_err(Failure::of_origin)?;
        let size = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        if size.is_some_and(|size: u64| size != file.size) {
            return Err(Failure::new(Remedy::Leave, "it has changed at the source since it was listed"));
        }
        Ok(Opened { content: Content::of_response(response, file.size), sums: file.sums.clone(), properties })
    }

    async fn properties(&self, file: &Listed, report: &Report) -> Result<Properties, Failure> {
        let path = format!("/artifactory/api/storage/{}", self.target(file)?);
        let item: Item = serde_json::from_value(self.json(&path).await?).unwrap_or_default();
        let provenance = Provenance {
            created: item.created,
            created_by: item.created_by,
            modified: item.last_modified,
            modified_by: item.modified_by,
        };
        let theirs = match self.theirs(&format!("{path}?properties")).await? {
            Ok(theirs) => theirs,
            Err(reason) => {
                report.note(&format!("without its properties: {}: {reason}", file.path));
                report.tally().curtailed += 1;
                Properties::new()
            }
        };
        Ok(take(&file.path, provenance, theirs, report))
    }

    /// A file's properties, or why they can't be had.
    async fn theirs(&self, path: &str) -> Result<Result<Properties, String>, Failure> {
        let answer = match self.get(path).await {
            Ok(response) => whole(path, response).await?,
            // A file without any isn't found.
            Err(error) if error.status() == Some(404) => return Ok(Ok(Properties::new())),
            Err(error) => {
                let failure = Failure::of_origin(error);
                return if failure.remedy == Remedy::Leave { Ok(Err(failure.reason)) } else { Err(failure) };
            }
        };
        Ok(serde_json::from_value(answer["properties"].clone()).map_err(|error| error.to_string()))
    }

    async fn json(&self, path: &str) -> Result<Value, Failure> {
        whole(path, self.get(path).await.map_err(Failure::of_origin)?).await
    }

    async fn get(&self, path: &str) -> Result<Response<Incoming>, CallError> {
        let request = Request::builder().method(Method::GET).body(full(Bytes::new())).expect("constants");
        let late = |_| CallError::Broken { what: format!("GET {path}"), reason: "no answer within a minute".into() };
        tokio::time::timeout(ANSWER_TIMEOUT, self.client.send(path, request)).await.map_err(late)?
    }

    fn target(&self, file: &Listed) -> Result<String, Failure> {
        let there = Place::new(self.address.folder.clone()).location(&file.path);
        there.map(|location| location.target()).map_err(|error| Failure::new(Remedy::Leave, error))
    }
}

/// An answer that is JSON.
async fn whole(path: &str, response: Response<Incoming>) -> Result<Value, Failure> {
    let collected = tokio::time::timeout(ANSWER_TIMEOUT, Limited::new(response.into_body(), 1 << 20).collect());
    let broken = |why: String| Failure::new(Remedy::Wait, format!("at the source: GET {path}: {why}"));
    let collected = collected.await.map_err(|_| broken("no answer within a minute".into()))?;
    let bytes = collected.map_err(|error| broken(error.to_string()))?.to_bytes();
    serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))
}

/// The path, if an artifact can be called so at the source and where it is to be. A server may send any text.
fn checked(path: &str, place: &Place, report: &Report) -> Option<ArtifactPath> {
    let parsed = path.parse::<ArtifactPath>().and_then(|path| place.location(&path).map(|_| path));
    parsed.map_err(|error| report.failed(&path.chars().take(120).collect::<String>(), &error.to_string())).ok()
}

/// What of a file's properties can be taken over.
fn take(path: &ArtifactPath, provenance: Provenance, theirs: Properties, report: &Report) -> Properties {
    let (properties, bad) = provenance::of_artifact(provenance, theirs);
    for error in &bad {
        report.note(&format!("without a property: {path}: {error}"));
    }
    report.tally().curtailed += u64::from(!bad.is_empty());
    properties
}

#[cfg(test)]
mod tests {
    use super::super::report::Words;
    use super::*;

    #[test]
    fn names_that_climb_are_told_and_left_out() {
        let (report, place) = (Report::new(Words::IMPORT), Place::new("libs/x".parse().unwrap()));
        for hostile in ["../../etc/passwd", "/etc/passwd", "a/./b", "a\u{1b}[2J", "a\\b", "a//b", ""] {
            assert_eq!(checked(hostile, &place, &report), None, "{hostile}");
        }
        assert_eq!(report.tally().failed, 7);
        assert!(checked("a/b", &place, &report).is_some());
    }
}
