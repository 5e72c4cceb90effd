//! A peer of our own making: it speaks the wire of libp2p frame by frame, has a key that nobody knows, and counts what it
//! is sent at the level of TCP.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::core::upgrade::OutboundConnectionUpgrade as _;
use libp2p::identity::Keypair;
use tokio::io::{AsyncRead as TokioRead, AsyncWrite as TokioWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};
use yamux::{Config, Connection, Mode};

use super::wait::DEADLINE;

const MULTISTREAM: &str = "/multistream/1.0.0";

/// Counts the bytes that arrive.
pub struct Counted {
    inner: TcpStream,
    received: Arc<AtomicU64>,
}

impl TokioRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let outcome = Pin::new(&mut self.inner).poll_read(cx, into);
        self.received.fetch_add((into.filled().len() - before) as u64, Ordering::SeqCst);
        outcome
    }
}

impl TokioWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// An authenticated connection below its multiplexer.
pub type Secured = libp2p::tls::TlsStream<Compat<Counted>>;

/// Connects, proves `key`, and agrees on Yamux, of which nothing is sent yet. Also gives the count of received bytes.
pub async fn secure(address: SocketAddr, key: &Keypair) -> io::Result<(Secured, Arc<AtomicU64>)> {
    let received = Arc::new(AtomicU64::new(0));
    let inner = TcpStream::connect(address).await?;
    let mut stream = Counted { inner, received: received.clone() }.compat();
    let connecting = async {
        expect(&mut stream, "/tls/1.0.0").await?;
        let tls = libp2p::tls::Config::new(key).map_err(io::Error::other)?;
        let (_, mut secured) = tls.upgrade_outbound(stream, "/tls/1.0.0").await.map_err(io::Error::other)?;
        expect(&mut secured, "/yamux/1.0.0").await?;
        Ok::<_, io::Error>(secured)
    };
    let secured = timeout(DEADLINE, connecting).await.expect("a handshake ends")?;
    Ok((secured, received))
}

/// One line of multistream-select.
pub fn line(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len() + 1).expect("a short line")][..], text.as_bytes(), b"\n"].concat()
}

async fn read_line(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut length = [0];
    stream.read_exact(&mut length).await?;
    let mut text = vec![0; usize::from(length[0])];
    stream.read_exact(&mut text).await?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Proposes a protocol (or asks `ls`) and gives the answer, without its line's end.
pub async fn propose(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), protocol: &str) -> io::Result<String> {
    stream.write_all(&[line(MULTISTREAM), line(protocol)].concat()).await?;
    stream.flush().await?;
    let asking = async {
        let header = read_line(stream).await?;
        if header.trim_end() != MULTISTREAM {
            return Err(io::Error::other(header));
        }
        read_line(stream).await
    };
    let answer = timeout(DEADLINE, asking).await.expect("an answer or an end")?;
    Ok(answer.strip_suffix('\n').unwrap_or(&answer).to_owned())
}

async fn expect(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), protocol: &str) -> io::Result<()> {
    let answer = propose(stream, protocol).await?;
    if answer == protocol { Ok(()) } else { Err(io::Error::other(answer)) }
}

/// A multiplexed connection; a task drives it until this is dropped.
pub struct Session {
    wishes: mpsc::Sender<oneshot::Sender<yamux::Stream>>,
    driver: JoinHandle<()>,
    pub received: Arc<AtomicU64>,
}

impl Session {
    pub async fn connect(address: SocketAddr, key: &Keypair) -> io::Result<Session> {
        let (secured, received) = secure(address, key).await?;
        let (wishes, mut wished) = mpsc::channel::<oneshot::Sender<yamux::Stream>>(1);
        let mut connection = Connection::new(secured, Config::default(), Mode::Client);
        let driver = tokio::spawn(async move {
            let mut pending = None;
            poll_fn(|cx| {
                loop {
                    if pending.is_none() {
                        match wished.poll_recv(cx) {
                            Poll::Ready(Some(wish)) => pending = Some(wish),
                            Poll::Ready(None) => return Poll::Ready(()),
                            Poll::Pending => {}
                        }
                    }
                    if pending.is_some() {
                        match connection.poll_new_outbound(cx) {
                            Poll::Ready(Ok(stream)) => {
                                let _ = pending.take().expect("just seen").send(stream);
                                continue;
                            }
                            Poll::Ready(Err(_)) => return Poll::Ready(()),
                            Poll::Pending => {}
                        }
                    }
                    match connection.poll_next_inbound(cx) {
                        // What the node opens to a stranger is a find of its own: no protocol is ever agreed on.
                        Poll::Ready(Some(Ok(stream))) => drop(stream),
                        Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                        Poll::Pending => return Poll::Pending,
                    }
                }
            })
            .await;
        });
        Ok(Session { wishes, driver, received })
    }

    /// A new stream; `Err` when the connection has ended.
    pub async fn open(&self) -> io::Result<yamux::Stream> {
        let ended = || io::Error::from(io::ErrorKind::ConnectionReset);
        let (wish, granted) = oneshot::channel();
        self.wishes.send(wish).await.map_err(|_| ended())?;
        timeout(DEADLINE, granted).await.expect("a stream or an end").map_err(|_| ended())
    }

    /// Waits until the other side has ended the connection.
    pub async fn ended(&mut self) {
        timeout(DEADLINE, &mut self.driver).await.expect("the connection ends in its time").expect("no panic");
    }

    /// What arrived so far, TLS and TCP payload and all.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::SeqCst)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
