//! How the links of one history behave: delays, losses, and what runs ahead of what.

use super::dice::Dice;

/// Which of the two ways is the quicker.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Bias {
    #[default]
    None,
    /// Streams: a site hears of heads long before gossip brings the segments.
    HeadsFirst,
    /// Gossip: what was written arrives before the trust that it needs.
    EntriesFirst,
}

/// Fair weather, by default: nothing takes any time.
#[derive(Clone, Debug, Default)]
pub struct Weather {
    pub bias: Bias,
    /// One link that takes very long, lesser end first.
    pub slow: Option<(usize, usize)>,
    /// A site that has its rounds at every step.
    pub chatty: Option<usize>,
    /// How many frames a connection carries on average until it breaks; never, when `None`.
    pub breaks_after: Option<usize>,
    /// The longest delay of an ordinary link, in milliseconds.
    longest_ms: usize,
    /// Drawn from while frames are sent.
    dice: Dice,
}

impl Weather {
    pub fn drawn(dice: &mut Dice, sites: usize) -> Weather {
        let bias = [Bias::None, Bias::None, Bias::HeadsFirst, Bias::EntriesFirst];
        let (a, b) = (dice.below(sites), dice.below(sites));
        Weather {
            bias: *dice.pick(&bias).expect("four of them"),
            slow: (a != b && dice.once_in(3)).then_some((a.min(b), a.max(b))),
            chatty: dice.once_in(8).then(|| dice.below(sites)),
            breaks_after: dice.once_in(4).then(|| 10 + dice.below(40)),
            longest_ms: [0, 50, 500, 4_000][dice.below(4)],
            dice: Dice::new(dice.bits()),
        }
    }

    fn delay_ms(&mut self, from: usize, to: usize) -> u64 {
        let is_slow = self.slow == Some((from.min(to), from.max(to)));
        let slow = if is_slow { 5_000 + self.dice.below(25_000) as u64 } else { 0 };
        slow + self.dice.below(self.longest_ms + 1) as u64
    }

    pub fn stream_delay_ms(&mut self, from: usize, to: usize) -> u64 {
        self.delay_ms(from, to) + if self.bias == Bias::EntriesFirst { 6_000 } else { 0 }
    }

    /// Gossip goes by ways of its own, so it isn't in order.
    pub fn gossip_delay_ms(&mut self, from: usize, to: usize) -> u64 {
        self.delay_ms(from, to) + if self.bias == Bias::HeadsFirst { 20_000 } else { 0 }
    }
}
