//! Why a request isn't answered as it asked.

use artimesh_core::model::{ArtifactPath, BadPath, BadProperty, BadRepoKey, RepoKey};

use crate::service::{BadQuery, ServiceError};

/// Nothing was changed in any of these cases, unless the service's own error says otherwise. The status code of each is
/// in `status.rs`; the text is what the client reads.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The service says no.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// Nothing is served at that address.
    #[error("nothing is served at '{0}'")]
    NoRoute(String),
    /// Something is, but not with that method.
    #[error("'{method}' is not possible here: use {allow}")]
    NotAllowed {
        /// As sent.
        method: String,
        /// For the `Allow` header.
        allow: String,
    },
    /// The target is longer than 8 KiB.
    #[error("the request target is longer than {0} bytes")]
    TargetTooLong(usize),
    /// HTTP/1.1 needs exactly one usable `Host`.
    #[error("the request has no usable Host header, or several")]
    BadHost,
    /// A browser was made to send this by a page of another site.
    #[error("refused: a browser sent this request on behalf of another site")]
    CrossSite,
    /// The path can't be one.
    #[error(transparent)]
    Path(#[from] BadPath),
    /// The key can't be one.
    #[error(transparent)]
    Key(#[from] BadRepoKey),
    /// The properties can't be some.
    #[error(transparent)]
    Property(#[from] BadProperty),
    /// A header's value can't be used.
    #[error("header {name}: {reason}")]
    Header {
        /// Which.
        name: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A query parameter's value can't be used.
    #[error("query parameter {name}: {reason}")]
    Query {
        /// Which.
        name: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The body isn't the JSON that belongs here.
    #[error("the body is not usable: {0}")]
    Json(#[from] serde_json::Error),
    /// The body isn't a query that is understood here.
    #[error(transparent)]
    Aql(#[from] BadQuery),
    /// A field of the body has a value that it can't have.
    #[error("{field}: {reason}")]
    Field {
        /// Which.
        field: &'static str,
        /// What is wrong with it and what to do.
        reason: String,
    },
    /// The body is over the bound.
    #[error("the body is longer than the {limit} bytes that are taken here")]
    TooLarge {
        /// In bytes.
        limit: u64,
    },
    /// The body stopped coming. The client may try again.
    #[error("no byte of the body came for {seconds} seconds")]
    BodyIdle {
        /// The idle timeout.
        seconds: u64,
    },
    /// The body ended before its end. The client is most likely gone.
    #[error("the body broke off: {0}")]
    BodyBroken(String),
    /// `X-Checksum-Deploy` named bytes that the caller can't read here.
    #[error("Checksum deploy failed. No existing file with {0}")]
    ChecksumDeploy(String),
    /// A checksum file says otherwise than the artifact it belongs to.
    #[error("the {algorithm} of '{path}' is {actual}, but the checksum file says {claimed}")]
    SidecarMismatch {
        /// Of which artifact.
        path: ArtifactPath,
        /// `SHA-1` and so on.
        algorithm: &'static str,
        /// In hexadecimal.
        actual: String,
        /// As sent, cut to 128 characters.
        claimed: String,
    },
    /// The sum was put off, and is computed by now in the background.
    #[error("the {algorithm} of '{path}' is not computed yet: ask again later")]
    NotSummed {
        /// Of which artifact.
        path: ArtifactPath,
        /// `MD5`.
        algorithm: &'static str,
    },
    /// A list of a file was asked for.
    #[error("'{0}' is a file: only folders can be listed")]
    NotAFolder(ArtifactPath),
    /// The artifact has none (of those asked for).
    #[error("No properties could be found.")]
    NoProperties,
    /// `If-Match` or `If-Unmodified-Since` doesn't hold.
    #[error("a precondition of the request does not hold: the artifact has changed")]
    Precondition,
    /// No byte of the range exists.
    #[error("no byte of the requested range is in the {size} bytes of the artifact")]
    Unsatisfiable {
        /// The artifact's size in bytes.
        size: u64,
    },
    /// Clients of the repositories' API expect 400 where others expect 404.
    #[error("repository '{0}' does not exist")]
    UnknownRepository(RepoKey),
    /// The node can't do its work.
    #[error("not ready: {0}")]
    NotReady(String),
}
