//! One large artifact from one site to eight, each behind a cable that carries only so much either way, beside the same
//! from one to one: how much longer it takes, and how often the one sends it.
//!
//! Each turn has new sites, so that ten times the artifact's size is all that it takes on the disk.

use std::fs::File;
use std::time::{Duration, Instant};

use futures::future::join_all;
use tempfile::TempDir;

use super::Wish;
use super::harness::{Circle, Hub, Node, Setup};
use super::load::Target;
use super::machine::{Disturbance, random_file};
use super::report::{Report, Row, median};
use super::shape::{limit, sent_bytes};
use super::transfer::mirrored_as_seen_every;

/// Nine nodes share two cores: what they do at this rate doesn't keep them busy.
const MBIT: u64 = 200;

const RECEIVERS: u8 = 8;

/// Sites on a switch of their own; the first is the author.
struct Sites {
    circle: Circle,
    hub: Hub,
}

impl Sites {
    async fn with(receivers: u8, mbit: u64) -> Option<Sites> {
        let hub = Hub::with_places(receivers + 1)?;
        let root: TempDir = tempfile::tempdir().expect("a folder");
        let node = |index: u8| {
            let place = Some(hub.place(index.into()));
            let setup = Setup { new_circle: index == 0, place, ..Setup::default() }.with("ARTIMESH_LOG", "warn");
            Node::init(root.path(), &format!("site-{index}"), setup)
        };
        let nodes = (0..=receivers).map(node).collect();
        let circle = Circle::of(nodes, usize::from(receivers) + 1, root).await;
        limit(&hub, usize::from(receivers) + 1, mbit).then_some(Sites { circle, hub })
    }

    /// Seconds until all have an artifact, and how many copies of it the author's cable carried.
    async fn carry(&self, file: &File, size: u64) -> (f64, f64) {
        let place = self.hub.place(0);
        Target::of(&self.circle.nodes[0]).connect().put_file("/large", &[], file, size);
        let (begun, before) = (Instant::now(), sent_bytes(&place));
        let interval = Duration::from_millis(200);
        join_all(self.circle.nodes[1..].iter().map(|node| mirrored_as_seen_every(interval, node, 1))).await;
        (begun.elapsed().as_secs_f64(), (sent_bytes(&place) - before) as f64 / size as f64)
    }
}

pub async fn run(wish: &Wish, report: &mut Report) {
    let mbit = wish.mbit.unwrap_or(MBIT);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("large");
    random_file(&path, wish.size);
    let file = File::open(&path).expect("just written");
    let watch = Disturbance::watch();
    let (mut alone, mut together, mut copies) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..wish.rounds.clamp(1, 2) {
        for receivers in [1, RECEIVERS] {
            let Some(sites) = Sites::with(receivers, mbit).await else {
                println!("fan: not measured: network namespaces with limits need root, ip and tc");
                return;
            };
            let (took, sent) = sites.carry(&file, wish.size).await;
            println!("to {receivers}: {took:.1} s, {sent:.2} copies");
            if receivers == 1 {
                alone.push(took);
            } else {
                together.push(took);
                copies.push(sent);
            }
        }
    }
    let bits = wish.size as f64 * 8.0 / 1e6;
    let what = format!("{} MiB from one site to eight, {mbit} Mbit/s each way", wish.size >> 20);
    report.push(Row {
        what,
        unit: "Mbit/s to each",
        ours: bits / median(together),
        peer: "to one".into(),
        theirs: Some(bits / median(alone)),
        // 1.5 times and 1.2 times as long.
        floor: Some(1.0 / 1.5),
        aim: Some(1.0 / 1.2),
        note: watch.note(),
    });
    report.push(Row {
        what: "– copies on the source's cable, all included".into(),
        unit: "copies",
        ours: median(copies),
        peer: String::new(),
        theirs: None,
        floor: None,
        aim: None,
        note: "at most 1.6 asked for, 1.2 aimed at".into(),
    });
}
