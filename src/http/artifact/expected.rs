//! The checksums that a client's headers promise of a body.

use artimesh_core::model::parse_hex;
use hyper::HeaderMap;
use hyper::header::HeaderName;

use crate::http::error::HttpError;
use crate::service::Expected;

const SHA256: HeaderName = HeaderName::from_static("x-checksum-sha256");
const SHA1: HeaderName = HeaderName::from_static("x-checksum-sha1");
const MD5: HeaderName = HeaderName::from_static("x-checksum-md5");
const ANY: HeaderName = HeaderName::from_static("x-checksum");
const DEPLOY: HeaderName = HeaderName::from_static("x-checksum-deploy");

/// Reads `X-Checksum-Sha256`, `-Sha1`, `-Md5`, and `X-Checksum`, whose length names its algorithm. A value that isn't a
/// checksum, or two that contradict each other, are refused: the client wanted a guarantee that it wouldn't get.
pub fn expected(headers: &HeaderMap) -> Result<Expected, HttpError> {
    let mut expected = Expected {
        sha256: named(headers, SHA256, "X-Checksum-Sha256")?,
        sha1: named(headers, SHA1, "X-Checksum-Sha1")?,
        md5: named(headers, MD5, "X-Checksum-Md5")?,
    };
    let Some(value) = headers.get(ANY) else { return Ok(expected) };
    match value.len() {
        64 => agree(&mut expected.sha256, named(headers, ANY, "X-Checksum")?)?,
        40 => agree(&mut expected.sha1, named(headers, ANY, "X-Checksum")?)?,
        32 => agree(&mut expected.md5, named(headers, ANY, "X-Checksum")?)?,
        _ => return Err(HttpError::Header { name: "X-Checksum", reason: "it is not 32, 40 or 64 hexadecimal digits" }),
    }
    Ok(expected)
}

fn named<const N: usize>(
    headers: &HeaderMap,
    header: HeaderName,
    name: &'static str,
) -> Result<Option<[u8; N]>, HttpError> {
    let mut values = headers.get_all(header).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err(HttpError::Header { name, reason: "it is there more than once" }),
        (Some(value), None) => {
            let digits = value.to_str().ok().and_then(|text| parse_hex(text.trim()).ok());
            let malformed = HttpError::Header { name, reason: "it is not the hexadecimal digits of such a checksum" };
            digits.map(Some).ok_or(malformed)
        }
    }
}

fn agree<const N: usize>(known: &mut Option<[u8; N]>, other: Option<[u8; N]>) -> Result<(), HttpError> {
    if known.is_some() && *known != other {
        return Err(HttpError::Header { name: "X-Checksum", reason: "it contradicts the other checksum header" });
    }
    *known = other;
    Ok(())
}

/// Whether bytes are to be taken from the store by their checksum. The value decides: clients send `false` on ordinary
/// uploads.
pub fn is_checksum_deploy(headers: &HeaderMap) -> bool {
    is_on(headers, DEPLOY.as_str())
}

/// Whether a header says `true`.
pub fn is_on(headers: &HeaderMap, name: &str) -> bool {
    headers.get(name).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
}

/// The checksums for a message: `SHA-1: 12ab…`.
pub fn described(expected: &Expected) -> String {
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    let sums = [
        expected.sha1.map(|sum| format!("SHA-1: {}", hex(&sum))),
        expected.sha256.map(|sum| format!("SHA-256: {}", hex(&sum))),
        expected.md5.map(|sum| format!("MD5: {}", hex(&sum))),
    ];
    let sums: Vec<_> = sums.into_iter().flatten().collect();
    if sums.is_empty() { "any checksum (none was sent)".to_owned() } else { sums.join(", ") }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn headers(lines: &[(HeaderName, String)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(name, HeaderValue::try_from(value).expect("a header value"));
        }
        map
    }

    #[test]
    fn each_header_promises_its_sum_and_the_short_one_by_its_length() {
        let sums = expected(&headers(&[(SHA1, "0A".repeat(20)), (ANY, "05".repeat(16))])).expect("well formed");
        assert_eq!((sums.sha1, sums.md5, sums.sha256), (Some([10; 20]), Some([5; 16]), None));
        assert_eq!(expected(&headers(&[(ANY, "25".repeat(32))])).expect("well formed").sha256, Some([0x25; 32]));
        let twice = headers(&[(SHA1, "0a".repeat(20)), (ANY, "0a".repeat(20))]);
        assert_eq!(expected(&twice).expect("they agree").sha1, Some([10; 20]));
        assert_eq!(described(&sums), format!("SHA-1: {}, MD5: {}", "0a".repeat(20), "05".repeat(16)));
    }

    #[test]
    fn a_promise_that_can_not_be_kept_is_refused() {
        let bad = [
            headers(&[(SHA1, "xyz".into())]),
            headers(&[(SHA256, "0a".repeat(20))]),
            headers(&[(MD5, String::new())]),
            headers(&[(ANY, "0a".repeat(21))]),
            headers(&[(ANY, "zz".repeat(20))]),
            headers(&[(SHA1, "0a".repeat(20)), (SHA1, "0a".repeat(20))]),
            headers(&[(SHA1, "0a".repeat(20)), (ANY, "0b".repeat(20))]),
        ];
        for headers in bad {
            assert!(matches!(expected(&headers), Err(HttpError::Header { .. })), "{headers:?}");
        }
    }

    #[test]
    fn the_value_of_the_deploy_header_decides() {
        let says = |value: &str| is_checksum_deploy(&headers(&[(DEPLOY, value.into())]));
        assert!(says("true") && says("True"));
        assert!(!says("false") && !says("") && !is_checksum_deploy(&HeaderMap::new()));
    }
}
