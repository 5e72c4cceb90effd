//! The kinds of entries: the one list of numbers, and what each body is.

use serde::{Deserialize, Serialize};

use crate::catalog::{Configure, Delete, DeletePrefix, EditProperties, Founding, Invitation, Put, Removal};
use crate::model::codec::{self, DecodeError};
use crate::model::{Envelope, Incarnation, RepoKey};
use crate::trust::{Grant, Revocation, Root};

/// The numbers of the kinds on the wire; a number is never reused. 6–15 are kept for artifacts, 21–63 for federations.
pub mod kind {
    /// [`super::Put`].
    pub const PUT: u16 = 1;
    /// [`super::Delete`].
    pub const DELETE: u16 = 2;
    /// [`super::EditProperties`].
    pub const PROPERTIES: u16 = 3;
    /// [`super::DeletePrefix`].
    pub const DELETE_PREFIX: u16 = 4;
    /// [`super::Put`] of a folder. A kind of its own: earlier versions can't read such a path.
    pub const FOLDER: u16 = 5;
    /// [`super::Founding`].
    pub const FOUND: u16 = 16;
    /// [`super::Invitation`].
    pub const INVITE: u16 = 17;
    /// The key chosen by the author.
    pub const ACCEPT: u16 = 18;
    /// The author leaves.
    pub const LEAVE: u16 = 19;
    /// [`super::Configure`].
    pub const CONFIGURE: u16 = 20;
    /// The author ended an earlier life of its own.
    pub const REBORN: u16 = 21;
    /// [`super::Removal`].
    pub const REMOVE: u16 = 22;
    /// [`super::Root`].
    pub const ROOT: u16 = 64;
    /// [`super::Grant`].
    pub const GRANT: u16 = 65;
    /// [`super::Revocation`].
    pub const REVOKE: u16 = 66;
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// A new version of a path, or of a folder ([`kind::FOLDER`]).
    Put(Put),
    /// The end of versions of a path.
    Delete(Delete),
    /// Other properties of a version.
    EditProperties(EditProperties),
    /// The end of all versions under a prefix.
    DeletePrefix(DeletePrefix),
    /// The beginning of a federation.
    Found(Founding),
    /// A node may become a member.
    Invite(Invitation),
    /// The author becomes a member under this key.
    Accept(Accept),
    /// The author is no member any more.
    Leave,
    /// The author ended this earlier life of its own: it was lived twice, or forgotten.
    Reborn(Incarnation),
    /// Other settings of the repository.
    Configure(Configure),
    /// Another is no member any more.
    Remove(Removal),
    /// The circle's root.
    Root(Root),
    /// A node is admitted.
    Grant(Grant),
    /// A node's grants end.
    Revoke(Revocation),
}

/// The key under which the author takes part.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Accept {
    /// Unique at the author's node.
    pub repo_key: RepoKey,
}

/// The entry can't be understood here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// A kind of a later version: the author is parked until this node is upgraded.
    #[error("entry kind {0} is unknown to this version")]
    UnknownKind(u16),
    /// A folder's put as a file's, or the other way round: the author is at fault.
    #[error("entry kind {0} does not fit its path")]
    OtherKind(u16),
    /// A known kind with a broken body: the author is at fault.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl Change {
    /// The envelope that goes into a segment.
    pub fn to_envelope(&self) -> Envelope {
        let (kind, body) = match self {
            Change::Put(put) if put.path.is_folder() => (kind::FOLDER, codec::encode(put)),
            Change::Put(put) => (kind::PUT, codec::encode(put)),
            Change::Delete(delete) => (kind::DELETE, codec::encode(delete)),
            Change::EditProperties(edit) => (kind::PROPERTIES, codec::encode(edit)),
            Change::DeletePrefix(delete) => (kind::DELETE_PREFIX, codec::encode(delete)),
            Change::Found(founding) => (kind::FOUND, codec::encode(founding)),
            Change::Invite(invitation) => (kind::INVITE, codec::encode(invitation)),
            Change::Accept(accept) => (kind::ACCEPT, codec::encode(accept)),
            Change::Leave => (kind::LEAVE, Vec::new()),
            Change::Reborn(old) => (kind::REBORN, codec::encode(old)),
            Change::Configure(configure) => (kind::CONFIGURE, codec::encode(configure)),
            Change::Remove(removal) => (kind::REMOVE, codec::encode(removal)),
            Change::Root(root) => (kind::ROOT, codec::encode(root)),
            Change::Grant(grant) => (kind::GRANT, codec::encode(grant)),
            Change::Revoke(revocation) => (kind::REVOKE, codec::encode(revocation)),
        };
        Envelope { kind, body }
    }

    /// Reads an entry.
    pub fn read(entry: &Envelope) -> Result<Change, ChangeError> {
        let body = &entry.body;
        Ok(match entry.kind {
            kind::PUT | kind::FOLDER => {
                let put: Put = codec::decode(body)?;
                if put.path.is_folder() != (entry.kind == kind::FOLDER) {
                    return Err(ChangeError::OtherKind(entry.kind));
                }
                Change::Put(put)
            }
            kind::DELETE => Change::Delete(codec::decode(body)?),
            kind::PROPERTIES => Change::EditProperties(codec::decode(body)?),
            kind::DELETE_PREFIX => Change::DeletePrefix(codec::decode(body)?),
            kind::FOUND => Change::Found(codec::decode(body)?),
            kind::INVITE => Change::Invite(codec::decode(body)?),
            kind::ACCEPT => Change::Accept(codec::decode(body)?),
            kind::LEAVE if body.is_empty() => Change::Leave,
            kind::LEAVE => {
                return Err(DecodeError::Trailing { what: "leave", count: body.len() }.into());
            }
            kind::REBORN => Change::Reborn(codec::decode(body)?),
            kind::CONFIGURE => Change::Configure(codec::decode(body)?),
            kind::REMOVE => Change::Remove(codec::decode(body)?),
            kind::ROOT => Change::Root(codec::decode(body)?),
            kind::GRANT => Change::Grant(codec::decode(body)?),
            kind::REVOKE => Change::Revoke(codec::decode(body)?),
            unknown => return Err(ChangeError::UnknownKind(unknown)),
        })
    }
}
