//! Which bytes of an artifact are asked for: `Range` (RFC 9110 section 14).
//!
//! # Why
//! A request for several ranges at once gets the whole artifact, which the RFC allows: no client of an artifact
//! repository needs `multipart/byteranges`, and it invites requests that are expensive to answer.

use std::ops::Range;

use hyper::header::HeaderValue;

/// What a `Range` header selects.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Selection {
    /// Everything: no header, one that isn't understood, or several ranges.
    Whole,
    /// These bytes, end exclusive, never empty.
    Part(Range<u64>),
    /// Nothing that exists (416).
    Unsatisfiable,
}

/// Reads the header for an artifact of `size` bytes.
pub fn select(header: Option<&HeaderValue>, size: u64) -> Selection {
    let ranges = header.and_then(|value| value.to_str().ok()).and_then(|text| {
        let (unit, ranges) = text.trim().split_once('=')?;
        unit.trim().eq_ignore_ascii_case("bytes").then_some(ranges)
    });
    let Some(ranges) = ranges else { return Selection::Whole };
    // The list syntax of HTTP allows empty elements (RFC 9110 section 5.6.1).
    let mut ranges = ranges.split(',').map(str::trim).filter(|range| !range.is_empty());
    match (ranges.next(), ranges.next()) {
        (Some(range), None) => select_one(range, size),
        _ => Selection::Whole,
    }
}

fn select_one(range: &str, size: u64) -> Selection {
    let Some((first, last)) = range.split_once('-') else { return Selection::Whole };
    let (first, last) = (first.trim(), last.trim());
    if first.is_empty() {
        return match number(last) {
            None => Selection::Whole,
            Some(0) => Selection::Unsatisfiable,
            Some(_) if size == 0 => Selection::Unsatisfiable,
            Some(suffix) => Selection::Part(size.saturating_sub(suffix)..size),
        };
    }
    let Some(start) = number(first) else { return Selection::Whole };
    let end = if last.is_empty() { Some(u64::MAX) } else { number(last).filter(|last| *last >= start) };
    match end {
        None => Selection::Whole,
        Some(_) if start >= size => Selection::Unsatisfiable,
        Some(last) => Selection::Part(start..size.min(last.saturating_add(1))),
    }
}

/// A decimal number; those too great for 64 bits are as good as the greatest.
fn number(digits: &str) -> Option<u64> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_select_as_the_rfc_says() {
        use Selection::{Part, Unsatisfiable, Whole};
        let cases = [
            ("bytes=0-0", 10, Part(0..1)),
            ("bytes=0-9", 10, Part(0..10)),
            ("bytes=5-", 10, Part(5..10)),
            ("bytes=5-99", 10, Part(5..10)),
            ("bytes=-3", 10, Part(7..10)),
            ("bytes=-99", 10, Part(0..10)),
            ("Bytes = 1-2", 10, Part(1..3)),
            ("bytes= 1 - 2 ", 10, Part(1..3)),
            ("bytes=,1-2,", 10, Part(1..3)),
            ("bytes=0-99999999999999999999999", 10, Part(0..10)),
            ("bytes=18446744073709551615-18446744073709551615", u64::MAX, Unsatisfiable),
            ("bytes=10-", 10, Unsatisfiable),
            ("bytes=99999999999999999999999-", 10, Unsatisfiable),
            ("bytes=-0", 10, Unsatisfiable),
            ("bytes=0-", 0, Unsatisfiable),
            ("bytes=-1", 0, Unsatisfiable),
            ("bytes=0-1,3-4", 10, Whole),
            ("bytes=3-2", 10, Whole),
            ("bytes=a-b", 10, Whole),
            ("bytes=+1-2", 10, Whole),
            ("bytes=1", 10, Whole),
            ("bytes=-", 10, Whole),
            ("bytes=--1", 10, Whole),
            ("bytes=", 10, Whole),
            ("bytes", 10, Whole),
            ("lines=1-2", 10, Whole),
        ];
        for (text, size, expected) in cases {
            assert_eq!(select(Some(&HeaderValue::from_static(text)), size), expected, "{text} of {size}");
        }
        assert_eq!(select(None, 10), Whole);
    }
}
