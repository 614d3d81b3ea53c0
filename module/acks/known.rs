//! What was acknowledged before.
//!
//! A reply to round 7 that says "two" is the answer for every mark up to 7, also for a client that
//! asks only now, as long as it is fresh: see [`ACK_KNOWN_AGE_MAX`] for how long, and why not
//! longer. When it is older it is still true if no replica has left since, which an INFO tells: so
//! who asks again about what was acknowledged needn't wait for what others wrote since. It is all
//! forgotten as soon as a replica is seen to have left.

use std::collections::VecDeque;

use super::words::{Acked, RoundNumber};
use crate::ids::Time;
use crate::limits::{ACK_KNOWN_AGE_MAX, ACK_KNOWN_MAX};

/// The last replies of a shard, oldest first, without those that tell nothing beside a later one.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    replies: VecDeque<Reply>,
}

#[derive(Clone, Debug)]
struct Reply {
    aof: bool,
    round: RoundNumber,
    acked: Acked,
    at: Time,
}

impl Known {
    /// Notes the count of a round that had a barrier.
    pub(super) fn note(&mut self, aof: bool, round: RoundNumber, acked: Acked, now: Time) {
        self.replies
            .retain(|old| !(old.round <= round && acked.meets(old.acked) && (aof || !old.aof)));
        if self.replies.len() == ACK_KNOWN_MAX {
            self.replies.pop_front();
        }
        self.replies.push_back(Reply { aof, round, acked, at: now });
    }

    /// The most that is known of marks up to `round`, if anything is, and needs no confirmation.
    pub(super) fn fresh(&self, aof: bool, round: RoundNumber, now: Time) -> Option<Acked> {
        self.best(aof, round, |reply| now.since(reply.at) <= ACK_KNOWN_AGE_MAX)
    }

    /// The most that was ever known of marks up to `round`: true if an INFO of just now has shown
    /// that no replica has left.
    pub(super) fn ever(&self, aof: bool, round: RoundNumber) -> Option<Acked> {
        self.best(aof, round, |_| true)
    }

    /// What a replica has fsynced it has, so a WAITAOF's replicas count for a WAIT; not the other
    /// way.
    fn best(
        &self,
        aof: bool,
        round: RoundNumber,
        counts: impl Fn(&Reply) -> bool,
    ) -> Option<Acked> {
        let tells = |reply: &&Reply| reply.round >= round && (reply.aof || !aof) && counts(reply);
        let best = self.replies.iter().filter(tells).map(|reply| reply.acked).reduce(Acked::max)?;
        Some(Acked { local: if aof { best.local } else { 0 }, ..best })
    }

    /// Forgets all of it.
    pub(super) fn clear(&mut self) {
        self.replies.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fsynced_is_held_but_held_is_not_fsynced() {
        let mut known = Known::default();
        known.note(false, RoundNumber(3), Acked { local: 0, replicas: 2 }, Time(0));
        known.note(true, RoundNumber(2), Acked { local: 1, replicas: 1 }, Time(0));
        let best = |aof, round| known.fresh(aof, RoundNumber(round), Time(1));
        assert_eq!(best(false, 3), Some(Acked { local: 0, replicas: 2 }));
        assert_eq!(best(false, 4), None);
        assert_eq!(best(true, 3), None);
        assert_eq!(best(true, 2), Some(Acked { local: 1, replicas: 1 }));
    }

    #[test]
    fn what_is_old_is_only_told_after_a_look() {
        let mut known = Known::default();
        known.note(false, RoundNumber(1), Acked { local: 0, replicas: 1 }, Time(0));
        let late = Time::ZERO + ACK_KNOWN_AGE_MAX;
        assert!(known.fresh(false, RoundNumber(1), late).is_some());
        assert!(known.fresh(false, RoundNumber(1), Time(late.0 + 1)).is_none());
        assert_eq!(known.ever(false, RoundNumber(1)), Some(Acked { local: 0, replicas: 1 }));
        assert_eq!(known.ever(false, RoundNumber(2)), None);
    }

    #[test]
    fn a_reply_outlives_any_number_of_later_ones_that_tell_less() {
        let mut known = Known::default();
        known.note(true, RoundNumber(1), Acked { local: 1, replicas: 2 }, Time(0));
        for round in 2..1000 {
            known.note(false, RoundNumber(round), Acked { local: 0, replicas: 1 }, Time(0));
        }
        assert_eq!(known.ever(true, RoundNumber(1)), Some(Acked { local: 1, replicas: 2 }));
        assert_eq!(known.ever(false, RoundNumber(999)), Some(Acked { local: 0, replicas: 1 }));
        assert_eq!(known.replies.len(), 2);
    }
}
