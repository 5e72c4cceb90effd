//! How fast and how full the disk of the data folder is.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use super::check::Check;
use crate::cli::output::bytes;

const ROUNDS: usize = 20;
/// Every acknowledged upload waits for one sync at least.
const SLOW: Duration = Duration::from_millis(20);

pub(super) fn sync_latency(folder: &Path) -> Check {
    let name = "fsync latency";
    match measure(folder) {
        Err(error) => {
            let remedy = "a node can't acknowledge anything here: check the disk and the folder's permissions";
            Check::fail(name, error.to_string(), remedy)
        }
        Ok(mut times) => {
            times.sort();
            let (median, most) = (times[times.len() / 2], times[times.len() - 1]);
            let detail = format!("p50 {:.2} ms, max {:.2} ms of {ROUNDS}", ms(median), ms(most));
            if median > SLOW {
                return Check::warn(name, detail, "every upload waits for it: use a disk with a protected write cache");
            }
            Check::ok(name, detail)
        }
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn measure(folder: &Path) -> io::Result<Vec<Duration>> {
    let path = folder.join(format!(".doctor-{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
    let mut times = Vec::with_capacity(ROUNDS);
    let outcome = (0..ROUNDS).try_for_each(|_| {
        file.write_all(&[0; 4096])?;
        let begun = Instant::now();
        file.sync_data()?;
        times.push(begun.elapsed());
        Ok(())
    });
    std::fs::remove_file(&path)?;
    outcome.map(|()| times)
}

pub(super) fn free_space(folder: &Path, reserve: Option<u64>) -> Check {
    let name = "free disk space";
    match rustix::fs::statvfs(folder) {
        Err(error) => Check::warn(name, error.to_string(), "check the data folder"),
        Ok(stat) => judge_space(stat.f_bavail.saturating_mul(stat.f_frsize), reserve.unwrap_or(256 << 20)),
    }
}

pub(super) fn judge_space(free: u64, reserve: u64) -> Check {
    let name = "free disk space";
    let detail = format!("{} free, {} reserved", bytes(free), bytes(reserve));
    if free <= reserve {
        Check::fail(name, detail, "uploads are refused: free some space, or lower store.reserve")
    } else if free / 4 < reserve {
        Check::warn(name, detail, "uploads will soon be refused: free some space")
    } else {
        Check::ok(name, detail)
    }
}
