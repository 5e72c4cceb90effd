//! Downloads that are answered where they arrive: of files that were asked for lately and whose bytes are at hand.
//!
//! # Why
//! Most of what a site serves is the same few thousand small files. What their answers say was worked out before, their
//! bytes are in memory, and nothing has to be waited for: no future, no body that streams, and of the headers a copy. So
//! a request costs about what the kernel takes to move it. Whoever asks is recognised and their right is looked at
//! as for any other request, the file must still be what it was, and whatever isn't plain (a condition, a range, a body,
//! a file that changed) takes the ordinary way, which also is the only one that tells errors.

use std::sync::Arc;

use hyper::header::{
    CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE,
    RANGE,
};
use hyper::{Method, Request};

use super::answer::Answer;
use super::ask::Site;
use super::auth::credential;
use super::body::Body;
use super::caching;
use super::connection::Arrival;
use super::links::authority;
use super::request_id::X_REQUEST_ID;
use super::routes::ARTIFACT_GET;
use super::tally::{Answered, Asked, Tally};
use super::timing;
use crate::service::{Recent, RequestId, Seen};

/// What all entries may take together, in bytes.
const BYTES_MAX: usize = 8 << 20;
/// What an entry takes besides its target: above all its headers.
const ENTRY_BYTES: usize = 2 << 10;

/// Of these none may be there: what they ask for isn't the whole file.
const CONDITIONS: [HeaderName; 5] = [RANGE, IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE];

/// The files that were asked for lately, by the path of the target as it was sent.
#[derive(Debug)]
pub struct AtHand(Recent<String, Arc<Kept>>);

#[derive(Debug)]
struct Kept {
    seen: Seen,
    /// All that an answer with the whole file has.
    headers: HeaderMap,
}

impl Default for AtHand {
    fn default() -> Self {
        AtHand(Recent::new(BYTES_MAX))
    }
}

impl AtHand {
    /// Keeps what is answered to `target` for whoever asks next. The headers must be true as long as the file is what was
    /// seen.
    pub fn keep(&self, target: &str, seen: &Seen, mut headers: HeaderMap) {
        // Places for what differs, so that no copy has to grow.
        headers.insert(X_REQUEST_ID, HeaderValue::from_static(""));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(""));
        let kept = Kept { seen: seen.clone(), headers };
        self.0.keep(target.to_owned(), Arc::new(kept), target.len() + ENTRY_BYTES);
    }
}

/// The answer, if it can be given at once.
pub fn answer(site: &Site, arrival: &Arrival) -> Option<Answer> {
    let request = &arrival.request;
    // Who follows single requests sees each on the ordinary way.
    if !is_plain(request) || tracing::enabled!(tracing::Level::DEBUG) {
        return None;
    }
    let kept = site.at_hand.0.find(request.uri().path())?;
    let headers = request.headers();
    authority(request.uri(), headers, request.version()).ok()?;
    let principal = site.service.authenticate(&credential(headers), arrival.remote).ok()?;
    let body = site.service.at_hand(&principal, &kept.seen, arrival.transport.carriage())?;
    let tally = Tally::begin(&site.meter, asked(site, arrival), tracing::Span::none());
    tally.recognised(&principal);
    let RequestId(id) = &tally.asked.id;
    let mut answer = Answer::new(Body::full(body));
    *answer.headers_mut() = kept.headers.clone();
    answer.headers_mut().insert(X_REQUEST_ID, HeaderValue::try_from(&**id).ok()?);
    answer.headers_mut().insert(CACHE_CONTROL, caching::directive(&principal));
    timing::tell(answer.headers_mut(), &tally, site.meter.endings().audience());
    site.meter.answered_at_hand(ARTIFACT_GET, answer.status());
    tally.answered(Answered { status: answer.status(), length: hyper::body::Body::size_hint(answer.body()).exact() });
    Some(answer.map(|body| body.counted(tally, &site.node)))
}

fn asked(site: &Site, arrival: &Arrival) -> Asked {
    let Arrival { request, remote, .. } = arrival;
    let id = site.ids.of(request.headers());
    Asked { id, method: Method::GET, uri: request.uri().clone(), from: *remote, is_download: true }
}

fn is_plain<B: hyper::body::Body>(request: &Request<B>) -> bool {
    let target = request.uri();
    *request.method() == Method::GET
        && target.query().is_none()
        && target.authority().is_none()
        && request.body().is_end_stream()
        && !request.headers().keys().any(|name| CONDITIONS.contains(name))
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    #[test]
    fn only_a_request_for_the_whole_of_a_file_is_plain() {
        let get = || Request::get("/artifactory/libs/a.jar");
        let plain = |request: hyper::http::request::Builder, body: &'static str| {
            is_plain(&request.body(Full::<bytes::Bytes>::from(body)).expect("a request"))
        };
        assert!(plain(get().header("accept", "*/*").header("if-range", "\"x\""), ""));
        assert!(!plain(get(), "body"));
        assert!(!plain(get().uri("/artifactory/libs/a.jar?list"), ""));
        assert!(!plain(get().uri("http://elsewhere/artifactory/libs/a.jar"), ""));
        for method in ["HEAD", "PUT", "DELETE", "POST"] {
            assert!(!plain(get().method(method), ""), "{method}");
        }
        for name in CONDITIONS {
            assert!(!plain(get().header(&name, "x"), ""), "{name}");
        }
    }
}
