//! The worker's own deadlines. The engine keeps its own.
//!
//! There are few, and most never matter because what they guard against didn't happen. So an alarm
//! isn't taken back: it goes off at its time, and whom it is for says whether it still means
//! something.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::ids::{LinkId, SessionId, Time};

/// What to do at a certain time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Alarm {
    /// A connection to a shard has not been made in time.
    GiveUpConnecting(LinkId),
    /// A client that is to be closed has not taken what it is owed.
    CloseUnflushed(SessionId),
    /// A client has not finished its TLS handshake in time.
    GiveUpArriving(SessionId),
    /// The listeners have rested.
    AcceptAgain,
}

/// All alarms that are set, the earliest first.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    heap: BinaryHeap<Reverse<(Time, Alarm)>>,
}

impl Alarms {
    pub(super) fn set(&mut self, at: Time, alarm: Alarm) {
        self.heap.push(Reverse((at, alarm)));
    }

    /// When the first goes off.
    pub(super) fn next(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// One whose time has come.
    pub(super) fn due(&mut self, now: Time) -> Option<Alarm> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, alarm))| alarm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SlabId;

    #[test]
    fn alarms_go_off_in_the_order_of_their_times() {
        let mut alarms = Alarms::default();
        let give_up = Alarm::GiveUpConnecting(LinkId::new(1, 2));
        alarms.set(Time(30), Alarm::AcceptAgain);
        alarms.set(Time(10), give_up);
        assert_eq!(alarms.next(), Some(Time(10)));
        assert_eq!(alarms.due(Time(9)), None);
        assert_eq!(alarms.due(Time(10)), Some(give_up));
        assert_eq!(alarms.due(Time(29)), None);
        assert_eq!(alarms.due(Time(31)), Some(Alarm::AcceptAgain));
        assert_eq!(alarms.next(), None);
    }
}
