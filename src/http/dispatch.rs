//! From a request to its answer: bounds, route, caller, endpoint, and the headers that every answer has.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use artimesh_core::access::{Action, Principal};
use hyper::Method;
use hyper::header::{CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::http::request::Parts;
use tokio::runtime::Handle;
use tracing::Instrument;

use super::answer::{Answer, problem};
use super::ask::{Ask, Site};
use super::auth::{check_same_site, credential};
use super::body::Body;
use super::connection::Arrival;
use super::error::HttpError;
use super::inbound::Inbound;
use super::lingering::Lingering;
use super::links::authority;
use super::request_id::X_REQUEST_ID;
use super::routes::{Endpoint, Found, Needs, Part, Route};
use super::tally::{Answered, Asked, Tally};
use super::timing;
use super::transport::Transport;
use super::{
    archive, artifact, audit, backup, cache, caching, federation, mesh, openapi, relocation, repositories, rollback,
    search, storage, system, ui, upkeep, versions,
};
use crate::service::{Caller, Relocation, RequestId, ServiceError};

/// The longest request target, in bytes.
const TARGET_BYTES_MAX: usize = 8 * 1024;

/// Answers one request. May be dropped at any time: what the service had begun may then be done or not.
pub async fn answer(site: Arc<Site>, arrival: Arrival) -> Answer {
    let Arrival { request, remote, transport, refused } = arrival;
    let (parts, body) = request.into_parts();
    let id = site.ids.of(&parts.headers);
    let is_head = parts.method == Method::HEAD;
    let found = find(&site, &parts);
    let route_name = found.as_ref().map_or("none", |(route, ..)| route.name);
    let method = parts.method.clone();
    // Whatever is logged above this level says the id itself, so that ordinary requests needn't pay for a span.
    let span = tracing::debug_span!("request", %id, %method, route = route_name, status = tracing::field::Empty);
    let is_download =
        found.as_ref().is_ok_and(|(route, ..)| matches!(route.endpoint, Endpoint::ArtifactGet | Endpoint::ArchiveGet));
    let asked = Asked { id: id.clone(), method: method.clone(), uri: parts.uri.clone(), from: remote, is_download };
    let tally = Tally::begin(&site.meter, asked, span.clone());
    let unread = Arc::new(AtomicBool::new(false));
    let body = Inbound::new(Lingering::new(body, transport), site.options.idle_timeout, unread.clone(), tally.clone());
    let outcome = match found {
        Ok((route, name, rest)) => {
            let (pieces, from) = (Pieces { name, rest }, From { remote, transport });
            serve(site.clone(), route, pieces, parts, body, from, id.clone()).instrument(span.clone()).await
        }
        Err(error) => Err(error),
    };
    let mut answer = outcome.unwrap_or_else(|error| span.in_scope(|| told(&error, &id, &method, route_name)));
    if unread.load(Ordering::Relaxed) && transport != Transport::Http2 {
        refused.store(true, Ordering::Relaxed);
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    span.record("status", answer.status().as_u16());
    site.meter.answered(route_name, answer.status());
    timing::tell(answer.headers_mut(), &tally, site.meter.endings().audience());
    finish(answer, &id, is_head, tally, &site.node)
}

/// The answer that tells an error, which is logged here and nowhere else.
fn told(error: &HttpError, id: &RequestId, method: &Method, route: &'static str) -> Answer {
    let answer = problem(error);
    if answer.status().is_server_error() {
        tracing::warn!(%id, %method, route, error = %error, "request {id} failed: {error}");
    } else {
        tracing::debug!(error = %error, "request refused: {error}");
    }
    answer
}

fn finish(mut answer: Answer, RequestId(id): &RequestId, is_head: bool, tally: Arc<Tally>, node: &Handle) -> Answer {
    let id = HeaderValue::try_from(&**id).expect("request ids are plain ASCII");
    answer.headers_mut().insert(X_REQUEST_ID, id);
    answer.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if is_head {
        // What GET would send is still announced.
        let length = hyper::body::Body::size_hint(answer.body()).exact().filter(|length| *length > 0);
        if let Some(length) = length {
            answer.headers_mut().entry(CONTENT_LENGTH).or_insert(HeaderValue::from(length));
        }
        tally.answered(Answered { status: answer.status(), length: Some(0) });
        return answer.map(|_| Body::empty().counted(tally, node));
    }
    let length = hyper::body::Body::size_hint(answer.body()).exact();
    tally.answered(Answered { status: answer.status(), length });
    answer.map(|body| body.counted(tally, node))
}

/// The raw pieces of the target that the route's pattern names.
struct Pieces {
    name: String,
    rest: String,
}

/// Where a request came from, and what its connection can carry.
struct From {
    remote: IpAddr,
    transport: Transport,
}

fn find(site: &Site, parts: &Parts) -> Result<(&'static Route, String, String), HttpError> {
    let target = parts.uri.path();
    let length = target.len() + parts.uri.query().map_or(0, |query| query.len() + 1);
    if length > TARGET_BYTES_MAX {
        return Err(HttpError::TargetTooLong(TARGET_BYTES_MAX));
    }
    match site.table.find(&parts.method, target) {
        Found::Route(route, params) => {
            let piece = |name| params.get(name).unwrap_or_default().to_owned();
            let name = if params.get("key").is_some() { piece("key") } else { piece("repo") };
            Ok((route, name, piece("path")))
        }
        Found::OtherMethods(_, Part::Tree) if writes(&parts.method) && site.service.is_edge() => {
            Err(ServiceError::Edge.into())
        }
        Found::OtherMethods(allow, _) => Err(HttpError::NotAllowed { method: parts.method.to_string(), allow }),
        Found::Nothing => Err(HttpError::NoRoute(target.chars().take(120).collect())),
    }
}

fn writes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

async fn serve(
    site: Arc<Site>,
    route: &'static Route,
    pieces: Pieces,
    parts: Parts,
    body: Inbound<Lingering>,
    from: From,
    id: RequestId,
) -> Result<Answer, HttpError> {
    let authority = authority(&parts.uri, &parts.headers, parts.version)?;
    check_same_site(&parts.method, &parts.headers, authority)?;
    let is_api = pieces.name.eq_ignore_ascii_case("api");
    if route.needs == Needs::Write && !is_api && site.service.is_edge() {
        return Err(ServiceError::Edge.into());
    }
    let principal = match route.needs {
        Needs::Open => Principal::Anonymous { reads: false },
        Needs::Find | Needs::Read | Needs::Write | Needs::Administer => {
            site.service.authenticate(&credential(&parts.headers), from.remote)?
        }
    };
    let From { remote, transport } = from;
    let tally = body.tally();
    tally.recognised(&principal);
    let caller = Caller { principal, request: id, from: remote, account: tally.account.clone() };
    let ask = Ask { site, caller, remote, transport, parts, name: pieces.name, rest: pieces.rest, body };
    if route.needs == Needs::Administer {
        ask.must(Action::Administer)?;
    }
    let directive = (route.needs != Needs::Open).then(|| caching::directive(&ask.caller.principal));
    let mut answer = match route.endpoint {
        // Downloads are what there are most of, and the future of their answer stays small.
        Endpoint::ArtifactGet => artifact::get(ask).await,
        other => Box::pin(run(other, ask)).await,
    }?;
    if let Some(directive) = directive {
        answer.headers_mut().entry(CACHE_CONTROL).or_insert(directive);
    }
    Ok(answer)
}

async fn run(endpoint: Endpoint, ask: Ask) -> Result<Answer, HttpError> {
    match endpoint {
        Endpoint::Home | Endpoint::ConsoleSlash => Ok(ui::to_console()),
        Endpoint::Console => ui::console(ask).await,
        Endpoint::Live => Ok(system::live()),
        Endpoint::Ready => system::ready(&ask),
        Endpoint::Liveness => system::liveness(),
        Endpoint::Readiness => system::readiness(&ask),
        Endpoint::Ping => Ok(system::ping()),
        Endpoint::Version => system::version(),
        Endpoint::ServiceId => Ok(system::service_id(&ask)),
        Endpoint::StorageInfo => system::storage_info(&ask).await,
        Endpoint::Builds => system::builds(&ask),
        Endpoint::OpenApi => Ok(openapi::get(&ask)),
        Endpoint::Metrics => system::metrics(&ask),
        Endpoint::Status => mesh::status(ask).await,
        Endpoint::Audit => audit::get(ask).await,
        Endpoint::Backup => backup::get(ask).await,
        Endpoint::CollectGarbage => upkeep::collect_garbage(ask).await,
        Endpoint::ScrubBegin => upkeep::begin_scrub(ask).await,
        Endpoint::ScrubProgress => upkeep::scrub(&ask),
        Endpoint::Cache => cache::get(ask).await,
        Endpoint::CachePin => cache::pin(ask).await,
        Endpoint::CacheUnpin => cache::unpin(ask).await,
        Endpoint::CacheEvict => cache::evict(ask).await,
        Endpoint::PairingCreate => mesh::create_pairing(ask).await,
        Endpoint::PairingAccept => mesh::accept_pairing(ask).await,
        Endpoint::Trust => mesh::trust(ask).await,
        Endpoint::TrustRevoke => mesh::revoke(ask).await,
        Endpoint::RepositoryList => repositories::list(ask).await,
        Endpoint::RepositoryGet => repositories::get(ask).await,
        Endpoint::RepositoryPut => repositories::put(ask).await,
        Endpoint::RepositoryPost => repositories::post(ask).await,
        Endpoint::RepositoryDelete => repositories::delete(ask).await,
        Endpoint::FederationInvite => federation::invite(ask).await,
        Endpoint::FederationRemove => federation::remove(ask).await,
        Endpoint::FederationAdopt => federation::adopt(ask).await,
        Endpoint::FederationHolds => federation::holds(ask).await,
        Endpoint::FederationRelease => federation::release(ask).await,
        Endpoint::FederationSync => federation::sync(ask).await,
        Endpoint::FederationSyncProgress => federation::sync_progress(ask).await,
        Endpoint::FederationCheckpoint => federation::checkpoint(ask).await,
        Endpoint::Rollback => rollback::post(ask).await,
        Endpoint::ConflictList => versions::conflicts(ask).await,
        Endpoint::ConflictGet => versions::conflict_at(ask).await,
        Endpoint::History => versions::history(ask).await,
        Endpoint::VersionRestore => versions::restore(ask).await,
        Endpoint::VersionDismiss => versions::dismiss(ask).await,
        Endpoint::SearchAql => search::aql(ask).await,
        Endpoint::SearchArtifact => search::artifact(ask).await,
        Endpoint::SearchProperty => search::property(ask).await,
        Endpoint::SearchChecksum => search::checksum(ask).await,
        Endpoint::SearchPattern => search::pattern(ask).await,
        Endpoint::StorageGet => storage::get(ask).await,
        Endpoint::PropertiesPut => storage::properties::put(ask).await,
        Endpoint::PropertiesDelete => storage::properties::delete(ask).await,
        Endpoint::MetadataPatch => storage::properties::patch(ask).await,
        Endpoint::Move => relocation::post(ask, Relocation::Move).await,
        Endpoint::Copy => relocation::post(ask, Relocation::Copy).await,
        Endpoint::ArchiveGet => archive::get(ask).await,
        Endpoint::ArtifactGet => artifact::get(ask).await,
        Endpoint::ArtifactPut => artifact::put(ask).await,
        Endpoint::ArtifactDelete => artifact::delete(ask).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of what a function's call is while it waits.
    fn bytes_of<A, B, F: Future>(_: fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_request_under_way_is_small() {
        let bytes = bytes_of(answer);
        assert!(bytes <= 4800, "{bytes} bytes are made and moved for every request");
    }
}
