//! A connection whose bytes are counted while the peer is a stranger.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::PeerId;

use super::{members::Members, pairing::MESSAGE_BYTES_MAX};

/// What a stranger may send, and be sent, in all: one pairing message and the negotiations around it.
pub(super) const STRANGER_BYTES_MAX: usize = MESSAGE_BYTES_MAX + (4 << 10);

/// Ends with an error when a stranger has used up its budget. A member has none.
pub(super) struct Metered<S> {
    stream: S,
    peer: PeerId,
    members: Arc<Members>,
    /// Read and written so far; only counted while the budget holds.
    used: [usize; 2],
    is_free: bool,
}

const READ: usize = 0;
const WRITTEN: usize = 1;

impl<S> Metered<S> {
    pub(super) fn new(stream: S, peer: PeerId, members: Arc<Members>) -> Metered<S> {
        let is_free = members.contains(&peer);
        Metered { stream, peer, members, used: [0, 0], is_free }
    }

    #[cfg(test)]
    pub(super) fn get_ref(&self) -> &S {
        &self.stream
    }

    fn count(&mut self, direction: usize, bytes: usize) -> io::Result<()> {
        if self.is_free {
            return Ok(());
        }
        self.used[direction] = self.used[direction].saturating_add(bytes);
        if self.used[direction] <= STRANGER_BYTES_MAX {
            return Ok(());
        }
        // It may have become a member since the handshake.
        self.is_free = self.members.contains(&self.peer);
        if self.is_free { Ok(()) } else { Err(io::Error::other("a stranger's budget of bytes is used up")) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let count = std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        Poll::Ready(self.count(READ, count).map(|()| count))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let count = std::task::ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        Poll::Ready(self.count(WRITTEN, count).map(|()| count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}
