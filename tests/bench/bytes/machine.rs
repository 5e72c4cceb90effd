//! What else the machine did meanwhile, and what a process used of it.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use super::harness::Dice;

/// Ticks of the processor since boot, by /proc/stat: all, idle, stolen by other machines.
fn ticks() -> (u64, u64, u64) {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let first = stat.lines().next().unwrap_or_default();
    let numbers: Vec<u64> = first.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    let at = |index: usize| numbers.get(index).copied().unwrap_or(0);
    (numbers.iter().take(8).sum(), at(3) + at(4), at(7))
}

/// How busy others were right before a measurement, and how much was stolen during it.
#[derive(Clone, Copy, Debug)]
pub struct Disturbance {
    busy_before: f64,
    begun: (u64, u64, u64),
}

impl Disturbance {
    /// Looks at the machine for a moment, while nothing is measured yet.
    pub fn watch() -> Disturbance {
        let before = ticks();
        std::thread::sleep(Duration::from_millis(500));
        let begun = ticks();
        let all = (begun.0 - before.0).max(1) as f64;
        Disturbance { busy_before: 1.0 - (begun.1 - before.1) as f64 / all, begun }
    }

    pub fn ended(self) -> Disturbance {
        self
    }

    /// Empty when the machine was quiet.
    pub fn note(&self) -> String {
        let now = ticks();
        let stolen = (now.2 - self.begun.2) as f64 / (now.0 - self.begun.0).max(1) as f64;
        if self.busy_before < 0.15 && stolen < 0.02 {
            return String::new();
        }
        format!("disturbed: {:.0} % busy before, {:.0} % stolen", self.busy_before * 100.0, stolen * 100.0)
    }
}

/// Seconds of processor that a process and its children took so far.
pub fn cpu_seconds(process: u32) -> f64 {
    let own = |process: u32| -> f64 {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let tick = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
        // 100 ticks a second on every Linux that matters.
        (tick(11) + tick(12)) / 100.0
    };
    children(process).into_iter().map(own).sum::<f64>() + own(process)
}

fn children(process: u32) -> BTreeSet<u32> {
    let path = format!("/proc/{process}/task/{process}/children");
    fs::read_to_string(path).unwrap_or_default().split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// A process's anonymous memory that is in RAM, sampled until it is asked for its peak.
pub struct Peak {
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    thread: std::thread::JoinHandle<u64>,
}

impl Peak {
    pub fn of(process: u32) -> Peak {
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let flag = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut peak = 0;
            while !flag.load(std::sync::atomic::Ordering::Relaxed) {
                peak = peak.max(rss_anon_bytes(process));
                std::thread::sleep(Duration::from_millis(20));
            }
            peak
        });
        Peak { stop, thread }
    }

    pub fn mib(self) -> f64 {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        self.thread.join().expect("no panic") as f64 / 1_048_576.0
    }
}

fn rss_anon_bytes(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Seconds that something took.
pub fn timed<T>(job: impl FnOnce() -> T) -> (f64, T) {
    let begun = Instant::now();
    let result = job();
    (begun.elapsed().as_secs_f64(), result)
}

/// A file of bytes that don't compress, in the page cache.
pub fn random_file(path: &std::path::Path, bytes: u64) {
    use std::io::Write as _;
    let mut file = std::io::BufWriter::with_capacity(1 << 20, fs::File::create(path).expect("ours"));
    let mut dice = Dice(bytes);
    let mut left = bytes;
    while left > 0 {
        let piece = dice.bytes(left.min(1 << 20) as usize);
        file.write_all(&piece).expect("room on the disk");
        left -= piece.len() as u64;
    }
    file.flush().expect("room on the disk");
}
