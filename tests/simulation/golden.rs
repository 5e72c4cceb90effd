//! Every format that the core stores or sends, as committed files that are read for ever.
//!
//! A file that is missing is written only with `ARTIMESH_GOLDEN=write`; one that differs is a broken promise to every
//! node and disk out there, not a reason to write it anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use artimesh_core::catalog::{
    ConfigChange, Configure, Content, Delete, DeletePrefix, Dispute, EditProperties, End, Ended, Federation,
    Founding as FederationFounding, Historic, Invitation, Membership, Put, Removal, RepositoryConfig, Version,
    Versions,
};
use artimesh_core::changelog::{Accept, Change, ForkProof, Header, Pruned, Sealed, kind};
use artimesh_core::clock::Timestamp;
use artimesh_core::model::{
    CircleId, Context, Digest, Dot, Envelope, FederationId, Head, Heads, Incarnation, KeyPair, Properties, Space,
    TokenId, codec,
};
use artimesh_core::replica::message::{
    Announcement, AskFarewells, ClockMessage, Farewell, HeadsMessage, Hello, Message, Probe, SegmentsMessage,
    SpaceHeads, WantMessage,
};
use artimesh_core::replica::{Alarm, Fork, Hold, Placement, Repository, Table, Want, rows, state_digest};
use artimesh_core::trust::{
    Capabilities, Capability, Founding, Grant, GrantBody, PairingAnswer, PairingReason, PairingRequest, PairingToken,
    Revocation, Role, Root, Seal, Statement,
};

use super::site::Site;
use super::world::{World, content, create, path, put, repo, writer};

pub fn file(name: &str) -> PathBuf {
    let crate_folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    crate_folder.join("../../tests/golden/core").join(format!("{name}.bin"))
}

/// Holds `bytes`, as made today, against the committed file; and `again`, which reads and writes it, against itself.
pub fn check(name: &str, bytes: &[u8], again: impl Fn(&[u8]) -> Vec<u8>) {
    let file = file(name);
    if !file.exists() && std::env::var("ARTIMESH_GOLDEN").is_ok_and(|value| value == "write") {
        std::fs::write(&file, bytes).expect("the folder is there");
    }
    let golden = std::fs::read(&file)
        .unwrap_or_else(|error| panic!("{}: {error}; ARTIMESH_GOLDEN=write makes a missing one", file.display()));
    assert!(golden == bytes, "{name}: what is written today differs from the golden file");
    assert!(again(&golden) == golden, "{name}: read and written again, it differs");
}

/// Holds what an earlier version wrote against what this one makes of it.
fn still_read(name: &str, look: impl Fn(&[u8])) {
    look(&std::fs::read(file(name)).expect("golden files stay"));
}

fn alice() -> Site {
    Site::new("alice")
}

fn root() -> KeyPair {
    KeyPair::from_secret(&[42; 32])
}

fn circle() -> CircleId {
    CircleId::of(&root().public())
}

pub fn life() -> Incarnation {
    Incarnation { node: alice().node(), number: 0x0102_0304_0506_0708 }
}

pub fn dot(sequence: u64) -> Dot {
    Dot { incarnation: life(), sequence }
}

pub fn space() -> Space {
    Space::Federation(FederationId([5; 32]))
}

fn a_put() -> Put {
    let mut content = content("golden");
    let properties = BTreeMap::from([("build.name".to_owned(), vec!["a".to_owned(), "ü".to_owned()])]);
    content.properties = Properties::try_from(properties).expect("within the bounds");
    Put {
        path: path("org/example/lib-1.0.jar"),
        content,
        timestamp: Timestamp(1_700_000_000_000),
        kills: vec![dot(1), dot(2)],
        created: Timestamp(1_600_000_000_000),
        created_by: "admin".into(),
        modified_by: "deployer".into(),
        moved_from: Some(path("old/lib.jar")),
    }
}

fn a_folder() -> Put {
    let content = Content::folder(a_put().content.properties);
    Put { path: path("org/example/"), content, moved_from: Some(path("old/")), ..a_put() }
}

fn an_edit() -> EditProperties {
    let set = BTreeMap::from([
        ("build.name".to_owned(), None),
        ("qa".to_owned(), Some(vec!["passed".to_owned(), "ß".to_owned()])),
    ]);
    let (timestamp, by) = (Timestamp(1_700_000_000_003), "tester".into());
    EditProperties { path: path("org/example/lib-1.0.jar"), version: dot(4), set, timestamp, by }
}

fn grant_body() -> GrantBody {
    GrantBody {
        node: alice().node(),
        name: alice().identity.name,
        role: Role::Full,
        keys: alice().identity.keys,
        capabilities: Capabilities(vec![
            Capability::Admit,
            Capability::SignBundles("app-*".into()),
            Capability::Write(Some(FederationId([5; 32]))),
            Capability::Follow(None),
            Capability::Unknown(Envelope { kind: 900, body: vec![1, 2, 3] }),
        ]),
        addresses: alice().addresses(),
        token: Some(TokenId([8; 16])),
        overrides: vec![dot(9)],
    }
}

fn entries() -> Vec<(&'static str, Change)> {
    let config = RepositoryConfig { package_type: "maven".into(), description: "libraries".into() };
    let founding =
        FederationFounding { repo_key: repo("libs"), config, founded: Timestamp(1_700_000_000_000), secret: [7; 32] };
    let delete =
        Delete { path: path("a/b"), kills: vec![dot(3)], timestamp: Timestamp(1_700_000_000_001), by: "admin".into() };
    let (timestamp, by) = (Timestamp(1_700_000_000_002), "admin".to_owned());
    let delete_prefix = DeletePrefix { prefix: "org/ex".into(), timestamp, by: by.clone() };
    let set = ConfigChange { package_type: None, description: Some("more".into()) };
    let configure = Configure { set, timestamp, by };
    vec![
        ("put", Change::Put(a_put())),
        ("delete", Change::Delete(delete)),
        ("found", Change::Found(founding)),
        ("invite", Change::Invite(Invitation { node: alice().node(), repo_key: repo("libs") })),
        ("accept", Change::Accept(Accept { repo_key: repo("libs") })),
        ("leave", Change::Leave),
        ("reborn", Change::Reborn(life())),
        ("properties", Change::EditProperties(an_edit())),
        ("delete-prefix", Change::DeletePrefix(delete_prefix)),
        ("configure", Change::Configure(configure)),
        ("remove", Change::Remove(Removal { node: alice().node(), by: "admin".into() })),
        ("root", Change::Root(Root { key: root().public() })),
        ("grant", Change::Grant(Grant::by_author(&grant_body()))),
        ("grant-by-root", Change::Grant(Grant::by_root(&grant_body(), &root(), &circle()))),
        ("revoke", Change::Revoke(Revocation { node: alice().node(), reason: "left".into() })),
        ("folder", Change::Put(a_folder())),
    ]
}

pub fn segment() -> Sealed {
    let header = Header {
        space: space(),
        incarnation: life(),
        key: alice().identity.keys.log,
        first_sequence: 4,
        entries: 0,
        previous: Digest::of(b"previous"),
        context: Context(BTreeMap::from([(Incarnation { number: 1, ..life() }, 3)])),
        needs: Context(BTreeMap::from([(Incarnation { number: 2, ..life() }, 5)])),
        root: Digest::ZERO,
        written_at: Timestamp(1_700_000_000_000),
    };
    // The entries that there were when it was written.
    let later = ["folder", "properties", "delete-prefix", "configure", "reborn", "remove"];
    let all =
        entries().iter().filter(|(name, _)| !later.contains(name)).map(|(_, change)| change.to_envelope()).collect();
    Sealed::sign(header, all, &alice().identity.log_key, &circle())
}

/// The leave in the segment, with its proof: what travels, and the row.
fn a_farewell() -> Vec<u8> {
    let segment = segment();
    Pruned::of(&segment, |index| segment.entries[index as usize].kind == kind::LEAVE).to_bytes()
}

fn proof() -> ForkProof {
    let (one, mut header) = (segment(), segment().header);
    header.written_at = Timestamp(1);
    let other = Sealed::sign(header, one.entries.clone(), &alice().identity.log_key, &circle());
    ForkProof::of(one.claim(), other.claim()).expect("two successors of one segment")
}

fn statement() -> Statement {
    let head = Head { sequence: 4, chain: Digest::of(b"chain") };
    let seal = Seal { heads: vec![(space(), life(), head)] };
    Statement::seal(alice().node(), Site::new("bob").node(), 3, &seal, &alice().identity.log_key, &circle())
}

#[test]
fn segments_and_entries_are_what_they_were() {
    check("segment", segment().bytes(), |bytes| {
        let read = Sealed::read(bytes).expect("a golden segment is read for ever");
        assert_eq!(read.verify(&circle()), Ok(()));
        read.bytes().to_vec()
    });
    for (name, change) in entries() {
        check(&format!("entry-{name}"), &change.to_envelope().to_bytes(), |bytes| {
            let envelope = Envelope::read_all(bytes, 1).expect("one envelope").remove(0);
            let read = Change::read(&envelope).expect("a golden entry is read for ever");
            assert_eq!(read, change);
            read.to_envelope().to_bytes()
        });
    }
}

#[test]
fn messages_are_what_they_were() {
    let heads = Heads(BTreeMap::from([(life(), Head { sequence: 4, chain: Digest::of(b"chain") })]));
    let spaces = vec![
        SpaceHeads { space: Space::Trust, heads: heads.clone() },
        SpaceHeads { space: Space::Accounts, heads: Heads::default() },
        SpaceHeads { space: space(), heads: heads.clone() },
    ];
    let segments = vec![segment().bytes().to_vec()];
    let messages = [
        ("kept", Message::Kept(spaces.clone())),
        ("clock", Message::Clock(ClockMessage { wall: Timestamp(7), echo: Some(Timestamp(5)) })),
        ("fork", Message::Fork(proof())),
        ("farewell", Message::Farewell(Farewell { space: space(), entry: a_farewell() })),
        ("ask-farewells", Message::AskFarewells(AskFarewells { space: space(), of: vec![alice().node()] })),
        ("probe", Message::Probe(Probe { space: space(), incarnation: life(), ends: vec![heads.of(&life())] })),
        ("heads", Message::Heads(HeadsMessage { spaces, statements: Digest::of(b"all"), reply: true })),
        ("want", Message::Want(WantMessage { space: space(), since: heads.to_context() })),
        ("segments", Message::Segments(SegmentsMessage { space: space(), segments, more: true })),
        ("statements", Message::Statements(vec![statement()])),
    ];
    for (name, message) in messages {
        check(&format!("message-{name}"), &message.to_bytes(), |bytes| {
            let read = Message::read(bytes).expect("a golden message is read for ever");
            assert_eq!(read, message);
            read.to_bytes()
        });
    }
    let hello = Hello {
        protocol: 1,
        features: 0,
        circle: circle(),
        incarnation: life(),
        wall: Timestamp(1_700_000_000_000),
        addresses: alice().addresses(),
        version: "0.1.0".into(),
    };
    check("hello", &hello.to_bytes(), |bytes| Hello::read(bytes).expect("read for ever").to_bytes());
    let head = Head { sequence: 4, chain: Digest::of(b"chain") };
    for (name, announcement) in
        [("segment", Announcement::Segment(segment().bytes().to_vec())), ("head", Announcement::Head(life(), head))]
    {
        check(&format!("announcement-{name}"), &announcement.to_bytes(), |bytes| {
            Announcement::read(bytes).expect("read for ever").expect("of a known kind").to_bytes()
        });
    }
}

fn again<T: serde::Serialize + serde::de::DeserializeOwned>(bytes: &[u8]) -> Vec<u8> {
    codec::encode(&codec::decode::<T>(bytes).expect("read for ever"))
}

#[test]
fn pairing_statements_and_foundings_are_what_they_were() {
    let token = PairingToken {
        id: TokenId([8; 16]),
        circle: circle(),
        root: root().public(),
        issuer: alice().node(),
        issuer_name: alice().identity.name,
        issuer_keys: alice().identity.keys,
        addresses: alice().addresses(),
        role: Role::Edge,
        capabilities: writer(),
        expires_at: Timestamp(1_700_000_300_000),
        readmits: None,
    };
    let line = token.to_line(&alice().pairing_key);
    check("pairing-token", line.as_bytes(), |bytes| {
        let text = std::str::from_utf8(bytes).expect("a line of text");
        let (read, _) = PairingToken::from_line(text).expect("read for ever");
        read.to_line(&alice().pairing_key).into_bytes()
    });
    let bob = Site::new("bob");
    let (_, held) = PairingToken::from_line(&line).expect("its own token");
    let (name, keys) = (bob.identity.name.clone(), bob.identity.keys);
    let request = PairingRequest::new(&held, name, keys, bob.addresses(), Timestamp(1_700_000_000_000));
    check("pairing-request", &codec::encode(&request), |bytes| {
        let read: PairingRequest = codec::decode(bytes).expect("read for ever");
        assert!(read.verify(alice().node(), &alice().pairing_key, &keys.transport).is_ok());
        codec::encode(&read)
    });
    let answers = [
        PairingAnswer::Admitted,
        PairingAnswer::Refused(PairingReason::Altered),
        PairingAnswer::Refused(PairingReason::RateLimited),
    ];
    check("pairing-answers", &codec::encode(&answers.to_vec()), again::<Vec<PairingAnswer>>);
    check("statement", &codec::encode(&statement()), |bytes| {
        let read: Statement = codec::decode(bytes).expect("read for ever");
        assert_eq!(read.verify(&alice().identity.keys.log, &circle()), Ok(()));
        codec::encode(&read)
    });
    let features = Statement::features(alice().node(), 1, 31, &alice().identity.log_key, &circle());
    check("statement-features", &codec::encode(&features), |bytes| {
        let read: Statement = codec::decode(bytes).expect("read for ever");
        assert_eq!(read.stated_features(), Ok(31));
        codec::encode(&read)
    });
    let founding = Founding::new(&root(), alice().identity.name, alice().identity.keys);
    check("founding", &codec::encode(&founding), again::<Founding>);
}

pub fn row_again<T: rows::Stored>(bytes: &[u8]) -> Vec<u8> {
    rows::write(&rows::read::<T>(bytes).expect("read for ever"))
}

#[test]
fn rows_are_what_they_were() {
    let checksums = a_put().content.checksums;
    let want = Want { space: space(), dot: dot(4), path: path("a/b"), digest: Digest::of(b"x"), size: 1, checksums };
    check("row-want", &rows::write(&want), row_again::<Want>);
    for placement in [Placement::Mirror, Placement::OnDemand] {
        let repository = Repository { key: repo("libs"), space: space(), placement, created: Timestamp(5) };
        check(
            &format!("row-repository-{placement:?}").to_lowercase(),
            &rows::write(&repository),
            row_again::<Repository>,
        );
    }
    let mut versions = Versions::default();
    for sequence in [4, 5] {
        versions.put(Version::of(dot(sequence), Digest::of(&[sequence as u8]), &a_put()));
    }
    still_read("row-versions", |bytes| {
        let read: Versions = rows::read(bytes).expect("a row of version 1 is read for ever");
        let mut expected = Versions::default();
        for version in versions.iter() {
            expected.put(Version { moved_from: None, ..version.clone() });
        }
        assert_eq!(read, expected);
    });
    assert!(versions.edit(dot(7), &an_edit()));
    check("row-versions-2", &rows::write(&versions), row_again::<Versions>);
    let (_, Change::Found(founding)) = entries().swap_remove(2) else { unreachable!("the third is the founding") };
    let mut federation = Federation::found(dot(1), founding);
    let membership = Membership {
        invitations: BTreeMap::from([(dot(2), repo("libs"))]),
        acceptances: BTreeMap::from([(dot(3), repo("libs2"))]),
        left: BTreeMap::from([(dot(3), BTreeSet::from([dot(4)]))]),
        answered: BTreeSet::from([dot(2)]),
    };
    federation.members.insert(Site::new("bob").node(), membership);
    still_read("row-federation", |bytes| {
        let read: Federation = rows::read(bytes).expect("a row of version 1 is read for ever");
        assert_eq!(read, federation);
    });
    check("row-federation-2", &rows::write(&federation), row_again::<Federation>);
    let ended = Ended {
        how: End::Moved(path("b")),
        dot: Some(dot(9)),
        by: "admin".into(),
        timestamp: Timestamp(1_700_000_000_009),
        at: Timestamp(1_700_000_000_010),
    };
    let version = versions.shown().expect("there are two").clone();
    check("row-historic", &rows::write(&Historic { version, ended, lost: true }), row_again::<Historic>);
    let mut dispute = Dispute { siblings: true, ..Dispute::default() };
    dispute.survived(dot(4), dot(5));
    dispute.lost.insert(dot(6), Digest::of(b"lost"));
    check("row-dispute", &rows::write(&dispute), row_again::<Dispute>);
    check("row-statement", &rows::write(&statement()), row_again::<Statement>);
    check("row-addresses", &rows::write(&alice().addresses()), row_again::<artimesh_core::trust::Addresses>);
    let alarm = Alarm { space: space(), path: path("a/b"), dot: dot(4), timestamp: Timestamp(9), ahead_ms: 400_000 };
    check("row-alarm", &rows::write(&alarm), row_again::<Alarm>);
    // As the row of a fork is: its proofs by where the branches part, and when it was learnt.
    let parted = BTreeMap::from([((4_u64, Digest::of(b"previous")), proof())]);
    let row = [vec![1], codec::encode(&(parted, Timestamp(5)))].concat();
    check("row-fork", &row, row_again::<Fork>);
    // As the row of a hold is: whose, since when, how many paths, how many it may, written when, and which log.
    let author = alice().node();
    let row = [vec![1], codec::encode(&(author, Timestamp(5), 40_u64, 5_u64, Timestamp(4), life()))].concat();
    check("row-hold", &row, row_again::<Hold>);
    check("row-farewell", &a_farewell(), |bytes| Pruned::read(bytes).expect("read for ever").to_bytes());
    check("row-incarnation", &rows::write(&life().number), row_again::<u64>);
}

/// A whole site's rows as the first release left them: a replica wakes up from them, to the state that the same entries
/// make today.
#[test]
fn a_disk_of_old_is_woken_up_from() {
    let mut world = World::circle(2, 0);
    let invite = vec![world.node(1)];
    world.ask(0, create("libs", invite)).expect("a free key");
    world.settle();
    world.ask(1, put("libs", "x", "one")).expect("put");
    world.settle();
    let node = world.node(1);
    world.ask(0, artimesh_core::replica::Command::Revoke(node, "golden".into())).expect("may revoke");
    let golden = std::fs::read(file("disk")).expect("it was committed");
    let mut site = Site::new("bob");
    let tables = [Table::Meta, Table::Catalog, Table::Log];
    for (envelope, table) in Envelope::read_all(&golden, 3).expect("three tables").iter().zip(tables) {
        let all: Vec<(Vec<u8>, Vec<u8>)> = codec::decode(&envelope.body).expect("rows");
        let rows: Vec<_> = all
            .into_iter()
            .map(|(key, value)| artimesh_core::replica::Row { table, key, value: Some(value) })
            .collect();
        site.disk.apply(&rows);
    }
    site.start();
    assert_eq!(site.mind().incarnation().number, 1);
    assert_eq!(site.mind().trust().expect("in a circle").members().count(), 2);
    let space = site.mind().repositories()["libs"].space;
    assert_eq!(site.mind().heads(&space), world.sites[1].mind().heads(&space));
    let digest = state_digest(&site.disk, &space, site.mind().federation(&space)).expect("rows can be read");
    assert_eq!(digest, world.digest(1, &space), "the same entries make the same state");
}
