//! One shard's acknowledgements, as one engine keeps them: who comes in, what is told from outside.
//!
//! What happens to rounds is in `rounds.rs`.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use super::class::Class;
use super::history::{History, Resolved};
use super::known::Known;
use super::tracker::{State, Tracker};
use super::waiters::{Place, Row, Waiter, Waiters};
use super::waits::Confirm;
use super::words::{
    Acked, Action, Counted, Counts, Denied, Epoch, ErrorText, Generation, LEAST, Mark, Need, Proof,
    RoundNumber, Seen, TrackerId, WaitNumber,
};
use crate::ids::{SessionId, Slab, Time};
use crate::limits::{
    ACK_CONFIRM_MAX, ACK_GRACE, ACK_REOPEN_DELAY, ACK_ROUNDS_PER_CLASS_MAX, ACK_SETTLE_FIRST,
    ACK_SETTLE_MAX, ACK_SETTLE_MIN, ACK_STANDING_MAX, ACK_TRACKER_IDLE_MAX,
};

/// The waiters and the rounds of one shard. The room's doc tells how they work.
///
/// Call order in an epoll turn: whatever happened (`wait`, `round_replied`, ..., `handle_timeout`),
/// then `start_rounds` once, then `poll_action` until there is none, then `next_timeout`.
#[derive(Clone, Debug)]
pub struct ShardAcks {
    pub(super) history: History,
    pub(super) epoch: Epoch,
    /// The last INFO of the present generation.
    pub(super) seen: Option<Seen>,
    /// Whether the shard can be asked.
    pub(super) reachable: bool,
    next_round: RoundNumber,
    pub(super) known: Known,
    /// How long the last WAIT round took that wasn't cut short.
    pub(super) lap: Option<Duration>,
    pub(super) waiters: Waiters,
    pub(super) classes: Box<[ClassRow]>,
    /// The classes in whose queue somebody stands, a bit for each.
    pub(super) queued: u64,
    pub(super) trackers: Slab<TrackerId, Tracker>,
    pub(super) actions: VecDeque<Action>,
    pub(super) counts: Counts,
}

/// What there is of a class: who waits for its next round, and its connections.
#[derive(Clone, Default)]
pub(super) struct ClassRow {
    pub(super) queue: Row,
    pub(super) trackers: [Option<TrackerId>; ACK_ROUNDS_PER_CLASS_MAX],
    /// No connection is opened until then: the last one failed.
    pub(super) open_after: Option<Time>,
    /// Nothing is asked until then: the shard refused the last question.
    pub(super) ask_after: Option<Time>,
}

impl fmt::Debug for ClassRow {
    /// Most classes are never used; those are a dash, so that a dump of a shard can be read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.open_after.or(self.ask_after);
        if self.queue.is_empty() && held.is_none() && self.trackers.iter().all(Option::is_none) {
            return f.write_str("-");
        }
        let holds = (self.open_after, self.ask_after);
        write!(f, "{:?} {:?} {:?}", self.queue, self.trackers, holds)
    }
}

impl Default for ShardAcks {
    fn default() -> Self {
        Self::new()
    }
}

impl ShardAcks {
    /// Before the first connection: nobody can have written, and nothing can be asked.
    pub fn new() -> Self {
        let first = RoundNumber(1);
        Self {
            history: History::new(first),
            epoch: Epoch::default(),
            seen: None,
            reachable: false,
            next_round: first,
            known: Known::default(),
            lap: None,
            waiters: Waiters::default(),
            classes: (0..Class::COUNT).map(|_| ClassRow::default()).collect(),
            queued: 0,
            trackers: Slab::default(),
            actions: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    // ---- getters

    /// The present generation.
    pub fn generation(&self) -> Generation {
        self.history.generation()
    }

    /// How many sessions wait.
    pub fn waiters(&self) -> usize {
        self.waiters.len()
    }

    /// Tracker connections, those being opened included.
    pub fn trackers(&self) -> usize {
        self.trackers.iter().count()
    }

    /// The counters.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// What a session is to remember when the reply of a write has reached it: the present
    /// generation and the next round, because only that one's barrier is sent after the reply. A
    /// reply that comes on a connection of an older generation must not be marked (and can't be:
    /// those are closed first).
    pub fn mark(&self) -> Mark {
        Mark { generation: self.generation(), round: self.next_round }
    }

    /// What became of a mark.
    pub fn resolve(&self, mark: Mark) -> Resolved {
        self.history.resolve(mark)
    }

    /// When `handle_timeout` wants to be called, if nothing else happens before.
    pub fn next_timeout(&self) -> Option<Time> {
        let trackers = self.trackers.iter().filter_map(|(_, tracker)| match &tracker.state {
            State::Opening => None,
            State::Ready(since) => Some(*since + ACK_TRACKER_IDLE_MAX),
            State::Out(round) => round.unblock_at,
        });
        trackers.chain(self.waiters.next_alarm()).chain(self.next_hold()).min()
    }

    /// The next thing to do, oldest first.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    // ---- commands: what sessions want

    /// A session waits. `mark` is its last write here, or none if it never wrote on any shard; at
    /// `deadline` it wants the count as it stands. The answer is an [`Action::Answer`], maybe at
    /// once.
    pub fn wait(
        &mut self,
        session: SessionId,
        number: WaitNumber,
        need: Need,
        mark: Option<Mark>,
        deadline: Option<Time>,
        now: Time,
    ) {
        self.counts.waits += 1;
        self.admit(session, Waiter::new(number, need, mark, deadline), now);
        self.invariants();
    }

    /// A session whose shards answered at different times is back with the count that this shard
    /// told it: is it still true? If the shard is still in the same epoch, an INFO says so at once,
    /// whatever its replicas do; else the session waits as if it came for the first time.
    ///
    /// A replica that went and came back between two looks is not noticed. It had the writes when
    /// it was counted, and has them again: a primary takes no replica back that doesn't get all it
    /// has.
    pub fn confirm(&mut self, session: SessionId, old: &Confirm, now: Time) {
        self.counts.confirms += 1;
        let mut waiter = Waiter::new(old.number, old.need, old.mark, old.deadline);
        waiter.confirms = Some(old.counted).filter(|counted| counted.epoch == self.epoch);
        self.admit(session, waiter, now);
        self.invariants();
    }

    fn admit(&mut self, session: SessionId, mut waiter: Waiter, now: Time) {
        match waiter.origin.map(|mark| self.resolve(mark)) {
            Some(Resolved::Lost) => return self.tell(session, waiter.number, Err(Denied::Lost)),
            Some(Resolved::Current(mark)) => waiter.mark = Some(mark),
            None => {}
        }
        let (need, mark) = (waiter.need, waiter.mark);
        if mark.is_some() && need.least() == Acked::default() {
            let standing = now + ACK_STANDING_MAX;
            waiter.deadline = Some(waiter.deadline.map_or(standing, |own| own.min(standing)));
        }
        let known = mark.and_then(|mark| self.known.fresh(need.is_aof(), mark.round, now));
        let goal = self.goal(need, mark.is_some());
        if let Some(acked) = known.filter(|acked| acked.meets(goal)) {
            self.counts.known += 1;
            let counted = Counted { acked, epoch: self.epoch, confirmed: false };
            return self.tell(session, waiter.number, Ok(counted));
        }
        let once = mark.and_then(|mark| self.known.ever(need.is_aof(), mark.round));
        if let Some(acked) = once.filter(|acked| acked.meets(goal)) {
            waiter.confirms = Some(Counted { acked, epoch: self.epoch, confirmed: false });
        }
        self.waiters.insert(session, waiter);
        self.enter(session, now);
    }

    /// Finds a place for a waiter that stands nowhere, by what is seen of the shard now, and winds
    /// its alarm.
    fn enter(&mut self, session: SessionId, now: Time) {
        self.aim(session);
        let Some(waiter) = self.waiters.get_mut(session) else { return };
        let alarm = if waiter.confirms.is_some() {
            Some(now + ACK_CONFIRM_MAX)
        } else if waiter.expired {
            Some(now + ACK_SETTLE_MAX + ACK_GRACE)
        } else {
            waiter.deadline
        };
        self.waiters.set_alarm(session, alarm);
        self.place(session, now);
    }

    /// A waiter that was to be told that its old count is still true can't be: it waits like
    /// others.
    pub(super) fn recount(&mut self, session: SessionId, now: Time) {
        if let Some(waiter) = self.waiters.get_mut(session) {
            waiter.confirms = None;
        }
        self.enter(session, now);
    }

    /// The session is gone, or was unblocked with an error: it waits no longer, and gets no answer.
    pub fn cancel(&mut self, session: SessionId, now: Time) {
        self.leave(session, now);
        self.invariants();
    }

    /// `CLIENT UNBLOCK id TIMEOUT`: as if the deadline of the session were now.
    pub fn unblock(&mut self, session: SessionId, now: Time) {
        if let Some(waiter) = self.waiters.get_mut(session)
            && !waiter.expired
        {
            waiter.deadline = Some(now);
            self.expire(session, now);
        }
        self.invariants();
    }

    // ---- handle_*: what the shard and the clock say

    /// Takes the number of a poll: an INFO that is sent now, on any connection of this generation.
    /// A poll is a round that nobody waits for; it tells up to where the writes before it lie.
    pub fn begin_report(&mut self) -> RoundNumber {
        self.take_number()
    }

    /// A poll's INFO is here, and shows the present generation: the shard can be asked.
    pub fn report(&mut self, number: RoundNumber, seen: &Seen) {
        if seen.generation != self.generation() {
            return;
        }
        self.reachable = true;
        self.learn(number, seen);
        self.invariants();
    }

    /// The shard's history is another one, for the first time with the connection that showed
    /// `seen`. All that is out is void; who waited for a write that isn't proven to be part of it
    /// is told so.
    pub fn new_generation(&mut self, proof: Proof, seen: &Seen, now: Time) {
        debug_assert!(seen.generation > self.generation(), "generations are counted upwards");
        self.close_trackers();
        self.known.clear();
        self.lap = None;
        self.history.begin(seen.generation, self.next_round, proof);
        self.epoch.0 += 1;
        self.seen = Some(*seen);
        self.reachable = true;
        // A rare event, so a list of all who wait is allowed.
        let sessions: Vec<SessionId> = self.waiters.sessions().collect();
        for session in sessions {
            self.dequeue(session);
            let Some(waiter) = self.waiters.get_mut(session) else { continue };
            // By its first mark: that one has the tightest bound.
            match waiter.origin.map(|mark| self.history.resolve(mark)) {
                Some(Resolved::Lost) => {
                    self.answer(session, Err(Denied::Lost));
                    continue;
                }
                Some(Resolved::Current(mark)) => waiter.mark = Some(mark),
                None => {}
            }
            self.recount(session, now);
        }
        self.invariants();
    }

    /// The shard can't be reached. Who waits goes on waiting until the deadline, or for the shard
    /// to come back: `report` if its history is the same, else `new_generation`.
    pub fn down(&mut self, now: Time) {
        self.reachable = false;
        self.known.clear();
        self.close_trackers();
        let sessions: Vec<SessionId> = self.waiters.sessions().collect();
        for session in sessions {
            if self.waiters.get(session).is_some_and(|waiter| waiter.expired) {
                self.give_up(session, now);
            }
        }
        self.invariants();
    }

    /// A tracker connection is open, and its greeting showed the present generation.
    pub fn tracker_ready(&mut self, tracker: TrackerId, now: Time) {
        if let Some(tracker) = self.trackers.get_mut(tracker)
            && matches!(tracker.state, State::Opening)
        {
            tracker.state = State::Ready(now);
        }
        self.invariants();
    }

    /// A tracker connection couldn't be opened, or died. Its round is asked again on another.
    pub fn tracker_lost(&mut self, tracker: TrackerId, now: Time) {
        if let Some(class) = self.drop_tracker(tracker) {
            self.classes[class.index()].open_after = Some(now + ACK_REOPEN_DELAY);
        }
        self.invariants();
    }

    /// The shard answered the barrier of the round that is out with an error. The question behind
    /// it is then about an offset of long ago, whatever its reply, and may be blocked for ever.
    pub fn barrier_refused(&mut self, tracker: TrackerId, text: ErrorText, now: Time) {
        if let Some(Tracker { state: State::Out(round), .. }) = self.trackers.get_mut(tracker) {
            round.refused = Some(text);
            self.press(tracker, now, now);
        }
        self.invariants();
    }

    /// The replies of a round's question and of the INFO behind it are here, and the INFO shows the
    /// present generation. (If it shows another: `new_generation` instead, and no count is told.)
    pub fn round_replied(
        &mut self,
        tracker: TrackerId,
        outcome: Result<Acked, ErrorText>,
        seen: &Seen,
        now: Time,
    ) {
        if seen.generation == self.generation() {
            self.replied(tracker, outcome, seen, now);
        }
        self.invariants();
    }

    /// The time that `next_timeout` told has come.
    pub fn handle_timeout(&mut self, now: Time) {
        while let Some(session) = self.waiters.due(now) {
            match self.waiters.get(session) {
                Some(waiter) if waiter.expired => self.give_up(session, now),
                Some(waiter) if waiter.confirms.is_some() => {
                    self.step_out(session, now);
                    self.recount(session, now);
                }
                _ => self.expire(session, now),
            }
        }
        self.tick_trackers(now);
        self.end_holds(now);
        self.invariants();
    }

    /// The epoll turn is over: who queued in it goes into a round together, where one can be
    /// started.
    pub fn start_rounds(&mut self, now: Time) {
        if self.reachable && self.queued != 0 {
            self.start_queued(now);
            self.invariants();
        }
    }

    // ---- inside

    /// Replicas that were online when it was last looked.
    pub(super) fn online(&self) -> i64 {
        self.seen.map_or(0, |seen| seen.online)
    }

    pub(super) fn take_number(&mut self) -> RoundNumber {
        let number = self.next_round;
        self.next_round.0 += 1;
        number
    }

    /// How much contents a waiter. Who wrote and asks for the count as it stands is content with
    /// all there is, and gets what there is a moment later: the barrier that was sent for him is
    /// not acknowledged yet by replicas that have his write.
    fn goal(&self, need: Need, wrote: bool) -> Acked {
        let least = need.least();
        match self.seen {
            Some(seen) if wrote && least == Acked::default() => {
                Acked { local: i64::from(need.is_aof() && seen.aof_enabled), replicas: seen.online }
            }
            _ => least,
        }
    }

    /// Finds the goal and the class of a waiter anew, by what is seen of the shard now.
    pub(super) fn aim(&mut self, session: SessionId) {
        let Some(waiter) = self.waiters.get(session) else { return };
        let (need, wrote) = (waiter.need, waiter.mark.is_some());
        // Whether an old count is still true is answered by any INFO: that of the round which asks
        // for least, and needs no barrier, is the quickest to have.
        let (goal, class) = if waiter.confirms.is_some() {
            (Acked::default(), Class::of(LEAST, Acked::default(), false, self.online()))
        } else {
            let goal = self.goal(need, wrote);
            (goal, Class::of(need, goal, wrote, self.online()))
        };
        if let Some(waiter) = self.waiters.get_mut(session) {
            waiter.goal = goal;
            waiter.class = class;
        }
    }

    /// Takes in what an INFO said that was sent with, or as, round `number`.
    pub(super) fn learn(&mut self, number: RoundNumber, seen: &Seen) {
        if seen.online < self.online() {
            self.known.clear();
            self.epoch.0 += 1;
        }
        self.history.note(number, seen.offset);
        self.seen = Some(*seen);
    }

    /// How old a round is to be before it is cut short.
    pub(super) fn settle(&self, class: Class) -> Duration {
        if !class.wrote() {
            return Duration::ZERO;
        }
        let twice = self.lap.map_or(ACK_SETTLE_FIRST, |lap| lap * 2);
        twice.clamp(ACK_SETTLE_MIN, ACK_SETTLE_MAX)
    }

    /// The waiter's deadline has passed: the next settled count is its answer.
    fn expire(&mut self, session: SessionId, now: Time) {
        let Some(waiter) = self.waiters.get_mut(session) else { return };
        waiter.expired = true;
        let (place, class) = (waiter.place, waiter.class);
        if !self.reachable {
            return self.give_up(session, now);
        }
        let settle = self.settle(class);
        self.waiters.set_alarm(session, Some(now + settle * 2 + ACK_GRACE));
        if let Place::Round(tracker) = place {
            let settled = self.out(tracker).map_or(now, |round| round.started + settle);
            self.press(tracker, settled, now);
        }
    }

    /// The shard doesn't say: the answer is what is known, else nothing, and never a guess above.
    /// Of one that can't be reached nothing is known, and a number, be it 0, would look like its
    /// answer.
    fn give_up(&mut self, session: SessionId, now: Time) {
        let Some(waiter) = self.waiters.get(session) else { return };
        let (aof, mark) = (waiter.need.is_aof(), waiter.mark);
        let known = mark.and_then(|mark| self.known.fresh(aof, mark.round, now));
        self.step_out(session, now);
        if self.reachable {
            self.counted_as(session, known.unwrap_or_default());
        } else {
            self.answer(session, Err(Denied::Unreachable));
        }
    }

    /// Takes a waiter out of its row, and out.
    fn leave(&mut self, session: SessionId, now: Time) {
        self.step_out(session, now);
        self.waiters.remove(session);
    }

    /// Takes a waiter out of its row. A round that nobody waits for any more is ended, so that its
    /// tracker is free.
    fn step_out(&mut self, session: SessionId, now: Time) {
        let Some(place) = self.waiters.get(session).map(|waiter| waiter.place) else { return };
        self.dequeue(session);
        if let Place::Round(tracker) = place
            && self.out(tracker).is_some_and(|round| round.members.is_empty())
        {
            self.press(tracker, now, now);
        }
    }

    /// Lets a waiter go that stands in no row any more, with this count.
    pub(super) fn counted_as(&mut self, session: SessionId, acked: Acked) {
        self.answer(session, Ok(Counted { acked, epoch: self.epoch, confirmed: false }));
    }

    /// Lets a waiter go that stands in no row any more, with this answer.
    pub(super) fn answer(&mut self, session: SessionId, answer: Result<Counted, Denied>) {
        if let Some(waiter) = self.waiters.remove(session) {
            self.tell(session, waiter.number, answer);
        }
    }

    fn tell(&mut self, session: SessionId, number: WaitNumber, answer: Result<Counted, Denied>) {
        self.counts.lost += u64::from(answer == Err(Denied::Lost));
        self.actions.push_back(Action::Answer { session, number, answer });
    }

    /// When the first class in whose queue somebody stands may ask or connect again.
    fn next_hold(&self) -> Option<Time> {
        let held = self.classes.iter().filter(|row| !row.queue.is_empty());
        let held = held.flat_map(|row| row.open_after.into_iter().chain(row.ask_after));
        if self.queued == 0 { None } else { held.min() }
    }

    /// Ends the holds that are over.
    fn end_holds(&mut self, now: Time) {
        for row in &mut self.classes {
            row.open_after = row.open_after.filter(|&after| after > now);
            row.ask_after = row.ask_after.filter(|&after| after > now);
        }
    }

    /// Checks what must hold between calls; nothing in a release build.
    fn invariants(&self) {
        #[cfg(debug_assertions)]
        self.check();
    }

    #[cfg(debug_assertions)]
    fn check(&self) {
        let mut in_rows = 0;
        let mut in_classes = 0;
        for (index, row) in self.classes.iter().enumerate() {
            in_rows += self.waiters.check_row(&row.queue, Place::Queue);
            assert_eq!(self.queued >> index & 1 == 1, !row.queue.is_empty(), "queued is a summary");
            in_classes += row.trackers.iter().flatten().count();
        }
        for (id, tracker) in self.trackers.iter() {
            let row = &self.classes[tracker.class.index()];
            assert!(row.trackers.contains(&Some(id)), "a tracker belongs to its class");
            in_classes -= 1;
            if let State::Out(round) = &tracker.state {
                assert!(round.number < self.next_round, "a round's number was taken");
                assert!(!round.members.is_empty() || round.unblock_at.is_some(), "nobody's round");
                in_rows += self.waiters.check_row(&round.members, Place::Round(id));
            }
        }
        assert_eq!(in_classes, 0, "a class knows no tracker that is gone");
        self.waiters.check(in_rows);
        assert!(self.reachable || self.trackers.is_empty(), "no tracker without a shard");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acks::Confirm;
    use crate::ids::SlabId;

    const NEED: Need = Need::Wait { replicas: 1 };

    /// A shard with one replica, where session 1 has written and was told that it is there.
    fn told_at(at: Time) -> (ShardAcks, SessionId, Mark, Seen) {
        let (mut acks, session) = (ShardAcks::new(), SessionId::new(1, 0));
        let seen = Seen {
            generation: Generation(1),
            offset: 100,
            backlog_active: true,
            aof_enabled: false,
            cluster_enabled: false,
            online: 1,
        };
        acks.new_generation(Proof::Nothing, &seen, at);
        let mark = acks.mark();
        acks.wait(session, WaitNumber::default(), NEED, Some(mark), None, at);
        reply(&mut acks, Acked { local: 0, replicas: 1 }, &seen, at);
        (acks, session, mark, seen)
    }

    /// Starts a round, and has the shard reply to it.
    fn reply(acks: &mut ShardAcks, acked: Acked, seen: &Seen, now: Time) {
        let tracker = ask(acks, now);
        acks.round_replied(tracker, Ok(acked), seen, now);
    }

    /// Starts a round.
    fn ask(acks: &mut ShardAcks, now: Time) -> TrackerId {
        acks.start_rounds(now);
        while let Some(action) = acks.poll_action() {
            match action {
                Action::OpenTracker(tracker) => {
                    acks.tracker_ready(tracker, now);
                    acks.start_rounds(now);
                }
                Action::Ask { tracker, .. } => return tracker,
                other => panic!("{other:?}"),
            }
        }
        panic!("nothing is asked");
    }

    #[test]
    fn a_confirmation_that_does_not_come_ends_its_round() {
        let (mut acks, session, mark, _) = told_at(Time::ZERO);
        let Some(Action::Answer { answer: Ok(counted), .. }) = acks.poll_action() else {
            panic!("no count");
        };
        let late = Time::ZERO + ACK_GRACE * 2;
        let old = Confirm {
            shard: crate::ids::ShardId(0),
            number: WaitNumber::default(),
            mark: Some(mark),
            need: NEED,
            deadline: None,
            counted,
        };
        acks.confirm(session, &old, late);
        let tracker = ask(&mut acks, late);
        acks.handle_timeout(late + ACK_CONFIRM_MAX);
        assert_eq!(acks.poll_action(), Some(Action::Unblock { tracker }));
    }

    #[test]
    fn what_was_acknowledged_is_told_again_after_a_look() {
        let (mut acks, session, mark, seen) = told_at(Time::ZERO);
        let Some(Action::Answer { answer: Ok(first), .. }) = acks.poll_action() else {
            panic!("no count");
        };
        // The replica is stopped, and others have written since: no round with a barrier would
        // return.
        let late = Time::ZERO + ACK_GRACE;
        acks.wait(session, WaitNumber::default(), NEED, Some(mark), None, late);
        reply(&mut acks, Acked { local: 0, replicas: 1 }, &seen, late);
        let Some(Action::Answer { answer: Ok(again), .. }) = acks.poll_action() else {
            panic!("no count");
        };
        assert_eq!(again, Counted { confirmed: true, ..first });
        // It has gone.
        acks.wait(session, WaitNumber::default(), NEED, Some(mark), None, late + ACK_GRACE);
        let gone = Seen { online: 0, ..seen };
        reply(&mut acks, Acked::default(), &gone, late + ACK_GRACE);
        assert_eq!(acks.poll_action(), None, "it waits like who came for the first time");
        assert_eq!(acks.waiters(), 1);
    }

    #[test]
    fn at_a_deadline_nothing_is_told_for_who_is_out_of_reach() {
        let (mut acks, session, mark, _) = told_at(Time::ZERO);
        let late = Time::ZERO + ACK_GRACE;
        while acks.poll_action().is_some() {}
        acks.down(late);
        while acks.poll_action().is_some() {}
        acks.wait(session, WaitNumber::default(), NEED, Some(mark), Some(late + ACK_GRACE), late);
        assert_eq!(acks.next_timeout(), Some(late + ACK_GRACE));
        acks.handle_timeout(late + ACK_GRACE);
        let answer = Err(Denied::Unreachable);
        assert_eq!(
            acks.poll_action(),
            Some(Action::Answer { session, number: WaitNumber::default(), answer })
        );
    }
}
