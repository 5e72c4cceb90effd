//! Bulk streams: request, then response, in frames, on a connection that control traffic never waits for.

use std::{fmt, io, pin::Pin, sync::Arc, time::Duration};

use artimesh_core::model::PublicKey;
use bytes::Bytes;
use futures::{
    AsyncReadExt, AsyncWriteExt, TryFutureExt,
    io::{BufReader, ReadHalf, WriteHalf},
};
use libp2p::{PeerId, Stream};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::{Instant, Sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    counters::Counters,
    error::{BulkError, OpenError},
    event::Event,
    frame::{self, FRAME_BYTES_MAX, FrameError},
    landing::Landing,
    net::Remote,
    rate::{self, Class, Gate, PIECE_BYTES, PeerGates},
    session::{ACKNOWLEDGE_TIMEOUT, ATTEMPTS_MAX, Context, introduce, welcome},
    streams::{BULK, Inbound, OpenFailure},
    vitals::Vitals,
};

/// What a bulk stream begins with: the version of what follows, room for more.
const OPENING: &[u8] = &[1];
const OPENING_BYTES_MAX: usize = 64;

/// What is read at once where frames are small.
const READ_AHEAD_BYTES: usize = 16 << 10;

/// A stream of frames to and from one peer. It ends at once when the peer is removed from the members.
///
/// Two sides that both write more than a window (256 KiB at first) before they read wait for each other for ever. So
/// either each finishes what it writes before it reads, or ([`BulkStream::split`]) what one of them writes while answers
/// are under way stays below a window: requests are tiny, and whoever sends several ahead bounds their bytes. The futures
/// of `send` and of the receiving calls must not be dropped halfway unless the stream is dropped too.
pub struct BulkStream {
    sender: BulkSender,
    receiver: BulkReceiver,
}

/// The half of a [`BulkStream`] that sends.
pub struct BulkSender {
    stream: WriteHalf<Stream>,
    /// Small frames on their way into one write.
    joined: Vec<u8>,
    end: Arc<End>,
}

/// The half of a [`BulkStream`] that receives.
pub struct BulkReceiver {
    stream: BufReader<ReadHalf<Stream>>,
    class: Class,
    end: Arc<End>,
}

impl BulkStream {
    fn new(stream: Stream, end: End) -> BulkStream {
        let (reader, writer) = stream.split();
        let end = Arc::new(end);
        let sender = BulkSender { stream: writer, joined: Vec::new(), end: end.clone() };
        let stream = BufReader::with_capacity(READ_AHEAD_BYTES, reader);
        BulkStream { sender, receiver: BulkReceiver { stream, class: Class::Bulk, end } }
    }

    /// The other side.
    pub fn peer(&self) -> &PublicKey {
        &self.sender.end.peer
    }

    /// Both halves, to send requests while answers are received. The stream ends when both are dropped.
    pub fn split(self) -> (BulkSender, BulkReceiver) {
        (self.sender, self.receiver)
    }

    /// As [`BulkSender::send`].
    pub async fn send(&mut self, bytes: Bytes) -> Result<(), BulkError> {
        self.sender.send(bytes).await
    }

    /// As [`BulkReceiver::recv`].
    pub async fn recv(&mut self) -> Result<Option<Bytes>, BulkError> {
        self.receiver.recv().await
    }

    /// As [`BulkSender::flush`].
    pub async fn flush(&mut self) -> Result<(), BulkError> {
        self.sender.flush().await
    }

    /// As [`BulkSender::finish`].
    pub async fn finish(&mut self) -> Result<(), BulkError> {
        self.sender.finish().await
    }
}

impl BulkSender {
    /// Sends one frame of at most [`FRAME_BYTES_MAX`] bytes. What is sent may wait until [`BulkSender::flush`].
    pub async fn send(&mut self, bytes: Bytes) -> Result<(), BulkError> {
        self.send_parts([Bytes::new(), bytes]).await
    }

    /// Sends two pieces as one frame: a head, and a body that needn't be copied behind it.
    pub async fn send_parts(&mut self, parts: [Bytes; 2]) -> Result<(), BulkError> {
        let length: usize = parts.iter().map(Bytes::len).sum();
        if length > FRAME_BYTES_MAX {
            return Err(BulkError::TooLarge { bytes: length });
        }
        let end = self.end.clone();
        let written = async {
            if self.joined.len() + 4 + length > frame::JOINED_BYTES {
                self.write_joined().await?;
            }
            self.joined.extend_from_slice(&frame::head(length));
            for mut part in parts {
                let room = frame::JOINED_BYTES.saturating_sub(self.joined.len()).min(part.len());
                self.joined.extend_from_slice(&part.split_to(room));
                if part.is_empty() {
                    continue;
                }
                self.write_joined().await?;
                write_paced(&mut self.stream, &self.end, &part).await?;
            }
            Ok(())
        };
        unless_cut_off(&end.token, written).await?;
        end.counters.bulk_bytes_out.add(length);
        Ok(())
    }

    async fn write_joined(&mut self) -> Result<(), FrameError> {
        if self.joined.is_empty() {
            return Ok(());
        }
        write_paced(&mut self.stream, &self.end, &self.joined).await?;
        self.joined.clear();
        Ok(())
    }

    /// Sends what waits.
    pub async fn flush(&mut self) -> Result<(), BulkError> {
        let end = self.end.clone();
        let flushed = async {
            self.write_joined().await?;
            self.stream.flush().await.map_err(FrameError::Broken)
        };
        unless_cut_off(&end.token, flushed).await
    }

    /// Says that nothing more will be sent; receiving goes on.
    pub async fn finish(&mut self) -> Result<(), BulkError> {
        self.flush().await?;
        let end = self.end.clone();
        unless_cut_off(&end.token, self.stream.close().map_err(FrameError::Broken)).await
    }
}

/// Writes as fast as the limits allow.
async fn write_paced(stream: &mut WriteHalf<Stream>, end: &End, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let gates = end.gates_out();
        let (piece, rest) = bytes.split_at(bytes.len().min(rate::piece_bytes(gates)));
        end.vitals.bulk_bytes_out.add(piece.len());
        rate::pass(gates, piece.len(), Class::Bulk).await;
        stream.write_all(piece).await?;
        bytes = rest;
    }
    Ok(())
}

impl BulkReceiver {
    /// Whether a reader waits for what comes: then it passes before bulk where rates are limited.
    pub fn set_class(&mut self, class: Class) {
        self.class = class;
    }

    /// Receives one frame; `None` when the other side has finished. Waits as long as it takes.
    pub async fn recv(&mut self) -> Result<Option<Bytes>, BulkError> {
        self.recv_unless_idle(None).await
    }

    /// The same, but gives up when not a byte comes for so long: [`BulkError::Idle`]. A slow frame is fine.
    pub async fn recv_unless_idle(
        &mut self,
        idle_max: impl Into<Option<Duration>>,
    ) -> Result<Option<Bytes>, BulkError> {
        let end = self.end.clone();
        let mut watch = Watch::new(idle_max.into());
        let frame = unless_cut_off(&end.token, async {
            match self.read(&mut watch).await {
                Ok(bytes) => Ok(Some(bytes)),
                Err(FrameError::Ended) => Ok(None),
                Err(error) => Err(error),
            }
        });
        let frame = frame.await.map_err(|error| if watch.is_over { BulkError::Idle } else { error })?;
        end.counters.bulk_bytes_in.add(frame.as_ref().map_or(0, Bytes::len));
        Ok(frame)
    }

    async fn read(&mut self, watch: &mut Watch) -> Result<Bytes, FrameError> {
        let mut head = [0; 4];
        if self.read_some(&mut head[..1], watch).await? == 0 {
            return Err(FrameError::Ended);
        }
        self.read_all(&mut head[1..], watch).await?;
        let length = frame::length(head, FRAME_BYTES_MAX)?;
        let mut landed = self.end.landing.take(length);
        self.read_all(landed.as_mut(), watch).await?;
        Ok(landed.freeze())
    }

    async fn read_all(&mut self, mut into: &mut [u8], watch: &mut Watch) -> Result<(), FrameError> {
        while !into.is_empty() {
            let most = into.len().min(PIECE_BYTES);
            match self.read_some(&mut into[..most], watch).await? {
                0 => return Err(FrameError::Broken(io::ErrorKind::UnexpectedEof.into())),
                count => into = &mut into[count..],
            }
        }
        Ok(())
    }

    async fn read_some(&mut self, into: &mut [u8], watch: &mut Watch) -> Result<usize, FrameError> {
        let count = watch.over(self.stream.read(into)).await?;
        self.end.vitals.bulk_bytes_in.add(count);
        rate::pass(self.end.gates_in(), count, self.class).await;
        watch.restart();
        Ok(count)
    }
}

/// Ends a read that brings nothing for too long. One timer a frame, moved on at most once a second: most reads are over
/// at once, and a timer each would cost more than they do.
struct Watch {
    idle_max: Option<Duration>,
    sleep: Option<Pin<Box<Sleep>>>,
    since: Instant,
    is_over: bool,
}

impl Watch {
    fn new(idle_max: Option<Duration>) -> Watch {
        Watch { idle_max, sleep: None, since: Instant::now(), is_over: false }
    }

    async fn over<T>(&mut self, read: impl Future<Output = io::Result<T>>) -> Result<T, FrameError> {
        let Some(idle_max) = self.idle_max else { return Ok(read.await?) };
        let until = self.since + idle_max;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(until)));
        tokio::select! {
            biased;
            done = read => Ok(done?),
            () = sleep.as_mut() => {
                self.is_over = true;
                Err(FrameError::Broken(io::ErrorKind::TimedOut.into()))
            }
        }
    }

    /// Something came, or was paused for on purpose.
    fn restart(&mut self) {
        let (Some(idle_max), Some(sleep)) = (self.idle_max, &mut self.sleep) else { return };
        let now = Instant::now();
        if now.duration_since(self.since) >= Duration::from_secs(1).min(idle_max / 4) {
            self.since = now;
            sleep.as_mut().reset(now + idle_max);
        }
    }
}

/// Being cut off comes first: a stream that ends or breaks because of it must not look as if it had ended by itself.
async fn unless_cut_off<T>(
    token: &CancellationToken,
    work: impl Future<Output = Result<T, FrameError>>,
) -> Result<T, BulkError> {
    let done = tokio::select! {
        biased;
        () = token.cancelled() => return Err(BulkError::CutOff),
        done = work => done,
    };
    if token.is_cancelled() { Err(BulkError::CutOff) } else { done.map_err(broken) }
}

impl fmt::Debug for BulkStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bulk stream with {:?}", self.peer())
    }
}

impl fmt::Debug for BulkSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sending half of a bulk stream with {:?}", self.end.peer)
    }
}

impl fmt::Debug for BulkReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "receiving half of a bulk stream with {:?}", self.end.peer)
    }
}

fn broken(error: FrameError) -> BulkError {
    match error {
        FrameError::TooLarge(bytes) => BulkError::TooLarge { bytes },
        FrameError::Ended => BulkError::Broken(io::ErrorKind::UnexpectedEof.into()),
        FrameError::Broken(error) => BulkError::Broken(error),
    }
}

/// Whom a stream is with, and who counts and limits what passes.
pub(super) struct End {
    peer: PublicKey,
    token: CancellationToken,
    counters: Arc<Counters>,
    vitals: Arc<Vitals>,
    gates: Arc<PeerGates>,
    landing: Arc<Landing>,
    /// Counts against the peer's limit, when the peer opened the stream.
    _permit: Option<OwnedSemaphorePermit>,
}

impl End {
    pub(super) fn new(context: &Context, peer: PublicKey, token: CancellationToken) -> End {
        let vitals = context.vitals.of(&peer);
        let gates = context.gates.of(&peer);
        let (counters, landing) = (context.counters.clone(), context.landing.clone());
        End { peer, token, counters, vitals, gates, landing, _permit: None }
    }

    fn gates_in(&self) -> [&Gate; 2] {
        [&self.gates.node.0, &self.gates.received]
    }

    fn gates_out(&self) -> [&Gate; 2] {
        [&self.gates.node.1, &self.gates.sent]
    }
}

/// Opens a stream and waits until the peer has acknowledged it.
pub(super) async fn open(remote: &Remote, id: PeerId, end: End) -> Result<BulkStream, OpenError> {
    let (peer, token) = (end.peer, end.token.clone());
    let began = tokio::time::Instant::now();
    for _ in 0..ATTEMPTS_MAX {
        let opened = tokio::select! {
            () = token.cancelled() => return Err(OpenError::NotMember { peer }),
            opened = remote.open(id, None, BULK) => opened,
        };
        let mut stream = match opened {
            Ok(stream) => stream,
            Err(OpenFailure::Unsupported) => return Err(OpenError::Refused { peer }),
            // The connection ended under the attempt; another may come.
            Err(OpenFailure::Unavailable) if began.elapsed() < ACKNOWLEDGE_TIMEOUT => continue,
            Err(OpenFailure::Unavailable) => return Err(OpenError::NotConnected { peer }),
        };
        if timeout(ACKNOWLEDGE_TIMEOUT, introduce(&mut stream, OPENING)).await.is_ok_and(|done| done.is_ok()) {
            return Ok(BulkStream::new(stream, end));
        }
    }
    Err(OpenError::Refused { peer })
}

/// Acknowledges a stream that the peer opened and hands it to the caller.
pub(super) async fn accept(inbound: Inbound, end: End, events: mpsc::Sender<Event>) {
    let Inbound { mut stream, permit, .. } = inbound;
    let (peer, token) = (end.peer, end.token.clone());
    let accepted = async {
        if !timeout(ACKNOWLEDGE_TIMEOUT, welcome(&mut stream, OPENING_BYTES_MAX)).await.is_ok_and(|done| done.is_ok()) {
            return;
        }
        let stream = BulkStream::new(stream, End { _permit: Some(permit), ..end });
        // A closed receiver means that the swarm is being shut down.
        let _ = events.send(Event::Bulk { peer, stream }).await;
    };
    tokio::select! {
        () = token.cancelled() => {}
        () = accepted => {}
    }
}
