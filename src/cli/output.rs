//! What commands print: answers on standard output, everything else on standard error.

use std::io::{self, Write as _};
use std::time::{Duration, UNIX_EPOCH};

use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

/// Prints one answer. That nobody reads it any more (`artimesh … | head`) is no failure.
pub(super) fn say(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{}", text.trim_end_matches('\n')).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Prints a remark for people.
pub(super) fn note(text: &str) {
    // There is nowhere left to complain to when standard error is closed.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints JSON as it came, or what `human` makes of it.
pub(super) fn answer(json: bool, value: &Value, human: impl FnOnce(&Value) -> String) -> anyhow::Result<()> {
    if json { say(&serde_json::to_string_pretty(value)?) } else { say(&human(value)) }
}

/// Prints why a command failed; as JSON in the shape that the server's errors have.
pub(super) fn complain(error: &anyhow::Error, status: Option<u16>, json: bool) {
    let message = format!("{error:#}");
    if json {
        note(&serde_json::json!({"errors": [{"status": status, "message": message}]}).to_string());
    } else {
        note(&format!("error: {}", plain(&message)));
    }
}

/// `text` without what could steer a terminal, or turn the order of what is read: it may come from another site.
pub(super) fn plain(text: &str) -> String {
    let steers = |c: char| {
        c.is_control() && c != '\n'
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

/// [`plain`], in one line.
pub(super) fn line(text: &str) -> String {
    plain(text).replace('\n', " ")
}

/// A field of an answer as text; what is absent or null is `-`.
pub(super) fn field(value: &Value, name: &str) -> String {
    match &value[name] {
        Value::Null => "-".to_owned(),
        Value::String(text) => line(text),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => {
            let texts = items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), plain));
            texts.collect::<Vec<_>>().join(", ")
        }
        other => plain(&other.to_string()),
    }
}

/// The members of an array field; none if it is absent.
pub(super) fn items<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

/// The first 12 characters of an id.
pub(super) fn short(id: &str) -> String {
    id.chars().take(12).collect()
}

/// A version for people, as short as it can be given back: `node.incarnation.sequence`, the first two cut to 8 digits.
pub(super) fn short_version(version: &str) -> String {
    let parts: Vec<String> = version.split('.').map(|part| part.chars().take(8).collect()).collect();
    match (&parts[..], version.rsplit_once('.')) {
        ([node, number, _], Some((_, sequence))) => format!("{node}.{number}.{sequence}"),
        _ => version.to_owned(),
    }
}

/// A table without lines round it.
pub(super) fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(head.map(str::to_uppercase));
    for row in rows {
        table.add_row(row);
    }
    let lines = table.to_string();
    lines.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// Bytes for people.
pub(super) fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}

/// Milliseconds since the epoch as a date for people; the year ends at 9999, since the number may come from anywhere.
pub(super) fn moment(ms: u64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(ms.min(253_402_300_799_999)))
}

/// Milliseconds for people.
pub(super) fn duration(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{} s", ms / 1_000),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        7_200_000..172_800_000 => format!("{} h", ms / 3_600_000),
        _ => format!("{} d", ms / 86_400_000),
    }
}

/// A bar for `total` bytes (unknown: a spinner), on standard error when that is a terminal, else nowhere.
pub(super) fn progress(what: &'static str, total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (
            ProgressBar::new(total),
            "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}",
        ),
        None => (ProgressBar::no_length(), "{msg} {spinner} {binary_bytes} {binary_bytes_per_sec}"),
    };
    let style = ProgressStyle::with_template(template).expect("the two templates above are well-formed");
    bar.with_style(style).with_message(what)
}

/// A count of things that are done, of which nobody knows how many there are; shown as [`progress`] is.
pub(super) fn progress_count(what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {spinner} {human_pos}").expect("the template is well-formed");
    ProgressBar::no_length().with_style(style).with_message(what)
}
