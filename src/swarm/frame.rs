//! Frames: a length (u32, little endian) and that many bytes.

use std::io;

use bytes::Bytes;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The largest frame, bytes: a 1 MiB group and room for what describes it.
pub const FRAME_BYTES_MAX: usize = (1 << 20) + (64 << 10);

/// How much of a frame goes into one write with its length, so that small frames are one Yamux frame and one record.
pub(super) const JOINED_BYTES: usize = 64 << 10;

/// Why no frame was read or written.
#[derive(Debug)]
pub(super) enum FrameError {
    /// The other side ended the stream between frames.
    Ended,
    /// The length is over the limit.
    TooLarge(usize),
    /// The stream broke, perhaps within a frame.
    Broken(io::Error),
}

impl From<io::Error> for FrameError {
    fn from(error: io::Error) -> FrameError {
        FrameError::Broken(error)
    }
}

/// What a frame of so many bytes begins with.
pub(super) fn head(length: usize) -> [u8; 4] {
    u32::try_from(length).expect("FRAME_BYTES_MAX fits into 32 bits").to_le_bytes()
}

/// The length that a head tells, if it is at most `max`.
pub(super) fn length(head: [u8; 4], max: usize) -> Result<usize, FrameError> {
    let length = usize::try_from(u32::from_le_bytes(head)).unwrap_or(usize::MAX);
    if length > max { Err(FrameError::TooLarge(length)) } else { Ok(length) }
}

/// Reads one frame of at most `max` bytes. Must not be dropped halfway unless the stream is dropped too.
pub(super) async fn read<S: AsyncRead + Unpin>(stream: &mut S, max: usize) -> Result<Bytes, FrameError> {
    let mut head = [0; 4];
    if stream.read(&mut head[..1]).await? == 0 {
        return Err(FrameError::Ended);
    }
    stream.read_exact(&mut head[1..]).await?;
    let length = length(head, max)?;
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    Ok(Bytes::from(bytes))
}

/// Writes one frame without flushing it. Must not be dropped halfway unless the stream is dropped too.
pub(super) async fn write<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> Result<(), FrameError> {
    if bytes.len() > FRAME_BYTES_MAX {
        return Err(FrameError::TooLarge(bytes.len()));
    }
    let (first, rest) = bytes.split_at(bytes.len().min(JOINED_BYTES - 4));
    let mut joined = Vec::with_capacity(4 + first.len());
    joined.extend_from_slice(&head(bytes.len()));
    joined.extend_from_slice(first);
    stream.write_all(&joined).await?;
    stream.write_all(rest).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use futures::{executor::block_on, io::Cursor};

    use super::*;

    #[test]
    fn what_is_written_is_read_and_an_end_between_frames_is_told_from_one_within() {
        block_on(async {
            let large = vec![7; JOINED_BYTES + 5];
            let mut wire = Vec::new();
            for frame in [&b""[..], b"x", &large] {
                write(&mut wire, frame).await.unwrap();
            }
            let mut reader = Cursor::new(wire.clone());
            for frame in [&b""[..], b"x", &large] {
                assert_eq!(read(&mut reader, FRAME_BYTES_MAX).await.unwrap(), frame);
            }
            assert!(matches!(read(&mut reader, 1).await, Err(FrameError::Ended)));
            let mut reader = Cursor::new(&wire[..6]);
            read(&mut reader, 1).await.unwrap();
            assert!(matches!(read(&mut reader, 1).await, Err(FrameError::Broken(_))));
        });
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_anything_is_allocated() {
        block_on(async {
            let mut reader = Cursor::new(u32::MAX.to_le_bytes());
            assert!(matches!(read(&mut reader, 16).await, Err(FrameError::TooLarge(n)) if n == u32::MAX as usize));
            let oversized = vec![0; FRAME_BYTES_MAX + 1];
            assert!(matches!(write(&mut Vec::new(), &oversized).await, Err(FrameError::TooLarge(_))));
        });
    }
}
