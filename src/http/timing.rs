//! `Server-Timing` (W3C): what the answer waited for, told to whoever may know.
//!
//! # Why
//! How long an answer took tells what was in memory, on the disk or at another site: what others have asked for lately.
//! Clients can guess as much from outside, but nobody needs to be told, so it is nobody by default.
//! What is in the head is what was known when the head went: all of an upload, the beginning of a long download.

use std::fmt::Write as _;

use artimesh_core::access::Principal;
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

use super::tally::Tally;
use crate::service::Part;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Who is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Audience {
    /// Nobody.
    #[default]
    Nobody,
    /// The administrator.
    Administrator,
    /// Everybody.
    Everybody,
}

impl Audience {
    fn includes(self, who: Option<&Principal>) -> bool {
        match self {
            Audience::Nobody => false,
            Audience::Administrator => matches!(who, Some(Principal::Administrator)),
            Audience::Everybody => true,
        }
    }
}

/// Adds the header, if whoever asked is told.
pub fn tell(headers: &mut HeaderMap, tally: &Tally, audience: Audience) {
    if audience.includes(tally.who()) {
        let value = HeaderValue::try_from(timing(tally)).expect("names, digits and punctuation are ASCII");
        headers.insert(SERVER_TIMING, value);
    }
}

/// `queue;dur=0.120, index;dur=0.000, …, client;dur=0.000, total;dur=0.140`, in milliseconds.
fn timing(tally: &Tally) -> String {
    let mut text = String::with_capacity(160);
    let parts = Part::ALL.map(|part| (part.name(), tally.account.of(part)));
    for (name, time) in parts.into_iter().chain([("client", tally.client()), ("total", tally.took())]) {
        let separator = if text.is_empty() { "" } else { ", " };
        // Writing to a string can't fail.
        let _ = write!(text, "{separator}{name};dur={:.3}", time.as_secs_f64() * 1000.0);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::endings::Endings;
    use super::super::meter::Meter;
    use super::super::tally::samples::tally;
    use super::*;
    use crate::service::Metrics;

    #[test]
    fn who_may_know_is_told_what_was_waited_for() {
        let endings = Endings::new(Duration::from_secs(1), Audience::Nobody, None);
        let meter = Meter::registered(&Metrics::default(), endings);
        let tally = tally(&meter);
        tally.account.add(Part::Index, Duration::from_micros(1_250));
        let told = |audience| {
            let mut headers = HeaderMap::new();
            tell(&mut headers, &tally, audience);
            headers.get(SERVER_TIMING).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(told(Audience::Nobody), None);
        assert_eq!(told(Audience::Administrator), None, "nobody was recognised yet");
        let text = told(Audience::Everybody).unwrap();
        assert!(text.starts_with("queue;dur=0.000, index;dur=1.250, disk;dur=0.000, hash"), "{text}");
        assert!(text.contains("client;dur=0.000, total;dur="), "{text}");
        tally.recognised(&Principal::Administrator);
        assert!(told(Audience::Administrator).is_some());
    }
}
