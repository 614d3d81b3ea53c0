//! How rounds start, come back, and give way to one another.
//!
//! ```text
//!     wait()            start_rounds()                    round_replied()
//!   --------> queue ----------------------> members ----------------------> answered
//!       |       ^                              |  ^ |
//!       |       |  gives way to who queued     |  | | unmet: asked again
//!       |       '------------------------------'  | '--.
//!       '-----------------------------------------'<---'
//!          a round is out that covers the mark
//! ```
//!
//! **Two rounds of a class may be out.** When both are (a replica is stopped, or slow) and somebody
//! has queued, the older stays out, as the *anchor*: whoever is in it gets the answer as soon as
//! the replicas have come up to there, whatever comes later. The younger gives way: it is
//! unblocked, and starts anew with its own unmet waiters and the queue's. So nobody starves, and
//! everybody is in a round that covers him before long, from which his deadline can be answered.

use super::class::{Class, reachable};
use super::shard::ShardAcks;
use super::tracker::{Round, State, Tracker};
use super::waiters::{Place, Row};
use super::words::{
    Acked, Action, Barrier, Counted, Denied, ErrorText, Need, RoundNumber, Seen, TrackerId,
};
use crate::ids::{SessionId, Time};
use crate::limits::{ACK_REFUSED_DELAY, ACK_TRACKER_IDLE_MAX};

impl ShardAcks {
    // ---- where a waiter stands

    /// Puts a waiter that stands in no row into a round that is out and covers it, else into the
    /// queue.
    pub(super) fn place(&mut self, session: SessionId, now: Time) {
        let Some(waiter) = self.waiters.get(session) else { return };
        let (class, expired) = (waiter.class, waiter.expired);
        let Some(tracker) = self.joinable(session) else { return self.enqueue(session, class) };
        let settle = self.settle(class);
        let Some(Tracker { state: State::Out(round), .. }) = self.trackers.get_mut(tracker) else {
            return;
        };
        self.waiters.push(&mut round.members, session, Place::Round(tracker));
        if expired {
            let settled = round.started + settle;
            self.press(tracker, settled, now);
        }
    }

    /// The oldest round that is out, covers the waiter, and asks for no more than the waiter would.
    fn joinable(&self, session: SessionId) -> Option<TrackerId> {
        let waiter = self.waiters.get(session)?;
        let wanted = self.wanted(waiter.goal, Acked::default());
        let row = &self.classes[waiter.class.index()];
        let rounds = row.trackers.iter().flatten().filter_map(|&id| Some((id, self.out(id)?)));
        rounds
            .filter(|(_, round)| {
                waiter.mark.is_none_or(|mark| round.number >= mark.round)
                    && round.ask.least().replicas <= wanted.replicas
                    && round.refused.is_none()
            })
            .min_by_key(|(_, round)| round.number)
            .map(|(id, _)| id)
    }

    /// Puts a waiter that stands in no row into the queue of its class.
    fn enqueue(&mut self, session: SessionId, class: Class) {
        self.waiters.push(&mut self.classes[class.index()].queue, session, Place::Queue);
        self.queued |= class.bit();
    }

    /// Takes a waiter out of the row in which it stands.
    pub(super) fn dequeue(&mut self, session: SessionId) {
        let Some(waiter) = self.waiters.get(session) else { return };
        let class = waiter.class;
        match waiter.place {
            Place::Queue => {
                let queue = &mut self.classes[class.index()].queue;
                self.waiters.take(queue, session);
                if queue.is_empty() {
                    self.queued &= !class.bit();
                }
            }
            Place::Round(id) => {
                if let Some(Tracker { state: State::Out(round), .. }) = self.trackers.get_mut(id) {
                    self.waiters.take(&mut round.members, session);
                }
            }
        }
    }

    /// Moves all of a round's members, in their order, to the queue of their class.
    fn enqueue_all(&mut self, mut members: Row) {
        while let Some(session) = members.first() {
            self.waiters.take(&mut members, session);
            if let Some(class) = self.waiters.get(session).map(|waiter| waiter.class) {
                self.enqueue(session, class);
            }
        }
    }

    /// Has all of a round's members find a place anew, by what is seen of the shard now.
    fn enter_all(&mut self, mut members: Row, now: Time) {
        while let Some(session) = members.first() {
            self.waiters.take(&mut members, session);
            self.aim(session);
            self.place(session, now);
        }
    }

    // ---- starting

    /// Starts a round for every class in whose queue somebody stands, where that can be.
    pub(super) fn start_queued(&mut self, now: Time) {
        let mut rest = self.queued;
        while let Some(class) = Class::first_in(rest) {
            rest &= !class.bit();
            self.start_class(class, now);
        }
    }

    fn start_class(&mut self, class: Class, now: Time) {
        let row = &self.classes[class.index()];
        if row.ask_after.is_some() {
            return;
        }
        let state = |id: TrackerId| self.trackers.get(id).map(|tracker| &tracker.state);
        let ids = || row.trackers.iter().flatten().copied();
        if let Some(id) = ids().find(|&id| matches!(state(id), Some(State::Ready(_)))) {
            return self.begin_round(id, class, now);
        }
        if ids().any(|id| matches!(state(id), Some(State::Opening))) {
            return;
        }
        let free = row.trackers.iter().position(Option::is_none);
        if let Some(place) = free.filter(|_| row.open_after.is_none()) {
            let id = self.trackers.insert(Tracker { class, state: State::Opening });
            self.classes[class.index()].trackers[place] = Some(id);
            self.actions.push_back(Action::OpenTracker(id));
            return;
        }
        let younger = ids()
            .find(|&id| self.out(id).is_some_and(|round| self.gives_way(class, id, round.number)));
        if let Some(id) = younger {
            let settled = self.out(id).map_or(now, |round| round.started + self.settle(class));
            self.press(id, settled, now);
        }
    }

    /// Asks on a ready tracker for all who stand in the queue of its class.
    fn begin_round(&mut self, id: TrackerId, class: Class, now: Time) {
        let Some(believed) = self.seen else { return };
        let barrier = if class.wrote() { barrier(&believed) } else { Barrier::None };
        let number = self.take_number();
        let settled = now + self.settle(class);
        let mut queue = std::mem::take(&mut self.classes[class.index()].queue);
        self.queued &= !class.bit();

        let mut members = Row::default();
        let (mut ask, mut expired) = (None, false);
        while let Some(session) = queue.first() {
            self.waiters.take(&mut queue, session);
            self.waiters.push(&mut members, session, Place::Round(id));
            let Some(waiter) = self.waiters.get(session) else { continue };
            ask = Some(self.smaller_ask(ask, waiter.question(), waiter.goal, Acked::default()));
            expired |= waiter.expired;
        }
        let (Some(ask), Some(tracker)) = (ask, self.trackers.get_mut(id)) else { return };
        let mut round = Round::new(number, barrier, ask, believed, now);
        round.members = members;
        if expired {
            round.unblock_by(settled);
        }
        tracker.state = State::Out(round);
        self.counts.rounds += 1;
        self.actions.push_back(Action::Ask { tracker: id, barrier, ask });
    }

    /// What a waiter with this goal is to ask for, when `acked` is already so: what is missing, and
    /// no more than what the next replica to come can bring, so that the question returns when
    /// anything changes that could matter. It is never less than what would block.
    fn wanted(&self, goal: Acked, acked: Acked) -> Acked {
        let replicas = if acked.replicas >= goal.replicas {
            goal.replicas
        } else {
            reachable(goal.replicas, self.online().max(acked.replicas))
        };
        Acked { local: goal.local, replicas }
    }

    /// `ask`, or what this waiter would ask for if that is less.
    fn smaller_ask(&self, ask: Option<Need>, need: Need, goal: Acked, acked: Acked) -> Need {
        let own = need.with(self.wanted(goal, acked));
        match ask {
            Some(ask) if ask.least().replicas <= own.least().replicas => ask,
            _ => own,
        }
    }

    // ---- coming back

    /// The replies of the round that `id` has out are here.
    pub(super) fn replied(
        &mut self,
        id: TrackerId,
        outcome: Result<Acked, ErrorText>,
        seen: &Seen,
        now: Time,
    ) {
        let Some(tracker) = self.trackers.get_mut(id) else { return };
        if !matches!(tracker.state, State::Out(_)) {
            return;
        }
        let class = tracker.class;
        let State::Out(round) = std::mem::replace(&mut tracker.state, State::Ready(now)) else {
            return;
        };
        self.learn(round.number, seen);
        match (round.refused.clone(), outcome) {
            (Some(text), _) | (None, Err(text)) => self.refused(class, round, &text, now),
            (None, Ok(_)) if class.wrote() && !round.barrier_held(seen) => {
                // The barrier was chosen by what has turned out to be no longer so; and maybe
                // goals, too.
                self.enter_all(round.members, now);
            }
            (None, Ok(acked)) => self.counted(id, class, round, acked, now),
        }
    }

    /// A count is here: whoever it contents is answered, and whoever has no time left.
    fn counted(&mut self, id: TrackerId, class: Class, mut round: Round, acked: Acked, now: Time) {
        let acked = if class.wrote() { round.count(acked) } else { acked };
        if class.wrote() {
            self.known.note(round.ask.is_aof(), round.number, acked, now);
            let reached = round.ask.least().replicas > 0 && !round.ask.is_aof() && !round.hurried;
            if reached {
                self.lap = Some(now.since(round.started));
            }
        }
        let settled = now >= round.started + self.settle(class);
        let (mut again, mut expired) = (None, false);
        let mut next = round.members.first();
        while let Some(session) = next {
            let Some(waiter) = self.waiters.get(session) else { break };
            next = waiter.after();
            let (need, goal) = (waiter.question(), waiter.goal);
            // No replica has left, as the INFO has just shown: what was known before is true as
            // well.
            let once = waiter.mark.and_then(|mark| self.known.ever(need.is_aof(), mark.round));
            let told = once.map_or(acked, |once| once.max(acked));
            if let Some(old) = waiter.confirms {
                self.waiters.take(&mut round.members, session);
                if old.epoch == self.epoch {
                    self.answer(session, Ok(Counted { confirmed: true, ..old }));
                } else {
                    self.recount(session, now);
                }
            } else if told.meets(goal) || (waiter.expired && settled) {
                self.waiters.take(&mut round.members, session);
                self.counted_as(session, told);
            } else if Class::of(need, goal, class.wrote(), self.online()) != class {
                // A replica came or went: who asks for more is no longer in one row with who
                // doesn't.
                self.waiters.take(&mut round.members, session);
                self.aim(session);
                self.place(session, now);
            } else {
                expired |= waiter.expired;
                again = Some(self.smaller_ask(again, need, goal, acked));
            }
        }
        let Some(ask) = again else { return };
        if settled && self.gives_way(class, id, round.number) {
            return self.enqueue_all(round.members);
        }
        round.asked(ask, now);
        if expired {
            round.unblock_by(round.started + self.settle(class));
        }
        let Some(tracker) = self.trackers.get_mut(id) else { return };
        tracker.state = State::Out(round);
        self.counts.asked_again += 1;
        self.actions.push_back(Action::AskAgain { tracker: id, ask });
    }

    /// The shard answered with an error: for the barrier, or for the question.
    ///
    /// If it may pass (no memory for the barrier, too few replicas for a write, a script that is
    /// busy), it is asked again until the deadlines. Else it is the answer: nobody should wait for
    /// an operator to grant a permission.
    fn refused(&mut self, class: Class, mut round: Round, text: &ErrorText, now: Time) {
        if may_pass(text) {
            self.classes[class.index()].ask_after = Some(now + ACK_REFUSED_DELAY);
            return self.enqueue_all(round.members);
        }
        let no_aof = self.seen.is_some_and(|seen| !seen.aof_enabled);
        while let Some(session) = round.members.first() {
            self.waiters.take(&mut round.members, session);
            let Some(waiter) = self.waiters.get(session) else { continue };
            if no_aof && waiter.goal.local > waiter.need.least().local {
                // It was us who asked for the local fsync, when there still was an AOF.
                self.aim(session);
                self.place(session, now);
            } else {
                self.answer(session, Err(Denied::Error(text.clone())));
            }
        }
    }

    // ---- giving way

    /// Whether the round `number` on `id` is to start anew for those in the queue: somebody is
    /// there, and has nowhere else to go; and an older round stays out, or there is no second
    /// connection to be had.
    fn gives_way(&self, class: Class, id: TrackerId, number: RoundNumber) -> bool {
        let row = &self.classes[class.index()];
        if row.queue.is_empty() {
            return false;
        }
        let other = row.trackers.iter().flatten().find(|&&other| other != id);
        match other.and_then(|&other| self.trackers.get(other)) {
            Some(Tracker { state: State::Out(other), .. }) => other.number < number,
            Some(_) => false,
            // The second couldn't be opened.
            None => row.open_after.is_some(),
        }
    }

    /// Has the question on `id` return the count as it stands, at the time `at`; at once if that is
    /// past.
    pub(super) fn press(&mut self, id: TrackerId, at: Time, now: Time) {
        let Some(Tracker { state: State::Out(round), .. }) = self.trackers.get_mut(id) else {
            return;
        };
        round.unblock_by(at);
        if round.unblock_due(now) {
            self.counts.unblocks += 1;
            self.actions.push_back(Action::Unblock { tracker: id });
        }
    }

    /// Unblocks what is due, closes what nobody needs.
    pub(super) fn tick_trackers(&mut self, now: Time) {
        let mut idle = None;
        for (id, tracker) in self.trackers.iter_mut() {
            match &mut tracker.state {
                State::Opening => {}
                State::Ready(since) => {
                    if now.since(*since) >= ACK_TRACKER_IDLE_MAX {
                        idle = Some(id);
                    }
                }
                State::Out(round) => {
                    if round.unblock_due(now) {
                        self.counts.unblocks += 1;
                        self.actions.push_back(Action::Unblock { tracker: id });
                    }
                }
            }
        }
        // One at a time: the next is due at once, and this way no list is needed.
        if let Some(id) = idle {
            self.drop_tracker(id);
            self.actions.push_back(Action::CloseTracker(id));
        }
    }

    // ---- trackers

    /// The round that a tracker has out.
    pub(super) fn out(&self, id: TrackerId) -> Option<&Round> {
        match &self.trackers.get(id)?.state {
            State::Out(round) => Some(round),
            State::Opening | State::Ready(_) => None,
        }
    }

    /// Forgets a tracker; its members queue again. Returns its class.
    pub(super) fn drop_tracker(&mut self, id: TrackerId) -> Option<Class> {
        let tracker = self.trackers.remove(id)?;
        for place in &mut self.classes[tracker.class.index()].trackers {
            if *place == Some(id) {
                *place = None;
            }
        }
        if let State::Out(round) = tracker.state {
            self.enqueue_all(round.members);
        }
        Some(tracker.class)
    }

    /// Closes all trackers; their members queue again.
    pub(super) fn close_trackers(&mut self) {
        let ids: Vec<TrackerId> = self.trackers.iter().map(|(id, _)| id).collect();
        for id in ids {
            self.drop_tracker(id);
            self.actions.push_back(Action::CloseTracker(id));
        }
    }
}

/// The barrier that moves the offset of a connection to this shard.
///
/// SPUBLISH is the one to like: it writes nothing, and nothing refuses it. But a shard propagates
/// it only to a backlog, and not in cluster mode. Whether there is a backlog can't change within a
/// generation (making or freeing one makes a new replication id), but it is checked after the round
/// all the same. FUNCTION RESTORE of nothing is a write that changes nothing, and moves the offset
/// wherever any write does. Where neither does, no write moves any offset, and no replica has
/// anything.
fn barrier(seen: &Seen) -> Barrier {
    match (seen.backlog_active, seen.cluster_enabled, seen.aof_enabled) {
        (true, false, _) => Barrier::Spublish,
        (true, true, _) | (false, _, true) => Barrier::FunctionRestore,
        (false, _, false) => Barrier::None,
    }
}

/// Whether a stock server takes back an error of this code by itself.
fn may_pass(text: &[u8]) -> bool {
    const PASSING: [&[u8]; 8] = [
        b"OOM",
        b"NOREPLICAS",
        b"MISCONF",
        b"LOADING",
        b"BUSY",
        b"TRYAGAIN",
        b"UNBLOCKED",
        b"READONLY",
    ];
    let code = text.split(|&byte| byte == b' ').next().unwrap_or_default();
    PASSING.contains(&code)
}
