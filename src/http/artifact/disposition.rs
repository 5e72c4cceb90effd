//! How a downloaded artifact's file name travels in headers.

use artimesh_core::model::ArtifactPath;
use hyper::header::HeaderValue;
use percent_encoding::utf8_percent_encode;

use crate::http::links::UNRESERVED;

/// `Content-Disposition` (RFC 6266): an attachment, with the name in ASCII for old clients and in UTF-8 (RFC 8187).
pub fn content_disposition(path: &ArtifactPath) -> HeaderValue {
    attachment(path.name())
}

/// The same for a name.
pub fn attachment(name: &str) -> HeaderValue {
    let plain = |c: char| if (c.is_ascii_graphic() || c == ' ') && !"\"\\%".contains(c) { c } else { '_' };
    let ascii: String = name.chars().map(plain).collect();
    let exact = utf8_percent_encode(name, UNRESERVED);
    let text = format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{exact}");
    HeaderValue::try_from(text).expect("printable ASCII only")
}

/// `X-Artifactory-Filename`: the name, percent-encoded where it isn't plain.
pub fn file_name(path: &ArtifactPath) -> HeaderValue {
    let text = utf8_percent_encode(path.name(), UNRESERVED).to_string();
    HeaderValue::try_from(text).expect("printable ASCII only")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_not_end_its_header() {
        let cases = [
            ("a/lib-1.0.jar", "attachment; filename=\"lib-1.0.jar\"; filename*=UTF-8''lib-1.0.jar"),
            ("q\"; x=\"y", "attachment; filename=\"q_; x=_y\"; filename*=UTF-8''q%22%3B%20x%3D%22y"),
            ("grün %41.zip", "attachment; filename=\"gr_n _41.zip\"; filename*=UTF-8''gr%C3%BCn%20%2541.zip"),
        ];
        for (path, expected) in cases {
            assert_eq!(content_disposition(&path.parse().expect("a path")), expected);
        }
        assert_eq!(file_name(&"x/grün.zip".parse().expect("a path")), "gr%C3%BCn.zip");
    }
}
