//! Entries verified and merged per second: signed segments as a peer sends them, into a replica and its rows.

use std::time::{Duration, Instant};

use artimesh::store::{Options, RealFiles, Store};
use artimesh_core::changelog::Sealed;
use artimesh_core::model::Space;
use artimesh_core::replica::message::{Message, SegmentsMessage};
use artimesh_core::replica::{Input, Table as Rooms, View as _, rows};

use super::pair::{self, TOGETHER};
use super::rows::Rows;
use super::site::Site;
use super::table::{Table, grouped, rss_anon_mib};

/// What of the whole is measured once more at its end, where the state is largest.
const LAST_PART: u64 = 10;

pub fn store(folder: &std::path::Path) -> Store {
    Store::open(folder, Options::default(), std::sync::Arc::new(RealFiles), [7; 16]).expect("a new folder").0
}

pub async fn run(count: u64, table: &mut Table) {
    let memory = || Rows::Memory(Default::default());
    let (mut author, mut member, space) = pair::pair(memory(), memory()).await;
    merge(&mut author, &mut member, space, count, TOGETHER, "in memory, 256 to a segment", table).await;
    assert_eq!(author.digest(&space).await, member.digest(&space).await);
    drop((author, member));

    let (mut author, mut member, space) = pair::pair(memory(), memory()).await;
    merge(&mut author, &mut member, space, count / 20, 1, "in memory, each signed alone", table).await;
    drop((author, member));

    let folder = tempfile::tempdir().expect("a folder");
    let into = Rows::stored(store(&folder.path().join("store")));
    let (mut author, mut member, space) = pair::pair(memory(), into).await;
    merge(&mut author, &mut member, space, count, TOGETHER, "into a store, 256 to a segment", table).await;
}

/// The author writes `count` entries, so many to a segment, and the member takes them; only the member is timed.
async fn merge(
    author: &mut Site,
    member: &mut Site,
    space: Space,
    count: u64,
    each: u64,
    how: &str,
    table: &mut Table,
) {
    let (begun, mut last) = (rss_anon_mib(std::process::id()), Duration::ZERO);
    let (mut spent, mut merged) = (Duration::ZERO, 0);
    let last_from = count - count / LAST_PART;
    while merged < count {
        let upto = (merged + each).min(count);
        pair::write(author, merged..upto, 0).await;
        let took = hand_over(author, member, space).await;
        spent += took;
        if merged >= last_from {
            last += took;
        }
        merged = upto;
    }
    assert_eq!(member.replica.heads(&space), author.replica.heads(&space), "all were applied");
    let rate = |count: u64, took: Duration| grouped((count as f64 / took.as_secs_f64()) as u64);
    let what = format!("{} entries {how}", grouped(count));
    table.row(&what, format!("{}/s", rate(count, spent)), "");
    table.row("– the last tenth of them", format!("{}/s", rate(count - last_from, last)), "");
    let grown = rss_anon_mib(std::process::id()).saturating_sub(begun);
    if let Rows::Stored(..) = member.rows {
        table.row("– memory, with the author's rows", format!("{grown} MiB more than before"), "");
    }
}

/// The member takes the author's newest segment; says how long that took it.
pub async fn hand_over(author: &Site, member: &mut Site, space: Space) -> Duration {
    let frame = newest(author, space);
    let started = Instant::now();
    member.handle(Input::Frame(author.node(), frame)).await;
    started.elapsed()
}

/// The author's newest segment in the frame that carries it.
fn newest(author: &Site, space: Space) -> Vec<u8> {
    let incarnation = author.replica.incarnation();
    let (from, to) = (rows::segment_key(&space, &incarnation, 0), rows::segment_key(&space, &incarnation, u64::MAX));
    let (_, bytes) = author.rows.last(Rooms::Log, &from, &to).expect("readable").expect("just written");
    debug_assert!(Sealed::read(&bytes).is_ok());
    Message::Segments(SegmentsMessage { space, segments: vec![bytes], more: false }).to_bytes()
}
