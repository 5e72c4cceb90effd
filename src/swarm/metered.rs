//! A connection whose bytes are counted while the peer is a stranger.
//!
//! # Why
//! What a stranger who came to us is sent is bounded as it goes over the wire: each small write of Yamux costs a TLS
//! record round it, which is more than the write itself. The bound is kept before a write, not noticed after it.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::PeerId;

use super::{members::Members, pairing::REQUEST_BYTES_MAX};

/// What a stranger may send in all, or be sent if we called it: one pairing message and the negotiations around it.
pub(super) const STRANGER_BYTES_MAX: usize = REQUEST_BYTES_MAX + (4 << 10);

/// What a stranger that called us is sent in all, on the wire, after its handshake, for which 4 KiB are set aside.
const CALLER_BYTES_MAX: usize = (16 << 10) - (4 << 10);

/// What a TLS 1.3 record adds to at most 16 KiB: a header of 5 bytes, the type, the tag; rounded up.
const RECORD_BYTES: usize = 32;

/// Who made the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// We did.
    Us,
    /// The peer did.
    Them,
}

/// Ends with an error when a stranger has used up its budget. A member has none.
pub(super) struct Metered<S> {
    stream: S,
    peer: PeerId,
    members: Arc<Members>,
    /// Read and written so far; only counted while the budget holds.
    used: [usize; 2],
    caller: Caller,
    is_free: bool,
}

const READ: usize = 0;
const WRITTEN: usize = 1;

impl<S> Metered<S> {
    pub(super) fn new(stream: S, peer: PeerId, members: Arc<Members>, caller: Caller) -> Metered<S> {
        let is_free = members.contains(&peer);
        Metered { stream, peer, members, used: [0, 0], caller, is_free }
    }

    /// Whether `bytes` more may be written to a stranger that called us.
    fn check_write(&mut self, bytes: usize) -> io::Result<()> {
        if self.is_free || self.caller == Caller::Us || self.used[WRITTEN] + on_the_wire(bytes) <= CALLER_BYTES_MAX {
            return Ok(());
        }
        self.is_free = self.members.contains(&self.peer);
        if self.is_free { Ok(()) } else { Err(used_up()) }
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
        if self.is_free { Ok(()) } else { Err(used_up()) }
    }
}

fn used_up() -> io::Error {
    io::Error::other("a stranger's budget of bytes is used up")
}

fn on_the_wire(bytes: usize) -> usize {
    bytes + RECORD_BYTES * bytes.div_ceil(16 << 10).max(1)
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let count = std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        Poll::Ready(self.count(READ, count).map(|()| count))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check_write(bytes.len())?;
        let count = std::task::ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        let cost = if self.caller == Caller::Them { on_the_wire(count) } else { count };
        Poll::Ready(self.count(WRITTEN, cost).map(|()| count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}
