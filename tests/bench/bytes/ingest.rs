//! Uploads.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use md5::{Digest as _, Md5};

use super::Wish;
use super::harness::{Circle, Dice, Setup};
use super::load::{Target, put_many};
use super::machine::{Disturbance, Peak, random_file, timed};
use super::nginx::Nginx;
use super::report::{Report, Row, by_turns};

/// Uploads at once of the small ones.
const HANDS: usize = 16;
const SMALL: usize = 10_000;
const SMALL_BYTES: usize = 4096;

pub async fn run(wish: &Wish, report: &mut Report) {
    let setup = Setup::default().with("ARTIMESH_LOG", "warn");
    let circle = Circle::new(1, 0, setup).await;
    let node = &circle.nodes[0];
    let ours = Target::of(node);
    let nginx = Nginx::start(circle.root.path(), None);
    let path = circle.root.path().join("large");
    random_file(&path, wish.size);
    let file = File::open(&path).expect("just written");
    large(wish, report, &ours, nginx.as_ref(), &file);
    small(wish, report, &ours, nginx.as_ref(), circle.root.path());
    many_large(wish, report, &ours, node.pid(), &file);
}

/// Bytes that make each upload one of its own.
fn prefix(round: usize, side: u64) -> [u8; 16] {
    let mut prefix = [0; 16];
    prefix[..8].copy_from_slice(&(round as u64).to_le_bytes());
    prefix[8..].copy_from_slice(&side.to_le_bytes());
    prefix
}

fn large(wish: &Wish, report: &mut Report, ours: &Target, nginx: Option<&Nginx>, file: &File) {
    let mib = wish.size as f64 / 1_048_576.0;
    let upload = |target: &Target, round: usize, side| {
        let name = format!("/large/{round}");
        mib / timed(|| target.connect().put_file(&name, &prefix(round, side), file, wish.size)).0
    };
    let (here, there, watch) =
        by_turns(wish.rounds, |round| upload(ours, round, 1), |_| mib / timed(|| md5_of(file)).0);
    report.push(Row {
        what: format!("ingest of {mib:.0} MiB, four checksums, durable"),
        unit: "MiB/s",
        ours: here,
        peer: "MD5 alone".into(),
        theirs: Some(there),
        floor: Some(0.7),
        aim: Some(0.85),
        note: watch.note(),
    });
    let Some(nginx) = nginx else { return };
    let target = nginx.target();
    let again = wish.rounds + 1;
    let (here, there, watch) = by_turns(
        wish.rounds,
        |round| upload(ours, again + round, 1),
        |round| {
            let rate = upload(&target, round, 2);
            fs::remove_file(nginx.file(&format!("large/{round}"))).expect("just uploaded");
            rate
        },
    );
    report.push(Row {
        what: format!("ingest of {mib:.0} MiB, four checksums, durable"),
        unit: "MiB/s",
        ours: here,
        peer: "nginx DAV, which hashes and syncs nothing".into(),
        theirs: Some(there),
        floor: None,
        aim: None,
        note: watch.note(),
    });
}

fn md5_of(file: &File) -> [u8; 16] {
    let (mut md5, mut piece, mut at) = (Md5::new(), vec![0; 1 << 20], 0);
    loop {
        let read = file.read_at(&mut piece, at).expect("ours");
        if read == 0 {
            return md5.finalize().into();
        }
        md5.update(&piece[..read]);
        at += read as u64;
    }
}

fn small(wish: &Wish, report: &mut Report, ours: &Target, nginx: Option<&Nginx>, root: &Path) {
    let bodies = |round: usize, side: u64| -> Vec<Vec<u8>> {
        let mut dice = Dice((round as u64) << 32 | side);
        (0..SMALL).map(|_| dice.bytes(SMALL_BYTES)).collect()
    };
    let upload = |target: &Target, round: usize, side| {
        put_many(target, &format!("/small/{side}/{round}"), &bodies(round, side), HANDS)
    };
    let what = format!("{SMALL} uploads of 4 KiB at {HANDS} connections, each durable");
    let folder = root.join("loop");
    fs::create_dir_all(&folder).expect("ours");
    let (here, there, watch) =
        by_turns(wish.rounds, |round| upload(ours, round, 3), |round| loop_rate(&folder, &bodies(round, 4)));
    let row = Row {
        what,
        unit: "/s",
        ours: here,
        peer: "write + fsync + rename in a loop".into(),
        theirs: Some(there),
        floor: Some(5.0),
        aim: None,
        note: watch.note(),
    };
    report.push(row.clone());
    let Some(nginx) = nginx else { return };
    let target = nginx.target();
    let again = wish.rounds + 1;
    let (here, there, watch) =
        by_turns(wish.rounds, |round| upload(ours, again + round, 5), |round| upload(&target, round, 6));
    let peer = "nginx DAV, which syncs nothing".into();
    report.push(Row { ours: here, theirs: Some(there), peer, floor: None, aim: Some(1.0), note: watch.note(), ..row });
}

/// What a careful program without a store does.
fn loop_rate(folder: &Path, bodies: &[Vec<u8>]) -> f64 {
    let (took, ()) = timed(|| {
        for (index, body) in bodies.iter().enumerate() {
            let partial = folder.join("partial");
            let mut file = File::create(&partial).expect("ours");
            file.write_all(body).and_then(|()| file.sync_all()).expect("room on the disk");
            fs::rename(&partial, folder.join(index.to_string())).expect("ours");
        }
    });
    bodies.len() as f64 / took
}

fn many_large(wish: &Wish, report: &mut Report, ours: &Target, process: u32, file: &File) {
    let (peak, watch) = (Peak::of(process), Disturbance::watch());
    let uploads = 16;
    let (took, ()) = timed(|| {
        std::thread::scope(|scope| {
            for index in 0..uploads {
                let name = format!("/many/{index}");
                scope.spawn(move || ours.connect().put_file(&name, &prefix(index, 7), file, wish.size));
            }
        });
    });
    let mib = wish.size as f64 / 1_048_576.0;
    report.push(Row {
        what: format!("{uploads} uploads of {mib:.0} MiB at once, all together"),
        unit: "MiB/s",
        ours: mib * uploads as f64 / took,
        peer: String::new(),
        theirs: None,
        floor: None,
        aim: None,
        note: format!("peak RssAnon {:.0} MiB, bound 128; {}", peak.mib(), watch.note()),
    });
}
