//! Tests of the judgements, and of a whole examination of a fresh folder.

use std::net::TcpListener;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::disk::Kept;
use super::*;
use crate::config::{Given, Keys, sample, write_new};
use crate::node::moving::{OldPlace, make_store, move_store};

fn outcomes(checks: &[Check], prefix: &str) -> Vec<Outcome> {
    checks.iter().filter(|check| check.name.starts_with(prefix)).map(|check| check.outcome).collect()
}

#[test]
fn an_implausible_clock_fails() {
    assert_eq!(clock::wall(UNIX_EPOCH).outcome, Outcome::Fail);
    assert_eq!(clock::wall(UNIX_EPOCH + Duration::from_secs(1_800_000_000)).outcome, Outcome::Ok);
    let now = SystemTime::now();
    assert_eq!(clock::files(now, Some(now + Duration::from_secs(3600))).outcome, Outcome::Fail);
    assert_eq!(clock::files(now, Some(now - Duration::from_secs(3600))).outcome, Outcome::Ok);
    assert_eq!(clock::files(now, None).outcome, Outcome::Warn);
}

#[test]
fn space_below_the_reserve_fails() {
    let judge = |kept, free| disk::judge_space(Path::new("/disk"), kept, free, 100);
    for kept in [Kept::All, Kept::Store] {
        assert_eq!(judge(kept, 100).outcome, Outcome::Fail);
        assert_eq!(judge(kept, 200).outcome, Outcome::Warn);
        assert_eq!(judge(kept, 400).outcome, Outcome::Ok);
    }
    // No upload needs room there.
    assert_eq!(judge(Kept::AllButStore, 100).outcome, Outcome::Warn);
    assert_eq!(judge(Kept::AllButStore, 400).outcome, Outcome::Ok);
}

#[test]
fn a_store_that_was_moved_is_looked_at_beside_the_data_folder_and_one_that_is_gone_fails() {
    let (data, disk) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let checked = || disk::checks(data.path(), Some(1));
    let names = |checks: &[Check]| checks.iter().map(|check| check.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&checked()), ["fsync latency", "free disk space"]);
    make_store(data.path()).unwrap();
    assert_eq!(names(&checked()), ["fsync latency", "free disk space"]);

    let to = disk.path().join("store");
    move_store(data.path(), &to, OldPlace::Removed, &mut |_| {}, &mut |_, _| {}).unwrap();
    let moved = checked();
    let both = [" of the data folder", " of the store"]
        .map(|place| ["fsync latency", "free disk space"].map(|name| format!("{name}{place}")))
        .concat();
    assert_eq!(names(&moved), both);
    assert!(moved[..2].iter().all(|check| check.detail.contains(&data.path().display().to_string())));
    assert!(moved[2..].iter().all(|check| check.detail.contains(&to.display().to_string())));

    std::fs::rename(&to, disk.path().join("unmounted")).unwrap();
    let absent = checked();
    assert_eq!((absent[0].name.as_str(), absent[0].outcome), ("store", Outcome::Fail));
    assert!(absent[0].detail.contains("is the disk mounted?"), "{}", absent[0].detail);
    assert_eq!(names(&absent[1..]), both[..2]);
}

#[test]
fn too_few_open_files_warn_and_far_too_few_fail() {
    assert_eq!(kernel::judge_files(100, 10).outcome, Outcome::Fail);
    assert_eq!(kernel::judge_files(1024, 1024).outcome, Outcome::Warn);
    assert_eq!(kernel::judge_files(u64::MAX, 1024).outcome, Outcome::Ok);
}

#[test]
fn kernel_settings_are_held_against_the_shipped_file() {
    let names: Vec<_> = kernel::wanted().map(|(name, _)| name).collect();
    for name in ["net.core.rmem_max", "net.core.wmem_max", "net.ipv4.tcp_congestion_control"] {
        assert!(names.contains(&name), "{name} isn't in the file");
    }
    let outcome = |wanted, actual| kernel::compare("x", wanted, actual).outcome;
    assert_eq!(outcome("bbr", Some("bbr\n")), Outcome::Ok);
    assert_eq!(outcome("bbr", Some("cubic\n")), Outcome::Warn);
    assert_eq!(outcome("100", Some("212992\n")), Outcome::Ok);
    assert_eq!(outcome("4096 1 100", Some("8\t9\t100\n")), Outcome::Ok);
    assert_eq!(outcome("4096 1 100", Some("4096\t1\t99\n")), Outcome::Warn);
    assert_eq!(outcome("100", None), Outcome::Warn);
}

#[tokio::test]
async fn the_members_of_a_running_node_are_dialled_and_neither_itself_nor_the_revoked() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("/ip4/127.0.0.1/tcp/{}", listener.local_addr().unwrap().port());
    let member = |state: &str, address: &str| json!({"state": state, "addresses": [address]});
    let status = json!({"members": [
        member("connected", &address),
        member("self", "/ip4/127.0.0.1/tcp/1"),
        member("revoked", "/ip4/127.0.0.1/tcp/2"),
    ]});
    assert_eq!(targets(Some(&status)), std::slice::from_ref(&address));
    assert!(targets(None).is_empty());
    let checks = network::peers(&[address]).await;
    assert_eq!(outcomes(&checks, "peer /ip4/127.0.0.1"), [Outcome::Ok]);
}

#[test]
fn false_checksums_are_named_with_who_claims_them() {
    let of = |claims: Value| claims::checks(&json!({ "claims": claims }));
    assert_eq!(claims::checks(&json!({})), None, "an older node");
    assert_eq!(of(json!({"false": 0, "confirmed_blobs": 7})).unwrap().outcome, Outcome::Ok);
    let first = json!({"repository": "libs", "path": "a/b.jar", "name": "paris", "sums": ["SHA-1", "MD5"]});
    let check = of(json!({"false": 2, "first": [first]})).unwrap();
    assert_eq!(check.outcome, Outcome::Warn);
    assert!(check.detail.contains("SHA-1, MD5 of libs/a/b.jar as 'paris' put it, and others"), "{}", check.detail);
}

#[tokio::test]
async fn a_fresh_folder_is_examined_without_a_node_and_leaked_keys_fail() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = taken.local_addr().unwrap();
    let given = [
        ("node.name", "berlin".to_owned()),
        ("http.listen", peer.to_string()),
        ("swarm.listen", "/ip4/127.0.0.1/tcp/0".to_owned()),
        ("swarm.bulk_listen", String::new()),
    ];
    let given = given.map(|(key, value)| Given { key, value });
    let file = sample(&load(None, [], &given).unwrap().origins);
    write_new(&folder.path().join(FILE_NAME), file.as_bytes(), 0o644).unwrap();
    std::fs::create_dir(folder.path().join("keys")).unwrap();
    Keys::generate().unwrap().write(folder.path()).unwrap();
    write_new(&folder.path().join("admin.token"), b"amt_x\n", 0o644).unwrap();

    let global = Global { data: Some(folder.path().to_owned()), ..Global::default() };
    let checks = examine(&global, folder.path()).await;
    assert_eq!(outcomes(&checks, "configuration"), [Outcome::Ok]);
    assert_eq!(outcomes(&checks, "key files"), [Outcome::Ok]);
    assert_eq!(outcomes(&checks, "administrator's token"), [Outcome::Fail]);
    assert_eq!(outcomes(&checks, "port of http.listen"), [Outcome::Fail]);
    assert_eq!(outcomes(&checks, "port of swarm.listen"), [Outcome::Ok]);
    assert!(checks.iter().all(|check| check.remedy.is_some() == (check.outcome != Outcome::Ok)));
    assert!(human(&checks).contains("chmod 600"));
    assert!(
        !folder
            .path()
            .read_dir()
            .unwrap()
            .any(|entry| { entry.unwrap().file_name().to_string_lossy().starts_with(".doctor") })
    );
}
