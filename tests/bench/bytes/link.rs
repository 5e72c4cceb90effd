//! A long link between two network namespaces, in user space: rate, delay, loss, and a queue that is bounded. For kernels
//! without netem.
//!
//! A TUN device on each side; what one hands over is given to the other when its time has come.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::harness::{Dice, Place};

const DEVICE: &str = "wan0";

/// What a link is like, in each direction.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub mbit: f64,
    /// One way.
    pub delay: Duration,
    /// Of 1,000,000 packets so many are lost.
    pub lost_ppm: u64,
    /// What would wait behind more than this is lost.
    pub queue_bytes: f64,
}

/// Packets on their way, each with the moment of its arrival.
type Queue = Arc<(Mutex<VecDeque<(Instant, Vec<u8>)>>, Condvar)>;

/// Both places hang on a link from now on, until the process ends.
pub fn between(one: &Place, other: &Place, shape: Shape) -> io::Result<()> {
    // The kernel hands over large segments where none is to be lost: it takes a tenth of the work.
    let is_large = shape.lost_ppm == 0;
    let ends = [one.within(move || open_tun(is_large))?, other.within(move || open_tun(is_large))?];
    [one, other].into_iter().for_each(hang_on);
    for (seed, from, to) in [(1, 0, 1), (2, 1, 0)] {
        let queue = Queue::default();
        let (reader, writer) = (ends[from].try_clone()?, ends[to].try_clone()?);
        let filled = queue.clone();
        thread::spawn(move || take(reader, &filled, shape, seed));
        thread::spawn(move || give(writer, &queue));
    }
    Ok(())
}

/// In place of its cable.
fn hang_on(place: &Place) {
    let address = format!("{}/24", place.address);
    let lines: [&[&str]; 4] = [
        &["link", "set", "cable", "down"],
        &["addr", "flush", "dev", "cable"],
        &["addr", "add", &address, "dev", DEVICE],
        &["link", "set", DEVICE, "up"],
    ];
    for line in lines {
        let status = place.command("ip").args(line).status();
        assert!(status.is_ok_and(|status| status.success()), "ip {line:?}");
    }
}

/// The request of `ioctl(TUNSETIFF)`: `struct ifreq` of linux/if.h.
#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: libc::c_short,
    rest: [u8; 22],
}

const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
const TUNSETOFFLOAD: libc::c_ulong = 0x4004_54d0;

#[expect(unsafe_code, reason = "there is no safe call that makes a TUN device")]
fn open_tun(is_large: bool) -> io::Result<File> {
    let file = File::options().read(true).write(true).open("/dev/net/tun")?;
    let large = if is_large { libc::IFF_VNET_HDR } else { 0 };
    let flags = (libc::IFF_TUN | libc::IFF_NO_PI | large) as libc::c_short;
    let mut request = Request { name: [0; 16], flags, rest: [0; 22] };
    request.name[..DEVICE.len()].copy_from_slice(DEVICE.as_bytes());
    // SAFETY: the descriptor is open, and the request is laid out as the kernel reads and writes it, 40 bytes long.
    if unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, &raw mut request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // Checksums and segments of both IP versions: TUN_F_CSUM, TSO4, TSO6.
    let offload: libc::c_ulong = 1 | 2 | 4;
    // SAFETY: the descriptor is open, and this call takes a number.
    if is_large && unsafe { libc::ioctl(file.as_raw_fd(), TUNSETOFFLOAD, offload) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(file)
}

/// Takes packets in, and says when each will arrive.
fn take(mut from: File, queue: &Queue, shape: Shape, seed: u64) {
    let mut dice = Dice(seed);
    let seconds_per_byte = 8.0 / (shape.mbit * 1e6);
    let mut line_free_at = Instant::now();
    let mut packet = vec![0; 128 << 10];
    while let Ok(length) = from.read(&mut packet) {
        let now = Instant::now();
        line_free_at = line_free_at.max(now);
        let waiting_bytes = (line_free_at - now).as_secs_f64() / seconds_per_byte;
        if waiting_bytes > shape.queue_bytes || dice.below(1_000_000) < shape.lost_ppm {
            continue;
        }
        line_free_at += Duration::from_secs_f64(length as f64 * seconds_per_byte);
        let (packets, arrived) = &**queue;
        packets.lock().expect("no panic").push_back((line_free_at + shape.delay, packet[..length].to_vec()));
        arrived.notify_one();
    }
}

/// Gives each packet to the other side when its time has come.
fn give(mut to: File, queue: &Queue) {
    let (packets, arrived) = &**queue;
    loop {
        let mut waiting = packets.lock().expect("no panic");
        while waiting.is_empty() {
            waiting = arrived.wait(waiting).expect("no panic");
        }
        let Some((at, _)) = waiting.front() else { continue };
        let left = at.saturating_duration_since(Instant::now());
        if left > Duration::from_micros(100) {
            drop(waiting);
            thread::sleep(left);
            continue;
        }
        let packet = waiting.pop_front();
        drop(waiting);
        if let Some((_, packet)) = packet {
            // A device that is down takes nothing: as on any link, it is lost.
            let _ = to.write(&packet);
        }
    }
}
