//! What a node does for its user. Knows no HTTP; every call takes a [`Caller`].

mod artifacts;
mod audit;
mod caller;
mod error;
mod handle;
mod metrics;
mod pairing;
mod repositories;
mod status;

pub use artifacts::{Download, Entry, Expected, Folder, Found, Item, Upload};
pub use audit::Audit;
pub use caller::{Caller, Credential, RequestId};
pub use error::ServiceError;
pub use handle::{Health, Options, Service};
pub use metrics::Metrics;
pub use pairing::{CircleMember, CircleView, Issued, Joined, PairingWish, Revoked};
pub use repositories::{MemberView, RepositorySpec, RepositoryView};
