//! The TOML file as entries with line numbers.

use std::ops::Range;
use std::path::Path;

use toml_edit::{Document, Item, TableLike, Value as Toml};

use super::fault::{Fault, Problem, Source};
use super::load::Entry;
use super::parse::Raw;
use super::table::KEYS;

/// Reads the text of the file at `path` to its end: what it sets, and what is wrong with it apart from values.
pub(super) fn read(path: &Path, text: &str) -> (Vec<Entry>, Vec<Fault>) {
    let mut reader = Reader { path, text, entries: Vec::new(), faults: Vec::new() };
    match Document::parse(text) {
        Ok(document) => reader.table(document.as_table(), ""),
        Err(error) => {
            let line = error.span().map(|span| reader.line(&span));
            let source = Source::File { path: path.to_owned(), line };
            reader.faults.push(Fault { source, problem: Problem::NotToml { message: error.message().to_owned() } });
        }
    }
    (reader.entries, reader.faults)
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    entries: Vec<Entry>,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    /// Reads a table whose keys are named `prefix` and their own name.
    fn table(&mut self, table: &dyn TableLike, prefix: &str) {
        for (name, item) in table.iter() {
            let full = format!("{prefix}{name}");
            let key_span = table.get_key_value(name).and_then(|(key, _)| key.span());
            let line = key_span.or_else(|| item.span()).map(|span| self.line(&span));
            let source = Source::File { path: self.path.to_owned(), line };
            let is_section = prefix.is_empty() && KEYS.iter().any(|key| key.section() == name);
            if let Some(key) = KEYS.iter().find(|key| key.name == full) {
                let shown = item.span().and_then(|span| self.text.get(span)).unwrap_or_default().trim().to_owned();
                self.entries.push(Entry { key, raw: raw(item), shown, source });
            } else if let Some(inner) = item.as_table_like().filter(|inner| is_section || !inner.is_empty()) {
                // Below a section that doesn't exist, each key is reported with the one that it was meant to be.
                self.table(inner, &format!("{full}."));
            } else {
                self.faults.push(Fault { source, problem: Problem::unknown_key(&full) });
            }
        }
    }

    fn line(&self, span: &Range<usize>) -> usize {
        let before = self.text.as_bytes().get(..span.start).unwrap_or_default();
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    }
}

fn raw(item: &Item) -> Raw {
    match item.as_value() {
        Some(Toml::String(text)) => Raw::Text(text.value().clone()),
        Some(Toml::Integer(number)) => Raw::Text(number.value().to_string()),
        Some(Toml::Boolean(truth)) => Raw::Text(truth.value().to_string()),
        Some(Toml::Array(array)) => {
            let items: Option<Vec<_>> = array.iter().map(|item| item.as_str().map(str::to_owned)).collect();
            items.map_or(Raw::Other, Raw::List)
        }
        _ => Raw::Other,
    }
}
