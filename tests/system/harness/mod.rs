//! Nodes as processes, circles of them, a small HTTP client, and waiting with a deadline.

mod circle;
mod client;
mod clock;
mod content;
mod curl;
mod device;
mod mount;
mod namespace;
mod node;
mod platter;
mod proxy;
mod raw;
pub mod stranger;
mod wait;

pub use circle::{Circle, REPO, listing, repository};
pub use client::{Answer, Client};
pub use clock::Clock;
pub use content::Content;
pub use curl::{Got, curl};
pub use device::Device;
pub use mount::{Address, Disk};
pub use namespace::{Hub, Place};
pub use node::{Node, Setup, binary, command};
pub use proxy::Proxy;
pub use raw::{Raw, exchange, status_of};
pub use wait::{DEADLINE, until};

/// Whether the long tier runs.
pub fn is_long() -> bool {
    std::env::var("ARTIMESH_LONG").is_ok_and(|value| value == "1")
}

/// A generator of numbers from a seed (SplitMix64), so that a failing run can be repeated.
pub struct Dice(pub u64);

impl Dice {
    /// From `ARTIMESH_SEED`, or the clock; printed, so that a failure tells how to repeat it.
    pub fn fresh(what: &str) -> Dice {
        let clock = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        let seed = std::env::var("ARTIMESH_SEED").ok().and_then(|text| text.parse().ok());
        let seed = seed.unwrap_or_else(|| clock().as_nanos() as u64);
        println!("{what}: ARTIMESH_SEED={seed}");
        Dice(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Bytes that don't compress and differ from call to call.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

pub fn sha256_hex(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(bytes))
}

/// What the files in a folder take on their disk, in bytes.
pub fn bytes_on_disk(folder: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_on_disk(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        // It went away meanwhile.
        Err(_) => 0,
    };
    entries.filter_map(Result::ok).map(size).sum()
}
