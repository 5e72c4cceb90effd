//! What users and the clock ask of a site.

use artimesh_core::model::NodeId;
use artimesh_core::replica::{Command, Input};

use super::drawing;
use crate::history::{History, REPOSITORIES};
use crate::world::{Mutation, create, repo};

/// Hands commands to a site, which may lose its power over them.
pub fn command(history: &mut History, site: usize, commands: Vec<Command>) {
    let first = history.world.tickets + 1;
    history.world.tickets += commands.len() as u64;
    let commands = (first..).zip(commands).collect();
    // A mind that replies before it is durable is only found out by a crash in between, as is a disk that lies.
    let often = match history.world.mutation {
        Mutation::ReplyBeforePersist | Mutation::LyingDisk => 4,
        _ => 40,
    };
    let at = history.dice.once_in(often).then(|| history.dice.below(4));
    history.handle(site, Input::Local(commands), at);
}

pub fn write(history: &mut History) {
    let Some(site) = history.some_site() else { return };
    let mut commands = Vec::new();
    for _ in 0..1 + history.dice.below(3) {
        history.writes += 1;
        let key = REPOSITORIES[history.dice.below(4).saturating_sub(1)];
        let what = if history.dice.once_in(8) { "same".to_owned() } else { format!("{}", history.writes) };
        commands.push(drawing::command(history, site, key, &what));
    }
    command(history, site, commands);
}

pub fn found(history: &mut History) {
    let Some(site) = history.some_site().filter(|site| history.copied != Some(*site)) else { return };
    let key = REPOSITORIES[1 + history.dice.below(2)];
    let others: Vec<NodeId> = (0..history.world.sites.len())
        .filter(|other| *other != site && !history.edges.contains(other))
        .map(|other| history.world.node(other))
        .collect();
    let invite = others.into_iter().filter(|_| !history.dice.once_in(3)).collect();
    let mut founding = create(key, invite);
    if let Command::CreateRepository { secret, .. } = &mut founding {
        *secret = history.dice.bytes32();
    }
    command(history, site, vec![founding]);
}

pub fn change_membership(history: &mut History) {
    let Some(site) = history.some_site().filter(|site| history.copied != Some(*site)) else { return };
    let key = REPOSITORIES[history.dice.below(REPOSITORIES.len())];
    if history.dice.once_in(3) && site != 0 {
        command(history, site, vec![Command::DeleteRepository(repo(key))]);
        return;
    }
    let other = history.dice.below(history.world.sites.len());
    let node = history.world.node(other);
    command(history, site, vec![Command::Invite(repo(key), node)]);
}

pub fn tick(history: &mut History) {
    let Some(site) = history.some_site() else { return };
    let (dice, round, at) = (history.dice.bits(), !history.dice.once_in(3), history.crash_point());
    history.handle(site, Input::Tick { dice, round }, at);
}
