//! What operators do now and then: take a member out, let held deletes through, compare states, bring a repository of their
//! own into a federation.

use artimesh_core::model::NodeId;
use artimesh_core::replica::Command;

use super::writing::command;
use crate::history::{History, REPOSITORIES};
use crate::world::{create, repo};

pub const OPERATOR: &str = "operator";

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

/// A site that is invited to a federation, and has a repository of its own under that key, brings it along.
pub fn adopt(history: &mut History) {
    let may = |site: &usize| history.world.sites[*site].is_up() && history.copied != Some(*site);
    let sites: Vec<usize> = (0..history.world.sites.len()).filter(may).collect();
    let mut waiting = Vec::new();
    for site in &sites {
        let all = history.world.sites[*site].mind().waiting_invitations().into_iter();
        waiting.extend(all.filter(|invitation| invitation.taken_by.is_some()).map(|invitation| (*site, invitation)));
    }
    if let Some((site, invitation)) = history.dice.pick(&waiting).cloned() {
        let most = 1 + history.dice.below(3);
        let adopt = Command::Adopt { key: invitation.key, into: invitation.space, most, by: OPERATOR.into() };
        return ask(history, site, adopt, "repository brought into a federation");
    }
    // Two found it, each for itself, before they meet.
    let key = REPOSITORIES[1 + history.dice.below(2)];
    let (Some(one), Some(other)) = (history.dice.pick(&sites).copied(), history.dice.pick(&sites).copied()) else {
        return;
    };
    for (site, invited) in [(one, None), (other, (one != other).then_some(one))] {
        let invite: Vec<NodeId> = invited.into_iter().map(|site| history.world.node(site)).collect();
        let mut founding = create(key, invite);
        if let Command::CreateRepository { secret, .. } = &mut founding {
            *secret = history.dice.bytes32();
        }
        if history.world.sites[site].is_up() {
            command(history, site, vec![founding]);
        }
    }
}
