//! What authors write about artifacts.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::model::{ArtifactPath, BadProperty, Checksums, Digest, Dot, Properties};

/// The longest user name in an entry, in bytes.
pub const USER_BYTES_MAX: usize = 255;

/// The longest media type in an entry, in bytes.
pub const MEDIA_TYPE_BYTES_MAX: usize = 255;

/// The most versions one entry may kill; a path with more siblings is replaced in steps.
pub const KILLS_MAX: usize = 256;

/// The most paths whose versions one prefix delete ends; more are deleted in steps.
pub const PREFIX_PATHS_MAX: usize = 5_000;

/// What a version is made of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Content {
    /// The blob's address.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Confirmed at the author's node; a claim everywhere else.
    pub checksums: Checksums,
    /// As the author's node derived or was told it.
    pub media_type: String,
    /// Set with the put itself.
    pub properties: Properties,
}

/// A new version of a path.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Put {
    /// Where.
    pub path: ArtifactPath,
    /// What.
    pub content: Content,
    /// [`Timestamp::of_write`] over what it kills.
    pub timestamp: Timestamp,
    /// Every version its author's node had at the path, siblings included.
    pub kills: Vec<Dot>,
    /// When the path was first put, as far as the author's node knew.
    pub created: Timestamp,
    /// By whom then.
    pub created_by: String,
    /// Who put this version.
    pub modified_by: String,
    /// The path it was moved from, when it is half of a move.
    pub moved_from: Option<ArtifactPath>,
}

/// The end of the versions of a path that its author's node had.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Delete {
    /// Where.
    pub path: ArtifactPath,
    /// Every version its author's node had at the path; at least one.
    pub kills: Vec<Dot>,
    /// When, by the author's clock, and after what it kills.
    pub timestamp: Timestamp,
    /// Who deleted.
    pub by: String,
}

/// The end of every version under a prefix that its author's node had applied.
///
/// It names none of them: that its author had them is what its segment's context says. So it is the first of its segment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DeletePrefix {
    /// How the paths begin, byte by byte; empty stands for all.
    pub prefix: String,
    /// When, by the author's clock.
    pub timestamp: Timestamp,
    /// Who deleted.
    pub by: String,
}

/// The entry can't be one that a well-behaved node writes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryFault {
    /// A text or list is over its bound.
    #[error("{0} is out of bounds")]
    Bounds(&'static str),
    /// It kills a version that its author had not applied.
    #[error("it kills {0:?}, which its author had not applied")]
    KillsUnseen(Dot),
    /// It edits a version that its author had not applied.
    #[error("it edits {0:?}, which its author had not applied")]
    EditsUnseen(Dot),
    /// A property's name or values are out of bounds.
    #[error(transparent)]
    Property(#[from] BadProperty),
}

fn check_kills(kills: &[Dot], seen: &impl Fn(&Dot) -> bool) -> Result<(), EntryFault> {
    if kills.len() > KILLS_MAX {
        return Err(EntryFault::Bounds("the list of kills"));
    }
    kills.iter().find(|dot| !seen(dot)).map_or(Ok(()), |dot| Err(EntryFault::KillsUnseen(*dot)))
}

/// Checks the bound of a user's name.
pub fn check_user(name: &str) -> Result<(), EntryFault> {
    if name.len() > USER_BYTES_MAX { Err(EntryFault::Bounds("the user name")) } else { Ok(()) }
}

impl Content {
    /// What a folder is made of: no bytes.
    pub fn folder(properties: Properties) -> Content {
        let checksums = Checksums { sha256: [0; 32], sha1: [0; 20], md5: [0; 16] };
        Content { digest: Digest::ZERO, size: 0, checksums, media_type: String::new(), properties }
    }

    /// Checks the bounds.
    pub fn check(&self) -> Result<(), EntryFault> {
        if self.media_type.len() > MEDIA_TYPE_BYTES_MAX { Err(EntryFault::Bounds("the media type")) } else { Ok(()) }
    }
}

impl Put {
    /// Checks the bounds, and that every kill is `seen` by the author.
    pub fn check(&self, seen: impl Fn(&Dot) -> bool) -> Result<(), EntryFault> {
        check_user(&self.created_by)?;
        check_user(&self.modified_by)?;
        self.content.check()?;
        let is_folder = self.path.is_folder();
        if is_folder && self.content != Content::folder(self.content.properties.clone()) {
            return Err(EntryFault::Bounds("the content of a folder"));
        }
        if self.moved_from.as_ref().is_some_and(|from| from.is_folder() != is_folder) {
            return Err(EntryFault::Bounds("the path that it was moved from"));
        }
        check_kills(&self.kills, &seen)
    }
}

impl Delete {
    /// Checks the bounds, and that every kill is `seen` by the author.
    pub fn check(&self, seen: impl Fn(&Dot) -> bool) -> Result<(), EntryFault> {
        check_user(&self.by)?;
        check_kills(&self.kills, &seen)
    }
}

impl DeletePrefix {
    /// Checks the bounds.
    pub fn check(&self) -> Result<(), EntryFault> {
        check_user(&self.by)?;
        let fits = self.prefix.len() <= 1024 && !self.prefix.contains(char::is_control);
        if fits { Ok(()) } else { Err(EntryFault::Bounds("the prefix")) }
    }
}
