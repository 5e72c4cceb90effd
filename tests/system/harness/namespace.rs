//! Networks of our own: a switch, and sites that hang on it by a cable that can be pulled.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::net::TcpStream;

fn ip(line: &str) -> bool {
    let status = Command::new("ip").args(line.split_whitespace()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn must(line: &str) {
    assert!(ip(line), "ip {line}");
}

/// A switch in a network namespace, and more namespaces on it. All go when it is dropped.
pub struct Hub {
    name: String,
    places: Vec<Place>,
}

/// One namespace, and the address in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    name: String,
    pub address: Ipv4Addr,
}

impl Hub {
    /// `None` where namespaces can't be had: not root, or no `ip`, or a sandbox.
    pub fn with_places(count: u8) -> Option<Hub> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("artimesh-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        if !ip(&format!("netns add {name}")) {
            return None;
        }
        let mut hub = Hub { name, places: Vec::new() };
        if !ip(&format!("-n {} link add switch type bridge", hub.name)) {
            return None;
        }
        must(&format!("-n {} link set switch up", hub.name));
        for number in 1..=count {
            hub.add(number);
        }
        Some(hub)
    }

    fn add(&mut self, number: u8) {
        let (hub, name) = (&self.name, format!("{}-{number}", self.name));
        let address = Ipv4Addr::new(10, 83, 0, number);
        must(&format!("netns add {name}"));
        self.places.push(Place { name: name.clone(), address });
        must(&format!("link add port{number} netns {hub} type veth peer name cable netns {name}"));
        must(&format!("-n {hub} link set port{number} master switch up"));
        must(&format!("-n {name} addr add {address}/24 dev cable"));
        must(&format!("-n {name} link set cable up"));
        must(&format!("-n {name} link set lo up"));
    }

    pub fn place(&self, index: usize) -> Place {
        self.places[index].clone()
    }

    /// Pulls the cable of a place: nobody is told, packets just don't arrive.
    pub fn cut(&self, index: usize) {
        self.set(index, "down");
    }

    /// Puts it in again.
    pub fn mend(&self, index: usize) {
        self.set(index, "up");
    }

    fn set(&self, index: usize, state: &str) {
        let status = self.command("ip").args(["link", "set", &self.port(index), state]).status();
        assert!(status.is_ok_and(|status| status.success()), "port {index} {state}");
    }

    /// The switch's end of a place's cable.
    pub fn port(&self, index: usize) -> String {
        format!("port{}", index + 1)
    }

    /// A command that runs where the switch is.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        for place in &self.places {
            ip(&format!("netns delete {}", place.name));
        }
        ip(&format!("netns delete {}", self.name));
    }
}

impl Place {
    /// A command that runs there; `ip` becomes the program, so that its process is the child.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Does something there that takes no time: what a thread opens belongs to the namespace that it is in.
    pub fn within<T: Send + 'static>(&self, job: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
        let namespace = File::open(format!("/run/netns/{}", self.name))?;
        let doing = std::thread::spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            job()
        });
        doing.join().expect("no panic")
    }

    /// Connects from there to an address of the same namespace: at once, or refused.
    pub async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let stream = self.within(move || std::net::TcpStream::connect(address))?;
        stream.set_nonblocking(true)?;
        TcpStream::from_std(stream)
    }
}
