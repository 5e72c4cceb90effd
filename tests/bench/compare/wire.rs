//! Two sites at the two ends of a connection: swarms, a counting relay between them, and what of the frames is compared.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use artimesh::swarm::{Event, Member, Options, Swarm};
use artimesh_core::model::{NodeId, Space};
use artimesh_core::replica::{Command, Hello, Input, Message, Output, Replica};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinHandle;

use crate::site::{Site, now};

/// What was said of states, framing and encryption apart.
#[derive(Clone, Copy, Default)]
pub struct Said {
    pub bytes: u64,
    pub rounds: u64,
}

struct End {
    site: Site,
    swarm: Swarm,
    events: Receiver<Event>,
    /// The round of each frame that is on its way to this end, oldest first.
    due: VecDeque<u64>,
    /// The latest round of what has arrived.
    round: u64,
}

/// The author is end 0 and listens, the member end 1 and dials.
pub struct Wire {
    ends: [End; 2],
    space: Space,
    said: Said,
    relayed: Arc<AtomicU64>,
    before: u64,
    relay: JoinHandle<()>,
}

impl Wire {
    pub async fn between(author: Site, member: Site, space: Space) -> Wire {
        let listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
        let author = End::start(author, listen).await;
        let member = End::start(member, Vec::new()).await;
        let address = author.swarm.addresses().control[0].clone();
        let port = address.rsplit('/').next().and_then(|port| port.parse().ok()).expect("a port");
        let relayed = Arc::new(AtomicU64::new(0));
        let (relay, door) = relay(SocketAddr::from(([127, 0, 0, 1], port)), relayed.clone()).await;
        let mut wire = Wire { ends: [author, member], space, said: Said::default(), relayed, before: 0, relay };
        for (end, control) in [(0, Vec::new()), (1, vec![format!("/ip4/127.0.0.1/tcp/{}", door.port())])] {
            let peer = wire.ends[1 - end].site.transport.public();
            wire.ends[end].swarm.set_members(vec![Member { peer, control, bulk: Vec::new() }]).await;
        }
        wire.until(|author, member| [author, member].iter().all(|mind| mind.peers().values().any(|p| p.connected)))
            .await;
        wire.fall_silent().await;
        wire.said = Said::default();
        wire.before = wire.relayed.load(Ordering::SeqCst);
        wire
    }

    /// A command at one end.
    pub async fn ask(&mut self, end: usize, command: Command) {
        self.ends[end].round = 0;
        self.ends[1 - end].round = 0;
        self.handle(end, Input::Local(vec![(0, command)]), 0).await;
    }

    /// Passes on what is said until `done`.
    pub async fn until(&mut self, done: impl Fn(&Replica, &Replica) -> bool) {
        while !done(&self.ends[0].site.replica, &self.ends[1].site.replica) {
            self.step(Duration::from_secs(1)).await;
        }
    }

    async fn fall_silent(&mut self) {
        while self.step(Duration::from_millis(300)).await {}
    }

    /// One event, or a tick when there is none for so long. Says which.
    async fn step(&mut self, patience: Duration) -> bool {
        let [author, member] = &mut self.ends;
        let (end, event) = tokio::select! {
            event = author.events.recv() => (0, event.expect("the swarm runs")),
            event = member.events.recv() => (1, event.expect("the swarm runs")),
            () = tokio::time::sleep(patience) => {
                for end in [0, 1] {
                    self.handle(end, Input::Tick { dice: 0, round: false }, 0).await;
                }
                return false;
            }
        };
        let other = self.ends[1 - end].site.node();
        match event {
            Event::Connected { hello, .. } => {
                let hello = Hello::read(&hello).expect("its own");
                self.handle(end, Input::Connected(other, hello), 0).await;
            }
            Event::Frame { bytes, .. } => {
                let round = self.ends[end].due.pop_front().expect("it was sent");
                self.ends[end].round = self.ends[end].round.max(round);
                let round = self.ends[end].round;
                self.handle(end, Input::Frame(other, bytes.to_vec()), round).await;
            }
            Event::Disconnected { reason, .. } => panic!("{reason}"),
            _ => {}
        }
        true
    }

    /// What follows from an input that came with what was said in `round`. A question begins a new one, an answer ends it.
    async fn handle(&mut self, end: usize, input: Input, round: u64) {
        let frames = self.ends[end].site.handle(input).await;
        for (_, frame) in frames {
            let message = Message::read(&frame).expect("its own");
            let is_question = matches!(message, Message::AskSnapshot(_) | Message::Compare(_) | Message::Fetch(_));
            let is_answer = matches!(message, Message::Snapshot(_) | Message::Compared(_) | Message::Items(_));
            match message {
                Message::Want(want) if want.space == self.space => continue,
                Message::Segments(segments) if segments.space == self.space => continue,
                _ => {}
            }
            let round = round + u64::from(is_question);
            if is_question || is_answer {
                self.said.bytes += frame.len() as u64;
                self.said.rounds = self.said.rounds.max(round);
            }
            self.ends[1 - end].due.push_back(if is_question || is_answer { round } else { 0 });
            let peer = self.ends[1 - end].site.transport.public();
            self.ends[end].swarm.send(&peer, frame.into()).await.expect("connected");
        }
    }

    pub fn said(&self) -> Said {
        self.said
    }

    /// Everything that went through the socket since the two had fallen silent, both ways.
    pub fn on_the_wire(&self) -> u64 {
        self.relayed.load(Ordering::SeqCst) - self.before
    }

    /// They hang up.
    pub async fn parted(self) -> (Site, Site) {
        let [author, member] = self.ends;
        let (author, member) = (author.end().await, member.end().await);
        self.relay.abort();
        (author, member)
    }
}

impl End {
    async fn start(site: Site, listen: Vec<String>) -> End {
        let options = Options { listen, hello: site.hello().to_bytes(), gossip: false, ..Options::default() };
        let (swarm, events) = Swarm::start(&site.transport, options).await.expect("a swarm");
        End { site, swarm, events, due: VecDeque::new(), round: 0 }
    }

    async fn end(mut self) -> Site {
        self.swarm.close().await;
        let peers: Vec<NodeId> = self.site.replica.peers().keys().copied().collect();
        for peer in peers {
            let outputs = self.site.replica.handle(now(), &self.site.rows, Input::Disconnected(peer));
            assert!(!outputs.expect("readable").iter().any(|output| matches!(output, Output::Persist(_))));
        }
        self.site
    }
}

/// A door on loopback whose bytes are counted on their way to `to` and back.
async fn relay(to: SocketAddr, relayed: Arc<AtomicU64>) -> (JoinHandle<()>, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let door = listener.local_addr().expect("bound");
    let relay = tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let relayed = relayed.clone();
            tokio::spawn(async move {
                let Ok(far) = TcpStream::connect(to).await else { return };
                near.set_nodelay(true).and(far.set_nodelay(true)).ok();
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                tokio::join!(pass_on(near_in, far_out, &relayed), pass_on(far_in, near_out, &relayed));
            });
        }
    });
    (relay, door)
}

async fn pass_on(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, relayed: &AtomicU64) {
    let mut piece = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut piece).await {
        relayed.fetch_add(count as u64, Ordering::SeqCst);
        if to.write_all(&piece[..count]).await.is_err() {
            return;
        }
    }
    to.shutdown().await.ok();
}
