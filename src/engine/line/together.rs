//! What is under way from all peers together, or here and not yet written.
//!
//! # Why
//! Bytes that were asked for arrive whether or not the disk keeps up, and wait in memory until it does. A window counts
//! what is on the wire, so that it keeps that busy; it says nothing of what waits behind it. With three peers that sent
//! faster than a disk wrote, two hundred MiB did.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Notify, futures::Notified};

use super::window::{Urgency, WINDOW_BYTES_MAX, WINDOW_BYTES_MIN};

/// Shared by all lines.
#[derive(Debug, Default)]
pub(super) struct Together {
    bytes: AtomicU64,
    changed: Notify,
}

impl Together {
    /// Whether a line that holds so much may ask for more: all together hold as much as the largest window of one peer,
    /// and each its least window, so that no peer's bytes keep another's from beginning. What readers wait for has a
    /// quarter more, so that it doesn't stand behind what nobody waits for.
    pub(super) fn has_room(&self, line_bytes: u64, urgency: Urgency) -> bool {
        let most = match urgency {
            Urgency::Bulk => WINDOW_BYTES_MAX,
            Urgency::Urgent => WINDOW_BYTES_MAX + WINDOW_BYTES_MAX / 4,
        };
        line_bytes < WINDOW_BYTES_MIN || self.bytes.load(Ordering::Relaxed) < most
    }

    /// Some line asked for so much.
    pub(super) fn asked(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So much was written, or will never come.
    pub(super) fn freed(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.wake();
    }

    /// Some line may be able to ask now.
    pub(super) fn wake(&self) {
        self.changed.notify_waiters();
    }

    /// Ends when a line may have become able to ask after this is enabled.
    pub(super) fn next_change(&self) -> Notified<'_> {
        self.changed.notified()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn all_lines_together_hold_one_largest_window_and_each_its_least() {
        let together = Together::default();
        let mut lines = [0; 8];
        for _ in 0..1_000 {
            for line in lines.iter_mut().filter(|line| together.has_room(**line, Urgency::Bulk)) {
                together.asked(MIB);
                *line += MIB;
            }
        }
        let all: u64 = lines.iter().sum();
        assert!((WINDOW_BYTES_MAX..WINDOW_BYTES_MAX + 8 * WINDOW_BYTES_MIN).contains(&all), "{all}");
        // One more peer isn't kept from beginning.
        assert!(together.has_room(0, Urgency::Bulk) && !together.has_room(WINDOW_BYTES_MIN, Urgency::Bulk));
        assert!(together.has_room(WINDOW_BYTES_MIN, Urgency::Urgent), "a reader doesn't wait for bulk");
        lines.into_iter().for_each(|line| together.freed(line));
        assert!(together.has_room(WINDOW_BYTES_MAX - 1, Urgency::Bulk));
    }
}
