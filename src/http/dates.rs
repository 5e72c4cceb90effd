//! Points in time as HTTP and as Artifactory's clients write them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::service::Timestamp;
use hyper::header::HeaderValue;

/// 9999-12-31T23:59:59.999Z: neither format has room for more, and a hostile peer may send any number.
const LAST_MS: u64 = 253_402_300_799_999;

/// `2026-11-21T21:47:22.005Z`.
pub fn iso8601(timestamp: Timestamp) -> String {
    let ms = timestamp.0.min(LAST_MS);
    let (days, in_day) = (ms / 86_400_000, ms % 86_400_000);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (in_day / 3_600_000, in_day / 60_000 % 60, in_day / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", in_day % 1000)
}

/// Reads `2026-11-21`, `2026-11-21T21:47Z`, `2026-11-21T21:47:22Z` or that with milliseconds: always UTC.
pub fn parse_iso8601(text: &str) -> Option<Timestamp> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, time.strip_suffix('Z')?),
        None => (text, "00:00:00.000"),
    };
    let digits = |text: &str, count: usize| {
        let is_number = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse::<u64>().ok())?
    };
    let parts: Vec<&str> = date.split('-').collect();
    let [year, month, day] = parts[..] else { return None };
    let (year, month, day) = (digits(year, 4)?, digits(month, 2)?, digits(day, 2)?);
    let (time, ms) = time.split_once('.').unwrap_or((time, "000"));
    let parts: Vec<&str> = time.split(':').collect();
    let [hour, minute, second] = match parts[..] {
        [hour, minute] => [hour, minute, "00"],
        [hour, minute, second] => [hour, minute, second],
        _ => return None,
    };
    let (hour, minute, second, ms) = (digits(hour, 2)?, digits(minute, 2)?, digits(second, 2)?, digits(ms, 3)?);
    let is_time = hour < 24 && minute < 60 && second < 60;
    let days = days_of(year, month, day).filter(|days| is_time && civil(*days) == (year, month, day))?;
    Some(Timestamp(days * 86_400_000 + hour * 3_600_000 + minute * 60_000 + second * 1000 + ms))
}

/// Days from 1970-01-01 to a date (the inverse of [`civil`], by the same source); a date that isn't one gives any number.
fn days_of(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = if month <= 2 { year.checked_sub(1)? } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let month_from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month_from_march + 2) / 5 + day.checked_sub(1)?;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * 146_097 + day_of_era).checked_sub(719_468)
}

/// The Gregorian date that many days after 1970-01-01 (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

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
    fn timestamps_read_as_iso_8601_with_milliseconds() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_200_001, "2024-03-01T00:00:00.001Z"),
            (1_795_297_642_005, "2026-11-21T21:47:22.005Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ];
        for (ms, expected) in cases {
            assert_eq!(iso8601(Timestamp(ms)), expected);
        }
    }

    #[test]
    fn iso_dates_come_back() {
        for ms in [0, 951_782_400_000, 1_795_297_642_005, LAST_MS] {
            assert_eq!(parse_iso8601(&iso8601(Timestamp(ms))), Some(Timestamp(ms)));
        }
        assert_eq!(parse_iso8601("2000-02-29"), Some(Timestamp(951_782_400_000)));
        assert_eq!(parse_iso8601("2000-02-29T01:02Z"), Some(Timestamp(951_786_120_000)));
        let bad =
            ["", "2001-02-29", "2000-13-01", "2000-00-01", "2000-01-00", "2000-1-1", "1969-12-31", "2000-01-01T24:00Z"];
        for text in
            bad.into_iter().chain(["2000-01-01T00:00", "2000-01-01T00:00:00.5Z", "yesterday", "2000-01-01 00:00Z"])
        {
            assert_eq!(parse_iso8601(text), None, "{text}");
        }
    }

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
