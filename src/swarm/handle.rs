//! The handle by which a node uses its swarm.

use std::{
    collections::HashSet,
    net::IpAddr,
    num::NonZeroUsize,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use artimesh_core::model::{KeyPair, PublicKey};
use bytes::Bytes;
use futures::StreamExt;
use libp2p::{
    Multiaddr, TransportError,
    identity::Keypair,
    multiaddr::Protocol,
    swarm::{self, SwarmEvent},
};
use tokio::sync::{mpsc, watch};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::{
    behaviour::Behaviour,
    bulk::{self, BulkStream},
    counters::Counters,
    error::{OpenError, PairError, PublishError, SendError, StartError},
    event::Event,
    fault::{Fault, Faults},
    identity,
    landing::Landing,
    members::Members,
    net::{Command, Contact, Kind, Net, Parts, Remote},
    options::{HELLO_BYTES_MAX, Member, Options},
    outbox::Outboxes,
    pairing,
    rate::Gates,
    resolve,
    session::Context,
    transport::transport,
    vitals::{AllVitals, Vitals},
};

/// Bulk connections to one peer at most: at a distance, one is bounded by what TCP keeps in flight.
pub const BULK_CONNECTIONS_MAX: usize = 4;

/// How long the goodbyes may take when the swarm closes.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a swarm listens, as multiaddrs with the ports it got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Of the control swarm.
    pub control: Vec<String>,
    /// Of the bulk swarm.
    pub bulk: Vec<String>,
}

/// One node's presence on the network. Clones are the same swarm; when the last is dropped without
/// [`Swarm::close`], the swarm ends in the background.
#[derive(Clone)]
pub struct Swarm(Arc<Inner>);

struct Inner {
    control: Remote,
    bulk: Remote,
    members: Arc<Members>,
    context: Arc<Context>,
    hello: watch::Sender<Bytes>,
    /// One change of the members at a time, so that both swarms see the same sequence.
    changing: tokio::sync::Mutex<()>,
    listening: [Arc<RwLock<Vec<Multiaddr>>>; 2],
    tasks: TaskTracker,
    _ends: DropGuard,
}

impl Swarm {
    /// Listens, and starts to talk. Events must be received: a full queue slows the network down.
    pub async fn start(key: &KeyPair, options: Options) -> Result<(Swarm, mpsc::Receiver<Event>), StartError> {
        check_hello(&options.hello)?;
        let identity = identity::keypair(key);
        let root = CancellationToken::new();
        let ends = root.clone().drop_guard();
        let tasks = TaskTracker::new();
        let members = Arc::new(Members::new(root.clone()));
        let counters = Arc::new(Counters::default());
        let (events, received) = mpsc::channel(options.event_queue.max(1));
        let (hello, hello_now) = watch::channel(Bytes::from(options.hello.clone()));
        let remotes = [Remote::new(), Remote::new()];
        let context = Arc::new(Context {
            events,
            outboxes: Outboxes::default(),
            counters: counters.clone(),
            faults: Faults::default(),
            vitals: AllVitals::default(),
            gates: Gates::new(options.rates.clone()),
            hello: hello_now,
            landing: Arc::default(),
            bulk: remotes[1].0.clone(),
            root,
        });

        let behaviours = [
            (Kind::Control, Behaviour::control(&identity, &members, &counters, &options), &options.listen),
            (Kind::Bulk, Behaviour::bulk(&members, &counters, &options), &options.bulk_listen),
        ];
        let [control, bulk] = [remotes[0].0.clone(), remotes[1].0.clone()];
        let listening = <[Arc<RwLock<Vec<Multiaddr>>>; 2]>::default();
        let mut nets = Vec::new();
        for (((kind, behaviour, wanted), (remote, commands)), addresses) in
            behaviours.into_iter().zip(remotes).zip(&listening)
        {
            let mut swarm = build(&identity, &members, behaviour, &tasks)?;
            *addresses.write().unwrap_or_else(PoisonError::into_inner) = listen(&mut swarm, wanted).await?;
            nets.push(Net::new(Parts {
                kind,
                swarm,
                commands,
                remote,
                members: members.clone(),
                context: context.clone(),
                tasks: tasks.clone(),
                addresses: addresses.clone(),
                stranger_lifetime: options.limits.stranger_lifetime,
                silence_max: match kind {
                    Kind::Control => options.silence_max,
                    Kind::Bulk => options.silence_max * 3,
                },
            }));
        }
        for net in nets {
            tasks.spawn(net.run());
        }
        let changing = tokio::sync::Mutex::new(());
        let inner = Inner { control, bulk, members, context, hello, changing, listening, tasks, _ends: ends };
        Ok((Swarm(Arc::new(inner)), received))
    }

    /// Where it listens now.
    pub fn addresses(&self) -> Addresses {
        let [control, bulk] = [0, 1].map(|index: usize| {
            let addresses = self.0.listening[index].read().unwrap_or_else(PoisonError::into_inner);
            addresses.iter().map(Multiaddr::to_string).collect()
        });
        Addresses { control, bulk }
    }

    /// Says who the members are: others are cut off before this returns, and each that has addresses is dialled until
    /// it is connected. Addresses that can't be dialled are noted as the peer's last error and left out.
    pub async fn set_members(&self, members: Vec<Member>) {
        let _one_at_a_time = self.0.changing.lock().await;
        let members: Vec<(Member, libp2p::PeerId)> =
            members.into_iter().filter_map(|member| identity::peer_id(&member.peer).map(|id| (member, id))).collect();
        self.0.members.replace(&members.iter().map(|(_, id)| *id).collect::<HashSet<_>>());
        let contacts = |addresses: fn(&Member) -> &Vec<String>| -> Vec<Contact> {
            let contact = |(member, id): &(Member, libp2p::PeerId)| Contact {
                peer: *id,
                key: member.peer,
                addresses: self.parse(&member.peer, addresses(member)),
            };
            members.iter().map(contact).collect()
        };
        let (control, bulk) = (contacts(|member| &member.control), contacts(|member| &member.bulk));
        tokio::join!(
            self.0.control.ask(|done| Command::Members { contacts: control, done }),
            self.0.bulk.ask(|done| Command::Members { contacts: bulk, done }),
        );
    }

    /// What members are told from now on when a session begins; running sessions aren't told. A hello over 4 KiB
    /// changes nothing.
    pub fn set_hello(&self, hello: Vec<u8>) -> Result<(), StartError> {
        check_hello(&hello)?;
        self.0.hello.send_replace(Bytes::from(hello));
        Ok(())
    }

    /// Queues a frame for a connected peer and waits for room (256 frames, 8 MiB). Frames of one sender arrive in
    /// order, or the session ends. Dropped while it waits, nothing was queued.
    ///
    /// Whoever receives the events must not wait here: two nodes whose queues are full would wait for each other. Use
    /// [`Swarm::try_send`] there.
    pub async fn send(&self, peer: &PublicKey, frame: Bytes) -> Result<(), SendError> {
        self.0.context.outboxes.send(peer, frame).await
    }

    /// Queues a frame if there is room.
    pub fn try_send(&self, peer: &PublicKey, frame: Bytes) -> Result<(), SendError> {
        self.0.context.outboxes.try_send(peer, frame)
    }

    /// Listens to a topic.
    pub async fn subscribe(&self, topic: [u8; 32]) {
        self.0.control.ask(|done| Command::Subscribe { topic, done }).await;
    }

    /// Stops listening to a topic.
    pub async fn unsubscribe(&self, topic: [u8; 32]) {
        self.0.control.ask(|done| Command::Unsubscribe { topic, done }).await;
    }

    /// Publishes at most 64 KiB to whoever listens to the topic.
    pub async fn publish(&self, topic: [u8; 32], data: Vec<u8>) -> Result<(), PublishError> {
        self.0.control.ask(|done| Command::Publish { topic, data, done }).await.unwrap_or(Err(PublishError::Off))
    }

    /// Opens a bulk stream; waits up to 10 s for a bulk connection.
    pub async fn open_bulk(&self, peer: &PublicKey) -> Result<BulkStream, OpenError> {
        let not_member = OpenError::NotMember { peer: *peer };
        let id = identity::peer_id(peer).ok_or(not_member)?;
        let token = self.0.members.token(&id).ok_or(not_member)?;
        bulk::open(&self.0.bulk, id, bulk::End::new(&self.0.context, *peer, token)).await
    }

    /// Makes one more bulk connection to a peer that has at least one and fewer than `connections_max`, at most
    /// [`BULK_CONNECTIONS_MAX`]. A peer that only dials us can't be dialled: then nothing happens.
    pub async fn widen_bulk(&self, peer: &PublicKey, connections_max: usize) {
        let Some(peer) = identity::peer_id(peer) else { return };
        let connections_max = connections_max.min(BULK_CONNECTIONS_MAX);
        self.0.bulk.tell(Command::Widen { peer, connections_max }).await;
    }

    /// How the way to a member fares; `None` for somebody that was never connected.
    pub fn vitals(&self, peer: &PublicKey) -> Option<Arc<Vitals>> {
        self.0.context.vitals.known(peer)
    }

    /// Memory for groups that are to be sent.
    pub fn landing(&self) -> Arc<Landing> {
        self.0.context.landing.clone()
    }

    /// Asks the holder of `peer`'s key at one of the addresses to pair: one request of at most 16 KiB, one answer of at
    /// most 8 KiB, within 30 s.
    pub async fn pair(&self, peer: PublicKey, addresses: &[String], request: &[u8]) -> Result<Vec<u8>, PairError> {
        if request.len() > pairing::REQUEST_BYTES_MAX {
            return Err(PairError::TooLarge { bytes: request.len() });
        }
        let id = identity::peer_id(&peer).ok_or(PairError::NoAddress)?;
        let exchange = async {
            let addresses = resolve::resolve(addresses.iter().filter_map(|a| resolve::parse(a)).collect()).await;
            if addresses.is_empty() {
                return Err(PairError::NoAddress);
            }
            let dialled = self.0.control.ask(|dialled| Command::Dial { peer: id, addresses, dialled }).await;
            let connection = dialled.ok_or(PairError::Closed)?.map_err(PairError::Unreachable)?;
            let answer = pairing::ask(&self.0.control, id, connection, request).await;
            self.0.control.tell(Command::Paired { connection }).await;
            answer
        };
        // A connection that is left over by the timeout ends by the strangers' lifetime.
        tokio::time::timeout(pairing::EXCHANGE_TIMEOUT, exchange).await.unwrap_or(Err(PairError::TimedOut))
    }

    /// Peers with a session now, in order of their keys.
    pub fn connected(&self) -> Vec<PublicKey> {
        self.0.context.outboxes.peers()
    }

    /// Why there is no session with a peer, or the last trouble on the way to it.
    pub fn last_error(&self, peer: &PublicKey) -> Option<Fault> {
        self.0.context.faults.last(peer)
    }

    /// What it has done so far.
    pub fn counters(&self) -> &Counters {
        &self.0.context.counters
    }

    /// Ends all connections and tasks. No event follows; streams that are still held break.
    pub async fn close(&self) {
        self.0.context.root.cancel();
        self.0.tasks.close();
        if tokio::time::timeout(CLOSE_TIMEOUT, self.0.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.0.tasks.len(), "the swarm closed with connections that didn't end");
        }
    }

    fn parse(&self, peer: &PublicKey, addresses: &[String]) -> Vec<Multiaddr> {
        let parse = |address: &String| {
            let parsed = resolve::parse(address);
            if parsed.is_none() {
                let fault = Fault::BadAddress { address: address.clone() };
                tracing::warn!(peer = %peer, %fault, "an address of a member is of no use");
                self.0.context.faults.note(peer, fault);
            }
            parsed
        };
        addresses.iter().filter_map(parse).collect()
    }
}

fn check_hello(hello: &[u8]) -> Result<(), StartError> {
    if hello.len() > HELLO_BYTES_MAX { Err(StartError::HelloTooLong { bytes: hello.len() }) } else { Ok(()) }
}

/// A libp2p swarm whose connection tasks belong to `tasks`.
fn build(
    identity: &Keypair,
    members: &Arc<Members>,
    behaviour: Behaviour,
    tasks: &TaskTracker,
) -> Result<libp2p::Swarm<Behaviour>, StartError> {
    let tasks = tasks.clone();
    let config = swarm::Config::with_executor(move |work: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
        tasks.spawn(work);
    })
    .with_per_connection_event_buffer_size(16)
    .with_notify_handler_buffer_size(NonZeroUsize::MIN.saturating_add(15))
    .with_max_negotiating_inbound_streams(32);
    let transport = transport(identity, members.clone())?;
    Ok(libp2p::Swarm::new(transport, behaviour, identity.public().to_peer_id(), config))
}

/// The address with a port that nobody listens on. libp2p sets SO_REUSEPORT, so a second node on one port would not be
/// told (port 0 may even choose one that is taken), and each would get half of the connections.
async fn free(address: &Multiaddr) -> std::io::Result<Multiaddr> {
    let mut parts = address.iter();
    let (ip, port) = match (parts.next(), parts.next()) {
        (Some(Protocol::Ip4(ip)), Some(Protocol::Tcp(port))) => (IpAddr::V4(ip), port),
        (Some(Protocol::Ip6(ip)), Some(Protocol::Tcp(port))) => (IpAddr::V6(ip), port),
        _ => return Ok(address.clone()),
    };
    let probe = tokio::net::TcpListener::bind((ip, port)).await?;
    Ok(Multiaddr::from(ip).with(Protocol::Tcp(probe.local_addr()?.port())))
}

/// Listens on all addresses and waits until each listener knows where.
async fn listen(swarm: &mut libp2p::Swarm<Behaviour>, addresses: &[String]) -> Result<Vec<Multiaddr>, StartError> {
    let mut pending = std::collections::HashMap::new();
    for address in addresses {
        let bad = || StartError::BadAddress { address: address.clone() };
        let parsed = resolve::parse(address).filter(|parsed| !resolve::is_name(parsed)).ok_or_else(bad)?;
        let free = free(&parsed).await;
        let free = free.map_err(|source| StartError::Listen { address: address.clone(), source })?;
        let listener = swarm.listen_on(free).map_err(|error| match error {
            TransportError::MultiaddrNotSupported(_) => bad(),
            TransportError::Other(source) => StartError::Listen { address: address.clone(), source },
        })?;
        pending.insert(listener, address.clone());
    }
    let mut listening = Vec::new();
    while !pending.is_empty() {
        match swarm.select_next_some().await {
            SwarmEvent::NewListenAddr { listener_id, address } => {
                pending.remove(&listener_id);
                listening.push(address);
            }
            SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
                if let Some(address) = pending.remove(&listener_id) {
                    let source = reason.err().unwrap_or_else(|| std::io::ErrorKind::AddrNotAvailable.into());
                    return Err(StartError::Listen { address, source });
                }
            }
            _ => {}
        }
    }
    Ok(listening)
}
