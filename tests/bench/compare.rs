//! State sync over a real connection: two swarms on loopback, a store under each mind, and a wire that counts.
//!
//! Heads and logs would bring the differences at once. So frames that carry the federation's log aren't passed on here:
//! it is as if it had been compacted.

mod wire;

use std::time::Instant;

use artimesh_core::model::Space;
use artimesh_core::replica::Command;

use super::entries::store;
use super::pair::{self, TOGETHER, repo};
use super::rows::Rows;
use super::site::Site;
use super::table::{Table, grouped};
use wire::Wire;

/// What a comparison may cost: differences, bytes, round trips.
const BOUNDS: [(u64, u64, u64); 3] = [(0, 1 << 10, 1), (10, 32 << 10, 6), (1_000, 1_500_000, 6)];

pub async fn run(count: u64, table: &mut Table) {
    let folder = tempfile::tempdir().expect("a folder");
    let rows = |name: &str| Rows::stored(store(&folder.path().join(name)));
    let (mut author, mut member, space) = pair::pair(rows("author"), rows("member")).await;
    let started = Instant::now();
    fill(&mut author, &mut member, space, count).await;
    println!("{} artifacts at both after {} s", grouped(count), started.elapsed().as_secs());
    for (round, (differences, bytes_max, rounds_max)) in (1..).zip(BOUNDS) {
        // Far from each other: the paths' hashes scatter them in any case.
        let step = count / differences.max(1);
        pair::write(&mut author, (0..differences).map(|number| number * step), round).await;
        let mut wire = Wire::between(author, member, space).await;
        let started = Instant::now();
        wire.ask(1, Command::Sync { key: repo(), member: None, dry_run: differences == 0 }).await;
        wire.until(|_, member| member.merge_progress(&space).is_some_and(|progress| progress.is_done)).await;
        let took = started.elapsed();
        let (said, counted) = (wire.said(), wire.on_the_wire());
        (author, member) = wire.parted().await;
        assert_eq!(author.digest(&space).await, member.digest(&space).await, "{differences} differences");
        let what = format!("{} artifacts, {differences} differences", grouped(count));
        table.row(&what, format!("{} bytes", grouped(said.bytes)), &format!("≤ {}", grouped(bytes_max)));
        table.row("– round trips", said.rounds.to_string(), &format!("≤ {rounds_max}"));
        let also = format!("{} bytes, {} ms", grouped(counted), took.as_millis());
        table.row("– with TLS, Yamux and all else that was said meanwhile", also, "");
    }
}

/// The author writes, the member applies all of it.
async fn fill(author: &mut Site, member: &mut Site, space: Space, count: u64) {
    let mut written = 0;
    while written < count {
        let upto = (written + TOGETHER).min(count);
        pair::write(author, written..upto, 0).await;
        super::entries::hand_over(author, member, space).await;
        written = upto;
    }
    assert_eq!(author.digest(&space).await, member.digest(&space).await);
}
