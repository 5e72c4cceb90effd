//! One node: its folder, its process.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use serde_json::Value;

use super::Place;
use super::client::Client;
use super::clock::Clock;
use super::wait::{DEADLINE, until};

/// How a node is set up.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    pub new_circle: bool,
    /// More settings, as environment variables: `("ARTIMESH_SWARM_GOSSIP", "false")`.
    pub settings: Vec<(String, String)>,
    /// More words behind `serve`.
    pub words: Vec<String>,
    /// The user that the first node runs as, the next ones counting up: so that a firewall can tell them apart. Needs root.
    pub user: Option<u32>,
    /// Another binary than the one under test.
    pub binary: Option<PathBuf>,
    /// A network namespace that it runs in, and its address there.
    pub place: Option<Place>,
    /// A clock of its own.
    pub clock: Option<Clock>,
}

impl Setup {
    fn binary(&self) -> PathBuf {
        self.binary.clone().unwrap_or_else(binary)
    }

    pub fn with(mut self, name: &str, value: &str) -> Setup {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A loopback address of its own for each node, so that ports can be fixed and a node that restarts is found again.
fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let process = std::process::id();
    Ipv4Addr::new(127, 16 + (process % 200) as u8, (process / 200 % 32 * 8 + next / 250) as u8, (next % 250 + 1) as u8)
}

/// A node, running or not. Killed when dropped.
pub struct Node {
    pub name: String,
    pub address: Ipv4Addr,
    pub folder: PathBuf,
    setup: Setup,
    child: Option<Child>,
}

/// The binary under test: `ARTIMESH_TEST_BINARY`, for one that was built otherwise, or the one built with the tests.
pub fn binary() -> PathBuf {
    std::env::var_os("ARTIMESH_TEST_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_artimesh").into()).into()
}

/// The binary under test, without the settings and profiles of whoever runs the tests, whose own are in `home`.
pub fn command(home: &Path) -> Command {
    let mut command = program(&binary(), None);
    command.env("HOME", home).env_remove("XDG_CONFIG_HOME").stdin(Stdio::null());
    command
}

/// A command without the settings of whoever runs the tests, at its place.
fn program(binary: &Path, place: Option<&Place>) -> Command {
    let mut command = place.map_or_else(|| Command::new(binary), |place| place.command(binary));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ARTIMESH_")) {
        command.env_remove(name);
    }
    command
}

impl Node {
    /// Initialises a node in `root/NAME`.
    pub fn init(root: &Path, name: &str, setup: Setup) -> Node {
        let folder = root.join(name);
        let mut command = program(&setup.binary(), None);
        command.arg("init").arg("--data").arg(&folder).args(["--name", name]);
        if setup.new_circle {
            command.arg("--new-circle");
        }
        let output = command.output().expect("the binary runs");
        assert!(output.status.success(), "init: {}", String::from_utf8_lossy(&output.stderr));
        Node::existing(folder, name, own_address(), setup)
    }

    /// A node whose folder is there already.
    pub fn existing(folder: PathBuf, name: &str, loopback: Ipv4Addr, setup: Setup) -> Node {
        let address = setup.place.as_ref().map_or(loopback, |place| place.address);
        Node { name: name.to_owned(), address, folder, setup, child: None }
    }

    /// Starts the process and waits until it serves HTTP.
    pub fn start(&mut self) {
        self.spawn();
        let start = Instant::now();
        while !self.folder.join("http.addr").exists() {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().expect("a child"));
            assert!(ended.is_none(), "{} ended at once: {}", self.name, self.log_tail());
            assert!(start.elapsed() < DEADLINE, "{} doesn't serve: {}", self.name, self.log_tail());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// Starts the process and waits for nothing.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let _ = fs::remove_file(self.folder.join("http.addr"));
        let binary = self.setup.user.map_or_else(|| self.setup.binary(), |user| self.hand_over(user));
        let log = File::options().create(true).append(true).open(self.log_path()).expect("a log file");
        let mut command = program(&binary, self.setup.place.as_ref());
        if let Some(user) = self.setup.user {
            command.uid(user).gid(user);
        }
        if let Some(clock) = &self.setup.clock {
            command.envs(clock.variables());
        }
        command
            .arg("serve")
            .arg("--data")
            .arg(&self.folder)
            .args(&self.setup.words)
            .env("ARTIMESH_HTTP_LISTEN", "127.0.0.1:0")
            .env("ARTIMESH_SWARM_LISTEN", format!("/ip4/{}/tcp/8083", self.address))
            .env("ARTIMESH_SWARM_BULK_LISTEN", format!("/ip4/{}/tcp/8084", self.address))
            .env("ARTIMESH_REPLICATION_HEADS_INTERVAL", "1s")
            .env("ARTIMESH_STORE_RESERVE", "1MiB")
            .env("ARTIMESH_LOG", std::env::var("ARTIMESH_TEST_LOG").unwrap_or_else(|_| "info,artimesh=debug".into()))
            .envs(self.setup.settings.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log);
        self.child = Some(command.spawn().expect("the binary runs"));
    }

    /// Gives the folder to `user`, and a binary that it can reach.
    fn hand_over(&self, user: u32) -> PathBuf {
        let root = self.folder.parent().expect("a folder in a folder");
        fs::set_permissions(root, fs::Permissions::from_mode(0o755)).expect("ours");
        let copy = root.join("artimesh");
        if !copy.exists() {
            fs::copy(self.setup.binary(), &copy).expect("copied");
        }
        let owner = format!("{user}:{user}");
        let status = Command::new("chown").args(["-R", &owner]).arg(&self.folder).status().expect("chown runs");
        assert!(status.success(), "chown needs root");
        copy
    }

    pub fn user(&self) -> Option<u32> {
        self.setup.user
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.setup.settings.retain(|(known, _)| known != name);
        self.setup.settings.push((name.to_owned(), value.to_owned()));
    }

    /// The binary under test from the next start on.
    pub fn upgrade(&mut self) {
        self.setup.binary = None;
    }

    /// Gives `serve` one more word from the next start on.
    pub fn say(&mut self, word: &str) {
        self.setup.words.push(word.to_owned());
    }

    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("running").id()
    }

    pub fn log_path(&self) -> PathBuf {
        self.folder.with_extension("log")
    }

    pub fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").arg(signal).arg(self.pid().to_string()).status().expect("kill runs");
        assert!(status.success(), "kill {signal} {}", self.name);
    }

    /// SIGTERM, and waits for a clean end.
    pub fn stop(&mut self) {
        self.terminate();
        self.ended();
    }

    /// SIGTERM, and nothing more.
    pub fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Whether the process is still there.
    pub fn is_alive(&mut self) -> bool {
        self.child.as_mut().expect("running").try_wait().expect("a child").is_none()
    }

    /// Waits for a clean end.
    pub fn ended(&mut self) {
        let mut child = self.child.take().expect("running");
        let start = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().expect("a child") {
                break status;
            }
            assert!(start.elapsed() < DEADLINE, "{} doesn't stop: {}", self.name, self.log_tail());
            std::thread::sleep(std::time::Duration::from_millis(10));
        };
        assert!(status.success(), "{} ended with {status}: {}", self.name, self.log_tail());
    }

    /// kill -9.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("running");
        child.kill().expect("killed");
        child.wait().expect("reaped");
    }

    /// SIGSTOP: connected, and silent.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    pub fn token(&self) -> String {
        fs::read_to_string(self.folder.join("admin.token")).expect("a token").trim().to_owned()
    }

    /// As the administrator.
    pub fn client(&self) -> Client {
        let address = fs::read_to_string(self.folder.join("http.addr")).expect("it serves");
        let address = address.trim().parse().expect("an address");
        Client { address, token: Some(self.token()), place: self.setup.place.clone() }
    }

    /// Runs `artimesh ARGS --data FOLDER` with `input` on standard input.
    pub fn try_cli(&self, args: &[&str], input: &str) -> Output {
        let mut command = program(&self.setup.binary(), self.setup.place.as_ref());
        command.args(args).arg("--data").arg(&self.folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
        child.wait_with_output().expect("it ends")
    }

    /// The same, which must succeed; its standard output.
    pub fn cli(&self, args: &[&str], input: &str) -> String {
        let output = self.try_cli(args, input);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {args:?}: {error}\n{}", self.name, self.log_tail());
        String::from_utf8(output.stdout).expect("text")
    }

    /// Waits until a node whose folder or index was in doubt has asked a peer.
    pub async fn may_write(&self) {
        until(&format!("{} has asked a peer", self.name), || async {
            let attention = self.status().await?["attention"].clone();
            let lines = attention.as_array().ok_or_else(|| attention.to_string())?;
            if lines.iter().any(|line| line["code"] == "asks_first") { Err(attention.to_string()) } else { Ok(()) }
        })
        .await;
    }

    pub async fn status(&self) -> Result<Value, String> {
        Ok(self.client().get("/artifactory/api/mesh/status").await?.json())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            println!("--- the end of {}'s log:\n{}", self.name, self.log_tail());
        }
    }
}
