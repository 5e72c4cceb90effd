//! How much of a pack is live.

use artimesh_core::model::Digest;

use super::source::PackSource;
use crate::store::demand::Pace;
use crate::store::error::{CommitError, CompactError, ReadError};
use crate::store::pack::PACK_HEADER_BYTES;
use crate::store::pack::record::{Entry, HEADER_BYTES, Large, META_BYTES, decode_rows, kind};
use crate::store::shared::Shared;
use crate::store::value::{Extent, INLINE_BYTES_MAX, Place, RowValue, Table};

/// So many lookups are made before somebody may come between.
const LOOKUPS: u64 = 512;
/// What stands before a row's key.
const ROW_HEADER_BYTES: u64 = 8;

/// What a pack holds.
pub struct Survey {
    /// Its records, commits included.
    pub bytes: u64,
    /// Those that would be repeated.
    pub live_bytes: u64,
}

/// Goes through a pack without reading the blobs in it.
pub fn look(
    shared: &Shared,
    source: &PackSource,
    keeps_deletes: bool,
    pace: &mut Pace<'_>,
) -> Result<Survey, CompactError> {
    let mut live_bytes = 0;
    let (mut lookups, mut read_bytes) = (0, 0);
    for entry in &source.entries {
        let surveyed = look_at(shared, source, entry, keeps_deletes)?;
        live_bytes += surveyed.live_bytes;
        lookups += surveyed.lookups;
        read_bytes += surveyed.read_bytes;
        if lookups >= LOOKUPS {
            lookups = 0;
            if !pace.worked(std::mem::take(&mut read_bytes)) {
                return Err(CommitError::Closed.into());
            }
        }
    }
    Ok(Survey { bytes: source.end - PACK_HEADER_BYTES as u64, live_bytes })
}

#[derive(Default)]
struct Surveyed {
    live_bytes: u64,
    lookups: u64,
    read_bytes: u64,
}

fn look_at(shared: &Shared, source: &PackSource, entry: &Entry, keeps_deletes: bool) -> Result<Surveyed, CompactError> {
    let whole = HEADER_BYTES as u64 + u64::from(entry.payload_bytes);
    let one = |is_live: bool| Surveyed {
        live_bytes: if is_live { whole } else { 0 },
        lookups: 1,
        read_bytes: HEADER_BYTES as u64,
    };
    Ok(match entry.kind {
        kind::BLOB => one(is_blob_live(shared, source.number, entry)?),
        kind::LARGE => {
            let payload = source.payload(entry)?;
            let file = Large::decode(&payload).map(|large| large.file);
            let place = place_of(shared, &entry.key)?;
            one(matches!(place, Some(Place::Large { file: known, .. }) if Some(known) == file))
        }
        kind::CONFIRMED => {
            let place = place_of(shared, &entry.key)?;
            one(place.is_some_and(|place| !matches!(place, Place::Pack(extent) if extent.pack == source.number)))
        }
        kind::DELETED => one(keeps_deletes && place_of(shared, &entry.key)?.is_none()),
        kind::ROWS => rows(shared, source, entry, keeps_deletes)?,
        kind::COUNT => Surveyed::default(),
        kind => return Err(CompactError::Unknown { pack: source.number, kind }),
    })
}

fn place_of(shared: &Shared, digest: &Digest) -> Result<Option<Place>, ReadError> {
    Ok(shared.blob(digest)?.map(|known| known.place))
}

fn is_blob_live(shared: &Shared, pack: u64, entry: &Entry) -> Result<bool, ReadError> {
    let bytes = (entry.payload_bytes as usize).saturating_sub(META_BYTES);
    let offset = entry.offset + (HEADER_BYTES + META_BYTES) as u64;
    Ok(match place_of(shared, &entry.key)? {
        Some(Place::Pack(extent)) => extent == Extent { pack, offset, bytes: bytes as u32 },
        Some(Place::Inline(inline)) => bytes <= INLINE_BYTES_MAX && inline.len() == bytes,
        Some(Place::Large { .. }) | None => false,
    })
}

fn rows(shared: &Shared, source: &PackSource, entry: &Entry, keeps_deletes: bool) -> Result<Surveyed, CompactError> {
    let payload = source.payload(entry)?;
    let damaged = CompactError::Damaged { pack: source.number, offset: entry.offset };
    let payload_at = entry.offset + HEADER_BYTES as u64;
    let mut surveyed = Surveyed { read_bytes: payload.len() as u64, ..Surveyed::default() };
    for row in decode_rows(&payload).ok_or(damaged)? {
        surveyed.lookups += 1;
        let indexed = shared.lookup(Table::from(row.tree), row.key)?;
        let is_live = match (row.value, indexed) {
            (Some(value), Some(indexed)) => {
                RowValue::new(value, source.number, payload_at + row.value_at as u64).encode() == indexed
            }
            (None, None) => keeps_deletes,
            _ => false,
        };
        if is_live {
            surveyed.live_bytes += ROW_HEADER_BYTES + (row.key.len() + row.value.map_or(0, <[u8]>::len)) as u64;
        }
    }
    Ok(surveyed)
}
