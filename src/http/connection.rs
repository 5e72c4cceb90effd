//! Connections: accepted within a bound, each served by a task of its own, and ended without losing an answer.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::{JoinError, JoinSet};

use super::answer::Answer;
use super::meter::Meter;
use super::options::Options;
use super::protocol::Connection;
use super::tls::Tls;
use super::transport::Transport;

/// How long nothing is accepted after that has failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A request and where it came from.
#[derive(Debug)]
pub struct Arrival {
    /// Its body is unread.
    pub request: hyper::Request<Incoming>,
    /// The other end of the connection.
    pub remote: IpAddr,
    /// What carries it.
    pub transport: Transport,
    /// To be set when the answer goes out before the body was read.
    pub refused: Arc<AtomicBool>,
}

/// Whoever answers requests. The future may be dropped when the client goes away.
pub trait Handler: Fn(Arrival) -> Answering + Clone + Send + Sync + Unpin + 'static {}
impl<H: Fn(Arrival) -> Answering + Clone + Send + Sync + Unpin + 'static> Handler for H {}

/// An answer on its way.
#[expect(clippy::large_enum_variant, reason = "it moves once, and a box is what an answer at once does without")]
pub enum Answering {
    /// It waited for nothing; taken once.
    AtOnce(Option<Answer>),
    /// It is being made.
    Later(Pin<Box<dyn Future<Output = Answer> + Send>>),
}

impl Answering {
    /// What a future makes.
    pub fn later(answer: impl Future<Output = Answer> + Send + 'static) -> Answering {
        Answering::Later(Box::pin(answer))
    }
}

/// How far the server is on its way to its end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Phase {
    /// It isn't on that way.
    Serving,
    /// It accepts nothing more.
    Refusing,
    /// Idle connections close; the others after the answer under way.
    Closing,
    /// What is still under way is broken off.
    Breaking,
}

/// What a thread accepts connections with.
#[derive(Debug)]
pub struct Door {
    /// One permit for each connection that may be served, shared by all threads.
    pub slots: Arc<Semaphore>,
    /// When its sender is gone, that is [`Phase::Breaking`].
    pub phase: watch::Receiver<Phase>,
    /// The bounds.
    pub options: Options,
    /// What TLS is spoken with, if it is.
    pub tls: Option<Tls>,
    /// The counters.
    pub meter: Meter,
    /// Dropped once the listener is closed.
    pub listening: mpsc::Sender<Infallible>,
    /// The runtime in which everything goes on that a request begins.
    pub node: Handle,
}

/// Waits until the server is at least that far.
pub async fn reached(phase: &mut watch::Receiver<Phase>, wanted: Phase) {
    // An error means that the sender is gone: whoever ran the server dropped it.
    let _ = phase.wait_for(|phase| *phase >= wanted).await;
}

/// Accepts and serves on this thread until the server refuses; then lets requests under way finish until it breaks off.
pub async fn accept(listener: TcpListener, door: Door, handler: impl Handler) {
    let Door { slots, mut phase, options, tls, meter, listening, node } = door;
    let mut connections = JoinSet::new();
    loop {
        let next = next_connection(&listener, &slots);
        let (stream, remote, slot) = tokio::select! {
            biased;
            () = reached(&mut phase, Phase::Refusing) => break,
            next = next => match next {
                Ok(next) => next,
                Err(error) => {
                    tracing::warn!(error = %error, "a connection could not be accepted: {error}");
                    // Out of file descriptors, most likely: trying again at once would only burn the processor.
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let remote = remote.ip().to_canonical();
        let (options, tls, meter, node) = (options.clone(), tls.clone(), meter.clone(), node.clone());
        let (handler, phase, counted) = (handler.clone(), phase.clone(), meter.connection());
        let connection = Connection { options, tls, meter, remote, node };
        connections.spawn(async move {
            connection.serve(stream, handler, phase).await;
            drop((counted, slot));
        });
        while let Some(ended) = connections.try_join_next() {
            report(ended);
        }
    }
    drop((listener, listening));
    let finished = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    let is_broken_off = tokio::select! {
        () = finished => false,
        () = reached(&mut phase, Phase::Breaking) => true,
    };
    if is_broken_off {
        tracing::warn!(connections = connections.len(), "requests still under way are broken off");
        connections.shutdown().await;
    }
}

/// Accepts first and then waits for a slot: the threads share the slots, and one that held a slot for whoever may come
/// next would keep it from the clients of the others.
async fn next_connection(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let (stream, remote) = listener.accept().await?;
    let slot = slots.clone().acquire_owned().await.expect("the semaphore is never closed");
    Ok((stream, remote, slot))
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(error = %error, "a request ended in a panic; its connection was closed");
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
