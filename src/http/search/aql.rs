//! `POST /artifactory/api/search/aql`

use artimesh_core::access::{self, Action};
use serde_json::{Map, Value, json};

use super::{Shape, answer};
use crate::http::answer::Answer;
use crate::http::ask::Ask;
use crate::http::body::Broken;
use crate::http::dates::iso8601;
use crate::http::error::HttpError;
use crate::service::{
    Downloads, Field, Hit, Include, Query, Search, Service, ServiceError, Timestamp, Value as Found, has_md5,
};

/// What is told where nothing is included.
const USUAL: [Field; 10] = [
    Field::Repo,
    Field::Path,
    Field::Name,
    Field::Type,
    Field::Size,
    Field::Created,
    Field::CreatedBy,
    Field::Modified,
    Field::ModifiedBy,
    Field::Updated,
];

/// What an asterisk adds.
const MORE: [Field; 6] =
    [Field::Depth, Field::ActualSha1, Field::ActualMd5, Field::OriginalSha1, Field::OriginalMd5, Field::Sha256];

/// The body is the query, in plain text.
pub async fn aql(ask: Ask) -> Result<Answer, HttpError> {
    let Ask { site, caller, body, .. } = ask;
    let text = String::from_utf8(body.document().await?);
    let text = text.map_err(|_| HttpError::Field { field: "query", reason: "it is not UTF-8".into() })?;
    let query = Query::parse(&text, site.service.now())?;
    let include = query.include.clone();
    // How much was read tells of what is there, which not everybody may know.
    let tells_work = access::may(&caller.principal, Action::Administer).is_ok();
    answer(&site.service, &caller, query, Rows { include, service: site.service.clone(), tells_work }).await
}

struct Rows {
    include: Include,
    tells_work: bool,
    service: Service,
}

impl Rows {
    /// Whether the bytes of a file exist nowhere: then its SHA-256 isn't told, so that who compares uploads it again.
    fn is_lost(&self, hit: &Hit) -> Result<bool, ServiceError> {
        hit.item.as_ref().map_or(Ok(false), |item| self.service.is_lost(item))
    }
}

impl Shape for Rows {
    fn head(&self) -> String {
        "{\"results\":[".into()
    }

    fn row(&mut self, hit: &Hit) -> Result<Option<Value>, Broken> {
        let file = hit.item.as_ref().filter(|_| self.include.statistics && !hit.is_folder);
        let downloads = file.and_then(|item| self.service.downloads(item));
        let mut told = told(hit, &self.include, downloads);
        if told.contains_key(Field::Sha256.name()) && self.is_lost(hit)? {
            told.remove(Field::Sha256.name());
        }
        Ok(Some(Value::Object(told)))
    }

    fn tail(&self, search: &Search) -> String {
        let (start, told) = (search.query().offset, search.told());
        let mut range = json!({"start_pos": start, "end_pos": start + told, "total": told});
        if self.tells_work {
            range["rows_read"] = search.rows_read().into();
        }
        if let Some(limit) = search.query().limit {
            range["limit"] = limit.into();
        }
        format!("],\"range\":{range}}}")
    }
}

fn told(hit: &Hit, include: &Include, downloads: Option<Downloads>) -> Map<String, Value> {
    let row = hit.row();
    let mut fields: Vec<Field> = include.fields.clone();
    if fields.is_empty() || include.all {
        fields.extend(USUAL);
    }
    if include.all {
        fields.extend(MORE);
    }
    let mut map = Map::new();
    for field in fields {
        if let Some(value) = sum(hit, field).or_else(|| row.value(field).map(|value| plain(field, value))) {
            map.insert(field.name().to_owned(), value);
        }
    }
    if let Some(names) = &include.properties {
        let properties = row.properties.into_iter().flat_map(|properties| properties.as_map());
        let wanted = properties.filter(|(name, _)| names.is_empty() || names.contains(name));
        let pairs =
            wanted.flat_map(|(name, values)| values.iter().map(move |value| json!({"key": name, "value": value})));
        map.insert("properties".into(), pairs.collect());
    }
    if include.statistics {
        let stats = downloads.map(
            |known| json!({"downloads": known.count, "downloaded": iso8601(known.last), "downloaded_by": known.by}),
        );
        map.insert("stats".into(), stats.into_iter().collect());
    }
    map
}

/// Sums as the item's own metadata tells them: until they were computed here, as their author says.
fn sum(hit: &Hit, field: Field) -> Option<Value> {
    let item = hit.item.as_ref().filter(|_| !hit.is_folder)?;
    let (sums, claimed) = (&item.checksums, &item.claimed);
    match field {
        Field::ActualSha1 => Some(sums.sha1_hex().into()),
        Field::ActualMd5 => has_md5(sums).then(|| sums.md5_hex().into()),
        Field::OriginalSha1 => Some(claimed.sha1_hex().into()),
        Field::OriginalMd5 => has_md5(claimed).then(|| claimed.md5_hex().into()),
        Field::Sha256 => Some(sums.sha256_hex().into()),
        _ => None,
    }
}

fn plain(field: Field, value: Found<'_>) -> Value {
    match value {
        Found::Number(ms) if field.is_time() => iso8601(Timestamp(ms)).into(),
        Found::Number(number) => number.into(),
        Found::Text(text) => text.into(),
    }
}
