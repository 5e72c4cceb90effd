//! `file.sha1` and its like: never artifacts of their own, but checked on PUT and computed on GET.

use artimesh_core::access::{self, Action, Right};
use artimesh_core::model::{ArtifactPath, RepoKey};
use hyper::StatusCode;
use hyper::header::{HeaderValue, LAST_MODIFIED, LOCATION};

use crate::formats::Algorithm;
use crate::http::answer::{Answer, empty, json, text};
use crate::http::ask::Ask;
use crate::http::dates::{http_date, not_after_now, seconds};
use crate::http::error::HttpError;
use crate::http::item::ItemView;
use crate::http::links::Links;

/// Up to so many bytes the sums that another node claims are computed before they are told; it takes a tenth of a second.
pub const CONFIRMED_NOW_BYTES_MAX: u64 = 64 << 20;

/// The digits of the sum that `base` has; an MD5 that was put off is not found until it is computed.
pub async fn computed(
    ask: &Ask,
    repo: &RepoKey,
    base: &ArtifactPath,
    algorithm: Algorithm,
) -> Result<Answer, HttpError> {
    let item = ask.service().item(&ask.caller, repo, base).await?;
    let item = ask.service().with_confirmed(item, CONFIRMED_NOW_BYTES_MAX).await?;
    let not_yet = || HttpError::NotSummed { path: base.clone(), algorithm: algorithm.name() };
    let mut answer = text(StatusCode::OK, algorithm.of(&item.checksums).ok_or_else(not_yet)?);
    answer.headers_mut().insert(LAST_MODIFIED, http_date(not_after_now(seconds(item.modified))));
    Ok(answer)
}

/// Compares what the client says with the stored artifact. Stores nothing. Who may put the artifact and not read it, as a
/// client that only deploys, is told nothing of it: neither whether it is there, nor whether the sum is right.
pub async fn verify(ask: Ask, repo: RepoKey, base: ArtifactPath, algorithm: Algorithm) -> Result<Answer, HttpError> {
    ask.must(Action::Write(&repo))?;
    let links = ask.links()?;
    let may = |right| access::may_at(&ask.caller.principal, right, &repo, base.as_str());
    if may(Right::Write) && !may(Right::Read) {
        ask.body.document().await?;
        let mut answer = empty(StatusCode::CREATED);
        answer.headers_mut().insert(LOCATION, location(&links, &repo, &base));
        return Ok(answer);
    }
    let item = ask.service().item(&ask.caller, &repo, &base).await?;
    let Ask { body, site, .. } = ask;
    let document = String::from_utf8_lossy(&body.document().await?).into_owned();
    let item = site.service.with_confirmed(item, CONFIRMED_NOW_BYTES_MAX).await?;
    let item = if algorithm == Algorithm::Md5 { site.service.with_md5(item).await? } else { item };
    let not_yet = || HttpError::NotSummed { path: base.clone(), algorithm: algorithm.name() };
    let actual = algorithm.of(&item.checksums).ok_or_else(not_yet)?;
    let claimed = claim(&document);
    if !claimed.eq_ignore_ascii_case(&actual) {
        let claimed = claimed.chars().take(128).flat_map(char::escape_default).collect();
        return Err(HttpError::SidecarMismatch { path: base, algorithm: algorithm.name(), actual, claimed });
    }
    let mut answer = json(StatusCode::CREATED, &ItemView::of(&item, &links))?;
    answer.headers_mut().insert(LOCATION, location(&links, &repo, &base));
    Ok(answer)
}

fn location(links: &Links, repo: &RepoKey, base: &ArtifactPath) -> HeaderValue {
    HeaderValue::try_from(links.content(repo, Some(base))).expect("links are ASCII")
}

/// The digits in a checksum file: alone, before a name (`sha1sum`), or after one (`SHA1 (x) = …`, `x: …`).
fn claim(document: &str) -> &str {
    let is_digits =
        |word: &&str| matches!(word.len(), 32 | 40 | 64) && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut words = document.split_whitespace();
    words.clone().find(is_digits).or_else(|| words.next()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digits_are_found_in_each_form_of_a_checksum_file() {
        let digits = "0a".repeat(20);
        for form in ["{}", "{}\n", "{}  lib.jar\n", "{} *lib.jar", "SHA1 (lib.jar) = {}", "lib.jar: {}"] {
            assert_eq!(claim(&form.replace("{}", &digits)), digits, "{form}");
        }
        assert_eq!(claim("rubbish x"), "rubbish");
        assert_eq!(claim(""), "");
    }
}
