//! Which bytes of an artifact are asked for: `Range` (RFC 9110 section 14).
//!
//! # Why
//! Several ranges at once are what tools that fetch the changed parts of a large file ask for (zchunk, zsync). They could
//! also make a server send one file many times over, so their number is bounded, ranges that overlap become one, and who
//! asks for more than the whole gets the whole, as nginx answers it.

use std::ops::Range;

use hyper::header::HeaderValue;

/// The most ranges of one request that are answered one by one.
const PARTS_MAX: usize = 256;

/// What a `Range` header selects.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Selection {
    /// Everything: no header, one that isn't understood, or one that asks for too much.
    Whole,
    /// These bytes, end exclusive, never empty.
    Part(Range<u64>),
    /// Several of the like, two at least, of which no two overlap.
    Parts(Vec<Range<u64>>),
    /// Nothing that exists (416).
    Unsatisfiable,
}

/// What one range of a header means.
#[derive(Clone, PartialEq, Eq, Debug)]
enum One {
    /// These bytes, end exclusive, never empty.
    Bytes(Range<u64>),
    /// None that exist.
    Nothing,
    /// It isn't a range: then the header isn't understood.
    Malformed,
}

/// Reads the header for an artifact of `size` bytes.
pub fn select(header: Option<&HeaderValue>, size: u64) -> Selection {
    let ranges = header.and_then(|value| value.to_str().ok()).and_then(|text| {
        let (unit, ranges) = text.trim().split_once('=')?;
        unit.trim().eq_ignore_ascii_case("bytes").then_some(ranges)
    });
    let Some(ranges) = ranges else { return Selection::Whole };
    let mut parts = Vec::new();
    let mut count = 0;
    // The list syntax of HTTP allows empty elements (RFC 9110 section 5.6.1).
    for range in ranges.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        count += 1;
        match select_one(range, size) {
            One::Malformed => return Selection::Whole,
            One::Nothing => {}
            One::Bytes(part) => parts.push(part),
        }
        if count > PARTS_MAX {
            return Selection::Whole;
        }
    }
    if count == 0 { Selection::Whole } else { together(parts, size) }
}

/// What several ranges come to. Ranges that lie apart stay as they are, in the order of the request; if any two overlap,
/// all are sorted and merged (RFC 9110 section 15.3.7.2).
fn together(mut parts: Vec<Range<u64>>, size: u64) -> Selection {
    let sum = parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(part.end - part.start));
    if sum.is_none_or(|sum| sum > size) {
        return Selection::Whole;
    }
    let mut sorted = parts.clone();
    sorted.sort_by_key(|part| part.start);
    if sorted.windows(2).any(|pair| pair[1].start < pair[0].end) {
        parts = merged(sorted);
    }
    match parts.len() {
        0 => Selection::Unsatisfiable,
        1 => Selection::Part(parts.remove(0)),
        _ => Selection::Parts(parts),
    }
}

/// Sorted ranges, with those that overlap or touch made one.
fn merged(sorted: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let mut merged: Vec<Range<u64>> = Vec::new();
    for part in sorted {
        match merged.last_mut() {
            Some(last) if part.start <= last.end => last.end = last.end.max(part.end),
            _ => merged.push(part),
        }
    }
    merged
}

fn select_one(range: &str, size: u64) -> One {
    let Some((first, last)) = range.split_once('-') else { return One::Malformed };
    let (first, last) = (first.trim(), last.trim());
    if first.is_empty() {
        return match number(last) {
            None => One::Malformed,
            Some(0) => One::Nothing,
            Some(_) if size == 0 => One::Nothing,
            Some(suffix) => One::Bytes(size.saturating_sub(suffix)..size),
        };
    }
    let Some(start) = number(first) else { return One::Malformed };
    let end = if last.is_empty() { Some(u64::MAX) } else { number(last).filter(|last| *last >= start) };
    match end {
        None => One::Malformed,
        Some(_) if start >= size => One::Nothing,
        Some(last) => One::Bytes(start..size.min(last.saturating_add(1))),
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
        use Selection::{Part, Parts, Unsatisfiable, Whole};
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
            ("bytes=0-1,", 10, Part(0..2)),
            ("bytes=20-30,3-4", 10, Part(3..5)),
            ("bytes=20-30,-0", 10, Unsatisfiable),
            ("bytes=0-1,x-4", 10, Whole),
            // As much as the whole is fine, more is not.
            ("bytes=0-4,5-9", 10, Parts(vec![0..5, 5..10])),
            ("bytes=0-5,5-9", 10, Whole),
            ("bytes=0-,0-,0-", 10, Whole),
            ("bytes=-1,0-0", 10, Parts(vec![9..10, 0..1])),
            ("bytes=0-1,3-4,-2", 10, Parts(vec![0..2, 3..5, 8..10])),
            // Overlapping ones are merged, and then all are sorted.
            ("bytes=7-8,1-2,2-3", 10, Parts(vec![1..4, 7..9])),
            ("bytes=1-2,2-3", 10, Part(1..4)),
            ("bytes=1-3,2-2", 10, Part(1..4)),
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

    #[test]
    fn the_number_of_ranges_is_bounded() {
        let ranges = |count: u64| {
            let list: Vec<String> = (0..count).map(|number| format!("{0}-{0}", number * 2)).collect();
            select(Some(&HeaderValue::try_from(format!("bytes={}", list.join(","))).expect("ASCII")), 1 << 20)
        };
        assert!(matches!(ranges(256), Selection::Parts(parts) if parts.len() == 256));
        assert_eq!(ranges(257), Selection::Whole);
    }
}
