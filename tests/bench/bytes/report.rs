//! Ratios: printed as they come, as a table in the end, and as JSON.

use std::fmt;

use serde_json::json;

use super::machine::Disturbance;

/// One thing, measured on both sides by turns.
#[derive(Clone, Debug)]
pub struct Row {
    pub what: String,
    pub unit: &'static str,
    /// Medians; more is better.
    pub ours: f64,
    pub peer: String,
    pub theirs: Option<f64>,
    /// The ratio asked for, and the one aimed at.
    pub floor: Option<f64>,
    pub aim: Option<f64>,
    pub note: String,
}

#[derive(Default)]
pub struct Report(Vec<Row>);

impl Report {
    pub fn push(&mut self, row: Row) {
        println!("{}", line(&row));
        self.0.push(row);
    }

    pub fn json(&self) -> String {
        let rows = self.0.iter().map(|row| {
            json!({
                "what": row.what, "unit": row.unit, "ours": row.ours, "peer": row.peer, "theirs": row.theirs,
                "ratio": ratio(row), "floor": row.floor, "aim": row.aim, "note": row.note,
            })
        });
        serde_json::to_string_pretty(&rows.collect::<Vec<_>>()).expect("numbers and text")
    }
}

fn ratio(row: &Row) -> Option<f64> {
    row.theirs.map(|theirs| row.ours / theirs)
}

fn number(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

fn line(row: &Row) -> String {
    let optional = |value: Option<f64>| value.map(|value| format!("{value:.2}")).unwrap_or_default();
    let theirs = row.theirs.map(|theirs| format!("{}: {}", row.peer, number(theirs))).unwrap_or_default();
    format!(
        "| {} | {} {} | {theirs} | {} | {} | {} | {} |",
        row.what,
        number(row.ours),
        row.unit,
        optional(ratio(row)),
        optional(row.floor),
        optional(row.aim),
        row.note
    )
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| what | here | beside it | ratio | floor | aim | note |\n|---|---|---|---|---|---|---|")?;
        self.0.iter().try_for_each(|row| writeln!(f, "{}", line(row)))
    }
}

/// The two sides by turns, `rounds` times, after one turn of each that isn't counted; the medians of what they return.
pub fn by_turns(
    rounds: usize,
    mut ours: impl FnMut(usize) -> f64,
    mut theirs: impl FnMut(usize) -> f64,
) -> (f64, f64, Disturbance) {
    let watch = Disturbance::watch();
    let (mut here, mut there) = (Vec::new(), Vec::new());
    ours(0);
    theirs(0);
    for round in 1..=rounds {
        here.push(ours(round));
        there.push(theirs(round));
    }
    (median(here), median(there), watch.ended())
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
