//! Where large frames land, and leave from: memory that is used again and again, in which what an envelope holds begins on a
//! page.
//!
//! # Why
//! A group of a mebibyte in memory of its own costs its pages anew, each zeroed twice, a tenth of what receiving it costs, or
//! sending it. And a disk takes it straight from here, past the cache, only if it begins where a page does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::frame::FRAME_BYTES_MAX;

/// What an envelope has before its body.
pub const ENVELOPE_HEAD_BYTES: usize = 6;

/// Bodies begin at a multiple of this.
const PAGE_BYTES: usize = 4096;

/// Smaller frames get memory of their own: whoever counts what frames take counts their bytes, and all that is kept here is as
/// long as the largest.
const FRAME_BYTES_MIN: usize = 1 << 20;

/// So many are kept for later.
const SPARE_MAX: usize = 24;

/// Memory for frames that isn't in use.
#[derive(Default)]
pub struct Landing {
    spare: Mutex<Vec<Vec<u8>>>,
}

/// A frame that is being read, or a piece of one that is to be sent.
pub struct Landed {
    memory: Vec<u8>,
    start: usize,
    length: usize,
    /// `None`: the memory is just as long as the frame.
    home: Option<Arc<Landing>>,
}

impl Landing {
    /// Memory for a frame of `length` bytes; what is in it is left over from others.
    pub fn take(self: &Arc<Landing>, length: usize) -> Landed {
        if !(FRAME_BYTES_MIN..=FRAME_BYTES_MAX).contains(&length) {
            return Landed { memory: vec![0; length], start: 0, length, home: None };
        }
        let memory = self.spare().pop().unwrap_or_else(|| vec![0; FRAME_BYTES_MAX + 2 * PAGE_BYTES]);
        let start = memory.as_ptr().align_offset(PAGE_BYTES) + PAGE_BYTES - ENVELOPE_HEAD_BYTES;
        Landed { memory, start, length, home: Some(self.clone()) }
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Landed {
    /// The frame; its memory comes back when nobody has a piece of it any more.
    pub fn freeze(mut self) -> Bytes {
        match self.home {
            Some(_) => Bytes::from_owner(self),
            None => std::mem::take(&mut self.memory).into(),
        }
    }
}

impl AsRef<[u8]> for Landed {
    fn as_ref(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }
}

/// To be filled as a whole.
impl AsMut<[u8]> for Landed {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.length]
    }
}

impl Drop for Landed {
    fn drop(&mut self) {
        let Some(home) = self.home.take() else { return };
        let mut spare = home.spare();
        if spare.len() < SPARE_MAX {
            spare.push(std::mem::take(&mut self.memory));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: usize = ENVELOPE_HEAD_BYTES + (1 << 20);

    #[test]
    fn what_a_large_frame_holds_begins_on_a_page() {
        let landing = Arc::new(Landing::default());
        for length in [FRAME_BYTES_MIN, GROUP, FRAME_BYTES_MAX] {
            let mut landed = landing.take(length);
            landed.as_mut().fill(7);
            let frame = landed.freeze();
            assert_eq!(frame, vec![7; length]);
            assert_eq!(frame.slice(ENVELOPE_HEAD_BYTES..).as_ptr().align_offset(PAGE_BYTES), 0);
        }
    }

    #[test]
    fn an_envelope_has_so_much_before_its_body() {
        let envelope = artimesh_core::model::Envelope { kind: 1, body: vec![7; 100] };
        assert_eq!(envelope.to_bytes().len(), ENVELOPE_HEAD_BYTES + 100);
    }

    #[test]
    fn memory_is_little_more_than_the_frame() {
        let landing = Arc::new(Landing::default());
        for length in [1000, FRAME_BYTES_MIN - 1, FRAME_BYTES_MIN, GROUP] {
            let landed = landing.take(length);
            assert!(landed.memory.len() * 10 <= length * 11, "{} bytes for {length}", landed.memory.len());
        }
    }

    #[test]
    fn memory_is_used_again_when_the_last_piece_is_dropped_and_little_is_kept() {
        let landing = Arc::new(Landing::default());
        let body = landing.take(GROUP).freeze().slice(ENVELOPE_HEAD_BYTES..);
        assert_eq!(landing.spare().len(), 0, "a piece of it is in use");
        drop(body);
        assert_eq!(landing.spare().len(), 1);
        let frames: Vec<Bytes> = (0..2 * SPARE_MAX).map(|_| landing.take(GROUP).freeze()).collect();
        assert_eq!(landing.spare().len(), 0);
        drop(frames);
        assert_eq!(landing.spare().len(), SPARE_MAX);
    }

    #[test]
    fn small_frames_have_memory_of_their_own() {
        let landing = Arc::new(Landing::default());
        for length in [0, 1, FRAME_BYTES_MIN - 1] {
            assert_eq!(landing.take(length).freeze().len(), length);
        }
        assert_eq!(landing.spare().len(), 0);
    }
}
