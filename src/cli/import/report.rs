//! What is told of an import: while it goes on, and at its end.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use indicatif::ProgressBar;
use serde_json::{Value, json};

use crate::cli::output;

/// What was done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct Tally {
    /// Files whose bytes were transferred.
    pub(in crate::cli) files: u64,
    pub(in crate::cli) bytes: u64,
    /// Files whose properties only were set.
    pub(in crate::cli) properties: u64,
    /// Files that needed nothing.
    pub(in crate::cli) already: u64,
    pub(in crate::cli) failed: u64,
    /// Files that came without some of their properties.
    pub(in crate::cli) curtailed: u64,
    pub(in crate::cli) links: u64,
    pub(in crate::cli) special: u64,
    /// Files like `a.jar.sha1` beside `a.jar`, which a node computes.
    pub(in crate::cli) checksum_files: u64,
    /// How often something was tried again.
    pub(in crate::cli) retries: u64,
    first_failure: Option<String>,
}

/// What is done, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Words {
    /// `import`
    pub(in crate::cli) to_do: &'static str,
    /// `imported`
    pub(in crate::cli) done: &'static str,
    /// What is said of files that need nothing.
    already: &'static str,
}

impl Words {
    /// Of an import.
    pub(in crate::cli) const IMPORT: Words = Words::of_transfer("import", "imported");
    /// Of an upload.
    pub(in crate::cli) const UPLOAD: Words = Words::of_transfer("upload", "uploaded");
    /// Of a download.
    pub(in crate::cli) const DOWNLOAD: Words = Words::of_transfer("download", "downloaded");
    /// Of many deletes.
    pub(in crate::cli) const DELETION: Words = Words::of_change("delete", "deleted");
    /// Of many moves.
    pub(in crate::cli) const MOVE: Words = Words::of_change("move", "moved");
    /// Of many copies.
    pub(in crate::cli) const COPY: Words = Words::of_change("copy", "copied");
    /// Of properties of many files.
    pub(in crate::cli) const LABELLING: Words = Words::of_change("label", "labelled");

    const fn of_transfer(to_do: &'static str, done: &'static str) -> Words {
        Words { to_do, done, already: "were there already" }
    }

    const fn of_change(to_do: &'static str, done: &'static str) -> Words {
        Words { to_do, done, already: "were gone already" }
    }
}

/// Tells.
pub(in crate::cli) struct Report {
    words: Words,
    tally: Mutex<Tally>,
    bar: Mutex<ProgressBar>,
    start: Instant,
}

impl Report {
    /// The list of the source is being made.
    pub(in crate::cli) fn new(words: Words) -> Report {
        let bar = Mutex::new(output::progress_count("list"));
        Report { words, tally: Mutex::default(), bar, start: Instant::now() }
    }

    fn bar(&self) -> ProgressBar {
        self.bar.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(in crate::cli) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on `bytes` of so many files are transferred.
    pub(in crate::cli) fn begins(&self, files: u64, bytes: u64) {
        self.bar().finish_and_clear();
        let bar = output::progress("", Some(bytes)).with_message(format!("{} {files} files", self.words.to_do));
        *self.bar.lock().unwrap_or_else(PoisonError::into_inner) = bar;
    }

    /// One more was listed, or so many bytes were sent.
    pub(in crate::cli) fn goes_on(&self, count: u64) {
        self.bar.lock().unwrap_or_else(PoisonError::into_inner).inc(count);
    }

    /// A remark for people.
    pub(in crate::cli) fn note(&self, text: &str) {
        self.bar().suspend(|| output::note(&output::line(text)));
    }

    /// Something was left out: of the source's file at `path`, for a reason.
    pub(in crate::cli) fn failed(&self, path: &str, reason: &str) {
        let text = format!("{path}: {reason}");
        self.note(&format!("not {}: {text}", self.words.done));
        let mut tally = self.tally();
        tally.failed += 1;
        tally.first_failure.get_or_insert(text);
    }

    /// It is tried again. Only the first time is told: there may be many.
    pub(in crate::cli) fn waits(&self, reason: &str) {
        let mut tally = self.tally();
        tally.retries += 1;
        if tally.retries == 1 {
            drop(tally);
            self.note(&format!("{reason}; trying again"));
        }
    }

    /// Says the last word: the summary on standard output.
    ///
    /// # Errors
    /// It can't be printed, or something was left out by failure.
    pub(in crate::cli) fn ends(&self, json: bool, dry_run: bool) -> anyhow::Result<()> {
        self.bar().finish_and_clear();
        let tally = self.tally().clone();
        let mut value = tally.value();
        value["dry_run"] = json!(dry_run);
        value["seconds"] = json!(self.start.elapsed().as_millis() as f64 / 1000.0);
        output::answer(json, &value, |_| tally.sentence(self.words, dry_run))?;
        anyhow::ensure!(
            tally.failed == 0,
            "{} files were not {}, the first: {}; the same command tries them again",
            tally.failed,
            self.words.done,
            tally.first_failure.as_deref().map(output::line).unwrap_or_default()
        );
        anyhow::ensure!(tally.curtailed == 0, "{} files lack some of their properties: see above", tally.curtailed);
        Ok(())
    }
}

impl Tally {
    fn value(&self) -> Value {
        json!({
            "files": self.files,
            "bytes": self.bytes,
            "properties_only": self.properties,
            "there_already": self.already,
            "failed": self.failed,
            "first_failure": self.first_failure,
            "without_some_properties": self.curtailed,
            "symbolic_links": self.links,
            "special_files": self.special,
            "checksum_files": self.checksum_files,
            "retries": self.retries,
        })
    }

    fn sentence(&self, words: Words, dry_run: bool) -> String {
        let verb = format!("{}{}", if dry_run { "would be " } else { "" }, words.done);
        let mut text = format!(
            "{} files, {} {verb}; {} {}; {} failed",
            self.files,
            output::bytes(self.bytes),
            self.already,
            words.already,
            self.failed
        );
        let more = [
            (self.properties, "only their properties set"),
            (self.links, "symbolic links not followed"),
            (self.special, "special files left out"),
            (self.checksum_files, "checksum files left out, which the node computes"),
            (self.retries, "attempts repeated"),
        ];
        for (count, what) in more.into_iter().filter(|(count, _)| *count > 0) {
            text += &format!("; {count} {what}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_one_sentence() {
        let tally = Tally { files: 3, bytes: 2048, already: 7, failed: 1, links: 2, ..Tally::default() };
        assert_eq!(
            tally.sentence(Words::IMPORT, false),
            "3 files, 2.00 KiB imported; 7 were there already; 1 failed; 2 symbolic links not followed"
        );
        assert!(tally.sentence(Words::IMPORT, true).starts_with("3 files, 2.00 KiB would be imported"));
    }

    #[test]
    fn a_failure_makes_the_end_one() {
        let report = Report::new(Words::IMPORT);
        report.failed("a", "no");
        report.failed("b", "no");
        let told = report.ends(true, false).unwrap_err().to_string();
        assert!(told.starts_with("2 files were not imported, the first: a: no"), "{told}");
    }
}
