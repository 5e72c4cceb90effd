//! Who asks, and may they?
//!
//! Every service call names a [`Principal`]. [`may`] says whether somebody may do a thing at all, in a repository or to the
//! node; [`may_at`] whether to one path, and [`reach`] to how much of a folder. What somebody may not read isn't there for
//! them. Accounts, groups, permission targets and token claims will make principals; they are asked here and nowhere else.

use std::sync::Arc;

use crate::model::{ArtifactPath, RepoKey};

/// Who asks, once authenticated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Principal {
    /// Holder of the node's own administrator token.
    Administrator,
    /// Nobody in particular; `reads` says whether this site lets such readers in.
    Anonymous {
        /// The site's setting.
        reads: bool,
    },
    /// Somebody with rights of their own.
    User(Arc<User>),
}

/// Somebody who may do what their grants say, and nothing else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// Under which changes are recorded.
    pub name: String,
    /// Any of them suffices.
    pub grants: Vec<Grant>,
}

/// Rights to a part of a repository.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// The repository.
    pub repository: RepoKey,
    /// Where.
    pub prefix: Prefix,
    /// What may be done there.
    pub rights: Vec<Right>,
}

/// What the paths of a folder begin with, the folder's own among them; or nothing, for all of a repository.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Prefix(String);

impl Prefix {
    /// Of a folder, or of all.
    pub fn of(folder: Option<&ArtifactPath>) -> Prefix {
        Prefix(folder.map(|folder| folder.as_folder().as_str().to_owned()).unwrap_or_default())
    }

    /// `a/b/`, or nothing.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What can be done to an artifact.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Right {
    /// To read it, and to know that it is there.
    Read,
    /// To put it where nothing is, and to set its properties.
    Write,
    /// To delete it, or to put something else in its place.
    Delete,
}

impl Right {
    /// What it is called in messages.
    pub fn name(self) -> &'static str {
        match self {
            Right::Read => "read",
            Right::Write => "deploy",
            Right::Delete => "delete",
        }
    }
}

/// To how much of a folder somebody has a right.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reach {
    /// Nothing.
    Nothing,
    /// Some of what may be in it.
    Part,
    /// Everything.
    All,
}

impl Principal {
    /// The name under which changes are recorded.
    pub fn name(&self) -> &str {
        match self {
            Principal::Administrator => "admin",
            Principal::Anonymous { .. } => "anonymous",
            Principal::User(user) => &user.name,
        }
    }
}

/// What somebody wants to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action<'a> {
    /// Read something in this repository.
    Read(&'a RepoKey),
    /// Put something.
    Write(&'a RepoKey),
    /// Delete something.
    Delete(&'a RepoKey),
    /// Anything that concerns the node itself: repositories, trust, status.
    Administer,
}

/// Why not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Denied {
    /// Say who you are, and the answer may change.
    #[error("authentication is required")]
    Unauthenticated,
    /// Who asks is known, and hasn't the right.
    #[error("you have no right to {0} here")]
    Forbidden(&'static str),
}

/// Whether `principal` may do `action`, at least to some path.
pub fn may(principal: &Principal, action: Action<'_>) -> Result<(), Denied> {
    let (right, repository) = match action {
        Action::Read(key) => (Right::Read, key),
        Action::Write(key) => (Right::Write, key),
        Action::Delete(key) => (Right::Delete, key),
        Action::Administer => {
            return match principal {
                Principal::Administrator => Ok(()),
                Principal::Anonymous { .. } => Err(Denied::Unauthenticated),
                Principal::User(_) => Err(Denied::Forbidden("administer this node")),
            };
        }
    };
    match (reach(principal, right, repository, ""), principal) {
        (Reach::Part | Reach::All, _) => Ok(()),
        (Reach::Nothing, Principal::User(_)) => Err(Denied::Forbidden(right.name())),
        (Reach::Nothing, _) => Err(Denied::Unauthenticated),
    }
}

/// Whether `principal` has a right to what is at a path.
pub fn may_at(principal: &Principal, right: Right, repository: &RepoKey, path: &str) -> bool {
    match principal {
        Principal::Administrator => true,
        Principal::Anonymous { reads } => *reads && right == Right::Read,
        Principal::User(user) => grants(user, right, repository).any(|grant| path.starts_with(grant.prefix.as_str())),
    }
}

/// To how much of what begins with `prefix`, a folder with its slash or nothing, `principal` has a right.
pub fn reach(principal: &Principal, right: Right, repository: &RepoKey, prefix: &str) -> Reach {
    match principal {
        Principal::User(user) => {
            let each = grants(user, right, repository).map(|grant| {
                if prefix.starts_with(grant.prefix.as_str()) {
                    Reach::All
                } else if grant.prefix.as_str().starts_with(prefix) {
                    Reach::Part
                } else {
                    Reach::Nothing
                }
            });
            each.max().unwrap_or(Reach::Nothing)
        }
        other if may_at(other, right, repository, prefix) => Reach::All,
        _ => Reach::Nothing,
    }
}

/// The prefixes within a folder to which `principal` has a right, where it reaches a part of it.
pub fn parts<'a>(
    principal: &'a Principal,
    right: Right,
    repository: &'a RepoKey,
    prefix: &'a str,
) -> impl Iterator<Item = &'a str> {
    let user = match principal {
        Principal::User(user) => Some(user),
        Principal::Administrator | Principal::Anonymous { .. } => None,
    };
    let granted = user.into_iter().flat_map(move |user| grants(user, right, repository));
    granted.map(|grant| grant.prefix.as_str()).filter(move |granted| granted.starts_with(prefix))
}

fn grants<'a>(user: &'a User, right: Right, repository: &'a RepoKey) -> impl Iterator<Item = &'a Grant> {
    user.grants.iter().filter(move |grant| {
        grant.repository.as_str().eq_ignore_ascii_case(repository.as_str()) && grant.rights.contains(&right)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_read_where_the_site_says_so_and_never_write() {
        let key: RepoKey = "libs".parse().expect("a key");
        let (open, closed) = (Principal::Anonymous { reads: true }, Principal::Anonymous { reads: false });
        assert_eq!(may(&open, Action::Read(&key)), Ok(()));
        assert_eq!(may(&closed, Action::Read(&key)), Err(Denied::Unauthenticated));
        for action in [Action::Write(&key), Action::Delete(&key), Action::Administer] {
            assert_eq!(may(&open, action), Err(Denied::Unauthenticated));
        }
    }

    #[test]
    fn a_user_has_the_rights_of_their_grants() {
        let (libs, other): (RepoKey, RepoKey) = ("libs".parse().expect("a key"), "other".parse().expect("a key"));
        let grant = |prefix: &str, rights: &[Right]| Grant {
            repository: "LIBS".parse().expect("a key"),
            prefix: Prefix::of(Some(&prefix.parse().expect("a path"))),
            rights: rights.to_vec(),
        };
        let grants = vec![grant("org/acme", &[Right::Read, Right::Write]), grant("org/acme/old", &[Right::Delete])];
        let user = Principal::User(Arc::new(User { name: "eve".into(), grants }));
        assert_eq!(may(&user, Action::Read(&libs)), Ok(()));
        assert_eq!(may(&user, Action::Read(&other)), Err(Denied::Forbidden("read")));
        assert!(matches!(may(&user, Action::Administer), Err(Denied::Forbidden(_))));
        let reads = |path| may_at(&user, Right::Read, &libs, path);
        assert!(reads("org/acme/x") && reads("org/acme/") && !reads("org/acme") && !reads("org/acmex/y"));
        assert!(!may_at(&user, Right::Delete, &libs, "org/acme/x"));
        assert!(may_at(&user, Right::Delete, &libs, "org/acme/old/x"));
        let reach = |right, prefix| reach(&user, right, &libs, prefix);
        assert_eq!(reach(Right::Read, "org/acme/new/"), Reach::All);
        assert_eq!(reach(Right::Read, "org/"), Reach::Part);
        assert_eq!(reach(Right::Read, ""), Reach::Part);
        assert_eq!(reach(Right::Read, "net/"), Reach::Nothing);
        assert_eq!(reach(Right::Delete, "org/acme/"), Reach::Part);
        let within: Vec<&str> = parts(&user, Right::Read, &libs, "org/").collect();
        assert_eq!(within, ["org/acme/"]);
    }
}
