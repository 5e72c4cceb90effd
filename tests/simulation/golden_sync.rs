//! The formats of state sync and of adoption, as committed files that are read for ever.
//!
//! What a sync says depends on all that came before it. So these files aren't made anew and compared: they were caught once
//! from a sync, and what they say must be understood, and said again in the same bytes.

use std::collections::BTreeMap;

use artimesh_core::changelog::Pruned;
use artimesh_core::model::{Context, Digest, Envelope, codec};
use artimesh_core::replica::{Adoption, Input, Message, Output, Row, Table, rows, state_digest};

use super::golden::{check, file, life, row_again, segment, space};
use super::scenarios::away;
use super::site::Site;
use super::world::{World, path, repo};

const TABLES: [Table; 5] = [Table::Meta, Table::Catalog, Table::Log, Table::History, Table::Trie];

/// Kinds of messages, by the names of their files.
const KINDS: [(u16, &str); 8] = [
    (32, "truncated"),
    (33, "state"),
    (34, "ask-snapshot"),
    (35, "snapshot"),
    (36, "compare"),
    (37, "compared"),
    (38, "fetch"),
    (39, "items"),
];

/// Writes a file that is missing, if it may.
fn keep(name: &str, bytes: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    let file = file(name);
    if !file.exists() && std::env::var("ARTIMESH_GOLDEN").is_ok_and(|value| value == "write") {
        std::fs::write(&file, bytes()).expect("the folder is there");
    }
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// A member that was long away takes over the state of others, until `stop` says so. The first frame of each kind.
fn a_sync(stop: impl Fn(&World) -> bool) -> (World, BTreeMap<u16, Vec<u8>>) {
    let (mut world, mut caught) = (away(), BTreeMap::new());
    world.restart(1);
    world.connect_all();
    for dice in 0..6 {
        while !stop(&world) {
            if let Some((from, to)) = world.network.busy().first().copied() {
                let frame = world.network.receive(from, to).expect("busy");
                let kind = Envelope::read_all(&frame, 1).expect("one envelope")[0].kind;
                caught.entry(kind).or_insert_with(|| frame.clone());
                world.handle(to, Input::Frame(world.node(from), frame), None);
            } else if let Some(site) = world.continues.first().copied() {
                world.go_on(site, None);
            } else {
                break;
            }
        }
        if stop(&world) {
            break;
        }
        world.now += 15_000;
        for site in 0..world.sites.len() {
            world.handle(site, Input::Tick { dice, round: true }, None);
        }
    }
    (world, caught)
}

#[test]
fn messages_of_a_state_sync_are_understood_for_ever() {
    let caught = std::cell::OnceCell::new();
    for (kind, name) in KINDS {
        let golden = keep(&format!("message-{name}"), || caught.get_or_init(|| a_sync(|_| false).1)[&kind].clone());
        assert_eq!(Envelope::read_all(&golden, 1).expect("one envelope")[0].kind, kind);
        let read = Message::read(&golden).expect("a golden message is read for ever");
        assert!(!matches!(read, Message::Unknown(_)), "{name}");
        assert_eq!(read.to_bytes(), golden, "{name}: read and written again, it differs");
    }
}

#[test]
fn rows_of_floors_and_adoptions_and_what_is_left_of_segments_are_what_they_were() {
    let context = Context(BTreeMap::from([(life(), 7)]));
    let adoption = Adoption {
        key: repo("libs"),
        into: space(),
        after: Some(path("a/b")),
        heads: context.clone(),
        by: "admin".into(),
    };
    check("row-adoption", &rows::write(&adoption), row_again::<Adoption>);
    check("row-catch-up", &rows::write(&context), row_again::<Context>);
    check("row-floor", &rows::write(&7_u64), row_again::<u64>);
    check("row-unconfirmed", &rows::write(&()), row_again::<()>);
    let pruned = Pruned::of(&segment(), |index| index == 1);
    check("segment-pruned", &pruned.to_bytes(), |bytes| {
        Pruned::read(bytes).expect("a golden segment is read for ever").to_bytes()
    });
}

/// All rows of one table.
type Rows = Vec<(Vec<u8>, Vec<u8>)>;

fn is_committing(site: &Site) -> bool {
    let has = |prefix: &[u8]| site.disk.table(Table::Meta).any(|(key, _)| key.starts_with(prefix));
    has(b"merge/") && has(b"merge-log/")
}

/// Goes on alone with what is at rest; the digest of the state that comes of it.
fn went_on(disk: &[Rows]) -> Digest {
    let mut site = Site::new("bob");
    for (all, table) in disk.iter().zip(TABLES) {
        let row = |(key, value): &(Vec<u8>, Vec<u8>)| Row { table, key: key.clone(), value: Some(value.clone()) };
        site.disk.apply(&all.iter().map(row).collect::<Vec<_>>());
    }
    assert!(is_committing(&site));
    site.start();
    let space = site.mind().repositories()["libs"].space;
    for step in 0..200 {
        let input = if step % 20 == 0 { Input::Tick { dice: 0, round: false } } else { Input::Continue };
        for output in site.handle(1_735_689_600_000, input) {
            if let Output::Persist(rows) = output {
                site.disk.apply(&rows);
            }
        }
    }
    assert!(!is_committing(&site), "it was done to its end");
    state_digest(&site.disk, &space, site.mind().federation(&space)).expect("rows can be read")
}

/// Rows of a commit of a state sync, of its stage, of logs that aren't whole and of the trie.
#[test]
fn a_disk_in_the_middle_of_a_state_sync_is_woken_up_from() {
    let golden = keep("disk-syncing", || {
        let (world, _) = a_sync(|world| is_committing(&world.sites[1]));
        let row = |(key, value): (&[u8], &[u8])| (key.to_vec(), value.to_vec());
        let disk: Vec<Rows> = TABLES.iter().map(|table| world.sites[1].disk.table(*table).map(row).collect()).collect();
        let digest = went_on(&disk);
        assert_eq!(digest, world.digest(0, &world.space(0, "libs")), "the others'");
        codec::encode(&(disk, digest))
    });
    let (disk, digest): (Vec<Rows>, Digest) = codec::decode(&golden).expect("rows");
    assert_eq!(went_on(&disk), digest);
}
