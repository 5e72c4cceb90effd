//! `/artifactory/api/storage/{repo}/{path}`: metadata of files and folders.

mod get;
mod list;
pub mod properties;

pub use get::get;
