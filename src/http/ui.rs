//! The console over HTTP. A browser asks for the password: the administrator's token.

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HeaderValue, LOCATION};

use super::answer::{Answer, empty, html};
use super::ask::Ask;
use super::error::HttpError;
use crate::console;

/// `GET /` and `GET /ui`
pub fn to_console() -> Answer {
    let mut answer = empty(StatusCode::FOUND);
    answer.headers_mut().insert(LOCATION, HeaderValue::from_static("/ui/"));
    answer
}

/// `GET /ui/`
pub async fn console(ask: Ask) -> Result<Answer, HttpError> {
    let status = ask.service().status(&ask.caller).await?;
    let mut answer = html(console::status_page(&status), console::CONTENT_SECURITY_POLICY);
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}
