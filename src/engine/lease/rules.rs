//! The rules of leases, for one node: a state machine without I/O, clock or dice.
//!
//! Its time is [`Steady`]: what has passed since the process began. It is told what happens and says what may be done; who
//! calls it holds a lock for that one moment, so each answer is true when it is given.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use artimesh_core::model::{Digest, NodeId, Space};

/// The longest lease: how long a node binds itself at once.
pub const TERM_MAX: Duration = Duration::from_secs(600);

/// Blobs that are on their way out at once.
pub const INTENTS_MAX: usize = 8192;

/// Grants in force: to all, and to one node.
const GRANTS_MAX: usize = 1 << 16;
const GRANTS_OF_ONE_MAX: usize = 1 << 14;

/// Time since the process began, by a clock that is never set.
pub type Steady = Duration;

/// One attempt to let blobs go.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Ticket(u64);

/// Why a blob is about to be removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Removal {
    /// Nothing here relies on it: it is garbage, or a mere cache.
    Unneeded,
    /// Its bytes aren't what they were: there is nothing left to keep a promise with.
    Rotten,
    /// This node would do without it.
    LetGo(Ticket),
}

/// What a node answers to who asks it for a lease on a blob that it holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It keeps the blob until then, once that is durable.
    Granted(Steady),
    /// It is about to let the blob go itself.
    Going,
    /// It has granted as much as it grants.
    TooMany,
}

/// Why no attempt to let a blob go can begin now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bound {
    /// Another node has a lease on it.
    Leased,
    /// It is on its way out already, or too many others are.
    Busy,
}

/// A blob that this node would let go.
#[derive(Debug)]
struct Intent {
    ticket: Ticket,
    /// How many leases it takes in which space; `None` until that is known.
    needs: Option<BTreeMap<Space, usize>>,
    /// Leases of others, and until when they hold by this node's clock.
    leases: BTreeMap<(Space, NodeId), Steady>,
    /// Something was written meanwhile that names it: what it takes isn't known any more.
    is_named: bool,
}

/// What a node has promised, and what it intends.
#[derive(Debug)]
pub struct Rules {
    me: NodeId,
    tickets: u64,
    intents: BTreeMap<Digest, Intent>,
    /// Being removed at this moment.
    going: BTreeSet<Digest>,
    grants: BTreeMap<Digest, BTreeMap<NodeId, Steady>>,
    /// How many of them each node has, so that none has all.
    counts: BTreeMap<NodeId, usize>,
    /// Until then everything counts as leased.
    all_until: Steady,
    /// A rule that is left out: the tests must notice.
    #[cfg(test)]
    pub flaw: Option<super::races::Flaw>,
}

impl Rules {
    /// A node that has promised nothing.
    pub fn new(me: NodeId) -> Rules {
        Rules {
            me,
            tickets: 0,
            intents: BTreeMap::new(),
            going: BTreeSet::new(),
            grants: BTreeMap::new(),
            counts: BTreeMap::new(),
            all_until: Steady::ZERO,
            #[cfg(test)]
            flaw: None,
        }
    }

    /// Keeps everything until then: promises may have been made that nobody here remembers.
    pub fn keep_all(&mut self, until: Steady) {
        self.all_until = self.all_until.max(until);
    }

    /// Remembers a promise, made now or in an earlier life of the process.
    pub fn promised(&mut self, digest: Digest, to: NodeId, until: Steady) {
        let of_blob = self.grants.entry(digest).or_default();
        match of_blob.get_mut(&to) {
            Some(known) => *known = (*known).max(until),
            None => {
                of_blob.insert(to, until);
                *self.counts.entry(to).or_default() += 1;
            }
        }
    }

    /// Forgets promises whose time is over; which ones.
    pub fn expire(&mut self, now: Steady) -> Vec<(Digest, NodeId)> {
        let mut over = Vec::new();
        self.grants.retain(|digest, of_blob| {
            of_blob.retain(|node, until| {
                let is_over = *until <= now;
                if is_over {
                    over.push((*digest, *node));
                }
                !is_over
            });
            !of_blob.is_empty()
        });
        for (_, node) in &over {
            if let Some(count) = self.counts.get_mut(node) {
                *count -= 1;
            }
        }
        self.counts.retain(|_, count| *count > 0);
        over
    }

    /// Whether a promise isn't forgotten yet.
    pub fn has_promised(&self, digest: &Digest, to: &NodeId) -> bool {
        self.grants.get(digest).is_some_and(|nodes| nodes.contains_key(to))
    }

    fn is_leased(&self, digest: &Digest, now: Steady) -> bool {
        let of_blob = self.grants.get(digest);
        now < self.all_until || of_blob.is_some_and(|nodes| nodes.values().any(|until| now < *until))
    }

    /// Another node asks for a lease on a blob of which this node has the bytes. Whoever calls this looks again behind it
    /// whether they are still here, and makes the promise durable before it is told.
    pub fn request(&mut self, asker: NodeId, digest: Digest, term: Duration, now: Steady) -> Verdict {
        if asker == self.me || self.going.contains(&digest) {
            return Verdict::Going;
        }
        if let Some(intent) = self.intents.get(&digest) {
            // Of two that would let go of it at once one gives way, which one differs from blob to blob. Who has a lease
            // already doesn't: it needs no more of the other.
            let gives_way = intent.leases.is_empty() && precedes(&digest, &asker, &self.me);
            if !gives_way && !self.is_flawed_to_grant() {
                return Verdict::Going;
            }
            if gives_way {
                self.intents.remove(&digest);
            }
        }
        let is_new = !self.grants.get(&digest).is_some_and(|nodes| nodes.contains_key(&asker));
        if is_new && !self.has_room(&asker, now) {
            return Verdict::TooMany;
        }
        let until = now + term.min(TERM_MAX);
        self.promised(digest, asker, until);
        Verdict::Granted(until)
    }

    #[cfg(test)]
    fn is_flawed_to_grant(&self) -> bool {
        self.flaw == Some(super::races::Flaw::GrantsWhatItIntends)
    }

    #[cfg(not(test))]
    fn is_flawed_to_grant(&self) -> bool {
        false
    }

    fn has_room(&mut self, asker: &NodeId, now: Steady) -> bool {
        let is_full = |rules: &Rules| {
            rules.counts.get(asker).is_some_and(|count| *count >= GRANTS_OF_ONE_MAX)
                || rules.counts.values().sum::<usize>() >= GRANTS_MAX
        };
        if is_full(self) {
            // Rows of what is forgotten here are swept by the next start.
            self.expire(now);
        }
        !is_full(self)
    }

    /// The number of an attempt.
    pub fn begin(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    /// Declares that this node would let a blob go. From now on it grants no lease on it, until the attempt has ended.
    pub fn intend(&mut self, ticket: Ticket, digest: Digest, now: Steady) -> Result<(), Bound> {
        if self.is_leased(&digest, now) {
            return Err(Bound::Leased);
        }
        if self.intents.contains_key(&digest) || self.going.contains(&digest) || self.intents.len() >= INTENTS_MAX {
            return Err(Bound::Busy);
        }
        let intent = Intent { ticket, needs: None, leases: BTreeMap::new(), is_named: false };
        self.intents.insert(digest, intent);
        Ok(())
    }

    fn intent(&mut self, ticket: Ticket, digest: &Digest) -> Option<&mut Intent> {
        self.intents.get_mut(digest).filter(|intent| intent.ticket == ticket)
    }

    /// How many leases it takes, by space: as many other mirrors must have promised to keep the blob.
    pub fn needs(&mut self, ticket: Ticket, digest: &Digest, needs: BTreeMap<Space, usize>) {
        if let Some(intent) = self.intent(ticket, digest) {
            intent.needs = Some(needs);
        }
    }

    /// A lease has come. It holds until then by this node's clock, counted from when it was asked for.
    pub fn leased(&mut self, ticket: Ticket, digest: &Digest, space: Space, holder: NodeId, until: Steady) {
        if holder == self.me {
            return;
        }
        if let Some(intent) = self.intent(ticket, digest) {
            intent.leases.insert((space, holder), until);
        }
    }

    /// Whether there are blobs on their way out, so that it must be told what is named.
    pub fn has_intents(&self) -> bool {
        !self.intents.is_empty()
    }

    /// Something is about to be written that names the blob; `None` when nobody knows which.
    pub fn named(&mut self, digest: Option<&Digest>) {
        match digest {
            Some(digest) => self.intents.get_mut(digest).into_iter().for_each(|intent| intent.is_named = true),
            None => self.intents.values_mut().for_each(|intent| intent.is_named = true),
        }
    }

    /// How many leases are still lacking in a space; `None` when the attempt is over for this blob.
    pub fn lacks(&self, ticket: Ticket, digest: &Digest, space: &Space, now: Steady) -> Option<usize> {
        let intent = self.intents.get(digest).filter(|intent| intent.ticket == ticket && !intent.is_named)?;
        let needed = intent.needs.as_ref()?.get(space).copied().unwrap_or(0);
        let (from, to) = ((*space, NodeId([0; 32])), (*space, NodeId([u8::MAX; 32])));
        let had = intent.leases.range(from..=to).filter(|(_, until)| now < **until).count();
        Some(needed.saturating_sub(had))
    }

    /// **The one rule for whoever removes a blob**: whether that may be done now. If so nobody gets a lease on it until
    /// [`Rules::removed`].
    pub fn may_remove(&mut self, digest: &Digest, why: Removal, now: Steady) -> bool {
        let may = match why {
            Removal::Rotten => true,
            Removal::Unneeded => !self.is_leased(digest, now),
            Removal::LetGo(ticket) => self.may_let_go(ticket, digest, now),
        };
        if may {
            self.going.insert(*digest);
        }
        may
    }

    fn may_let_go(&self, ticket: Ticket, digest: &Digest, now: Steady) -> bool {
        let intent = self.intents.get(digest).filter(|intent| intent.ticket == ticket);
        let needs = intent.and_then(|intent| intent.needs.as_ref());
        needs.is_some_and(|needs| needs.keys().all(|space| self.lacks(ticket, digest, space, now) == Some(0)))
            && intent.is_some_and(|intent| !intent.is_named)
    }

    /// It was removed, or wasn't: either is decided now.
    pub fn removed(&mut self, digest: &Digest) {
        self.going.remove(digest);
    }

    /// Whether it is being removed at this moment.
    #[cfg(test)]
    pub fn is_going(&self, digest: &Digest) -> bool {
        self.going.contains(digest)
    }

    /// An attempt has ended, for all its blobs.
    pub fn end(&mut self, ticket: Ticket) {
        self.intents.retain(|_, intent| intent.ticket != ticket);
    }
}

/// Who of two goes first with a blob.
fn precedes(digest: &Digest, one: &NodeId, other: &NodeId) -> bool {
    let rank = |node: &NodeId| Digest::derived("artimesh/lease-order/v1", &[digest.0, node.0].concat());
    (rank(one), one) < (rank(other), other)
}

#[cfg(test)]
mod tests {
    use artimesh_core::model::FederationId;

    use super::*;

    const BLOB: Digest = Digest([7; 32]);
    const TERM: Duration = Duration::from_secs(60);

    fn node(number: u8) -> NodeId {
        NodeId([number; 32])
    }

    fn space(number: u8) -> Space {
        Space::Federation(FederationId([number; 32]))
    }

    fn seconds(count: u64) -> Steady {
        Duration::from_secs(count)
    }

    /// Who goes first with [`BLOB`], and who second, of nodes 1 and 2.
    fn ordered() -> [NodeId; 2] {
        if precedes(&BLOB, &node(1), &node(2)) { [node(1), node(2)] } else { [node(2), node(1)] }
    }

    #[test]
    fn what_was_promised_stays_until_then_unless_it_rotted() {
        let mut rules = Rules::new(node(1));
        assert_eq!(rules.request(node(2), BLOB, TERM, seconds(10)), Verdict::Granted(seconds(70)));
        let ticket = rules.begin();
        assert_eq!(rules.intend(ticket, BLOB, seconds(69)), Err(Bound::Leased));
        assert!(!rules.may_remove(&BLOB, Removal::Unneeded, seconds(69)));
        assert!(rules.may_remove(&BLOB, Removal::Rotten, seconds(69)));
        rules.removed(&BLOB);
        assert!(rules.may_remove(&BLOB, Removal::Unneeded, seconds(70)));
        assert_eq!(rules.expire(seconds(70)), [(BLOB, node(2))]);
    }

    #[test]
    fn no_promise_is_longer_than_the_longest_and_a_shorter_one_takes_nothing_back() {
        let mut rules = Rules::new(node(1));
        let long = rules.request(node(2), BLOB, Duration::MAX, seconds(1));
        assert_eq!(long, Verdict::Granted(seconds(1) + TERM_MAX));
        rules.request(node(2), BLOB, TERM, seconds(2));
        assert!(!rules.may_remove(&BLOB, Removal::Unneeded, seconds(500)));
    }

    #[test]
    fn a_blob_goes_only_when_all_leases_that_it_takes_are_there_and_in_force() {
        let mut rules = Rules::new(node(1));
        let ticket = rules.begin();
        rules.intend(ticket, BLOB, seconds(0)).unwrap();
        assert!(!rules.may_remove(&BLOB, Removal::LetGo(ticket), seconds(0)), "nobody knows yet what it takes");
        rules.needs(ticket, &BLOB, BTreeMap::from([(space(1), 2), (space(2), 1)]));
        rules.leased(ticket, &BLOB, space(1), node(2), seconds(50));
        rules.leased(ticket, &BLOB, space(1), node(2), seconds(60));
        rules.leased(ticket, &BLOB, space(2), node(2), seconds(60));
        assert_eq!(rules.lacks(ticket, &BLOB, &space(1), seconds(1)), Some(1), "one mirror counts once");
        rules.leased(ticket, &BLOB, space(1), node(1), seconds(60));
        assert!(!rules.may_remove(&BLOB, Removal::LetGo(ticket), seconds(1)), "its own word doesn't count");
        rules.leased(ticket, &BLOB, space(1), node(3), seconds(40));
        assert!(!rules.may_remove(&BLOB, Removal::LetGo(ticket), seconds(40)), "one has ended");
        assert!(rules.may_remove(&BLOB, Removal::LetGo(ticket), seconds(39)));
        assert_eq!(rules.request(node(4), BLOB, TERM, seconds(39)), Verdict::Going);
    }

    #[test]
    fn what_comes_for_an_attempt_that_has_ended_counts_for_nothing() {
        let mut rules = Rules::new(node(1));
        let (first, second) = (rules.begin(), rules.begin());
        rules.intend(first, BLOB, seconds(0)).unwrap();
        rules.end(first);
        rules.intend(second, BLOB, seconds(0)).unwrap();
        rules.needs(second, &BLOB, BTreeMap::from([(space(1), 1)]));
        rules.leased(first, &BLOB, space(1), node(2), seconds(50));
        assert!(!rules.may_remove(&BLOB, Removal::LetGo(first), seconds(1)));
        assert!(!rules.may_remove(&BLOB, Removal::LetGo(second), seconds(1)));
    }

    #[test]
    fn what_is_named_meanwhile_stays() {
        for named in [Some(&BLOB), None] {
            let mut rules = Rules::new(node(1));
            let ticket = rules.begin();
            rules.intend(ticket, BLOB, seconds(0)).unwrap();
            rules.needs(ticket, &BLOB, BTreeMap::new());
            rules.named(named);
            assert!(!rules.may_remove(&BLOB, Removal::LetGo(ticket), seconds(0)));
        }
    }

    #[test]
    fn of_two_that_ask_each_other_the_second_gives_way_and_the_first_refuses() {
        let [first, second] = ordered();
        let mut one = Rules::new(first);
        let mut other = Rules::new(second);
        for rules in [&mut one, &mut other] {
            let ticket = rules.begin();
            rules.intend(ticket, BLOB, seconds(0)).unwrap();
            rules.needs(ticket, &BLOB, BTreeMap::from([(space(1), 1)]));
        }
        assert_eq!(one.request(second, BLOB, TERM, seconds(1)), Verdict::Going);
        assert_eq!(other.request(first, BLOB, TERM, seconds(1)), Verdict::Granted(seconds(61)));
        assert!(!other.may_remove(&BLOB, Removal::LetGo(Ticket(1)), seconds(1)));
        // The first has a third one's lease by then: it needs nothing of the second, and may be on its way out.
        one.leased(Ticket(1), &BLOB, space(1), node(3), seconds(60));
        let third = (4..).map(node).find(|third| precedes(&BLOB, third, &first)).unwrap();
        assert_eq!(one.request(third, BLOB, TERM, seconds(2)), Verdict::Going);
    }

    #[test]
    fn who_lived_before_the_last_backup_keeps_all_for_as_long_as_a_promise_may_last() {
        let mut rules = Rules::new(node(1));
        rules.keep_all(seconds(600));
        assert!(!rules.may_remove(&BLOB, Removal::Unneeded, seconds(599)));
        assert!(rules.may_remove(&BLOB, Removal::Unneeded, seconds(600)));
    }

    #[test]
    fn promises_and_intentions_are_bounded() {
        let mut rules = Rules::new(node(1));
        let blob = |number: usize| Digest::of(&number.to_le_bytes());
        for number in 0..GRANTS_OF_ONE_MAX {
            assert!(matches!(rules.request(node(2), blob(number), TERM, seconds(0)), Verdict::Granted(_)));
        }
        assert_eq!(rules.request(node(2), BLOB, TERM, seconds(1)), Verdict::TooMany);
        assert!(matches!(rules.request(node(2), blob(0), TERM, seconds(1)), Verdict::Granted(_)), "it has that one");
        assert!(matches!(rules.request(node(3), BLOB, TERM, seconds(1)), Verdict::Granted(_)), "others have theirs");
        assert!(matches!(rules.request(node(2), BLOB, TERM, seconds(60)), Verdict::Granted(_)), "the others ended");
        let ticket = rules.begin();
        for number in 0..INTENTS_MAX {
            rules.intend(ticket, blob(number), seconds(200)).unwrap();
        }
        assert_eq!(rules.intend(ticket, blob(INTENTS_MAX), seconds(200)), Err(Bound::Busy));
        rules.end(ticket);
        assert!(!rules.has_intents());
    }
}
