//! A backup of this node while it runs.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::caller::Caller;
use super::error::ServiceError;
use super::handle::Service;
use crate::store::RealFiles;
use crate::store::backup::{self, About, OwnFile, Plan, PlanError};

/// How much of an archive is handed on at once.
const PIECE_BYTES: usize = 256 << 10;
/// How many such pieces may wait for the reader.
const PIECES_WAITING: usize = 8;

/// An archive on its way out. Dropping it ends the work behind it.
pub struct Backup {
    /// What the archive says of itself.
    pub about: About,
    /// The archive's length.
    pub bytes: u64,
    plan: Arc<Plan>,
    permit: Option<OwnedSemaphorePermit>,
    pieces: Option<mpsc::Receiver<io::Result<Bytes>>>,
}

impl Backup {
    /// The next piece; `None` at the end. An error in the middle must break the answer off.
    pub async fn next(&mut self) -> Option<Result<Bytes, ServiceError>> {
        if self.pieces.is_none() {
            let permit = self.permit.take()?;
            self.pieces = Some(start(self.plan.clone(), permit));
        }
        let piece = self.pieces.as_mut()?.recv().await?;
        Some(piece.map_err(|error| ServiceError::Unavailable(format!("the backup broke off: {error}"))))
    }
}

impl Service {
    /// Decides on a backup of everything that was acknowledged so far: packs, large files, settings and keys. One at a
    /// time; nothing waits for it.
    pub async fn backup(&self, caller: &Caller) -> Result<Backup, ServiceError> {
        self.administer(caller)?;
        let busy = |_| ServiceError::Busy("another backup is being made: wait for its end".into());
        let permit = self.backups().clone().try_acquire_owned().map_err(busy)?;
        let me = self.engine().identity();
        let about = About::new(&me.node, &me.name, self.engine().clock().now().0);
        let (store, folder, names) = (self.engine().store().clone(), self.folder().clone(), self.own_files());
        let planned = tokio::task::spawn_blocking(move || {
            let own = OwnFile::read_all(&folder, names)?;
            store.plan_backup(about, own)
        });
        let planned = planned.await.map_err(|error| ServiceError::Unavailable(error.to_string()))?;
        let outcome = planned.as_ref().map_or_else(ToString::to_string, |_| "begun".to_owned());
        self.audit().record(caller, "back up", "this node", &outcome);
        let plan = Arc::new(planned?);
        let (about, bytes) = (plan.about().clone(), plan.archive_bytes());
        Ok(Backup { about, bytes, plan, permit: Some(permit), pieces: None })
    }
}

/// Reads and packs in a thread that may block. Ends early when nobody wants the pieces any more.
fn start(plan: Arc<Plan>, permit: OwnedSemaphorePermit) -> mpsc::Receiver<io::Result<Bytes>> {
    let (queue, pieces) = mpsc::channel(PIECES_WAITING);
    tokio::task::spawn_blocking(move || {
        let sink = Pieces { queue: queue.clone(), gathered: BytesMut::new() };
        if let Err(error) = backup::write(&plan, &RealFiles, sink) {
            // Whoever read it may be gone, and that is often the error.
            let _ = queue.blocking_send(Err(error));
        }
        drop(permit);
    });
    pieces
}

/// Gathers what is written into pieces, and waits while too many are waiting.
struct Pieces {
    queue: mpsc::Sender<io::Result<Bytes>>,
    gathered: BytesMut,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let piece = self.gathered.split().freeze();
        self.queue.blocking_send(Ok(piece)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl From<PlanError> for ServiceError {
    fn from(error: PlanError) -> Self {
        ServiceError::Unavailable(error.to_string())
    }
}
