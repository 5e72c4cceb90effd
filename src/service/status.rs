//! The status of this node, of its peers and of its repositories: the truth, for operators.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use artimesh_core::catalog::{Federation, Versions};
use artimesh_core::clock::Timestamp;
use artimesh_core::model::{Digest, Heads, NodeId, PublicKey, Space};
use artimesh_core::replica::{
    Placement, Replica, Repository, Table, View, ViewFault, Want, conflicts, holds, rows, state_digest,
};
use artimesh_core::trust::Standing;
use serde_json::{Value, json};

use super::attention::{attention, lost as lost_line};
use super::cache;
use super::caller::Caller;
use super::claims;
use super::clock;
use super::error::ServiceError;
use super::handle::Service;
use super::lag;
use super::lost::{losses, of_losses};
use super::pairing::state_of;
use super::upkeep;
use crate::engine::{Engine, StoreView};
use crate::store::Latencies;

/// How often a walk is tried again because the repository changed meanwhile.
const WALKS_MAX: usize = 3;

/// Conflicts are counted up to here.
const CONFLICTS_MAX: usize = 200;

/// What a walk over a repository's catalog finds.
#[derive(Clone, Debug)]
struct Census {
    digest: Digest,
    artifacts: u64,
    /// Those that were made as such: nothing stands for the others.
    folders: u64,
    conflicts: u64,
}

/// What the last walk over each repository found, and at which heads: the state is a function of the heads.
#[derive(Debug, Default)]
pub(super) struct Censuses(Mutex<BTreeMap<Space, (Heads, Census)>>);

impl Censuses {
    fn known(&self, space: &Space, heads: &Heads) -> Option<Census> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(space).filter(|(at, _)| at == heads).map(|(_, census)| census.clone())
    }

    fn remember(&self, space: Space, heads: Heads, census: Census) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(space, (heads, census));
    }
}

impl Service {
    /// The status as JSON, in the shape that the command line and the console read.
    pub async fn status(&self, caller: &Caller) -> Result<Value, ServiceError> {
        self.administer(caller)?;
        let now = self.engine().clock().now();
        let engine = self.engine().clone();
        let mut status = self
            .engine()
            .inspect(move |replica, view| {
                let mut status = of_replica(replica, &engine, now);
                status["attention"] = json!(attention(replica, view, now)?);
                Ok(status)
            })
            .await?
            .map_err(|ViewFault(reason)| ServiceError::Unavailable(reason))?;
        let mut lost = Vec::new();
        let shown: Vec<Repository> = self.snapshot().repositories.values().cloned().collect();
        for repository in shown {
            let counted = self.counted(repository.space).await?;
            let oldest = self.oldest_lacking(repository.space).await?;
            let rows = status["repositories"].as_array_mut();
            let row = rows.and_then(|rows| rows.iter_mut().find(|row| row["key"] == repository.key.as_str()));
            if let (Some(Value::Object(row)), Value::Object(counted)) = (row, counted) {
                row.extend(counted);
                lost.extend(lost_line(row));
                for member in row.get_mut("members").and_then(Value::as_array_mut).into_iter().flatten() {
                    let written = member["node"].as_str().and_then(|node| oldest.get(node));
                    member["behind_ms"] = json!(written.map(|written| now.ms_since(*written)));
                }
            }
        }
        lost.extend(claims::attention(self.engine()));
        if let Some(attention) = status["attention"].as_array_mut() {
            lost.append(attention);
            *attention = lost;
        }
        let listening = self.engine().swarm().addresses();
        status["node"]["uptime_ms"] = json!(now.ms_since(self.started()));
        status["node"]["folder"] = json!(self.folder());
        status["http"] = json!({ "address": self.http_address() });
        status["swarm"] = json!({ "control": listening.control, "bulk": listening.bulk });
        let usage = self.engine().store().usage();
        let engine = self.engine().clone();
        let cache = tokio::task::spawn_blocking(move || engine.cache_status()).await;
        status["cache"] = cache.ok().as_ref().map_or(Value::Null, cache::of_cache);
        status["store"] = json!({
            "folder": self.engine().store().folder(),
            "pack_bytes": usage.pack_bytes,
            "large_bytes": usage.large_bytes,
            "index_bytes": usage.index_bytes,
            "overlay_bytes": usage.overlay_bytes,
            "blobs": usage.blobs,
            "last_commit": usage.last_commit,
            "failed": usage.failed,
            "scrub": upkeep::of_scrubbed(&self.engine().scrubbed()),
            "gc": self.engine().collected().map(|done| upkeep::of_collected(&done)),
        });
        status["claims"] = claims::of_claims(self.engine());
        status["syncs"] = self.syncs();
        let (recorded, lost) = self.audit().counts();
        status["audit"] = json!({ "recorded": recorded, "lost": lost });
        if let (1.., Some(lines)) = (lost, status["attention"].as_array_mut()) {
            lines.push(audit_lost(lost));
        }
        Ok(status)
    }

    /// How long syncs took since the start: classes are upper bounds in microseconds, with what took longer than the last.
    fn syncs(&self) -> Value {
        let of = |latencies: Latencies| {
            let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
            let classes: Vec<Value> =
                latencies.classes.iter().map(|(bound, count)| json!([bound.map(us), count])).collect();
            json!({
                "count": latencies.count,
                "mean_us": us(latencies.sum).checked_div(latencies.count),
                "half_within_us": latencies.percentile(50).map(us),
                "most_within_us": latencies.percentile(99).map(us),
                "classes": classes,
            })
        };
        self.engine().store().syncs().into_iter().map(|(name, latencies)| (name, of(latencies))).collect()
    }

    /// Counts and digest of a repository with the heads that they belong to. Walks beside the mind, never inside it; when
    /// the repository changes all the while, the digest is null and the counts are near.
    async fn counted(&self, space: Space) -> Result<Value, ServiceError> {
        let mut walked = None;
        for _ in 0..WALKS_MAX {
            let (heads, names, federation) = self.engine().inspect(move |replica, _| at(replica, &space)).await?;
            let (census, settled) = match self.censuses().known(&space, &heads) {
                Some(census) => (census, true),
                None => {
                    let census = self.walk(move |view| census(view, &space, federation.as_ref())).await?;
                    let after = self.engine().inspect(move |replica, _| replica.heads(&space)).await?;
                    (census, after == heads)
                }
            };
            walked = Some((census.clone(), names, settled));
            if settled {
                self.censuses().remember(space, heads, census);
                break;
            }
        }
        let (missing_blobs, missing_bytes) = self.walk(move |view| missing(view, &space)).await?;
        let losses = self.walk(move |view| losses(view, &space)).await?;
        let conflicts = self.walk(move |view| conflicts(view, &space, None, CONFLICTS_MAX)).await?.len();
        let holds = self.walk(move |view| holds(view, &space)).await?.len();
        let (census, heads, settled) = walked.expect("walked at least once");
        Ok(json!({
            "state_digest": settled.then(|| census.digest.to_string()),
            "artifacts": census.artifacts,
            "folders": census.folders,
            "siblings": census.conflicts,
            "conflicts": conflicts,
            "conflicts_are_more": conflicts == CONFLICTS_MAX,
            "holds": holds,
            "heads": heads,
            "missing_blobs": missing_blobs,
            "missing_bytes": missing_bytes,
            "lost": of_losses(self.engine(), &losses),
        }))
    }

    /// When the oldest entry was written that a member lacks, by the member.
    async fn oldest_lacking(&self, space: Space) -> Result<BTreeMap<String, Timestamp>, ServiceError> {
        let lacking = self.engine().inspect(move |replica, _| lag::lacking(replica, &space)).await?;
        let oldest = self.walk(move |view| lag::oldest(view, &space, &lacking)).await?;
        Ok(oldest.into_iter().map(|(node, written)| (node.to_string(), written)).collect())
    }

    /// Reads rows beside the mind, in a thread that may block.
    pub(super) async fn walk<T: Send + 'static>(
        &self,
        walk: impl FnOnce(&StoreView) -> Result<T, ViewFault> + Send + 'static,
    ) -> Result<T, ServiceError> {
        let view = self.engine().view();
        let walked = tokio::task::spawn_blocking(move || walk(&view)).await;
        let walked = walked.map_err(|error| ServiceError::Unavailable(error.to_string()))?;
        walked.map_err(|fault| ServiceError::Unavailable(fault.to_string()))
    }
}

fn audit_lost(lost: u64) -> Value {
    let message =
        format!("{lost} lines of the audit log were lost since the start: the disk is full, fails or is too slow");
    json!({ "code": "audit_lost", "message": message, "remedy": "look at the node's log, and at the disk of the data folder" })
}

fn at(replica: &Replica, space: &Space) -> (Heads, BTreeMap<String, u64>, Option<Federation>) {
    (replica.heads(space), heads_of(replica, space), replica.federation(space).cloned())
}

fn of_replica(replica: &Replica, engine: &Engine, now: Timestamp) -> Value {
    let identity = replica.identity();
    let role = replica.trust().and_then(|trust| trust.member(&identity.node)).map(|member| member.role().name());
    let members = members(replica, engine);
    let repositories: Vec<Value> =
        replica.repositories().values().map(|repository| of_repository(replica, repository, &members, now)).collect();
    let trust = replica.trust();
    let used: Vec<String> = trust.iter().flat_map(|trust| trust.used_tokens()).map(ToString::to_string).collect();
    let revoked: Vec<String> = trust
        .iter()
        .flat_map(|trust| trust.members())
        .filter(|(_, member)| member.standing() == Standing::Revoked)
        .map(|(node, _)| node.to_string())
        .collect();
    json!({
        "node": {
            "id": identity.node.to_string(),
            "name": identity.name.as_str(),
            "version": env!("CARGO_PKG_VERSION"),
            "incarnation": format!("{:016x}", replica.incarnation().number),
            "role": role,
            "circle": replica.circle().map(|circle| circle.to_string()),
        },
        "clock": clock::of(replica),
        "members": members,
        "repositories": repositories,
        "trust": {
            "digest": replica.trust_digest().to_string(),
            "heads": heads_of(replica, &Space::Trust),
            "used_tokens": used,
            "revoked": revoked,
        },
        "parked_segments": replica.parked(),
    })
}

fn heads_of(replica: &Replica, space: &Space) -> BTreeMap<String, u64> {
    let name = |i: &artimesh_core::model::Incarnation| format!("{}.{:016x}", i.node, i.number);
    replica.heads(space).0.iter().map(|(incarnation, head)| (name(incarnation), head.sequence)).collect()
}

fn members(replica: &Replica, engine: &Engine) -> Vec<Value> {
    let members = replica.trust().into_iter().flat_map(|trust| trust.members());
    members
        .map(|(node, member)| {
            let peer = replica.peers().get(node);
            let state = state_of(replica, node, member.standing());
            let grant = member.grant();
            let hello = peer.and_then(|peer| peer.hello.as_ref());
            let addresses = hello.map_or(&grant.addresses, |hello| &hello.addresses);
            json!({
                "node": node.to_string(),
                "name": grant.name.as_str(),
                "role": grant.role.name(),
                "state": state,
                "version": hello.map(|hello| hello.version.clone()),
                "addresses": addresses.control,
                "traffic": traffic(engine, &grant.keys.transport),
                "last_error": last_error(engine, node, state, &grant.keys.transport),
            })
        })
        .collect()
}

/// How the way to a member fares, and what of artifacts went over it since the start.
fn traffic(engine: &Engine, key: &PublicKey) -> Value {
    let Some(vitals) = engine.swarm().vitals(key) else { return Value::Null };
    json!({
        "round_trip_us": vitals.round_trip().map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
        "received_bytes": vitals.bulk_bytes_in.get(),
        "sent_bytes": vitals.bulk_bytes_out.get(),
        "receiving_bytes_per_s": engine.receiving_rate(key),
        "bulk_connections": vitals.bulk_connections(),
    })
}

fn last_error(engine: &Engine, node: &NodeId, state: &str, key: &PublicKey) -> Option<Value> {
    if let Some(message) = engine.foreign_protocol(node) {
        let remedy = "nothing is exchanged with it until both run the same release";
        return Some(json!({ "code": "protocol", "message": message, "remedy": remedy }));
    }
    if let Some(message) = engine.last_refusal(node) {
        let remedy = "what it sent was refused: see the log; if it is of another version, upgrade the older of the two";
        return Some(json!({ "code": "refused", "message": message, "remedy": remedy }));
    }
    if let Some(error) = engine.source_error(node) {
        let (code, remedy) = match error.is_wrong {
            true => (
                "wrong_bytes",
                "its bytes were not taken, others are asked: check its disk, and whether it can be trusted",
            ),
            false => ("transfer", "it is asked again by itself; if that goes on, look at its log and at the way to it"),
        };
        return Some(json!({ "code": code, "message": error.message, "remedy": remedy }));
    }
    let fault = engine.swarm().last_error(key).filter(|_| state == "unreachable")?;
    let remedy = "check that the node runs, and that one of the two sites can reach the other's swarm ports";
    Some(json!({ "code": "unreachable", "message": fault.to_string(), "remedy": remedy }))
}

/// `known` are the members of the circle, as the status has them.
fn of_repository(replica: &Replica, repository: &Repository, known: &[Value], now: Timestamp) -> Value {
    let space = repository.space;
    let federation = replica.federation(&space);
    let me = replica.identity().node;
    let members: Vec<Value> = federation
        .into_iter()
        .flat_map(|federation| &federation.members)
        .filter(|(node, membership)| **node != me && (membership.accepted().is_some() || membership.is_pending()))
        .map(|(node, membership)| {
            let lag = replica.lag(&space, node, now);
            let name = replica.trust().and_then(|trust| trust.member(node)).map(|m| m.grant().name.to_string());
            let key = federation.and_then(|federation| federation.repo_key_at(node));
            let in_circle = known.iter().find(|member| member["node"] == node.to_string());
            json!({
                "node": node.to_string(),
                "name": name,
                "repo_key": key.map(ToString::to_string),
                "invited": membership.is_pending(),
                "connected": replica.peers().get(node).is_some_and(|peer| peer.connected),
                "behind_entries": lag.entries,
                "told_ms_ago": lag.told_ms_ago,
                "lag_ms": lag.entries.filter(|behind| *behind > 0).and(lag.told_ms_ago),
                "role": in_circle.map(|member| &member["role"]),
                "state": in_circle.map(|member| &member["state"]),
                "last_error": in_circle.map(|member| &member["last_error"]),
            })
        })
        .collect();
    let placement = match repository.placement {
        Placement::Mirror => "mirror",
        Placement::OnDemand => "on-demand",
    };
    let federation_id = match space {
        Space::Federation(id) => id.to_string(),
        Space::Trust | Space::Accounts => String::new(),
    };
    json!({
        "key": repository.key.as_str(),
        "federation": federation_id,
        "placement": placement,
        "members": members,
    })
}

fn census(view: &impl View, space: &Space, federation: Option<&Federation>) -> Result<Census, ViewFault> {
    let digest = state_digest(view, space, federation)?;
    let (mut artifacts, mut folders, mut conflicts) = (0, 0, 0);
    each(view, Table::Catalog, &rows::catalog_prefix(space, ""), |key, value| {
        let path = rows::catalog_path(key).ok_or_else(|| ViewFault("a catalog row has a broken key".into()))?;
        *if path.is_folder() { &mut folders } else { &mut artifacts } += 1;
        let versions: Versions = rows::read(value).map_err(|error| ViewFault(error.to_string()))?;
        conflicts += u64::from(versions.is_conflict());
        Ok(())
    })?;
    Ok(Census { digest, artifacts, folders, conflicts })
}

fn missing(view: &impl View, space: &Space) -> Result<(u64, u64), ViewFault> {
    let (mut blobs, mut bytes) = (0, 0);
    each(view, Table::Meta, &[rows::WANTS, &space.key()].concat(), |_, value| {
        let want: Want = rows::read(value).map_err(|error| ViewFault(error.to_string()))?;
        if !view.has_blob(&want.digest)? {
            blobs += 1;
            bytes += want.size;
        }
        Ok(())
    })?;
    Ok((blobs, bytes))
}

/// Calls `take` with every row under a prefix, a thousand rows at a time.
fn each(
    view: &impl View,
    table: Table,
    prefix: &[u8],
    mut take: impl FnMut(&[u8], &[u8]) -> Result<(), ViewFault>,
) -> Result<(), ViewFault> {
    let (mut from, end) = (prefix.to_vec(), rows::end_of(prefix));
    loop {
        let page = view.range(table, &from, &end, 1000)?;
        for (key, value) in &page {
            take(key, value)?;
        }
        match page.last() {
            Some((last, _)) if page.len() == 1000 => from = [last.as_slice(), &[0]].concat(),
            _ => return Ok(()),
        }
    }
}
