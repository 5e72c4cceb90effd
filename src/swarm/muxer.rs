//! Yamux (`/yamux/1.0.0`) with 64 KiB pieces; libp2p-yamux hides that setting.

use std::{
    collections::VecDeque,
    future::{Ready, ready},
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::{
    muxing::{StreamMuxer, StreamMuxerEvent},
    upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo},
};
use yamux::{Config, Connection, ConnectionError, Mode};

/// How much of a write becomes one Yamux frame, bytes. The default of 16 KiB costs a third of the speed.
const SPLIT_BYTES: usize = 64 << 10;

/// Streams at once on one connection, both directions.
const STREAMS_MAX: usize = 96;

/// What a connection may hold unread, all streams together, bytes: as fast as 1 Gbit/s over half a second.
const WINDOW_BYTES_MAX: usize = 64 << 20;

/// Streams that the peer opened and nobody asked for yet; more are reset.
const WAITING_STREAMS_MAX: usize = 32;

/// The upgrade that makes a [`Muxer`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Upgrade;

impl Upgrade {
    fn connection<C: AsyncRead + AsyncWrite + Unpin>(socket: C, mode: Mode) -> Ready<io::Result<Muxer<C>>> {
        let mut config = Config::default();
        config
            .set_split_send_size(SPLIT_BYTES)
            .set_max_num_streams(STREAMS_MAX)
            .set_max_connection_receive_window(Some(WINDOW_BYTES_MAX));
        let connection = Connection::new(socket, config, mode);
        ready(Ok(Muxer { connection: Some(connection), waiting: VecDeque::new(), inbound_waker: None }))
    }
}

impl UpgradeInfo for Upgrade {
    type Info = &'static str;
    type InfoIter = std::iter::Once<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once("/yamux/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> InboundConnectionUpgrade<C> for Upgrade {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<C>>>;

    fn upgrade_inbound(self, socket: C, _: Self::Info) -> Self::Future {
        Upgrade::connection(socket, Mode::Server)
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> OutboundConnectionUpgrade<C> for Upgrade {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<C>>>;

    fn upgrade_outbound(self, socket: C, _: Self::Info) -> Self::Future {
        Upgrade::connection(socket, Mode::Client)
    }
}

/// A Yamux connection as libp2p drives it. Yamux makes progress only while it is asked for inbound streams, so those
/// that come when libp2p wants none wait here.
///
/// Closing is abrupt. Yamux's own goodbye first flushes, on a dead link until TCP gives up, and leaves whoever waits for a
/// window or for data on one of the streams waiting for ever; dropped, it ends all streams at once. Who hangs up has
/// decided that what is under way doesn't matter any more.
pub(super) struct Muxer<C> {
    connection: Option<Connection<C>>,
    waiting: VecDeque<yamux::Stream>,
    inbound_waker: Option<Waker>,
}

fn closed() -> io::Error {
    as_io(ConnectionError::Closed)
}

fn as_io(error: ConnectionError) -> io::Error {
    match error {
        ConnectionError::Io(error) => error,
        other => io::Error::other(other),
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<yamux::Stream>> {
        let Some(connection) = &mut self.connection else { return Poll::Ready(Err(closed())) };
        connection.poll_next_inbound(cx).map(|stream| stream.unwrap_or(Err(ConnectionError::Closed)).map_err(as_io))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<C> {
    type Substream = yamux::Stream;
    type Error = io::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<yamux::Stream>> {
        if let Some(stream) = self.waiting.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        if let Poll::Ready(stream) = self.poll_progress(cx) {
            return Poll::Ready(stream);
        }
        self.inbound_waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<yamux::Stream>> {
        let Some(connection) = &mut self.connection else { return Poll::Ready(Err(closed())) };
        connection.poll_new_outbound(cx).map_err(as_io)
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.waiting.clear();
        self.connection = None;
        Poll::Ready(Ok(()))
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        let stream = std::task::ready!(self.poll_progress(cx))?;
        if self.waiting.len() < WAITING_STREAMS_MAX {
            self.waiting.push_back(stream);
            if let Some(waker) = self.inbound_waker.take() {
                waker.wake();
            }
        }
        // There may be more; let others run first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
