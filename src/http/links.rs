//! Addresses of this node's own resources, as clients should use them.

use artimesh_core::model::{ArtifactPath, RepoKey};
use hyper::header::HOST;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::error::HttpError;

/// Everything but the unreserved characters of RFC 3986 is encoded: right in paths, headers and HTML alike.
pub const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const SEGMENTS: &AsciiSet = &UNRESERVED.remove(b'/');

/// Builds absolute links below one base.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Links {
    base: String,
}

impl Links {
    /// Below the configured public URL, else below the authority that the client used.
    pub fn of(parts: &Parts, scheme: &str, public_url: Option<&str>) -> Result<Links, HttpError> {
        let authority = authority(&parts.uri, &parts.headers, parts.version)?;
        let base =
            public_url.map_or_else(|| format!("{scheme}://{authority}"), |url| url.trim_end_matches('/').to_owned());
        Ok(Links { base: base.strip_suffix("/artifactory").map(str::to_owned).unwrap_or(base) })
    }

    /// Where a repository, or an artifact or folder in it, is read.
    pub fn content(&self, repo: &RepoKey, path: Option<&ArtifactPath>) -> String {
        format!("{}/artifactory/{}", self.base, tail(repo, path))
    }

    /// Where the list of builds is read.
    pub fn builds(&self) -> String {
        format!("{}/artifactory/api/build", self.base)
    }

    /// Where its metadata is read.
    pub fn storage(&self, repo: &RepoKey, path: Option<&ArtifactPath>) -> String {
        format!("{}/artifactory/api/storage/{}", self.base, tail(repo, path))
    }
}

fn tail(repo: &RepoKey, path: Option<&ArtifactPath>) -> String {
    path.map_or_else(|| repo.to_string(), |path| format!("{repo}/{}", encoded(path.as_str())))
}

/// A path with its slashes kept and everything else encoded.
pub fn encoded(path: &str) -> String {
    utf8_percent_encode(path, SEGMENTS).to_string()
}

/// The authority that the client means (RFC 9112 section 3.2): of an absolute target, else the one `Host`.
pub fn authority<'request>(
    uri: &'request Uri,
    headers: &'request HeaderMap,
    version: hyper::Version,
) -> Result<&'request str, HttpError> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().map_err(|_| HttpError::BadHost)?.trim(),
        (None, _) if version < hyper::Version::HTTP_11 || uri.authority().is_some() => "localhost",
        _ => return Err(HttpError::BadHost),
    };
    let named = uri.authority().map_or(host, |authority| authority.as_str());
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    if named.is_empty() || named.len() > 260 || !named.bytes().all(plain) {
        return Err(HttpError::BadHost);
    }
    Ok(named)
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn links(uri: &str, hosts: &[&str], public_url: Option<&str>) -> Result<Links, HttpError> {
        let mut request = Request::get(uri);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        Links::of(&request.body(()).expect("a request").into_parts().0, "http", public_url)
    }

    #[test]
    fn links_lead_back_by_the_way_the_client_came() {
        let (repo, path) = ("libs".parse().expect("a key"), "a/x y;z.jar".parse().expect("a path"));
        let cases = [
            (links("/x", &["repo.example:8082"], None), "http://repo.example:8082"),
            (links("/x", &["[::1]:8082"], None), "http://[::1]:8082"),
            (links("http://abs.example/x", &["other"], None), "http://abs.example"),
            (links("/x", &["a"], Some("https://pub.example/")), "https://pub.example"),
            (links("/x", &["a"], Some("https://pub.example/artifactory/")), "https://pub.example"),
        ];
        for (links, base) in cases {
            let link = links.expect("a usable host").content(&repo, Some(&path));
            assert_eq!(link, format!("{base}/artifactory/libs/a/x%20y%3Bz.jar"));
        }
    }

    #[test]
    fn a_host_that_could_inject_or_is_missing_is_refused() {
        for host in ["", "a b", "a/b", "a\"b", "user@a", "<x>", "a,b"] {
            assert!(matches!(links("/x", &[host], None), Err(HttpError::BadHost)), "{host} was taken");
        }
        assert!(links("/x", &[], None).is_err());
        assert!(links("/x", &["a", "a"], None).is_err());
    }
}
