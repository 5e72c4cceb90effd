//! Segments that no honest site would write, properly signed with the key of whoever is to be blamed.

use artimesh_core::changelog::{Change, Header, Sealed};
use artimesh_core::clock::Timestamp;
use artimesh_core::model::{CircleId, Context, Digest, Envelope, Head, Heads, Incarnation, Space};
use artimesh_core::replica::message::{Message, SegmentsMessage};

use super::site::Site;

/// What a forger says.
pub struct Forgery {
    pub space: Space,
    /// Continues this life's log.
    pub incarnation: Incarnation,
    /// Where that log ends.
    pub after: Head,
    pub context: Context,
    pub needs: Context,
    pub entries: Vec<Envelope>,
}

impl Forgery {
    /// Continues the log of `site`, claiming to know all that `heads` and `trust` cover.
    pub fn of(site: &Site, incarnation: Incarnation, space: Space, heads: &Heads, trust: &Heads) -> Forgery {
        debug_assert_eq!(site.node(), incarnation.node);
        let mut context = heads.to_context();
        context.0.remove(&incarnation);
        let needs = if space == Space::Trust { Context::default() } else { trust.to_context() };
        Forgery { space, incarnation, after: heads.of(&incarnation), context, needs, entries: Vec::new() }
    }

    pub fn says(mut self, change: &Change) -> Forgery {
        self.entries.push(change.to_envelope());
        self
    }

    pub fn signed(self, by: &Site, circle: &CircleId) -> Sealed {
        let header = Header {
            space: self.space,
            incarnation: self.incarnation,
            key: by.identity.keys.log,
            first_sequence: self.after.sequence + 1,
            entries: 0,
            previous: self.after.chain,
            context: self.context,
            needs: self.needs,
            root: Digest::ZERO,
            written_at: Timestamp(1),
        };
        Sealed::sign(header, self.entries, &by.identity.log_key, circle)
    }
}

/// A frame that carries these segments.
pub fn frame(space: Space, segments: &[&[u8]]) -> Vec<u8> {
    let segments = segments.iter().map(|bytes| bytes.to_vec()).collect();
    Message::Segments(SegmentsMessage { space, segments, more: false }).to_bytes()
}
