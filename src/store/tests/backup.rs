//! Backups: consistent while writes go on, and never taken for whole when they aren't.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::store::backup::{About, Failure, OwnFile, Plan, PlanError, read, write};

fn about() -> About {
    About::new(&"07".repeat(32).parse().unwrap(), &"berlin".parse().unwrap(), 1_700_000_000_000)
}

fn own() -> Vec<OwnFile> {
    vec![OwnFile { path: "keys/log.key".into(), bytes: b"secret".to_vec(), is_secret: true }]
}

fn archive(plan: &Plan) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(plan, &RealFiles, &mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, plan.archive_bytes(), "the length is known before");
    bytes
}

/// A store with two packs, one row, a small blob and a large one; then its backup.
async fn sample(folder: &Path) -> Vec<u8> {
    let options = Options { pack_bytes: 200_000, ..Options::default() };
    let (store, _) = Store::open(folder, options, Arc::new(RealFiles), ID).unwrap();
    put_blob(&store, &noise(1, 150_000)).await;
    put_blob(&store, &noise(2, 2_500_000)).await;
    put_blob(&store, &noise(3, 150_000)).await;
    store.commit(rows([put("key", b"value")])).await.unwrap();
    archive(&store.plan_backup(about(), own()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_holds_what_its_commit_had_while_writing_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { pack_bytes: 3_000_000, ..Options::default() };
    let (store, _) = Store::open(&folder.path().join("store"), options, Arc::new(RealFiles), ID).unwrap();
    let ended = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (store, ended) = (store.clone(), ended.clone());
        async move {
            let mut count = 0_u64;
            while !ended.load(Ordering::Relaxed) {
                let size = if count.is_multiple_of(8) { 1_200_000 } else { 30_000 };
                let staged = stage(&store, &noise(count, size)).await;
                let row = put(&format!("{count:08}"), &staged.digest().0);
                store.commit(Batch { blobs: vec![staged], ..rows([row]) }).await.unwrap();
                count += 1;
            }
            count
        }
    });
    for round in 0..5 {
        while store.usage().last_commit < 40 * (round + 1) {
            tokio::task::yield_now().await;
        }
        let plan = store.plan_backup(about(), own()).unwrap();
        let commit = plan.about().commit.unwrap();
        let into = folder.path().join(format!("copy-{round}"));
        std::fs::create_dir(&into).unwrap();
        let contents = read(archive(&plan).as_slice(), Some(&into)).unwrap();
        assert_eq!(contents.about, *plan.about());
        let (copy, recovery) = open(&into.join("store"));
        assert_eq!((recovery.last_commit, recovery.truncated_bytes, recovery.removed_files), (commit, 0, 0));
        let rows = copy.range(Tree::Catalog, b"", b"\xff", usize::MAX).unwrap();
        assert_eq!(rows.len() as u64, commit, "one row a commit, none missing and none too many");
        for (_, digest) in &rows {
            let digest = Digest(digest.as_slice().try_into().unwrap());
            let bytes = read_back(&copy, &digest).await;
            assert_eq!(blake3::hash(&bytes).as_bytes(), &digest.0);
        }
    }
    ended.store(true, Ordering::Relaxed);
    assert!(writer.await.unwrap() >= 200);
}

async fn read_back(store: &Store, digest: &Digest) -> Vec<u8> {
    super::read(store, digest).await.unwrap()
}

#[tokio::test]
async fn secrets_stay_secret_and_everything_has_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = sample(&folder.path().join("store")).await;
    let into = folder.path().join("copy");
    std::fs::create_dir(&into).unwrap();
    let contents = read(bytes.as_slice(), Some(&into)).unwrap();
    let names: Vec<&str> = contents.files.keys().map(String::as_str).collect();
    let packs: Vec<String> = (1..=names.len() - 2).map(|number| format!("store/packs/{number:016x}.pack")).collect();
    assert!(packs.len() >= 2, "{names:?}");
    assert_eq!(names[..2], ["keys/log.key", "store/large/0000000000000000.blob"]);
    assert_eq!(names[2..], packs);
    assert_eq!(into.join("keys/log.key").metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_backup_that_is_cut_off_or_altered_anywhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = sample(&folder.path().join("store")).await;
    // The last kilobyte is tar's own end.
    for length in (0..bytes.len() - 1024).step_by(40_009) {
        let failure = read(&bytes[..length], None).unwrap_err();
        assert!(matches!(failure, Failure::CutOff(_) | Failure::Foreign(_)), "{length}: {failure}");
    }
    for at in (0..bytes.len() - 1024).step_by(40_009) {
        let mut altered = bytes.clone();
        altered[at] ^= 1;
        assert!(read(altered.as_slice(), None).is_err(), "{at}");
    }
    read(bytes.as_slice(), None).unwrap();
}

#[test]
fn what_is_no_backup_is_called_so() {
    for foreign in [&b""[..], b"hello", &[7; 4096]] {
        assert!(matches!(read(foreign, None), Err(Failure::Foreign(_) | Failure::CutOff(_))));
    }
    let tar_of = |name: &str, text: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_data(&mut header, name, text.as_bytes()).unwrap();
        builder.into_inner().unwrap()
    };
    assert!(matches!(read(tar_of("etc/passwd", "x").as_slice(), None), Err(Failure::Foreign(_))));
    let newer = r#"{"format":9,"made_by":"artimesh 9.0.0","whatever":1}"#;
    let failure = read(tar_of("about.json", newer).as_slice(), None).unwrap_err().to_string();
    assert!(failure.contains("artimesh 9.0.0"), "{failure}");
}

#[tokio::test]
async fn a_store_without_one_of_its_packs_is_not_backed_up() {
    let folder = tempfile::tempdir().unwrap();
    sample(folder.path()).await;
    std::fs::remove_file(folder.path().join("packs/0000000000000001.pack")).unwrap();
    let plan = Plan::of_stopped(about(), own(), folder.path(), &RealFiles);
    assert!(matches!(plan, Err(PlanError::PackMissing(path)) if path.ends_with("0000000000000001.pack")));
}

#[tokio::test]
async fn a_stopped_store_is_copied_as_it_lies() {
    let folder = tempfile::tempdir().unwrap();
    sample(&folder.path().join("store")).await;
    let plan = Plan::of_stopped(about(), own(), &folder.path().join("store"), &RealFiles).unwrap();
    let into = folder.path().join("copy");
    std::fs::create_dir(&into).unwrap();
    read(archive(&plan).as_slice(), Some(&into)).unwrap();
    let (copy, recovery) = open(&into.join("store"));
    assert_eq!((copy.usage().blobs, recovery.last_commit), (3, 4));
    assert_eq!(copy.get(Tree::Catalog, b"key").unwrap(), Some(b"value".to_vec()));
}
