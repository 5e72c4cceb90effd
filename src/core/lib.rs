//! The pure rules of Artimesh.

pub mod model;
