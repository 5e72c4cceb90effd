//! The ledger over restarts: a note beside the packs.
//!
//! 49 bytes a blob, written anew every few minutes when something was read and at the end, never synced. A node that is
//! killed loses the reads of the last minutes; and as blobs may have come and gone since, what it finds at its next start is
//! compared with what is there ([`super::survey`]). After a clean end nothing is.

use std::io::{self, Write as _};

use artimesh_core::model::Digest;

use super::ledger::Line;
use crate::store::Store;

const NAME: &str = "cache";
const MAGIC: [u8; 8] = *b"ArtiCach";
const FORMAT: u32 = 1;
const LINE_BYTES: usize = 49;

/// Whether the list is all there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// The node that wrote it ran on.
    Running,
    /// Nothing came or went after it was written.
    Final,
}

/// Writes the list. Blocks.
pub fn write(store: &Store, lines: &[Line], state: State) -> io::Result<()> {
    let mut note = store.write_note(NAME, &MAGIC)?;
    note.write_all(&head(state))?;
    for line in lines {
        note.write_all(&encode(line))?;
    }
    note.finish()
}

/// Reads it; `None` when there is none that is whole. Blocks.
pub fn read(store: &Store) -> Option<(Vec<Line>, State)> {
    decode(&store.read_note(NAME, &MAGIC)?)
}

fn head(state: State) -> [u8; 5] {
    let mut head = [0; 5];
    head[..4].copy_from_slice(&FORMAT.to_le_bytes());
    head[4] = match state {
        State::Running => 1,
        State::Final => 2,
    };
    head
}

/// Digest, bytes, when it was read, whether it is a part.
fn encode(line: &Line) -> [u8; LINE_BYTES] {
    let mut bytes = [0; LINE_BYTES];
    bytes[..32].copy_from_slice(&line.digest.0);
    bytes[32..40].copy_from_slice(&line.bytes.to_le_bytes());
    bytes[40..48].copy_from_slice(&line.read_ms.to_le_bytes());
    bytes[48] = u8::from(line.is_partial);
    bytes
}

fn decode(bytes: &[u8]) -> Option<(Vec<Line>, State)> {
    let (format, rest) = bytes.split_first_chunk::<4>()?;
    let (state, rest) = rest.split_first()?;
    let state = match state {
        1 => State::Running,
        2 => State::Final,
        _ => return None,
    };
    let (lines, odd) = rest.as_chunks::<LINE_BYTES>();
    if u32::from_le_bytes(*format) != FORMAT || !odd.is_empty() {
        return None;
    }
    Some((lines.iter().map(line).collect::<Option<_>>()?, state))
}

fn line(bytes: &[u8; LINE_BYTES]) -> Option<Line> {
    let (digest, rest) = bytes.split_first_chunk::<32>()?;
    let (size, rest) = rest.split_first_chunk::<8>()?;
    let (read, rest) = rest.split_first_chunk::<8>()?;
    let is_partial = match rest {
        [0] => false,
        [1] => true,
        _ => return None,
    };
    let (bytes, read_ms) = (u64::from_le_bytes(*size), u64::from_le_bytes(*read));
    Some(Line { digest: Digest(*digest), bytes, read_ms, is_partial })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_format_is_the_committed_one() {
        let line = |seed: u8, is_partial| Line {
            digest: Digest([seed; 32]),
            bytes: 0x0102_0304,
            read_ms: 1_700_000_000_000,
            is_partial,
        };
        let lines = vec![line(1, false), line(2, true)];
        let bytes = [&head(State::Running)[..], &encode(&lines[0]), &encode(&lines[1])].concat();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/engine/cache-list.bin");
        if std::env::var("ARTIMESH_GOLDEN").is_ok_and(|value| value == "write") && !path.exists() {
            std::fs::write(&path, &bytes).unwrap();
        }
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "it is written differently than before");
        assert_eq!(decode(&bytes), Some((lines, State::Running)));
        for cut in 0..bytes.len() {
            let told = decode(&bytes[..cut]);
            assert!(told.is_none_or(|(lines, _)| lines.len() < 2), "{cut}");
        }
        let mut newer = bytes;
        newer[0] = 2;
        assert_eq!(decode(&newer), None);
    }
}
