//! One bulk stream as a pipeline: requests go out while answers to earlier ones come in, in the order of the requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use super::window::Urgency;
use super::{Held, Permit};
use crate::engine::bulk::Answer;
use crate::swarm::{BulkReceiver, BulkSender, BulkStream, Class};

/// Bytes of requests that wait for their answers: half of the window that a stream begins with, so that writing requests
/// never waits for the peer to read them while it waits for us to read its answers.
const REQUEST_BYTES_MAX: usize = 128 << 10;

/// How long a peer may take to send anything at all.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// How long a stream without requests is kept: a peer has only so many.
const KEPT: Duration = Duration::from_secs(20);

/// Answers that wait for who asked; then the stream waits.
const ANSWERS: usize = 2;

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LaneError {
    /// The stream broke, or nothing came for 30 s.
    #[error("{0}")]
    Broken(String),
    /// What came is no answer.
    #[error("it sent an unknown answer")]
    Nonsense,
}

/// Which answers a request gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expected {
    /// At most so many.
    pub answers: usize,
    /// The first that isn't found is the last.
    pub ends_when_not_found: bool,
}

/// The answers to one request, in order.
pub struct Answers(mpsc::Receiver<Result<(Answer, Held), LaneError>>);

impl Answers {
    /// The next; an error when there will be none.
    pub async fn next(&mut self) -> Result<Answer, LaneError> {
        self.next_held().await.map(|(answer, _)| answer)
    }

    /// The next, and what counts its bytes until they need no memory any more.
    pub async fn next_held(&mut self) -> Result<(Answer, Held), LaneError> {
        let ended = || LaneError::Broken("the stream ended".into());
        self.0.recv().await.unwrap_or_else(|| Err(ended()))
    }
}

struct Ask {
    frame: Bytes,
    expected: Expected,
    permit: Permit,
    reply: mpsc::Sender<Result<(Answer, Held), LaneError>>,
}

struct Awaited {
    ask: Ask,
    _request_bytes: OwnedSemaphorePermit,
}

/// A stream's entrance.
#[derive(Clone, Debug)]
pub struct Lane {
    asks: mpsc::UnboundedSender<Ask>,
    waiting: Arc<AtomicU64>,
    urgency: Urgency,
}

impl Lane {
    /// A lane over a stream, and the work that must be run for it; it ends when the stream does, or is of no use.
    pub fn new(stream: BulkStream, urgency: Urgency) -> (Lane, impl Future<Output = ()> + Send + 'static) {
        let (asks, asked) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicU64::new(0));
        let lane = Lane { asks, waiting: waiting.clone(), urgency };
        (lane, run(stream, asked, waiting, urgency))
    }

    /// Who uses it.
    pub fn urgency(&self) -> Urgency {
        self.urgency
    }

    /// Bytes that are expected on it.
    pub fn waiting_bytes(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether it takes requests.
    pub fn is_open(&self) -> bool {
        !self.asks.is_closed()
    }

    /// Asks; gives the permit back when the lane has ended meanwhile.
    pub fn ask(&self, frame: Bytes, expected: Expected, permit: Permit) -> Result<Answers, Permit> {
        let (reply, answers) = mpsc::channel(ANSWERS);
        let bytes = permit.bytes();
        // What is under way is bounded by the permits, so the queue is.
        let ask = Ask { frame, expected, permit, reply };
        self.asks.send(ask).map_err(|refused| refused.0.permit)?;
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
        Ok(Answers(answers))
    }
}

async fn run(stream: BulkStream, mut asked: mpsc::UnboundedReceiver<Ask>, waiting: Arc<AtomicU64>, urgency: Urgency) {
    let (sender, mut receiver) = stream.split();
    if urgency == Urgency::Urgent {
        receiver.set_class(Class::Urgent);
    }
    let (expect, expected) = mpsc::unbounded_channel();
    let writing = write(sender, &mut asked, expect);
    let reading = read(receiver, expected, &waiting);
    tokio::pin!(writing, reading);
    // Reading goes on until the last answer when there is nothing more to write; a failure of either ends both.
    let ended = tokio::select! {
        ended = &mut reading => ended,
        written = &mut writing => match written {
            Ok(()) => reading.await,
            Err(error) => Err(error),
        },
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a stream of requests ended");
    }
}

/// Writes requests until none has come for a while.
async fn write(
    mut sender: BulkSender,
    asked: &mut mpsc::UnboundedReceiver<Ask>,
    expect: mpsc::UnboundedSender<Awaited>,
) -> Result<(), LaneError> {
    let room = Arc::new(Semaphore::new(REQUEST_BYTES_MAX));
    loop {
        let ask = match timeout(KEPT, asked.recv()).await {
            Ok(Some(ask)) => ask,
            Ok(None) => return Ok(()),
            Err(_) if room.available_permits() < REQUEST_BYTES_MAX => continue,
            Err(_) => {
                // From now on it takes nothing; what slipped in before is still done.
                asked.close();
                continue;
            }
        };
        let bytes = u32::try_from(ask.frame.len().clamp(1, REQUEST_BYTES_MAX)).unwrap_or(1);
        let Ok(_request_bytes) = room.clone().acquire_many_owned(bytes).await else { return Ok(()) };
        let frame = ask.frame.clone();
        if expect.send(Awaited { ask, _request_bytes }).is_err() {
            return Ok(());
        }
        let broken = |error: crate::swarm::BulkError| LaneError::Broken(error.to_string());
        sender.send(frame).await.map_err(broken)?;
        if asked.is_empty() {
            sender.flush().await.map_err(broken)?;
        }
    }
}

/// Reads the answers to what was written, and hands them to who asked.
async fn read(
    mut receiver: BulkReceiver,
    mut expected: mpsc::UnboundedReceiver<Awaited>,
    waiting: &AtomicU64,
) -> Result<(), LaneError> {
    while let Some(Awaited { mut ask, _request_bytes }) = expected.recv().await {
        let bytes = ask.permit.bytes();
        for _ in 0..ask.expected.answers {
            let answer = receive(&mut receiver).await;
            let failed = answer.clone().err();
            let is_last = ask.expected.ends_when_not_found && answer == Ok(Answer::NotFound);
            let answer = answer.map(|answer| {
                let held = ask.permit.arrived(answer.bytes());
                (answer, held)
            });
            // Who asked may not wait any more; the answers must be read all the same.
            let _ = ask.reply.send(answer).await;
            if let Some(error) = failed {
                return Err(error);
            }
            if is_last {
                break;
            }
        }
        waiting.fetch_sub(bytes, Ordering::Relaxed);
    }
    Ok(())
}

async fn receive(receiver: &mut BulkReceiver) -> Result<Answer, LaneError> {
    match receiver.recv_unless_idle(IDLE_MAX).await {
        Ok(Some(frame)) => Answer::read(&frame).ok_or(LaneError::Nonsense),
        Ok(None) => Err(LaneError::Broken("it ended the stream".into())),
        Err(error) => Err(LaneError::Broken(error.to_string())),
    }
}
