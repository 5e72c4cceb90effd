//! The bulk protocol: what is asked and answered on bulk streams.
//!
//! One request frame, then answer frames; each is one envelope. Requests may be sent ahead; they are answered in order. A
//! blob is named by its space, a path there and its digest: an address alone is no capability. A request of an unknown
//! kind is answered as if nothing were found, so a newer node can ask an older one and goes on without.

use artimesh_core::model::{ArtifactPath, Digest, Envelope, Space, codec};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::lease::{Terms, Word};
use crate::swarm::ENVELOPE_HEAD_BYTES;

/// Bytes of one group, and the largest blob that travels whole.
pub(super) const GROUP_BYTES: u64 = 1 << 20;

/// Groups asked for at once.
pub(super) const GROUPS_MAX: u32 = 32;

/// Chaining values in one frame: 512 KiB of them, for 16 GiB of blob.
pub(super) const VALUES_MAX: u32 = 16 * 1024;

/// Groups that one answer tells of: 64 KiB of bits, for 512 GiB of blob.
pub(super) const HAVE_MAX: u32 = 512 * 1024;

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
    /// Which groups the peer has, from an index on: one [`Answer::Have`]. Since 0.2.
    Have(Reference, u32),
    /// Proofs that the peer has up to [`WHOLE_MAX`] blobs, over a nonce: one [`Answer::Proofs`] for all. Since 0.2.
    Prove(Vec<Reference>, [u8; 32]),
    /// What the peer has of up to [`WHOLE_MAX`] blobs, and whether it will keep them for a while: one [`Answer::Words`] for
    /// all. To an older peer it is of an unknown kind: its `NotFound` is no word on any of them. Since 0.2.
    Lease(Vec<Reference>, Terms),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// It isn't here, or the asker may not have it: the same answer for both.
    NotFound,
    Whole(Bytes),
    Values(Vec<[u8; 32]>),
    Group(Bytes),
    /// One bit a group, the lowest of the first byte first; a blob of which nothing is here isn't found.
    Have(Bytes),
    /// In the order of the references; `None` for what isn't found. See [`super::proof`].
    Proofs(Vec<Option<[u8; 32]>>),
    /// In the order of the references.
    Words(Vec<Word>),
}

impl Request {
    pub(super) fn to_frame(&self) -> Bytes {
        let (kind, body) = match self {
            Request::Whole(references) => (1, codec::encode(references)),
            Request::Values(reference, first) => (2, codec::encode(&(reference, first))),
            Request::Groups(reference, first, count) => (3, codec::encode(&(reference, first, count))),
            Request::Have(reference, first) => (4, codec::encode(&(reference, first))),
            Request::Prove(references, nonce) => (5, codec::encode(&(references, nonce))),
            Request::Lease(references, terms) => (6, codec::encode(&(references, terms))),
        };
        Envelope { kind, body }.to_bytes().into()
    }

    pub(super) fn read(frame: &[u8]) -> Option<Request> {
        let envelope = Envelope::read_all(frame, 1).ok()?.pop()?;
        match envelope.kind {
            1 => codec::decode(&envelope.body).ok().map(Request::Whole),
            2 => codec::decode(&envelope.body).ok().map(|(reference, first)| Request::Values(reference, first)),
            3 => codec::decode(&envelope.body).ok().map(|(r, first, count)| Request::Groups(r, first, count)),
            4 => codec::decode(&envelope.body).ok().map(|(reference, first)| Request::Have(reference, first)),
            5 => codec::decode(&envelope.body).ok().map(|(references, nonce)| Request::Prove(references, nonce)),
            6 => codec::decode(&envelope.body).ok().map(|(references, terms)| Request::Lease(references, terms)),
            _ => None,
        }
    }
}

impl Answer {
    /// As a frame in two parts, so that a group is never copied behind its head.
    pub(super) fn to_parts(&self) -> [Bytes; 2] {
        let (kind, body): (u16, Bytes) = match self {
            Answer::NotFound => (1, Bytes::new()),
            Answer::Whole(bytes) => (2, bytes.clone()),
            Answer::Values(values) => (3, Bytes::copy_from_slice(values.as_flattened())),
            Answer::Group(bytes) => (4, bytes.clone()),
            Answer::Have(bits) => (5, bits.clone()),
            Answer::Proofs(proofs) => (6, codec::encode(proofs).into()),
            Answer::Words(words) => (7, codec::encode(words).into()),
        };
        let length = u32::try_from(body.len()).expect("at most a mebibyte");
        let head = [kind.to_le_bytes().as_slice(), &length.to_le_bytes()].concat();
        [head.into(), body]
    }

    /// What of a blob it brings.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Answer::Whole(bytes) | Answer::Group(bytes) => bytes.len() as u64,
            Answer::NotFound | Answer::Values(_) | Answer::Have(_) | Answer::Proofs(_) | Answer::Words(_) => 0,
        }
    }

    /// Reads an answer without copying its bytes.
    pub(super) fn read(frame: &Bytes) -> Option<Answer> {
        let head = frame.get(..ENVELOPE_HEAD_BYTES)?;
        let length = u32::from_le_bytes([head[2], head[3], head[4], head[5]]) as usize;
        if frame.len() != ENVELOPE_HEAD_BYTES + length {
            return None;
        }
        let body = frame.slice(ENVELOPE_HEAD_BYTES..);
        match u16::from_le_bytes([head[0], head[1]]) {
            1 => Some(Answer::NotFound),
            2 => Some(Answer::Whole(body)),
            3 if body.len().is_multiple_of(32) => {
                let value = |chunk: &[u8]| <[u8; 32]>::try_from(chunk).expect("chunks of 32");
                Some(Answer::Values(body.chunks_exact(32).map(value).collect()))
            }
            4 => Some(Answer::Group(body)),
            5 => Some(Answer::Have(body)),
            6 => codec::decode(&body).ok().map(Answer::Proofs),
            7 => codec::decode(&body).ok().map(Answer::Words),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use artimesh_core::model::FederationId;

    use super::*;
    use crate::engine::lease::sample;

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
            ("request-have.bin", Request::Have(reference(), 524_288)),
            ("request-prove.bin", Request::Prove(vec![reference(), reference()], [5; 32])),
            ("request-lease.bin", Request::Lease(vec![reference()], Terms { nonce: [4; 32], term_ms: 600_000 })),
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
            ("answer-have.bin", Answer::Have(Bytes::from_static(&[0b101, 1]))),
            ("answer-proofs.bin", Answer::Proofs(vec![Some([6; 32]), None])),
            ("answer-words.bin", Answer::Words(vec![Word::Unknown, Word::Absent, Word::Here, Word::Leased(sample())])),
        ];
        for (name, answer) in answers {
            let frame = Bytes::from(answer.to_parts().concat());
            check_golden(name, &frame);
            assert_eq!(Answer::read(&frame), Some(answer), "{name}");
        }
        assert_eq!(Answer::read(&Bytes::from_static(b"\x02\0\xff\xff\xff\xffx")), None);
        assert_eq!(Answer::read(&Bytes::from_static(b"\x63\0\0\0\0\0")), None, "an unknown kind");
    }
}
