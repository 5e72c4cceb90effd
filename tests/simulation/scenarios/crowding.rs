//! Who never kills what it sees puts version beside version at one path.

use std::collections::BTreeMap;

use artimesh_core::catalog::{PATH_BYTES_MAX, Put};
use artimesh_core::changelog::{Change, Sealed};
use artimesh_core::clock::Timestamp;
use artimesh_core::model::{Incarnation, Properties, Space, codec};
use artimesh_core::replica::{Event, Input, Refusal, Table};

use super::refusing::circle;
use super::writing::federated;
use crate::forge::{Forgery, frame};
use crate::world::{World, content, delete, path, put};

/// A put that kills nothing, with as many properties as there may be.
fn fat(number: u64) -> Change {
    let mut content = content(&format!("sibling {number}"));
    let many = (0..100).map(|n| (format!("{n:0250}"), vec![String::new(); 64]));
    content.properties = Properties::try_from(BTreeMap::from_iter(many)).expect("within the bounds");
    Change::Put(Put {
        path: path("crowd"),
        content,
        timestamp: Timestamp(number),
        kills: Vec::new(),
        created: Timestamp(1),
        created_by: "liar".into(),
        modified_by: "liar".into(),
        moved_from: None,
    })
}

/// Each in a life of its own, so that none needs another.
fn crowd(world: &World, liar: usize, numbers: std::ops::Range<u64>) -> Vec<Sealed> {
    let space = world.space(0, "libs");
    let (heads, trust) = (world.sites[0].mind().heads(&space), world.sites[0].mind().heads(&Space::Trust));
    let (circle, site) = (circle(world), &world.sites[liar]);
    let one = |number| {
        let life = Incarnation { node: site.node(), number: 1_000_000 + number };
        Forgery::of(site, life, space, &heads, &trust).says(&fat(number)).signed(site, &circle)
    };
    numbers.map(one).collect()
}

fn bring(world: &mut World, to: usize, from: usize, all: &[Sealed]) {
    let (space, node) = (world.space(0, "libs"), world.node(from));
    for segment in all {
        world.handle(to, Input::Frame(node, frame(space, &[segment.bytes()])), None);
    }
}

fn crowded(world: &World, site: usize) -> usize {
    let refused = |note: &&Event| matches!(note, Event::Refused { refusal: Refusal::Crowded(..), .. });
    world.sites[site].notes.iter().filter(refused).count()
}

fn largest_row(world: &World, site: usize) -> usize {
    world.sites[site].disk.table(Table::Catalog).map(|(_, value)| value.len()).max().unwrap_or(0)
}

#[test]
fn a_path_holds_no_more_beside_each_other_than_a_row_and_what_waits_is_taken_once_there_is_room() {
    let mut world = federated();
    let all = crowd(&world, 1, 0..40);
    bring(&mut world, 0, 1, &all);
    let here = world.versions(0, "libs", "crowd").len();
    assert!(here > 10 && here < all.len(), "{here} siblings");
    assert_eq!(crowded(&world, 0), all.len() - here);
    assert!(largest_row(&world, 0) <= PATH_BYTES_MAX + 1);
    // Elsewhere nothing waits for it, not even what the same node says.
    world.ask(1, put("libs", "else", "where")).expect("put");
    world.settle();
    assert_eq!(world.versions(0, "libs", "else").len(), 1);
    world.ask(0, delete("libs", "crowd")).expect("a delete is always taken");
    assert!(world.versions(0, "libs", "crowd").is_empty());
    bring(&mut world, 0, 1, &all);
    assert_eq!(world.versions(0, "libs", "crowd").len(), all.len() - here, "what was deleted stays so");
}

#[test]
fn members_that_took_different_parts_of_a_crowd_agree_once_it_is_deleted() {
    let mut world = federated();
    let all = crowd(&world, 1, 0..40);
    bring(&mut world, 0, 1, &all);
    bring(&mut world, 2, 1, &all.iter().rev().cloned().collect::<Vec<_>>());
    for dice in 0..3 {
        world.round(dice);
    }
    for site in [0, 2, 0, 1] {
        // Those that have room take what waited; then that goes as well.
        let _ = world.ask(site, delete("libs", "crowd"));
        for dice in 0..3 {
            world.round(dice);
        }
    }
    let space = world.space(0, "libs");
    for site in 0..4 {
        assert!(largest_row(&world, site) < codec::ROW_BYTES_MAX);
        assert_eq!(world.sites[site].mind().heads(&space), world.sites[0].mind().heads(&space), "site {site}");
        assert_eq!(world.digest(site, &space), world.digest(0, &space), "site {site}");
    }
}
