//! What one connection speaks: HTTP/1.1 on the bare socket, or HTTP/1.1 or HTTP/2 inside of TLS.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;

use super::connection::{Arrival, Handler, Phase, reached};
use super::flow::{Flow, Verdict};
use super::lingering::{LINGER, LINGER_BYTES};
use super::meter::Meter;
use super::options::Options;
use super::stalling::Stalling;
use super::tls::{HANDSHAKE, Sealed, Tls};
use super::transport::Transport;
use super::wire::Wire;
use super::within::Within;

/// Beyond this, what is written is waited for before the next piece of a body is asked for. Plain connections queue
/// references to files and keep hyper's own bound.
const TLS_QUEUE_BYTES: usize = 64 << 10;
/// Requests that one connection of HTTP/2 may have under way.
const STREAMS_MAX: u32 = 64;
/// What a client may send on one such connection, or in one request, before it was read.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// The answer to whoever speaks HTTP where HTTPS is spoken.
const WRONG_PROTOCOL: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 47\r\n\
    connection: close\r\n\r\nthis address speaks HTTPS: write https:// there";

/// A connection that was accepted.
pub struct Connection {
    /// The bounds.
    pub options: Options,
    /// What TLS is spoken with; without it nothing but plain HTTP is.
    pub tls: Option<Tls>,
    /// The counters.
    pub meter: Meter,
    /// The other end.
    pub remote: IpAddr,
    /// The runtime in which everything goes on that a request begins.
    pub node: Handle,
}

impl Connection {
    /// Serves until the client leaves, or the server closes.
    pub async fn serve(self, stream: TcpStream, handler: impl Handler, phase: watch::Receiver<Phase>) {
        // Small answers shouldn't wait for more to send with them.
        stream.set_nodelay(true).ok();
        if let Some(tls) = self.tls.clone() {
            // Larger than what plain connections need, and those are what there may be many of.
            return Box::pin(self.secured(tls, stream, handler, phase)).await;
        }
        self.plain(stream, handler, phase).await;
    }

    async fn plain(self, stream: TcpStream, handler: impl Handler, phase: watch::Receiver<Phase>) {
        let wire = Stalling::new(Wire::new(stream, self.meter.clone()), self.options.idle_timeout);
        self.http1(wire, Transport::Plain, handler, phase).await;
    }

    /// TLS for whoever begins it. On loopback plain HTTP is spoken too: the command line does.
    async fn secured(self, tls: Tls, stream: TcpStream, handler: impl Handler, mut phase: watch::Receiver<Phase>) {
        let patience = self.options.header_timeout;
        let mut first = [0];
        let peeked = tokio::select! {
            peeked = timeout(patience, stream.peek(&mut first)) => peeked,
            () = reached(&mut phase, Phase::Closing) => return,
        };
        match peeked {
            Ok(Ok(1)) if first[0] == HANDSHAKE => {}
            Ok(Ok(1)) if self.remote.is_loopback() => return self.plain(stream, handler, phase).await,
            Ok(Ok(1)) => return refuse_plain(stream, self.options.idle_timeout).await,
            _ => return,
        }
        let wire = Stalling::new(Wire::sealed(stream, self.meter.clone()), self.options.idle_timeout);
        let accepted = tokio::select! {
            accepted = timeout(patience, tls.accept(wire)) => accepted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
            () = reached(&mut phase, Phase::Closing) => return,
        };
        match accepted {
            Ok(stream) if stream.speaks_http_2() => self.http2(stream, handler, phase).await,
            Ok(stream) => self.http1(stream, Transport::Tls, handler, phase).await,
            Err(error) => tracing::debug!(%error, "a TLS handshake failed: {error}"),
        }
    }

    async fn http1<S>(self, stream: S, transport: Transport, handler: impl Handler, mut phase: watch::Receiver<Phase>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let refused = Arc::new(AtomicBool::new(false));
        let (flag, remote, node) = (refused.clone(), self.remote, self.node.clone());
        let service = service_fn(move |request| {
            let arrival = Arrival { request, remote, transport, refused: flag.clone() };
            Within::new(&node, handler(arrival))
        });
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(self.options.header_timeout)
            .max_header_size(self.options.max_header_bytes);
        if transport == Transport::Tls {
            builder.max_buf_size(TLS_QUEUE_BYTES.max(self.options.max_header_bytes));
        }
        let mut connection = builder.serve_connection(TokioIo::new(stream), service);
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

    async fn http2(self, stream: Sealed, handler: impl Handler, mut phase: watch::Receiver<Phase>) {
        let (flow, idle) = (Flow::new(), self.options.idle_timeout);
        let (remote, node, watching) = (self.remote, self.node.clone(), flow.clone());
        let service = service_fn(move |request| {
            let refused = Arc::new(AtomicBool::new(false));
            let arrival = Arrival { request, remote, transport: Transport::Http2, refused };
            Within::new(&node, handler(arrival)).watched(watching.request())
        });
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_header_list_size(u32::try_from(self.options.max_header_bytes).unwrap_or(u32::MAX))
            .max_send_buf_size(TLS_QUEUE_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let mut look = tokio::time::interval((idle / 4).max(Duration::from_millis(1)));
        let mut is_closing = false;
        loop {
            let verdict = tokio::select! {
                outcome = connection.as_mut() => {
                    if let Err(error) = outcome {
                        tracing::debug!(error = %error, "a connection ended early: {error}");
                    }
                    return;
                }
                () = reached(&mut phase, Phase::Closing), if !is_closing => Verdict::Idle,
                _ = look.tick() => flow.verdict(idle),
            };
            match verdict {
                Verdict::Fine => {}
                Verdict::Idle if !is_closing => {
                    is_closing = true;
                    flow.moved();
                    connection.as_mut().graceful_shutdown();
                }
                // It was asked to leave, or takes nothing: the end of the connection is the end of its requests.
                Verdict::Idle | Verdict::Stalled => {
                    tracing::debug!("a connection on which nothing moved was broken off");
                    return;
                }
            }
        }
    }
}

async fn refuse_plain(mut stream: TcpStream, patience: Duration) {
    let answer = async {
        stream.write_all(WRONG_PROTOCOL).await?;
        stream.shutdown().await
    };
    if let Ok(Ok(())) = timeout(patience, answer).await {
        linger(&mut stream).await;
    }
}

/// Says goodbye. After a refused body the rest of it is read for a moment: a socket that is closed with unread bytes sends
/// a reset, which can destroy the answer before the client has read it.
async fn part(mut stream: impl AsyncRead + AsyncWrite + Unpin, was_refused: bool) {
    if stream.shutdown().await.is_ok() && was_refused {
        linger(&mut stream).await;
    }
}

async fn linger(stream: &mut (impl AsyncRead + Unpin)) {
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
    timeout(LINGER, rest).await.ok();
}
