//! What only an administrator of the machine can set up for a test. Each says `None`, and why, when it can't be had.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

pub(super) fn run(program: &str, args: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(args).output().map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{program} {args:?}: {said}")) }
}

pub(super) fn or_skip<T>(what: &str, outcome: Result<T, String>) -> Option<T> {
    outcome.inspect_err(|reason| println!("skipped: {what} can't be had here: {reason}")).ok()
}

/// A small file system of its own. Unmounted when dropped.
pub struct Disk(pub PathBuf);

impl Disk {
    /// At `path`, which is made.
    pub fn new(path: &Path, mebibytes: u32) -> Option<Disk> {
        std::fs::create_dir(path).expect("a new folder");
        let (size, target) = (format!("size={mebibytes}m,mode=700"), path.to_string_lossy());
        let mounted = run("mount", &["-t", "tmpfs", "-o", &size, "artimesh-test", &target]);
        or_skip("a small disk", mounted.map(|()| Disk(path.to_owned())))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let target = self.0.to_string_lossy();
        // A node that was killed just now may still hold it: lazily then.
        let _ = run("umount", &[&target]).or_else(|_| run("umount", &["-l", &target]));
    }
}

/// An address of this machine that isn't a loopback one, though nothing else can reach it. Taken away when dropped.
pub struct Address(pub String);

impl Address {
    pub fn new() -> Option<Address> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // TEST-NET-1: nobody's.
        let address = format!("192.0.2.{}", 1 + (std::process::id() + NEXT.fetch_add(1, Ordering::Relaxed)) % 250);
        let added = run("ip", &["address", "add", &format!("{address}/32"), "dev", "lo"]);
        or_skip("an address of its own", added.map(|()| Address(address)))
    }
}

impl Drop for Address {
    fn drop(&mut self) {
        let _ = run("ip", &["address", "del", &format!("{}/32", self.0), "dev", "lo"]);
    }
}
