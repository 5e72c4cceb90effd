//! Package formats: views over paths. So far the one that fits everything: files with names.

mod generic;

pub use generic::{Algorithm, media_type, sidecar};
