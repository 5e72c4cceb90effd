//! The kernel's limits and settings against what replication wants.

use rustix::process::{Resource, getrlimit};

use super::check::Check;

/// The sysctl file that we ship.
const WANTED: &str = include_str!("../../../config/90-artimesh.conf");
/// Descriptors besides HTTP connections: packs, the index, peers.
const OWN_FILES: u64 = 1024;

pub(super) fn open_files(max_connections: Option<usize>) -> Check {
    // `None` is the kernel's "no limit".
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    judge_files(limit, max_connections.unwrap_or(1024) as u64)
}

pub(super) fn judge_files(limit: u64, connections: u64) -> Check {
    let name = "open files";
    // A connection and the pack that it reads.
    let wanted = connections.saturating_mul(2).saturating_add(OWN_FILES);
    let detail = format!("at most {limit}, {wanted} wanted for {connections} HTTP connections");
    let remedy = "raise it: LimitNOFILE=65536 in the systemd unit, or `ulimit -n 65536`";
    if limit < 256 {
        Check::fail(name, detail, remedy)
    } else if limit < wanted {
        Check::warn(name, detail, remedy)
    } else {
        Check::ok(name, detail)
    }
}

/// One check for each line of the sysctl file.
pub(super) fn settings() -> Vec<Check> {
    wanted().map(|(name, wanted)| compare(name, wanted, read(name).as_deref())).collect()
}

pub(super) fn wanted() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = WANTED.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('=')).map(|(name, value)| (name.trim(), value.trim()))
}

fn read(name: &str) -> Option<String> {
    std::fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).ok()
}

pub(super) fn compare(name: &str, wanted: &str, actual: Option<&str>) -> Check {
    let Some(actual) = actual else {
        return Check::warn(name, "can't be read here", "look at it outside of this container");
    };
    let (wanted_words, actual_words): (Vec<_>, Vec<_>) =
        (wanted.split_whitespace().collect(), actual.split_whitespace().collect());
    let suffices = |(wanted, actual): (&&str, &&str)| match (wanted.parse::<u64>(), actual.parse::<u64>()) {
        (Ok(wanted), Ok(actual)) => actual >= wanted,
        _ => wanted == actual,
    };
    let is_fine = match (wanted_words.last(), actual_words.last()) {
        // Of minimum, default and maximum only the maximum bounds a transfer: the kernel tunes below it.
        (Some(wanted), Some(actual)) => wanted_words.len() == actual_words.len() && suffices((wanted, actual)),
        _ => false,
    };
    let detail = actual_words.join(" ");
    if is_fine {
        return Check::ok(name, detail);
    }
    let remedy =
        "install config/90-artimesh.conf in /etc/sysctl.d and run `sysctl --system`; matters on long or lossy links";
    Check::warn(name, format!("{detail}, wanted {wanted}"), remedy)
}
