//! Several ranges in one answer: `multipart/byteranges` (RFC 9110 section 14.6, RFC 2046 section 5.1).

use std::ops::Range;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use hyper::header::HeaderValue;

use crate::http::ask::Ask;
use crate::http::body::{Body, Broken};
use crate::http::error::HttpError;
use crate::service::{Download, Item, ServiceError};

/// A message that is about to be sent. What stands between the parts is known before any of them is read.
#[derive(Debug)]
pub struct Multipart {
    boundary: String,
    /// The head of each part, and its bytes.
    parts: Vec<(Bytes, Range<u64>)>,
    end: Bytes,
}

impl Multipart {
    /// Of ranges of an artifact of `size` bytes. The boundary can't be guessed, so that no artifact can be made to hold it.
    pub fn new(media_type: &str, size: u64, ranges: Vec<Range<u64>>) -> Result<Multipart, HttpError> {
        let mut random = [0; 16];
        let no_dice = |error: getrandom::Error| ServiceError::Unavailable(error.to_string());
        getrandom::fill(&mut random).map_err(no_dice)?;
        Ok(Multipart::with_boundary(data_encoding::HEXLOWER.encode(&random), media_type, size, ranges))
    }

    fn with_boundary(boundary: String, media_type: &str, size: u64, ranges: Vec<Range<u64>>) -> Multipart {
        let head = |range: &Range<u64>| {
            let (first, last) = (range.start, range.end - 1);
            let text = format!(
                "\r\n--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: bytes {first}-{last}/{size}\r\n\r\n"
            );
            Bytes::from(text)
        };
        let parts = ranges.into_iter().map(|range| (head(&range), range)).collect();
        let end = format!("\r\n--{boundary}--\r\n").into();
        Multipart { boundary, parts, end }
    }

    /// The type of the whole message.
    pub fn content_type(&self) -> HeaderValue {
        let text = format!("multipart/byteranges; boundary={}", self.boundary);
        HeaderValue::try_from(text).expect("hexadecimal digits are ASCII")
    }

    /// Bytes of the whole message.
    pub fn length(&self) -> u64 {
        let part = |(head, range): &(Bytes, Range<u64>)| head.len() as u64 + range.end - range.start;
        self.parts.iter().map(part).sum::<u64>() + self.end.len() as u64
    }

    /// The message. The first part is asked for at once, so that bytes which nobody has are an answer of their own.
    pub async fn body(self, ask: &Ask, item: &Item) -> Result<Body, HttpError> {
        let length = self.length();
        let Multipart { parts, end, .. } = self;
        let (service, caller, item, carriage) =
            (ask.service().clone(), ask.caller.clone(), item.clone(), ask.transport.carriage());
        let open = move |range| {
            let (service, caller, item) = (service.clone(), caller.clone(), item.clone());
            async move { service.download(&caller, &item, range, carriage).await }
        };
        let mut parts = parts.into_iter();
        let Some((head, range)) = parts.next() else { return Ok(Body::empty()) };
        let mut download = open(range).await?;
        let first = download.next().await.transpose()?;
        let first = stream::iter([Ok(head)].into_iter().chain(first.map(Ok))).chain(pieces(download));
        let rest = stream::iter(parts).then(move |(head, range)| {
            let opening = open(range);
            async move {
                let download = opening.await.map_err(Broken::from);
                let (failed, download) = match download {
                    Ok(download) => (None, Some(download)),
                    Err(error) => (Some(Err(error)), None),
                };
                let pieces = stream::iter(download).flat_map(pieces);
                stream::iter([Ok(head)].into_iter().chain(failed)).chain(pieces)
            }
        });
        Ok(Body::sized(first.chain(rest.flatten()).chain(stream::iter([Ok(end)])), length))
    }
}

fn pieces(download: Download) -> impl futures::Stream<Item = Result<Bytes, Broken>> + Send {
    stream::unfold(download, |mut download| async move {
        let piece = download.next().await?;
        Some((piece.map_err(Broken::from), download))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_the_heads_that_the_rfc_shows_and_the_length_that_it_says() {
        let message = Multipart::with_boundary("xyz".into(), "text/plain", 10, vec![0..2, 7..10]);
        let bytes = b"0123456789";
        let mut whole = Vec::new();
        for (head, range) in &message.parts {
            whole.extend_from_slice(head);
            whole.extend_from_slice(&bytes[range.start as usize..range.end as usize]);
        }
        whole.extend_from_slice(&message.end);
        let expected = "\r\n--xyz\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n01\
                        \r\n--xyz\r\nContent-Type: text/plain\r\nContent-Range: bytes 7-9/10\r\n\r\n789\r\n--xyz--\r\n";
        assert_eq!(String::from_utf8_lossy(&whole), expected);
        assert_eq!(message.length(), expected.len() as u64);
        assert_eq!(message.content_type(), "multipart/byteranges; boundary=xyz");
    }

    #[test]
    fn boundaries_differ() {
        let boundary = || Multipart::new("a/b", 10, vec![0..1, 2..3]).expect("dice").boundary;
        assert_ne!(boundary(), boundary());
    }
}
