//! One table of results, printed as they come and once more in the end.

use std::fmt;

#[derive(Default)]
pub struct Table(Vec<[String; 3]>);

impl Table {
    /// What was measured, the number with its unit, and what it is held to, if to anything.
    pub fn row(&mut self, what: &str, number: String, bound: &str) {
        println!("{what}: {number}  {bound}");
        self.0.push([what.to_owned(), number, bound.to_owned()]);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| what | measured | asked for |\n|---|---|---|")?;
        self.0.iter().try_for_each(|[what, number, bound]| writeln!(f, "| {what} | {number} | {bound} |"))
    }
}

/// 1234567 → 1,234,567.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let mut text = digits[..first].to_owned();
    for (index, digit) in digits[first..].chars().enumerate() {
        if index % 3 == 0 && !text.is_empty() {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Anonymous memory of a process that is in RAM now, in MiB.
pub fn rss_anon_mib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
