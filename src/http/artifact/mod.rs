//! `/artifactory/{repo}/{path}`: artifacts, their checksum files, and folders as pages of links.

mod checksum_file;
mod delete;
mod disposition;
mod expected;
mod get;
mod listing;
mod multipart;
mod precondition;
mod put;
mod range;

pub use checksum_file::CONFIRMED_NOW_BYTES_MAX;
pub use delete::delete;
pub use disposition::attachment;
pub use get::get;
pub use precondition::check_meant;
pub use put::put;
