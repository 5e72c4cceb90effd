//! The nouns: identities, digests, paths, checksums, properties, signatures, and how they are written as bytes.
//!
//! Everything here is a value: valid once it exists, comparable, and the same on every machine.

mod checksums;
pub mod codec;
mod digest;
mod envelope;
mod heads;
mod id;
mod keys;
mod path;
mod properties;

pub use checksums::{Assurance, Checksums};
pub use digest::{Digest, NotHex, parse_hex};
pub use envelope::{Envelope, EnvelopeError};
pub use heads::{Context, Head, Heads};
pub use id::{BadDot, BadName, CircleId, Dot, FederationId, Incarnation, NodeId, NodeName, Space, TokenId};
pub use keys::{BadSignature, KeyPair, PublicKey, Signature, Use};
pub use path::{ArtifactPath, BadPath, BadRepoKey, RepoKey};
pub use properties::{BadProperty, Properties};
