//! Compressing what goes out (RFC 1952), piece by piece.
//!
//! # Why
//! What is in a repository is compressed already for the most part. So what counts is how soon that is noticed, and that it doesn't
//! grow: flate2's own backend at its fastest level, on bytes that don't compress, is twice as fast as zlib-rs at the first
//! level that doesn't make them longer by a twentieth.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::{Stream, StreamExt, stream};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::http::body::Broken;
use crate::service::ServiceError;

type Encoder = GzEncoder<Vec<u8>>;

/// The same bytes, compressed fast. Each piece is compressed on a blocking thread, when one of the `turns` is free: nothing is
/// compressed before it is asked for.
pub fn compressed(
    pieces: impl Stream<Item = Result<Bytes, Broken>> + Send + 'static,
    turns: Arc<Semaphore>,
) -> impl Stream<Item = Result<Bytes, Broken>> + Send {
    let encoder = Some(GzEncoder::new(Vec::new(), Compression::fast()));
    stream::try_unfold((Box::pin(pieces), encoder, turns), |(mut pieces, encoder, turns)| async move {
        let Some(mut encoder) = encoder else { return Ok(None) };
        loop {
            let Some(piece) = pieces.next().await.transpose()? else {
                let bytes = encoder.finish().map_err(failed)?;
                return Ok(Some((Bytes::from(bytes), (pieces, None, turns))));
            };
            encoder = fed(encoder, piece, &turns).await?;
            let bytes = std::mem::take(encoder.get_mut());
            if !bytes.is_empty() {
                return Ok(Some((Bytes::from(bytes), (pieces, Some(encoder), turns))));
            }
        }
    })
}

async fn fed(mut encoder: Encoder, piece: Bytes, turns: &Arc<Semaphore>) -> Result<Encoder, Broken> {
    let turn = turns.clone().acquire_owned().await.map_err(failed)?;
    let work = move || {
        let _turn = turn;
        encoder.write_all(&piece).map(|()| encoder)
    };
    spawn_blocking(work).await.map_err(failed)?.map_err(failed)
}

/// It writes to memory, and its thread goes with the node.
fn failed(error: impl std::fmt::Display) -> Broken {
    ServiceError::Unavailable(format!("the archive can't be compressed: {error}")).into()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use futures::TryStreamExt;

    use super::*;

    #[tokio::test]
    async fn what_was_compressed_is_what_is_read_and_no_piece_is_empty() {
        let pieces = [&b""[..], b"one", &[7; 300_000], b"end"].map(Bytes::copy_from_slice);
        let whole = pieces.concat();
        let turns = Arc::new(Semaphore::new(1));
        let compressed: Vec<Bytes> =
            compressed(stream::iter(pieces.map(Ok)), turns).try_collect().await.expect("compressed");
        assert!(compressed.iter().all(|piece| !piece.is_empty()));
        let mut read = Vec::new();
        flate2::read::GzDecoder::new(&compressed.concat()[..]).read_to_end(&mut read).expect("gzip");
        assert!(read == whole);
    }

    #[tokio::test]
    async fn what_breaks_off_has_no_end() {
        let pieces = [Ok(Bytes::from_static(b"one")), Err(Broken::Long)];
        let all = compressed(stream::iter(pieces), Arc::new(Semaphore::new(1))).try_collect::<Vec<_>>().await;
        assert!(matches!(all, Err(Broken::Long)));
    }
}
