//! The bounded queues of frames to each connected peer.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use artimesh_core::model::PublicKey;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{error::SendError, frame::FRAME_BYTES_MAX};

/// Frames that wait for one peer.
const FRAMES_MAX: usize = 256;

/// Bytes that wait for one peer.
const BYTES_MAX: usize = 8 << 20;

/// A frame and the room that it takes up until it is written.
pub(super) type Queued = (Bytes, OwnedSemaphorePermit);

#[derive(Clone)]
struct Outbox {
    session: u64,
    frames: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
}

/// One outbox for each peer that has a session.
#[derive(Default)]
pub(super) struct Outboxes(RwLock<HashMap<PublicKey, Outbox>>);

impl Outboxes {
    /// Opens the outbox of a session that begins.
    pub(super) fn open(&self, peer: PublicKey, session: u64) -> mpsc::Receiver<Queued> {
        let (frames, queued) = mpsc::channel(FRAMES_MAX);
        let outbox = Outbox { session, frames, room: Arc::new(Semaphore::new(BYTES_MAX)) };
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(peer, outbox);
        queued
    }

    /// Ends the outbox of a session; whoever waits for room in it learns that the peer is gone.
    pub(super) fn close(&self, peer: &PublicKey, session: u64) {
        let mut outboxes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if outboxes.get(peer).is_some_and(|outbox| outbox.session == session)
            && let Some(outbox) = outboxes.remove(peer)
        {
            outbox.room.close();
        }
    }

    /// Peers that have a session, in order of their keys.
    pub(super) fn peers(&self) -> Vec<PublicKey> {
        let outboxes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut peers: Vec<PublicKey> = outboxes.keys().copied().collect();
        peers.sort_unstable();
        peers
    }

    /// Queues a frame, waiting for room. Dropped while it waits, nothing was queued.
    pub(super) async fn send(&self, peer: &PublicKey, frame: Bytes) -> Result<(), SendError> {
        let gone = SendError::NotConnected { peer: *peer };
        let size = size(&frame)?;
        let outbox = self.outbox(peer).ok_or(gone)?;
        let room = outbox.room.acquire_many_owned(size).await.map_err(|_| gone)?;
        outbox.frames.send((frame, room)).await.map_err(|_| gone)
    }

    /// Queues a frame if there is room.
    pub(super) fn try_send(&self, peer: &PublicKey, frame: Bytes) -> Result<(), SendError> {
        let (gone, full) = (SendError::NotConnected { peer: *peer }, SendError::Full { peer: *peer });
        let size = size(&frame)?;
        let outbox = self.outbox(peer).ok_or(gone)?;
        let room = outbox.room.try_acquire_many_owned(size).map_err(|error| match error {
            tokio::sync::TryAcquireError::Closed => gone,
            tokio::sync::TryAcquireError::NoPermits => full,
        })?;
        outbox.frames.try_send((frame, room)).map_err(|error| match error {
            mpsc::error::TrySendError::Closed(_) => gone,
            mpsc::error::TrySendError::Full(_) => full,
        })
    }

    fn outbox(&self, peer: &PublicKey) -> Option<Outbox> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(peer).cloned()
    }
}

fn size(frame: &Bytes) -> Result<u32, SendError> {
    if frame.len() > FRAME_BYTES_MAX {
        return Err(SendError::TooLarge { bytes: frame.len() });
    }
    Ok(u32::try_from(frame.len()).expect("FRAME_BYTES_MAX fits into 32 bits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: PublicKey = PublicKey([1; 32]);

    #[tokio::test]
    async fn a_full_outbox_says_so_and_one_that_ends_lets_its_waiters_go() {
        let outboxes = Outboxes::default();
        assert_eq!(outboxes.try_send(&PEER, Bytes::new()), Err(SendError::NotConnected { peer: PEER }));
        let queued = outboxes.open(PEER, 1);
        let megabyte = Bytes::from(vec![0; 1 << 20]);
        for _ in 0..8 {
            outboxes.try_send(&PEER, megabyte.clone()).unwrap();
        }
        assert_eq!(outboxes.try_send(&PEER, megabyte.clone()), Err(SendError::Full { peer: PEER }));
        let (sent, ()) = tokio::join!(outboxes.send(&PEER, megabyte), async { outboxes.close(&PEER, 1) });
        assert_eq!(sent, Err(SendError::NotConnected { peer: PEER }));
        drop(queued);
    }

    #[test]
    fn an_old_session_does_not_close_the_outbox_of_a_new_one() {
        let outboxes = Outboxes::default();
        let _old = outboxes.open(PEER, 1);
        let _new = outboxes.open(PEER, 2);
        outboxes.close(&PEER, 1);
        assert_eq!(outboxes.peers(), [PEER]);
        assert_eq!(outboxes.try_send(&PEER, Bytes::new()), Ok(()));
    }
}
