//! Waiting for what must come, with a deadline that only a fault reaches.

use std::time::{Duration, Instant};

/// Generous: two noisy cores, debug builds.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Polls `look` until it says `Ok`; panics with its last reason at the deadline.
pub async fn until<T, F: Future<Output = Result<T, String>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let start = Instant::now();
    loop {
        match look().await {
            Ok(value) => return value,
            Err(reason) if start.elapsed() > DEADLINE => panic!("{what}: not within {DEADLINE:?}: {reason}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
