//! Whether the wall clock can be right. A wrong one loses nothing, but it decides who wins between concurrent writes.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::check::Check;

/// Seconds since 1970 at the start of 2026, when this program didn't exist yet.
const BEGINNING_S: u64 = 1_767_225_600;
/// A clock that is a lifetime ahead is not a plan.
const END_S: u64 = BEGINNING_S + 60 * 365 * 86_400;
/// What file systems and clock steps may differ by.
const TOLERANCE: Duration = Duration::from_secs(120);

const REMEDY: &str = "set the clock and keep it by NTP (chrony, systemd-timesyncd); `timedatectl` shows its state";

pub(super) fn checks(folder: &Path) -> Vec<Check> {
    let now = SystemTime::now();
    vec![wall(now), files(now, newest(folder))]
}

pub(super) fn wall(now: SystemTime) -> Check {
    let now_s = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if (BEGINNING_S..END_S).contains(&now_s) {
        return Check::ok("wall clock", httpdate::fmt_http_date(now));
    }
    Check::fail("wall clock", format!("{now_s} s since 1970 can't be now"), REMEDY)
}

pub(super) fn files(now: SystemTime, newest: Option<SystemTime>) -> Check {
    let name = "wall clock against files";
    match newest.map(|newest| newest.duration_since(now).unwrap_or_default()) {
        None => Check::warn(name, "no file's time could be read", "check the permissions of the data folder"),
        Some(ahead) if ahead > TOLERANCE => {
            let detail =
                format!("a file in the data folder was written {} s from now: the clock went back", ahead.as_secs());
            Check::fail(name, detail, REMEDY)
        }
        Some(_) => Check::ok(name, "no file is from the future"),
    }
}

fn newest(folder: &Path) -> Option<SystemTime> {
    let entries = std::fs::read_dir(folder).ok()?;
    entries.filter_map(|entry| entry.ok()?.metadata().ok()?.modified().ok()).max()
}
