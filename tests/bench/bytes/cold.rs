//! One large download that comes from the disk, and what those wait meanwhile who ask for small ones that don't.

use std::fs::{self, File};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::Wish;
use super::harness::{Circle, Dice, Setup};
use super::load::Target;
use super::machine::{Disturbance, random_file, timed};
use super::nginx::Nginx;
use super::report::{Report, Row, median};

/// Connections that ask for small ones.
const HANDS: usize = 4;
/// Between two requests of one of them: it is what they wait for that is measured, not how many there can be.
const PAUSE: Duration = Duration::from_millis(2);
const SMALL: usize = 64;

pub async fn run(wish: &Wish, report: &mut Report) {
    let circle = Circle::new(1, 0, Setup::default().with("ARTIMESH_LOG", "warn")).await;
    let ours = Target::of(&circle.nodes[0]);
    let Some(nginx) = Nginx::start(circle.root.path(), None) else { return };
    let theirs = nginx.target();
    fs::create_dir_all(nginx.file("small")).expect("ours");
    for index in 0..SMALL {
        let body = Dice(index as u64).bytes(4 << 10);
        ours.connect().put(&format!("/small/{index}"), &body);
        fs::write(nginx.file("small").join(index.to_string()), &body).expect("ours");
    }
    let path = circle.root.path().join("large");
    random_file(&path, wish.size);
    ours.connect().put_file("/large", &[], &File::open(&path).expect("just written"), wish.size);
    fs::rename(&path, nginx.file("large")).expect("ours");
    if forget_cached().is_err() {
        println!("only root can empty the page cache: the cold stream is left out");
        return;
    }

    let watch = Disturbance::watch();
    let mut turns: [(Vec<f64>, Vec<f64>); 2] = Default::default();
    for round in 0..=wish.rounds {
        for (target, (rates, waits)) in [&ours, &theirs].into_iter().zip(&mut turns) {
            let (rate, wait) = turn(target, wish.size);
            // The first turn warms everything up.
            if round > 0 {
                rates.push(rate);
                waits.push(wait);
            }
        }
    }
    let [(rates, waits), (their_rates, their_waits)] = turns;
    let mib = wish.size as f64 / 1_048_576.0;
    let row = Row {
        what: format!("a cold download of {mib:.0} MiB"),
        unit: "MiB/s",
        ours: median(rates),
        peer: "nginx".into(),
        theirs: Some(median(their_rates)),
        floor: Some(0.9),
        aim: None,
        note: watch.note(),
    };
    report.push(row.clone());
    report.push(Row {
        what: "warm downloads of 4 KiB beside it, p99".into(),
        unit: "ms",
        ours: median(waits),
        theirs: Some(median(their_waits)),
        floor: None,
        note: format!("at most 1.0: less is better; {}", watch.note()),
        ..row
    });
}

/// Mebibytes a second of the large one, and the 99th percentile of what the small ones took, in milliseconds.
fn turn(target: &Target, size: u64) -> (f64, f64) {
    forget_cached().expect("root");
    let mut warm = target.connect();
    for index in 0..SMALL {
        warm.get_discarding(&format!("/small/{index}"));
    }
    let is_over = AtomicBool::new(false);
    let is_over = &is_over;
    std::thread::scope(|scope| {
        let ask = |hand: usize| {
            let mut connection = target.connect();
            let mut waits = Vec::new();
            for index in (hand..).step_by(HANDS) {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                let begun = Instant::now();
                connection.get_discarding(&format!("/small/{}", index % SMALL));
                waits.push(begun.elapsed().as_secs_f64() * 1e3);
                std::thread::sleep(PAUSE);
            }
            waits
        };
        let asking: Vec<_> = (0..HANDS).map(|hand| scope.spawn(move || ask(hand))).collect();
        let (took, length) = timed(|| target.connect().get_discarding("/large"));
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(length, size);
        let mut waits: Vec<f64> = asking.into_iter().flat_map(|hand| hand.join().expect("no panic")).collect();
        waits.sort_by(f64::total_cmp);
        (size as f64 / 1_048_576.0 / took, waits[waits.len() * 99 / 100])
    })
}

/// What is on the disk is nowhere else any more.
fn forget_cached() -> std::io::Result<()> {
    rustix::fs::sync();
    fs::write("/proc/sys/vm/drop_caches", "1")
}
