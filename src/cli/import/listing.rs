//! A long JSON document that is read while it comes: `{"results":[{…},{…}],"range":{…}}`.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::Response;
use hyper::body::Incoming;

use crate::cli::client::ANSWER_TIMEOUT;

/// The longest row that is taken: one file may have 128 properties of 64 values, each told with its name.
const ROW_BYTES_MAX: usize = 4 << 20;
/// The deepest nesting that is taken.
const DEPTH_MAX: usize = 32;

/// An object of the document.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli) enum Piece<'text> {
    /// One of a list.
    Row(&'text [u8]),
    /// One that stands beside the list.
    Beside(&'text [u8]),
}

/// The document isn't one, or not whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::cli) enum BadListing {
    /// It is no JSON of this shape.
    #[error("the list is not the JSON that was expected")]
    Shape,
    /// A row is longer than any can be.
    #[error("the list has a row of more than {ROW_BYTES_MAX} bytes")]
    Row,
    /// It broke off: what is missing is unknown.
    #[error("the list broke off")]
    Short,
}

/// Finds where objects begin and end; what is in them is for others.
#[derive(Default)]
pub(in crate::cli) struct Splitter {
    open: Vec<u8>,
    in_string: bool,
    is_escaped: bool,
    object: Vec<u8>,
    is_done: bool,
}

impl Splitter {
    /// Takes the next bytes, and calls `each` for every object that ends in them.
    pub(in crate::cli) fn feed<E: From<BadListing>>(
        &mut self,
        bytes: &[u8],
        each: &mut impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        for &byte in bytes {
            let is_kept = !self.object.is_empty() || self.opens_object(byte);
            let ended = self.step(byte)?;
            if is_kept {
                self.object.push(byte);
                if self.object.len() > ROW_BYTES_MAX {
                    return Err(BadListing::Row.into());
                }
            }
            if ended {
                let object = std::mem::take(&mut self.object);
                each(if self.open.len() == 2 { Piece::Row(&object) } else { Piece::Beside(&object) })?;
                self.object = object;
                self.object.clear();
            }
        }
        Ok(())
    }

    /// The end, which must be one.
    pub(in crate::cli) fn finish(&self) -> Result<(), BadListing> {
        if self.is_done { Ok(()) } else { Err(BadListing::Short) }
    }

    /// Whether an object that is told begins here: in a list of the outermost one, or directly in that.
    fn opens_object(&self, byte: u8) -> bool {
        byte == b'{' && !self.in_string && (self.open == b"{[" || self.open == b"{")
    }

    /// Follows the syntax; tells whether an object ended that is told.
    fn step(&mut self, byte: u8) -> Result<bool, BadListing> {
        if self.in_string {
            self.in_string = self.is_escaped || byte != b'"';
            self.is_escaped = !self.is_escaped && byte == b'\\';
            return Ok(false);
        }
        if self.open.is_empty() && (self.is_done || byte != b'{') {
            return if byte.is_ascii_whitespace() { Ok(false) } else { Err(BadListing::Shape) };
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' if self.open.len() == DEPTH_MAX => return Err(BadListing::Shape),
            b'{' | b'[' => self.open.push(byte),
            b'}' | b']' => {
                let opened = self.open.pop();
                if opened != Some(if byte == b'}' { b'{' } else { b'[' }) {
                    return Err(BadListing::Shape);
                }
                self.is_done = self.open.is_empty();
                return Ok(byte == b'}' && (self.open == b"{[" || self.open == b"{"));
            }
            _ => {}
        }
        Ok(false)
    }
}

/// Reads a whole answer; `each` is called for every object.
///
/// # Errors
/// What `each` says; the list makes no sense, broke off, or stood still for a minute.
pub(in crate::cli) async fn read(
    mut response: Response<Incoming>,
    mut each: impl FnMut(Piece<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut splitter = Splitter::default();
    loop {
        let frame = tokio::time::timeout(ANSWER_TIMEOUT, response.frame()).await;
        let Some(frame) = frame.map_err(|_| anyhow::anyhow!("nothing of the list came for a minute"))? else { break };
        let frame = frame.map_err(|error| anyhow::anyhow!("{}: {error}", BadListing::Short))?;
        let bytes = frame.into_data().unwrap_or_else(|_| Bytes::new());
        splitter.feed(&bytes, &mut each)?;
    }
    Ok(splitter.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str, step: usize) -> Result<Vec<String>, BadListing> {
        let mut splitter = Splitter::default();
        let mut pieces = Vec::new();
        for part in text.as_bytes().chunks(step) {
            splitter.feed(part, &mut |piece| {
                let (mark, bytes) = match piece {
                    Piece::Row(bytes) => ("row", bytes),
                    Piece::Beside(bytes) => ("beside", bytes),
                };
                pieces.push(format!("{mark} {}", String::from_utf8_lossy(bytes)));
                Ok::<(), BadListing>(())
            })?;
        }
        splitter.finish().map(|()| pieces)
    }

    #[test]
    fn objects_are_found_wherever_the_text_is_cut() {
        let text = r#" {"uri":"a{[\"\\","results" : [ {"a":"}]\"","b":[{"c":1}]} ,{} ],"n":1,"range":{"t":{"u":2}}} "#;
        let expected = [r#"row {"a":"}]\"","b":[{"c":1}]}"#, "row {}", r#"beside {"t":{"u":2}}"#];
        for step in 1..=text.len() {
            assert_eq!(split(text, step).unwrap(), expected, "in pieces of {step}");
        }
    }

    #[test]
    fn what_broke_off_or_is_something_else_is_no_list() {
        for text in ["", "{", r#"{"results":[{"a":1}"#, r#"{"results":[{"a":1}]"#] {
            assert_eq!(split(text, 5), Err(BadListing::Short), "{text}");
        }
        for text in ["<html>", "[]", "{]", "{}{}", &"{\"a\":".repeat(100), "{\"a\":[}"] {
            assert_eq!(split(text, 5), Err(BadListing::Shape), "{text}");
        }
        let long = format!(r#"{{"results":[{{"a":"{}"}}]}}"#, "x".repeat(5 << 20));
        assert_eq!(split(&long, 1000), Err(BadListing::Row));
    }
}
