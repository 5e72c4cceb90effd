//! Changing properties: `PUT` and `DELETE /api/storage/…?properties=…`, and `PATCH /api/metadata/…`.

use std::collections::BTreeMap;

use artimesh_core::access::Action;
use hyper::StatusCode;
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use crate::http::answer::{Answer, empty};
use crate::http::artifact::check_meant;
use crate::http::ask::Ask;
use crate::http::error::HttpError;
use crate::http::target::Place;
use crate::service::{Extent, PropertyChange};

/// `PUT ?properties=k=v1,v2;k2=v`: sets these, and leaves the others. On a folder: on it and all that is in it, or by
/// `recursive=0` on it alone.
pub async fn put(ask: Ask) -> Result<Answer, HttpError> {
    let query = ask.query();
    let text = query.get("properties").ok_or(MISSING)?;
    let set = assignments(text)?;
    change(&ask, query.get("recursive"), set).await
}

/// `DELETE ?properties=a,b`
pub async fn delete(ask: Ask) -> Result<Answer, HttpError> {
    let query = ask.query();
    let text = query.get("properties").ok_or(MISSING)?;
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    change(&ask, query.get("recursive"), names.map(|name| (name.to_owned(), None)).collect()).await
}

const MISSING: HttpError = HttpError::Query { name: "properties", reason: "it is missing: name the properties" };

#[derive(Deserialize)]
struct Metadata {
    props: BTreeMap<String, Option<Values>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    One(String),
    Many(Vec<String>),
}

/// `PATCH /api/metadata/…`: sets what has a value, removes what is null.
pub async fn patch(ask: Ask) -> Result<Answer, HttpError> {
    let query = ask.query();
    let recursive = query.get("recursiveProperties").map(str::to_owned);
    let place = ask.place()?;
    check_meant(&ask, Action::Write(&place.repo), &place).await?;
    let Ask { site, caller, body, .. } = ask;
    let values = |values| match values {
        Values::One(value) => vec![value],
        Values::Many(values) => values,
    };
    let props = body.json::<Metadata>().await?.props;
    let set = props.into_iter().map(|(name, value)| (name, value.map(values))).collect();
    let extent = extent(recursive.as_deref());
    site.service.set_properties(&caller, &place.repo, place.path.as_ref(), &set, extent).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

async fn change(ask: &Ask, recursive: Option<&str>, set: PropertyChange) -> Result<Answer, HttpError> {
    if set.is_empty() {
        return Err(MISSING);
    }
    let place = ask.place()?;
    check_meant(ask, Action::Write(&place.repo), &place).await?;
    let Place { repo, path, .. } = place;
    let extent = extent(recursive);
    ask.service().set_properties(&ask.caller, &repo, path.as_ref(), &set, extent).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// A folder goes with all that is in it unless the client says otherwise.
fn extent(recursive: Option<&str>) -> Extent {
    if matches!(recursive, Some("0" | "false")) { Extent::Itself } else { Extent::All }
}

/// `k=v1,v2;k2=v;` → values by name. `|` separates like `;`, a backslash takes its meaning from the next character, and
/// values may be percent-encoded once more.
fn assignments(text: &str) -> Result<PropertyChange, HttpError> {
    let mut set = PropertyChange::new();
    let (mut name, mut values, mut piece) = (None::<String>, Vec::new(), String::new());
    let mut characters = text.chars();
    loop {
        let character = characters.next();
        match character {
            Some('\\') => piece.extend(characters.next()),
            Some('=') if name.is_none() => name = Some(decoded(&std::mem::take(&mut piece))?),
            Some(',') if name.is_some() => values.push(decoded(&std::mem::take(&mut piece))?),
            Some(';' | '|') | None => {
                values.push(decoded(&std::mem::take(&mut piece))?);
                let values = std::mem::take(&mut values);
                match name.take() {
                    Some(name) => drop(set.insert(name, Some(values))),
                    None if values == [""] => {}
                    None => return Err(HttpError::Query { name: "properties", reason: "write name=value;name=value" }),
                }
            }
            Some(other) => piece.push(other),
        }
        if character.is_none() {
            return Ok(set);
        }
    }
}

fn decoded(piece: &str) -> Result<String, HttpError> {
    let decoded = percent_decode_str(piece).decode_utf8();
    let text = decoded.map_err(|_| HttpError::Query { name: "properties", reason: "it is not UTF-8" })?;
    Ok(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Vec<(String, Vec<String>)>> {
        let set = assignments(text).ok()?;
        set.into_iter().map(|(name, values)| Some((name, values?))).collect()
    }

    fn expected(pairs: &[(&str, &[&str])]) -> Option<Vec<(String, Vec<String>)>> {
        let own = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        Some(pairs.iter().map(|(name, values)| ((*name).to_owned(), own(values))).collect())
    }

    #[test]
    fn properties_are_read_as_clients_write_them() {
        assert_eq!(read("a=b"), expected(&[("a", &["b"])]));
        assert_eq!(read("a=b,c;d=e;"), expected(&[("a", &["b", "c"]), ("d", &["e"])]));
        assert_eq!(read("a=b|d=e=f"), expected(&[("a", &["b"]), ("d", &["e=f"])]));
        assert_eq!(read(r"a=b\,c\;d\=\\x"), expected(&[("a", &[r"b,c;d=\x"])]));
        assert_eq!(read("a=x%20y,"), expected(&[("a", &["x y", ""])]));
        assert_eq!(read("a="), expected(&[("a", &[""])]));
        assert_eq!(read(""), expected(&[]));
        assert_eq!(read("a"), None);
        assert_eq!(read("a=b;c"), None);
        assert_eq!(read("a=%ff"), None);
    }
}
