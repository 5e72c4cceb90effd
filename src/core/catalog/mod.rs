//! The state of a federation: path → live versions, and who its members are; the merge.
//!
//! An optimised add-wins map: observed-remove, without tombstones (Bieniusa et al. 2012, "An optimized conflict-free
//! replicated set"). A put or delete names the dots it kills; what nobody killed is live; the greatest
//! (timestamp, dot) is shown, the rest are its siblings.
//!
//! # Why
//! A delete here leaves nothing behind that would have to be kept for ever or collected at the right moment: that the
//! deleted version was known is remembered by the heads, and everybody has those anyway.

mod configuration;
mod edits;
mod entry;
mod federation;
mod history;
mod versions;

pub use configuration::{ConfigChange, Configuration, Configure, Register, RepositoryConfig};
pub use edits::{EDITED_NAMES_MAX, Edit, EditProperties, Edits};
pub use entry::{
    Content, Delete, DeletePrefix, EntryFault, KILLS_MAX, MEDIA_TYPE_BYTES_MAX, PREFIX_PATHS_MAX, Put, USER_BYTES_MAX,
    check_user,
};
pub use federation::{Federation, FederationV1, Founding, Invitation, Membership, Removal, Uninvited};
pub use history::{Conflict, Dispute, End, Ended, Historic};
pub use versions::{PATH_BYTES_MAX, Version, Versions, VersionsV1};
