//! How an import is done, whatever it is of.

use clap::Args;

use crate::config::parse_size;

/// The most transfers at the same time.
pub(in crate::cli) const JOBS_MAX: u16 = 64;

/// How.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Transfer at most so much a second, such as 10MiB; else as fast as it goes
    #[arg(long, value_name = "SIZE", value_parser = rate)]
    pub(in crate::cli) rate_limit: Option<u64>,
    /// Transfer so many files at the same time: a node makes those durable together that come together
    #[arg(long, value_name = "NUMBER", default_value_t = JOBS_MAX, value_parser = clap::value_parser!(u16).range(1..=JOBS_MAX as i64))]
    pub(in crate::cli) jobs: u16,
    /// Change nothing, and list what would be done
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
}

/// What a transfer needs of a limited rate: a node waits a minute for the next bytes.
const RATE_EACH: u64 = 32 << 10;

impl Options {
    /// How many files are transferred at the same time: fewer than wanted where each would come to nothing.
    pub(in crate::cli) fn at_once(&self) -> usize {
        let fed = self.rate_limit.map_or(u64::MAX, |rate| (rate / RATE_EACH).max(1));
        usize::from(self.jobs).min(usize::try_from(fed).unwrap_or(usize::MAX))
    }
}

fn rate(text: &str) -> Result<u64, String> {
    match parse_size(text) {
        Ok(0) => Err("at a rate of 0 nothing ever comes".to_owned()),
        Ok(rate) => Ok(rate),
        Err(error) => Err(error.to_string()),
    }
}
