//! Why a call isn't done, as decisions its caller can take. Messages name the thing and say what to do.

use artimesh_core::access::Denied;
use artimesh_core::clock::Timestamp;
use artimesh_core::model::{ArtifactPath, RepoKey};
use artimesh_core::replica::CommandError;
use artimesh_core::trust::BadToken;

/// Nothing was changed in any of these cases, unless the variant says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// Say who you are (401).
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The credential is nobody's (401).
    #[error("the token is not valid here")]
    BadCredential,
    /// The administrator's token works from this machine only (403).
    #[error("the administrator token works on this machine's loopback address only")]
    NotLoopback,
    /// No such repository (404).
    #[error("repository '{0}' does not exist")]
    NoRepository(RepoKey),
    /// No such artifact (404).
    #[error("'{path}' does not exist in repository '{repo}'")]
    NoArtifact {
        /// Where it was looked for.
        repo: RepoKey,
        /// What was looked for.
        path: ArtifactPath,
    },
    /// A folder can't be made where a file is (409).
    #[error("'{0}' is a file: a folder cannot be made there")]
    FileInTheWay(ArtifactPath),
    /// Nothing is in conflict there (404).
    #[error("'{path}' in repository '{repo}' has no conflict")]
    NoConflict {
        /// Where it was looked for.
        repo: RepoKey,
        /// What was looked for.
        path: ArtifactPath,
    },
    /// An edge has no write routes (403).
    #[error("Deployment to an Edge Artifactory node is not supported.")]
    Edge,
    /// The body isn't what the client's checksum header says (409).
    #[error("the {algorithm} of the body is {actual}, but the request said {expected}")]
    ChecksumMismatch {
        /// `SHA-256`, `SHA-1` or `MD5`.
        algorithm: &'static str,
        /// In hexadecimal.
        expected: String,
        /// In hexadecimal.
        actual: String,
    },
    /// The disk, its reserve or the quota (507).
    #[error("no space is left for artifacts at this site: {0}")]
    NoSpace(String),
    /// The bytes aren't here and nobody connected has them now (503).
    #[error("the bytes of '{path}' are not at this site yet, and no connected member has them now: {reason}")]
    NotHere {
        /// Whose bytes.
        path: ArtifactPath,
        /// What was tried.
        reason: String,
    },
    /// The bytes exist nowhere, as far as anybody can tell (410).
    #[error("the bytes of '{path}' are lost: {reason}")]
    Lost {
        /// Whose bytes.
        path: ArtifactPath,
        /// When that was found out.
        since: Timestamp,
        /// Who was asked, and what can be done.
        reason: String,
    },
    /// A rule of the circle or of the repository (400, 403, 404 or 409: see its variants).
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The text isn't a usable pairing token (400).
    #[error(transparent)]
    Token(#[from] BadToken),
    /// The pairing failed on the way: the issuer can't be reached, or its answer can't be understood (502).
    #[error("pairing failed: {0}")]
    Pairing(String),
    /// The pairing was refused by the issuer (403).
    #[error("pairing was refused: {0}")]
    PairingRefused(artimesh_core::trust::PairingReason),
    /// A name that stands for no node, or for several (404).
    #[error("no single member of the circle is called '{0}'")]
    NoSuchNode(String),
    /// What the request names isn't there (404); the text says what, and where to look.
    #[error("{0}")]
    Absent(String),
    /// A field of the request has a value that it can't have (400).
    #[error("{field}: {reason}")]
    BadField {
        /// Which.
        field: &'static str,
        /// What is wrong with it and what is allowed.
        reason: String,
    },
    /// The same is under way already (409). When that has ended it may be asked for again.
    #[error("{0}")]
    Busy(String),
    /// The node is stopping, or its store failed; what was under way may or may not have been done (503).
    #[error("this node cannot do that now: {0}")]
    Unavailable(String),
}

impl ServiceError {
    /// A refusal of the core's that names a path alone, with the repository in which that was.
    pub(super) fn in_repository(self, repo: &RepoKey) -> ServiceError {
        match self {
            ServiceError::Command(CommandError::NoArtifact(path)) => {
                ServiceError::NoArtifact { repo: repo.clone(), path }
            }
            ServiceError::Command(CommandError::NoRepository(key)) => ServiceError::NoRepository(key),
            other => other,
        }
    }
}
