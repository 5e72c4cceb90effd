//! Wall clocks that are wrong: some minutes, some hours, a year; running on, or standing still.

use crate::dice::Dice;
use crate::history::History;

const HOUR_MS: i64 = 3_600_000;

/// How wrong a clock is, in milliseconds: mostly up to ten minutes.
pub fn skew_ms(dice: &mut Dice) -> i64 {
    let minutes = dice.below(1_200_001) as i64 - 600_000;
    match dice.below(40) {
        0 => 3 * HOUR_MS + minutes,
        1 => -3 * HOUR_MS + minutes,
        2 => -365 * 24 * HOUR_MS,
        _ => minutes,
    }
}

pub fn jump(history: &mut History) {
    let site = history.dice.below(history.world.sites.len());
    let skew_ms = skew_ms(&mut history.dice);
    history.world.sites[site].set_clock(skew_ms);
    history.did("clock jump");
}

/// The clock shows the same time from now on, until it jumps.
pub fn stick(history: &mut History) {
    let site = history.dice.below(history.world.sites.len());
    let shows = history.world.sites[site].wall(history.world.now);
    history.world.sites[site].stuck_at = Some(shows);
    history.did("clock stuck");
}
