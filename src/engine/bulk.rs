//! The bulk protocol: what is asked and answered on bulk streams, and the serving side.
//!
//! One request frame, then answer frames; each is one envelope. A blob is named by its space, a path there and its
//! digest: an address alone is no capability.

use std::sync::Arc;

use artimesh_core::model::{ArtifactPath, Digest, Envelope, NodeId, PublicKey, Space, codec};
use artimesh_core::replica::{Table, View, rows};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::shared::Shared;
use super::view::StoreView;
use crate::store::BlobReader;
use crate::swarm::{BulkError, BulkStream};

/// Bytes of one group, and the largest blob that travels whole.
pub(super) const GROUP_BYTES: u64 = 1 << 20;

/// Groups asked for at once.
pub(super) const GROUPS_MAX: u32 = 32;

/// Chaining values in one frame: 512 KiB of them, for 16 GiB of blob.
const VALUES_MAX: u32 = 16 * 1024;

/// Small blobs asked for at once.
pub(super) const WHOLE_MAX: usize = 64;

/// A blob as it is asked for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Reference {
    pub(super) space: Space,
    pub(super) path: ArtifactPath,
    pub(super) digest: Digest,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Request {
    /// Up to [`WHOLE_MAX`] blobs of at most [`GROUP_BYTES`] each: one [`Answer::Whole`] or `NotFound` each, in order.
    Whole(Vec<Reference>),
    /// Chaining values from an index on: one [`Answer::Values`].
    Values(Reference, u32),
    /// Groups `first..first + count`: one [`Answer::Group`] each.
    Groups(Reference, u32, u32),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// It isn't here, or the asker may not have it: the same answer for both.
    NotFound,
    Whole(Bytes),
    Values(Vec<[u8; 32]>),
    Group(Bytes),
}

impl Request {
    pub(super) fn to_frame(&self) -> Bytes {
        let (kind, body) = match self {
            Request::Whole(references) => (1, codec::encode(references)),
            Request::Values(reference, first) => (2, codec::encode(&(reference, first))),
            Request::Groups(reference, first, count) => (3, codec::encode(&(reference, first, count))),
        };
        Envelope { kind, body }.to_bytes().into()
    }

    fn read(frame: &[u8]) -> Option<Request> {
        let envelope = Envelope::read_all(frame, 1).ok()?.pop()?;
        match envelope.kind {
            1 => codec::decode(&envelope.body).ok().map(Request::Whole),
            2 => codec::decode(&envelope.body).ok().map(|(reference, first)| Request::Values(reference, first)),
            3 => codec::decode(&envelope.body).ok().map(|(r, first, count)| Request::Groups(r, first, count)),
            _ => None,
        }
    }
}

const HEAD_BYTES: usize = 6;

impl Answer {
    pub(super) fn to_frame(&self) -> Bytes {
        match self {
            Answer::NotFound => frame(1, &[]),
            Answer::Whole(bytes) => frame(2, bytes),
            Answer::Values(values) => frame(3, values.as_flattened()),
            Answer::Group(bytes) => frame(4, bytes),
        }
    }

    /// Reads an answer without copying its bytes.
    pub(super) fn read(frame: &Bytes) -> Option<Answer> {
        let head = frame.get(..HEAD_BYTES)?;
        let length = u32::from_le_bytes([head[2], head[3], head[4], head[5]]) as usize;
        if frame.len() != HEAD_BYTES + length {
            return None;
        }
        let body = frame.slice(HEAD_BYTES..);
        match u16::from_le_bytes([head[0], head[1]]) {
            1 => Some(Answer::NotFound),
            2 => Some(Answer::Whole(body)),
            3 if body.len().is_multiple_of(32) => {
                let value = |chunk: &[u8]| <[u8; 32]>::try_from(chunk).expect("chunks of 32");
                Some(Answer::Values(body.chunks_exact(32).map(value).collect()))
            }
            4 => Some(Answer::Group(body)),
            _ => None,
        }
    }
}

/// An envelope, with its body copied only once: groups are a mebibyte each.
fn frame(kind: u16, body: &[u8]) -> Bytes {
    let mut frame = Vec::with_capacity(HEAD_BYTES + body.len());
    frame.extend_from_slice(&kind.to_le_bytes());
    frame.extend_from_slice(&u32::try_from(body.len()).expect("at most a mebibyte").to_le_bytes());
    frame.extend_from_slice(body);
    frame.into()
}

/// Answers requests on a stream until it ends.
pub(super) async fn serve(shared: Arc<Shared>, peer: PublicKey, mut stream: BulkStream) {
    let stop = shared.stop.clone();
    let served = async {
        let Some(node) = shared.understood(&peer) else { return Ok(()) };
        while let Some(frame) = stream.recv().await? {
            match Request::read(&frame) {
                Some(request) => answer(&shared, &node, request, &mut stream).await?,
                None => stream.send(Answer::NotFound.to_frame()).await?,
            }
            stream.flush().await?;
        }
        Ok::<(), BulkError>(())
    };
    tokio::select! {
        result = served => {
            if let Err(error) = result {
                tracing::debug!(%error, "a bulk stream ended");
            }
        }
        () = stop.cancelled() => {}
    }
}

async fn answer(
    shared: &Arc<Shared>,
    node: &NodeId,
    request: Request,
    stream: &mut BulkStream,
) -> Result<(), BulkError> {
    match request {
        Request::Whole(references) => {
            for reference in references.into_iter().take(WHOLE_MAX) {
                let found = find(shared, node, reference).await;
                let small = found.filter(|reader| reader.info().size <= GROUP_BYTES);
                let bytes = match small {
                    Some(reader) => reader.read_at(0, GROUP_BYTES as usize).await.ok(),
                    None => None,
                };
                let answer = bytes.map_or(Answer::NotFound, Answer::Whole);
                stream.send(answer.to_frame()).await?;
            }
        }
        Request::Values(reference, first) => {
            let store = shared.store.clone();
            let digest = reference.digest;
            let values = match find(shared, node, reference).await {
                Some(_) => {
                    tokio::task::spawn_blocking(move || store.groups(&digest).ok().flatten()).await.ok().flatten()
                }
                None => None,
            };
            let part = values.map(|values| values.into_iter().skip(first as usize).take(VALUES_MAX as usize).collect());
            stream.send(part.map_or(Answer::NotFound, Answer::Values).to_frame()).await?;
        }
        Request::Groups(reference, first, count) => {
            let Some(reader) = find(shared, node, reference).await else {
                return stream.send(Answer::NotFound.to_frame()).await;
            };
            for index in first..first.saturating_add(count.min(GROUPS_MAX)) {
                // A group that rotted here is not sent: the asker turns to another.
                let offset = u64::from(index) * GROUP_BYTES;
                let group = if index < reader.group_count() {
                    reader.read_at(offset, GROUP_BYTES as usize).await.ok()
                } else {
                    None
                };
                match group {
                    Some(bytes) => {
                        // On its own line, so that the group is held once, not twice, while the peer takes it.
                        let frame = Answer::Group(bytes).to_frame();
                        stream.send(frame).await?;
                    }
                    None => return stream.send(Answer::NotFound.to_frame()).await,
                }
            }
        }
    }
    Ok(())
}

/// The blob, if the asker shares the space and a live version at the path names it.
async fn find(shared: &Arc<Shared>, node: &NodeId, reference: Reference) -> Option<BlobReader> {
    let node = *node;
    let digest = reference.digest;
    let allowed =
        shared.inspect(move |replica, view| replica.shares(&reference.space, &node) && names(view, &reference));
    if !allowed.await.unwrap_or(false) {
        return None;
    }
    shared.store.reader(&digest).ok().flatten()
}

fn names(view: &StoreView, reference: &Reference) -> bool {
    let key = rows::catalog_key(&reference.space, &reference.path);
    let Ok(Some(row)) = view.get(Table::Catalog, &key) else { return false };
    let versions: Option<artimesh_core::catalog::Versions> = rows::read(&row).ok();
    versions.is_some_and(|versions| versions.iter().any(|version| version.content.digest == reference.digest))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use artimesh_core::model::FederationId;

    use super::*;

    fn reference() -> Reference {
        let space = Space::Federation(FederationId([7; 32]));
        Reference { space, path: "a/b.jar".parse().expect("a path"), digest: Digest([9; 32]) }
    }

    /// Compares with the committed file; writes it only when asked to, for a new format.
    fn check_golden(name: &str, bytes: &[u8]) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/engine").join(name);
        if std::env::var("ARTIMESH_GOLDEN").is_ok_and(|value| value == "write") && !path.exists() {
            fs::write(&path, bytes).expect("written");
        }
        assert_eq!(fs::read(&path).expect("a committed file"), bytes, "{name} is written differently than before");
    }

    #[test]
    fn requests_are_written_as_ever_and_read_back() {
        let requests = [
            ("request-whole.bin", Request::Whole(vec![reference(), reference()])),
            ("request-values.bin", Request::Values(reference(), 16_384)),
            ("request-groups.bin", Request::Groups(reference(), 3, 16)),
        ];
        for (name, request) in requests {
            let frame = request.to_frame();
            check_golden(name, &frame);
            assert_eq!(Request::read(&frame), Some(request), "{name}");
            assert_eq!(Request::read(&frame[..frame.len() - 1]), None, "{name} cut short");
        }
    }

    #[test]
    fn answers_are_written_as_ever_and_read_back() {
        let answers = [
            ("answer-not-found.bin", Answer::NotFound),
            ("answer-whole.bin", Answer::Whole(Bytes::from_static(b"whole"))),
            ("answer-values.bin", Answer::Values(vec![[1; 32], [2; 32]])),
            ("answer-group.bin", Answer::Group(Bytes::from_static(b"group"))),
        ];
        for (name, answer) in answers {
            let frame = answer.to_frame();
            check_golden(name, &frame);
            assert_eq!(Answer::read(&frame), Some(answer), "{name}");
        }
        assert_eq!(Answer::read(&Bytes::from_static(b"\x02\0\xff\xff\xff\xffx")), None);
        assert_eq!(Answer::read(&Bytes::from_static(b"\x63\0\0\0\0\0")), None, "an unknown kind");
    }
}
