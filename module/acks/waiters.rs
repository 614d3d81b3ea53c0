//! Who is waiting, in which row, and until when.
//!
//! Every waiter stands in exactly one row: the queue of its class, or the members of a round. Rows
//! are linked through the waiters themselves, so a session that leaves is taken out of the middle
//! of a row of thousands at no cost, and a waiter needs no memory beyond its own place.
//!
//! Alarms are a heap that is cleaned lazily: the alarm of a waiter that has left since is skipped
//! when its time comes, and when most of the heap is such alarms it is swept.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::class::Class;
use super::words::{Acked, Counted, LEAST, Mark, Need, TrackerId, WaitNumber};
use crate::ids::{Mirror, SessionId, Time};

/// A session inside WAIT or WAITAOF, as one of its shards sees it.
#[derive(Clone, Debug)]
pub(super) struct Waiter {
    /// Which of the session's waits it is.
    pub(super) number: WaitNumber,
    /// What the client asked for.
    pub(super) need: Need,
    /// With how much it is content; more than `need` if that was "as it stands".
    pub(super) goal: Acked,
    /// Its last write here, as the session remembers it; none if it never wrote anywhere.
    pub(super) origin: Option<Mark>,
    /// The same in the present generation.
    pub(super) mark: Option<Mark>,
    /// Whose rounds it takes part in.
    pub(super) class: Class,
    /// In which row it stands.
    pub(super) place: Place,
    /// When it wants the count as it stands.
    pub(super) deadline: Option<Time>,
    /// Whether that has passed: the next settled count is its answer.
    pub(super) expired: bool,
    /// It was counted before, and only wants to know whether that is still true.
    pub(super) confirms: Option<Counted>,
    /// When something happens to it by itself: its deadline, then the end of the grace after it.
    alarm: Option<Time>,
    before: Option<SessionId>,
    after: Option<SessionId>,
}

/// A row that a waiter stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The queue of its class.
    Queue,
    /// The members of the round that this tracker has out.
    Round(TrackerId),
}

impl Waiter {
    /// One that stands in no row yet, and isn't aimed at any count.
    pub(super) fn new(
        number: WaitNumber,
        need: Need,
        origin: Option<Mark>,
        deadline: Option<Time>,
    ) -> Self {
        let goal = need.least();
        Self {
            number,
            need,
            goal,
            origin,
            mark: origin,
            class: Class::of(need, goal, origin.is_some(), 0),
            place: Place::Queue,
            deadline,
            expired: false,
            confirms: None,
            alarm: None,
            before: None,
            after: None,
        }
    }

    /// What its rounds ask.
    pub(super) fn question(&self) -> Need {
        if self.confirms.is_some() { LEAST } else { self.need }
    }

    /// Who stands behind it.
    pub(super) fn after(&self) -> Option<SessionId> {
        self.after
    }
}

/// A row of waiters, in the order in which they came.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    first: Option<SessionId>,
    last: Option<SessionId>,
    len: usize,
}

impl Row {
    /// Who stands in front.
    pub(super) fn first(&self) -> Option<SessionId> {
        self.first
    }

    /// Whether nobody is here.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// The waiters of a shard.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiters {
    waiters: Mirror<SessionId, Waiter>,
    len: usize,
    alarms: BinaryHeap<Reverse<(Time, SessionId)>>,
    /// Waiters that have an alarm.
    alarmed: usize,
}

impl Waiters {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The waiter of a session.
    pub(super) fn get(&self, session: SessionId) -> Option<&Waiter> {
        self.waiters.get(session)
    }

    /// The waiter of a session.
    pub(super) fn get_mut(&mut self, session: SessionId) -> Option<&mut Waiter> {
        self.waiters.get_mut(session)
    }

    /// Everybody, in no order that means anything.
    pub(super) fn sessions(&self) -> impl Iterator<Item = SessionId> {
        self.waiters.iter().map(|(session, _)| session)
    }

    /// Takes a waiter in. It is to be put in a row next.
    pub(super) fn insert(&mut self, session: SessionId, waiter: Waiter) {
        let old = self.waiters.insert(session, waiter);
        debug_assert!(old.is_none(), "a session waits once at a time, and leaves when it closes");
        self.len += 1;
    }

    /// Lets a waiter go that stands in no row any more.
    pub(super) fn remove(&mut self, session: SessionId) -> Option<Waiter> {
        let waiter = self.waiters.remove(session)?;
        self.len -= 1;
        self.alarmed -= usize::from(waiter.alarm.is_some());
        self.tidy_alarms();
        Some(waiter)
    }

    /// Puts a waiter that stands in no row at the end of `row`, which is `place`.
    pub(super) fn push(&mut self, row: &mut Row, session: SessionId, place: Place) {
        let last = row.last.replace(session);
        match last.and_then(|last| self.waiters.get_mut(last)) {
            Some(last) => last.after = Some(session),
            None => row.first = Some(session),
        }
        row.len += 1;
        if let Some(waiter) = self.waiters.get_mut(session) {
            waiter.before = last;
            waiter.after = None;
            waiter.place = place;
        }
    }

    /// Takes a waiter out of `row`, in which it stands.
    pub(super) fn take(&mut self, row: &mut Row, session: SessionId) {
        let Some(waiter) = self.waiters.get_mut(session) else { return };
        let (before, after) = (waiter.before.take(), waiter.after.take());
        match before.and_then(|before| self.waiters.get_mut(before)) {
            Some(before) => before.after = after,
            None => row.first = after,
        }
        match after.and_then(|after| self.waiters.get_mut(after)) {
            Some(after) => after.before = before,
            None => row.last = before,
        }
        row.len -= 1;
    }

    /// Sets, moves or removes the alarm of a waiter.
    pub(super) fn set_alarm(&mut self, session: SessionId, alarm: Option<Time>) {
        let Some(waiter) = self.waiters.get_mut(session) else { return };
        self.alarmed -= usize::from(waiter.alarm.is_some());
        self.alarmed += usize::from(alarm.is_some());
        waiter.alarm = alarm;
        if let Some(at) = alarm {
            self.alarms.push(Reverse((at, session)));
        }
        self.tidy_alarms();
    }

    /// The next alarm that is due, taken off its waiter.
    pub(super) fn due(&mut self, now: Time) -> Option<SessionId> {
        let &Reverse((at, session)) = self.alarms.peek()?;
        if at > now {
            return None;
        }
        self.set_alarm(session, None);
        Some(session)
    }

    /// When the next alarm is due.
    pub(super) fn next_alarm(&self) -> Option<Time> {
        self.alarms.peek().map(|&Reverse((at, _))| at)
    }

    /// Keeps a live alarm on top, and the heap from being mostly dead ones.
    fn tidy_alarms(&mut self) {
        let waiters = &self.waiters;
        let live = |&Reverse((at, session)): &Reverse<(Time, SessionId)>| {
            waiters.get(session).is_some_and(|waiter| waiter.alarm == Some(at))
        };
        if self.alarms.len() > 2 * self.alarmed + 64 {
            self.alarms.retain(live);
        }
        while self.alarms.peek().is_some_and(|top| !live(top)) {
            self.alarms.pop();
        }
    }

    /// Counts a row from its links, and checks that each of its waiters knows where it stands.
    #[cfg(any(test, debug_assertions))]
    pub(super) fn check_row(&self, row: &Row, place: Place) -> usize {
        let (mut count, mut before, mut next) = (0, None, row.first);
        while let Some(session) = next {
            let waiter = self.waiters.get(session).expect("a row holds only those who wait");
            assert_eq!(waiter.place, place, "a waiter stands where it believes to");
            assert_eq!(waiter.before, before, "a row is linked both ways");
            count += 1;
            before = next;
            next = waiter.after;
        }
        assert_eq!(row.last, before, "a row ends at its last");
        assert_eq!(row.len, count, "a row counts its waiters");
        count
    }

    /// Checks the counts; `in_rows` is how many waiters the rows hold together.
    #[cfg(any(test, debug_assertions))]
    pub(super) fn check(&self, in_rows: usize) {
        assert_eq!(self.len, in_rows, "every waiter stands in exactly one row");
        assert_eq!(self.waiters.iter().count(), self.len);
        let alarmed = self.waiters.iter().filter(|(_, waiter)| waiter.alarm.is_some()).count();
        assert_eq!(alarmed, self.alarmed);
        assert!(self.alarms.len() >= alarmed, "every alarm is in the heap");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SlabId;

    fn session(index: u32) -> SessionId {
        SessionId::new(index, 0)
    }

    fn waiter() -> Waiter {
        Waiter::new(WaitNumber::default(), Need::Wait { replicas: 1 }, None, None)
    }

    #[test]
    fn a_waiter_leaves_from_anywhere_in_its_row() {
        for leaver in 0..3 {
            let (mut waiters, mut row) = (Waiters::default(), Row::default());
            for index in 0..3 {
                waiters.insert(session(index), waiter());
                waiters.push(&mut row, session(index), Place::Queue);
            }
            waiters.take(&mut row, session(leaver));
            waiters.remove(session(leaver));
            assert_eq!(waiters.check_row(&row, Place::Queue), 2);
            waiters.check(2);
        }
    }

    #[test]
    fn alarms_of_the_gone_are_swept() {
        let mut waiters = Waiters::default();
        for turn in 0..10_000u64 {
            waiters.insert(session(0), waiter());
            waiters.set_alarm(session(0), Some(Time(1_000_000 - turn)));
            waiters.remove(session(0));
        }
        assert_eq!(waiters.next_alarm(), None);
        assert!(waiters.alarms.len() <= 64);
    }

    #[test]
    fn a_moved_alarm_rings_once() {
        let mut waiters = Waiters::default();
        waiters.insert(session(0), waiter());
        waiters.set_alarm(session(0), Some(Time(10)));
        waiters.set_alarm(session(0), Some(Time(20)));
        assert_eq!(waiters.next_alarm(), Some(Time(20)));
        assert_eq!(waiters.due(Time(15)), None);
        assert_eq!(waiters.due(Time(20)), Some(session(0)));
        assert_eq!(waiters.due(Time(20)), None);
    }
}
