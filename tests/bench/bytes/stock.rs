//! Bytes through libp2p as it comes, TCP, TLS and Yamux with their defaults: neither verified nor stored.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::core::muxing::{StreamMuxer as _, StreamMuxerBox, SubstreamBox};
use libp2p::core::transport::{Boxed, DialOpts, ListenerId, PortUse, Transport as _, TransportEvent};
use libp2p::core::upgrade::Version;
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::{PeerId, identity, tcp, tls, yamux};
use tokio::sync::oneshot;

const PIECE_BYTES: usize = 256 << 10;

/// Seconds that `size` bytes take from one thread to another.
pub fn carry(size: u64) -> f64 {
    let (told, address) = oneshot::channel();
    let sender = std::thread::spawn(move || {
        runtime().block_on(async move {
            let address: Multiaddr = address.await.expect("it listens");
            let mut transport = transport();
            let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
            let (_, mut muxer) = transport.dial(address, options).expect("an address").await.expect("a connection");
            let mut stream = poll_fn(|context| Pin::new(&mut muxer).poll_outbound(context)).await.expect("a stream");
            let driver = tokio::spawn(drive(muxer));
            let piece = vec![7; PIECE_BYTES];
            let mut left = size;
            while left > 0 {
                let count = left.min(piece.len() as u64) as usize;
                stream.write_all(&piece[..count]).await.expect("it reads");
                left -= count as u64;
            }
            stream.close().await.expect("it reads");
            let mut end = [0];
            assert_eq!(stream.read(&mut end).await.expect("it says that it has all"), 1);
            driver.abort();
        });
    });
    // Whoever calls may be inside of a runtime itself.
    let receiver = std::thread::spawn(move || runtime().block_on(receive(size, told)));
    sender.join().expect("no panic");
    receiver.join().expect("no panic")
}

async fn receive(size: u64, told: oneshot::Sender<Multiaddr>) -> f64 {
    let mut transport = transport();
    transport.listen_on(ListenerId::next(), "/ip4/127.0.0.1/tcp/0".parse().expect("an address")).expect("a port");
    let mut told = Some(told);
    let mut muxer = loop {
        match transport.next().await.expect("it listens") {
            TransportEvent::NewAddress { listen_addr, .. } => {
                told.take().expect("one address").send(listen_addr).expect("it waits");
            }
            TransportEvent::Incoming { upgrade, .. } => break upgrade.await.expect("a connection").1,
            _ => {}
        }
    };
    let mut stream: SubstreamBox = inbound(&mut muxer).await;
    let driver = tokio::spawn(drive(muxer));
    let begun = Instant::now();
    let mut piece = vec![0; PIECE_BYTES];
    let mut received = 0;
    loop {
        match stream.read(&mut piece).await.expect("bytes") {
            0 => break,
            count => received += count as u64,
        }
    }
    let took = begun.elapsed().as_secs_f64();
    assert_eq!(received, size);
    stream.write_all(&[1]).await.expect("it waits");
    stream.flush().await.expect("it waits");
    // Until the other side has heard it.
    let _ = stream.close().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    driver.abort();
    took
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn transport() -> Boxed<(PeerId, StreamMuxerBox)> {
    let key = identity::Keypair::generate_ed25519();
    tcp::tokio::Transport::new(tcp::Config::default())
        .upgrade(Version::V1)
        .authenticate(tls::Config::new(&key).expect("a certificate"))
        .multiplex(yamux::Config::default())
        .boxed()
}

async fn inbound(muxer: &mut StreamMuxerBox) -> SubstreamBox {
    poll_fn(|context| {
        if let Poll::Ready(stream) = Pin::new(&mut *muxer).poll_inbound(context) {
            return Poll::Ready(stream.expect("a stream"));
        }
        // What a connection has to do besides, such as window updates.
        let _ = Pin::new(&mut *muxer).poll(context);
        Poll::Pending
    })
    .await
}

/// Keeps a connection at work until it is aborted.
async fn drive(mut muxer: StreamMuxerBox) {
    poll_fn(|context| {
        let is_over = matches!(Pin::new(&mut muxer).poll_inbound(context), Poll::Ready(Err(_)));
        let _ = Pin::new(&mut muxer).poll(context);
        if is_over { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
