//! How soon a node with many artifacts serves again.

use std::fs;

use super::Wish;
use super::harness::{Circle, Dice, Setup};
use super::load::{Target, put_many};
use super::machine::{Disturbance, timed};
use super::report::{Report, Row};

pub async fn run(wish: &Wish, report: &mut Report) {
    let mut circle = Circle::new(1, 0, Setup::default().with("ARTIMESH_LOG", "warn")).await;
    let target = Target::of(&circle.nodes[0]);
    let mut dice = Dice(2);
    for batch in 0..wish.count.div_ceil(100_000) {
        let bodies: Vec<Vec<u8>> = (0..wish.count.min(100_000)).map(|_| dice.bytes(64)).collect();
        put_many(&target, &format!("/start/{batch}"), &bodies, 32);
    }
    let node = &mut circle.nodes[0];
    let mut measured = |what: &str, bound: &str, took: f64, watch: Disturbance| {
        report.push(Row {
            what: format!("{} artifacts, serving again after {what}", wish.count),
            unit: "s",
            ours: took,
            peer: String::new(),
            theirs: None,
            floor: None,
            aim: None,
            note: format!("{bound}; {}", watch.note()),
        });
    };
    node.stop();
    let watch = Disturbance::watch();
    measured("a clean stop", "bound 2 s at 1,000,000", timed(|| node.start()).0, watch);
    node.kill();
    let watch = Disturbance::watch();
    measured("kill -9", "bound 5 s at 1,000,000", timed(|| node.start()).0, watch);
    node.stop();
    fs::remove_dir_all(node.folder.join("store/index")).expect("an index");
    let watch = Disturbance::watch();
    measured("the index was removed", "", timed(|| node.start()).0, watch);
    node.stop();
}
