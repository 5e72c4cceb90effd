//! What waits to be written: a few buffers, of which each thread uses one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use serde::Serialize;

/// Buffers; more threads than that share.
const BUFFERS: usize = 16;
/// What one holds at most; what comes then is lost.
const BYTES_MAX: usize = 2 << 20;
/// When one holds so much the writer is woken.
const BYTES_MUCH: usize = 256 << 10;

thread_local! {
    /// Which one this thread uses.
    static MINE: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % BUFFERS
    };
}

/// Shared by all who record, and the one who writes.
#[derive(Debug, Default)]
pub struct Buffers {
    buffers: [Mutex<Buffer>; BUFFERS],
    /// Lines that were written.
    pub recorded: Counter,
    /// Lines that there was no room for, or that couldn't be written.
    pub lost: Counter,
    bell: Mutex<Bell>,
    rung: Condvar,
    done: Condvar,
}

#[derive(Debug, Default)]
struct Buffer {
    lines: Vec<u8>,
    /// Nobody will write what comes.
    is_closed: bool,
}

/// What the writer and those who wait for it tell each other.
#[derive(Debug, Default)]
struct Bell {
    is_rung: bool,
    is_closing: bool,
    /// Rounds that the writer has begun, and ended.
    begun: u64,
    ended: u64,
    is_gone: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Buffers {
    /// Takes a line, if there is room for it.
    pub fn append(&self, line: &impl Serialize) {
        let mut buffer = lock(&self.buffers[MINE.with(|mine| *mine)]);
        let before = buffer.lines.len();
        let has_room = before < BYTES_MAX && !buffer.is_closed;
        if !has_room || serde_json::to_writer(&mut buffer.lines, line).is_err() {
            buffer.lines.truncate(before);
            self.lost.inc();
            return;
        }
        buffer.lines.push(b'\n');
        let is_much = before < BYTES_MUCH && buffer.lines.len() >= BYTES_MUCH;
        drop(buffer);
        if is_much {
            self.ring();
        }
    }

    fn ring(&self) {
        lock(&self.bell).is_rung = true;
        self.rung.notify_one();
    }

    /// Waits until everything that was taken before is written. Blocks.
    pub fn flush(&self) {
        let mut bell = lock(&self.bell);
        let wanted = bell.begun + 1;
        bell.is_rung = true;
        self.rung.notify_one();
        while bell.ended < wanted && !bell.is_gone {
            bell = self.done.wait(bell).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Has the writer write what is there, and end. Nothing is taken any more.
    pub fn close(&self) {
        lock(&self.bell).is_closing = true;
        self.rung.notify_one();
    }

    /// For the writer: waits until there may be something to do; whether it is the last round.
    pub fn await_round(&self, tick: Duration) -> bool {
        let mut bell = lock(&self.bell);
        if !bell.is_rung && !bell.is_closing {
            let waited = self.rung.wait_timeout_while(bell, tick, |bell| !bell.is_rung && !bell.is_closing);
            bell = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        bell.is_rung = false;
        bell.begun += 1;
        bell.is_closing
    }

    /// For the writer: appends all that was taken to `out`, which is empty. In the last round nothing more is taken.
    pub fn drain(&self, out: &mut Vec<u8>, is_last: bool) {
        for buffer in &self.buffers {
            let mut buffer = lock(buffer);
            out.append(&mut buffer.lines);
            buffer.lines.shrink_to(BYTES_MUCH);
            buffer.is_closed = is_last;
        }
    }

    /// For the writer: a round has ended.
    pub fn end_round(&self, is_last: bool) {
        let mut bell = lock(&self.bell);
        bell.ended = bell.begun;
        bell.is_gone = is_last;
        drop(bell);
        self.done.notify_all();
    }
}
