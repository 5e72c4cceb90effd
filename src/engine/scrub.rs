//! Verifying what is at rest, by itself and on demand; what rotted is quarantined as it is found.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::handle::Engine;
use super::journal;
use super::quarantine::quarantine;
use super::shared::Shared;
use crate::store::{Rotten, Scrub, ScrubError, Scrubbed};

impl Engine {
    /// Begins a scrub of everything at rest, at most so many bytes a second; [`Engine::scrubbed`] tells how far it is.
    ///
    /// # Errors
    /// One runs already.
    pub fn begin_scrub(&self, bytes_per_s: Option<u64>) -> Result<(), ScrubError> {
        if self.scrubbed().is_running {
            return Err(ScrubError::Busy);
        }
        self.shared.store.scrub_begins();
        let shared = self.shared.clone();
        let all = Scrub { bytes_per_s, due_before_ms: None };
        self.shared.tracker.spawn(async move { tell(&scrub(&shared, all).await) });
        Ok(())
    }

    /// What the scrub that runs, or ran last since the start, has done.
    pub fn scrubbed(&self) -> Scrubbed {
        self.shared.store.scrubbed()
    }

    /// Writes down that a blob had rotted, whose bytes were uploaded again and took its place.
    pub async fn was_replaced(&self, rotten: &Rotten) {
        journal::append(&self.shared, journal::rotten(self.shared.clock.now(), rotten)).await;
    }

    /// Takes a blob out of use that somebody has found rotten while reading it, and has it fetched again.
    pub async fn quarantine(&self, rotten: Rotten) {
        let shared = self.shared.clone();
        let done = self.shared.tracker.spawn_blocking(move || quarantine(&shared, &[rotten]));
        // Only a panic or the end of the runtime keeps it from being done.
        let _ = done.await;
    }
}

/// Verifies once what is wished for.
pub(super) async fn scrub(shared: &Arc<Shared>, wish: Scrub) -> Result<Scrubbed, ScrubError> {
    let (answer, result) = oneshot::channel();
    let task = shared.clone();
    shared.tracker.spawn_blocking(move || {
        let scrubbed = task.store.scrub_here(wish, &mut |rotten| quarantine(&task, rotten));
        // Whoever asked may be gone.
        let _ = answer.send(scrubbed);
    });
    result.await.map_err(|_| ScrubError::Stopping)?
}

/// Logs what came of it.
pub(super) fn tell(outcome: &Result<Scrubbed, ScrubError>) {
    match outcome {
        Ok(done) if done.rotten + done.damaged_records > 0 => tracing::error!(
            rotten = done.rotten,
            records = done.damaged_records,
            "the store was scrubbed: some of it rotted; look at the disk"
        ),
        Ok(done) if done.units == 0 => {}
        Ok(done) => tracing::info!(bytes = done.done_bytes, mended = done.mended, "the store was scrubbed and is well"),
        Err(ScrubError::Stopping | ScrubError::Busy) => {}
        Err(error) => tracing::error!(%error, "the store could not be scrubbed"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::os::unix::fs::FileExt as _;
    use std::time::Duration;

    use artimesh_core::replica::rows;

    use super::*;
    use crate::engine::gc::tests::{Site, noise};
    use crate::store::Tree;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_rotted_counts_as_absent_is_wanted_again_and_comes_back() {
        let site = Site::new().await;
        let contents = [noise(1, 5000), noise(2, 2_500_000), noise(3, 6000)];
        let mut digests = Vec::new();
        for (number, bytes) in contents.iter().enumerate() {
            digests.push(site.put(&format!("a/{number}"), bytes).await);
        }
        for digest in &digests[..2] {
            let reader = site.store.reader(digest).unwrap().unwrap();
            let (path, offset) = reader.extent().unwrap();
            OpenOptions::new().write(true).open(path).unwrap().write_all_at(b"rot", offset + 1234).unwrap();
        }
        site.engine.begin_scrub(None).unwrap();
        assert!(matches!(site.engine.begin_scrub(None), Err(ScrubError::Busy)));
        while site.engine.scrubbed().is_running {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(site.engine.scrubbed().rotten, 2);
        assert!(!site.has(&digests[0]) && !site.has(&digests[1]) && site.has(&digests[2]));
        // The mind lists them behind the scrub: asking it something waits for that.
        site.engine.inspect(|_, _| ()).await.unwrap();
        let wanted = site.store.range(Tree::Meta, rows::WANTS, &rows::end_of(rows::WANTS), 10).unwrap();
        assert_eq!(wanted.len(), 2);
        let journal = std::fs::read_to_string(site.store_folder().join("gc.log")).unwrap();
        assert_eq!(journal.matches("rotten").count(), 2, "{journal}");
        for (digest, bytes) in digests.iter().zip(&contents) {
            assert_eq!(site.put("b", bytes).await, *digest);
            assert!(site.has(digest));
        }
    }
}
