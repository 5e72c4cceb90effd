//! How fast and how full the disks are: that of the data folder, and that of a store which isn't in it.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use super::check::Check;
use crate::cli::output::bytes;
use crate::node::moving::store_folder;

const ROUNDS: usize = 20;
/// Every acknowledged upload waits for one sync at least.
const SLOW: Duration = Duration::from_millis(20);
/// What logs and settings need, and a store whose settings can't be read.
const LOGS_BYTES: u64 = 256 << 20;

/// What is kept in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// Everything.
    All,
    /// Settings, keys and logs; the store is elsewhere.
    AllButStore,
    /// The store, which is elsewhere.
    Store,
}

impl Kept {
    fn name(self) -> &'static str {
        match self {
            Kept::All => "",
            Kept::AllButStore => " of the data folder",
            Kept::Store => " of the store",
        }
    }
}

/// Both checks of each place where something is kept: the data folder, and the store where that was moved, or lies on
/// another disk.
pub(super) fn checks(folder: &Path, reserve: Option<u64>) -> Vec<Check> {
    let store = match store_folder(folder) {
        Ok(store) => store,
        Err(error) => {
            let remedy = "mount the disk that has the store: the node doesn't start without it";
            let absent = Check::fail("store", error.to_string(), remedy);
            let [latency, space] = of(folder, Kept::AllButStore, reserve);
            return vec![absent, latency, space];
        }
    };
    if !is_elsewhere(folder, &store) {
        return of(folder, Kept::All, reserve).into();
    }
    [of(folder, Kept::AllButStore, reserve), of(&store, Kept::Store, reserve)].concat()
}

/// Whether a store is outside of the data folder, or on another disk than it.
fn is_elsewhere(folder: &Path, store: &Path) -> bool {
    let device = |path: &Path| path.metadata().map(|metadata| metadata.dev()).ok();
    // Before the first start there is none.
    device(store).is_some_and(|its| Some(its) != device(folder) || store.parent() != Some(folder))
}

fn of(folder: &Path, kept: Kept, reserve: Option<u64>) -> [Check; 2] {
    [sync_latency(folder, kept), free_space(folder, kept, reserve)]
}

fn sync_latency(folder: &Path, kept: Kept) -> Check {
    let name = format!("fsync latency{}", kept.name());
    let place = folder.display();
    match measure(folder) {
        Err(error) => {
            let remedy = match kept {
                Kept::AllButStore => "no log can be written here: check the disk and the folder's permissions",
                Kept::All | Kept::Store => {
                    "a node can't acknowledge anything here: check the disk and the folder's permissions"
                }
            };
            Check::fail(name, format!("{place}: {error}"), remedy)
        }
        Ok(mut times) => {
            times.sort();
            let (median, most) = (times[times.len() / 2], times[times.len() - 1]);
            let detail = format!("p50 {:.2} ms, max {:.2} ms of {ROUNDS} in {place}", ms(median), ms(most));
            if median > SLOW && kept != Kept::AllButStore {
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

fn free_space(folder: &Path, kept: Kept, reserve: Option<u64>) -> Check {
    let reserve = match kept {
        Kept::AllButStore => LOGS_BYTES,
        Kept::All | Kept::Store => reserve.unwrap_or(LOGS_BYTES),
    };
    match rustix::fs::statvfs(folder) {
        Err(error) => {
            let name = format!("free disk space{}", kept.name());
            Check::warn(name, format!("{}: {error}", folder.display()), "check the folder")
        }
        Ok(stat) => judge_space(folder, kept, stat.f_bavail.saturating_mul(stat.f_frsize), reserve),
    }
}

pub(super) fn judge_space(folder: &Path, kept: Kept, free: u64, reserve: u64) -> Check {
    let name = format!("free disk space{}", kept.name());
    let place = folder.display();
    if kept == Kept::AllButStore {
        let detail = format!("{} free in {place}", bytes(free));
        let is_little = free / 4 < reserve;
        let remedy = "lines of the audit log will be lost: free some space";
        return if is_little { Check::warn(name, detail, remedy) } else { Check::ok(name, detail) };
    }
    let detail = format!("{} free, {} reserved in {place}", bytes(free), bytes(reserve));
    if free <= reserve {
        Check::fail(name, detail, "uploads are refused: free some space, or lower store.reserve")
    } else if free / 4 < reserve {
        Check::warn(name, detail, "uploads will soon be refused: free some space")
    } else {
        Check::ok(name, detail)
    }
}
