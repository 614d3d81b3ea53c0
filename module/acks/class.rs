//! Which waiters share a round: those of one class.
//!
//! A round is one question, and returns when *its* number is reached; so who asks for two replicas
//! must not share a connection with who asks for one, or the second replica's troubles would be
//! everybody's. A class is: WAIT, WAITAOF, or WAITAOF with local fsync; for how many replicas; by
//! clients that wrote, or that never did (their rounds have no barrier: see `ShardAcks`).
//!
//! Clients choose the number, and each class may open connections, so the number is capped twice. A
//! need that today's replicas can't meet (five, where there are two) goes by the smallest that they
//! can't (three): none of those is met before a third replica appears, so they can wait in one row.
//! And above [`ACK_CLASS_REPLICAS_MAX`] all needs are one class.

use super::words::{Acked, Need};
use crate::limits::ACK_CLASS_REPLICAS_MAX;

/// Rows of the table: three kinds, wrote or not.
const ROWS: usize = 6;
const COLUMNS: usize = ACK_CLASS_REPLICAS_MAX as usize + 1;

/// A class's place in the table of classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Class(u8);

impl Class {
    /// How many classes there are.
    pub(super) const COUNT: usize = ROWS * COLUMNS;

    /// The class of a waiter with this goal, where `online` replicas are online.
    pub(super) fn of(need: Need, goal: Acked, wrote: bool, online: i64) -> Self {
        let kind = match (need.is_aof(), goal.local) {
            (false, _) => 0,
            (true, 0) => 1,
            (true, _) => 2,
        };
        let capped = reachable(goal.replicas, online).min(i64::from(ACK_CLASS_REPLICAS_MAX));
        let column = u8::try_from(capped).unwrap_or(0);
        Self((kind * 2 + u8::from(wrote)) * (ACK_CLASS_REPLICAS_MAX + 1) + column)
    }

    /// Whether its waiters wrote, so that its rounds need a barrier.
    pub(super) fn wrote(self) -> bool {
        (usize::from(self.0) / COLUMNS) % 2 == 1
    }

    /// As an index into the table.
    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }

    /// As a member of a set of classes.
    pub(super) fn bit(self) -> u64 {
        1 << self.0
    }

    /// The first class in a set of classes.
    pub(super) fn first_in(set: u64) -> Option<Self> {
        if set == 0 { None } else { u8::try_from(set.trailing_zeros()).ok().map(Self) }
    }
}

/// `replicas`, or the smallest number that `online` replicas can't reach.
pub(super) fn reachable(replicas: i64, online: i64) -> i64 {
    replicas.min(online.saturating_add(1)).max(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_a_place_of_its_own() {
        let mut seen = 0u64;
        for wrote in [false, true] {
            for replicas in 0..=i64::from(ACK_CLASS_REPLICAS_MAX) {
                for need in [
                    Need::Wait { replicas },
                    Need::WaitAof { local: 0, replicas },
                    Need::WaitAof { local: 1, replicas },
                ] {
                    let class = Class::of(need, need.least(), wrote, 100);
                    assert!(class.index() < Class::COUNT);
                    assert_eq!(class.wrote(), wrote);
                    assert_eq!(seen & class.bit(), 0, "{need:?}");
                    seen |= class.bit();
                }
            }
        }
        assert_eq!(seen.count_ones() as usize, Class::COUNT);
        assert_eq!(Class::first_in(1 << 7), Some(Class(7)));
    }

    #[test]
    fn needs_that_cannot_be_met_share_a_class() {
        let class = |replicas, online| {
            let need = Need::Wait { replicas };
            Class::of(need, need.least(), true, online)
        };
        assert_eq!(class(5, 2), class(3, 2));
        assert_eq!(class(i64::MAX, 2), class(3, 2));
        assert_ne!(class(2, 2), class(3, 2));
        assert_eq!(class(50, 100), class(9, 100));
        assert_eq!(class(-1, 2), class(0, 2));
    }
}
