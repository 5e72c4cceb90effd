//! Many files, each tried until it is done or can't be.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::bail;

use super::failure::{Failure, Next, Remedy};
use super::report::Report;

/// So many failures without a success between them are enough.
const FAILURES_MAX: u64 = 100;

/// All tries of a run.
pub(in crate::cli) struct Tries {
    report: Arc<Report>,
    /// Since the last success.
    failures: AtomicU64,
}

impl Tries {
    pub(in crate::cli) fn new(report: Arc<Report>) -> Tries {
        Tries { report, failures: AtomicU64::new(0) }
    }

    /// Tries until it works; `None` when it doesn't, and that was told.
    ///
    /// # Errors
    /// It makes no sense to go on with others.
    pub(in crate::cli) async fn until_done<T>(
        &self,
        path: &str,
        mut attempt: impl AsyncFnMut() -> Result<T, Failure>,
    ) -> anyhow::Result<Option<T>> {
        let mut tries = 0;
        loop {
            let failure = match attempt().await {
                Ok(done) => {
                    self.failures.store(0, Ordering::Relaxed);
                    return Ok(Some(done));
                }
                Err(failure) => failure,
            };
            match failure.next(tries) {
                Next::Try(pause) => {
                    self.report.waits(&format!("{path}: {}", failure.reason));
                    tokio::time::sleep(pause).await;
                    tries += 1;
                }
                Next::Leave => {
                    self.report.failed(path, &failure.reason);
                    let is_counted = failure.remedy != Remedy::Changed;
                    if is_counted && self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES_MAX {
                        bail!("{FAILURES_MAX} files failed one after the other, the last: {}", failure.reason);
                    }
                    return Ok(None);
                }
                Next::Stop => bail!("{path}: {}", failure.reason),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::import::report::Words;

    #[tokio::test]
    async fn too_many_failures_in_a_row_end_it() {
        let report = Arc::new(Report::new(Words::DOWNLOAD));
        let tries = Tries::new(Arc::clone(&report));
        let fails = async || Err::<(), _>(Failure::new(Remedy::Leave, "no"));
        for round in 0..3 {
            for _ in 0..FAILURES_MAX - 1 {
                assert!(tries.until_done("x", fails).await.unwrap().is_none());
            }
            if round < 2 {
                assert!(tries.until_done("x", async || Ok(())).await.unwrap().is_some());
            }
        }
        let changed = async || Err::<(), _>(Failure::new(Remedy::Changed, "it has changed"));
        for _ in 0..2 * FAILURES_MAX {
            assert!(tries.until_done("x", changed).await.unwrap().is_none(), "that says nothing of the others");
        }
        assert!(tries.until_done("x", fails).await.unwrap_err().to_string().contains("one after the other"));
        assert_eq!(report.tally().failed, 5 * FAILURES_MAX - 2);
        assert!(tries.until_done("x", async || Err::<(), _>(Failure::new(Remedy::Stop, "full"))).await.is_err());
    }
}
