//! `GET /artifactory/api/search/artifact|prop|checksum|pattern`

use artimesh_core::model::{ArtifactPath, RepoKey};
use serde_json::{Value, json};

use super::{Shape, answer, ant};
use crate::http::answer::Answer;
use crate::http::ask::Ask;
use crate::http::body::Broken;
use crate::http::error::HttpError;
use crate::http::item::ItemView;
use crate::http::links::Links;
use crate::service::{Criterion, Field, Hit, Operator, Query, Search};

/// `?name=`: by a part of the file's name, or a pattern of it.
pub async fn artifact(ask: Ask) -> Result<Answer, HttpError> {
    let query = ask.query();
    let name = query.get("name").filter(|name| !name.is_empty());
    let name = name.ok_or(HttpError::Query { name: "name", reason: "it says a part of the file's name" })?;
    let pattern = if name.contains(['*', '?']) { name.to_owned() } else { format!("*{name}*") };
    found(&ask, vec![Criterion::field(Field::Name, Operator::Matches, &pattern), files()]).await
}

/// `?NAME=VALUE,VALUE&…`: files and folders that have one of the values; all that have the property where there is none.
pub async fn property(ask: Ask) -> Result<Answer, HttpError> {
    let query = ask.query();
    let mut criteria = vec![Criterion::field(Field::Type, Operator::Equal, "any")];
    for (name, values) in query.pairs().filter(|(name, _)| *name != "repos") {
        let values = values.split(',').map(|value| if value.is_empty() { "*" } else { value });
        criteria.push(Criterion::Any(values.map(|value| Criterion::property(name, value)).collect()));
    }
    if criteria.len() == 1 {
        return Err(HttpError::Query { name: "NAME", reason: "no property is asked for: ?NAME=VALUE" });
    }
    found(&ask, criteria).await
}

/// `?sha1=`, `?sha256=` or `?md5=`: by sums that were computed here.
pub async fn checksum(ask: Ask) -> Result<Answer, HttpError> {
    const SUMS: [(&str, Field, usize); 3] =
        [("sha1", Field::ActualSha1, 40), ("sha256", Field::Sha256, 64), ("md5", Field::ActualMd5, 32)];
    let query = ask.query();
    let mut criteria = vec![files()];
    for (name, field, digits) in SUMS {
        let Some(sum) = query.get(name) else { continue };
        if sum.len() != digits || !sum.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(HttpError::Query { name, reason: "it is not the hexadecimal digits of such a checksum" });
        }
        criteria.push(Criterion::field(field, Operator::Equal, &sum.to_ascii_lowercase()));
    }
    if criteria.len() == 1 {
        return Err(HttpError::Query { name: "sha1", reason: "one of sha1, sha256 and md5 says which checksum" });
    }
    found(&ask, criteria).await
}

/// `?pattern=REPO:PATTERN`: files by their whole path.
pub async fn pattern(ask: Ask) -> Result<Answer, HttpError> {
    let query = ask.query();
    let given = query.get("pattern").unwrap_or_default().to_owned();
    let Some((repo, pattern)) = given.split_once(':') else {
        return Err(HttpError::Query { name: "pattern", reason: "it is REPOSITORY:PATTERN, as in libs:org/**/*.jar" });
    };
    let (repo, pattern): (RepoKey, _) = (repo.parse()?, pattern.trim_start_matches('/').to_owned());
    ask.service().may_read(&ask.caller, &repo)?;
    let mut criteria = vec![files(), Criterion::field(Field::Repo, Operator::Equal, repo.as_str())];
    if let Some(folder) = ant::folder(&pattern).strip_suffix('/') {
        criteria.push(Criterion::field(Field::Path, Operator::Matches, &format!("{folder}*")));
    }
    let uri = ask.links()?.storage(&repo, None);
    answer(
        ask.service(),
        &ask.caller,
        Query::of(Criterion::All(criteria)),
        Files { uri, given: given.clone(), pattern },
    )
    .await
}

fn files() -> Criterion {
    Criterion::field(Field::Type, Operator::Equal, "file")
}

/// Hits as links, with what `X-Result-Detail` asks for.
async fn found(ask: &Ask, mut criteria: Vec<Criterion>) -> Result<Answer, HttpError> {
    let query = ask.query();
    let repos = query.get("repos").unwrap_or_default().split(',').map(str::trim).filter(|repo| !repo.is_empty());
    let repos: Vec<Criterion> = repos.map(|repo| Criterion::field(Field::Repo, Operator::Equal, repo)).collect();
    if !repos.is_empty() {
        criteria.push(Criterion::Any(repos));
    }
    let details = ask.headers().get("x-result-detail").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let has = |wanted: &str| details.split(',').any(|detail| detail.trim().eq_ignore_ascii_case(wanted));
    let shape = Uris { links: ask.links()?, info: has("info"), properties: has("properties") };
    answer(ask.service(), &ask.caller, Query::of(Criterion::All(criteria)), shape).await
}

struct Uris {
    links: Links,
    info: bool,
    properties: bool,
}

impl Shape for Uris {
    fn head(&self) -> String {
        "{\"results\":[".into()
    }

    fn row(&mut self, hit: &Hit) -> Result<Option<Value>, Broken> {
        let Ok(path) = hit.path.parse::<ArtifactPath>() else { return Ok(None) };
        let mut row = match hit.item.as_deref().filter(|_| self.info && !hit.is_folder) {
            Some(item) => serde_json::to_value(ItemView::of(item, &self.links))?,
            None => json!({"uri": self.links.storage(&hit.repo, Some(&path))}),
        };
        if self.properties {
            row["properties"] = serde_json::to_value(hit.item.as_ref().map(|item| item.properties.as_map()))?;
        }
        Ok(Some(row))
    }

    fn tail(&self, _: &Search) -> String {
        "]}".into()
    }
}

struct Files {
    uri: String,
    given: String,
    pattern: String,
}

impl Shape for Files {
    fn head(&self) -> String {
        let head = json!({"repoUri": self.uri, "sourcePattern": self.given}).to_string();
        format!("{},\"files\":[", head.trim_end_matches('}'))
    }

    fn row(&mut self, hit: &Hit) -> Result<Option<Value>, Broken> {
        Ok(ant::matches(&hit.path, &self.pattern).then(|| hit.path.clone().into()))
    }

    fn tail(&self, _: &Search) -> String {
        "]}".into()
    }
}
