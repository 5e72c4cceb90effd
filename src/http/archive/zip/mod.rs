//! Zip archives that are written in one pass (PKWARE's APPNOTE 6.3).
//!
//! # Why
//! - What is in a repository is compressed already, so nothing is compressed here. A file that is there as a whole is *stored*. A
//!   larger one's CRC isn't known before it was sent, so it stands behind the file; and since what is stored has no end of
//!   its own, readers that get the archive from a pipe refuse that combination. So it is a *deflate* stream of blocks that aren't
//!   compressed (RFC 1951, section 3.2.4), which every reader takes; its length is known beforehand.
//! - Of a file nothing is kept but its line of the directory, encoded: the crates that write zips keep several times that.

mod records;
mod writer;

pub use records::LINE_BYTES;
pub use writer::Zip;
