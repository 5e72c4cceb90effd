//! What an operator has this node keep: rows of the store, so that they are durable when that was answered, and belong to
//! a backup.

use std::collections::BTreeSet;

use artimesh_core::replica::rows;
use serde::{Deserialize, Serialize};

use super::places::Pin;
use crate::store::{Batch, CommitError, Priority, ReadError, RowWrite, Store, Tree};

/// Prefix of the pins: then the repository's key, a slash, and the path.
const PINS: &[u8] = b"cache-pin/";
/// So many there may be: they are looked at for every row that is written.
pub const PINS_MAX: usize = 1000;

/// What stands in such a row.
#[derive(Serialize, Deserialize)]
struct PinRow {
    /// Since when, in milliseconds since 1970.
    since_ms: u64,
}

impl rows::Stored for PinRow {}

fn key_of(pin: &Pin) -> Vec<u8> {
    let path = pin.prefix.as_ref().map_or("", |prefix| prefix.as_str());
    [PINS, pin.repo.as_str().as_bytes(), b"/", path.as_bytes()].concat()
}

fn pin_of(key: &[u8]) -> Option<Pin> {
    let text = std::str::from_utf8(key.strip_prefix(PINS)?).ok()?;
    let (repo, path) = text.split_once('/')?;
    let prefix = if path.is_empty() { None } else { Some(path.parse().ok()?) };
    Some(Pin { repo: repo.parse().ok()?, prefix })
}

/// All pins. Blocks.
pub fn read(store: &Store) -> Result<BTreeSet<Pin>, ReadError> {
    let rows = store.range(Tree::Meta, PINS, &rows::end_of(PINS), PINS_MAX)?;
    Ok(rows.iter().filter_map(|(key, _)| pin_of(key)).collect())
}

/// Makes a pin durable.
pub async fn put(store: &Store, pin: &Pin, since_ms: u64) -> Result<(), CommitError> {
    commit(store, RowWrite::put(Tree::Meta, key_of(pin), rows::write(&PinRow { since_ms }))).await
}

/// Ends one.
pub async fn delete(store: &Store, pin: &Pin) -> Result<(), CommitError> {
    commit(store, RowWrite::delete(Tree::Meta, key_of(pin))).await
}

async fn commit(store: &Store, row: RowWrite) -> Result<(), CommitError> {
    store.commit(Batch { rows: vec![row], priority: Priority::Vital, ..Batch::default() }).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn pins_are_found_as_they_were_written() {
        for (repo, prefix) in [("libs", None), ("libs", Some("a/b c")), ("Libs-2", Some("x"))] {
            let pin = Pin { repo: repo.parse().unwrap(), prefix: prefix.map(|prefix| prefix.parse().unwrap()) };
            assert_eq!(pin_of(&key_of(&pin)), Some(pin));
        }
        assert_eq!(pin_of(b"cache-pin/libs"), None);
        assert_eq!(pin_of(b"circle"), None);
    }

    #[test]
    fn the_row_is_written_as_ever() {
        let row = rows::write(&PinRow { since_ms: 1_700_000_000_000 });
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/engine/row-cache-pin.bin");
        if std::env::var("ARTIMESH_GOLDEN").is_ok_and(|value| value == "write") && !path.exists() {
            std::fs::write(&path, &row).unwrap();
        }
        assert_eq!(std::fs::read(&path).unwrap(), row);
        assert_eq!(rows::read::<PinRow>(&row).unwrap().since_ms, 1_700_000_000_000);
    }
}
