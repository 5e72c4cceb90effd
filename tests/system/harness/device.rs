//! A disk whose power can be cut while a node works on it.
//!
//! The kernel's own ways to that (dm-flakey, dm-log-writes) aren't in every kernel; loop devices and FUSE are. A loop device
//! stands on a file that this process serves over FUSE, so each write and each flush of the file system above comes by here
//! and ends on a [`Platter`]. It is one file, so it takes a dozen of FUSE's requests (`linux/fuse.h`, protocol 7.31).

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, mount};

use super::Dice;
use super::mount::{or_skip, run};
use super::platter::{Lost, Platter};
use super::wait::DEADLINE;

const EIO: i32 = 5;
const ENOSYS: i32 = 38;
const REQUEST_BYTES: usize = 40;
/// The most that the kernel writes at once.
const WRITE_BYTES_MAX: u32 = 128 << 10;

struct State {
    platter: Platter,
    has_power: bool,
    doom: Option<Doom>,
    /// What the last failure took.
    lost: Lost,
}

/// When the power fails, and by which dice.
struct Doom {
    /// Before the next but so many.
    after: u64,
    /// Flushes; else writes.
    is_of_flushes: bool,
    dice: Dice,
}

impl State {
    /// A write or a flush comes: `false` when the power is off, or fails right before it.
    fn is_served(&mut self, is_flush: bool) -> bool {
        if let Some(doom) = &mut self.doom
            && doom.is_of_flushes == is_flush
        {
            if doom.after == 0 {
                self.fail();
            } else {
                doom.after -= 1;
            }
        }
        self.has_power
    }

    fn fail(&mut self) {
        if let Some(mut doom) = self.doom.take() {
            self.has_power = false;
            self.lost = self.platter.lose_power(&mut doom.dice);
        }
    }
}

/// A disk with an ext4 on it. Everything is undone when it is dropped.
pub struct Device {
    state: Arc<Mutex<State>>,
    root: PathBuf,
    /// Where the file system is.
    pub path: PathBuf,
    attached: Option<Attached>,
}

/// The ways to a disk that has power.
struct Attached {
    server: JoinHandle<()>,
    device: Option<String>,
    is_mounted: bool,
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of letters")
}

/// The kernel lets go of what a process held some time after its end.
fn insist(program: &str, args: &[&str]) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        match run(program, args) {
            Err(_) if begun.elapsed() < DEADLINE => std::thread::sleep(Duration::from_millis(20)),
            outcome => return outcome,
        }
    }
}

impl Device {
    /// A new one, with an empty file system at `root/disk`. `None` where it can't be had: not root, no loop devices, no FUSE.
    pub fn new(root: &Path, mebibytes: usize) -> Option<Device> {
        let (platter, lost) = (Platter::new(mebibytes << 20), Lost::default());
        let state = Arc::new(Mutex::new(State { platter, has_power: true, doom: None, lost }));
        let path = root.join("disk");
        std::fs::create_dir_all(&path).expect("a folder");
        std::fs::File::create(root.join("platter")).expect("a file to mount on");
        let mut device = Device { state, root: root.to_owned(), path, attached: None };
        or_skip("a disk whose power can be cut", device.attach(true))?;
        Some(device)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attach(&mut self, is_new: bool) -> Result<(), String> {
        let platter = self.root.join("platter");
        let channel = File::options().read(true).write(true).open("/dev/fuse");
        let channel = channel.map_err(|error| format!("/dev/fuse: {error}"))?;
        let options = format!("fd={},rootmode=100600,user_id=0,group_id=0", channel.as_raw_fd());
        let options = CString::new(options).expect("no zeros");
        mount("artimesh-test", &platter, "fuse", MountFlags::NOSUID | MountFlags::NODEV, options.as_c_str())
            .map_err(|error| format!("mounting a file of our own: {error}"))?;
        let state = self.state.clone();
        let server = std::thread::spawn(move || serve(&channel, &state));
        let attached = self.attached.insert(Attached { server, device: None, is_mounted: false });
        let found = Command::new("losetup").args(["--find", "--show"]).arg(&platter).output();
        let found = found.map_err(|error| format!("losetup: {error}"))?;
        if !found.status.success() {
            return Err(format!("losetup: {}", String::from_utf8_lossy(&found.stderr)));
        }
        let device = attached.device.insert(String::from_utf8_lossy(&found.stdout).trim().to_owned());
        if is_new {
            run("mkfs.ext4", &["-q", "-E", "nodiscard", device])?;
        }
        run("mount", &["-t", "ext4", device, text(&self.path)])?;
        attached.is_mounted = true;
        Ok(())
    }

    /// Has the power fail soon: before a write, or better before a flush, with all that it should have made durable on its
    /// way. What isn't durable then is at the mercy of the dice, and every call fails.
    pub fn doom(&self, dice: &mut Dice) {
        let is_of_flushes = dice.below(3) > 0;
        let after = dice.below(if is_of_flushes { 60 } else { 300 });
        self.state().doom = Some(Doom { after, is_of_flushes, dice: Dice(dice.next()) });
    }

    /// Whether it has failed.
    pub fn is_off(&self) -> bool {
        !self.state().has_power
    }

    /// Has it fail now, unless it has; what that took.
    pub fn cut(&self) -> Lost {
        let mut state = self.state();
        state.fail();
        state.lost
    }

    /// Power again: the file system is mounted as it was left. Nobody may hold anything of the old one.
    pub fn come_back(&mut self) {
        self.detach().expect("nobody uses it any more");
        self.state().has_power = true;
        self.attach(false).expect("it was there before");
    }

    fn detach(&mut self) -> Result<(), String> {
        let Some(attached) = self.attached.take() else { return Ok(()) };
        let unmounted = if attached.is_mounted { insist("umount", &[text(&self.path)]) } else { Ok(()) };
        let freed = attached.device.map_or(Ok(()), |device| insist("losetup", &["--detach", &device]));
        // That ends the server, too.
        let platter = self.root.join("platter");
        let ended = insist("umount", &[text(&platter)]).map(|()| attached.server.join().expect("no panic"));
        unmounted.and(freed).and(ended)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Err(error) = self.detach() {
            println!("{} isn't undone: {error}", self.path.display());
        }
    }
}

/// Answers until the file is unmounted.
fn serve(mut channel: &File, state: &Mutex<State>) {
    let mut buffer = vec![0; WRITE_BYTES_MAX as usize + 4096];
    loop {
        let request = match channel.read(&mut buffer) {
            Ok(bytes) => &buffer[..bytes],
            // It was given up before it was read.
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::NotFound) => continue,
            Err(_) => return,
        };
        if let Some(answer) = answer(request, &mut state.lock().unwrap_or_else(PoisonError::into_inner)) {
            // Whoever asked may have given up.
            let _ = channel.write(&answer);
        }
    }
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn short(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// The answer to one request; `None` where none is awaited.
fn answer(request: &[u8], state: &mut State) -> Option<Vec<u8>> {
    let (opcode, unique, body) = (short(request, 4), number(request, 8), &request[REQUEST_BYTES..]);
    let outcome = match opcode {
        // Forget, interrupt, forget many.
        2 | 36 | 42 => return None,
        26 => Ok(greeting()),
        3 => Ok(attributes(state.platter.size() as u64)),
        // Open: past the page cache, so that nothing waits in it.
        14 => Ok([&[0; 8][..], &1_u32.to_le_bytes(), &[0; 4]].concat()),
        // Release, flush (which means close), destroy.
        18 | 25 | 38 => Ok(Vec::new()),
        15 if !state.has_power => Err(EIO),
        16 | 20 if !state.is_served(opcode == 20) => Err(EIO),
        15 => Ok(state.platter.read(number(body, 8) as usize, short(body, 16) as usize).to_vec()),
        16 => {
            let bytes = &body[40..40 + short(body, 16) as usize];
            let is_written = state.platter.write(number(body, 8) as usize, bytes);
            is_written.then(|| u64::from(bytes.len() as u32).to_le_bytes().to_vec()).ok_or(EIO)
        }
        20 => {
            state.platter.flush();
            Ok(Vec::new())
        }
        _ => Err(ENOSYS),
    };
    let (error, payload) = outcome.map_or_else(|error| (-error, Vec::new()), |payload| (0, payload));
    let length = 16 + payload.len() as u32;
    Some([&length.to_le_bytes()[..], &error.to_le_bytes(), &unique.to_le_bytes(), &payload].concat())
}

/// What we speak: version, read-ahead, flags (large writes), requests at once, and the longest write.
fn greeting() -> Vec<u8> {
    let mut greeting = Vec::with_capacity(64);
    for value in [7_u32, 31, 0, 1 << 5, 64 | 48 << 16, WRITE_BYTES_MAX, 1] {
        greeting.extend_from_slice(&value.to_le_bytes());
    }
    greeting.resize(64, 0);
    greeting
}

/// A regular file of this size, and that nobody need remember that.
fn attributes(size: u64) -> Vec<u8> {
    let mut attributes = vec![0; 16];
    for value in [1, size, size.div_ceil(512), 0, 0, 0] {
        attributes.extend_from_slice(&value.to_le_bytes());
    }
    for value in [0_u32, 0, 0, 0o100_600, 1, 0, 0, 0, 4096, 0] {
        attributes.extend_from_slice(&value.to_le_bytes());
    }
    attributes
}
