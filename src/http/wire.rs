//! The plain socket: what is mapped is sent by the kernel from the file itself, everything else is written.
//!
//! # Why
//! hyper writes an answer as a list of slices: the head, and whatever piece of the body it was given. A piece that is a
//! slice of a mapped file (see `store::mapping`) is recognised here by its address: the head goes out with the word that
//! more follows (MSG_MORE), and then sendfile(2) moves the file's pages to the socket without this process touching them.
//! Should hyper copy, or a piece be too short, the same bytes are written like any others. So answers are right by
//! construction, and fast when everything is as it should be; a counter says how many bytes went which way.

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use super::meter::Meter;
use crate::service::{FileRange, file_range};

/// The shortest slice that is looked up and sent by sendfile: below, two calls cost more than the copy.
const SENDFILE_BYTES_MIN: usize = 32 << 10;
/// The kernel hands a file's bytes to a socket by 16 pages. A slice begins anywhere in a page, and 64 KiB of it would be 17: one
/// page more goes out by itself, and after a timer where the kernel paces what it sends (BBR). So what stands in the page that
/// began before is written with the head.
const PAGE_BYTES: usize = 4096;
/// The most that one call of sendfile is asked to send.
const SENDFILE_BYTES_MAX: usize = 1 << 20;
/// How much one connection sends before the others of its thread have their turn, however fast its client reads.
const TURN_BYTES: usize = 1 << 20;

/// A socket of a client.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    meter: Meter,
    /// Sent since the others had their turn.
    turn: usize,
    /// What is written is encrypted, or the file system or the kernel said that it can't.
    is_without_sendfile: bool,
}

impl Wire {
    /// Over a connected socket.
    pub fn new(stream: TcpStream, meter: Meter) -> Wire {
        Wire { stream, meter, turn: 0, is_without_sendfile: false }
    }

    /// The same, for what was encrypted: nothing of it can stand in a file.
    pub fn sealed(stream: TcpStream, meter: Meter) -> Wire {
        Wire { is_without_sendfile: true, ..Wire::new(stream, meter) }
    }

    /// Tries until it succeeds, fails or would have to wait.
    fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        mut send: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        if self.turn >= TURN_BYTES {
            self.turn = 0;
            // Woken when the thread has looked at its sockets. Woken at once it would go on before that: tokio looks at them when
            // nobody is awake, or once in 61 turns, and then a small request waits for 30 ms beside a large download.
            if pin!(tokio::task::yield_now()).poll(context).is_pending() {
                return Poll::Pending;
            }
        }
        loop {
            let Poll::Ready(writable) = self.stream.poll_write_ready(context) else {
                self.turn = 0;
                return Poll::Pending;
            };
            writable?;
            match self.stream.try_io(Interest::WRITABLE, || send(&self.stream)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => {
                    self.turn += sent.as_ref().copied().unwrap_or_default();
                    return Poll::Ready(sent);
                }
            }
        }
    }

    fn poll_write_slices(&mut self, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut no_control = SendAncillaryBuffer::default();
        let flags = SendFlags::NOSIGNAL;
        let written = self.poll_send(context, |stream| Ok(sendmsg(stream, slices, &mut no_control, flags)?));
        self.written(written)
    }

    /// Writes slices that the bytes of a file follow.
    fn poll_write_head(&mut self, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut no_control = SendAncillaryBuffer::default();
        let flags = SendFlags::NOSIGNAL | SendFlags::MORE;
        let written = self.poll_send(context, |stream| Ok(sendmsg(stream, slices, &mut no_control, flags)?));
        self.written(written)
    }

    fn written(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &written {
            self.meter.wrote(*bytes);
        }
        written
    }

    fn poll_send_file(
        &mut self,
        context: &mut Context<'_>,
        range: &FileRange,
        length: usize,
    ) -> Poll<io::Result<usize>> {
        let sent = ready!(self.poll_send(context, |stream| {
            let mut offset = range.offset;
            let sent = rustix::fs::sendfile(stream, &*range.file, Some(&mut offset), length.min(SENDFILE_BYTES_MAX))?;
            // Else it would be tried for ever.
            if sent == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(sent) }
        }));
        match &sent {
            Ok(bytes) => self.meter.sent_from_file(*bytes),
            Err(error) if is_unsupported(error) => self.is_without_sendfile = true,
            Err(error) if is_of_the_disk(error) => {
                tracing::error!(%error, "stored bytes could not be sent: {error}");
            }
            Err(_) => {}
        }
        Poll::Ready(sent)
    }

    /// The first slice that is to be sent from a file, and where it stands there.
    fn find_mapped(&self, slices: &[IoSlice<'_>]) -> Option<(usize, FileRange)> {
        let is_long = |slice: &&IoSlice<'_>| slice.len() >= SENDFILE_BYTES_MIN;
        if self.is_without_sendfile || !slices.iter().any(|slice| is_long(&slice)) {
            return None;
        }
        slices
            .iter()
            .enumerate()
            .filter(|(_, slice)| is_long(slice))
            .find_map(|(at, slice)| Some((at, file_range(slice)?)))
    }
}

/// How much of a range stands in a page of the file that began before it.
fn begun_page(range: &FileRange) -> usize {
    let into = (range.offset % PAGE_BYTES as u64) as usize;
    if into == 0 { 0 } else { PAGE_BYTES - into }
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::OVERFLOW))
}

fn is_of_the_disk(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof || Errno::from_io_error(error) == Some(Errno::IO)
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let Some((at, mut range)) = this.find_mapped(slices) else { return this.poll_write_slices(context, slices) };
        let mut written = 0;
        let mut mapped = slices[at].len();
        if at > 0 {
            let begun = begun_page(&range);
            let mut head = slices[..at].to_vec();
            head.push(IoSlice::new(&slices[at][..begun]));
            let head_bytes: usize = head.iter().map(|slice| slice.len()).sum();
            written = ready!(this.poll_write_head(context, &head))?;
            if written < head_bytes {
                return Poll::Ready(Ok(written));
            }
            range.offset += begun as u64;
            mapped -= begun;
        }
        match this.poll_send_file(context, &range, mapped) {
            Poll::Ready(Ok(sent)) => Poll::Ready(Ok(written + sent)),
            // The next call meets the same again, or waits.
            _ if written > 0 => Poll::Ready(Ok(written)),
            Poll::Ready(Err(_)) if this.is_without_sendfile => this.poll_write_slices(context, &slices[at..]),
            other => other,
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Nothing is kept here. Whoever flushes has nothing more to send at once.
        self.turn = 0;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use rustix::net::{RecvFlags, recv};
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;
    use crate::http::endings::Endings;
    use crate::service::Metrics;

    #[tokio::test]
    async fn a_thread_looks_at_its_other_sockets_while_one_client_reads_as_fast_as_it_can() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connect = || std::net::TcpStream::connect(address).unwrap();
        let (_fast, mut other) = (connect(), connect());
        let (to_fast, _) = listener.accept().await.unwrap();
        let (mut from_other, _) = listener.accept().await.unwrap();
        let mut wire = Wire::new(to_fast, Meter::registered(&Metrics::default(), Endings::default()));
        let turns = Arc::new(AtomicU32::new(0));
        let counted = turns.clone();
        let sending = tokio::spawn(async move {
            loop {
                // As if the kernel had taken it all.
                let send = |_: &TcpStream| {
                    counted.fetch_add(1, Ordering::Relaxed);
                    Ok(TURN_BYTES)
                };
                std::future::poll_fn(|context| wire.poll_send(context, send)).await.unwrap();
            }
        });
        let arrived = rustix::io::dup(&from_other).unwrap();
        for _ in 0..100 {
            other.write_all(&[7]).unwrap();
            // Nobody else runs until it is certain that the thread has only to look.
            while recv(&arrived, &mut [0], RecvFlags::PEEK).is_err() {
                std::thread::yield_now();
            }
            let before = turns.load(Ordering::Relaxed);
            // Room for more than there is, so that the next time the socket isn't taken to have more.
            assert_eq!(from_other.read(&mut [0; 2]).await.unwrap(), 1);
            let passed = turns.load(Ordering::Relaxed) - before;
            assert!(passed <= 4, "{passed} turns of 1 MiB passed");
        }
        assert!(turns.load(Ordering::Relaxed) > 0);
        sending.abort();
    }
}
