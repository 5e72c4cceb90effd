//! What caches between here and the reader may do with an answer.
//!
//! Whatever stands at a path may change, so nothing is used again without asking, which costs a 304. What somebody had to
//! show who they are for is theirs alone.

use artimesh_core::access::Principal;
use hyper::header::HeaderValue;

/// Of an answer to this caller.
pub fn directive(principal: &Principal) -> HeaderValue {
    match principal {
        Principal::Anonymous { .. } => HeaderValue::from_static("public, no-cache"),
        Principal::Administrator | Principal::User(_) => HeaderValue::from_static("private, no-cache"),
    }
}

/// Of an answer that is nobody's to keep: errors.
pub const NOT_AT_ALL: HeaderValue = HeaderValue::from_static("no-store");
