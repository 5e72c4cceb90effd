//! Whether a part of a segment that some member passed on is its author's word.

use super::super::io::{Refusal, Table, View, ViewFault};
use super::super::state::Work;
use crate::catalog::EntryFault;
use crate::changelog::{Change, Pruned, Stored};
use crate::model::{CircleId, Dot, Heads, Space};
use crate::trust::{Capability, State as Trust, TrustRefusal};

/// Reads a pruned segment of `space`: signed by a key of its author, who may write there, up to the seals, and of a kind
/// that live versions are made of. Entries beyond `heads` are left out.
pub(super) fn check(
    trust: &Trust,
    circle: &CircleId,
    space: &Space,
    bytes: &[u8],
    heads: &Heads,
) -> Result<Pruned, Refusal> {
    let Space::Federation(id) = space else { return Err(Refusal::NotShared(*space)) };
    let pruned = Pruned::read(bytes)?;
    let header = &pruned.header;
    let author = header.incarnation.node;
    if header.space != *space {
        return Err(Refusal::NotShared(header.space));
    }
    pruned.verify(circle)?;
    if trust.member(&author).is_none() || !trust.may_be_key(&author, &header.key) {
        return Err(TrustRefusal::WrongKey(author).into());
    }
    let right = Capability::Write(Some(*id));
    if !trust.holds(&author, &right, None) {
        return Err(TrustRefusal::NotAllowed(author, right.name()).into());
    }
    let admitted = trust.admitted(*space, &header.incarnation);
    for (index, envelope) in pruned.entries() {
        let dot = header.dot(index as usize);
        if dot.sequence > admitted {
            return Err(TrustRefusal::Sealed(author).into());
        }
        let fault = |fault: EntryFault| Refusal::Entry(dot, fault);
        // What its author had seen can't be told without the log around it; what it kills plays no part any more.
        let any = |_: &Dot| true;
        match Change::read(envelope) {
            Ok(Change::Put(put)) => put.check(any).map_err(fault)?,
            Ok(Change::EditProperties(edit)) => edit.check(any).map_err(fault)?,
            Ok(_) => return Err(Refusal::Misplaced(dot, "not a part of a live version".into())),
            Err(error) => return Err(Refusal::Misplaced(dot, error.to_string())),
        }
    }
    let (incarnation, first) = (header.incarnation, header.first_sequence);
    let covered = |index: u32| heads.cover(&Dot { incarnation, sequence: first + u64::from(index) });
    Ok(pruned.narrowed(covered))
}

/// Adds what is left of a segment to a row of it.
pub(super) fn add_row<V: View>(
    work: &mut Work<'_, V>,
    table: Table,
    key: Vec<u8>,
    pruned: Pruned,
) -> Result<(), ViewFault> {
    let united = match work.draft.get(table, &key)? {
        None => pruned,
        Some(value) => {
            let fault = |error| ViewFault(format!("a stored segment is unreadable: {error}"));
            match Stored::read(&value).map_err(fault)? {
                // Whole is more than any part.
                Stored::Whole(_) => return Ok(()),
                Stored::Pruned(known) => known.united(&pruned),
            }
        }
    };
    work.draft.set_bytes(table, key, united.to_bytes());
    Ok(())
}
