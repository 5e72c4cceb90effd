//! What stands at a path, its properties, when it changed, who may do what with it, or all files under it.

use std::collections::BTreeMap;

use artimesh_core::access::Action;
use artimesh_core::model::{ArtifactPath, Properties};
use hyper::StatusCode;
use serde_json::{Value, json};

use super::list::{Depth, Folders, list};
use crate::http::answer::{Answer, json as json_answer};
use crate::http::ask::Ask;
use crate::http::dates::iso8601;
use crate::http::error::HttpError;
use crate::http::folder;
use crate::http::item::ItemView;
use crate::http::links::Links;
use crate::http::target::Query;
use crate::service::{Folder, Found, Item, Timestamp};

/// `?list`, `?properties`, `?lastModified`, `?permissions`, or the item itself.
pub async fn get(ask: Ask) -> Result<Answer, HttpError> {
    let place = ask.place()?;
    let query = ask.query();
    // A trailing slash is no mark of a folder here: clients add it to anything.
    let found = ask.service().find(&ask.caller, &place.repo, place.path.as_ref()).await?;
    if query.get("list").is_some() {
        return match found {
            Found::Folder(folder) => list(ask, folder, depth(&query)?, folders(&query)),
            Found::File(item) => Err(HttpError::NotAFolder(item.path)),
        };
    }
    if query.get("lastModified").is_some() {
        return last_modified(&ask, found).await;
    }
    if query.get("stats").is_some() {
        return statistics(&ask, &found);
    }
    if query.get("permissions").is_some() {
        return permissions(&ask, &found);
    }
    match (query.get("properties"), found) {
        (Some(names), Found::File(item) | Found::Folder(Folder { own: Some(item), .. })) => {
            properties(&item, names, &ask.links()?)
        }
        (Some(_), Found::Folder(_)) => Err(HttpError::NoProperties),
        (None, Found::File(item)) => json_answer(StatusCode::OK, &ItemView::of(&*item, &ask.links()?)),
        (None, Found::Folder(found)) => Box::pin(folder::json(&ask, StatusCode::OK, &found)).await,
    }
}

/// When the file, or the file in the folder that was put last, was put.
async fn last_modified(ask: &Ask, found: Found) -> Result<Answer, HttpError> {
    const PAGE: usize = 500;
    let links = ask.links()?;
    let (uri, modified) = match found {
        Found::File(item) => (links.storage(&item.repo, Some(&item.path)), item.modified),
        Found::Folder(folder) => {
            let (mut last, mut after): (Option<(ArtifactPath, Timestamp)>, _) = (None, None);
            loop {
                let (repo, path) = (&folder.repo, folder.path.as_ref());
                let page = ask.service().list(&ask.caller, repo, path, after.as_ref(), PAGE).await?;
                let newest = page.iter().filter(|item| !item.path.is_folder()).max_by_key(|item| item.modified);
                if let Some(item) = newest.filter(|item| last.as_ref().is_none_or(|(_, at)| item.modified >= *at)) {
                    last = Some((item.path.clone(), item.modified));
                }
                match page.into_iter().last() {
                    Some(item) => after = Some(item.path),
                    None => break,
                }
                tokio::task::yield_now().await;
            }
            let own = || (folder.path.clone(), folder.own.as_ref().map_or(folder.created, |own| own.modified));
            let (path, modified) = last.map_or_else(own, |(path, at)| (Some(path), at));
            (links.storage(&folder.repo, path.as_ref()), modified)
        }
    };
    json_answer(StatusCode::OK, &json!({"uri": uri, "lastModified": iso8601(modified)}))
}

/// How often the file was downloaded at this site; nothing is known of other sites here.
fn statistics(ask: &Ask, found: &Found) -> Result<Answer, HttpError> {
    let Found::File(item) = found else {
        return Err(HttpError::Query { name: "stats", reason: "only files are downloaded" });
    };
    let mut document = json!({
        "uri": ask.links()?.storage(&item.repo, Some(&item.path)),
        "downloadCount": 0, "lastDownloaded": 0, "remoteDownloadCount": 0, "remoteLastDownloaded": 0,
    });
    if let Some(known) = ask.service().downloads(item) {
        document["downloadCount"] = known.count.into();
        document["lastDownloaded"] = known.last.0.into();
        document["lastDownloadedBy"] = known.by.into();
    }
    json_answer(StatusCode::OK, &document)
}

/// Who may do what there, for administrators: r is to read, w to deploy, n to annotate, d to delete, m to manage.
fn permissions(ask: &Ask, found: &Found) -> Result<Answer, HttpError> {
    ask.must(Action::Administer)?;
    let (repo, path) = match found {
        Found::File(item) => (&item.repo, Some(&item.path)),
        Found::Folder(folder) => (&folder.repo, folder.path.as_ref()),
    };
    let mut users = json!({"admin": ["r", "w", "n", "d", "m"]});
    if ask.service().lets_anybody_read() {
        users["anonymous"] = json!(["r"]);
    }
    let principals = json!({"users": users, "groups": {}});
    json_answer(StatusCode::OK, &json!({"uri": ask.links()?.storage(repo, path), "principals": principals}))
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

fn properties(item: &Item, names: &str, links: &Links) -> Result<Answer, HttpError> {
    let chosen = chosen(&item.properties, names);
    if chosen.is_empty() {
        return Err(HttpError::NoProperties);
    }
    let document: Value = json!({"uri": links.storage(&item.repo, Some(&item.path)), "properties": chosen});
    json_answer(StatusCode::OK, &document)
}

/// Those properties that `names` selects (`a,b,`); all when it is empty.
fn chosen<'item>(properties: &'item Properties, names: &str) -> BTreeMap<&'item String, &'item Vec<String>> {
    let wanted: Vec<&str> = names.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let is_wanted = |name: &String| wanted.is_empty() || wanted.contains(&name.as_str());
    properties.as_map().iter().filter(|(name, _)| is_wanted(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_shown_all_or_by_name() {
        let map = [("arch", vec!["a", "b"]), ("os", vec!["linux"])];
        let map: BTreeMap<String, Vec<String>> =
            map.into_iter().map(|(name, values)| (name.into(), values.into_iter().map(Into::into).collect())).collect();
        let properties: Properties = map.try_into().expect("within bounds");
        let names = |names| chosen(&properties, names).into_keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(""), ["arch", "os"]);
        assert_eq!(names("os,missing,"), ["os"]);
        assert!(names("missing").is_empty());
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
