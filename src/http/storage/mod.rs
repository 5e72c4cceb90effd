//! `/artifactory/api/storage/{repo}/{path}`: metadata of files and folders.

mod get;
mod list;

pub use get::get;
