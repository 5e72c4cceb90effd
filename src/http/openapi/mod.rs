//! The surface as an OpenAPI 3.1 document, for people and for the tools that they make clients with.
//!
//! The table of routes says what there is, who may use it and what it does; this folder adds what goes in and comes out.
//! [`operations::of`] has an arm for every endpoint, so that one without a description doesn't compile, and a test holds
//! the document equal to the table.
//!
//! # Why
//! - Objects are closed: what isn't named isn't sent, and a client may rely on that. Only maps whose names are data, such
//!   as properties, are open.
//! - No answer is called `default`: an answer that nobody has described is a mistake, and a test can find it.
//! - Whether anybody may read is a setting of the site, and so the document says what holds at this one.

mod answer;
mod artifacts;
mod circle;
mod document;
mod federation;
mod operation;
mod operations;
mod problems;
mod repositories;
mod search;
mod shapes;
mod status;
mod storage;
mod system;
#[cfg(test)]
mod tests;
mod upkeep;
mod versions;

pub use answer::get;
