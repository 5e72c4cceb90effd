//! When one more connection with a distant peer is worth it. Neither waits nor looks at a clock.

use std::time::Duration;

use super::window::DISTANT_MIN;

/// How long a number of connections is tried before the next decision.
const TRIAL: Duration = Duration::from_secs(3);

/// Another connection has to bring a tenth more, or no further one is made.
const GAIN: (u64, u64) = (11, 10);

/// What is known of the connections with one peer.
#[derive(Debug, Default)]
pub struct Widening {
    busy_since: Option<Duration>,
    /// The rate before the last connection was added.
    before: Option<u64>,
    is_settled: bool,
}

impl Widening {
    /// Whether to add a connection, at `now` since any fixed moment. `is_busy`: more was to be asked for than the window
    /// takes; `rate`: what arrives, in bytes a second. A line that isn't busy is measured anew.
    pub fn wants_more(&mut self, now: Duration, is_busy: bool, round_trip: Duration, rate: u64) -> bool {
        if !is_busy || round_trip < DISTANT_MIN {
            *self = Widening::default();
            return false;
        }
        let since = *self.busy_since.get_or_insert(now);
        if self.is_settled || now.saturating_sub(since) < TRIAL {
            return false;
        }
        self.busy_since = Some(now);
        self.is_settled = self.before.is_some_and(|before| rate * GAIN.1 < before * GAIN.0);
        self.before = Some(rate);
        !self.is_settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: Duration = Duration::from_millis(50);

    /// How many connections there are after a minute, if so many bring this rate.
    fn run(round_trip: Duration, rate: impl Fn(u64) -> u64) -> u64 {
        let (mut widening, mut connections) = (Widening::default(), 1);
        for tick in 0..600 {
            let now = Duration::from_millis(tick * 100);
            if widening.wants_more(now, true, round_trip, rate(connections)) && connections < 4 {
                connections += 1;
            }
        }
        connections
    }

    #[test]
    fn connections_are_added_while_each_brings_more() {
        assert_eq!(run(FAR, |connections| connections * 55_000_000), 4);
        assert_eq!(run(FAR, |connections| 55_000_000 * connections.min(2)), 3, "the third brought nothing");
        assert_eq!(run(FAR, |_| 55_000_000), 2, "the second brought nothing");
    }

    #[test]
    fn near_peers_and_idle_lines_have_one() {
        assert_eq!(run(Duration::from_millis(1), |connections| connections), 1);
        let mut widening = Widening::default();
        for tick in 0..100 {
            let is_busy = tick % 20 != 0;
            assert!(!widening.wants_more(Duration::from_millis(tick * 100), is_busy, FAR, 1));
        }
    }
}
