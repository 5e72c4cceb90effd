//! From what was written to a checked [`Value`].

use std::net::SocketAddr;
use std::time::Duration;

use artimesh_core::model::{NodeId, NodeName};
use tracing_subscriber::EnvFilter;

use super::address::{TcpTarget, tcp_target};
use super::key::Kind;
use super::rates;
use super::value::Value;

/// What a source holds for a key, before it is checked. Variables and flags hold text; only the file knows types, and
/// there a number or truth value in quotes and a list with commas are taken too.
#[derive(Debug, Clone, PartialEq)]
pub enum Raw {
    /// Text, a number or a truth value.
    Text(String),
    /// An array of texts.
    List(Vec<String>),
    /// Something of TOML that no key takes: a table, a date, an array of numbers.
    Other,
}

/// The value isn't allowed; holds what is, for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("allowed: {allowed}")]
pub struct BadValue {
    /// A phrase that says what is allowed.
    pub allowed: String,
}

/// Reads a span of time: a whole number and one of `ms s m h d`, without a blank.
pub fn parse_duration(text: &str) -> Result<Duration, BadValue> {
    let parsed = split_unit(text).and_then(|(number, unit)| {
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        number.checked_mul(unit_ms).map(Duration::from_millis)
    });
    parsed.ok_or_else(|| BadValue { allowed: "a number and a unit (ms, s, m, h, d), such as 30s or 5m".into() })
}

/// Reads a number of bytes: a whole number, alone or with one of `B KiB MiB GiB TiB`, without a blank.
pub fn parse_size(text: &str) -> Result<u64, BadValue> {
    let parsed = split_unit(text).and_then(|(number, unit)| {
        let shift = match unit {
            "" | "B" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            "TiB" => 40,
            _ => return None,
        };
        number.checked_mul(1 << shift)
    });
    parsed.ok_or_else(|| BadValue { allowed: "bytes, alone or with KiB, MiB, GiB or TiB, such as 64MiB".into() })
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit))
}

impl Kind {
    /// Checks `raw`; the error says what this kind allows.
    pub(super) fn check(&self, raw: &Raw) -> Result<Value, BadValue> {
        let value = match (self.is_list(), raw) {
            (_, Raw::Other) | (false, Raw::List(_)) => None,
            (false, Raw::Text(text)) => self.check_text(text),
            (true, Raw::Text(text)) => self.check_list(&split_list(text)),
            (true, Raw::List(items)) => self.check_list(items),
        };
        value.ok_or_else(|| BadValue { allowed: self.allowed() })
    }

    /// Whether values are written as lists (text with commas where there are no lists).
    pub fn is_list(&self) -> bool {
        matches!(self, Kind::Listen | Kind::Dial | Kind::Nodes | Kind::Rates)
    }

    fn check_text(&self, text: &str) -> Option<Value> {
        match *self {
            Kind::Name => text.parse::<NodeName>().ok().map(Value::Name),
            Kind::Address => text.parse::<SocketAddr>().ok().map(Value::Address),
            Kind::Url => is_base_url(text).then(|| Value::Text(text.trim_end_matches('/').to_owned())),
            Kind::Truth => text.parse().ok().map(Value::Truth),
            Kind::Count { min, max } => text.parse().ok().filter(|count| (min..=max).contains(count)).map(Value::Count),
            Kind::Size { min, max } => {
                parse_size(text).ok().filter(|bytes| (min..=max).contains(bytes)).map(Value::Size)
            }
            Kind::Limit { .. } if text == "none" => Some(Value::Unbounded),
            Kind::Share { .. } | Kind::Age { .. } if text == "none" => Some(Value::Unbounded),
            Kind::Share { min } => match text.strip_suffix('%') {
                Some(percent) if percent.starts_with('+') => None,
                Some(percent) => percent.parse().ok().filter(|percent| (1..=100).contains(percent)).map(Value::Percent),
                None => parse_size(text).ok().filter(|bytes| *bytes >= min).map(Value::Size),
            },
            Kind::Age { min } => parse_duration(text).ok().filter(|time| *time >= min).map(Value::Time),
            Kind::Limit { min } => parse_size(text).ok().filter(|bytes| *bytes >= min).map(Value::Size),
            Kind::Time { min, max } => {
                parse_duration(text).ok().filter(|time| (min..=max).contains(time)).map(Value::Time)
            }
            Kind::Choice(words) => words.contains(&text).then(|| Value::Text(text.to_owned())),
            Kind::Filter => {
                let fine = !text.trim().is_empty() && EnvFilter::try_new(text).is_ok();
                fine.then(|| Value::Text(text.to_owned()))
            }
            Kind::File => (!text.trim().is_empty() && !text.contains('\0')).then(|| Value::Text(text.to_owned())),
            Kind::Zone => rates::parse_zone(text).map(|_| Value::Text(text.to_owned())),
            Kind::Listen | Kind::Dial | Kind::Nodes | Kind::Rates => None,
        }
    }

    fn check_list(&self, items: &[String]) -> Option<Value> {
        let each_ok: fn(&String) -> bool = match self {
            Kind::Listen => |item| tcp_target(item).is_some_and(|target| target.is_ip && !item.contains("/p2p/")),
            Kind::Dial => |item| tcp_target(item).as_ref().is_some_and(TcpTarget::can_be_dialled),
            Kind::Nodes if matches!(items, [word] if word == "any" || word == "none") => |_| true,
            Kind::Rates if rates::parse_plan(items, crate::swarm::Zone::default()).is_none() => return None,
            Kind::Rates => |_| true,
            Kind::Nodes if items.is_empty() => return None,
            Kind::Nodes => |item| {
                let is_node = item.parse::<NodeName>().is_ok() || item.parse::<NodeId>().is_ok();
                is_node && item != "any" && item != "none"
            },
            _ => return None,
        };
        items.iter().all(each_ok).then(|| Value::List(items.to_vec()))
    }

    /// What is allowed, for people.
    pub fn allowed(&self) -> String {
        let shown = |bytes: u64| Value::Size(bytes).to_string().replace('"', "");
        match *self {
            Kind::Name => "1 to 63 of a-z, 0-9 and '-', with a letter or digit at both ends".into(),
            Kind::Address => "an IP address and a port, such as 127.0.0.1:8082 or [::]:8082".into(),
            Kind::Url => "an address that starts with http:// or https://, such as https://artifacts.example".into(),
            Kind::Truth => "true or false".into(),
            Kind::Count { min, max } => format!("a whole number from {min} to {max}"),
            Kind::Size { min, max } => {
                format!("{} to {}, in bytes or with KiB, MiB, GiB or TiB, such as 64MiB", shown(min), shown(max))
            }
            Kind::Limit { min } => {
                format!("none, or at least {}, in bytes or with KiB, MiB, GiB or TiB, such as 200GiB", shown(min))
            }
            Kind::Share { min } => format!(
                "none, 1% to 100%, or at least {}, in bytes or with KiB, MiB, GiB or TiB, such as 200GiB",
                shown(min)
            ),
            Kind::Age { min } => {
                let min = Value::Time(min).to_string().replace('"', "");
                format!("none, or at least {min}, with a unit (ms, s, m, h, d), such as 30d")
            }
            Kind::Time { min, max } => {
                let shown = |time| Value::Time(time).to_string().replace('"', "");
                format!("{} to {}, with a unit (ms, s, m, h, d), such as 30s", shown(min), shown(max))
            }
            Kind::Choice(words) => words.join(" or "),
            Kind::Filter => "a tracing filter, such as info or info,artimesh::swarm=debug".into(),
            Kind::File => "the path of a file, absolute or as seen from the data folder".into(),
            Kind::Rates => format!(
                "none, or bytes a second (at least {}), then others for hours of the day, such as 20MiB, 08:00-18:00 2MiB",
                shown(rates::RATE_MIN)
            ),
            Kind::Zone => "UTC, or how far its clock is ahead of it, such as +01:00 or -08:00".into(),
            Kind::Listen => "a list of /ip4/ADDRESS/tcp/PORT or /ip6/ADDRESS/tcp/PORT".into(),
            Kind::Dial => {
                "a list of addresses that others can dial: /ip4, /ip6 or /dns, then /HOST/tcp/PORT, port not 0".into()
            }
            Kind::Nodes => "any, none, or a list of node names or ids".into(),
        }
    }
}

fn split_list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

/// `http(s)://HOST[:PORT][/PATH]`: no user, query or fragment, since paths are appended to it.
fn is_base_url(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")) else { return false };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let in_authority = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    let in_path = |b: u8| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'"' | b'<' | b'>' | b'\\');
    let starts_with_host = !authority.is_empty() && !authority.starts_with(':');
    starts_with_host && authority.bytes().all(in_authority) && path.bytes().all(in_path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        let cases =
            [("500ms", 500), ("300s", 300_000), ("5m", 300_000), ("1h", 3_600_000), ("30d", 2_592_000_000), ("0s", 0)];
        for (text, ms) in cases {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for bad in ["", "5", "s", "5 s", "-1s", "1.5s", "5min", "5S", "99999999999999999999s", "18446744073709551615h"]
        {
            assert!(parse_duration(bad).is_err(), "{bad} was taken");
        }
    }

    #[test]
    fn sizes_are_bytes_or_have_binary_units() {
        let cases = [("0", 0), ("1000", 1000), ("7B", 7), ("64KiB", 65_536), ("1GiB", 1 << 30), ("2TiB", 2 << 40)];
        for (text, bytes) in cases {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "KiB", "1KB", "1kib", "1 KiB", "-1", "1.5GiB", "99999999999TiB"] {
            assert!(parse_size(bad).is_err(), "{bad} was taken");
        }
    }

    #[test]
    fn what_a_size_or_time_is_written_as_is_read_again() {
        for bytes in [0, 1, 1000, 1 << 10, 3 << 20, 5 << 40, (1 << 40) + 1] {
            let text = Value::Size(bytes).to_string().replace('"', "");
            assert_eq!(parse_size(&text), Ok(bytes));
        }
        for ms in [0, 1, 999, 1000, 60_000, 61_000, 86_400_000] {
            let text = Value::Time(Duration::from_millis(ms)).to_string().replace('"', "");
            assert_eq!(parse_duration(&text), Ok(Duration::from_millis(ms)));
        }
    }

    #[test]
    fn each_kind_refuses_what_it_does_not_mean() {
        let text = |text: &str| Raw::Text(text.to_owned());
        let cases: &[(Kind, &str, bool)] = &[
            (Kind::Address, "127.0.0.1:0", true),
            (Kind::Address, "localhost:80", false),
            (Kind::Url, "https://a.example/x", true),
            (Kind::Url, "ftp://a", false),
            (Kind::Url, "http://u@a", false),
            (Kind::Url, "http://a?b", false),
            (Kind::Url, "http://[::1]:80/", true),
            (Kind::Url, "http://:80", false),
            (Kind::Url, "http://a b", false),
            (Kind::Url, "http:///x", false),
            (Kind::Truth, "true", true),
            (Kind::Truth, "yes", false),
            (Kind::Count { min: 1, max: 9 }, "9", true),
            (Kind::Count { min: 1, max: 9 }, "0", false),
            (Kind::Limit { min: 10 }, "none", true),
            (Kind::Limit { min: 10 }, "9", false),
            (Kind::Share { min: 10 }, "none", true),
            (Kind::Share { min: 10 }, "100%", true),
            (Kind::Share { min: 10 }, "0%", false),
            (Kind::Share { min: 10 }, "101%", false),
            (Kind::Share { min: 10 }, "+5%", false),
            (Kind::Share { min: 10 }, "10", true),
            (Kind::Share { min: 10 }, "9", false),
            (Kind::Age { min: Duration::from_secs(1) }, "none", true),
            (Kind::Age { min: Duration::from_secs(1) }, "30d", true),
            (Kind::Age { min: Duration::from_secs(1) }, "999ms", false),
            (Kind::Filter, "info,hyper=warn", true),
            (Kind::Filter, "info=loud=x", false),
            (Kind::Filter, "", false),
            (Kind::Listen, "/ip4/0.0.0.0/tcp/0,/ip6/::/tcp/1", true),
            (Kind::Listen, "/dns/a/tcp/1", false),
            (Kind::Listen, "", true),
            (Kind::Dial, "/dns/a/tcp/1", true),
            (Kind::Dial, "/ip4/0.0.0.0/tcp/1", false),
            (Kind::Dial, "/dns/a/tcp/0", false),
            (Kind::Nodes, "any", true),
            (Kind::Nodes, "berlin, paris", true),
            (Kind::Nodes, "any,berlin", false),
            (Kind::Nodes, "", false),
            (Kind::Nodes, "Berlin", false),
        ];
        for (kind, given, fine) in cases {
            assert_eq!(kind.check(&text(given)).is_ok(), *fine, "{kind:?} {given:?}");
        }
        assert!(Kind::Truth.check(&Raw::List(vec![])).is_err());
        assert!(Kind::Listen.check(&Raw::Other).is_err());
    }
}
