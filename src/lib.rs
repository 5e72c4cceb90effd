//! Artimesh.

pub mod cli;
pub mod config;
pub mod console;
pub mod engine;
pub mod formats;
pub mod http;
pub mod node;
pub mod service;
pub mod store;
pub mod swarm;
