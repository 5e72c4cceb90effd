//! A service for tests, with a repository `libs`.

use std::net::{IpAddr, Ipv4Addr};

use artimesh_core::access::Principal;
use artimesh_core::model::RepoKey;

use super::audit::{Audit, AuditOptions};
use super::caller::{Caller, RequestId};
use super::handle::{Options, Service};
use super::metrics::Metrics;
use crate::engine::Site;
use crate::store::{Account, Md5Turn};

/// Over a node's engine.
pub fn service(site: &Site) -> Service {
    let folder = site.store_folder();
    let audit = AuditOptions { downloads: false, file_bytes: 1 << 20, files: 2 };
    let options = Options {
        anonymous_read: false,
        admin_token: "token".into(),
        own_files: &[],
        md5: Md5Turn::Inline,
        audit: Audit::open(&folder.join("audit"), audit).unwrap(),
        folder,
    };
    Service::new(site.engine.clone(), options, Metrics::default())
}

/// Its administrator.
pub fn caller() -> Caller {
    let (principal, request) = (Principal::Administrator, RequestId("test".into()));
    Caller { principal, request, from: IpAddr::V4(Ipv4Addr::LOCALHOST), account: Account::default() }
}

/// Its repository.
pub fn repo() -> RepoKey {
    "libs".parse().unwrap()
}
