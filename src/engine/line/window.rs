//! How much may be under way from one peer at once, and who comes first. Neither waits nor looks at a clock.
//!
//! # Why
//! What is asked for ahead must cover the product of bandwidth and delay, or the line runs empty between requests; and no
//! more than twice that, or what a reader asks for next queues behind it. So the window follows what was measured: twice
//! what arrives, at the best recent rate, within a round trip and a little that disks and tasks take, or more where that
//! brings more ([`Gain`]). From the least window on it grows as long as more then arrives. (BBR's model of a path, with requests
//! in place of packets.)

use std::time::Duration;

use super::gain::Gain;

/// The least window, and what a line begins with.
pub const WINDOW_BYTES_MIN: u64 = 2 << 20;

/// The largest window: 1 Gbit/s over a quarter of a second, twice.
pub const WINDOW_BYTES_MAX: u64 = 64 << 20;

/// What disks and tasks at both ends may take beside the round trip.
const SLACK: Duration = Duration::from_millis(10);

/// Over how long a rate is measured.
const SAMPLE: Duration = Duration::from_millis(100);

/// How many rates are remembered; the best of them counts.
const SAMPLES: usize = 10;

/// With a peer that is nearer neither what was lost nor one connection is the limit: the processors are.
pub const DISTANT_MIN: Duration = Duration::from_millis(4);

/// Over how many of them it is found out whether another gain is worth it.
const PERIOD_SAMPLES: u32 = 5;

/// While readers wait, bulk may ask for a quarter of what they do.
const BULK_BESIDE_URGENT: u64 = 4;

/// Who waits for what is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Urgency {
    /// Nobody now.
    Bulk,
    /// A reader.
    Urgent,
}

/// What is under way, and how fast it comes.
#[derive(Debug, Default)]
pub struct Window {
    bulk_bytes: u64,
    urgent_bytes: u64,
    /// What bulk may still ask for while readers wait.
    allowance_bytes: u64,
    rates: [u64; SAMPLES],
    sampled: usize,
    sample_began: Option<Duration>,
    sample_bytes: u64,
    gain: Gain,
    period: Period,
}

/// What came since another gain was last thought of.
#[derive(Debug, Default)]
struct Period {
    samples: u32,
    bytes: u64,
    took: Duration,
    is_full: bool,
}

impl Window {
    /// How much may be under way, given the round trip.
    pub fn size_bytes(&self, round_trip: Duration) -> u64 {
        let delay = round_trip + SLACK;
        let gain = if round_trip < DISTANT_MIN { Gain::LEAST } else { self.gain.factor() };
        let wanted = gain * self.rate() as f64 * delay.as_secs_f64();
        (wanted as u64).clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX)
    }

    /// Bytes a second that arrived at best lately.
    pub fn rate(&self) -> u64 {
        self.rates.iter().copied().max().unwrap_or_default()
    }

    /// What is under way.
    pub fn outstanding_bytes(&self) -> u64 {
        self.bulk_bytes + self.urgent_bytes
    }

    /// Whether `bytes` more may be asked for: while the window isn't full, the last may reach over its end. So one request
    /// may always be under way, however large.
    pub fn may_ask(&self, bytes: u64, urgency: Urgency, round_trip: Duration) -> bool {
        let size = self.size_bytes(round_trip);
        match urgency {
            // Behind what bulk has under way already, but not behind what it would like to have.
            Urgency::Urgent => self.urgent_bytes < size,
            Urgency::Bulk => {
                let is_turn = self.urgent_bytes == 0 || self.allowance_bytes >= bytes;
                is_turn && self.outstanding_bytes() < size
            }
        }
    }

    /// More would have been asked for now.
    pub fn held_back(&mut self, round_trip: Duration) {
        self.period.is_full |= round_trip >= DISTANT_MIN;
    }

    /// It was asked for.
    pub fn asked(&mut self, bytes: u64, urgency: Urgency) {
        match urgency {
            Urgency::Urgent => {
                self.urgent_bytes += bytes;
                self.allowance_bytes = (self.allowance_bytes + bytes / BULK_BESIDE_URGENT).min(WINDOW_BYTES_MIN);
            }
            Urgency::Bulk => {
                self.bulk_bytes += bytes;
                if self.urgent_bytes > 0 {
                    self.allowance_bytes = self.allowance_bytes.saturating_sub(bytes);
                }
            }
        }
    }

    /// So much isn't under way any more: it came, or never will.
    pub fn settled(&mut self, bytes: u64, urgency: Urgency) {
        let left = match urgency {
            Urgency::Urgent => &mut self.urgent_bytes,
            Urgency::Bulk => &mut self.bulk_bytes,
        };
        *left = left.saturating_sub(bytes);
        if self.outstanding_bytes() == 0 {
            // What comes after a pause says nothing of how fast it came.
            self.sample_began = None;
            self.period = Period::default();
        }
    }

    /// Bytes arrived at `now`, since any fixed moment. Call it before [`Window::settled`].
    pub fn arrived(&mut self, bytes: u64, now: Duration) {
        let Some(began) = self.sample_began else {
            (self.sample_began, self.sample_bytes) = (Some(now), 0);
            return;
        };
        self.sample_bytes += bytes;
        let took = now.saturating_sub(began);
        if took >= SAMPLE {
            self.rates[self.sampled % SAMPLES] = (self.sample_bytes as f64 / took.as_secs_f64()) as u64;
            self.sampled += 1;
            self.note_sample(took);
            (self.sample_began, self.sample_bytes) = (Some(now), 0);
        }
    }

    fn note_sample(&mut self, took: Duration) {
        let period = &mut self.period;
        period.samples += 1;
        period.bytes += self.sample_bytes;
        period.took += took;
        if period.samples == PERIOD_SAMPLES {
            let rate = period.bytes as f64 / period.took.as_secs_f64();
            self.gain.period_ended(rate as u64, period.is_full);
            self.period = Period::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    const MIB: u64 = 1 << 20;
    const MS: Duration = Duration::from_millis(1);

    /// A path of this bandwidth (bytes a second) and round trip, asked for pieces for so long; bytes a second in the last
    /// half, and the window at the end.
    fn run(bandwidth: u64, round_trip: Duration, seconds: u64) -> (u64, u64) {
        run_with(&mut Window::default(), bandwidth, round_trip, Duration::ZERO, seconds)
    }

    /// The same, and all that comes waits for so long for what was lost before it.
    fn run_with(
        window: &mut Window,
        bandwidth: u64,
        round_trip: Duration,
        repair: Duration,
        seconds: u64,
    ) -> (u64, u64) {
        let mut under_way: VecDeque<Duration> = VecDeque::new();
        let (mut now, mut free_at, mut late_bytes) = (Duration::ZERO, Duration::ZERO, 0);
        while now < Duration::from_secs(seconds) {
            while window.may_ask(MIB, Urgency::Bulk, round_trip) {
                window.asked(MIB, Urgency::Bulk);
                free_at = free_at.max(now + round_trip) + Duration::from_secs_f64(MIB as f64 / bandwidth as f64);
                under_way.push_back(free_at + repair);
            }
            window.held_back(round_trip);
            now = under_way.pop_front().expect("at least one is always under way");
            window.arrived(MIB, now);
            window.settled(MIB, Urgency::Bulk);
            if now > Duration::from_secs(seconds) / 2 {
                late_bytes += MIB;
            }
        }
        window.settled(window.outstanding_bytes(), Urgency::Bulk);
        (late_bytes * 2 / seconds, window.size_bytes(round_trip))
    }

    #[test]
    fn a_window_grows_until_it_covers_bandwidth_times_delay() {
        for (bandwidth, round_trip) in [(125_000_000, 50 * MS), (1_250_000_000, 20 * MS), (12_500_000, 200 * MS)] {
            let (rate, size) = run(bandwidth, round_trip, 10);
            assert!(rate > bandwidth * 95 / 100, "{rate} of {bandwidth} over {round_trip:?} with {size}");
            let product = bandwidth as f64 * round_trip.as_secs_f64();
            assert!((size as f64) < (3.5 * product).max(4.0 * MIB as f64), "{size} for {product}");
        }
    }

    #[test]
    fn where_bytes_wait_for_what_was_lost_more_is_under_way() {
        let (bandwidth, mut window) = (125_000_000, Window::default());
        let (rate, size) = run_with(&mut window, bandwidth, 50 * MS, 100 * MS, 20);
        assert!(rate > bandwidth * 9 / 10, "{rate} of {bandwidth} with {size}");
        // And no longer once nothing is lost.
        let (rate, size) = run_with(&mut window, bandwidth, 50 * MS, Duration::ZERO, 20);
        assert!(rate > bandwidth * 95 / 100, "{rate} of {bandwidth} with {size}");
        assert!((size as f64) < 3.5 * bandwidth as f64 * 0.05, "{size}");
    }

    #[test]
    fn a_slow_line_keeps_the_least_window_so_that_readers_wait_for_little() {
        assert_eq!(run(1_000_000, MS, 30).1, WINDOW_BYTES_MIN);
    }

    #[test]
    fn the_largest_window_is_never_exceeded() {
        assert_eq!(run(10_000_000_000, 100 * MS, 5).1, WINDOW_BYTES_MAX);
    }

    #[test]
    fn while_a_reader_waits_bulk_asks_for_a_quarter_of_what_it_does() {
        let mut window = Window::default();
        while window.may_ask(MIB, Urgency::Bulk, MS) {
            window.asked(MIB, Urgency::Bulk);
        }
        assert!(window.may_ask(MIB, Urgency::Urgent, MS), "a reader doesn't wait for bulk's window");
        window.asked(MIB, Urgency::Urgent);
        window.settled(2 * MIB, Urgency::Bulk);
        assert!(!window.may_ask(MIB, Urgency::Bulk, MS));
        for _ in 0..3 {
            window.settled(MIB, Urgency::Urgent);
            window.asked(MIB, Urgency::Urgent);
        }
        assert!(window.may_ask(MIB, Urgency::Bulk, MS), "its quarter has come together");
        window.asked(MIB, Urgency::Bulk);
        window.settled(MIB, Urgency::Bulk);
        assert!(!window.may_ask(MIB, Urgency::Bulk, MS));
        window.settled(MIB, Urgency::Urgent);
        assert!(window.may_ask(MIB, Urgency::Bulk, MS), "no reader waits any more");
    }

    #[test]
    fn a_request_larger_than_the_window_goes_alone() {
        let mut window = Window::default();
        assert!(window.may_ask(100 * MIB, Urgency::Bulk, MS));
        window.asked(100 * MIB, Urgency::Bulk);
        assert!(!window.may_ask(1, Urgency::Bulk, MS));
    }
}
