//! Pairing: answering newcomers, and being one.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use artimesh_core::model::{PublicKey, codec};
use artimesh_core::replica::{Command, CommandError};
use artimesh_core::trust::{PairingAnswer, PairingReason, PairingRequest, PairingToken};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::error::{CommandFailure, JoinError};
use super::handle::Engine;
use super::mind::Message;
use super::shared::Shared;
use super::snapshot::Life;
use crate::store::Account;

/// Pairing requests answered per minute; the rest are told to wait.
const PER_MINUTE_MAX: usize = 30;

/// How long a newcomer waits for the circle's log after it was admitted.
const LOG_WAIT: Duration = Duration::from_secs(30);

/// The bytes to answer a pairing request with. The reason for a refusal is told to its holder and logged.
pub(super) async fn answer(shared: &Arc<Shared>, peer: &PublicKey, request: &[u8], remote_address: &str) -> Vec<u8> {
    let result = admit(shared, peer, request).await;
    match &result {
        Ok(()) => tracing::info!(target: "audit", remote_address, "a pairing token was used"),
        Err(reason) => tracing::warn!(target: "audit", remote_address, %reason, "a pairing was refused"),
    }
    codec::encode(&match result {
        Ok(()) => PairingAnswer::Admitted,
        Err(reason) => PairingAnswer::Refused(reason),
    })
}

async fn admit(shared: &Arc<Shared>, peer: &PublicKey, request: &[u8]) -> Result<(), PairingReason> {
    let request: PairingRequest = codec::decode(request).map_err(|_| PairingReason::Altered)?;
    let verified = request.verify(shared.identity.node, &shared.pairing_key, peer)?;
    // Only those who hold a token count: rubbish from strangers must not keep the others out, and is bounded by the swarm.
    if !is_within_rate(shared) {
        return Err(PairingReason::RateLimited);
    }
    let circle = shared.snapshot.borrow().circle;
    if circle != Some(verified.token.circle) {
        return Err(PairingReason::Foreign);
    }
    let (answer, result) = oneshot::channel();
    let message = Message::Command {
        command: Box::new(Command::Admit(verified)),
        staged: None,
        account: Account::default(),
        since: Instant::now(),
        answer,
    };
    shared.inbox.send(message).await.map_err(|_| PairingReason::NotAllowed)?;
    match result.await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(CommandFailure::Refused(CommandError::Pairing(reason)))) => Err(reason),
        Ok(Err(_)) | Err(_) => Err(PairingReason::NotAllowed),
    }
}

fn is_within_rate(shared: &Shared) -> bool {
    let now = shared.clock.now().0;
    let mut recent = shared.pairings.lock().unwrap_or_else(PoisonError::into_inner);
    recent.retain(|at| now.abs_diff(*at) < 60_000);
    if recent.len() >= PER_MINUTE_MAX {
        return false;
    }
    recent.push(now);
    true
}

impl Engine {
    /// Joins the circle of a token: proves it to its issuer, and waits until the circle's log says that this node is a
    /// member. Safe to be called again with the same token when it failed on the way.
    pub async fn join(&self, line: &str) -> Result<PairingToken, JoinError> {
        let (token, held) = PairingToken::from_line(line)?;
        let shared = &self.shared;
        let identity = &shared.identity;
        let in_other = shared.snapshot.borrow().circle.is_some_and(|circle| circle != token.circle);
        if in_other {
            return Err(CommandFailure::Refused(CommandError::InCircle).into());
        }
        if shared.clock.now() >= token.expires_at {
            return Err(PairingReason::Expired.into());
        }
        let (name, keys, wall) = (identity.name.clone(), identity.keys, shared.clock.now());
        let request = PairingRequest::new(&held, name, keys, self.addresses(), wall);
        let (issuer, addresses) = (token.issuer_keys.transport, &token.addresses.control);
        let answer = shared.swarm.pair(issuer, addresses, &codec::encode(&request)).await?;
        match codec::decode(&answer).map_err(|_| JoinError::Answer)? {
            PairingAnswer::Refused(reason) => return Err(reason.into()),
            PairingAnswer::Admitted => {}
        }
        self.command(Command::Join(token.clone()), None).await?;
        let mut snapshots = self.watch();
        let granted = snapshots.wait_for(|snapshot| matches!(snapshot.life, Life::Member(_)));
        match timeout(LOG_WAIT, granted).await {
            Ok(Ok(_)) => Ok(token),
            Ok(Err(_)) | Err(_) => Err(JoinError::NotYet),
        }
    }
}
