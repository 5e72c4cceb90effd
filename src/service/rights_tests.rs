//! What somebody may not read isn't there, whichever way they look; what they may not do isn't done.

use std::collections::BTreeSet;
use std::sync::Arc;

use artimesh_core::access::{Denied, Grant, Prefix, Principal, Right, User};
use artimesh_core::model::{ArtifactPath, Properties};
use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng};
use serde_json::json;

use super::aql::{Criterion, Field, Operator, Query};
use super::finding::derivation;
use super::testing::{caller, repo, service};
use super::{
    Caller, Destination, Effect, Entry, Expected, Extent, Found, PropertyChange, Relocation, Service, ServiceError,
};
use crate::engine::Site;
use crate::store::Carriage;

const FILES: [&str; 10] =
    ["a/b/c/1", "a/b/c/2", "a/b/d/1", "a/b-c/x", "a/x", "e/f/x", "e/f/y", "x", "y/made/", "y/made/in/it"];

const PREFIXES: [&str; 10] = ["", "a/", "a/b/", "a/b/c/", "a/b-c/", "e/", "e/f/", "y/made/", "y/made/in/", "none/"];

fn path(text: &str) -> ArtifactPath {
    let file: ArtifactPath = text.trim_end_matches('/').parse().unwrap();
    if text.ends_with('/') { file.as_folder() } else { file }
}

fn user(grants: &[(&str, &[Right])]) -> Caller {
    let grant = |(prefix, rights): &(&str, &[Right])| Grant {
        repository: "LIBS".parse().unwrap(),
        prefix: Prefix::of((!prefix.is_empty()).then(|| path(prefix)).as_ref()),
        rights: rights.to_vec(),
    };
    let grants = grants.iter().map(grant).collect();
    Caller { principal: Principal::User(Arc::new(User { name: "eve".into(), grants })), ..caller() }
}

async fn upload(service: &Service, who: &Caller, at: &str, bytes: &str) -> Result<(), ServiceError> {
    let expected = Expected::default();
    let mut upload = service.upload(who, &repo(), &path(at), None, &expected).await?;
    upload.write(Bytes::copy_from_slice(bytes.as_bytes())).await?;
    upload.finish(&expected, "x/y", Properties::default()).await.map(drop)
}

/// All files of the test, each with bytes of its own.
async fn filled() -> (Site, Service) {
    let site = Site::finding(derivation()).await;
    let service = service(&site);
    for file in FILES {
        if file.ends_with('/') {
            let properties: Properties = serde_json::from_value(json!({"kind": ["folder"]})).unwrap();
            service.make_folder(&caller(), &repo(), &path(file.trim_end_matches('/')), properties).await.unwrap();
        } else {
            upload(&service, &caller(), file, file).await.unwrap();
            let set = PropertyChange::from([("kind".to_owned(), Some(vec!["file".to_owned()]))]);
            service.set_properties(&caller(), &repo(), Some(&path(file)), &set, Extent::All).await.unwrap();
        }
    }
    (site, service)
}

/// The folders that are there if these files are, without slashes.
fn folders(files: &BTreeSet<String>) -> BTreeSet<String> {
    files.iter().flat_map(|file| file.match_indices('/').map(|(end, _)| file[..end].to_owned())).collect()
}

async fn listed(service: &Service, who: &Caller, limit: usize) -> BTreeSet<String> {
    let (mut all, mut after) = (BTreeSet::new(), None);
    loop {
        let page = service.list(who, &repo(), None, after.as_ref(), limit).await.unwrap();
        let Some(last) = page.last() else { return all };
        after = Some(last.path.clone());
        all.extend(page.into_iter().map(|item| item.path.to_string()));
    }
}

async fn children(service: &Service, who: &Caller, folder: Option<&str>) -> BTreeSet<String> {
    let folder = folder.map(path);
    let mut children = service.children(who, &repo(), folder.as_ref()).unwrap();
    let mut names = BTreeSet::new();
    while let Some(page) = children.next_page().await.unwrap() {
        names.extend(page.into_iter().map(|entry| match entry {
            Entry::Folder(name) => format!("{name}/"),
            Entry::File(item) => item.path.name().to_owned(),
        }));
    }
    names
}

async fn found(service: &Service, who: &Caller, criteria: Vec<Criterion>) -> BTreeSet<String> {
    let mut search = service.search(who, Query::of(Criterion::All(criteria)));
    let mut paths = BTreeSet::new();
    while let Some(page) = search.next_page().await.unwrap() {
        paths.extend(page.into_iter().map(|hit| hit.path));
    }
    paths
}

/// Everything that reads, against the files that `prefixes` cover.
async fn check_reading(service: &Service, prefixes: &[&str]) {
    let grants: Vec<(&str, &[Right])> = prefixes.iter().map(|prefix| (*prefix, &[Right::Read][..])).collect();
    let who = user(&grants);
    let is_readable = |file: &&str| prefixes.iter().any(|prefix| file.starts_with(prefix));
    let readable: BTreeSet<String> = FILES.into_iter().filter(is_readable).map(str::to_owned).collect();
    let (folders, case) = (folders(&readable), format!("{prefixes:?}"));
    if prefixes.is_empty() {
        assert!(service.repositories(&who).await.unwrap().is_empty());
        assert!(matches!(service.find(&who, &repo(), None).await, Err(ServiceError::NoRepository(_))));
        assert!(found(service, &who, vec![]).await.is_empty());
        return;
    }
    for limit in [1, 2, 100] {
        assert_eq!(listed(service, &who, limit).await, readable, "{case}");
    }
    for folder in folders.iter().map(|folder| Some(folder.as_str())).chain([None]) {
        let inside = folder.map(|folder| format!("{folder}/")).unwrap_or_default();
        let rest = readable.iter().filter_map(|file| file.strip_prefix(&inside)).filter(|rest| !rest.is_empty());
        let (files, bytes) = rest.clone().fold((0, 0), |(files, bytes), rest| (files + 1, bytes + rest.len() as u64));
        let paths = service.count_paths(&who, &repo(), folder.map(path).as_ref(), 1000).await.unwrap();
        assert_eq!((paths.files, paths.bytes), (files, bytes), "{case} {folder:?}");
        let expected: BTreeSet<String> =
            rest.map(|rest| rest.split_once('/').map_or(rest.to_owned(), |(name, _)| format!("{name}/"))).collect();
        assert_eq!(children(service, &who, folder).await, expected, "{case} {folder:?}");
    }
    let files: BTreeSet<String> = readable.iter().filter(|file| !file.ends_with('/')).cloned().collect();
    let any = vec![Criterion::field(Field::Type, Operator::Equal, "any")];
    assert_eq!(found(service, &who, any).await, &files | &folders, "{case}");
    assert_eq!(found(service, &who, vec![Criterion::property("kind", "file")]).await, files, "{case}");
    let made: BTreeSet<String> = readable.iter().filter_map(|file| file.strip_suffix('/')).map(str::to_owned).collect();
    let labelled = vec![Criterion::property("kind", "folder"), Criterion::field(Field::Type, Operator::Equal, "any")];
    assert_eq!(found(service, &who, labelled).await, made, "{case}: a folder's own properties");
    let admin = caller();
    for file in FILES {
        let (at, is_there) = (path(file), readable.contains(file));
        assert_eq!(service.item(&who, &repo(), &at).await.is_ok(), is_there, "{case} {file}");
        assert_eq!(service.file(&who, &repo(), &at).unwrap().is_some(), is_there, "{case} {file}");
        assert_eq!(service.history(&who, &repo(), &at, 10).await.is_ok(), is_there, "{case} {file}");
        let plain = path(file.trim_end_matches('/'));
        let seen = service.find(&who, &repo(), Some(&plain)).await;
        let has_inside = folders.contains(plain.as_str());
        assert_eq!(seen.is_ok(), is_there || has_inside, "{case} {file}: {seen:?}");
        if let Ok(Found::Folder(folder)) = &seen {
            assert_eq!(folder.own.is_some(), is_there, "{case} {file}");
        }
        if file.ends_with('/') {
            assert!(matches!(seen, Ok(Found::Folder(_)) | Err(ServiceError::NoArtifact { .. })));
            continue;
        }
        let item = service.item(&admin, &repo(), &at).await.unwrap();
        let sum = Criterion::field(Field::ActualSha1, Operator::Equal, &item.checksums.sha1_hex());
        assert_eq!(found(service, &who, vec![sum]).await.len(), usize::from(is_there), "{case} {file}");
        let download = service.download(&who, &item, 0..1, Carriage::Copied { bytes_max: 1 << 16 }).await;
        assert_eq!(download.is_ok(), is_there, "{case} {file}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_read_is_not_there() {
    let (_site, service) = filled().await;
    check_reading(&service, &[]).await;
    for prefix in PREFIXES {
        check_reading(&service, &[prefix]).await;
    }
    let mut dice = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    for _ in 0..30 {
        let drawn = dice.next_u32();
        let several: Vec<&str> = PREFIXES[1..]
            .iter()
            .enumerate()
            .filter(|(at, _)| drawn >> at & 1 == 1)
            .map(|(_, prefix)| *prefix)
            .collect();
        check_reading(&service, &several).await;
    }
}

fn forbidden<T: std::fmt::Debug>(result: Result<T, ServiceError>) {
    let is_forbidden = matches!(&result, Err(ServiceError::Denied(Denied::Forbidden(_))));
    assert!(is_forbidden, "{result:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn replacing_takes_the_right_to_delete_and_moving_too() {
    use Right::{Delete, Read, Write};
    let (site, service) = filled().await;
    let (reader, writer) = (user(&[("", &[Read])]), user(&[("a/", &[Read, Write]), ("e/", &[Read])]));
    let heads = async || {
        let space = service.item(&caller(), &repo(), &path("x")).await.unwrap().space;
        site.engine.inspect(move |replica, _| replica.heads(&space)).await.unwrap()
    };
    let before = heads().await;
    let to = |at: &str| Destination { repo: repo(), path: Some(path(at)), is_folder: false };
    let relocate = async |who: &Caller, kind, from: &str, at: &str| {
        service.relocate(who, kind, &repo(), Some(&path(from)), to(at), Effect::Real).await
    };
    forbidden(upload(&service, &reader, "a/new", "new").await);
    forbidden(upload(&service, &writer, "e/new", "new").await);
    forbidden(upload(&service, &writer, "a/x", "other").await);
    forbidden(relocate(&reader, Relocation::Copy, "x", "a/new").await);
    forbidden(relocate(&writer, Relocation::Copy, "e/f/x", "a/x").await);
    forbidden(relocate(&writer, Relocation::Move, "e/f/x", "a/new").await);
    forbidden(relocate(&writer, Relocation::Move, "a/x", "a/new").await);
    assert!(matches!(relocate(&writer, Relocation::Copy, "x", "a/new").await, Err(ServiceError::NoArtifact { .. })));
    forbidden(service.delete(&writer, &repo(), &path("a/x"), None).await);
    forbidden(service.delete_folder(&user(&[("a/b/", &[Read, Delete])]), &repo(), Some(&path("a"))).await);
    forbidden(service.make_folder(&writer, &repo(), &path("e/made"), Properties::default()).await);
    let labels: Properties = serde_json::from_value(json!({"other": ["label"]})).unwrap();
    let maker = user(&[("y/", &[Read, Write])]);
    forbidden(service.make_folder(&maker, &repo(), &path("y/made"), labels).await);
    service.make_folder(&maker, &repo(), &path("y/made"), Properties::default()).await.unwrap();
    let set = PropertyChange::from([("k".to_owned(), Some(vec!["v".to_owned()]))]);
    forbidden(service.set_properties(&writer, &repo(), Some(&path("e/f/x")), &set, Extent::All).await);
    forbidden(service.restore(&writer, &repo(), &path("a/x"), "..1").await);
    assert_eq!(heads().await, before, "nothing of this changed anything");

    let blind = user(&[("b/", &[Write])]);
    service.make_folder(&blind, &repo(), &path("b/made"), Properties::default()).await.unwrap();
    let after = heads().await;
    service.make_folder(&blind, &repo(), &path("b/made"), Properties::default()).await.unwrap();
    assert_eq!(heads().await, after, "it is there already, whoever may see it");

    upload(&service, &writer, "a/new", "new").await.unwrap();
    relocate(&writer, Relocation::Copy, "e/f/x", "a/copy").await.unwrap();
    service.set_properties(&writer, &repo(), Some(&path("a/x")), &set, Extent::All).await.unwrap();
    let deleter = user(&[("a/", &[Read, Write, Delete])]);
    upload(&service, &deleter, "a/x", "other").await.unwrap();
    relocate(&deleter, Relocation::Move, "a/x", "a/moved").await.unwrap();
    service.delete_folder(&deleter, &repo(), Some(&path("a"))).await.unwrap();
    assert!(!listed(&service, &caller(), 100).await.iter().any(|file| file.starts_with("a/")));
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_deployed_by_their_sums_only_where_they_may_be_read() {
    use Right::{Read, Write};
    let (_site, service) = filled().await;
    let sums = service.item(&caller(), &repo(), &path("e/f/x")).await.unwrap().checksums;
    let none = Expected::default();
    let by_sha1 = Expected { sha1: Some(sums.sha1), ..none.clone() };
    let deploy = async |who: &Caller, at: &str, expected: &Expected| {
        service.deploy_by_sums(who, &repo(), &path(at), expected, "x/y", Properties::default()).await
    };
    let writer = user(&[("a/", &[Read, Write]), ("e/", &[Read])]);
    let blind = user(&[("a/", &[Read, Write])]);
    assert!(deploy(&blind, "a/by-sum", &by_sha1).await.unwrap().is_none(), "nothing is told of what they may not read");
    forbidden(deploy(&writer, "x/by-sum", &by_sha1).await);
    forbidden(deploy(&writer, "a/x", &by_sha1).await);
    for (at, expected) in [
        ("a/by-sha1", by_sha1.clone()),
        ("a/by-sha256", Expected { sha256: Some(sums.sha256), ..none.clone() }),
        ("a/by-md5", Expected { md5: Some(sums.md5), ..none.clone() }),
        ("a/by-all", Expected { sha256: Some(sums.sha256), sha1: Some(sums.sha1), md5: Some(sums.md5) }),
    ] {
        let item = deploy(&writer, at, &expected).await.unwrap().expect(at);
        assert_eq!((item.checksums, item.size), (sums, 5), "{at}");
    }
    let contradictory = Expected { sha256: Some([0; 32]), ..by_sha1.clone() };
    for expected in [contradictory, none, Expected { sha1: Some([3; 20]), ..Expected::default() }] {
        assert!(deploy(&caller(), "a/other", &expected).await.unwrap().is_none());
    }
    // Nothing names them any more; that they are here still is told to nobody.
    service.delete_folder(&caller(), &repo(), None).await.unwrap();
    assert!(deploy(&caller(), "a/again", &by_sha1).await.unwrap().is_none());
    assert!(service.find(&caller(), &repo(), Some(&path("a"))).await.is_err());
}
