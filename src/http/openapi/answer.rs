//! `GET /artifactory/api/openapi.json`

use std::sync::LazyLock;

use bytes::Bytes;
use hyper::StatusCode;

use super::document::{Readers, document};
use crate::http::answer::{Answer, with_type};
use crate::http::ask::Ask;

static FOR_ANYBODY: LazyLock<Bytes> = LazyLock::new(|| document(Readers::Anybody).to_string().into());
static FOR_THE_KNOWN: LazyLock<Bytes> = LazyLock::new(|| document(Readers::Known).to_string().into());

/// The document, made once. It names no secrets.
pub fn get(ask: &Ask) -> Answer {
    let bytes = if ask.service().lets_anybody_read() { &*FOR_ANYBODY } else { &*FOR_THE_KNOWN };
    with_type(StatusCode::OK, "application/json", bytes.clone())
}
