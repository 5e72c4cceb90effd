//! What happens in a history, one kind of trouble a file: each act is drawn by its weight.

pub mod clocks;
mod drawing;
mod links;
mod members;
mod operating;
mod sites;
mod writing;

pub use members::pair_who_forgot;
pub use operating::OPERATOR;
pub use sites::{upgrade_all, wake};

use super::history::History;
use super::liars;

type Act = fn(&mut History);

/// The acts, and how often each is drawn compared with the others.
const ACTS: [(usize, Act); 28] = [
    (36, writing::write),
    (2, writing::found),
    (3, writing::change_membership),
    (12, writing::tick),
    (2, operating::remove),
    (1, operating::release),
    (2, operating::sync),
    (3, operating::adopt),
    (4, links::break_connection),
    (1, links::lose_one_end),
    (9, links::connect_some),
    (2, links::partition),
    (1, links::partition_one_way),
    (2, links::mend),
    (4, sites::crash),
    (7, sites::restart),
    (3, sites::copy_or_restore),
    (2, sites::clone_or_swap),
    (3, sites::copy_folder),
    (1, sites::wipe),
    (1, sites::lose),
    (2, clocks::jump),
    (1, clocks::stick),
    (2, members::revoke),
    (2, members::pair),
    (2, members::admit_again),
    (4, liars::act),
    (3, liars::thieve),
];

/// One act.
pub fn act(history: &mut History) {
    let all: usize = ACTS.iter().map(|(weight, _)| weight).sum();
    let mut left = history.dice.below(all);
    for (weight, act) in ACTS {
        match left.checked_sub(weight) {
            None => return act(history),
            Some(rest) => left = rest,
        }
    }
}
