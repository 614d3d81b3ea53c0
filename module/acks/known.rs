//! What was acknowledged a moment ago.
//!
//! A reply to round 7 that says "two" is the answer for every mark up to 7, also for a client that asks
//! only now, as long as it is fresh: see [`ACK_KNOWN_AGE_MAX`] for how long, and why not longer. It is
//! all forgotten as soon as a replica is seen to have left.

use std::collections::VecDeque;

use super::words::{Acked, RoundNumber};
use crate::ids::Time;
use crate::limits::{ACK_KNOWN_AGE_MAX, ACK_KNOWN_MAX};

/// The last replies of a shard, oldest first.
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
        if self.replies.len() == ACK_KNOWN_MAX {
            self.replies.pop_front();
        }
        self.replies.push_back(Reply { aof, round, acked, at: now });
    }

    /// The most that is known of marks up to `round`, if anything is.
    ///
    /// What a replica has fsynced it has, so a WAITAOF's replicas count for a WAIT; not the other way.
    pub(super) fn best(&self, aof: bool, round: RoundNumber, now: Time) -> Option<Acked> {
        let telling = self.replies.iter().filter(|reply| {
            reply.round >= round && (reply.aof || !aof) && now.since(reply.at) <= ACK_KNOWN_AGE_MAX
        });
        let best = telling.map(|reply| reply.acked).reduce(Acked::max)?;
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
        let best = |aof, round| known.best(aof, RoundNumber(round), Time(1));
        assert_eq!(best(false, 3), Some(Acked { local: 0, replicas: 2 }));
        assert_eq!(best(false, 4), None);
        assert_eq!(best(true, 3), None);
        assert_eq!(best(true, 2), Some(Acked { local: 1, replicas: 1 }));
    }

    #[test]
    fn it_is_forgotten_when_it_is_old() {
        let mut known = Known::default();
        known.note(false, RoundNumber(1), Acked { local: 0, replicas: 1 }, Time(0));
        let late = Time::ZERO + ACK_KNOWN_AGE_MAX;
        assert!(known.best(false, RoundNumber(1), late).is_some());
        assert!(known.best(false, RoundNumber(1), Time(late.0 + 1)).is_none());
    }
}
