//! The node that is imported into.

use artimesh_core::model::{ArtifactPath, BadPath};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE};
use hyper::{Method, Request, Response, body::Incoming};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::aql::{self, Row};
use super::failure::{Failure, Remedy};
use super::listed::{Listed, Properties, Sums};
use super::listing::{self, Piece};
use super::provenance;
use super::sort::Sorter;
use crate::cli::client::{ANSWER_TIMEOUT, Body, CallError, Client, full};
use crate::cli::location::{Folder, Location};

const AQL: &str = "/artifactory/api/search/aql";
/// How long a request target is made at most; a node takes 8 KiB.
const TARGET_BYTES_MAX: usize = 8000;
/// What stays as it is in a matrix parameter.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The longest answer to an upload.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// A folder of a repository that files are imported into.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Place {
    folder: Folder,
}

impl Place {
    pub(in crate::cli) fn new(folder: Folder) -> Place {
        Place { folder }
    }

    /// Where the file of this path is to be.
    pub(in crate::cli) fn location(&self, path: &ArtifactPath) -> Result<Location, BadPath> {
        let path = match &self.folder.prefix {
            None => path.clone(),
            Some(prefix) => format!("{prefix}/{path}").parse()?,
        };
        Ok(Location { repo: self.folder.repo.clone(), path })
    }
}

/// The node.
pub(in crate::cli) struct Node<'client> {
    client: &'client Client,
    pub(in crate::cli) place: Place,
}

/// What is uploaded.
pub(in crate::cli) struct Upload<'file> {
    pub(in crate::cli) path: &'file ArtifactPath,
    pub(in crate::cli) size: Option<u64>,
    /// What the node is to compare the bytes with before it stores them.
    pub(in crate::cli) sums: &'file Sums,
    pub(in crate::cli) properties: &'file Properties,
    pub(in crate::cli) body: Body,
}

impl<'client> Node<'client> {
    pub(in crate::cli) fn new(client: &'client Client, folder: Folder) -> Node<'client> {
        Node { client, place: Place::new(folder) }
    }

    /// Whether the repository is there, before anything else is done; as far as the caller may know.
    pub(in crate::cli) async fn check(&self) -> Result<(), CallError> {
        let path = format!("/artifactory/api/repositories/{}", self.place.folder.repo);
        match self.client.call(Method::GET, &path, None).await {
            Err(error) if error.status() == Some(403) => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// All files that are there.
    pub(in crate::cli) async fn list(&self) -> anyhow::Result<Sorter> {
        let Folder { prefix, .. } = &self.place.folder;
        let mut sorter = Sorter::new();
        let response = self.ask(aql::query(&self.place.folder)).await?;
        listing::read(response, |piece| {
            let Piece::Row(bytes) = piece else { return Ok(()) };
            let row: Row = serde_json::from_slice(bytes)?;
            let listed = aql::below(&row.full_path(), prefix.as_ref()).and_then(|path| listed(&row, path));
            Ok(listed.map_or(Ok(()), |listed| sorter.push(listed))?)
        })
        .await?;
        Ok(sorter)
    }

    /// What is there for the file at `path`, now.
    pub(in crate::cli) async fn look(&self, path: &ArtifactPath) -> Result<Option<Listed>, Failure> {
        let location = self.location(path)?;
        let query = aql::query_one(location.repo.as_str(), &location.path);
        let response = self.ask(query).await.map_err(Failure::of_node)?;
        let mut found = None;
        let read = listing::read(response, |piece| {
            if let Piece::Row(bytes) = piece {
                found = listed(&serde_json::from_slice(bytes)?, path.as_str());
            }
            Ok(())
        });
        read.await.map_err(|error| Failure::new(Remedy::Wait, error))?;
        Ok(found)
    }

    async fn ask(&self, query: String) -> Result<Response<Incoming>, CallError> {
        let request = Request::post("/").header(CONTENT_TYPE, "text/plain");
        let request = request.body(full(Bytes::from(query))).expect("constants");
        let late = |_| CallError::Broken { what: format!("POST {AQL}"), reason: "no answer within a minute".into() };
        tokio::time::timeout(ANSWER_TIMEOUT, self.client.send(AQL, request)).await.map_err(late)?
    }

    fn location(&self, path: &ArtifactPath) -> Result<Location, Failure> {
        self.place.location(path).map_err(|error| Failure::new(Remedy::Leave, error))
    }

    /// Uploads a file with its properties; returns the SHA-256 that the node tells of what it stored.
    pub(in crate::cli) async fn put(&self, upload: Upload<'_>) -> Result<Option<String>, Failure> {
        let location = self.location(upload.path)?;
        let path = format!("/artifactory/{}", location.target());
        let (matrix, rest) = matrix(upload.properties, TARGET_BYTES_MAX.saturating_sub(path.len()));
        let mut request = Request::builder().method(Method::PUT);
        if let Some(size) = upload.size {
            request = request.header(CONTENT_LENGTH, size);
        }
        let sums = [("X-Checksum-Sha256", &upload.sums.sha256), ("X-Checksum-Sha1", &upload.sums.sha1)];
        for (name, sum) in sums {
            if let Some(sum) = sum {
                request = request.header(name, sum);
            }
        }
        let request = request.body(upload.body).map_err(|error| Failure::new(Remedy::Leave, error))?;
        let response = self.client.send(&format!("{path}{matrix}"), request).await.map_err(Failure::of_node)?;
        let answer = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let broke_off = |error| Failure::new(Remedy::Wait, format!("the node's answer broke off: {error}"));
        let bytes = answer.map_err(broke_off)?.to_bytes();
        if !rest.is_empty() {
            self.set(upload.path, &rest).await?;
        }
        let item: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        Ok(item["checksums"]["sha256"].as_str().map(str::to_owned))
    }

    /// Sets properties of a file that is there; others stay.
    pub(in crate::cli) async fn set(&self, path: &ArtifactPath, properties: &Properties) -> Result<(), Failure> {
        let target = format!("/artifactory/api/metadata/{}", self.location(path)?.target());
        let body = json!({"props": properties});
        self.client.call(Method::PATCH, &target, Some(body)).await.map(|_| ()).map_err(Failure::of_node)
    }
}

/// What the node has; nothing where no imported file could be.
fn listed(row: &Row, path: &str) -> Option<Listed> {
    let path = path.parse().ok()?;
    Some(Listed { path, size: row.size, sums: row.sums(), properties: Some(row.properties()) })
}

/// As many properties as so many bytes of a request target hold, those of the origin first; and the rest.
fn matrix(properties: &Properties, bytes_max: usize) -> (String, Properties) {
    let (mut text, mut rest) = (String::new(), Properties::new());
    let is_origin = |name: &str| name.starts_with(provenance::PREFIX);
    let (first, second): (Vec<_>, Vec<_>) = properties.iter().partition(|(name, _)| is_origin(name));
    for (name, values) in first.into_iter().chain(second) {
        let encoded = |text: &str| utf8_percent_encode(text, ENCODED).to_string();
        let parameters: String = values.iter().map(|value| format!(";{}={}", encoded(name), encoded(value))).collect();
        if text.len() + parameters.len() <= bytes_max {
            text += &parameters;
        } else {
            rest.insert(name.clone(), values.clone());
        }
    }
    (text, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_become_matrix_parameters_as_far_as_they_fit() {
        let mut properties = Properties::from([
            ("import.created-by".into(), vec!["a b;c=d".into()]),
            ("build".into(), vec!["1".into(), "".into()]),
        ]);
        assert_eq!(
            matrix(&properties, 6000),
            (";import.created-by=a%20b%3Bc%3Dd;build=1;build=".into(), Properties::new())
        );
        for number in 0..5 {
            properties.insert(format!("a{number}"), vec!["x".repeat(2000)]);
        }
        let (text, rest) = matrix(&properties, 6000);
        assert!(text.starts_with(";import.created-by=") && text.len() <= 6000);
        assert_eq!((rest.len(), rest.contains_key("build")), (3, false));
    }
}
