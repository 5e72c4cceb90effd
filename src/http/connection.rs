//! Connections: accepted within a bound, served, and ended without losing an answer.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::{JoinError, JoinSet};

use super::answer::Answer;
use super::meter::Meter;
use super::options::Options;
use super::stalling::Stalling;
use super::wire::Wire;
use super::within::Within;
use crate::service::Carriage;

/// How long, and for how many bytes, a connection whose body was refused is still read, so that the client sees why.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 16 * 1024 * 1024;

/// How long nothing is accepted after that has failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A request and where it came from.
#[derive(Debug)]
pub struct Arrival {
    /// Its body is unread.
    pub request: hyper::Request<Incoming>,
    /// The other end of the connection.
    pub remote: IpAddr,
    /// How the bytes of stored files may be handed over.
    pub carriage: Carriage,
    /// To be set when the answer goes out before the body was read.
    pub refused: Arc<AtomicBool>,
}

/// Whoever answers requests. The future may be dropped when the client goes away.
pub trait Handler: Fn(Arrival) -> Answering + Clone + Send + Sync + Unpin + 'static {}
impl<H: Fn(Arrival) -> Answering + Clone + Send + Sync + Unpin + 'static> Handler for H {}

/// An answer on its way.
pub type Answering = Pin<Box<dyn Future<Output = Answer> + Send>>;

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
    /// The counters.
    pub meter: Meter,
    /// Dropped once the listener is closed.
    pub listening: mpsc::Sender<Infallible>,
    /// The runtime in which everything goes on that a request begins.
    pub node: Handle,
}

/// Waits until the server is at least that far.
async fn reached(phase: &mut watch::Receiver<Phase>, wanted: Phase) {
    // An error means that the sender is gone: whoever ran the server dropped it.
    let _ = phase.wait_for(|phase| *phase >= wanted).await;
}

/// Accepts and serves on this thread until the server refuses; then lets requests under way finish until it breaks off.
pub async fn accept(listener: TcpListener, door: Door, handler: impl Handler) {
    let Door { slots, mut phase, options, meter, listening, node } = door;
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
        let (options, meter, node) = (options.clone(), meter.clone(), node.clone());
        let (handler, phase, counted) = (handler.clone(), phase.clone(), meter.connection());
        let connection = Connection { options, meter, remote, node, _slot: slot };
        connections.spawn(async move {
            connection.serve(stream, handler, phase).await;
            drop(counted);
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

struct Connection {
    options: Options,
    meter: Meter,
    remote: IpAddr,
    node: Handle,
    _slot: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve(self, stream: TcpStream, handler: impl Handler, mut phase: watch::Receiver<Phase>) {
        // Small answers shouldn't wait for more to send with them.
        stream.set_nodelay(true).ok();
        let refused = Arc::new(AtomicBool::new(false));
        let (flag, remote, node) = (refused.clone(), self.remote, self.node.clone());
        let service = service_fn(move |request| {
            Within::new(
                node.clone(),
                handler(Arrival { request, remote, carriage: Carriage::Mapped, refused: flag.clone() }),
            )
        });
        let io = TokioIo::new(Stalling::new(Wire::new(stream, self.meter), self.options.idle_timeout));
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.options.header_timeout)
            .max_header_size(self.options.max_header_bytes)
            .serve_connection(io, service);
        let mut is_closing = false;
        let outcome = loop {
            tokio::select! {
                outcome = poll_fn(|context| connection.poll_without_shutdown(context)) => break outcome,
                () = reached(&mut phase, Phase::Closing), if !is_closing => {
                    is_closing = true;
                    Pin::new(&mut connection).graceful_shutdown();
                }
            }
        };
        let stream = connection.into_parts().io.into_inner();
        match outcome {
            Ok(()) => part(stream, refused.load(Ordering::Relaxed)).await,
            // The handler has logged what was ours; what is left is the client's.
            Err(error) => tracing::debug!(error = %error, "a connection ended early: {error}"),
        }
    }
}

/// Says goodbye. After a refused body the rest of it is read for a moment: a socket that is closed with unread bytes sends
/// a reset, which can destroy the answer before the client has read it.
async fn part(mut stream: Stalling<Wire>, was_refused: bool) {
    if stream.shutdown().await.is_err() || !was_refused {
        return;
    }
    let rest = async {
        let mut scratch = vec![0; 16 * 1024];
        let mut left = LINGER_BYTES;
        while let Ok(read @ 1..) = stream.read(&mut scratch).await {
            left = left.saturating_sub(read);
            if left == 0 {
                break;
            }
        }
    };
    // Whether the client stopped sending or the time is up, there is nothing more to do for it.
    tokio::time::timeout(LINGER, rest).await.ok();
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
