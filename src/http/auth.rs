//! Which credential a request shows, and whether a browser was made to send it by another site.

use std::borrow::Cow;

use data_encoding::BASE64;
use hyper::header::{AUTHORIZATION, HeaderName, ORIGIN};
use hyper::{HeaderMap, Method};

use super::error::HttpError;
use crate::service::Credential;

const X_JFROG_ART_API: HeaderName = HeaderName::from_static("x-jfrog-art-api");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The credential of a request: a bearer token, a Basic password (the user name doesn't matter), or an API-key header.
/// `Authorization` goes first. One that can't be read is a token that nobody has, so that it never counts as anonymous.
pub fn credential(headers: &HeaderMap) -> Credential<'_> {
    if let Some(value) = headers.get(AUTHORIZATION) {
        return Credential::Token(value.to_str().ok().and_then(token_of).unwrap_or_default());
    }
    match headers.get(X_JFROG_ART_API) {
        Some(value) => Credential::Token(value.to_str().unwrap_or_default().trim().into()),
        None => Credential::None,
    }
}

fn token_of(authorization: &str) -> Option<Cow<'_, str>> {
    let (scheme, rest) = authorization.trim().split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().into());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(BASE64.decode(rest.trim().as_bytes()).ok()?).ok()?;
    pair.split_once(':').map(|(_, password)| Cow::Owned(password.to_owned()))
}

/// Refuses what a browser sends because a page of another site told it to. Clients that aren't browsers send neither of
/// these headers.
pub fn check_same_site(method: &Method, headers: &HeaderMap, authority: &str) -> Result<(), HttpError> {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if text(SEC_FETCH_SITE).is_some_and(|site| site != "same-origin" && site != "none") {
        return Err(HttpError::CrossSite);
    }
    let is_ours = |origin: &str| origin.split_once("://").is_some_and(|(_, host)| host.eq_ignore_ascii_case(authority));
    match text(ORIGIN) {
        Some(origin) if !is_ours(origin) => Err(HttpError::CrossSite),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let value = |text: &str| HeaderValue::try_from(text).expect("a header value");
        lines.iter().map(|(name, text)| (HeaderName::from_static(name), value(text))).collect()
    }

    #[test]
    fn each_way_of_showing_a_token_is_understood() {
        let token = |text: &'static str| Credential::Token(text.into());
        let cases = [
            (headers(&[]), Credential::None),
            (headers(&[("authorization", "Bearer t1")]), token("t1")),
            (headers(&[("authorization", "bearer  t1 ")]), token("t1")),
            (headers(&[("authorization", "Basic dTpw")]), token("p")),
            (headers(&[("authorization", "Basic OnA6cQ==")]), token("p:q")),
            (headers(&[("x-jfrog-art-api", "k")]), token("k")),
            (headers(&[("authorization", "Bearer t1"), ("x-jfrog-art-api", "k")]), token("t1")),
            (headers(&[("authorization", "Basic !!!")]), token("")),
            (headers(&[("authorization", "Digest x")]), token("")),
            (headers(&[("authorization", "")]), token("")),
        ];
        for (headers, expected) in cases {
            assert_eq!(credential(&headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn another_sites_page_can_not_use_the_browsers_password() {
        let check =
            |method, lines: &[(&'static str, &str)]| check_same_site(&method, &headers(lines), "here:8082").is_ok();
        assert!(check(Method::POST, &[]));
        assert!(check(Method::POST, &[("origin", "http://here:8082"), ("sec-fetch-site", "same-origin")]));
        assert!(check(Method::GET, &[("sec-fetch-site", "cross-site")]));
        assert!(!check(Method::POST, &[("sec-fetch-site", "cross-site")]));
        assert!(!check(Method::PUT, &[("sec-fetch-site", "same-site")]));
        assert!(!check(Method::DELETE, &[("origin", "http://evil.example")]));
        assert!(!check(Method::POST, &[("origin", "null")]));
    }
}
