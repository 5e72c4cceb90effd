//! What operators do now and then: take a member out, let held deletes through, compare states, bring a repository of their
//! own into a federation.

use artimesh_core::model::{NodeId, Space};
use artimesh_core::replica::Command;

use super::writing::command;
use crate::history::{History, REPOSITORIES};
use crate::world::{create, repo};

const OPERATOR: &str = "operator";

/// Hands a site one command, and counts it if it is done.
fn ask(history: &mut History, site: usize, asked: Command, what: &'static str) {
    let before = history.world.replies.len();
    command(history, site, vec![asked]);
    if history.world.replies[before..].iter().any(|(_, _, reply)| reply.is_ok()) {
        history.did(what);
    }
}

/// Whoever founded a federation, or has the right, ends another's membership.
pub fn remove(history: &mut History) {
    let Some(site) = history.some_site().filter(|site| history.copied != Some(*site)) else { return };
    let other = 1 + history.dice.below(history.world.sites.len() - 1);
    let node = history.world.node(other);
    let key = REPOSITORIES[history.dice.below(REPOSITORIES.len())];
    // The repository of all keeps its members, mostly: what else would they disagree about?
    if other == site || key == REPOSITORIES[0] && !history.dice.once_in(4) {
        return;
    }
    command(history, site, vec![Command::Remove { key: repo(key), node, by: OPERATOR.into() }]);
}

/// Lets through whatever a site holds back.
pub fn release(history: &mut History) {
    let Some(site) = history.some_site() else { return };
    let releases = REPOSITORIES.map(|key| Command::Release { key: repo(key), author: None });
    command(history, site, releases.into());
}

/// Compares a repository with another member's, and takes over what differs.
pub fn sync(history: &mut History) {
    let Some(site) = history.some_site() else { return };
    let key = repo(REPOSITORIES[history.dice.below(4).saturating_sub(1)]);
    let member = history.dice.below(history.world.sites.len());
    let member = history.dice.once_in(2).then(|| history.world.node(member));
    let dry_run = history.dice.once_in(4);
    ask(history, site, Command::Sync { key, member, dry_run }, "full sync asked for");
}

/// A site that is invited to a federation has a repository of that key already: it is its own alone, and joins.
pub fn adopt(history: &mut History) {
    let Some(site) = history.some_site().filter(|site| history.copied != Some(*site)) else { return };
    let mind = history.world.sites[site].mind();
    let waiting: Vec<(String, Space)> =
        mind.waiting_invitations().into_iter().map(|waiting| (waiting.key.to_string(), waiting.space)).collect();
    if let Some((key, into)) = history.dice.pick(&waiting).cloned() {
        let most = 1 + history.dice.below(3);
        let adopt = Command::Adopt { key: repo(&key), into, most, by: OPERATOR.into() };
        return ask(history, site, adopt, "repository brought into a federation");
    }
    // Its own, and nobody is asked in: whoever founds it next for all finds the key taken here.
    let mut founding = create(REPOSITORIES[1 + history.dice.below(2)], Vec::<NodeId>::new());
    if let Command::CreateRepository { secret, .. } = &mut founding {
        *secret = history.dice.bytes32();
    }
    command(history, site, vec![founding]);
}
