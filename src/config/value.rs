//! A checked value, and how it is written in the file.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use artimesh_core::model::NodeName;

/// What a key holds once it was checked.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing was given and there is no default.
    Absent,
    /// `none`, where a bound would stand.
    Unbounded,
    /// A node's name.
    Name(NodeName),
    /// An address and a port.
    Address(SocketAddr),
    /// Other text: a URL, a word, a filter.
    Text(String),
    /// A truth value.
    Truth(bool),
    /// A count.
    Count(u64),
    /// Bytes.
    Size(u64),
    /// Per cent, 1 to 100.
    Percent(u8),
    /// A span of time.
    Time(Duration),
    /// Several texts.
    List(Vec<String>),
}

/// As TOML; an absent value is empty.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Absent => Ok(()),
            Value::Unbounded => f.write_str("\"none\""),
            Value::Name(name) => write!(f, "\"{name}\""),
            Value::Address(address) => write!(f, "\"{address}\""),
            Value::Text(text) => f.write_str(&quoted(text)),
            Value::Truth(truth) => write!(f, "{truth}"),
            Value::Count(count) => write!(f, "{count}"),
            Value::Size(bytes) => f.write_str(&size_text(*bytes)),
            Value::Percent(percent) => write!(f, "\"{percent}%\""),
            Value::Time(time) => write!(f, "\"{}\"", time_text(*time)),
            Value::List(items) => {
                let items: Vec<_> = items.iter().map(|item| quoted(item)).collect();
                write!(f, "[{}]", items.join(", "))
            }
        }
    }
}

/// `text` as a TOML basic string.
fn quoted(text: &str) -> String {
    toml_edit::Value::from(text).to_string()
}

fn size_text(bytes: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.iter().find(|(_, shift)| bytes > 0 && bytes.trailing_zeros() >= *shift) {
        Some((unit, shift)) => format!("\"{}{unit}\"", bytes >> shift),
        None => bytes.to_string(),
    }
}

fn time_text(time: Duration) -> String {
    let ms = time.as_millis();
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    match units.iter().find(|(_, unit_ms)| ms > 0 && ms.is_multiple_of(*unit_ms)) {
        Some((unit, unit_ms)) => format!("{}{unit}", ms / unit_ms),
        None => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_in_their_largest_exact_unit() {
        let shown = |value: Value| value.to_string();
        assert_eq!(shown(Value::Size(0)), "0");
        assert_eq!(shown(Value::Size(1000)), "1000");
        assert_eq!(shown(Value::Size(64 << 10)), "\"64KiB\"");
        assert_eq!(shown(Value::Size(3 << 40)), "\"3TiB\"");
        assert_eq!(shown(Value::Time(Duration::from_millis(1500))), "\"1500ms\"");
        assert_eq!(shown(Value::Time(Duration::from_secs(90))), "\"90s\"");
        assert_eq!(shown(Value::Time(Duration::from_secs(7200))), "\"2h\"");
        assert_eq!(shown(Value::List(vec!["a".into(), "b".into()])), "[\"a\", \"b\"]");
    }
}
