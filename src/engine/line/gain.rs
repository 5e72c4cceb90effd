//! How many times the product of bandwidth and delay may be under way. Neither waits nor looks at a clock.
//!
//! # Why
//! Twice is enough where bytes come a round trip after they were asked for. Where packets are lost they come later: all that
//! follows a lost one waits until it was sent again, and sometimes again. Then a window that follows what arrives stays small,
//! and what arrives with it: over 1 Gbit/s with 50 ms and 1 % loss it brought two fifths of what the link bears. Nothing that is
//! measured here tells such a wait from a queue. But where it is one, more under way brings more, and behind a queue
//! it doesn't; so it is tried now and then, and so is less.

/// What is tried.
const FACTORS: [f64; 4] = [2.0, 3.0, 4.5, 6.75];

/// More has to bring an eighth more.
const WORTH: (u64, u64) = (9, 8);

/// Less may cost a twentieth.
const HARMLESS: (u64, u64) = (19, 20);

/// For how many periods nothing is tried after what was tried last was of no use; twice as many each time, up to the second.
const RESTS: (u32, u32) = (8, 64);

/// A factor, and what is being found out about it.
#[derive(Debug)]
pub struct Gain {
    step: usize,
    trial: Option<Trial>,
    /// Whether the next trial is one of more.
    upwards: bool,
    /// What came in the last period, in bytes a second.
    before: u64,
    /// Periods until the next trial.
    rest: u32,
    next_rest: u32,
}

/// Another factor is in use, for a period.
#[derive(Debug)]
struct Trial {
    from: usize,
    before: u64,
}

impl Default for Gain {
    fn default() -> Gain {
        Gain { step: 0, trial: None, upwards: true, before: 0, rest: 0, next_rest: RESTS.0 }
    }
}

impl Gain {
    /// The factor where nothing is lost.
    pub const LEAST: f64 = FACTORS[0];

    /// The factor.
    pub fn factor(&self) -> f64 {
        FACTORS[self.step]
    }

    /// A period is over in which so many bytes a second came; `is_full`: more would have been asked for than was allowed.
    pub fn period_ended(&mut self, rate: u64, is_full: bool) {
        let before = std::mem::replace(&mut self.before, rate);
        let trial = self.trial.take();
        if !is_full {
            // It says nothing of what the window would bring.
            self.step = trial.map_or(self.step, |trial| trial.from);
            return;
        }
        match trial {
            Some(trial) if self.was_worth_it(&trial, rate) => {
                (self.rest, self.next_rest) = (0, RESTS.0);
                if !self.begin(rate) {
                    self.turn();
                }
            }
            Some(trial) => {
                self.step = trial.from;
                self.turn();
            }
            None if self.rest > 0 => self.rest -= 1,
            // The window is still growing by itself.
            None if at_least(rate, before, WORTH) => {}
            None => {
                if !self.begin(rate) {
                    self.turn();
                }
            }
        }
    }

    fn was_worth_it(&self, trial: &Trial, rate: u64) -> bool {
        at_least(rate, trial.before, if self.step > trial.from { WORTH } else { HARMLESS })
    }

    /// Takes the next factor in the direction; false at the end.
    fn begin(&mut self, before: u64) -> bool {
        let next = if self.upwards { self.step + 1 } else { self.step.wrapping_sub(1) };
        if next >= FACTORS.len() {
            return false;
        }
        self.trial = Some(Trial { from: self.step, before });
        self.step = next;
        true
    }

    /// Rests, then tries the other direction, or what there is.
    fn turn(&mut self) {
        self.rest = self.next_rest;
        self.next_rest = (self.next_rest * 2).min(RESTS.1);
        self.upwards = self.step == 0 || (!self.upwards && self.step + 1 < FACTORS.len());
    }
}

/// Whether `rate` is at least `times` what was before.
fn at_least(rate: u64, before: u64, times: (u64, u64)) -> bool {
    u128::from(rate) * u128::from(times.1) >= u128::from(before) * u128::from(times.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The factors in use over so many periods on a path on which a factor brings this rate.
    fn run(gain: &mut Gain, periods: usize, rate: impl Fn(f64) -> f64) -> Vec<f64> {
        (0..periods)
            .map(|_| {
                gain.period_ended(rate(gain.factor()) as u64, true);
                gain.factor()
            })
            .collect()
    }

    #[test]
    fn a_factor_rises_while_more_brings_more_and_falls_when_it_does_no_longer() {
        let mut gain = Gain::default();
        assert_eq!(run(&mut gain, 10, |factor| 1e6 * factor)[3..], [6.75; 7]);
        let factors = run(&mut gain, 40, |_| 7e6);
        let above = factors[30..].iter().filter(|factor| **factor > 2.0).count();
        assert!(above <= 1, "less is as good");
        let enough = |factor: f64| 1e6 * factor.min(4.5);
        let factors = run(&mut gain, 400, enough);
        let at_it = factors[100..].iter().filter(|factor| **factor == 4.5).count();
        assert!(at_it > 270, "{at_it} of 300 at what suffices");
    }

    #[test]
    fn where_more_brings_nothing_it_is_tried_seldom() {
        let factors = run(&mut Gain::default(), 1000, |_| 1e6);
        let tried = factors.iter().filter(|factor| **factor > 2.0).count();
        assert!((10..30).contains(&tried), "{tried} of 1000 periods");
    }

    #[test]
    fn what_comes_while_nothing_is_held_back_says_nothing() {
        let mut gain = Gain::default();
        for rate in [5, 1, 9, 2, 100] {
            gain.period_ended(rate, false);
        }
        assert_eq!(gain.factor(), 2.0);
        assert_eq!(run(&mut gain, 1, |_| 1.0), [3.0]);
        gain.period_ended(1, false);
        assert_eq!(gain.factor(), 2.0, "what was being tried isn't kept");
    }

    #[test]
    fn a_window_that_grows_by_itself_is_left_to_grow() {
        let mut gain = Gain::default();
        for exponent in 0..20 {
            gain.period_ended(1 << exponent, true);
            assert_eq!(gain.factor(), 2.0);
        }
    }
}
