//! `GET /artifactory/api/mesh/cache`, `PUT` and `DELETE /artifactory/api/mesh/cache/pins/{repo}/{*path}`,
//! `POST /artifactory/api/mesh/cache/evict/{repo}/{*path}`

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answer::{self, Answer};
use super::ask::Ask;
use super::error::HttpError;
use super::upkeep;
use crate::service::{CacheStatus, Effect, Evicted, Pin, Share};

/// What is held, and what is pinned.
pub async fn get(ask: Ask) -> Result<Answer, HttpError> {
    let limits = ask.service().cache_limits(&ask.caller)?;
    let (status, pins) = ask.service().cache(&ask.caller).await?;
    let CacheStatus {
        is_used,
        limit_bytes,
        held,
        incoming_bytes,
        hits,
        misses,
        evicted_blobs,
        evicted_bytes,
        evicted_ms,
    } = status;
    let value = json!({
        "used": is_used,
        "max_size": of_share(limits.max_size),
        "max_age_s": limits.max_age.map(|age| age.as_secs()),
        "limit_bytes": limit_bytes,
        "held": {"blobs": held.blobs, "bytes": held.bytes},
        "pinned": {"blobs": held.pinned_blobs, "bytes": held.pinned_bytes},
        "partial": {"blobs": held.partial_blobs, "bytes": held.partial_bytes},
        "incoming_bytes": incoming_bytes,
        "hits": hits,
        "misses": misses,
        "evicted": {"blobs": evicted_blobs, "bytes": evicted_bytes},
        "evicted_ms": (evicted_ms > 0).then_some(evicted_ms),
        "pins": pins.iter().map(of_pin).collect::<Vec<_>>(),
    });
    answer::json(StatusCode::OK, &value)
}

/// Pins a repository, or what is at and below a path of it.
pub async fn pin(ask: Ask) -> Result<Answer, HttpError> {
    let place = ask.place()?;
    let pin = ask.service().pin(&ask.caller, &place.repo, place.path).await?;
    answer::json(StatusCode::OK, &json!({"pinned": of_pin(&pin)}))
}

/// Ends a pin.
pub async fn unpin(ask: Ask) -> Result<Answer, HttpError> {
    let place = ask.place()?;
    let pin = ask.service().unpin(&ask.caller, &place.repo, place.path).await?;
    answer::json(StatusCode::OK, &json!({"unpinned": of_pin(&pin)}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    #[serde(default)]
    dry_run: bool,
}

/// Lets go of what is here of a repository, or of what is at and below a path of it; answers when that is done.
pub async fn evict(ask: Ask) -> Result<Answer, HttpError> {
    let place = ask.place()?;
    let Ask { site, caller, body, .. } = ask;
    let effect = if body.json::<Wish>().await?.dry_run { Effect::Dry } else { Effect::Real };
    let Evicted { held, gone, kept } = site.service.evict(&caller, &place.repo, place.path, effect).await?;
    let kept: Map<String, Value> = kept.iter().map(|(why, tally)| (why.clone(), upkeep::of(tally))).collect();
    let value = json!({
        "dry_run": effect == Effect::Dry,
        "held": upkeep::of(&held),
        "gone": upkeep::of(&gone),
        "kept": kept,
    });
    answer::json(StatusCode::OK, &value)
}

fn of_pin(pin: &Pin) -> Value {
    json!({"repo": pin.repo, "path": pin.prefix})
}

fn of_share(share: Share) -> Value {
    match share {
        Share::All => json!("none"),
        Share::Bytes(bytes) => json!(bytes),
        Share::Percent(percent) => json!(format!("{percent}%")),
    }
}
