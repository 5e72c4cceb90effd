//! What libp2p runs on each swarm.

use std::{sync::Arc, time::Duration};

use libp2p::{
    gossipsub, identify,
    identity::Keypair,
    ping,
    swarm::{NetworkBehaviour, behaviour::toggle::Toggle},
};

use super::{
    admission::{Admission, Strangers},
    counters::Counters,
    gated::Gated,
    gossip,
    members::Members,
    options::Options,
    streams::{Accepted, BULK, CONTROL, PAIR, Streams},
};

/// Bulk streams that one peer may have open to us.
const BULK_STREAMS_MAX: usize = 16;

/// All behaviours of a swarm; those that a swarm hasn't are switched off.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    /// First, so that whoever is refused costs the others nothing.
    admission: Admission,
    pub(super) gossip: Toggle<Gated<gossipsub::Behaviour>>,
    identify: Toggle<Gated<identify::Behaviour>>,
    ping: Gated<ping::Behaviour>,
    pub(super) streams: Streams,
}

impl Behaviour {
    /// The control swarm: everything for members, pairing for everybody.
    pub(super) fn control(
        identity: &Keypair,
        members: &Arc<Members>,
        counters: &Arc<Counters>,
        options: &Options,
    ) -> Behaviour {
        let pair = Accepted { protocol: PAIR, streams_max: 1 };
        // Two, because a peer that wasn't acknowledged opens another before the first is dropped.
        let control = Accepted { protocol: CONTROL, streams_max: 2 };
        let identify = identify::Config::new("/artimesh/1".to_owned(), identity.public())
            .with_hide_listen_addrs(true)
            .with_cache_size(0)
            .with_interval(Duration::from_secs(3600));
        Behaviour {
            admission: Admission::new(members.clone(), counters.clone(), options.limits, Strangers::Limited),
            gossip: options.gossip.then(|| Gated::new(gossip::behaviour(), members.clone())).into(),
            identify: Some(Gated::new(identify::Behaviour::new(identify), members.clone())).into(),
            ping: Behaviour::ping(members, options),
            streams: Streams::new(members.clone(), counters.clone(), vec![control, pair.clone()], vec![pair]),
        }
    }

    /// The bulk swarm: bulk streams for members, nothing for others.
    pub(super) fn bulk(members: &Arc<Members>, counters: &Arc<Counters>, options: &Options) -> Behaviour {
        let bulk = Accepted { protocol: BULK, streams_max: BULK_STREAMS_MAX };
        Behaviour {
            admission: Admission::new(members.clone(), counters.clone(), options.limits, Strangers::Denied),
            gossip: None.into(),
            identify: None.into(),
            ping: Behaviour::ping(members, options),
            streams: Streams::new(members.clone(), counters.clone(), vec![bulk], Vec::new()),
        }
    }

    fn ping(members: &Arc<Members>, options: &Options) -> Gated<ping::Behaviour> {
        let interval = options.silence_max / 3;
        let config = ping::Config::new().with_interval(interval).with_timeout(interval * 2);
        Gated::new(ping::Behaviour::new(config), members.clone())
    }
}
