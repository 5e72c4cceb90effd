//! What requests waited for is noted where it was waited.

use std::time::Duration;

use super::{noise, open};
use crate::store::groups::GROUP_BYTES;
use crate::store::{Account, Batch, Carriage, Part};

#[tokio::test]
async fn an_upload_and_its_first_download_note_what_they_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let bytes = noise(1, 3 * GROUP_BYTES);
    let upload = Account::open();
    let mut ingest = store.ingest().unwrap().noting(upload.clone());
    ingest.write(bytes.clone()).await.unwrap();
    let staged = ingest.finish().await.unwrap();
    let digest = staged.digest();
    let accounts = vec![upload.clone(), Account::default()];
    store.commit(Batch { blobs: vec![staged], accounts, ..Batch::default() }).await.unwrap();
    assert!(upload.of(Part::Hash) > Duration::ZERO && upload.of(Part::Sync) > Duration::ZERO, "{upload:?}");
    assert_eq!(upload.of(Part::Peer), Duration::ZERO);
    let download = Account::open();
    let carriage = Carriage::Copied { bytes_max: GROUP_BYTES as u32 };
    let reader = store.reader(&digest).unwrap().unwrap();
    let mut stream = reader.stream(0..bytes.len() as u64, carriage).noting(download.clone());
    let mut read = Vec::new();
    while let Some(piece) = stream.next().await {
        read.extend_from_slice(&piece.unwrap());
    }
    assert!(read == bytes);
    assert!(download.of(Part::Hash) > Duration::ZERO, "it was not verified since the start: {download:?}");
    assert_eq!(download.of(Part::Sync), Duration::ZERO);
    for (of, latencies) in store.syncs() {
        assert!(latencies.count > 0 && latencies.sum > Duration::ZERO, "{of}");
    }
}
