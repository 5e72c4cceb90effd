//! A name for each request, the client's own if it is a plain one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::HeaderMap;
use hyper::header::HeaderName;

use crate::service::RequestId;

/// The header that carries the id, both ways.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives out ids: 64 bits that don't repeat within one run of the node.
#[derive(Debug)]
pub struct RequestIds(AtomicU64);

impl RequestIds {
    /// Starts at a random place, so that the ids of two runs are told apart.
    pub fn from_seed(seed: u64) -> RequestIds {
        RequestIds(AtomicU64::new(seed))
    }

    /// The id of a request with these headers.
    pub fn of(&self, headers: &HeaderMap) -> RequestId {
        let sent = headers.get(X_REQUEST_ID).and_then(|value| value.to_str().ok()).filter(|id| is_plain(id));
        RequestId(sent.map_or_else(|| self.next(), Arc::from))
    }

    /// A bijection of a counter (SplitMix64's finaliser): no two are equal, and they don't look like a row.
    fn next(&self) -> Arc<str> {
        let mut bits = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        let digits: [u8; 16] = std::array::from_fn(|at| b"0123456789abcdef"[(bits >> (60 - 4 * at) & 15) as usize]);
        Arc::from(str::from_utf8(&digits).expect("digits are ASCII"))
    }
}

fn is_plain(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn a_plain_id_of_the_client_is_kept_and_any_other_replaced() {
        let ids = RequestIds::from_seed(7);
        let long = "x".repeat(65);
        for (sent, is_kept) in [("ci-1.2_3", true), ("", false), ("a b", false), ("a\"b", false), (&long, false)] {
            let mut headers = HeaderMap::new();
            headers.insert(X_REQUEST_ID, HeaderValue::try_from(sent).expect("a header value"));
            let RequestId(id) = ids.of(&headers);
            assert_eq!(&*id == sent, is_kept, "{sent}");
            assert!(is_plain(&id));
        }
    }

    #[test]
    fn ids_do_not_repeat() {
        let ids = RequestIds::from_seed(u64::MAX);
        let distinct: BTreeSet<_> = (0..1000).map(|_| ids.of(&HeaderMap::new()).0).collect();
        assert_eq!(distinct.len(), 1000);
        assert!(distinct.iter().all(|id| id.len() == 16));
    }
}
