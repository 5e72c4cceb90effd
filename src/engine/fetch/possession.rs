//! Wants whose bytes are here, perhaps through another space only: a member of this one proves that it has them, too.

use std::sync::Arc;

use artimesh_core::model::PublicKey;
use artimesh_core::replica::Want;

use super::peer::{self, PeerError};
use super::small;
use crate::engine::bulk::{Answer, Request, WHOLE_MAX};
use crate::engine::line::{Expected, Urgency};
use crate::engine::proof;
use crate::engine::shared::Shared;
use crate::store::{Batch, Priority};

/// What proofs of one request may read.
const UNIT_BYTES: u64 = 32 << 20;

/// What is proved together: as many as fit a request, all of one space.
pub(super) fn units(wants: Vec<Want>) -> Vec<Vec<Want>> {
    let mut units: Vec<Vec<Want>> = Vec::new();
    let mut bytes = 0;
    for want in wants {
        bytes += proof::bytes_read(want.size);
        match units.last_mut() {
            Some(unit) if unit.len() < WHOLE_MAX && unit[0].space == want.space && bytes <= UNIT_BYTES => {
                unit.push(want);
            }
            _ => {
                bytes = proof::bytes_read(want.size);
                units.push(vec![want]);
            }
        }
    }
    units
}

/// Takes off the list what a member proves to have; what nobody proved, and so must be fetched all the same.
pub(super) async fn prove(shared: &Arc<Shared>, mut wants: Vec<Want>) -> Vec<Want> {
    let Some(first) = wants.first() else { return wants };
    let dice = getrandom::u32().unwrap_or_default() as usize;
    let (space, author) = (first.space, first.dot.incarnation.node);
    for (node, key) in peer::candidates(shared, &space, author, None, dice) {
        let (proved, still) = match ask(shared, &key, wants.clone()).await {
            Ok(answered) => answered,
            Err(error) => {
                tracing::debug!(node = %node.short(), %error, "a peer proved nothing");
                continue;
            }
        };
        if !proved.is_empty() {
            let rows = proved.iter().map(small::done).collect();
            if small::commit(shared, Batch { rows, priority: Priority::Vital, ..Batch::default() }).await {
                shared.fetched.was_proved(proved.len() as u64);
            }
        }
        wants = still;
        if wants.is_empty() {
            break;
        }
    }
    wants
}

/// Those that the peer proves, and the others.
async fn ask(shared: &Arc<Shared>, peer: &PublicKey, wants: Vec<Want>) -> Result<(Vec<Want>, Vec<Want>), PeerError> {
    let nonce = proof::nonce().ok_or_else(|| PeerError::Store("the system has no randomness".into()))?;
    let line = shared.lines.of(peer);
    let permit = line.admit(shared, 0, Urgency::Bulk).await;
    let request = Request::Prove(wants.iter().map(small::reference).collect(), nonce);
    let expected = Expected { answers: 1, ends_when_not_found: true };
    let proofs = match line.ask(shared, &request, expected, permit).await?.next().await? {
        Answer::Proofs(proofs) if proofs.len() == wants.len() => proofs,
        // It has none of them, or is of an older release.
        Answer::NotFound => return Ok((Vec::new(), wants)),
        _ => return Err(PeerError::Wrong("not so many proofs".into())),
    };
    let (mut proved, mut still) = (Vec::new(), Vec::new());
    for (want, theirs) in wants.into_iter().zip(proofs) {
        let own = match shared.store.reader(&want.digest) {
            Ok(Some(reader)) if theirs.is_some() => proof::prove(&reader, &nonce).await.ok(),
            _ => None,
        };
        // Compared in constant time.
        let is_proved = own.map(blake3::Hash::from_bytes) == theirs.map(blake3::Hash::from_bytes) && own.is_some();
        if is_proved { proved.push(want) } else { still.push(want) }
    }
    Ok((proved, still))
}
