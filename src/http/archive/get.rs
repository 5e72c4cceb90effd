//! GET and HEAD of an archive.

use hyper::StatusCode;
use hyper::header::{ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue};

use super::gzip::compressed;
use super::kind::{Kind, Sums};
use super::limits::{Limits, Room};
use super::tarball::Tarball;
use super::walk::{Entries, Format, Walk, pieces};
use super::zip::Zip;
use crate::http::answer::{Answer, empty};
use crate::http::artifact::attachment;
use crate::http::ask::Ask;
use crate::http::body::Body;
use crate::http::error::HttpError;
use crate::http::folder::refusal;
use crate::service::{Carriage, Found, Paths, ServiceError};

/// As bytes that may be looked at.
const COPIED: Carriage = Carriage::Copied { bytes_max: 256 << 10 };

/// All that is in a folder, or one file.
pub async fn get(ask: Ask) -> Result<Answer, HttpError> {
    let (place, query) = (ask.place()?, ask.query());
    let word = query.get("archiveType");
    let kind = Kind::parse(word)?;
    let sums = if query.is_on("includeChecksumFiles") { Sums::Beside } else { Sums::Left };
    let found = match ask.service().find(&ask.caller, &place.repo, place.path.as_ref()).await? {
        Found::File(item) if place.is_folder => {
            return Err(ServiceError::NoArtifact { repo: item.repo, path: item.path }.into());
        }
        found => found,
    };
    let name = match &found {
        Found::File(item) => item.path.name(),
        Found::Folder(folder) => folder.path.as_ref().map_or(folder.repo.as_str(), |path| path.name()),
    };
    let mut answer = empty(StatusCode::OK);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind.media_type()));
    headers.insert(CONTENT_DISPOSITION, attachment(&format!("{name}.{}", word.unwrap_or_default())));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("none"));
    let room = if kind == Kind::Zip { Some(room(&ask, &found, sums).await?) } else { None };
    if !ask.is_head() {
        *answer.body_mut() = body(ask, found, kind, sums, room).await?;
    }
    Ok(answer)
}

/// Room for the directory of a zip.
async fn room(ask: &Ask, found: &Found, sums: Sums) -> Result<Room, HttpError> {
    let paths = match found {
        Found::File(item) => Paths { files: 1, bytes: item.path.name().len() as u64 },
        Found::Folder(folder) => {
            let path = folder.path.as_ref();
            ask.service().count_paths(&ask.caller, &folder.repo, path, Limits::FILES_MAX).await?
        }
    };
    ask.site.archives.room(paths, sums)
}

/// What comes first is waited for, so that bytes which nobody has are an answer of their own.
async fn body(ask: Ask, found: Found, kind: Kind, sums: Sums, room: Option<Room>) -> Result<Body, HttpError> {
    let format = match room {
        Some(room) => Format::Zip { zip: Zip::new(room.bytes), _room: room },
        None => Format::Tar(Tarball::new()),
    };
    let carriage = if kind == Kind::Tar { ask.transport.carriage() } else { COPIED };
    let turns = ask.site.archives.turns.clone();
    let entries = Entries::of(ask.service().clone(), ask.caller, found);
    let mut walk = Walk::new(entries, format, sums, carriage);
    let first = walk.next().await.map_err(refusal)?;
    let pieces = pieces(first, walk);
    Ok(match kind {
        Kind::Zip | Kind::Tar => Body::chunked(pieces),
        Kind::TarGz => Body::chunked(compressed(pieces, turns)),
    })
}
