//! Points in time as people and Artifactory's clients write them.

use artimesh_core::clock::Timestamp;

/// 9999-12-31T23:59:59.999Z: there is no room for more, and a hostile peer may send any number.
pub const LAST_MS: u64 = 253_402_300_799_999;

/// `2026-11-21T21:47:22.005Z`.
pub fn iso8601(timestamp: Timestamp) -> String {
    let ms = timestamp.0.min(LAST_MS);
    let (days, in_day) = (ms / 86_400_000, ms % 86_400_000);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (in_day / 3_600_000, in_day / 60_000 % 60, in_day / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", in_day % 1000)
}

/// Reads `2026-11-21`, `2026-11-21T21:47Z`, `2026-11-21T21:47:22Z` or that with a fraction of a second, of which milliseconds
/// count; instead of `Z` (UTC) there may be `+02:00` or `+0200`.
pub fn parse_iso8601(text: &str) -> Option<Timestamp> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, time),
        None => (text, "00:00:00.000Z"),
    };
    let (time, ahead_ms) = match time.strip_suffix('Z') {
        Some(time) => (time, 0),
        None => zoned(time)?,
    };
    let digits = |text: &str, count: usize| {
        let is_number = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse::<u64>().ok())?
    };
    let parts: Vec<&str> = date.split('-').collect();
    let [year, month, day] = parts[..] else { return None };
    let (year, month, day) = (digits(year, 4)?, digits(month, 2)?, digits(day, 2)?);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let parts: Vec<&str> = time.split(':').collect();
    let [hour, minute, second] = match parts[..] {
        [hour, minute] => [hour, minute, "00"],
        [hour, minute, second] => [hour, minute, second],
        _ => return None,
    };
    let (hour, minute, second, ms) =
        (digits(hour, 2)?, digits(minute, 2)?, digits(second, 2)?, milliseconds(fraction)?);
    let is_time = hour < 24 && minute < 60 && second < 60;
    let days = days_of(year, month, day).filter(|days| is_time && civil(*days) == (year, month, day))?;
    let local_ms = days * 86_400_000 + hour * 3_600_000 + minute * 60_000 + second * 1000 + ms;
    local_ms.checked_add_signed(-ahead_ms).map(Timestamp)
}

/// Of a fraction of a second, as many digits as it may have.
fn milliseconds(fraction: &str) -> Option<u64> {
    let is_number = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let first: String = fraction.chars().chain("000".chars()).take(3).collect();
    first.parse().ok().filter(|_| is_number)
}

/// A time without its offset from UTC, and that.
fn zoned(time: &str) -> Option<(&str, i64)> {
    let (time, zone) = time.split_at(time.rfind(['+', '-'])?);
    let (sign, zone) = (if zone.starts_with('-') { -1 } else { 1 }, zone[1..].replace(':', ""));
    let digits = zone.len() == 4 && zone.bytes().all(|byte| byte.is_ascii_digit());
    let (hours, minutes) = digits.then(|| zone.split_at(2))?;
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours <= 18 && minutes < 60).then(|| (time, sign * (hours * 60 + minutes) * 60_000))
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
pub fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
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
        for text in ["2000-02-29T03:02+02:00", "2000-02-28T20:02:00.000-0500"] {
            assert_eq!(parse_iso8601(text), Some(Timestamp(951_786_120_000)), "{text}");
        }
        for (text, ms) in [(".5Z", 500), (".05Z", 50), (".123456Z", 123), (".999999999+00:00", 999)] {
            let text = format!("2000-02-29T00:00:00{text}");
            assert_eq!(parse_iso8601(&text), Some(Timestamp(951_782_400_000 + ms)), "{text}");
        }
        let bad =
            ["", "2001-02-29", "2000-13-01", "2000-00-01", "2000-01-00", "2000-1-1", "1969-12-31", "2000-01-01T24:00Z"];
        for text in bad.into_iter().chain([
            "2000-01-01T00:00",
            "2000-01-01T00:00:00.Z",
            "2000-01-01T00:00:00.5xZ",
            "yesterday",
            "2000-01-01 00:00Z",
            "2000-01-01T00:00+2",
            "2000-01-01T00:00+19:00",
        ]) {
            assert_eq!(parse_iso8601(text), None, "{text}");
        }
    }
}
