//! What stands at a path, its properties, or all files under it.

use std::collections::BTreeMap;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::list::{Depth, Folders, list};
use crate::http::answer::{Answer, json as json_answer};
use crate::http::ask::Ask;
use crate::http::error::HttpError;
use crate::http::item::{FolderView, ItemView};
use crate::http::links::Links;
use crate::http::target::Query;
use crate::service::{Found, Item};

/// Questions that Artifactory answers and this node can't yet. Answering with the item instead would look like success.
const NOT_YET: [&str; 3] = ["stats", "permissions", "lastModified"];

/// `?list`, `?properties`, or the item itself.
pub async fn get(ask: Ask) -> Result<Answer, HttpError> {
    let place = ask.place()?;
    let query = ask.query();
    if let Some(name) = NOT_YET.into_iter().find(|name| query.get(name).is_some()) {
        return Err(HttpError::NotYet(name));
    }
    // A trailing slash is no mark of a folder here: clients add it to anything.
    let found = ask.service().find(&ask.caller, &place.repo, place.path.as_ref()).await?;
    if query.get("list").is_some() {
        return match found {
            Found::Folder(folder) => list(ask, folder, depth(&query)?, folders(&query)),
            Found::File(item) => Err(HttpError::NotAFolder(item.path)),
        };
    }
    match (query.get("properties"), found) {
        (Some(names), Found::File(item)) => properties(&item, names, &ask.links),
        (Some(_), Found::Folder(_)) => Err(HttpError::NoProperties),
        (None, Found::File(item)) => json_answer(StatusCode::OK, &ItemView::of(&item, &ask.links)),
        (None, Found::Folder(folder)) => json_answer(StatusCode::OK, &FolderView::of(&folder, &ask.links)),
    }
}

fn depth(query: &Query) -> Result<Depth, HttpError> {
    if !query.is_on("deep") {
        return Ok(Depth(1));
    }
    match query.get("depth") {
        None | Some("") => Ok(Depth::ALL),
        Some(text) => match text.parse() {
            Ok(levels @ 1..) => Ok(Depth(levels)),
            _ => Err(HttpError::Query { name: "depth", reason: "it is not a number from 1" }),
        },
    }
}

fn folders(query: &Query) -> Folders {
    if query.is_on("listFolders") { Folders::Listed } else { Folders::Left }
}

/// Those of the item's properties that `names` selects (`a,b,`); all when it is empty.
fn properties(item: &Item, names: &str, links: &Links) -> Result<Answer, HttpError> {
    let wanted: Vec<&str> = names.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let all = item.properties.as_map();
    let chosen: BTreeMap<&String, &Vec<String>> =
        all.iter().filter(|(name, _)| wanted.is_empty() || wanted.contains(&name.as_str())).collect();
    if chosen.is_empty() {
        return Err(HttpError::NoProperties);
    }
    let document: Value = json!({"uri": links.storage(&item.repo, Some(&item.path)), "properties": chosen});
    json_answer(StatusCode::OK, &document)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::http::item::samples::{item, links};

    async fn shown(names: &str) -> Option<Value> {
        let mut item = item("a/x.jar");
        let map = [("arch", vec!["a", "b"]), ("os", vec!["linux"])];
        let map: BTreeMap<String, Vec<String>> =
            map.into_iter().map(|(k, v)| (k.into(), v.into_iter().map(Into::into).collect())).collect();
        item.properties = map.try_into().expect("within bounds");
        let answer = properties(&item, names, &links()).ok()?;
        serde_json::from_slice(&answer.into_body().collect().await.ok()?.to_bytes()).ok()
    }

    #[tokio::test]
    async fn properties_are_shown_all_or_by_name() {
        let all = json!({"arch": ["a", "b"], "os": ["linux"]});
        let document = shown("").await.expect("there are some");
        assert_eq!(document["properties"], all);
        assert_eq!(document["uri"], "http://here/artifactory/api/storage/libs/a/x.jar");
        assert_eq!(shown("os,missing,").await.expect("one")["properties"], json!({"os": ["linux"]}));
        assert_eq!(shown("missing").await, None);
    }

    #[test]
    fn depth_counts_only_when_deep() {
        let depth = |text| depth(&Query::parse(Some(text))).ok();
        assert_eq!(depth("list"), Some(Depth(1)));
        assert_eq!(depth("list&depth=4"), Some(Depth(1)));
        assert_eq!(depth("list&deep=1"), Some(Depth::ALL));
        assert_eq!(depth("list&deep=1&depth=4"), Some(Depth(4)));
        assert_eq!(depth("list&deep=1&depth=0"), None);
        assert_eq!(depth("list&deep=1&depth=x"), None);
    }
}
