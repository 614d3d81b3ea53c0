//! Where the writes of the past lie, and whether a new primary has them.
//!
//! ```text
//!   round or poll       3        5        9          (each ends with an INFO)
//!   bound             117      205      480          (its master_repl_offset)
//!                ------+--------+--------+------->   offsets of this generation
//!   marks         1 2 3   4  5    6 .. 9
//! ```
//!
//! A write whose mark says "round 4" had its reply here before round 4 was sent; the next INFO
//! after that is round 5's; so the write ended at or below 205. When a replica is promoted it tells
//! from which offset on its own history differs (`second_repl_offset`): if that is above 205, the
//! write is part of what it has. A bound that is too high can only make a survivor look lost, so
//! forgetting bounds is safe.

use std::collections::VecDeque;

use super::words::{Generation, Mark, Proof, RoundNumber};
use crate::limits::{ACK_BOUNDS_MAX, ACK_PAST_MAX};

/// What became of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// The write is part of the shard's present history, under this mark.
    Current(Mark),
    /// Nothing proves that it is.
    Lost,
}

/// Upper bounds for the offsets of one generation's writes: both columns strictly ascending.
#[derive(Clone, Debug, Default)]
struct Bounds(VecDeque<(RoundNumber, u64)>);

impl Bounds {
    /// Notes that every write with a mark up to `round` ended at or below `offset`.
    fn note(&mut self, round: RoundNumber, offset: u64) {
        // Replies of different connections may come in another order than their questions went out.
        if self.of(round).is_some_and(|bound| bound <= offset) {
            return;
        }
        self.0.retain(|&(older, bound)| older > round || bound < offset);
        if self.0.len() == ACK_BOUNDS_MAX {
            self.thin();
        }
        let place = self.0.partition_point(|&(older, _)| older < round);
        self.0.insert(place, (round, offset));
    }

    /// Drops every second bound of the older half, so that old marks keep a bound that is roughly
    /// as old as they are.
    fn thin(&mut self) {
        let mut index = 0;
        self.0.retain(|_| {
            index += 1;
            index > ACK_BOUNDS_MAX / 2 || index % 2 == 1
        });
    }

    /// The lowest bound known for marks of `round`.
    fn of(&self, round: RoundNumber) -> Option<u64> {
        let place = self.0.partition_point(|&(noted, _)| noted < round);
        self.0.get(place).map(|&(_, bound)| bound)
    }
}

/// A generation that has ended.
#[derive(Clone, Debug)]
struct Past {
    generation: Generation,
    bounds: Bounds,
    /// What the generation after it proved about it.
    proof: Proof,
}

/// The present generation of a shard, and the last few before it.
#[derive(Clone, Debug)]
pub(super) struct History {
    generation: Generation,
    /// The first round of the present generation: what a proven mark of an older one becomes.
    first: RoundNumber,
    bounds: Bounds,
    past: VecDeque<Past>,
}

impl History {
    /// Before the first connection.
    pub(super) fn new(first: RoundNumber) -> Self {
        Self {
            generation: Generation::default(),
            first,
            bounds: Bounds::default(),
            past: VecDeque::new(),
        }
    }

    /// The present generation.
    pub(super) fn generation(&self) -> Generation {
        self.generation
    }

    /// Notes what an INFO said that was sent as, or with, `round`.
    pub(super) fn note(&mut self, round: RoundNumber, offset: u64) {
        self.bounds.note(round, offset);
    }

    /// Begins `generation`, whose first round will be `first`.
    pub(super) fn begin(&mut self, generation: Generation, first: RoundNumber, proof: Proof) {
        if self.past.len() == ACK_PAST_MAX {
            self.past.pop_front();
        }
        let bounds = std::mem::take(&mut self.bounds);
        self.past.push_back(Past { generation: self.generation, bounds, proof });
        self.generation = generation;
        self.first = first;
    }

    /// Whether the write behind `mark` is part of the present history.
    ///
    /// A mark of some generations ago needs the proof of each change since: offsets go on counting
    /// over a promotion, so its bound is good for all of them.
    pub(super) fn resolve(&self, mark: Mark) -> Resolved {
        if mark.generation == self.generation {
            return Resolved::Current(mark);
        }
        let mut changes = self.past.iter().skip_while(|past| past.generation != mark.generation);
        let Some(own) = changes.next() else { return Resolved::Lost };
        let Some(bound) = own.bounds.of(mark.round) else { return Resolved::Lost };
        let survived = |past: &Past| matches!(past.proof, Proof::Below(end) if bound < end);
        if survived(own) && changes.all(survived) {
            Resolved::Current(Mark { generation: self.generation, round: self.first })
        } else {
            Resolved::Lost
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(noted: &[(u64, u64)]) -> Bounds {
        let mut bounds = Bounds::default();
        for &(round, offset) in noted {
            bounds.note(RoundNumber(round), offset);
        }
        bounds
    }

    #[test]
    fn a_mark_takes_the_lowest_bound_that_covers_it() {
        let bounds = bounds(&[(3, 117), (9, 480), (5, 205)]);
        let of = |round| bounds.of(RoundNumber(round));
        assert_eq!(of(1), Some(117));
        assert_eq!(of(4), Some(205));
        assert_eq!(of(9), Some(480));
        assert_eq!(of(10), None);
    }

    #[test]
    fn a_late_reply_does_not_raise_a_bound() {
        // Round 5 was answered long after round 9, so its INFO shows a higher offset.
        let bounds = bounds(&[(9, 480), (5, 600)]);
        assert_eq!(bounds.of(RoundNumber(4)), Some(480));
    }

    #[test]
    fn thinning_never_lowers_a_bound() {
        let all: Vec<(u64, u64)> = (1..1000).map(|round| (round, round * 10)).collect();
        let bounds = bounds(&all);
        assert!(bounds.0.len() <= ACK_BOUNDS_MAX);
        for &(round, offset) in &all {
            assert!(bounds.of(RoundNumber(round)).is_some_and(|bound| bound >= offset));
        }
        assert!(bounds.0.iter().zip(bounds.0.iter().skip(1)).all(|(a, b)| a.0 < b.0 && a.1 < b.1));
    }

    #[test]
    fn a_mark_survives_only_what_is_proven_at_each_change() {
        let mut history = History::new(RoundNumber(1));
        history.begin(Generation(1), RoundNumber(1), Proof::Nothing);
        history.note(RoundNumber(2), 100);
        history.begin(Generation(2), RoundNumber(3), Proof::Below(101));
        let mark = |round| Mark { generation: Generation(1), round: RoundNumber(round) };
        let now = |generation, round| {
            let (generation, round) = (Generation(generation), RoundNumber(round));
            Resolved::Current(Mark { generation, round })
        };
        assert_eq!(history.resolve(mark(2)), now(2, 3));
        assert_eq!(history.resolve(mark(3)), Resolved::Lost, "no bound was seen");
        history.begin(Generation(3), RoundNumber(5), Proof::Below(101));
        assert_eq!(history.resolve(mark(1)), now(3, 5));
        history.begin(Generation(4), RoundNumber(6), Proof::Below(100));
        assert_eq!(history.resolve(mark(1)), Resolved::Lost, "100 is beyond the second change");
    }
}
