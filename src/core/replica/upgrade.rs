//! Rows of an earlier release become today's, once, when the node wakes up.

use std::collections::BTreeMap;

use super::draft::{Draft, stored};
use super::io::{Output, Row, Table, View, ViewFault};
use super::{rows, trie};
use crate::catalog::Versions;
use crate::model::Space;

/// The layout that this release writes.
const LAYOUT: u32 = 2;

/// Catalog rows that are read and persisted together.
const PAGE_ROWS: usize = 1000;

/// What must be persisted before anything else; nothing when the rows are today's. Layout 1 had no trie and no count of paths: both follow
/// from the catalog. Done twice, it comes to the same, so that a crash in between does no harm.
pub(super) fn outputs(view: &impl View) -> Result<Vec<Output>, ViewFault> {
    let mut outputs = Vec::new();
    match view.get(Table::Meta, rows::LAYOUT)? {
        Some(value) => {
            let found: u32 = stored(&value)?;
            if found > LAYOUT {
                return Err(ViewFault(format!(
                    "its rows have layout {found}, of a later Artimesh; this one knows {LAYOUT}"
                )));
            }
            return Ok(outputs);
        }
        None => {
            let (mut from, mut counts) = (Vec::new(), BTreeMap::<Space, u64>::new());
            loop {
                let page = view.range(Table::Catalog, &from, &rows::end_of(&[]), PAGE_ROWS)?;
                let mut draft = Draft::new(view);
                for (key, value) in &page {
                    let broken = || ViewFault("a catalog row has a broken key".into());
                    let space = rows::space_from(key).ok_or_else(broken)?;
                    let path = rows::catalog_path(key).ok_or_else(broken)?;
                    let versions: Versions = stored(value)?;
                    *counts.entry(space).or_default() += 1;
                    trie::changed(&mut draft, &space, &path, &Versions::default(), &versions);
                }
                if !draft.is_empty() {
                    outputs.push(Output::Persist(draft.into_rows()));
                }
                match page.last() {
                    Some((last, _)) if page.len() == PAGE_ROWS => from = [last.as_slice(), &[0]].concat(),
                    _ => break,
                }
            }
            let row = |(space, count): (Space, u64)| Row {
                table: Table::Meta,
                key: rows::count_key(&space),
                value: Some(rows::write(&count)),
            };
            outputs.push(Output::Persist(counts.into_iter().map(row).collect()));
        }
    }
    let row = Row { table: Table::Meta, key: rows::LAYOUT.into(), value: Some(rows::write(&LAYOUT)) };
    outputs.push(Output::Persist(vec![row]));
    Ok(outputs)
}
