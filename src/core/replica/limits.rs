//! Bounds that a site may set; simulations set them small.

/// How long what ended is kept, and how much one author may end at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// How long versions that ended stay in the history. Milliseconds.
    pub history_ms: u64,
    /// So many paths one author may always end or overwrite in [`Limits::burst_ms`].
    pub burst_least: u64,
    /// Or this share of the paths that are live in the repository, if that is more. Percent.
    pub burst_percent: u64,
    /// The time in which an author's deletes and overwrites count as one burst. Milliseconds.
    pub burst_ms: u64,
}

impl Default for Limits {
    /// 30 days of history; 1,000 paths or 10 % in 10 minutes.
    fn default() -> Limits {
        Limits { history_ms: 30 * 24 * 3_600_000, burst_least: 1_000, burst_percent: 10, burst_ms: 600_000 }
    }
}
