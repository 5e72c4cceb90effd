//! The serving side of the bulk protocol.
//!
//! While one request is answered the next is looked at: rights by one question to the mind for all that it names, rows
//! and small blobs in one job on a thread that may block.

use std::collections::HashSet;
use std::sync::Arc;

use artimesh_core::model::{Digest, Dot, NodeId, PublicKey, Space};
use artimesh_core::replica::{Table, View, rows};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::spawn_blocking;

use super::bulk::{Answer, GROUP_BYTES, GROUPS_MAX, HAVE_MAX, Reference, Request, VALUES_MAX, WHOLE_MAX};
use super::fetch::Flight;
use super::lease;
use super::proof;
use super::shared::Shared;
use super::view::StoreView;
use crate::store::{BlobReader, Store};
use crate::swarm::{BulkError, BulkReceiver, BulkSender, BulkStream, Landed, Landing};

/// Requests that are looked at before the last is answered.
const AHEAD: usize = 1;

/// Requests of one peer that are looked at or answered at once, all its streams together: each holds some MiB.
pub(super) const SERVED_AT_ONCE: usize = 24;

/// What is read of small blobs before they are sent; the others are read one by one.
const READ_AHEAD_BYTES: u64 = 4 << 20;

/// What is read for the proofs of one request.
pub(super) const PROVED_BYTES: u64 = 64 << 20;

/// Where groups come from.
#[derive(Clone)]
enum Supply {
    /// The blob is here, and is read into this.
    Stored(BlobReader, Arc<Landing>),
    /// It is on its way; what has arrived was verified.
    Arriving(Arc<Flight>),
}

/// A small blob that was asked for.
enum Piece {
    Read(Bytes),
    Later(BlobReader),
    Missing,
}

/// A request that was looked at.
enum Ready {
    Answer(Answer),
    Whole(Vec<Piece>),
    Groups { supply: Supply, first: u32, end: u32, head: Option<Bytes> },
}

/// Answers requests on a stream until it ends.
pub(super) async fn serve(shared: Arc<Shared>, peer: PublicKey, stream: BulkStream) {
    let Some(node) = shared.understood(&peer) else { return };
    let (sender, receiver) = stream.split();
    let (ready, readied) = mpsc::channel(AHEAD);
    let places = shared.lines.of(&peer).places();
    let preparing = prepare(&shared, node, receiver, &places, ready);
    let served = async { tokio::try_join!(preparing, answer(sender, readied)).map(|_| ()) };
    tokio::select! {
        result = served => {
            if let Err(error) = result {
                tracing::debug!(%error, "a bulk stream ended");
            }
        }
        () = shared.stop.cancelled() => {}
    }
}

async fn prepare(
    shared: &Arc<Shared>,
    node: NodeId,
    mut receiver: BulkReceiver,
    places: &Arc<Semaphore>,
    ready: mpsc::Sender<(Ready, OwnedSemaphorePermit)>,
) -> Result<(), BulkError> {
    while let Some(frame) = receiver.recv().await? {
        let Ok(place) = places.clone().acquire_owned().await else { break };
        let next = match Request::read(&frame) {
            Some(request) => look_at(shared, node, request).await,
            None => Ready::Answer(Answer::NotFound),
        };
        if ready.send((next, place)).await.is_err() {
            break;
        }
    }
    Ok(())
}

async fn answer(
    mut sender: BulkSender,
    mut readied: mpsc::Receiver<(Ready, OwnedSemaphorePermit)>,
) -> Result<(), BulkError> {
    while let Some((ready, _place)) = readied.recv().await {
        match ready {
            Ready::Answer(answer) => sender.send_parts(answer.to_parts()).await?,
            Ready::Whole(pieces) => {
                for piece in pieces {
                    sender.send_parts(piece.answer().await.to_parts()).await?;
                }
            }
            Ready::Groups { supply, first, end, head } => send_groups(&mut sender, &supply, first, end, head).await?,
        }
        sender.flush().await?;
    }
    Ok(())
}

/// Sends groups, each while the next is read. One that can't be read is not found, and the last.
async fn send_groups(
    sender: &mut BulkSender,
    supply: &Supply,
    first: u32,
    end: u32,
    head: Option<Bytes>,
) -> Result<(), BulkError> {
    let mut next = head;
    for index in first..end {
        let Some(group) = next else { break };
        let upcoming = async { if index + 1 < end { supply.read(index + 1).await } else { None } };
        let (sent, upcoming) = tokio::join!(sender.send_parts(Answer::Group(group).to_parts()), upcoming);
        sent?;
        if index + 1 == end {
            return Ok(());
        }
        next = upcoming;
    }
    sender.send_parts(Answer::NotFound.to_parts()).await
}

impl Piece {
    async fn answer(self) -> Answer {
        let bytes = match self {
            Piece::Read(bytes) => Some(bytes),
            // One that rotted here is not sent: the asker turns to another.
            Piece::Later(reader) => reader.read_at(0, GROUP_BYTES as usize).await.ok(),
            Piece::Missing => None,
        };
        bytes.map_or(Answer::NotFound, Answer::Whole)
    }
}

impl Supply {
    fn group_count(&self) -> u32 {
        match self {
            Supply::Stored(reader, _) => reader.group_count(),
            Supply::Arriving(flight) => flight.group_count(),
        }
    }

    async fn read(&self, index: u32) -> Option<Bytes> {
        if index >= self.group_count() {
            return None;
        }
        match self {
            Supply::Stored(reader, landing) => {
                let offset = u64::from(index) * GROUP_BYTES;
                if reader.group_count() == 1 {
                    // Verified as a whole.
                    return reader.read_at(offset, GROUP_BYTES as usize).await.ok();
                }
                let bytes = GROUP_BYTES.min(reader.info().size - offset);
                reader.read_into(offset, landing.take(bytes as usize)).await.map(Landed::freeze).ok()
            }
            Supply::Arriving(flight) => flight.arrived(index).await,
        }
    }

    /// One bit for each group from `first` on.
    fn bits(&self, first: u32) -> Bytes {
        let end = self.group_count().min(first.saturating_add(HAVE_MAX));
        let has = |index: u32| match self {
            Supply::Stored(..) => true,
            Supply::Arriving(flight) => flight.has(index),
        };
        let mut bits = vec![0; end.saturating_sub(first).div_ceil(8) as usize];
        for (at, index) in (first..end).enumerate() {
            bits[at / 8] |= u8::from(has(index)) << (at % 8);
        }
        bits.into()
    }
}

async fn look_at(shared: &Arc<Shared>, node: NodeId, request: Request) -> Ready {
    match request {
        Request::Whole(references) => whole(shared, node, references).await,
        Request::Values(reference, first) => Ready::Answer(values(shared, node, reference, first).await),
        Request::Groups(reference, first, count) => {
            let Some(supply) = find(shared, node, reference).await else { return Ready::Answer(Answer::NotFound) };
            let end = first.saturating_add(count.min(GROUPS_MAX));
            let head = if first < end { supply.read(first).await } else { None };
            Ready::Groups { supply, first, end, head }
        }
        Request::Have(reference, first) => {
            let supply = find(shared, node, reference).await;
            Ready::Answer(supply.map_or(Answer::NotFound, |supply| Answer::Have(supply.bits(first))))
        }
        Request::Prove(references, nonce) => Ready::Answer(prove(shared, node, references, &nonce).await),
        Request::Lease(references, terms) => Ready::Answer(lease::answer(shared, node, references, terms).await),
    }
}

async fn whole(shared: &Arc<Shared>, node: NodeId, mut references: Vec<Reference>) -> Ready {
    references.truncate(WHOLE_MAX);
    let spaces = shared_spaces(shared, node, &references).await;
    let store = shared.store.clone();
    let count = references.len();
    let read = spawn_blocking(move || {
        let mut left = READ_AHEAD_BYTES;
        references.iter().map(|reference| piece(&store, &spaces, reference, &mut left)).collect()
    });
    let missing = || (0..count).map(|_| Piece::Missing).collect();
    Ready::Whole(read.await.unwrap_or_else(|_| missing()))
}

async fn prove(shared: &Arc<Shared>, node: NodeId, mut references: Vec<Reference>, nonce: &[u8; 32]) -> Answer {
    references.truncate(WHOLE_MAX);
    let spaces = shared_spaces(shared, node, &references).await;
    let (store, count) = (shared.store.clone(), references.len());
    let find = move |reference: &Reference| {
        let may = spaces.contains(&reference.space) && holds(&store, reference);
        may.then(|| store.reader(&reference.digest).ok().flatten()).flatten()
    };
    let found = spawn_blocking(move || references.iter().map(find).collect::<Vec<_>>()).await;
    let mut proofs = Vec::with_capacity(count);
    let mut left = PROVED_BYTES;
    for reader in found.unwrap_or_default() {
        let reader = reader.filter(|reader| left.checked_sub(proof::bytes_read(reader.info().size)).is_some());
        let Some(reader) = reader else {
            proofs.push(None);
            continue;
        };
        left -= proof::bytes_read(reader.info().size);
        proofs.push(proof::prove(&reader, nonce).await.ok());
    }
    proofs.resize(count, None);
    Answer::Proofs(proofs)
}

/// Blocks.
fn piece(store: &Store, spaces: &HashSet<Space>, reference: &Reference, left: &mut u64) -> Piece {
    if !spaces.contains(&reference.space) || !holds(store, reference) {
        return Piece::Missing;
    }
    let Ok(Some(reader)) = store.reader(&reference.digest) else { return Piece::Missing };
    let size = reader.info().size;
    if size > GROUP_BYTES {
        return Piece::Missing;
    }
    if size > *left {
        return Piece::Later(reader);
    }
    *left -= size;
    reader.read_whole().map_or(Piece::Missing, Piece::Read)
}

async fn values(shared: &Arc<Shared>, node: NodeId, reference: Reference, first: u32) -> Answer {
    let digest = reference.digest;
    let values = match find(shared, node, reference).await {
        None => None,
        Some(Supply::Arriving(flight)) => flight.values(),
        Some(Supply::Stored(..)) => {
            let store = shared.store.clone();
            let read = spawn_blocking(move || store.groups(&digest).ok().flatten());
            read.await.ok().flatten().map(Arc::new)
        }
    };
    let Some(values) = values else { return Answer::NotFound };
    Answer::Values(values.iter().skip(first as usize).take(VALUES_MAX as usize).copied().collect())
}

/// What there is of a blob, if the asker shares the space and a live version at the path names it.
async fn find(shared: &Arc<Shared>, node: NodeId, reference: Reference) -> Option<Supply> {
    let spaces = shared_spaces(shared, node, std::slice::from_ref(&reference)).await;
    if !spaces.contains(&reference.space) {
        return None;
    }
    let store = shared.store.clone();
    let asked = reference.clone();
    let found = spawn_blocking(move || {
        let dots = dots(&store, &asked);
        let stored = is_possessed(&store, &asked.space, &dots).then(|| store.reader(&asked.digest).ok().flatten());
        (!dots.is_empty(), stored.flatten())
    });
    match found.await.ok()? {
        (true, Some(reader)) => Some(Supply::Stored(reader, shared.swarm.landing())),
        (true, None) => Flight::of(shared, &reference).map(Supply::Arriving),
        (false, _) => None,
    }
}

/// Those of the spaces named that the asker shares.
pub(super) async fn shared_spaces(shared: &Arc<Shared>, node: NodeId, references: &[Reference]) -> HashSet<Space> {
    let named: HashSet<Space> = references.iter().map(|reference| reference.space).collect();
    let shares = shared.inspect(move |replica, _| named.into_iter().filter(|s| replica.shares(s, &node)).collect());
    shares.await.unwrap_or_default()
}

fn holds(store: &Store, reference: &Reference) -> bool {
    let dots = dots(store, reference);
    !dots.is_empty() && is_possessed(store, &reference.space, &dots)
}

/// The live versions at the path that name the digest. Blocks.
pub(super) fn dots(store: &Store, reference: &Reference) -> Vec<Dot> {
    let key = rows::catalog_key(&reference.space, &reference.path);
    let Ok(Some(row)) = StoreView::of(store.clone()).get(Table::Catalog, &key) else { return Vec::new() };
    let versions: Option<artimesh_core::catalog::Versions> = rows::read(&row).ok();
    let names = |digest: Digest| digest == reference.digest;
    let versions = versions.iter().flat_map(|versions| versions.iter());
    versions.filter(|version| names(version.content.digest)).map(|version| version.dot).collect()
}

/// Whether one of these versions isn't wanted any more: then its bytes were put or fetched in this space. Bytes that are
/// here through another space only are still wanted in this one.
pub(super) fn is_possessed(store: &Store, space: &Space, dots: &[Dot]) -> bool {
    let view = StoreView::of(store.clone());
    let is_wanted = |dot: &Dot| !matches!(view.get(Table::Meta, &rows::want_key(space, dot)), Ok(None));
    dots.iter().any(|dot| !is_wanted(dot))
}
