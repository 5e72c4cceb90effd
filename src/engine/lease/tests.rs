//! Leases between engines that really talk to each other.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use artimesh_core::catalog::RepositoryConfig;
use artimesh_core::clock::Timestamp;
use artimesh_core::model::{Digest, FederationId, KeyPair, NodeId, Space, TokenId};
use artimesh_core::replica::{Command, Identity, Placement};
use artimesh_core::trust::{Addresses, Capabilities, Capability, Founding, NodeKeys, PairingToken, Role};

use super::*;
use crate::engine::bulk::Reference;
use crate::engine::gc::tests::{noise, options, put};
use crate::engine::{Collection, Engine, Options, SystemClock};
use crate::store::{Options as StoreOptions, RealFiles, Store};
use crate::swarm::{self, Swarm};

const ANY_PORT: &str = "/ip4/127.0.0.1/tcp/0";
const DEADLINE: Duration = Duration::from_secs(120);

/// A member of a circle, in this process.
pub(in crate::engine) struct Member {
    pub engine: Engine,
    _folder: tempfile::TempDir,
}

fn key(name: &str, purpose: &str) -> KeyPair {
    KeyPair::from_secret(&Digest::derived("test/lease", format!("{name} {purpose}").as_bytes()).0)
}

fn identity(name: &str) -> Identity {
    let [log, transport, pairing] = ["log", "transport", "pairing"].map(|purpose| key(name, purpose).public());
    let keys = NodeKeys { log, transport, pairing };
    Identity { node: NodeId::of(&keys.log), name: name.parse().unwrap(), log_key: key(name, "log"), keys }
}

impl Member {
    async fn start(name: &str, options: Options) -> Member {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store"), StoreOptions::default(), Arc::new(RealFiles), [3; 16]);
        let (store, _) = store.unwrap();
        let listen = vec![ANY_PORT.to_owned()];
        let swarm_options = swarm::Options { bulk_listen: listen.clone(), listen, gossip: false, ..Default::default() };
        let (swarm, events) = Swarm::start(&key(name, "transport"), swarm_options).await.unwrap();
        let (pairing, clock) = (key(name, "pairing"), Arc::new(SystemClock));
        let engine = Engine::start(identity(name), pairing, store, swarm, events, clock, options, 5).await.unwrap();
        Member { engine, _folder: folder }
    }

    pub fn node(&self) -> NodeId {
        self.engine.identity().node
    }

    pub fn space(&self) -> Space {
        self.engine.snapshot().repositories.values().next().unwrap().space
    }

    pub fn has(&self, digest: &Digest) -> bool {
        self.engine.store().blob(digest).unwrap().is_some()
    }

    async fn let_go(&self, digest: Digest) -> LetGo {
        self.engine.let_go(HashSet::from([digest])).await
    }

    fn token(&self, number: u8) -> String {
        let identity = self.engine.identity();
        let root = key("root", "").public();
        let capabilities = vec![Capability::Follow(None), Capability::Write(None), Capability::Found];
        let token = PairingToken {
            id: TokenId([number; 16]),
            circle: self.engine.snapshot().circle.unwrap(),
            root,
            issuer: identity.node,
            issuer_name: identity.name.clone(),
            issuer_keys: identity.keys,
            addresses: Addresses::clone(&self.engine.addresses()),
            role: Role::Full,
            capabilities: Capabilities(capabilities),
            expires_at: Timestamp(self.engine.clock().now().0 + 60_000),
            readmits: None,
        };
        token.to_line(self.engine.pairing_key())
    }

    pub async fn stop(self) {
        self.engine.stop().await;
        self.engine.swarm().close().await;
        self.engine.store().close().await;
    }
}

pub(in crate::engine) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let reached = tokio::time::timeout(DEADLINE, async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(reached.await.is_ok(), "{what}: not in time");
}

/// Members that share the repository `libs`; the first, which founded it, has this placement, the others mirror.
pub(in crate::engine) async fn circle(names: &[&str], first: Options) -> Vec<Member> {
    let mut members = vec![Member::start(names[0], first).await];
    for name in &names[1..] {
        members.push(Member::start(name, Options { placement: Some(Placement::Mirror), ..options() }).await);
    }
    let founder = identity(names[0]);
    let founding = Founding::new(&key("root", ""), founder.name, founder.keys);
    members[0].engine.command(Command::FoundCircle(founding), None).await.unwrap();
    for (number, member) in members.iter().enumerate().skip(1) {
        member.engine.join(&members[0].token(number as u8)).await.unwrap();
    }
    let invite: Vec<NodeId> = members[1..].iter().map(Member::node).collect();
    let config = RepositoryConfig { package_type: "generic".into(), description: String::new() };
    let create = Command::CreateRepository { key: "libs".parse().unwrap(), config, invite, secret: [9; 32] };
    members[0].engine.command(create, None).await.unwrap();
    for member in &members {
        until("all have accepted", || {
            let snapshot = member.engine.snapshot();
            let federation = snapshot.federations.values().next();
            federation.is_some_and(|federation| members.iter().all(|other| federation.is_member(&other.node())))
        })
        .await;
    }
    members
}

pub(in crate::engine) fn on_demand(min_copies: usize) -> Options {
    Options { placement: Some(Placement::OnDemand), min_copies, ..options() }
}

pub(in crate::engine) async fn stop(members: Vec<Member>) {
    for member in members {
        member.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_wrote_goes_when_mirrors_have_confirmed_it_and_their_word_is_kept() {
    let members = circle(&["berlin", "paris", "oslo"], on_demand(2)).await;
    let [berlin, paris, oslo] = &members[..] else { unreachable!() };
    let bytes = noise(1, 2_500_000);
    let blob = put(&berlin.engine, "a", &bytes).await;
    until("the mirrors have it", || paris.has(&blob) && oslo.has(&blob)).await;
    let done = berlin.let_go(blob).await;
    assert_eq!(done.gone.get(&blob), Some(&2_500_000), "{done:?}");
    assert!(!berlin.has(&blob));
    let confirmed = berlin.engine.confirmed_by(&blob).unwrap();
    let by: HashSet<NodeId> = confirmed.iter().map(|(node, _)| *node).collect();
    assert_eq!(by, HashSet::from([paris.node(), oslo.node()]));
    // Each has promised to keep it, so neither lets it go, nor removes it as garbage, for as long as that holds.
    for mirror in [paris, oslo] {
        assert_eq!(mirror.let_go(blob).await.kept.get(&blob), Some(&Kept::Leased));
    }
    stop(members).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_author_keeps_its_bytes_while_too_few_mirrors_confirm_them() {
    let members = circle(&["berlin", "paris"], on_demand(2)).await;
    let [berlin, paris] = &members[..] else { unreachable!() };
    let blob = put(&berlin.engine, "a", &noise(1, 5000)).await;
    until("the mirror has it", || paris.has(&blob)).await;
    let done = berlin.let_go(blob).await;
    assert_eq!(done.kept.get(&blob), Some(&Kept::TooFew { promised: 1, needed: 2 }), "{done:?}");
    assert!(berlin.has(&blob));
    // The mirror's own copy was promised all the same; and what an on-demand node holds nobody may rely on.
    assert_eq!(paris.let_go(blob).await.kept.get(&blob), Some(&Kept::Leased));
    let other = put(&paris.engine, "b", &noise(2, 5000)).await;
    let done = paris.let_go(other).await;
    assert_eq!(done.kept.get(&other), Some(&Kept::TooFew { promised: 0, needed: 1 }), "{done:?}");
    stop(members).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_mirrors_that_let_the_same_go_at_once_one_keeps_it() {
    let members = circle(&["berlin", "paris"], options()).await;
    let [berlin, paris] = &members[..] else { unreachable!() };
    for number in 0..10 {
        let blob = put(&berlin.engine, &format!("{number}"), &noise(number, 3000)).await;
        until("both have it", || paris.has(&blob)).await;
        tokio::join!(berlin.let_go(blob), paris.let_go(blob));
        let copies = usize::from(berlin.has(&blob)) + usize::from(paris.has(&blob));
        assert!(copies >= 1, "the last copy is gone");
    }
    stop(members).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_say_of_a_blob_is_said_within_the_space_and_what_is_live_there() {
    let members = circle(&["berlin", "paris"], options()).await;
    let [berlin, paris] = &members[..] else { unreachable!() };
    let blob = put(&berlin.engine, "a", &noise(1, 3000)).await;
    until("both have it", || paris.has(&blob)).await;
    let reference = |space, path: &str, digest| Reference { space, path: path.parse().unwrap(), digest };
    let (space, foreign) = (berlin.space(), Space::Federation(FederationId([7; 32])));
    let asked = [
        reference(space, "a", blob),
        reference(space, "b", blob),
        reference(space, "a", Digest([1; 32])),
        reference(foreign, "a", blob),
    ];
    let shared = &paris.engine.shared;
    let key = shared.transport_key(&berlin.node()).unwrap();
    let said = words(shared, &key, &asked, terms(NOTHING_PROMISED).unwrap()).await.unwrap();
    assert_eq!(said, [Word::Here, Word::Unknown, Word::Unknown, Word::Unknown]);
    let said = words(shared, &key, &asked, terms(Duration::from_secs(60)).unwrap()).await.unwrap();
    assert!(matches!(said[0], Word::Leased(_)), "{said:?}");
    assert_eq!(said[1..], [Word::Unknown, Word::Unknown, Word::Unknown]);
    stop(members).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_promised_is_no_garbage_though_nothing_names_it_any_more() {
    let members = circle(&["berlin", "paris"], on_demand(1)).await;
    let [berlin, paris] = &members[..] else { unreachable!() };
    let blob = put(&berlin.engine, "a", &noise(1, 3000)).await;
    until("the mirror has it", || paris.has(&blob)).await;
    assert!(berlin.let_go(blob).await.gone.contains_key(&blob));
    let (key, path) = ("libs".parse().unwrap(), "a".parse().unwrap());
    paris.engine.command(Command::Delete { key, path, only: None, by: "alice".into() }, None).await.unwrap();
    crate::engine::gc::tests::end_history(paris.engine.store()).await;
    let collection = Collection { grace: Duration::ZERO, ..options().upkeep.collection() };
    paris.engine.collect(collection).await.unwrap();
    assert!(paris.has(&blob), "its holder broke its promise");
    let rules = &paris.engine.shared.leases;
    rules.lock().unwrap().expire(Duration::MAX);
    paris.engine.collect(collection).await.unwrap();
    assert!(!paris.has(&blob));
    stop(members).await;
}
