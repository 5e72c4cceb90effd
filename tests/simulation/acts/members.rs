//! Who belongs to the circle: joining, revocation, return.

use artimesh_core::replica::Command;
use artimesh_core::trust::{Capabilities, Role};

use super::writing::command;
use crate::history::History;
use crate::world::{follower, writer};

pub fn revoke(history: &mut History) {
    let Some(site) = history.some_site() else { return };
    let target = 1 + history.dice.below(history.world.sites.len() - 1);
    let node = history.world.node(target);
    // Two members at least must stay to agree with each other.
    let trust = history.world.sites[0].mind_or_none().and_then(|mind| mind.trust());
    let left = trust.map_or(0, |trust| trust.members().filter(|(node, _)| trust.good(node).is_some()).count());
    let by = if history.dice.once_in(2) { history.dice.below(2) } else { site };
    if left > 3 && history.world.sites[by].is_up() {
        command(history, by, vec![Command::Revoke(node, "simulated".into())]);
    }
}

/// The newcomer of this history presents its token; or, when it is in, somebody who forgot the circle does.
pub fn pair(history: &mut History) {
    if !history.world.sites[0].is_up() {
        return;
    }
    let Some((newcomer, request)) = history.late.clone() else { return pair_who_forgot(history) };
    if history.world.sites[newcomer].mind_or_none().is_some_and(|mind| mind.circle().is_some()) {
        history.late = None;
        return;
    }
    if !history.world.sites[newcomer].is_up() {
        return;
    }
    let request = match request {
        Some(request) => request,
        None => {
            history.world.agree_on_time(0, newcomer);
            let rights = if history.dice.once_in(2) { writer() } else { Capabilities::all() };
            let line = history.world.token(0, Role::Full, rights);
            let request = history.world.request(0, newcomer, &line).expect("a fresh token");
            history.late = Some((newcomer, Some(request.clone())));
            request
        }
    };
    let token = request.token.clone();
    let before = history.world.replies.len();
    command(history, 0, vec![Command::Admit(request)]);
    let admitted = history.world.replies[before..].iter().any(|(_, _, reply)| reply.is_ok());
    // The answer may be lost; the newcomer asks again with the same token.
    if admitted && !history.dice.once_in(3) {
        command(history, newcomer, vec![Command::Join(token)]);
        history.world.connect(0, newcomer);
        history.did("joined in the middle");
    } else if admitted {
        history.did("pairing answer lost");
    } else {
        // Expired meanwhile, perhaps: the next attempt has a new token.
        history.late = Some((newcomer, None));
    }
}

/// Members that never heard the answer to their pairing, or lost it with their rows, ask again.
pub fn pair_who_forgot(history: &mut History) {
    for site in 1..history.world.sites.len() {
        let node = history.world.node(site);
        let Some(trust) = history.world.sites[0].mind_or_none().and_then(|mind| mind.trust()) else { return };
        let forgot = history.world.sites[site].mind_or_none().is_some_and(|mind| mind.circle().is_none());
        if trust.good(&node).is_some() && forgot {
            history.world.agree_on_time(0, site);
            let is_edge = history.edges.contains(&site);
            let (role, rights) = if is_edge { (Role::Edge, follower()) } else { (Role::Full, writer()) };
            let line = history.world.token(0, role, rights);
            if history.world.present(0, site, &line).is_err() {
                // It may have another grant; but a liar's claim about the founder's own log stops that for a while.
                continue;
            }
            history.world.connect(0, site);
            history.did("paired again after it forgot");
        }
    }
}

pub fn admit_again(history: &mut History) {
    let Some(trust) = history.world.sites[0].mind_or_none().and_then(|mind| mind.trust()) else { return };
    let revoked: Vec<usize> = (1..history.world.sites.len())
        .filter(|site| trust.is_revoked(&history.world.node(*site)) && !history.edges.contains(site))
        .collect();
    let Some(site) = history.dice.pick(&revoked).copied() else { return };
    if !history.world.sites[site].is_up() {
        return;
    }
    history.world.agree_on_time(0, site);
    let line = history.world.token_for(0, Role::Full, writer(), Some(site));
    let request = history.world.request(0, site, &line).expect("a fresh token");
    command(history, 0, vec![Command::Admit(request)]);
    history.did("admitted again");
}
