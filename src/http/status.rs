//! The one place where a reason becomes a status code.

use artimesh_core::access::Denied;
use hyper::StatusCode;

use crate::service::{CommandError, PairingReason};

use super::error::HttpError;
use crate::service::ServiceError;

/// The status code of the answer that tells `error`.
pub fn status_of(error: &HttpError) -> StatusCode {
    match error {
        HttpError::Service(error) => of_service(error),
        HttpError::NoRoute(_)
        | HttpError::ChecksumDeploy(_)
        | HttpError::NoProperties
        | HttpError::NotSummed { .. } => StatusCode::NOT_FOUND,
        HttpError::NotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
        HttpError::TargetTooLong(_) => StatusCode::URI_TOO_LONG,
        HttpError::CrossSite => StatusCode::FORBIDDEN,
        HttpError::BadHost
        | HttpError::Path(_)
        | HttpError::Key(_)
        | HttpError::Property(_)
        | HttpError::Header { .. }
        | HttpError::Query { .. }
        | HttpError::Json(_)
        | HttpError::Aql(_)
        | HttpError::Field { .. }
        | HttpError::BodyBroken(_)
        | HttpError::NotAFolder(_)
        | HttpError::UnknownRepository(_) => StatusCode::BAD_REQUEST,
        HttpError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        HttpError::BodyIdle { .. } => StatusCode::REQUEST_TIMEOUT,
        HttpError::SidecarMismatch { .. } => StatusCode::CONFLICT,
        HttpError::Precondition => StatusCode::PRECONDITION_FAILED,
        HttpError::Unsatisfiable { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
        HttpError::NotReady(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn of_service(error: &ServiceError) -> StatusCode {
    match error {
        ServiceError::Denied(Denied::Unauthenticated) | ServiceError::BadCredential => StatusCode::UNAUTHORIZED,
        ServiceError::Denied(Denied::Forbidden(_)) => StatusCode::FORBIDDEN,
        ServiceError::NotLoopback | ServiceError::Edge | ServiceError::PairingRefused(_) => StatusCode::FORBIDDEN,
        ServiceError::NoRepository(_)
        | ServiceError::NoArtifact { .. }
        | ServiceError::NoConflict { .. }
        | ServiceError::NoSuchNode(_)
        | ServiceError::Absent(_) => StatusCode::NOT_FOUND,
        ServiceError::ChecksumMismatch { .. } | ServiceError::FileInTheWay(_) | ServiceError::Busy(_) => {
            StatusCode::CONFLICT
        }
        ServiceError::NoSpace(_) => StatusCode::INSUFFICIENT_STORAGE,
        ServiceError::Lost { .. } => StatusCode::GONE,
        ServiceError::NotHere { .. } | ServiceError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        ServiceError::Command(error) => of_command(error),
        ServiceError::Token(_) | ServiceError::BadField { .. } => StatusCode::BAD_REQUEST,
        ServiceError::Pairing(_) => StatusCode::BAD_GATEWAY,
    }
}

fn of_command(error: &CommandError) -> StatusCode {
    match error {
        CommandError::NoCircle
        | CommandError::InCircle
        | CommandError::AlreadyMember(_)
        | CommandError::NeedsUpgrade { .. }
        | CommandError::SharedAlready(_)
        | CommandError::NotInvited(_)
        | CommandError::Replaced(_)
        | CommandError::NotAMember(_)
        | CommandError::Oneself => StatusCode::CONFLICT,
        CommandError::NotGranted
        | CommandError::Reconciling
        | CommandError::ClockAhead { .. }
        | CommandError::Merging(_)
        | CommandError::Adopting(_)
        | CommandError::NoSource(_)
        | CommandError::AsksFirst(_) => StatusCode::SERVICE_UNAVAILABLE,
        CommandError::SelfRevoked | CommandError::Follower | CommandError::Trust(_) => StatusCode::FORBIDDEN,
        CommandError::NoRepository(_)
        | CommandError::NoArtifact(_)
        | CommandError::NothingUnder(_)
        | CommandError::NoVersion(..)
        | CommandError::NoConflict(_)
        | CommandError::NothingHeld(_)
        | CommandError::NoSuchNode(_) => StatusCode::NOT_FOUND,
        // 400, not 409, is what clients of Artifactory's repository API expect of an existing key.
        CommandError::RepositoryExists(_) | CommandError::IsEdge(_) => StatusCode::BAD_REQUEST,
        CommandError::Pairing(PairingReason::RateLimited) => StatusCode::TOO_MANY_REQUESTS,
        CommandError::Pairing(_) => StatusCode::FORBIDDEN,
        CommandError::Entry(_) | CommandError::OneMustStay(_) | CommandError::OntoItself(_) => StatusCode::BAD_REQUEST,
    }
}

#[cfg(test)]
mod tests {
    use crate::service::Timestamp;
    use artimesh_core::access::Denied;

    use super::*;

    #[test]
    fn each_refusal_of_the_service_has_the_code_that_clients_expect() {
        let key = || "libs".parse().expect("a key");
        let lost = || ("a/b".parse().expect("a path"), Timestamp(0), String::new());
        let lost = || {
            let (path, since, reason) = lost();
            ServiceError::Lost { path, since, reason }
        };
        let cases: [(ServiceError, u16); 12] = [
            (lost(), 410),
            (Denied::Unauthenticated.into(), 401),
            (ServiceError::Edge, 403),
            (ServiceError::NoRepository(key()), 404),
            (ServiceError::NoSpace(String::new()), 507),
            (ServiceError::Absent(String::new()), 404),
            (ServiceError::Busy(String::new()), 409),
            (ServiceError::Unavailable(String::new()), 503),
            (CommandError::RepositoryExists(key()).into(), 400),
            (CommandError::Pairing(PairingReason::RateLimited).into(), 429),
            (CommandError::Follower.into(), 403),
            (CommandError::Oneself.into(), 409),
        ];
        for (error, expected) in cases {
            let shown = error.to_string();
            assert_eq!(status_of(&error.into()).as_u16(), expected, "{shown}");
        }
    }
}
