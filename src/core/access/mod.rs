//! Who asks, and may they?
//!
//! Every service call names a [`Principal`]; [`may`] is the one place that answers. It is thin so far: an
//! administrator, or anybody. Accounts, groups, permission targets and token claims will widen it here and nowhere else.

use crate::model::RepoKey;

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
}

impl Principal {
    /// The name under which changes are recorded.
    pub fn name(&self) -> &str {
        match self {
            Principal::Administrator => "admin",
            Principal::Anonymous { .. } => "anonymous",
        }
    }
}

/// What somebody wants to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action<'a> {
    /// Read artifacts or their metadata.
    Read(&'a RepoKey),
    /// Put artifacts.
    Write(&'a RepoKey),
    /// Delete artifacts.
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
}

/// Whether `principal` may do `action`.
pub fn may(principal: &Principal, action: Action<'_>) -> Result<(), Denied> {
    match (principal, action) {
        (Principal::Administrator, _) => Ok(()),
        (Principal::Anonymous { reads: true }, Action::Read(_)) => Ok(()),
        (Principal::Anonymous { .. }, _) => Err(Denied::Unauthenticated),
    }
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
}
