//! What an operator should look at: each with what it is and what to do.

use artimesh_core::clock::Timestamp;
use artimesh_core::model::{NodeId, Space};
use artimesh_core::replica::{Replica, View, ViewFault, holds};
use serde_json::{Map, Value, json};

/// The most lines of one kind.
const LINES_MAX: usize = 20;

/// One of them.
pub(super) fn line(code: &str, message: String, remedy: &str) -> Value {
    json!({ "code": code, "message": message, "remedy": remedy })
}

fn name(replica: &Replica, node: &NodeId) -> String {
    let member = replica.trust().and_then(|trust| trust.member(node));
    member.map_or_else(|| node.short(), |member| member.grant().name.to_string())
}

/// What a space is called here.
fn place(replica: &Replica, space: &Space) -> String {
    let shown = replica.repositories().values().find(|repository| repository.space == *space);
    shown.map_or_else(|| space.to_string(), |repository| format!("repository '{}'", repository.key))
}

/// Everything, the most urgent first.
pub(super) fn attention(replica: &Replica, view: &impl View, now: Timestamp) -> Result<Vec<Value>, ViewFault> {
    let mut lines = stopped(replica, now);
    lines.extend(forks(replica));
    lines.extend(invitations(replica));
    lines.extend(held(replica, view)?);
    lines.extend(far_ahead(replica, view)?);
    lines.extend(kept(replica));
    Ok(lines)
}

/// What of a repository, as the status has it, exists nowhere.
pub(super) fn lost(repository: &Map<String, Value>) -> Option<Value> {
    let lost = repository.get("lost")?;
    let blobs = lost["blobs"].as_u64().filter(|blobs| *blobs > 0)?;
    let key = repository.get("key").and_then(Value::as_str).unwrap_or_default();
    let first: Vec<&str> = lost["first"].as_array()?.iter().filter_map(|one| one["path"].as_str()).collect();
    let more = if blobs > first.len() as u64 { " and others" } else { "" };
    let message = format!(
        "{blobs} blobs of repository '{key}' are lost: no site has their bytes any more: '{}'{more}",
        first.join("', '")
    );
    Some(line("lost", message, "upload them again, or bring back a node that has them; or delete what is not needed"))
}

/// Why this node takes no writes.
fn stopped(replica: &Replica, now: Timestamp) -> Vec<Value> {
    let mut lines = Vec::new();
    let clock = replica.clock();
    if let Some(since) = clock.stopped_since {
        let (ahead_s, since_s) = (clock.ahead_ms / 1000, now.ms_since(since) / 1000);
        let message =
            format!("no writes are taken since {since_s} s: this clock is {ahead_s} s ahead of the other members'");
        lines.push(line("clock_ahead", message, "set this machine's clock right; writing goes on by itself then"));
    }
    let unheard: Vec<String> = replica.unheard().take(LINES_MAX).map(|space| place(replica, space)).collect();
    if !unheard.is_empty() {
        let message = format!(
            "no writes are taken in {}: the data folder was restored, copied or set back, or its index built anew, and no \
             other member was reached yet",
            unheard.join(", ")
        );
        lines.push(line(
            "asks_first",
            message,
            "see that a member is connected, or start with `artimesh serve --alone`",
        ));
    }
    lines
}

fn forks(replica: &Replica) -> Vec<Value> {
    let told = |(space, life, fork, has_ended): (&Space, &artimesh_core::model::Incarnation, &_, bool)| {
        let fork: &artimesh_core::replica::Fork = fork;
        let (node, place) = (name(replica, &life.node), place(replica, space));
        let message = format!("node '{node}' wrote two different entries {} in {place}", fork.sequence());
        if has_ended {
            let remedy = "nothing: it has begun a new life, and everybody keeps the same one of the two";
            return line("fork_repaired", message, remedy);
        }
        let remedy = "restart that node, so that it begins a new life; if a copy of it runs elsewhere stop that, and if its \
                      key may be stolen revoke it";
        line("fork", message, remedy)
    };
    replica.forks().take(LINES_MAX).map(told).collect()
}

/// Whose deletes and overwrites wait.
fn held(replica: &Replica, view: &impl View) -> Result<Vec<Value>, ViewFault> {
    let mut lines = Vec::new();
    for repository in replica.repositories().values() {
        for hold in holds(view, &repository.space)? {
            let (node, key) = (name(replica, &hold.author), &repository.key);
            let message = format!(
                "'{node}' would end or overwrite {} artifacts of repository '{key}' at once, {} may be: they stay as they are",
                hold.paths, hold.allowed
            );
            let remedy =
                format!("`artimesh federation release {key} --author {node}` if that is meant, else revoke the node");
            lines.push(line("held", message, &remedy));
        }
    }
    lines.truncate(LINES_MAX);
    Ok(lines)
}

fn invitations(replica: &Replica) -> Vec<Value> {
    let waiting = replica.waiting_invitations();
    let taken = waiting.iter().filter(|waiting| waiting.taken_by.is_some()).take(LINES_MAX);
    let told = taken.map(|waiting| {
        let message = format!("{} waits: its repository key '{}' is in use here", waiting.space, waiting.key);
        let remedy = format!(
            "join both with `artimesh federation adopt {}`: nothing of either is lost; or delete the repository that has the \
             key here, or have this node invited under another key",
            waiting.key
        );
        line("key_taken", message, &remedy)
    });
    told.collect()
}

fn far_ahead(replica: &Replica, view: &impl View) -> Result<Vec<Value>, ViewFault> {
    let alarms = replica.alarms(view)?;
    let mut lines: Vec<Value> = alarms
        .iter()
        .take(LINES_MAX)
        .map(|alarm| {
            let (node, place) = (name(replica, &alarm.dot.incarnation.node), place(replica, &alarm.space));
            let ahead_s = alarm.ahead_ms / 1000;
            let message =
                format!("'{}' in {place} was stamped {ahead_s} s ahead of this clock by '{node}'", alarm.path);
            line(
                "far_ahead",
                message,
                "set that node's clock right, and put the artifact again: that replaces the stamp",
            )
        })
        .collect();
    if alarms.len() > LINES_MAX {
        let message = format!("{} more versions are stamped far ahead", alarms.len() - LINES_MAX);
        lines.push(line("far_ahead", message, "as above"));
    }
    Ok(lines)
}

fn kept(replica: &Replica) -> Vec<Value> {
    let told = |(space, _): (&Space, _)| {
        let message =
            format!("{} has entries of a kind that this version does not know: they wait", place(replica, space));
        line("needs_upgrade", message, "upgrade this node")
    };
    replica.kept().take(LINES_MAX).map(told).collect()
}
