//! TCP, TLS 1.3 and Yamux in one piece.

use std::{sync::Arc, time::Duration};

use libp2p::{
    PeerId, Transport,
    core::{muxing::StreamMuxerBox, transport::Boxed, upgrade::Version},
    identity::Keypair,
    tcp,
};

use super::{early::Early, error::StartError, members::Members, muxer, tls};

/// How long a connection may take from its first packet to Yamux.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The transport of both swarms.
pub(super) fn transport(
    identity: &Keypair,
    members: Arc<Members>,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, StartError> {
    let tls = tls::Upgrade::new(identity, members)?;
    Ok(tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .map(|stream, end| if end.is_listener() { Early::inbound(stream) } else { Early::outbound(stream) })
        .upgrade(Version::V1Lazy)
        .authenticate(tls)
        .multiplex(muxer::Upgrade)
        .timeout(HANDSHAKE_TIMEOUT)
        .boxed())
}
