//! What breaks between sites, and what comes through all the same.

use crate::history::History;

/// A connection ends, and both ends notice at once.
pub fn break_connection(history: &mut History) {
    let open = history.world.network.connections();
    if let Some((a, b)) = history.dice.pick(&open).copied() {
        let lost = history.world.disconnect(a, b);
        history.lost_frames("connection broken with frames under way", lost);
    }
}

/// A connection ends, and one of its ends goes on sending into the void.
pub fn lose_one_end(history: &mut History) {
    let open = history.world.network.connections();
    if let Some((a, b)) = history.dice.pick(&open).copied() {
        let (a, b) = if history.dice.once_in(2) { (a, b) } else { (b, a) };
        let lost = history.world.disconnect_unnoticed(a, b);
        history.lost_frames("frames lost with a connection of which one end knew", lost);
        history.did("connection lost, unnoticed at one end");
    }
}

pub fn connect_some(history: &mut History) {
    let count = history.world.sites.len();
    for _ in 0..4 {
        let (a, b) = (history.dice.below(count), history.dice.below(count));
        history.world.connect(a, b);
    }
}

/// Two sides that can't reach each other.
pub fn partition(history: &mut History) {
    let sides: Vec<bool> = history.world.sites.iter().map(|_| history.dice.once_in(2)).collect();
    let mut cut = false;
    for a in 0..sides.len() {
        for b in (a + 1..sides.len()).filter(|b| sides[a] != sides[*b]) {
            cut |= history.world.network.is_open(a, b);
            history.world.network.cut(a, b);
            history.world.disconnect(a, b);
        }
    }
    if cut {
        history.did("partition");
    }
}

/// One site's words reach nobody of some others, while it hears them. The connections stay, for nobody notices.
pub fn partition_one_way(history: &mut History) {
    let site = history.dice.below(history.world.sites.len());
    let mut mute = false;
    for other in 0..history.world.sites.len() {
        if other != site && history.dice.once_in(2) {
            mute |= history.world.network.is_open(site, other);
            history.world.network.mute(site, other);
        }
    }
    if mute {
        history.did("partition one way");
    }
}

pub fn mend(history: &mut History) {
    history.world.network.mend();
}
