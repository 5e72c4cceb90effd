//! Settings of the HTTP server.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::timing::Audience;
use super::tls::TlsFiles;

/// What the server is told when it is bound; all bounds hold for each connection or request.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Threads that serve; 0 is one for each processor.
    pub threads: usize,
    /// How long a client may take for a request's headers, and to start its next request.
    pub header_timeout: Duration,
    /// How long a body may stand still, in either direction.
    pub idle_timeout: Duration,
    /// Request line and headers together, in bytes.
    pub max_header_bytes: usize,
    /// Connections served at once; more wait to be accepted.
    pub max_connections: usize,
    /// The longest artifact, in bytes.
    pub max_upload: u64,
    /// How long requests under way may go on when the server stops.
    pub grace: Duration,
    /// The certificate for HTTPS; `None` for plain HTTP only.
    pub tls: Option<TlsFiles>,
    /// Requests that take as long are told in the log; zero for none.
    pub slow_log: Duration,
    /// Who is told what an answer waited for.
    pub server_timing: Audience,
    /// How clients reach this node, `https://repo.example`, when it isn't the address they connect to.
    pub public_url: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8082)),
            threads: 0,
            header_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            max_header_bytes: 32 * 1024,
            max_connections: 1024,
            max_upload: 1 << 40,
            grace: Duration::from_secs(30),
            tls: None,
            slow_log: Duration::ZERO,
            server_timing: Audience::Nobody,
            public_url: None,
        }
    }
}
