//! Files in the order of their paths, however many and in whatever order they were listed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;

use artimesh_core::model::ArtifactPath;

use super::listed::Listed;
use super::spool::Spool;

/// Roughly what is held in memory before it goes to a file.
const RUN_BYTES: usize = 16 << 20;

/// A list that grows.
pub(in crate::cli) struct Sorter {
    held: Vec<Listed>,
    held_bytes: usize,
    run_bytes: usize,
    runs: Vec<Run>,
}

/// Sorted rows.
type Run = Box<dyn Iterator<Item = io::Result<Listed>> + Send>;

/// The sorted list, each path once.
pub(in crate::cli) struct Sorted {
    runs: Vec<Run>,
    heads: BinaryHeap<Reverse<(ArtifactPath, usize)>>,
    rows: Vec<Option<Listed>>,
    last: Option<ArtifactPath>,
}

impl Sorter {
    /// An empty one.
    pub(in crate::cli) fn new() -> Sorter {
        Sorter { held: Vec::new(), held_bytes: 0, run_bytes: RUN_BYTES, runs: Vec::new() }
    }

    /// Takes one more.
    pub(in crate::cli) fn push(&mut self, row: Listed) -> io::Result<()> {
        self.held_bytes += row.weight();
        self.held.push(row);
        if self.held_bytes > self.run_bytes {
            let mut spool = Spool::new()?;
            for row in self.run() {
                spool.push(&row)?;
            }
            self.runs.push(Box::new(spool.rows()?));
        }
        Ok(())
    }

    fn run(&mut self) -> Vec<Listed> {
        self.held_bytes = 0;
        let mut run = std::mem::take(&mut self.held);
        run.sort_by(|one, other| one.path.cmp(&other.path));
        run
    }

    /// Ends it.
    pub(in crate::cli) fn sorted(mut self) -> io::Result<Sorted> {
        let last = self.run();
        let mut runs = self.runs;
        runs.push(Box::new(last.into_iter().map(Ok)));
        let rows = runs.iter().map(|_| None).collect();
        let mut sorted = Sorted { heads: BinaryHeap::new(), rows, last: None, runs };
        for index in 0..sorted.runs.len() {
            sorted.advance(index)?;
        }
        Ok(sorted)
    }
}

impl Sorted {
    fn advance(&mut self, index: usize) -> io::Result<()> {
        if let Some(row) = self.runs[index].next().transpose()? {
            self.heads.push(Reverse((row.path.clone(), index)));
            self.rows[index] = Some(row);
        }
        Ok(())
    }

    fn pull(&mut self) -> io::Result<Option<Listed>> {
        while let Some(Reverse((path, index))) = self.heads.pop() {
            let row = self.rows[index].take();
            self.advance(index)?;
            // A server that is written to while it lists may tell of a file twice.
            if self.last.as_ref() != Some(&path) {
                self.last = Some(path);
                return Ok(row);
            }
        }
        Ok(None)
    }
}

impl Iterator for Sorted {
    type Item = io::Result<Listed>;

    fn next(&mut self) -> Option<io::Result<Listed>> {
        self.pull().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::super::listed::Sums;
    use super::*;

    fn sorted(run_bytes: usize, paths: &[String]) -> Vec<String> {
        let mut sorter = Sorter { run_bytes, ..Sorter::new() };
        for path in paths {
            let path = path.parse().unwrap();
            sorter.push(Listed { path, size: 1, sums: Sums::default(), properties: None }).unwrap();
        }
        sorter.sorted().unwrap().map(|row| row.unwrap().path.to_string()).collect()
    }

    #[test]
    fn the_order_is_that_of_paths_and_each_comes_once_whether_in_memory_or_not() {
        let paths: Vec<String> = (0..2_000u64).map(|n| format!("{:03}/{}", n * 7_919 % 997, n % 3)).collect();
        let mut expected = paths.clone();
        expected.sort();
        expected.dedup();
        assert_eq!(sorted(RUN_BYTES, &paths), expected);
        assert_eq!(sorted(10_000, &paths), expected, "many runs");
        assert_eq!(sorted(RUN_BYTES, &[]), Vec::<String>::new());
    }

    #[test]
    fn a_slash_is_a_byte_like_any_other() {
        let paths = ["a/b", "a-b/x", "a", "a.b"].map(str::to_owned);
        assert_eq!(sorted(RUN_BYTES, &paths), ["a", "a-b/x", "a.b", "a/b"]);
    }
}
