//! A connection that somebody else made, before anything is proved: hardly anything is said on it.
//!
//! # Why
//! The negotiation of TLS itself happens in the clear, and libp2p answers as many questions there as are asked until the
//! handshake's time is up. It says nothing of when TLS begins, but TLS does: its first record is a handshake of TLS 1.x.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite};

/// What is written in the clear at most: the two lines of a negotiation, and a few refusals.
const CLEAR_BYTES_MAX: usize = 256;

/// How a TLS record begins that holds a handshake. No line of a negotiation does: its first byte is its length, and a
/// slash or another length follows.
const HANDSHAKE_RECORD: [u8; 2] = [0x16, 0x03];

/// Ends with an error when too much would be said in the clear.
pub(super) struct Early<S> {
    stream: S,
    /// `None` from TLS on, and on connections that we made.
    clear_bytes: Option<usize>,
}

impl<S> Early<S> {
    /// A connection that somebody made to us.
    pub(super) fn inbound(stream: S) -> Early<S> {
        Early { stream, clear_bytes: Some(0) }
    }

    /// A connection that we made.
    pub(super) fn outbound(stream: S) -> Early<S> {
        Early { stream, clear_bytes: None }
    }

    /// Whether these may be said.
    fn check(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.clear_bytes {
            Some(_) if bytes.starts_with(&HANDSHAKE_RECORD) => self.clear_bytes = None,
            Some(said) if said + bytes.len() > CLEAR_BYTES_MAX => {
                return Err(io::Error::other("too many questions before TLS"));
            }
            Some(_) | None => {}
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Early<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Early<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check(bytes)?;
        let count = std::task::ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.clear_bytes = self.clear_bytes.map(|said| said + count);
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.clear_bytes.is_some() {
            let first = pieces.iter().find(|piece| !piece.is_empty());
            return self.poll_write(cx, first.map_or(&[], |piece| piece));
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures::{AsyncWriteExt, io::Cursor};

    use super::*;

    #[tokio::test]
    async fn little_is_said_before_tls_and_everything_after() {
        let mut chatty = Early::inbound(Cursor::new(Vec::new()));
        chatty.write_all(&[3; CLEAR_BYTES_MAX]).await.unwrap();
        chatty.write_all(&[3]).await.unwrap_err();
        let mut secured = Early::inbound(Cursor::new(Vec::new()));
        secured.write_all(b"\x13/multistream/1.0.0\n\x0b/tls/1.0.0\n").await.unwrap();
        secured.write_all(&[0x16, 3, 3]).await.unwrap();
        secured.write_all(&[7; 10 * CLEAR_BYTES_MAX]).await.unwrap();
        let mut pieces = Early::inbound(Cursor::new(Vec::new()));
        let line = [3; CLEAR_BYTES_MAX / 2];
        for _ in 0..2 {
            assert_eq!(pieces.write_vectored(&[IoSlice::new(&[]), IoSlice::new(&line)]).await.unwrap(), line.len());
        }
        pieces.write_vectored(&[IoSlice::new(&line), IoSlice::new(&line)]).await.unwrap_err();
        let mut ours = Early::outbound(Cursor::new(Vec::new()));
        ours.write_all(&[3; 2 * CLEAR_BYTES_MAX]).await.unwrap();
    }
}
