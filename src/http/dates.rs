//! Points in time as HTTP writes them; JSON has them as [`iso8601`].

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::service::{LAST_MS, Timestamp};
pub use crate::service::{civil, iso8601, parse_iso8601};
use hyper::header::HeaderValue;

/// Whole seconds since the epoch: all that HTTP dates can say.
pub fn seconds(timestamp: Timestamp) -> u64 {
    timestamp.0.min(LAST_MS) / 1000
}

/// `Sat, 21 Nov 2026 21:47:22 GMT` (RFC 9110 section 5.6.7) for seconds since the epoch.
pub fn http_date(seconds: u64) -> HeaderValue {
    let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds.min(LAST_MS / 1000)));
    HeaderValue::try_from(text).expect("HTTP dates are ASCII")
}

/// Seconds since the epoch of an HTTP date in any of its three formats; `None` when it isn't one.
pub fn parse_http_date(value: &HeaderValue) -> Option<u64> {
    let at = httpdate::parse_http_date(value.to_str().ok()?.trim()).ok()?;
    at.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// `seconds`, or now when that is earlier: an origin server doesn't claim changes in its future (RFC 9110 section 8.8.2.1),
/// even if the author's clock was ahead.
pub fn not_after_now(seconds: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    seconds.min(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_dates_come_back_in_all_three_formats() {
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        let formats = ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"];
        for text in formats {
            assert_eq!(parse_http_date(&HeaderValue::from_static(text)), Some(784_111_777), "{text}");
        }
        assert_eq!(parse_http_date(&HeaderValue::from_static("yesterday")), None);
    }

    #[test]
    fn a_clock_far_ahead_makes_no_broken_date() {
        assert_eq!(http_date(u64::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert!(not_after_now(u64::MAX) < 253_402_300_799);
    }
}
