//! One large artifact from node to node over a long link, beside iperf3 on the same link with the same kernel settings.

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::Wish;
use super::harness::{Circle, Hub, Node, Place, Setup};
use super::link::{self, Shape};
use super::load::Target;
use super::machine::{Disturbance, random_file};
use super::report::{Report, Row, median};
use super::transfer::mirrored;

/// As `config/` advises.
const KERNEL: [&str; 3] = [
    "net.ipv4.tcp_congestion_control=bbr",
    "net.ipv4.tcp_wmem=4096 65536 67108864",
    "net.ipv4.tcp_rmem=4096 131072 67108864",
];

const CLEAN: Shape = Shape { mbit: 1000.0, delay: Duration::from_millis(25), lost_ppm: 0, queue_bytes: 6e6 };

pub async fn run(wish: &Wish, report: &mut Report) {
    over(wish, report, "1 Gbit/s with 50 ms", CLEAN, "iperf3").await;
}

/// The same, and one packet of a hundred is lost.
pub async fn run_lossy(wish: &Wish, report: &mut Report) {
    let lossy = Shape { lost_ppm: 10_000, ..CLEAN };
    over(wish, report, "1 Gbit/s with 50 ms and 1 % loss", lossy, "iperf3, one stream").await;
}

async fn over(wish: &Wish, report: &mut Report, what: &str, shape: Shape, peer: &str) {
    let size = wish.size;
    let Some(hub) = Hub::with_places(2) else {
        println!("wan: not measured: network namespaces need root and ip");
        return;
    };
    let places = [hub.place(0), hub.place(1)];
    places.iter().for_each(set_kernel);
    link::between(&places[0], &places[1], shape).expect("a TUN device");
    let root = tempfile::tempdir().expect("a folder");
    let path = root.path().join("large");
    random_file(&path, size);
    let file = File::open(&path).expect("just written");
    let nodes = places.iter().enumerate().map(|(index, place)| {
        let setup = Setup { new_circle: index == 0, place: Some(place.clone()), ..Setup::default() };
        Node::init(root.path(), &format!("site-{index}"), setup.with("ARTIMESH_LOG", "warn"))
    });
    let nodes = nodes.collect();
    let circle = Circle::of(nodes, 2, root).await;
    let author = Target::of(&circle.nodes[0]);
    let mbit = size as f64 * 8.0 / 1e6;
    let watch = Disturbance::watch();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..=wish.rounds.min(3) as u64 {
        author.connect().put_file(&format!("/large/{round}"), &round.to_le_bytes(), &file, size);
        ours.push(mbit / mirrored(&circle.nodes[1], round + 1).await);
        theirs.extend(iperf3(&places));
    }
    let turns = |rates: Vec<f64>| median(rates.into_iter().skip(1).collect());
    report.push(Row {
        what: format!("{} MiB from node to node over {what}", size >> 20),
        unit: "Mbit/s",
        ours: turns(ours),
        peer: peer.into(),
        theirs: (!theirs.is_empty()).then(|| turns(theirs)),
        floor: Some(0.9),
        aim: None,
        note: watch.note(),
    });
}

fn set_kernel(place: &Place) {
    for setting in KERNEL {
        let mut command = place.command("sysctl");
        let status = command.args(["-q", "-w", setting]).stderr(Stdio::null()).status();
        if !status.is_ok_and(|status| status.success()) {
            println!("wan: {setting} can't be set here");
        }
    }
}

/// From the first place to the second; `None` without iperf3.
fn iperf3(places: &[Place; 2]) -> Option<f64> {
    Command::new("iperf3").arg("--version").stdout(Stdio::null()).status().ok()?;
    let address = places[1].address.to_string();
    let mut server =
        places[1].command("iperf3").args(["-s", "-1", "-B", &address]).stdout(Stdio::null()).spawn().ok()?;
    std::thread::sleep(Duration::from_millis(300));
    let output = places[0].command("iperf3").args(["-c", &address, "-t", "8", "-J"]).output().ok()?;
    let _ = server.wait();
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    said["end"]["sum_received"]["bits_per_second"].as_f64().map(|bits| bits / 1e6)
}
