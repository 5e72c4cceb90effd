//! `/artifactory/api/archive/download/{repo}/{path}`: a folder, or a file, as one archive, made while it is sent.
//!
//! [`get`] answers, [`walk`] goes through the folder and is the body, [`zip`] and [`tarball`] are the formats, and [`gzip`]
//! compresses a tarball on its way out.
//!
//! - **What is in it:** the files that the caller may read, each as it stands when its turn comes, and folders that
//!   were made as such; of versions in conflict the one that a download gives. Names are relative to the folder that was asked
//!   for, so that unpacking gives what is in it; an archive of a file has that file. Times are those of the
//!   last change.
//! - **What isn't there when its turn comes** was deleted meanwhile, and is left out. Bytes that nobody has break the
//!   archive off, so that nobody takes a part for the whole; if they are the first to be sent, they are an answer of their own.
//! - **How it is counted:** an archive is one line of the audit log. Each file in it counts as downloaded, for who asks
//!   what can be deleted because nobody wants it asks for that.
//!
//! # Why
//! - An archive has no bound but its own: at most some pieces of it are in memory. A zip alone has its directory at the end,
//!   which grows with each file: see [`limits`].
//! - Nothing here reads a mapping (see `store::mapping`): a plain tarball hands the pieces of large files on untouched,
//!   for the kernel to send them; the other formats have to look at them, and ask for copies.

mod get;
mod gzip;
mod kind;
mod limits;
mod out;
mod tarball;
mod walk;
mod zip;

pub use get::get;
pub use kind::Kind;
pub use limits::Limits;
