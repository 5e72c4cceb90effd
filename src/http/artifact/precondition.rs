//! Conditional requests (RFC 9110 section 13): may the answer be sent, and is it needed?

use artimesh_core::access::Action;
use hyper::HeaderMap;
use hyper::header::{
    HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
};

use crate::http::ask::Ask;
use crate::http::dates::parse_http_date;
use crate::http::error::HttpError;
use crate::http::target::Place;
use crate::service::{Found, Item};

/// What identifies the present content of an artifact.
#[derive(Clone, Copy, Debug)]
pub struct Validators<'a> {
    /// Between the quotes of the strong entity tag.
    pub etag: &'a str,
    /// `Last-Modified`, in seconds since the epoch.
    pub modified_s: u64,
}

/// What the conditions of a GET or HEAD come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Answer as if there were none.
    Proceed,
    /// The client has it already (304).
    NotModified,
    /// The client wanted something else (412).
    Failed,
}

/// Evaluates the conditions in the order of RFC 9110 section 13.2.2.
pub fn evaluate(headers: &HeaderMap, now: Validators<'_>) -> Verdict {
    if headers.contains_key(IF_MATCH) {
        if !matches(headers, &IF_MATCH, |tag| tag == Tag::Strong(now.etag)) {
            return Verdict::Failed;
        }
    } else if date(headers, &IF_UNMODIFIED_SINCE).is_some_and(|since| now.modified_s > since) {
        return Verdict::Failed;
    }
    if headers.contains_key(IF_NONE_MATCH) {
        if matches(headers, &IF_NONE_MATCH, |tag| tag.opaque() == now.etag) {
            return Verdict::NotModified;
        }
    } else if date(headers, &IF_MODIFIED_SINCE).is_some_and(|since| now.modified_s <= since) {
        return Verdict::NotModified;
    }
    Verdict::Proceed
}

/// Where the client names the content that it means by `If-Match`, a change is made only while that is there, and never to a
/// folder: whoever repeats a request whose answer got lost, or works through a list, hits nothing else. The look and the change
/// are two steps: what is put between them is not seen, unless the change is told of the version that was, which is returned.
pub async fn check_meant(ask: &Ask, action: Action<'_>, place: &Place) -> Result<Option<Box<Item>>, HttpError> {
    if !ask.headers().contains_key(IF_MATCH) {
        return Ok(None);
    }
    // Who may not is told so, and nothing else.
    ask.must(action)?;
    match ask.service().find(&ask.caller, &place.repo, place.path.as_ref()).await? {
        Found::File(item) if !place.is_folder => {
            let etag = item.checksums.sha1_hex();
            let is_meant = matches(ask.headers(), &IF_MATCH, |tag| tag == Tag::Strong(&etag));
            if is_meant { Ok(Some(item)) } else { Err(HttpError::Precondition) }
        }
        _ => Err(HttpError::Precondition),
    }
}

/// Whether a `Range` may be honoured: there is no `If-Range`, or it names exactly the present content.
pub fn range_holds(headers: &HeaderMap, now: Validators<'_>) -> bool {
    let mut values = headers.get_all(IF_RANGE).iter();
    match (values.next(), values.next()) {
        (None, _) => true,
        (Some(value), None) => range_validator_holds(value, now),
        (Some(_), Some(_)) => false,
    }
}

fn range_validator_holds(value: &HeaderValue, now: Validators<'_>) -> bool {
    let tag = value.to_str().ok().and_then(|text| Tag::parse(text.trim()));
    match tag {
        Some((tag, rest)) => rest.is_empty() && tag == Tag::Strong(now.etag),
        None => parse_http_date(value) == Some(now.modified_s),
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tag<'a> {
    Strong(&'a str),
    Weak(&'a str),
}

impl<'a> Tag<'a> {
    /// Reads one entity tag from the start of `text`, and gives what follows it.
    fn parse(text: &'a str) -> Option<(Tag<'a>, &'a str)> {
        let (is_weak, quoted) = match text.strip_prefix("W/") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (opaque, rest) = quoted.strip_prefix('"')?.split_once('"')?;
        Some((if is_weak { Tag::Weak(opaque) } else { Tag::Strong(opaque) }, rest))
    }

    fn opaque(self) -> &'a str {
        match self {
            Tag::Strong(opaque) | Tag::Weak(opaque) => opaque,
        }
    }
}

/// Whether any tag in the header's lists is `wanted`; `*` is, since the artifact exists.
fn matches(headers: &HeaderMap, name: &HeaderName, wanted: impl Fn(Tag<'_>) -> bool) -> bool {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).any(|list| {
        let mut rest = list.trim();
        if rest == "*" {
            return true;
        }
        while let Some((tag, after)) = Tag::parse(rest) {
            if wanted(tag) {
                return true;
            }
            rest = after.trim_start_matches([',', ' ', '\t']);
        }
        false
    })
}

/// The one date of the header; several, or something else, count as none (RFC 9110 sections 13.1.3 and 13.1.4).
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => parse_http_date(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Validators<'_> = Validators { etag: "abc", modified_s: 784_111_777 };
    const AT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn conditions_are_evaluated_in_the_order_of_rfc_9110_section_13_2_2() {
        use Verdict::{Failed, NotModified, Proceed};
        let cases: &[(&[(&str, &str)], Verdict)] = &[
            (&[], Proceed),
            // Step 1: If-Match, compared strongly.
            (&[("if-match", "\"abc\"")], Proceed),
            (&[("if-match", "*")], Proceed),
            (&[("if-match", "\"x\", \"abc\"")], Proceed),
            (&[("if-match", "\"x\"")], Failed),
            (&[("if-match", "W/\"abc\"")], Failed),
            (&[("if-match", "abc")], Failed),
            // Step 2: If-Unmodified-Since, only without If-Match.
            (&[("if-unmodified-since", AT)], Proceed),
            (&[("if-unmodified-since", BEFORE)], Failed),
            (&[("if-unmodified-since", "rubbish")], Proceed),
            (&[("if-match", "\"abc\""), ("if-unmodified-since", BEFORE)], Proceed),
            (&[("if-match", "\"x\""), ("if-unmodified-since", AFTER)], Failed),
            // Step 3: If-None-Match, compared weakly.
            (&[("if-none-match", "\"abc\"")], NotModified),
            (&[("if-none-match", "W/\"abc\"")], NotModified),
            (&[("if-none-match", "\"x\",,W/\"y\" , \"abc\"")], NotModified),
            (&[("if-none-match", "\"x\""), ("if-none-match", "\"abc\"")], NotModified),
            (&[("if-none-match", "*")], NotModified),
            (&[("if-none-match", "\"x\"")], Proceed),
            (&[("if-none-match", "\"a,bc\"")], Proceed),
            (&[("if-none-match", "\"abc")], Proceed),
            // Step 4: If-Modified-Since, only without If-None-Match.
            (&[("if-modified-since", AT)], NotModified),
            (&[("if-modified-since", AFTER)], NotModified),
            (&[("if-modified-since", BEFORE)], Proceed),
            (&[("if-modified-since", "rubbish")], Proceed),
            (&[("if-modified-since", AT), ("if-modified-since", AT)], Proceed),
            (&[("if-none-match", "\"x\""), ("if-modified-since", AFTER)], Proceed),
            // 412 goes before 304.
            (&[("if-match", "\"x\""), ("if-none-match", "\"abc\"")], Failed),
            (&[("if-match", "\"abc\""), ("if-none-match", "\"abc\"")], NotModified),
            (&[("if-unmodified-since", BEFORE), ("if-modified-since", AFTER)], Failed),
        ];
        for (lines, expected) in cases {
            assert_eq!(evaluate(&headers(lines), NOW), *expected, "{lines:?}");
        }
    }

    #[test]
    fn a_range_is_honoured_only_for_exactly_the_present_content() {
        let cases: &[(&[(&str, &str)], bool)] = &[
            (&[], true),
            (&[("if-range", "\"abc\"")], true),
            (&[("if-range", "\"x\"")], false),
            (&[("if-range", "W/\"abc\"")], false),
            (&[("if-range", "\"abc\", \"x\"")], false),
            (&[("if-range", AT)], true),
            (&[("if-range", AFTER)], false),
            (&[("if-range", BEFORE)], false),
            (&[("if-range", "rubbish")], false),
            (&[("if-range", "\"abc\""), ("if-range", "\"abc\"")], false),
        ];
        for (lines, expected) in cases {
            assert_eq!(range_holds(&headers(lines), NOW), *expected, "{lines:?}");
        }
    }
}
