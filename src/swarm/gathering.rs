//! A connection on which small writes wait for the next large one, or for a flush, and of which much is read at once.
//!
//! # Why
//! Yamux writes the header of each frame by itself, so TLS makes a record of it by itself, and without this it would go to the
//! socket by itself: a call, a packet and a wake-up of the peer for each 34 bytes. What is large is handed on as it is. And
//! TLS reads a record of 16 KiB at a time; four calls cost more than copying what one brings.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::{AsyncRead, AsyncWrite, io::BufReader};

/// Less waits.
const SMALL_BYTES: usize = 1 << 10;

/// So much waits at most.
const HELD_BYTES_MAX: usize = 8 << 10;

/// So much is read at once.
const READ_BYTES: usize = 64 << 10;

/// See above.
pub(super) struct Gathering<S> {
    stream: BufReader<S>,
    held: Vec<u8>,
    /// How much of it was written.
    written: usize,
}

impl<S: AsyncRead> Gathering<S> {
    pub(super) fn new(stream: S) -> Gathering<S> {
        let stream = BufReader::with_capacity(READ_BYTES, stream);
        Gathering { stream, held: Vec::new(), written: 0 }
    }
}

impl<S: AsyncWrite + Unpin> Gathering<S> {
    /// Writes what waits and, behind it, what of `pieces` the stream takes; how much that was of `pieces`.
    fn poll_write_behind(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let held = &self.held[self.written..];
        let mut all = Vec::with_capacity(1 + pieces.len());
        all.push(IoSlice::new(held));
        all.extend(pieces.iter().map(|piece| IoSlice::new(piece)));
        let count = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, &all))?;
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        let of_pieces = count.saturating_sub(held.len());
        self.written += count - of_pieces;
        if self.written == self.held.len() {
            self.held.clear();
            self.written = 0;
        }
        Poll::Ready(Ok(of_pieces))
    }

    fn poll_write_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            ready!(self.poll_write_behind(cx, &[]))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathering<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathering<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes = pieces.iter().map(|piece| piece.len()).sum::<usize>();
        if bytes < SMALL_BYTES && self.held.len() + bytes <= HELD_BYTES_MAX {
            pieces.iter().for_each(|piece| self.held.extend_from_slice(piece));
            return Poll::Ready(Ok(bytes));
        }
        while !self.held.is_empty() {
            let count = ready!(self.poll_write_behind(cx, pieces))?;
            if count > 0 {
                return Poll::Ready(Ok(count));
            }
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_held(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_held(cx))?;
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures::AsyncWriteExt;

    use super::*;

    /// Takes at most so many bytes at a time, and nothing every other time, or never.
    struct Narrow {
        most: usize,
        is_turn: bool,
        calls: Vec<usize>,
        taken: Vec<u8>,
    }

    fn narrow(most: usize) -> Gathering<Narrow> {
        Gathering::new(Narrow { most, is_turn: true, calls: Vec::new(), taken: Vec::new() })
    }

    impl AsyncRead for Narrow {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(0))
        }
    }

    impl AsyncWrite for Narrow {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            pieces: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.is_turn = !self.is_turn;
            if self.is_turn || self.most == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let all = pieces.iter().flat_map(|piece| piece.iter().copied());
            let before = self.taken.len();
            let most = self.most;
            self.taken.extend(all.take(most));
            let count = self.taken.len() - before;
            self.calls.push(count);
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn a_header_goes_out_with_what_follows_it() {
        let mut stream = narrow(usize::MAX);
        stream.write_all(&[1; 34]).await.unwrap();
        assert!(stream.stream.get_ref().calls.is_empty());
        stream.write_all(&[2; SMALL_BYTES]).await.unwrap();
        assert_eq!(stream.stream.get_ref().calls, [34 + SMALL_BYTES]);
        stream.write_all(&[3; 5]).await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(stream.stream.get_ref().calls, [34 + SMALL_BYTES, 5]);
    }

    #[tokio::test]
    async fn all_bytes_come_in_order_however_little_the_stream_takes_at_a_time() {
        for most in [1, 7, 100, 5000] {
            let mut stream = narrow(most);
            let mut expected = Vec::new();
            for number in 0..200_usize {
                let piece = vec![number as u8; [3, SMALL_BYTES - 1, 2 * SMALL_BYTES, 0][number % 4]];
                expected.extend_from_slice(&piece);
                stream.write_all(&piece).await.unwrap();
                if number % 50 == 49 {
                    stream.flush().await.unwrap();
                    assert_eq!(stream.stream.get_ref().taken, expected, "{most} at a time");
                }
            }
            stream.write_all(b"end").await.unwrap();
            stream.close().await.unwrap();
            assert_eq!(stream.stream.get_ref().taken.len(), expected.len() + 3);
        }
    }

    #[test]
    fn little_waits_and_a_stream_that_takes_nothing_makes_the_writer_wait() {
        let mut stream = narrow(0);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut written = 0;
        while let Poll::Ready(count) = Pin::new(&mut stream).poll_write(&mut cx, &[0; SMALL_BYTES - 1]) {
            written += count.unwrap();
            assert!(written <= HELD_BYTES_MAX);
        }
        assert!(Pin::new(&mut stream).poll_flush(&mut cx).is_pending());
        assert_eq!(stream.held.len(), written);
    }
}
