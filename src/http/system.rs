//! Is it there, can it work, which version is it, and what has it counted?

use artimesh_core::access::{Action, may};
use hyper::StatusCode;
use serde_json::json;

use super::answer::{self, Answer};
use super::ask::Ask;
use super::auth::credential;
use super::error::HttpError;
use crate::service::{Health, RepositorySummary, ServiceError};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `GET /healthz`
pub fn live() -> Answer {
    answer::text(StatusCode::OK, "ok\n")
}

/// `GET /readyz`
pub fn ready(ask: &Ask) -> Result<Answer, HttpError> {
    match ask.service().health() {
        Health::Ready => Ok(answer::text(StatusCode::OK, "ready\n")),
        Health::NotReady(reason) => Err(HttpError::NotReady(reason)),
    }
}

/// `GET /artifactory/api/v1/system/liveness`
pub fn liveness() -> Result<Answer, HttpError> {
    answer::json(StatusCode::OK, &json!({"code": "OK"}))
}

/// `GET /artifactory/api/v1/system/readiness`
pub fn readiness(ask: &Ask) -> Result<Answer, HttpError> {
    ready(ask)?;
    liveness()
}

/// `GET /artifactory/api/system/ping`
pub fn ping() -> Answer {
    answer::text(StatusCode::OK, "OK")
}

/// `GET /artifactory/api/system/version`
pub fn version() -> Result<Answer, HttpError> {
    let version = env!("CARGO_PKG_VERSION");
    let document = json!({"version": version, "revision": version, "addons": [], "product": "Artimesh"});
    answer::json(StatusCode::OK, &document)
}

/// `GET /artifactory/api/system/service_id`
pub fn service_id(ask: &Ask) -> Answer {
    answer::text(StatusCode::OK, format!("jfrt@{}", ask.service().node()))
}

/// `GET /artifactory/api/build`: none are kept, and clients that look for some find none.
pub fn builds(ask: &Ask) -> Result<Answer, HttpError> {
    answer::json(StatusCode::OK, &json!({"uri": ask.links()?.builds(), "builds": []}))
}

/// `GET /artifactory/api/storageinfo`: numbers as texts, as Artifactory's own are.
pub async fn storage_info(ask: &Ask) -> Result<Answer, HttpError> {
    let summary = ask.service().summary(&ask.caller).await?;
    let usage = &summary.usage;
    let size = |bytes: u64| format!("{bytes} bytes");
    let used = usage.pack_bytes + usage.large_bytes;
    let items: u64 = summary.repositories.iter().map(|repository| repository.items).sum();
    let repository = |repository: &RepositorySummary| {
        json!({
            "repoKey": repository.key.as_str(),
            "repoType": if repository.is_shared { "FEDERATED" } else { "LOCAL" },
            "packageType": repository.package_type,
            "itemsCount": repository.items,
        })
    };
    let document = json!({
        "binariesSummary": {
            "binariesCount": usage.blobs.to_string(),
            "binariesSize": size(used),
            "itemsCount": items.to_string(),
        },
        "fileStoreSummary": {
            "storageType": "artimesh",
            "storageDirectory": summary.folder,
            "totalSpace": size(summary.capacity_bytes),
            "usedSpace": size(used),
            "freeSpace": size(summary.free_bytes),
        },
        "repositoriesSummaryList": summary.repositories.iter().map(repository).collect::<Vec<_>>(),
    });
    answer::json(StatusCode::OK, &document)
}

/// `GET /metrics`: for anybody on this machine, for administrators elsewhere.
pub fn metrics(ask: &Ask) -> Result<Answer, HttpError> {
    if !ask.remote.is_loopback() {
        let principal = ask.service().authenticate(&credential(ask.headers()), ask.remote)?;
        may(&principal, Action::Administer).map_err(ServiceError::from)?;
    }
    Ok(answer::with_type(StatusCode::OK, OPEN_METRICS, ask.service().metrics().encode()))
}
