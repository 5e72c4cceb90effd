//! What carries a connection's requests and answers.

use crate::service::Carriage;

/// A piece of a body over TLS: what rustls keeps for a socket that is full.
const TLS_PIECE_BYTES: u32 = 256 << 10;
/// A piece of a body over HTTP/2, of which a connection may have many under way.
const STREAM_PIECE_BYTES: u32 = 64 << 10;

/// What carries a connection's requests and answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// HTTP/1.1 on the bare socket.
    Plain,
    /// HTTP/1.1 inside of TLS.
    Tls,
    /// HTTP/2 inside of TLS.
    Http2,
}

impl Transport {
    /// How stored bytes are to be handed over. Encryption looks at them, so that they must not be a mapping, whose memory
    /// can fail: see `store::mapping`.
    pub fn carriage(self) -> Carriage {
        match self {
            Transport::Plain => Carriage::Mapped,
            Transport::Tls => Carriage::Copied { bytes_max: TLS_PIECE_BYTES },
            Transport::Http2 => Carriage::Copied { bytes_max: STREAM_PIECE_BYTES },
        }
    }

    /// What stands before `://` in links.
    pub fn scheme(self) -> &'static str {
        match self {
            Transport::Plain => "http",
            Transport::Tls | Transport::Http2 => "https",
        }
    }
}
