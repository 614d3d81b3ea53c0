//! One session's wait over several shards.
//!
//! ```text
//!   shard 0   |-----> 2                                       min of the two: 1
//!   shard 1   |------------------------------------> 1
//!                     '------- long ago ----------'  is the 2 still true?  -> confirm
//! ```
//!
//! Each shard is asked for what is needed of it, and answers for itself; the session is told the
//! smallest count of any (for WAITAOF each of the two numbers by itself: the replicas of one shard
//! say nothing about the fsync of another), or, if it wants all or nothing, that one is short. A
//! loss or an error of any shard is the answer at once.
//!
//! While one shard's replicas are slow, another that answered long ago may fail over, and lose what
//! it counted. So a count that is no longer fresh when the last one comes in is confirmed first.
//! Once all of these are confirmed, all counts were true together, at the time when the last had
//! come in: how long the confirmations took is of no account, or shards that are far away would be
//! asked by turns for ever.

use super::words::{Acked, Answer, Counted, Denied, Mark, Need, WaitNumber};
use crate::ids::{Mirror, SessionId, ShardId, Time};
use crate::limits::ACK_KNOWN_AGE_MAX;

/// The sessions of an engine that are inside WAIT or WAITAOF.
#[derive(Clone, Debug, Default)]
pub struct Waits {
    joins: Mirror<SessionId, Join>,
    /// Waits that were ever opened.
    opened: u64,
}

/// A shard that takes part in a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which.
    pub shard: ShardId,
    /// The session's last write there; none if it never wrote anywhere.
    pub mark: Option<Mark>,
    /// What is needed there.
    pub need: Need,
}

/// Whether a session is told counts that are smaller than it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// They are what it asks for.
    WithWhatThereIs,
    /// It is told that a shard is short.
    WithNothingLess,
}

/// What is to be put together for one session.
#[derive(Clone, Debug)]
struct Join {
    number: WaitNumber,
    content: Content,
    deadline: Option<Time>,
    first: Slice,
    /// Not there for who wrote to one shard.
    others: Vec<Slice>,
}

/// What one shard contributes.
#[derive(Clone, Copy, Debug)]
struct Slice {
    part: Part,
    counted: Option<(Counted, Time)>,
    /// It is being confirmed.
    again: bool,
}

/// What an answer leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Others are missing.
    Waiting,
    /// This is the session's answer. It waits no longer; if it is an error, it is to be cancelled
    /// on the other shards.
    Decided(Answer),
    /// This shard has less than is needed of it. The session waits no longer.
    Short {
        /// Which.
        part: Part,
        /// What it has.
        acked: Acked,
    },
    /// All are there, but these are old: call each shard's `confirm`.
    Confirm(Vec<Confirm>),
}

/// A count to be confirmed by the shard that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirm {
    /// Which shard.
    pub shard: ShardId,
    /// Which of the session's waits it is about.
    pub number: WaitNumber,
    /// The session's last write there.
    pub mark: Option<Mark>,
    /// What the session asked for.
    pub need: Need,
    /// And until when.
    pub deadline: Option<Time>,
    /// What the shard answered.
    pub counted: Counted,
}

impl Waits {
    /// A session waits for the answers of `first` and `others`. Each of those shards' `wait` is to
    /// be called next.
    pub fn open(
        &mut self,
        session: SessionId,
        content: Content,
        deadline: Option<Time>,
        first: Part,
        others: impl IntoIterator<Item = Part>,
    ) -> WaitNumber {
        self.opened += 1;
        let number = WaitNumber(self.opened);
        let slice = |part| Slice { part, counted: None, again: false };
        let others = others.into_iter().map(slice).collect();
        let join = Join { number, content, deadline, first: slice(first), others };
        let old = self.joins.insert(session, join);
        debug_assert!(old.is_none(), "a session waits once at a time");
        number
    }

    /// Whether the session waits.
    pub fn is_open(&self, session: SessionId) -> bool {
        self.joins.get(session).is_some()
    }

    /// A shard has answered. An answer to a wait that has ended changes nothing.
    pub fn answered(
        &mut self,
        session: SessionId,
        number: WaitNumber,
        shard: ShardId,
        answer: Result<Counted, Denied>,
        now: Time,
    ) -> Verdict {
        let join = self.joins.get_mut(session).filter(|join| join.number == number);
        let Some(join) = join else { return Verdict::Waiting };
        let counted = match answer {
            Ok(counted) => counted,
            Err(denied) => {
                self.joins.remove(session);
                return Verdict::Decided(Err(denied));
            }
        };
        if let Some(slice) = join.slices().find(|slice| slice.part.shard == shard) {
            slice.counted = Some((counted, now));
        }
        if join.slices().any(|slice| slice.counted.is_none()) {
            return Verdict::Waiting;
        }
        let verdict = match join.stale(now) {
            Stale::None => join.verdict(),
            // Once is enough: whoever has no time left is told of the least that can be.
            Stale::Again if join.deadline.is_some_and(|deadline| deadline <= now) => {
                join.slices().for_each(Slice::forget);
                join.verdict()
            }
            Stale::Again | Stale::Some => return Verdict::Confirm(join.confirmations(now)),
        };
        self.joins.remove(session);
        verdict
    }

    /// The session is gone, or was unblocked with an error. It is to be cancelled on its shards.
    pub fn close(&mut self, session: SessionId) {
        self.joins.remove(session);
    }
}

impl Join {
    fn slices(&mut self) -> impl Iterator<Item = &mut Slice> {
        std::iter::once(&mut self.first).chain(&mut self.others)
    }

    /// Whether there are counts, now that all are in, that are no longer fresh.
    fn stale(&mut self, now: Time) -> Stale {
        let confirmed = |slice: &Slice| slice.counted.is_some_and(|(counted, _)| counted.confirmed);
        let asked_again = self.slices().any(|slice| slice.again);
        if asked_again && self.slices().all(|slice| !slice.again || confirmed(slice)) {
            return Stale::None;
        }
        match self.slices().any(|slice| slice.is_old(now)) {
            false => Stale::None,
            true if asked_again => Stale::Again,
            true => Stale::Some,
        }
    }

    /// Takes out the counts that are no longer fresh: their shards are missing again.
    fn confirmations(&mut self, now: Time) -> Vec<Confirm> {
        let (number, deadline) = (self.number, self.deadline);
        let old = |slice: &mut Slice| {
            slice.again = slice.is_old(now);
            let (counted, _) = slice.counted.take_if(|_| slice.again)?;
            let Part { shard, mark, need } = slice.part;
            Some(Confirm { shard, number, mark, need, deadline, counted })
        };
        self.slices().filter_map(old).collect()
    }

    fn verdict(&mut self) -> Verdict {
        let strict = self.content == Content::WithNothingLess;
        let short = self.slices().find_map(|slice| slice.short().filter(|_| strict));
        short.map_or_else(
            || Verdict::Decided(Ok(self.smallest())),
            |(part, acked)| Verdict::Short { part, acked },
        )
    }

    fn smallest(&mut self) -> Acked {
        let counts = self.slices().filter_map(|slice| slice.counted);
        counts.map(|(counted, _)| counted.acked).reduce(Acked::min).unwrap_or_default()
    }
}

/// Whether counts are to be confirmed.
enum Stale {
    None,
    /// Some are.
    Some,
    /// Some are, after a confirmation that was none.
    Again,
}

impl Slice {
    /// Makes nothing of what was counted.
    fn forget(&mut self) {
        if let Some((counted, _)) = &mut self.counted {
            counted.acked = Acked::default();
        }
    }

    /// What it has, if that is less than is needed.
    fn short(&self) -> Option<(Part, Acked)> {
        let acked = self.counted.map(|(counted, _)| counted.acked).unwrap_or_default();
        (!acked.meets(self.part.need.least())).then_some((self.part, acked))
    }

    fn is_old(&self, now: Time) -> bool {
        self.counted.is_some_and(|(_, at)| now.since(at) > ACK_KNOWN_AGE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acks::Epoch;
    use crate::ids::SlabId;

    const NEED: Need = Need::WaitAof { local: 1, replicas: 1 };

    fn open(shards: u16) -> (Waits, SessionId, WaitNumber) {
        let (mut waits, session) = (Waits::default(), SessionId::new(4, 1));
        let part = |shard| Part { shard: ShardId(shard), mark: None, need: NEED };
        let number =
            waits.open(session, Content::WithWhatThereIs, None, part(0), (1..shards).map(part));
        (waits, session, number)
    }

    fn counted(local: i64, replicas: i64) -> Counted {
        Counted { acked: Acked { local, replicas }, epoch: Epoch::default(), confirmed: false }
    }

    #[test]
    fn each_number_is_the_smallest_by_itself() {
        let (mut waits, session, number) = open(2);
        let first = waits.answered(session, number, ShardId(0), Ok(counted(0, 2)), Time(1));
        assert_eq!(first, Verdict::Waiting);
        let both = waits.answered(session, number, ShardId(1), Ok(counted(1, 1)), Time(2));
        assert_eq!(both, Verdict::Decided(Ok(Acked { local: 0, replicas: 1 })));
        assert!(!waits.is_open(session));
    }

    #[test]
    fn a_loss_is_the_answer_at_once() {
        let (mut waits, session, number) = open(3);
        let first = waits.answered(session, number, ShardId(2), Ok(counted(1, 1)), Time(1));
        assert_eq!(first, Verdict::Waiting);
        let lost = waits.answered(session, number, ShardId(1), Err(Denied::Lost), Time(2));
        assert_eq!(lost, Verdict::Decided(Err(Denied::Lost)));
        assert_eq!(
            waits.answered(session, number, ShardId(0), Ok(counted(1, 1)), Time(3)),
            Verdict::Waiting
        );
    }

    #[test]
    fn who_wants_nothing_less_is_told_which_shard_is_short() {
        let (mut waits, session) = (Waits::default(), SessionId::new(4, 1));
        let part = |shard, replicas| {
            let need = Need::WaitAof { local: 1, replicas };
            Part { shard: ShardId(shard), mark: None, need }
        };
        let mut told = |second: Counted| {
            let parts = [part(0, 2), part(1, 1)];
            let content = Content::WithNothingLess;
            let number = waits.open(session, content, None, parts[0], [parts[1]]);
            waits.answered(session, number, ShardId(0), Ok(counted(1, 2)), Time(1));
            waits.answered(session, number, ShardId(1), Ok(second), Time(2))
        };
        let enough = Verdict::Decided(Ok(Acked { local: 1, replicas: 1 }));
        assert_eq!(told(counted(1, 1)), enough);
        for (local, replicas) in [(1, 0), (0, 1)] {
            let acked = Acked { local, replicas };
            let short = Verdict::Short { part: part(1, 1), acked };
            assert_eq!(told(counted(local, replicas)), short);
        }
    }

    #[test]
    fn an_old_count_is_confirmed_before_it_is_told() {
        let (mut waits, session, number) = open(2);
        let late = Time(1) + ACK_KNOWN_AGE_MAX * 2;
        let first = waits.answered(session, number, ShardId(1), Ok(counted(1, 2)), Time(1));
        assert_eq!(first, Verdict::Waiting);
        let all = waits.answered(session, number, ShardId(0), Ok(counted(1, 1)), late);
        let Verdict::Confirm(stale) = all else { panic!("{all:?}") };
        assert_eq!(stale.iter().map(|stale| stale.shard).collect::<Vec<_>>(), [ShardId(1)]);
        let confirmed = waits.answered(session, number, ShardId(1), Ok(counted(1, 1)), late);
        assert_eq!(confirmed, Verdict::Decided(Ok(Acked { local: 1, replicas: 1 })));
    }

    #[test]
    fn an_answer_to_the_wait_before_is_none_to_this_one() {
        let (mut waits, session, old) = open(2);
        waits.close(session);
        let part = Part { shard: ShardId(0), mark: None, need: NEED };
        let number = waits.open(session, Content::WithWhatThereIs, None, part, []);
        let late = waits.answered(session, old, ShardId(0), Ok(counted(1, 2)), Time(1));
        assert_eq!(late, Verdict::Waiting);
        let own = waits.answered(session, number, ShardId(0), Ok(counted(1, 1)), Time(1));
        assert_eq!(own, Verdict::Decided(Ok(Acked { local: 1, replicas: 1 })));
    }

    #[test]
    fn shards_that_are_far_away_are_not_asked_by_turns_for_ever() {
        let (mut waits, session, number) = open(2);
        let trip = ACK_KNOWN_AGE_MAX * 5;
        let told = |waits: &mut Waits, shard, counted, at| {
            waits.answered(session, number, ShardId(shard), Ok(counted), at)
        };
        assert_eq!(told(&mut waits, 1, counted(1, 2), Time(1)), Verdict::Waiting);
        let all = told(&mut waits, 0, counted(1, 1), Time(1) + trip);
        assert!(matches!(all, Verdict::Confirm(_)), "{all:?}");
        let confirmed = Counted { confirmed: true, ..counted(1, 2) };
        let all = told(&mut waits, 1, confirmed, Time(1) + trip * 2);
        assert_eq!(all, Verdict::Decided(Ok(Acked { local: 1, replicas: 1 })));
    }

    #[test]
    fn who_has_no_time_left_is_not_asked_about_for_ever() {
        let (mut waits, session) = (Waits::default(), SessionId::new(4, 1));
        let part = |shard| Part { shard: ShardId(shard), mark: None, need: NEED };
        let number =
            waits.open(session, Content::WithWhatThereIs, Some(Time(5)), part(0), [part(1)]);
        let trip = ACK_KNOWN_AGE_MAX * 5;
        let told = |waits: &mut Waits, shard, at| {
            waits.answered(session, number, ShardId(shard), Ok(counted(1, 1)), at)
        };
        assert_eq!(told(&mut waits, 1, Time(1)), Verdict::Waiting);
        assert!(matches!(told(&mut waits, 0, Time(1) + trip), Verdict::Confirm(_)));
        // The shard has counted anew, and meanwhile the other's count has grown old.
        let all = told(&mut waits, 1, Time(1) + trip * 2);
        assert_eq!(all, Verdict::Decided(Ok(Acked::default())));
    }
}
