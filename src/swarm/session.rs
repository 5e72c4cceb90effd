//! A session: two control streams, one for each direction, from both hellos to the end.

use std::{sync::Arc, time::Duration};

use artimesh_core::model::PublicKey;
use bytes::Bytes;
use futures::AsyncWriteExt;
use libp2p::{PeerId, Stream, swarm::ConnectionId};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot, watch},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    counters::Counters,
    event::Event,
    fault::{Fault, Faults},
    frame::{self, FRAME_BYTES_MAX, FrameError},
    landing::Landing,
    net::{Command, Remote},
    options::HELLO_BYTES_MAX,
    outbox::{Outboxes, Queued},
    rate::Gates,
    streams::{CONTROL, Inbound, OpenFailure},
    vitals::AllVitals,
};

/// How long a first frame may stay unacknowledged before another stream is tried.
pub(super) const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a stream is tried.
pub(super) const ATTEMPTS_MAX: usize = 3;

/// How long the other side may take for its part of the hellos.
pub(super) const HELLO_TIMEOUT: Duration = Duration::from_secs(30);

/// What acknowledges a first frame.
pub(super) const ACKNOWLEDGEMENT: &[u8] = &[1];

/// What all sessions of a swarm share.
pub(super) struct Context {
    pub(super) events: mpsc::Sender<Event>,
    pub(super) outboxes: Outboxes,
    pub(super) counters: Arc<Counters>,
    pub(super) faults: Faults,
    pub(super) hello: watch::Receiver<Bytes>,
    pub(super) vitals: AllVitals,
    /// What limits bulk.
    pub(super) gates: Gates,
    /// Memory for what bulk brings, and takes away.
    pub(super) landing: Arc<Landing>,
    /// The way to the bulk swarm.
    pub(super) bulk: Remote,
    pub(super) root: CancellationToken,
}

/// Which side chose the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// This side: greets first.
    Leads,
    /// The other side: is greeted first.
    Follows,
}

/// One session, before it runs.
pub(super) struct Session {
    pub(super) id: u64,
    pub(super) peer: PeerId,
    pub(super) key: PublicKey,
    pub(super) connection: ConnectionId,
    pub(super) part: Part,
    pub(super) context: Arc<Context>,
    pub(super) remote: Remote,
    /// Control streams that the peer opened on this connection.
    pub(super) inbound: mpsc::Receiver<Inbound>,
    /// Tells it to end, and why.
    pub(super) end: oneshot::Receiver<Fault>,
    /// Cancelled when the peer is no member any more.
    pub(super) member: CancellationToken,
    /// The peer's session before this one; its last event comes first.
    pub(super) previous: Option<JoinHandle<()>>,
}

impl Session {
    /// Runs until something ends it, and reports that to the net.
    pub(super) async fn run(mut self) {
        if let Some(previous) = self.previous.take() {
            // A session that panicked has no events left to wait for.
            let _ = previous.await;
        }
        let (mut is_up, member, root) = (false, self.member.clone(), self.context.root.clone());
        let (_keep, never) = oneshot::channel();
        let mut end = std::mem::replace(&mut self.end, never);
        let fault = tokio::select! {
            biased;
            () = root.cancelled() => Fault::Closing,
            () = member.cancelled() => Fault::Removed,
            told = &mut end => told.unwrap_or(Fault::Closing),
            fault = self.talk(&mut is_up) => fault,
        };
        // The streams may break because of a removal before this task has heard of it.
        let fault = match (root.is_cancelled(), member.is_cancelled()) {
            (true, _) => Fault::Closing,
            (false, true) => Fault::Removed,
            (false, false) => fault,
        };
        self.context.outboxes.close(&self.key, self.id);
        self.context.faults.note(&self.key, fault.clone());
        if fault == Fault::Silent {
            self.context.bulk.tell(Command::Doubt { peer: self.peer }).await;
        }
        if is_up {
            tracing::info!(peer = %self.key, reason = %fault, "a session ended");
            let event = Event::Disconnected { peer: self.key, reason: fault.clone() };
            tokio::select! {
                biased;
                () = root.cancelled() => {}
                _ = self.context.events.send(event) => {}
            }
        }
        self.remote.tell(Command::SessionDown { peer: self.peer, session: self.id, fault }).await;
    }

    async fn talk(&mut self, is_up: &mut bool) -> Fault {
        match self.talk_until(is_up).await {
            Ok(never) => match never {},
            Err(fault) => fault,
        }
    }

    async fn talk_until(&mut self, is_up: &mut bool) -> Result<std::convert::Infallible, Fault> {
        let (outbound, (mut inbound, hello, _permit)) = match self.part {
            Part::Leads => {
                let outbound = self.greet().await?;
                (outbound, self.be_greeted().await?)
            }
            Part::Follows => {
                let inbound = self.be_greeted().await?;
                (self.greet().await?, inbound)
            }
        };
        let queued = self.context.outboxes.open(self.key, self.id);
        self.context.counters.sessions.increment();
        self.context.faults.forget(&self.key);
        self.remote.tell(Command::SessionUp { peer: self.peer, session: self.id }).await;
        self.context.bulk.tell(Command::Nudge { peer: self.peer }).await;
        self.emit(Event::Connected { peer: self.key, hello: hello.to_vec() }).await?;
        *is_up = true;
        tracing::info!(peer = %self.key, "a session began");
        tokio::select! {
            ended = self.receive(&mut inbound) => ended,
            ended = self.transmit(outbound, queued) => ended,
        }
    }

    /// Opens our stream, says hello and waits until that is acknowledged.
    async fn greet(&self) -> Result<Stream, Fault> {
        for _ in 0..ATTEMPTS_MAX {
            let mut stream = match self.remote.open(self.peer, Some(self.connection), CONTROL).await {
                Ok(stream) => stream,
                Err(OpenFailure::Unsupported) => return Err(Fault::NotAdmitted),
                Err(OpenFailure::Unavailable) => return Err(Fault::Closed),
            };
            let hello = self.context.hello.borrow().clone();
            if timeout(ACKNOWLEDGE_TIMEOUT, introduce(&mut stream, &hello)).await.is_ok_and(|done| done.is_ok()) {
                return Ok(stream);
            }
        }
        Err(Fault::Silent)
    }

    /// Takes the peer's stream, reads its hello and acknowledges it.
    async fn be_greeted(&mut self) -> Result<(Stream, Bytes, OwnedSemaphorePermit), Fault> {
        let greeted = async {
            loop {
                let Inbound { mut stream, permit, .. } = self.inbound.recv().await.ok_or(Fault::Closing)?;
                match welcome(&mut stream, HELLO_BYTES_MAX).await {
                    Ok(hello) => return Ok((stream, hello, permit)),
                    Err(FrameError::TooLarge(bytes)) => return Err(Fault::FrameTooLarge { bytes }),
                    // The peer will open another.
                    Err(FrameError::Ended | FrameError::Broken(_)) => {}
                }
            }
        };
        timeout(HELLO_TIMEOUT, greeted).await.unwrap_or(Err(Fault::Silent))
    }

    /// Hands frames to the caller as fast as it takes them. A second control stream means that the peer began anew.
    async fn receive<T>(&self, stream: &mut Stream) -> Result<T, Fault> {
        loop {
            let bytes = frame::read(stream, FRAME_BYTES_MAX).await?;
            self.context.counters.frames_in.increment();
            self.context.counters.control_bytes_in.add(bytes.len());
            self.emit(Event::Frame { peer: self.key, bytes }).await?;
        }
    }

    /// Writes what is queued, and flushes when nothing is.
    async fn transmit<T>(&self, mut stream: Stream, mut queued: mpsc::Receiver<Queued>) -> Result<T, Fault> {
        loop {
            let (bytes, _room) = match queued.try_recv() {
                Ok(queued) => queued,
                Err(_) => {
                    stream.flush().await.map_err(|_| Fault::Closed)?;
                    queued.recv().await.ok_or(Fault::Closing)?
                }
            };
            frame::write(&mut stream, &bytes).await?;
            self.context.counters.frames_out.increment();
            self.context.counters.control_bytes_out.add(bytes.len());
        }
    }

    async fn emit(&self, event: Event) -> Result<(), Fault> {
        self.context.events.send(event).await.map_err(|_| Fault::Closing)
    }
}

impl From<FrameError> for Fault {
    fn from(error: FrameError) -> Fault {
        match error {
            FrameError::TooLarge(bytes) => Fault::FrameTooLarge { bytes },
            FrameError::Ended | FrameError::Broken(_) => Fault::Closed,
        }
    }
}

/// Sends a first frame and waits for its acknowledgement.
pub(super) async fn introduce(stream: &mut Stream, first: &[u8]) -> Result<(), FrameError> {
    frame::write(stream, first).await?;
    stream.flush().await?;
    frame::read(stream, ACKNOWLEDGEMENT.len()).await.map(drop)
}

/// Reads a first frame and acknowledges it.
pub(super) async fn welcome(stream: &mut Stream, max: usize) -> Result<Bytes, FrameError> {
    let first = frame::read(stream, max).await?;
    frame::write(stream, ACKNOWLEDGEMENT).await?;
    stream.flush().await?;
    Ok(first)
}
