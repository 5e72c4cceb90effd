//! Many small artifacts, which one node has and another gets.

use std::fs;
use std::path::Path;

use super::Wish;
use super::harness::{Circle, Dice, Setup};
use super::load::{Target, put_many};
use super::machine::{Disturbance, Peak};
use super::report::{Report, Row, median};
use super::rsync::Rsync;
use super::transfer::mirrored;

const BYTES: usize = 4096;

pub async fn run(wish: &Wish, report: &mut Report) {
    let mut circle = Circle::new(2, 0, Setup::default().with("ARTIMESH_LOG", "warn")).await;
    // Away while everything is written, so that it has all of it before it.
    circle.nodes[1].stop();
    let author = Target::of(&circle.nodes[0]);
    let mut dice = Dice(1);
    let bodies: Vec<Vec<u8>> = (0..wish.count).map(|_| dice.bytes(BYTES)).collect();
    let folder = circle.root.path().join("files");
    write_files(&folder, &bodies);
    let uploads = put_many(&author, "/small", &bodies, 32);
    println!("uploaded at {uploads:.0}/s");
    let count = wish.count as f64;
    let watch = Disturbance::watch();
    circle.nodes[1].start();
    let peak = Peak::of(circle.nodes[1].pid());
    let rate = count / mirrored(&circle.nodes[1], wish.count).await;
    let peak = peak.mib();
    let row = Row {
        what: format!("{count:.0} artifacts of 4 KiB replicated, from the start of the node that gets them"),
        unit: "/s",
        ours: rate,
        peer: String::new(),
        theirs: None,
        floor: None,
        aim: None,
        note: format!("peak RssAnon {peak:.0} MiB; {}", watch.note()),
    };
    let Some(rsync) = Rsync::offering(&folder, circle.root.path()) else { return report.push(row) };
    let turns = |is_synced| median((0..wish.rounds.min(3)).map(|_| count / rsync.carry(is_synced)).collect());
    let (theirs, peer) = (Some(turns(true)), "an rsync daemon, --fsync".into());
    report.push(Row { theirs, peer, floor: Some(2.0), ..row.clone() });
    let (theirs, peer) = (Some(turns(false)), "an rsync daemon".into());
    report.push(Row { theirs, peer, aim: Some(1.0), ..row });
}

fn write_files(folder: &Path, bodies: &[Vec<u8>]) {
    for (index, body) in bodies.iter().enumerate() {
        let inside = folder.join((index % 100).to_string());
        if index < 100 {
            fs::create_dir_all(&inside).expect("ours");
        }
        fs::write(inside.join(index.to_string()), body).expect("room on the disk");
    }
}
