//! Answers: JSON, text, pages, and errors in the shape that clients read.

use hyper::StatusCode;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use serde::Serialize;
use serde_json::json;

use super::body::Body;
use super::caching::NOT_AT_ALL;
use super::dates::iso8601;
use super::error::HttpError;
use super::status::status_of;
use crate::service::ServiceError;

/// What goes back to the client.
pub type Answer = hyper::Response<Body>;

/// A JSON document.
pub fn json(status: StatusCode, value: &impl Serialize) -> Result<Answer, HttpError> {
    Ok(with_type(status, "application/json", serde_json::to_vec(value)?))
}

/// Plain text.
pub fn text(status: StatusCode, text: impl Into<String>) -> Answer {
    with_type(status, "text/plain; charset=utf-8", text.into())
}

/// A page whose values are escaped already, under a policy that allows it nothing but what the policy says.
pub fn html(page: String, policy: &'static str) -> Answer {
    let mut answer = with_type(StatusCode::OK, "text/html; charset=utf-8", page);
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    answer
}

/// No body.
pub fn empty(status: StatusCode) -> Answer {
    let mut answer = Answer::new(Body::empty());
    *answer.status_mut() = status;
    answer
}

/// Some bytes of a media type.
pub fn with_type(status: StatusCode, media_type: &'static str, bytes: impl Into<bytes::Bytes>) -> Answer {
    let mut answer = Answer::new(Body::full(bytes));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    answer
}

/// `{"errors":[{"status":404,"message":"…"}]}`, with the headers that belong to the status.
pub fn problem(error: &HttpError) -> Answer {
    let status = status_of(error);
    let document = json!({"errors": [{"status": status.as_u16(), "message": message(error)}]});
    let mut answer = with_type(status, "application/json", document.to_string());
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, NOT_AT_ALL);
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"Artimesh\""));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
    }
    match error {
        HttpError::NotAllowed { allow, .. } => {
            headers.insert(ALLOW, HeaderValue::try_from(allow).expect("method names are ASCII"));
        }
        HttpError::Unsatisfiable { size } => {
            let range = HeaderValue::try_from(format!("bytes */{size}")).expect("digits are ASCII");
            headers.insert(CONTENT_RANGE, range);
        }
        _ => {}
    }
    answer
}

/// Clients of Artifactory tell a missing thing from a missing page by these words of the message.
fn message(error: &HttpError) -> String {
    match error {
        HttpError::Service(ServiceError::NoArtifact { .. } | ServiceError::NoRepository(_)) => {
            format!("Unable to find item: {error}")
        }
        HttpError::Service(ServiceError::Lost { since, .. }) => format!("{error} (since {})", iso8601(*since)),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use artimesh_core::access::Denied;
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn errors_read_as_clients_expect() {
        let answer = problem(&ServiceError::NoRepository("libs".parse().expect("a key")).into());
        assert_eq!(answer.status(), 404);
        let body = answer.into_body().collect().await.expect("whole").to_bytes();
        let expected =
            "{\"errors\":[{\"message\":\"Unable to find item: repository 'libs' does not exist\",\"status\":404}]}";
        assert_eq!(body, expected);
    }

    #[test]
    fn errors_carry_the_headers_of_their_status() {
        let unauthenticated = problem(&ServiceError::from(Denied::Unauthenticated).into());
        assert_eq!(unauthenticated.headers()[WWW_AUTHENTICATE], "Basic realm=\"Artimesh\"");
        let allow = "GET, HEAD".to_owned();
        assert_eq!(problem(&HttpError::NotAllowed { method: "PUT".into(), allow }).headers()[ALLOW], "GET, HEAD");
        assert_eq!(problem(&HttpError::Unsatisfiable { size: 7 }).headers()[CONTENT_RANGE], "bytes */7");
    }
}
