//! The service itself: what it is made of, who may call, and whether it is well.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use artimesh_core::access::{self, Action, Denied, Principal, Right};
use artimesh_core::clock::Timestamp;
use artimesh_core::model::{ArtifactPath, Digest, NodeId, NodeName, RepoKey};
use artimesh_core::replica::{Command, CommandError, Receipt, Repository};
use artimesh_core::trust::Role;
use tokio::sync::{Mutex, Semaphore};

use super::audit::Audit;
use super::caller::{Caller, Credential};
use super::counts::DownloadCounts;
use super::error::ServiceError;
use super::metrics::{self, Metrics};
use super::shown::ShownLately;
use super::small::SmallBodies;
use super::status::Censuses;
use crate::engine::{CommandFailure, Engine, Life, Snapshot};
use crate::store::{Md5Turn, Staged};

/// Settings of the service.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether strangers may read artifacts.
    pub anonymous_read: bool,
    /// The first administrator's token, as in `DIR/admin.token`.
    pub admin_token: String,
    /// The node's folder.
    pub folder: PathBuf,
    /// The files of that folder which belong to a backup, the store apart.
    pub own_files: &'static [&'static str],
    /// When the MD5 of uploads is computed.
    pub md5: Md5Turn,
    /// Where is written who did what.
    pub audit: Audit,
}

/// Whether the node can do its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It can.
    Ready,
    /// It can't, and why.
    NotReady(String),
}

/// So many searches hold hits that are sorted, at the same time: each may be tens of mebibytes.
const SORTS_MAX: usize = 4;

struct Inner {
    engine: Engine,
    anonymous_read: bool,
    /// Only a hash is kept, and compared in constant time.
    admin_token: Digest,
    folder: PathBuf,
    own_files: &'static [&'static str],
    md5: Md5Turn,
    backups: Arc<Semaphore>,
    sorts: Arc<Semaphore>,
    making_folder: Mutex<()>,
    confirming: Mutex<()>,
    http_address: OnceLock<SocketAddr>,
    metrics: Metrics,
    audit: Audit,
    started: Timestamp,
    censuses: Censuses,
    small: SmallBodies,
    shown_lately: ShownLately,
    downloads: DownloadCounts,
}

/// What a node does for its user. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("folder", &self.0.folder).finish_non_exhaustive()
    }
}

fn token_hash(token: &str) -> Digest {
    Digest::derived("artimesh/admin-token/v1", token.trim().as_bytes())
}

impl Service {
    /// A service over a running engine.
    pub fn new(engine: Engine, options: Options, metrics: Metrics) -> Service {
        metrics::register(&metrics, &engine);
        options.audit.register(&metrics);
        let small = SmallBodies::registered(&metrics);
        let started = engine.clock().now();
        let downloads = DownloadCounts::read(engine.store());
        Service(Arc::new(Inner {
            engine,
            anonymous_read: options.anonymous_read,
            admin_token: token_hash(&options.admin_token),
            folder: options.folder,
            own_files: options.own_files,
            md5: options.md5,
            backups: Arc::new(Semaphore::new(1)),
            sorts: Arc::new(Semaphore::new(SORTS_MAX)),
            making_folder: Mutex::new(()),
            confirming: Mutex::default(),
            http_address: OnceLock::new(),
            metrics,
            audit: options.audit,
            started,
            censuses: Censuses::default(),
            small,
            shown_lately: ShownLately::default(),
            downloads,
        }))
    }

    /// The one metrics registry.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Finds out who holds a credential. `remote` is the connection's peer address.
    ///
    /// The administrator's token works from loopback only.
    pub fn authenticate(&self, credential: &Credential<'_>, remote: IpAddr) -> Result<Principal, ServiceError> {
        let Credential::Token(token) = credential else {
            return Ok(Principal::Anonymous { reads: self.0.anonymous_read });
        };
        // `blake3::Hash` compares in constant time.
        let matches = blake3::Hash::from_bytes(token_hash(token).0) == blake3::Hash::from_bytes(self.0.admin_token.0);
        match (matches, remote.to_canonical().is_loopback()) {
            (true, true) => Ok(Principal::Administrator),
            (true, false) => Err(ServiceError::NotLoopback),
            (false, _) => Err(ServiceError::BadCredential),
        }
    }

    /// Whether who shows no credential may read.
    pub fn lets_anybody_read(&self) -> bool {
        self.0.anonymous_read
    }

    /// Whether this node can do its work now.
    pub fn health(&self) -> Health {
        if let Some(failed) = self.0.engine.failure() {
            return Health::NotReady(failed.to_string());
        }
        match self.snapshot().life {
            Life::Alone => Health::NotReady(
                "this node is in no circle yet: join one with `artimesh pair accept`, or make one with `artimesh init --new-circle`".into(),
            ),
            Life::Joining => Health::NotReady("this node was admitted, and waits for the circle's log".into()),
            Life::Revoked => Health::NotReady("this node was revoked from its circle".into()),
            Life::Member(_) => Health::Ready,
        }
    }

    /// Whether this node is an edge: its write routes answer 403.
    pub fn is_edge(&self) -> bool {
        self.snapshot().life == Life::Member(Role::Edge)
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// The audit log.
    pub fn audit(&self) -> &Audit {
        &self.0.audit
    }

    /// Taken by whoever has sums computed for a request.
    pub(super) fn confirming(&self) -> &Mutex<()> {
        &self.0.confirming
    }

    pub(super) fn md5(&self) -> Md5Turn {
        self.0.md5
    }

    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.0.engine.snapshot()
    }

    pub(super) fn censuses(&self) -> &Censuses {
        &self.0.censuses
    }

    pub(super) fn small_bodies(&self) -> &SmallBodies {
        &self.0.small
    }

    pub(super) fn shown_lately(&self) -> &ShownLately {
        &self.0.shown_lately
    }

    pub(super) fn download_counts(&self) -> &DownloadCounts {
        &self.0.downloads
    }

    /// This node's wall clock.
    pub fn now(&self) -> Timestamp {
        self.engine().clock().now()
    }

    pub(super) fn started(&self) -> Timestamp {
        self.0.started
    }

    pub(super) fn folder(&self) -> &PathBuf {
        &self.0.folder
    }

    pub(super) fn own_files(&self) -> &'static [&'static str] {
        self.0.own_files
    }

    /// Held from the look whether a folder was made to its making.
    pub(super) fn making_folder(&self) -> &Mutex<()> {
        &self.0.making_folder
    }

    /// Who holds one of its permits holds hits that are sorted.
    pub(super) fn sorts(&self) -> &Arc<Semaphore> {
        &self.0.sorts
    }

    /// Who holds its one permit makes a backup.
    pub(super) fn backups(&self) -> &Arc<Semaphore> {
        &self.0.backups
    }

    pub(super) fn http_address(&self) -> Option<SocketAddr> {
        self.0.http_address.get().copied()
    }

    /// Tells where HTTP is served, for the status.
    pub fn served_at(&self, address: SocketAddr) {
        // A service is served once; a second address would be news to nobody.
        let _ = self.0.http_address.set(address);
    }

    pub(super) fn administer(&self, caller: &Caller) -> Result<(), ServiceError> {
        Ok(access::may(&caller.principal, Action::Administer)?)
    }

    /// The repository of this key; a caller who may not read it learns nothing of whether it exists.
    pub(super) fn readable(&self, caller: &Caller, key: &RepoKey) -> Result<Repository, ServiceError> {
        let none = || ServiceError::NoRepository(key.clone());
        match access::may(&caller.principal, Action::Read(key)) {
            Err(Denied::Forbidden(_)) => return Err(none()),
            other => other?,
        }
        self.snapshot().repository(key).cloned().ok_or_else(none)
    }

    /// The same where the caller may read what is at a path: else nothing is there.
    pub(super) fn readable_at(
        &self,
        caller: &Caller,
        key: &RepoKey,
        path: &ArtifactPath,
    ) -> Result<Repository, ServiceError> {
        let repository = self.readable(caller, key)?;
        if access::may_at(&caller.principal, Right::Read, key, path.as_str()) {
            return Ok(repository);
        }
        Err(ServiceError::NoArtifact { repo: key.clone(), path: path.clone() })
    }

    /// Whether the caller may read a repository, and it is there.
    pub fn may_read(&self, caller: &Caller, key: &RepoKey) -> Result<(), ServiceError> {
        self.readable(caller, key).map(drop)
    }

    /// The repository of this key, for a write. An edge refuses everybody.
    pub(super) fn writable(
        &self,
        caller: &Caller,
        action: Action<'_>,
        key: &RepoKey,
    ) -> Result<Repository, ServiceError> {
        if self.is_edge() {
            return Err(ServiceError::Edge);
        }
        access::may(&caller.principal, action)?;
        self.snapshot().repository(key).cloned().ok_or_else(|| ServiceError::NoRepository(key.clone()))
    }

    /// The same for what is at a path.
    pub(super) fn writable_at(
        &self,
        caller: &Caller,
        right: Right,
        key: &RepoKey,
        path: &ArtifactPath,
    ) -> Result<Repository, ServiceError> {
        let action = if right == Right::Delete { Action::Delete(key) } else { Action::Write(key) };
        let repository = self.writable(caller, action, key)?;
        if access::may_at(&caller.principal, right, key, path.as_str()) {
            return Ok(repository);
        }
        Err(Denied::Forbidden(right.name()).into())
    }

    /// Does a command and records its outcome.
    pub(super) async fn done(
        &self,
        caller: &Caller,
        what: &str,
        object: &str,
        command: Command,
        staged: Option<Staged>,
    ) -> Result<Receipt, ServiceError> {
        let result = self.engine().command_noting(command, staged, caller.account.clone()).await;
        let outcome = result.as_ref().map_or_else(ToString::to_string, |_| "done".to_owned());
        self.audit().record(caller, what, object, &outcome);
        Ok(result?)
    }

    /// The one member in good standing that `text` names, by name or id.
    pub(super) fn node_named(&self, text: &str) -> Result<NodeId, ServiceError> {
        let snapshot = self.snapshot();
        let unknown = || ServiceError::NoSuchNode(text.chars().take(80).collect());
        if let Ok(node) = text.parse::<NodeId>() {
            return snapshot.members.contains_key(&node).then_some(node).ok_or_else(unknown);
        }
        let name: NodeName = text.parse().map_err(|_| unknown())?;
        let mut named = snapshot.members.iter().filter(|(_, (other, _, _))| *other == name);
        match (named.next(), named.next()) {
            (Some((node, _)), None) => Ok(*node),
            _ => Err(unknown()),
        }
    }
}

impl Service {
    /// The one node that `text` names, by name or id, whatever its standing: a revoked one wrote too.
    pub(super) async fn author_named(&self, text: &str) -> Result<NodeId, ServiceError> {
        if let Ok(node) = text.parse() {
            return Ok(node);
        }
        let (wanted, me) = (text.to_owned(), self.engine().identity());
        if me.name.as_str() == wanted {
            return Ok(me.node);
        }
        let named = self.engine().inspect(move |replica, _| {
            let members = replica.trust().into_iter().flat_map(|trust| trust.members());
            let named = members.filter(|(_, member)| member.grant().name.as_str() == wanted);
            named.map(|(node, _)| *node).collect::<Vec<_>>()
        });
        match named.await?[..] {
            [node] => Ok(node),
            _ => Err(ServiceError::NoSuchNode(text.chars().take(80).collect())),
        }
    }

    /// What a node is called, as far as is known here.
    pub async fn names(&self) -> Result<BTreeMap<NodeId, NodeName>, ServiceError> {
        let me = self.engine().identity();
        let mut names = BTreeMap::from([(me.node, me.name.clone())]);
        let others = self.engine().inspect(|replica, _| {
            let members = replica.trust().into_iter().flat_map(|trust| trust.members());
            members.map(|(node, member)| (*node, member.grant().name.clone())).collect::<Vec<_>>()
        });
        names.extend(others.await?);
        Ok(names)
    }
}

impl From<CommandFailure> for ServiceError {
    fn from(failure: CommandFailure) -> Self {
        match failure {
            CommandFailure::Refused(CommandError::Follower) => ServiceError::Edge,
            CommandFailure::Refused(error) => ServiceError::Command(error),
            CommandFailure::BytesGone(path) => {
                let reason = "they were removed a moment ago; try again".to_owned();
                ServiceError::NotHere { path, reason }
            }
            CommandFailure::NoSpace(reason) => ServiceError::NoSpace(reason),
            CommandFailure::Stopped(reason) => ServiceError::Unavailable(reason),
        }
    }
}
