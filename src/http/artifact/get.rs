//! GET and HEAD of an artifact.

use std::ops::Range;

use artimesh_core::model::{ArtifactPath, Checksums, RepoKey};
use hyper::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    HeaderName, HeaderValue, LAST_MODIFIED, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{HeaderMap, StatusCode};

use super::checksum_file;
use super::disposition::{content_disposition, file_name};
use super::listing::{self, Base, listing};
use super::multipart::Multipart;
use super::precondition::{Validators, Verdict, evaluate, range_holds};
use super::range::{Selection, select};
use crate::formats::sidecar;
use crate::http::answer::{Answer, empty};
use crate::http::ask::Ask;
use crate::http::body::Body;
use crate::http::dates::{http_date, not_after_now, seconds};
use crate::http::error::HttpError;
use crate::http::folder;
use crate::http::item::Shown;
use crate::http::target::Place;
use crate::service::{Found, Item, Seen, ServiceError, has_md5};

/// The longest file whose answer is kept for whoever asks next: one that can be sent as one piece.
const AT_HAND_BYTES_MAX: u64 = 1 << 20;

/// The file, the checksum of a file, or the page of a folder.
pub async fn get(ask: Ask) -> Result<Answer, HttpError> {
    let place = ask.place()?;
    if let Some(path) = place.path.as_ref().filter(|_| !place.is_folder)
        && let Some(seen) = ask.service().file(&ask.caller, &place.repo, path)?
    {
        let answer = file(&ask, &seen.item).await?;
        keep_at_hand(&ask, &seen, &answer);
        return Ok(answer);
    }
    // The way of what isn't a file is longer, and taken rarely.
    Box::pin(other(&ask, place)).await
}

/// Keeps the headers of a whole file's answer for whoever asks next.
fn keep_at_hand(ask: &Ask, seen: &Seen, answer: &Answer) {
    let modified_s = seconds(seen.item.modified);
    // As long as its author's clock is ahead of ours, the date in the answer changes.
    let is_lasting = not_after_now(modified_s) == modified_s;
    // Sums that are computed later are other headers.
    let is_confirmed = seen.item.is_confirmed;
    if answer.status() == StatusCode::OK && is_lasting && is_confirmed && seen.item.size <= AT_HAND_BYTES_MAX {
        let mut headers = answer.headers().clone();
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        ask.site.at_hand.keep(ask.parts.uri.path(), seen, headers);
    }
}

async fn other(ask: &Ask, place: Place) -> Result<Answer, HttpError> {
    let found = ask.service().find(&ask.caller, &place.repo, place.path.as_ref()).await;
    match (found, place.path) {
        // It was put at this moment.
        (Ok(Found::File(item)), _) if !place.is_folder => file(ask, &item).await,
        (Ok(Found::File(item)), _) => Err(ServiceError::NoArtifact { repo: item.repo, path: item.path }.into()),
        (Ok(Found::Folder(folder)), _) => {
            let base = if ask.parts.uri.path().ends_with('/') { Base::Inside } else { Base::Beside };
            let mut answer = Box::pin(folder::written(ask, &folder, listing(&folder, base))).await?;
            let policy = HeaderValue::from_static(listing::CONTENT_SECURITY_POLICY);
            answer.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
            Ok(answer)
        }
        (Err(ServiceError::NoArtifact { repo, path }), Some(asked)) if !place.is_folder => {
            missing(ask, repo, path, &asked).await
        }
        (Err(error), _) => Err(error.into()),
    }
}

/// Nothing stands at the path, but it may be the checksum of something that does.
async fn missing(ask: &Ask, repo: RepoKey, path: ArtifactPath, asked: &ArtifactPath) -> Result<Answer, HttpError> {
    let none = HttpError::from(ServiceError::NoArtifact { repo: repo.clone(), path });
    let Some((base, algorithm)) = sidecar(asked) else { return Err(none) };
    match checksum_file::computed(ask, &repo, &base, algorithm).await {
        Err(HttpError::Service(ServiceError::NoArtifact { .. })) => Err(none),
        other => other,
    }
}

async fn file(ask: &Ask, item: &Item) -> Result<Answer, HttpError> {
    let etag = item.checksums.sha1_hex();
    let validators = Validators { etag: &etag, modified_s: not_after_now(seconds(item.modified)) };
    let mut answer = match evaluate(ask.headers(), validators) {
        Verdict::Failed => return Err(HttpError::Precondition),
        Verdict::NotModified => empty(StatusCode::NOT_MODIFIED),
        Verdict::Proceed => content(ask, item, validators).await?,
    };
    validate(answer.headers_mut(), validators);
    Ok(answer)
}

async fn content(ask: &Ask, item: &Item, validators: Validators<'_>) -> Result<Answer, HttpError> {
    // HEAD says what GET would.
    ask.service().refuse_lost(item)?;
    // A range is defined for GET only (RFC 9110 section 14.2).
    let wanted = ask.headers().get(RANGE).filter(|_| !ask.is_head() && range_holds(ask.headers(), validators));
    match select(wanted, item.size) {
        Selection::Whole => part(ask, item, StatusCode::OK, 0..item.size).await,
        Selection::Part(range) => {
            let text = format!("bytes {}-{}/{}", range.start, range.end - 1, item.size);
            let mut answer = part(ask, item, StatusCode::PARTIAL_CONTENT, range).await?;
            answer.headers_mut().insert(CONTENT_RANGE, HeaderValue::try_from(text).expect("digits are ASCII"));
            Ok(answer)
        }
        Selection::Parts(ranges) => Box::pin(several(ask, item, ranges)).await,
        Selection::Unsatisfiable => Err(HttpError::Unsatisfiable { size: item.size }),
    }
}

/// The answer whose body is one range.
async fn part(ask: &Ask, item: &Item, status: StatusCode, range: Range<u64>) -> Result<Answer, HttpError> {
    let length = range.end - range.start;
    let mut answer = empty(status);
    describe(answer.headers_mut(), item.into());
    answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    if !ask.is_head() && range.start == 0 {
        ask.service().count_download(&ask.caller.principal, item);
    }
    if !ask.is_head() && length > 0 {
        let download = ask.service().download(&ask.caller, item, range, ask.transport.carriage()).await?;
        *answer.body_mut() = Body::download(download, length).await?;
    }
    Ok(answer)
}

/// The answer whose body is several ranges: a message of several parts.
async fn several(ask: &Ask, item: &Item, ranges: Vec<Range<u64>>) -> Result<Answer, HttpError> {
    let mut answer = empty(StatusCode::PARTIAL_CONTENT);
    describe(answer.headers_mut(), item.into());
    let media_type = answer.headers()[CONTENT_TYPE].to_str().unwrap_or_default().to_owned();
    let message = Multipart::new(&media_type, item.size, ranges)?;
    answer.headers_mut().insert(CONTENT_TYPE, message.content_type());
    answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(message.length()));
    *answer.body_mut() = message.body(ask, item).await?;
    Ok(answer)
}

/// The headers by which a client recognises this content later.
fn validate(headers: &mut HeaderMap, validators: Validators<'_>) {
    headers.insert(ETAG, plain(format!("\"{}\"", validators.etag)));
    headers.insert(LAST_MODIFIED, http_date(validators.modified_s));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
}

/// The headers that say what the content is.
fn describe(headers: &mut HeaderMap, item: Shown<'_>) {
    // The media type came with an entry, perhaps from another node.
    let media_type = HeaderValue::try_from(item.media_type);
    let media_type = media_type.unwrap_or(HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_TYPE, media_type);
    headers.insert(CONTENT_DISPOSITION, content_disposition(item.path));
    // An uploaded page must not run with the rights of whoever looks at it.
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    checksum_headers(headers, item.checksums);
    headers.insert(HeaderName::from_static("x-artifactory-filename"), file_name(item.path));
}

/// `X-Checksum-Md5` (if it is known), `-Sha1` and `-Sha256`.
pub fn checksum_headers(headers: &mut HeaderMap, checksums: &Checksums) {
    if has_md5(checksums) {
        headers.insert(HeaderName::from_static("x-checksum-md5"), plain(checksums.md5_hex()));
    }
    headers.insert(HeaderName::from_static("x-checksum-sha1"), plain(checksums.sha1_hex()));
    headers.insert(HeaderName::from_static("x-checksum-sha256"), plain(checksums.sha256_hex()));
}

fn plain(digits: String) -> HeaderValue {
    HeaderValue::try_from(digits).expect("hexadecimal digits and quotes are ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::item::samples::item;

    #[test]
    fn a_file_is_described_by_its_headers() {
        let mut headers = HeaderMap::new();
        describe(&mut headers, item("a/lib.jar"));
        validate(&mut headers, Validators { etag: "abc", modified_s: 784_111_777 });
        let expected = [
            ("content-type", "application/java-archive"),
            ("content-disposition", "attachment; filename=\"lib.jar\"; filename*=UTF-8''lib.jar"),
            ("x-artifactory-filename", "lib.jar"),
            ("x-checksum-md5", "05050505050505050505050505050505"),
            ("etag", "\"abc\""),
            ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("accept-ranges", "bytes"),
        ];
        for (name, value) in expected {
            assert_eq!(headers[name], value);
        }
    }

    #[test]
    fn an_md5_that_is_not_known_is_not_told() {
        let checksums = Checksums { md5: [0; 16], ..*item("a/lib.jar").checksums };
        let mut headers = HeaderMap::new();
        checksum_headers(&mut headers, &checksums);
        assert!(headers.contains_key("x-checksum-sha1") && !headers.contains_key("x-checksum-md5"));
    }

    #[test]
    fn a_media_type_from_a_hostile_node_injects_nothing() {
        let mut headers = HeaderMap::new();
        let media_type = "text/html\r\nSet-Cookie: x=y";
        describe(&mut headers, Shown { media_type, ..item("a/lib.jar") });
        assert_eq!(headers[CONTENT_TYPE], "application/octet-stream");
    }
}
