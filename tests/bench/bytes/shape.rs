//! Cables that carry only so much, either way.

use std::fs;
use std::process::Command;

use super::harness::{Hub, Place};

/// Limits the cable of each of the hub's first `count` places to `mbit` Mbit/s each way, with a queue of 50 ms; `false`
/// without tc.
pub fn limit(hub: &Hub, count: usize, mbit: u64) -> bool {
    (0..count).all(|index| {
        let sends = queue(hub.place(index).command("tc"), "cable", mbit);
        sends && queue(hub.command("tc"), &hub.port(index), mbit)
    })
}

fn queue(mut tc: Command, device: &str, mbit: u64) -> bool {
    let rate = format!("{mbit}mbit");
    let words = ["qdisc", "replace", "dev", device, "root", "tbf", "rate", &rate, "burst", "128kb", "latency", "50ms"];
    tc.args(words).status().is_ok_and(|status| status.success())
}

/// Bytes that a place has sent over its cable so far.
pub fn sent_bytes(place: &Place) -> u64 {
    let table = place.within(|| fs::read_to_string("/proc/thread-self/net/dev")).expect("a table");
    let line = table.lines().find_map(|line| line.trim().strip_prefix("cable:")).expect("a cable");
    // Eight columns of what was received come first.
    line.split_whitespace().nth(8).and_then(|text| text.parse().ok()).expect("a number")
}
