//! One session's wait over several shards.
//!
//! Each shard is asked for the same need, and answers for itself; the session is told the smallest count
//! of any (for WAITAOF each of the two numbers by itself: the replicas of one shard say nothing about the
//! fsync of another). A loss or an error of any shard is the answer at once.

use super::words::{Answer, Denied};
use crate::ids::{Mirror, SessionId};

/// The sessions of an engine that are inside WAIT or WAITAOF.
#[derive(Debug, Default)]
pub struct Waits {
    joins: Mirror<SessionId, Join>,
}

/// What is to be put together for one session.
#[derive(Debug)]
struct Join {
    /// Shards that haven't answered.
    missing: usize,
    /// The smallest of what the others said.
    smallest: Option<super::Acked>,
}

impl Waits {
    /// A session waits for `shards` answers, at least one.
    pub fn open(&mut self, session: SessionId, shards: usize) {
        debug_assert!(shards > 0, "somebody must answer");
        let old = self.joins.insert(session, Join { missing: shards, smallest: None });
        debug_assert!(old.is_none(), "a session waits once at a time");
    }

    /// Whether the session waits.
    pub fn is_open(&self, session: SessionId) -> bool {
        self.joins.get(session).is_some()
    }

    /// A shard has answered. Returns the session's answer if that decides it; the session then waits no
    /// longer, and if it was an error is to be cancelled on the other shards.
    pub fn answered(
        &mut self,
        session: SessionId,
        answer: Answer,
    ) -> Option<Result<super::Acked, Denied>> {
        let join = self.joins.get_mut(session)?;
        let answer = answer.map(|acked| match join.smallest {
            Some(smallest) => smallest.min(acked),
            None => acked,
        });
        if let Ok(smallest) = answer {
            join.smallest = Some(smallest);
            join.missing = join.missing.saturating_sub(1);
            if join.missing > 0 {
                return None;
            }
        }
        self.joins.remove(session);
        Some(answer)
    }

    /// The session is gone, or was unblocked with an error.
    pub fn close(&mut self, session: SessionId) {
        self.joins.remove(session);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acks::Acked;
    use crate::ids::SlabId;

    #[test]
    fn each_number_is_the_smallest_by_itself() {
        let (mut waits, session) = (Waits::default(), SessionId::new(4, 1));
        waits.open(session, 2);
        assert_eq!(waits.answered(session, Ok(Acked { local: 0, replicas: 2 })), None);
        let both = waits.answered(session, Ok(Acked { local: 1, replicas: 1 }));
        assert_eq!(both, Some(Ok(Acked { local: 0, replicas: 1 })));
        assert!(!waits.is_open(session));
    }

    #[test]
    fn a_loss_is_the_answer_at_once() {
        let (mut waits, session) = (Waits::default(), SessionId::new(4, 1));
        waits.open(session, 3);
        assert_eq!(waits.answered(session, Ok(Acked::default())), None);
        assert_eq!(waits.answered(session, Err(Denied::Lost)), Some(Err(Denied::Lost)));
        assert_eq!(waits.answered(session, Ok(Acked::default())), None);
    }
}
