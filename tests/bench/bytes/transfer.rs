//! One large artifact from one node to another over loopback: verified, and durable at the end.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::Wish;
use super::harness::{Circle, Node, REPO, Setup, repository};
use super::load::Target;
use super::machine::{Disturbance, Peak, random_file, timed};
use super::report::{Report, Row, median};
use super::rsync::Rsync;
use super::stock;

pub async fn run(wish: &Wish, report: &mut Report) {
    let circle = Circle::new(2, 0, Setup::default().with("ARTIMESH_LOG", "warn")).await;
    let folder = circle.root.path().join("files");
    fs::create_dir_all(&folder).expect("ours");
    let path = folder.join("large");
    let size = 4 * wish.size;
    random_file(&path, size);
    let file = File::open(&path).expect("just written");
    let rsync = Rsync::offering(&folder, circle.root.path());
    let author = Target::of(&circle.nodes[0]);

    let (watch, peak) = (Disturbance::watch(), Peak::of(circle.nodes[1].pid()));
    let (mut ours, mut plain, mut synced) = (Vec::new(), Vec::new(), Vec::new());
    let (mut stock, mut tcp) = (Vec::new(), Vec::new());
    let mib = size as f64 / 1_048_576.0;
    for round in 0..=wish.rounds {
        author.connect().put_file(&format!("/large/{round}"), &(round as u64).to_le_bytes(), &file, size);
        let took = mirrored(&circle.nodes[1], round as u64 + 1).await;
        ours.push(mib / took);
        if let Some(rsync) = &rsync {
            plain.push(mib / rsync.carry(false));
            synced.push(mib / rsync.carry(true));
        }
        stock.push(mib / stock::carry(size));
        tcp.push(mib / plain_tcp(size));
    }
    // The first turn warms everything up.
    let turns = |rates: Vec<f64>| median(rates.into_iter().skip(1).collect());
    let peak = peak.mib();
    let row = Row {
        what: format!("{mib:.0} MiB from node to node, verified and durable"),
        unit: "MiB/s",
        ours: turns(ours),
        peer: "an rsync daemon".into(),
        theirs: None,
        floor: Some(1.4),
        aim: None,
        note: format!("peak RssAnon of the receiver {peak:.0} MiB; {}", watch.note()),
    };
    if rsync.is_some() {
        report.push(Row { theirs: Some(turns(plain)), ..row.clone() });
        let (theirs, peer) = (Some(turns(synced)), "an rsync daemon, --fsync".into());
        report.push(Row { theirs, peer, floor: Some(2.0), aim: Some(2.5), ..row.clone() });
    }
    let (theirs, peer) = (Some(turns(stock)), "libp2p as it comes, which neither verifies nor stores".into());
    report.push(Row { theirs, peer, floor: Some(1.2), aim: Some(2.0), ..row.clone() });
    report.push(Row { theirs: Some(turns(tcp)), peer: "plain TCP".into(), floor: None, ..row });
}

/// Seconds until a mirror lacks nothing and shows `artifacts`.
pub async fn mirrored(node: &Node, artifacts: u64) -> f64 {
    mirrored_as_seen_every(Duration::from_millis(20), node, artifacts).await
}

/// The same, looking less often: to ask costs the node something.
pub async fn mirrored_as_seen_every(interval: Duration, node: &Node, artifacts: u64) -> f64 {
    let begun = Instant::now();
    loop {
        let status = node.status().await.expect("a status");
        let here = repository(&status, REPO).unwrap_or_default();
        if here["artifacts"] == artifacts && here["missing_blobs"] == 0 {
            return begun.elapsed().as_secs_f64();
        }
        tokio::time::sleep(interval).await;
    }
}

/// What loopback carries when nothing is looked at.
fn plain_tcp(size: u64) -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let sender = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(address).expect("a listener");
        let piece = vec![7; 256 << 10];
        let mut left = size;
        while left > 0 {
            let count = left.min(piece.len() as u64) as usize;
            stream.write_all(&piece[..count]).expect("it reads");
            left -= count as u64;
        }
    });
    let (took, ()) = timed(|| {
        let (mut stream, _) = listener.accept().expect("a sender");
        let mut piece = vec![0; 256 << 10];
        while stream.read(&mut piece).expect("bytes") > 0 {}
    });
    sender.join().expect("no panic");
    took
}
