//! The pairing exchange: one request, one answer. What they say is the caller's business.

use std::time::Duration;

use artimesh_core::model::PublicKey;
use futures::AsyncWriteExt;
use libp2p::{PeerId, Stream, swarm::ConnectionId};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    error::PairError,
    event::Event,
    frame::{self, FrameError},
    net::Remote,
    streams::{Inbound, PAIR},
};

/// The longest request, bytes.
pub(super) const REQUEST_BYTES_MAX: usize = 16 << 10;

/// The longest answer, bytes: it has to fit into what a stranger is sent in all, 16 KiB with everything round it.
pub(super) const ANSWER_BYTES_MAX: usize = 8 << 10;

/// How long an exchange may take.
pub(super) const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(30);

/// Who asks, and from where.
pub(super) struct Asker {
    pub(super) peer: PublicKey,
    pub(super) remote_address: String,
}

/// How many exchanges a connection is good for, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rounds {
    /// A stranger's.
    One,
    /// A member's.
    Many,
}

/// Answers one exchange: hands the request to the caller and its answer to the peer.
pub(super) async fn serve(inbound: Inbound, asker: Asker, events: mpsc::Sender<Event>, rounds: Rounds) {
    let Inbound { mut stream, permit, .. } = inbound;
    let exchange = async {
        let request = frame::read(&mut stream, REQUEST_BYTES_MAX).await?.to_vec();
        let (reply, answer) = oneshot::channel();
        let Asker { peer, remote_address } = asker;
        if events.send(Event::Pairing { peer, remote_address, request, reply }).await.is_err() {
            return Ok(());
        }
        let Ok(answer) = answer.await else { return Ok(()) };
        if answer.len() > ANSWER_BYTES_MAX {
            return Err(FrameError::TooLarge(answer.len()));
        }
        frame::write(&mut stream, &answer).await?;
        stream.close().await?;
        Ok(())
    };
    match timeout(EXCHANGE_TIMEOUT, exchange).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(?error, "a pairing exchange failed"),
        Err(_) => tracing::debug!("a pairing exchange took too long"),
    }
    match rounds {
        Rounds::Many => drop(permit),
        Rounds::One => permit.forget(),
    }
}

/// Asks over a connection that was made for it.
pub(super) async fn ask(
    remote: &Remote,
    peer: PeerId,
    connection: ConnectionId,
    request: &[u8],
) -> Result<Vec<u8>, PairError> {
    let mut stream: Stream = remote.open(peer, Some(connection), PAIR).await.map_err(|_| PairError::NoAnswer)?;
    let exchange = async {
        frame::write(&mut stream, request).await?;
        stream.flush().await?;
        frame::read(&mut stream, ANSWER_BYTES_MAX).await
    };
    match exchange.await {
        Ok(answer) => Ok(answer.to_vec()),
        Err(FrameError::TooLarge(_) | FrameError::Ended | FrameError::Broken(_)) => Err(PairError::NoAnswer),
    }
}
