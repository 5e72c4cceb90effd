//! What a stranger gets who speaks to the ports of the swarm without being one of our nodes: the pairing protocol, a
//! refusal, and at most 16 KiB in all.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use artimesh_core::clock::Timestamp;
use artimesh_core::model::{KeyPair, NodeName, codec};
use artimesh_core::trust::{Addresses, BadToken, NodeKeys, PairingAnswer, PairingReason, PairingRequest, PairingToken};
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::identity::Keypair;
use tokio::time::timeout;

use crate::harness::stranger::{Session, line, propose, secure};
use crate::harness::{Circle, DEADLINE, Dice, Node, Raw, Setup, until};

/// All that a connection of a stranger may ever be sent.
const SENT_MAX: u64 = 16 << 10;
const PAIR: &str = "/artimesh/pair/1";

const OTHERS: [&str; 14] = [
    "/artimesh/control/1",
    "/artimesh/bulk/1",
    "/artimesh/control/2",
    "/artimesh/pair/2",
    "/meshsub/1.0.0",
    "/meshsub/1.1.0",
    "/meshsub/1.2.0",
    "/meshsub/1.3.0",
    "/floodsub/1.0.0",
    "/ipfs/id/1.0.0",
    "/ipfs/id/push/1.0.0",
    "/ipfs/ping/1.0.0",
    "/ipfs/kad/1.0.0",
    "/libp2p/circuit/relay/0.2.0/hop",
];

struct Doors {
    control: SocketAddr,
    bulk: SocketAddr,
}

async fn doors(node: &Node) -> Doors {
    let status = node.status().await.expect("a status");
    let port = |name: &str| -> SocketAddr {
        let address = status["swarm"][name][0].as_str().expect("an address");
        let parts: Vec<&str> = address.split('/').collect();
        format!("{}:{}", parts[2], parts[4]).parse().expect("an address")
    };
    Doors { control: port("control"), bulk: port("bulk") }
}

fn keys(seed: u8) -> (KeyPair, Keypair) {
    let pair = KeyPair::from_secret(&[seed; 32]);
    (pair, Keypair::ed25519_from_bytes([seed; 32]).expect("a key"))
}

/// A connection on which pairing was agreed on; tried again while older ones of this address are still being cleared away.
async fn at_the_door(door: SocketAddr, key: &Keypair) -> (Session, yamux::Stream) {
    until("a stranger may knock", || async {
        let knock = async {
            let session = Session::connect(door, key).await?;
            let mut stream = session.open().await?;
            let answer = propose(&mut stream, PAIR).await?;
            if answer == PAIR { Ok((session, stream)) } else { Err(io::Error::other(answer)) }
        };
        knock.await.map_err(|error| error.to_string())
    })
    .await
}

/// Everything that comes until the stream ends, however it ends.
async fn answer_of(stream: &mut yamux::Stream) -> Vec<u8> {
    let mut answer = Vec::new();
    let _ = timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("an answer or an end");
    answer
}

fn framed(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).expect("short").to_le_bytes()[..], bytes].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_offered_pairing_and_nothing_else() {
    let circle = Circle::new(2, 0, Setup::default()).await;
    let doors = doors(&circle.nodes[0]).await;
    let (_, key) = keys(77);
    for protocol in OTHERS {
        let (session, _stream) = at_the_door(doors.control, &key).await;
        let mut stream = session.open().await.expect("a stream");
        assert_eq!(propose(&mut stream, protocol).await.expect("an answer"), "na", "{protocol}");
    }
    let (session, _stream) = at_the_door(doors.control, &key).await;
    let mut stream = session.open().await.expect("a stream");
    let listed = propose(&mut stream, "ls").await.expect("an answer");
    let pairing = String::from_utf8(line(PAIR)).expect("text");
    assert_eq!(listed.trim_end(), pairing.trim_end(), "the list of protocols");

    for protocol in [PAIR, "ls"].into_iter().chain(OTHERS) {
        let refused = async {
            let session = Session::connect(doors.bulk, &key).await?;
            let mut stream = session.open().await?;
            propose(&mut stream, protocol).await
        };
        let refused = refused.await;
        assert!(refused.is_err(), "{protocol} at the bulk port: {refused:?}");
    }
}

/// What somebody sends who holds `token` and says that its clock shows `wall`.
fn request(token: &str, pair: &KeyPair, wall: Timestamp) -> Result<Vec<u8>, BadToken> {
    let (_, held) = PairingToken::from_line(token)?;
    let name: NodeName = "stranger".parse().expect("a name");
    let public = pair.public();
    let keys = NodeKeys { log: public, transport: public, pairing: public };
    let addresses = Addresses { control: Vec::new(), bulk: Vec::new() };
    Ok(codec::encode(&PairingRequest::new(&held, name, keys, addresses, wall)))
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    Timestamp(since.as_millis() as u64)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_request_is_told_its_reason_and_gets_at_most_16_kib() {
    let circle = Circle::new(1, 0, Setup::default()).await;
    let other = Circle::new(1, 0, Setup::default()).await;
    let node = &circle.nodes[0];
    let create =
        |node: &Node, ttl: &str| node.cli(&["pair", "create", "--role", "full", "--ttl", ttl], "").trim().to_owned();
    let (pair, key) = keys(78);
    let doors = doors(node).await;
    let short = create(node, "1s");
    let good = create(node, "300s");
    let foreign = create(&other.nodes[0], "300s");
    let fine = request(&good, &pair, now()).expect("a request");
    // The node's own clock decides: the stranger says that it isn't late.
    let early = Timestamp(now().0 - 60_000);
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    let refusals = [
        (request(&short, &pair, early).expect("a request"), PairingReason::Expired),
        (request(&foreign, &pair, now()).expect("a request"), PairingReason::Foreign),
        (request(&good, &pair, Timestamp(now().0 - 3_600_000)).expect("a request"), PairingReason::ClockOff),
        (request(&good, &keys(79).0, now()).expect("a request"), PairingReason::Altered),
        (b"rubbish".to_vec(), PairingReason::Altered),
        (Vec::new(), PairingReason::Altered),
        (Dice(1).bytes(16 << 10), PairingReason::Altered),
    ];
    let before = node.status().await.expect("a status")["trust"].clone();
    for (request, reason) in refusals {
        let (session, mut stream) = at_the_door(doors.control, &key).await;
        stream.write_all(&framed(&request)).await.expect("sent");
        stream.flush().await.expect("sent");
        let answer = answer_of(&mut stream).await;
        let expected = framed(&codec::encode(&PairingAnswer::Refused(reason)));
        assert_eq!(answer, expected, "{reason}");
        assert!(session.received() <= SENT_MAX, "{reason}: {} bytes", session.received());
    }
    for at in (0..fine.len()).step_by(fine.len() / 8) {
        let mut altered = fine.clone();
        altered[at] ^= 0x41;
        let (session, mut stream) = at_the_door(doors.control, &key).await;
        stream.write_all(&framed(&altered)).await.expect("sent");
        stream.flush().await.expect("sent");
        let answer = answer_of(&mut stream).await;
        let answer: PairingAnswer = codec::decode(&answer[4..]).expect("an answer");
        assert!(matches!(answer, PairingAnswer::Refused(_)), "byte {at}: {answer:?}");
        assert!(session.received() <= SENT_MAX, "{} bytes", session.received());
    }
    assert_eq!(before, node.status().await.expect("a status")["trust"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_are_none_get_nothing_and_the_connection_ends() {
    let circle = Circle::new(1, 0, Setup::default()).await;
    let doors = doors(&circle.nodes[0]).await;
    let (_, key) = keys(80);
    let oversized: [&[u8]; 3] = [&[0x01, 0x40, 0, 0], &[0xff; 4], &[0xff; 4096]];
    for bytes in oversized {
        let (session, mut stream) = at_the_door(doors.control, &key).await;
        let _ = stream.write_all(bytes).await;
        let _ = stream.flush().await;
        assert!(answer_of(&mut stream).await.is_empty());
        assert!(session.received() <= SENT_MAX, "{} bytes", session.received());
    }
    let (mut endless, mut stream) = at_the_door(doors.control, &key).await;
    let _ = stream.write_all(&1_u32.to_le_bytes()).await;
    while stream.write_all(&[7; 1024]).await.is_ok() && stream.flush().await.is_ok() {}
    endless.ended().await;
    assert!(endless.received() <= SENT_MAX, "{} bytes", endless.received());

    let (mut silent, _stream) = at_the_door(doors.control, &key).await;
    silent.ended().await;
    assert!(silent.received() <= SENT_MAX, "{} bytes", silent.received());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_makes_the_node_talk_hears_at_most_16_kib() {
    let circle = Circle::new(1, 0, Setup::default()).await;
    let doors = doors(&circle.nodes[0]).await;
    let (_, key) = keys(81);
    // Streams, each of which costs the node an answer.
    let (session, _stream) = at_the_door(doors.control, &key).await;
    loop {
        let Ok(mut stream) = session.open().await else { break };
        if propose(&mut stream, "/ipfs/ping/1.0.0").await.is_err() {
            break;
        }
    }
    println!("{} bytes for streams", session.received());
    assert!(session.received() <= SENT_MAX, "{} bytes", session.received());

    // Many questions on one stream.
    let (session, _stream) = at_the_door(doors.control, &key).await;
    let mut stream = session.open().await.expect("a stream");
    let _ = propose(&mut stream, "ls").await;
    let many = line("ls").repeat(4000);
    let _ = stream.write_all(&many).await;
    let _ = stream.flush().await;
    answer_of(&mut stream).await;
    println!("{} bytes for lists", session.received());
    assert!(session.received() <= SENT_MAX, "{} bytes", session.received());
    drop((session, stream));

    // Questions before anything is proved.
    for door in [doors.control, doors.bulk] {
        let mut raw = Raw::connect(door).await;
        let _ = raw.send([line("/multistream/1.0.0"), line("ls").repeat(20_000)].concat()).await;
        let heard = raw.rest_bytes().await.len() as u64;
        println!("{heard} bytes for questions in the clear");
        assert!(heard <= SENT_MAX, "{heard} bytes");
    }

    // Pings of the multiplexer: version 0, type 2, flag SYN, stream 0, an opaque value.
    let (mut secured, received) = until("a stranger may knock", || async {
        secure(doors.control, &key).await.map_err(|error| error.to_string())
    })
    .await;
    for value in 0..4000_u32 {
        let ping = [&[0, 2, 0, 1, 0, 0, 0, 0][..], &value.to_be_bytes()].concat();
        if secured.write_all(&ping).await.is_err() || secured.flush().await.is_err() {
            break;
        }
    }
    let mut rest = Vec::new();
    let _ = timeout(DEADLINE, secured.read_to_end(&mut rest)).await.expect("the connection ends");
    println!("{} bytes for pings", received.load(Ordering::SeqCst));
    assert!(received.load(Ordering::SeqCst) <= SENT_MAX, "{} bytes", received.load(Ordering::SeqCst));
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_slow_handshakes_use_nobody_up() {
    let circle = Circle::new(2, 0, Setup::default()).await;
    let doors = doors(&circle.nodes[0]).await;
    let mut dice = Dice::fresh("garbage");
    let mut slow = Vec::new();
    for number in 0..300 {
        let door = if number % 2 == 0 { doors.control } else { doors.bulk };
        let mut raw = Raw::connect(door).await;
        let garbage = match number % 5 {
            0 => dice.bytes(100 << 10),
            1 => b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            2 => [line("/multistream/1.0.0"), line("/noise")].concat(),
            3 => [line("/multistream/1.0.0"), line("/tls/1.0.0"), dice.bytes(5000)].concat(),
            _ => vec![19],
        };
        let _ = raw.send(garbage).await;
        slow.push(raw);
    }
    let put = circle.nodes[0].client().put("/artifactory/libs/x", "meanwhile").await.expect("an answer");
    assert_eq!(put.status, 201, "{}", put.text());
    assert_eq!(circle.converged().await.len(), 1);
    let mut newcomer = Node::init(circle.root.path(), "newcomer", Setup::default());
    newcomer.start();
    let token = circle.nodes[0].cli(&["pair", "create", "--role", "edge"], "");
    until("a newcomer is let in while they hold their sockets", || async {
        let output = newcomer.try_cli(&["pair", "accept"], &token);
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    })
    .await;
    for raw in slow {
        assert!(raw.rest_bytes().await.len() as u64 <= SENT_MAX);
    }
}
