//! Rates by the hour, as they are written: `20MiB,08:00-18:00 2MiB,22:00-06:00 none`, in bytes a second.

use super::parse::parse_size;
use crate::swarm::{Hours, Plan, Zone};

/// The least rate: a group of a mebibyte takes a quarter of an hour.
pub(super) const RATE_MIN: u64 = 1 << 10;

/// Reads a list of rates: one for the whole day, if any, and any number for hours of it.
pub(super) fn parse_plan(items: &[String], zone: Zone) -> Option<Plan> {
    let (timed, usual): (Vec<&String>, Vec<&String>) = items.iter().partition(|item| item.contains(' '));
    let usual = match usual.as_slice() {
        [] => None,
        [one] => parse_rate(one)?,
        _ => return None,
    };
    let hours = timed.into_iter().map(|item| parse_hours(item)).collect::<Option<Vec<_>>>()?;
    Some(Plan { usual, hours, zone })
}

/// Reads `UTC`, or how far a clock is ahead of it, such as `+05:30` or `-08:00`.
pub(super) fn parse_zone(text: &str) -> Option<Zone> {
    if text == "UTC" {
        return Some(Zone::default());
    }
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let minutes = parse_minute(rest).filter(|minutes| *minutes <= 14 * 60)?;
    Some(Zone { ahead_min: sign * i32::from(minutes) })
}

fn parse_rate(text: &str) -> Option<Option<u64>> {
    if text == "none" {
        return Some(None);
    }
    parse_size(text).ok().filter(|rate| *rate >= RATE_MIN).map(Some)
}

fn parse_hours(text: &str) -> Option<Hours> {
    let (span, rate) = text.split_once(' ')?;
    let (from, to) = span.split_once('-')?;
    let to_min = if to == "24:00" { 0 } else { parse_minute(to)? };
    Some(Hours { from_min: parse_minute(from)?, to_min, rate: parse_rate(rate.trim())? })
}

/// `HH:MM`, up to 23:59.
fn parse_minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let two = |digits: &str| {
        let fine = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        fine.then(|| digits.parse::<u16>().ok()).flatten()
    };
    let (hour, minute) = (two(hour)?, two(minute)?);
    (hour < 24 && minute < 60).then_some(hour * 60 + minute)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Option<Plan> {
        let items: Vec<String> = text.split(',').filter(|item| !item.is_empty()).map(str::to_owned).collect();
        parse_plan(&items, Zone::default())
    }

    #[test]
    fn a_plan_has_a_usual_rate_and_hours() {
        assert!(plan("").is_some_and(|plan| plan.is_open()));
        assert!(plan("none").is_some_and(|plan| plan.is_open()));
        let read = plan("20MiB,08:00-18:00 2MiB,22:00-24:00 none").unwrap();
        assert_eq!(read.usual, Some(20 << 20));
        let hours = |from_min, to_min, rate| Hours { from_min, to_min, rate };
        assert_eq!(read.hours, [hours(480, 1080, Some(2 << 20)), hours(1320, 0, None)]);
    }

    #[test]
    fn what_is_no_plan_is_refused() {
        for text in ["1MiB,2MiB", "8:00-18:00 1MiB", "08:00-18:00", "25:00-26:00 1MiB", "08:00 1MiB", "fast", "10"] {
            assert_eq!(plan(text), None, "{text}");
        }
    }

    #[test]
    fn a_zone_is_utc_or_so_far_from_it() {
        let ahead = |text| parse_zone(text).map(|zone| zone.ahead_min);
        assert_eq!([ahead("UTC"), ahead("+05:30"), ahead("-08:00")], [Some(0), Some(330), Some(-480)]);
        assert_eq!([ahead("5"), ahead("+25:00"), ahead(""), ahead("Europe/Berlin")], [None; 4]);
    }
}
