//! Requests → service calls → status codes: the surface that existing clients of artifact repositories speak.
//!
//! A request is matched against one static table ([`routes`]) on its undecoded target, its caller is recognised, and one
//! small function per resource asks the service. Whatever goes wrong is an [`HttpError`], and one file knows its status.
//! The folder `openapi` describes each of these routes for people and tools, and a test holds it equal to the table.
//!
//! # Why
//! - HTTP/1.1 on plain connections: every client speaks it, and one such connection carries a download as fast as the
//!   network takes it. HTTP/2 inside of TLS, for clients that ask many small things at once.
//! - Answers that refuse a body are sent before it is read, and the rest of it is read and thrown away for a moment:
//!   closing at once would reset the connection, and the client would never see why.
//! - A download that fails in the middle breaks its connection. Its length was promised, so it can't look whole.
//! - A browser that holds the administrator's password would send it along for other sites' pages too; requests that
//!   change something are refused when the browser says that they come from there.

mod answer;
mod archive;
mod artifact;
mod ask;
mod at_hand;
mod audit;
mod auth;
mod backup;
mod body;
mod cache;
mod caching;
mod connection;
mod dates;
mod dispatch;
mod endings;
mod error;
mod federation;
mod flow;
mod folder;
mod inbound;
mod item;
mod lingering;
mod links;
mod listeners;
mod mesh;
mod meter;
mod openapi;
mod options;
mod protocol;
mod relocation;
mod repositories;
mod request_id;
mod rollback;
mod routes;
mod search;
mod server;
mod stalling;
mod status;
mod storage;
mod system;
mod tally;
mod target;
mod threads;
mod timing;
mod tls;
mod transport;
mod ui;
mod upkeep;
mod versions;
mod whole;
mod wire;
mod within;

pub use error::HttpError;
pub use options::Options;
pub use routes::{Endpoint, Needs, Route, routes};
pub use server::Server;
pub use timing::Audience;
pub use tls::TlsFiles;
