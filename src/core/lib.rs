//! The pure rules of Artimesh.

pub mod access;
pub mod bundle;
pub mod catalog;
pub mod changelog;
pub mod clock;
pub mod model;
pub mod replica;
pub mod trust;
