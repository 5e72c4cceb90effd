//! What a node does for its user. Knows no HTTP; every call takes a [`Caller`].

mod aql;
mod artifacts;
mod attention;
mod audit;
mod backup;
mod cache;
mod caller;
mod children;
mod claims;
#[cfg(test)]
mod claims_tests;
mod clock;
mod counts;
mod dates;
mod download;
mod error;
mod federations;
mod finding;
mod folders;
mod handle;
mod lag;
mod lost;
mod metrics;
mod pairing;
mod paths;
mod properties;
mod recent;
mod reconciliation;
mod relocation;
mod repositories;
#[cfg(test)]
mod rights_tests;
mod rollback;
mod search;
#[cfg(test)]
mod search_tests;
mod shown;
mod small;
mod status;
mod summary;
#[cfg(test)]
mod testing;
mod upkeep;
mod versions;

pub use aql::{BadQuery, Comparison, Criterion, Field, Include, Operator, Query, Value, matches_pattern};
pub use artifacts::{Expected, Folder, Found, Item, Upload};
pub use audit::{Audit, AuditOptions, AuditQuery, Served};
pub use backup::Backup;
pub use caller::{Caller, Credential, RequestId};
pub use children::{Children, Entry};
pub use counts::Downloads;
pub use dates::{LAST_MS, civil, iso8601, parse_iso8601};
pub use download::Download;
pub use error::ServiceError;
pub use finding::derivation;
pub use handle::{Health, Options, Service};
pub use metrics::Metrics;
pub use pairing::{CircleMember, CircleView, Issued, Joined, PairingWish, Revoked};
pub use paths::Paths;
pub use properties::{Extent, PropertyChange};
pub use recent::Recent;
pub use reconciliation::{Checkpoint, Confirmation};
pub use relocation::{Destination, Effect, Relocation};
pub use repositories::{MemberView, RepositorySpec, RepositoryView};
pub use rollback::{RollbackWish, RolledBack};
pub use search::{Hit, Search};
pub use shown::Seen;
pub use summary::{RepositorySummary, Summary};

// What the engine tells of its upkeep.
pub use crate::engine::{CacheStatus, Collected, Evicted, Limits, Pin, Share, Tally};
pub use crate::store::Scrubbed;

// The words of the core that this room's own calls and answers are made of: the face needs no other arrow to the core.
pub use artimesh_core::catalog::{ConfigChange, Conflict, End, Historic, Version, Versions};
pub use artimesh_core::clock::Timestamp;
pub use artimesh_core::replica::{CommandError, DifferenceKind, Hold, MergeProgress, Placement, RollbackAction};
pub use artimesh_core::trust::{PairingReason, Role};

// Where the time of a request goes, and when the MD5 of an upload is computed.
pub use crate::store::{Account, Md5Turn, Part, has_md5};

// How stored bytes travel to whoever sends them.
pub use crate::store::Carriage;
pub use crate::store::mapping::{FileRange, file_range};
