//! What a session remembers of its writes: for each shard that it wrote to, one mark.

use super::history::Resolved;
use super::shard::ShardAcks;
use super::words::Mark;
use crate::ids::ShardId;

/// The marks of one session. Most write to one shard between two waits, or to a few: the first is
/// kept in place, the others in a list that isn't there until it is needed.
#[derive(Clone, Debug, Default)]
pub struct SessionMarks {
    first: Option<(ShardId, Trace)>,
    others: Vec<(ShardId, Trace)>,
}

/// What is remembered of one shard.
#[derive(Clone, Copy, Debug, Default)]
struct Trace {
    /// The last write.
    mark: Option<Mark>,
    /// Whether a write before it may be lost, of which the client hasn't been told.
    lost: bool,
}

impl SessionMarks {
    /// The reply of a write is here: marks its shard.
    ///
    /// One mark stands for all writes before it, so a mark of an older generation is replaced only
    /// if its writes are part of the new history; else their loss is kept, to be told.
    pub fn wrote(&mut self, shard: ShardId, acks: &ShardAcks) {
        let mark = acks.mark();
        let trace = self.trace(shard);
        if let Some(old) = trace.mark
            && old.generation != mark.generation
        {
            trace.lost |= acks.resolve(old) == Resolved::Lost;
        }
        trace.mark = Some(mark);
    }

    /// A write was sent, and its connection died before the reply: nobody knows what became of it.
    pub fn lost(&mut self, shard: ShardId) {
        self.trace(shard).lost = true;
    }

    /// The first shard on which a write may be lost of which the client hasn't been told. The loss
    /// is forgotten, because the caller tells the client now: also of a loss that a waiting session
    /// hears of ([`super::Denied::Lost`]). What was written there since is not forgotten. Each
    /// further shard is told by a WAIT of its own, so that every one is named.
    pub fn take_loss<'a>(
        &mut self,
        acks: impl Fn(ShardId) -> Option<&'a ShardAcks>,
    ) -> Option<ShardId> {
        let ended =
            |shard, mark| acks(shard).is_some_and(|acks| acks.resolve(mark) == Resolved::Lost);
        let (shard, trace) = self.traces().find(|&(shard, trace)| {
            trace.lost || trace.mark.is_some_and(|mark| ended(shard, mark))
        })?;
        self.forget_loss(shard, trace, ended);
        Some(shard)
    }

    /// The client is told now of the loss on this shard, and perhaps of others besides: it is
    /// forgotten as [`Self::take_loss`] does it.
    pub fn loss_was_told<'a>(
        &mut self,
        shard: ShardId,
        acks: impl Fn(ShardId) -> Option<&'a ShardAcks>,
    ) {
        let ended =
            |shard, mark| acks(shard).is_some_and(|acks| acks.resolve(mark) == Resolved::Lost);
        let trace = self.traces().find(|&(marked, _)| marked == shard);
        if let Some((_, trace)) = trace {
            self.forget_loss(shard, trace, ended);
        }
    }

    fn forget_loss(&mut self, shard: ShardId, trace: Trace, ended: impl Fn(ShardId, Mark) -> bool) {
        match trace.mark {
            Some(mark) if !ended(shard, mark) => self.trace(shard).lost = false,
            _ => self.forget(shard),
        }
    }

    fn forget(&mut self, shard: ShardId) {
        self.others.retain(|&(other, _)| other != shard);
        if self.first.is_some_and(|(first, _)| first == shard) {
            self.first = self.others.pop();
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.first = None;
        self.others.clear();
    }

    /// Whether the session never wrote, or was told of the loss of all it wrote.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// The last write on a shard, if there was any: its mark, or none if nobody knows what became
    /// of it.
    pub fn of(&self, shard: ShardId) -> Option<Option<Mark>> {
        let (_, trace) = self.traces().find(|&(marked, _)| marked == shard)?;
        Some(trace.mark.filter(|_| !trace.lost))
    }

    /// The shards written to, each with its mark, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (ShardId, Mark)> {
        self.traces().filter_map(|(shard, trace)| Some((shard, trace.mark?)))
    }

    fn traces(&self) -> impl Iterator<Item = (ShardId, Trace)> {
        self.first.iter().chain(&self.others).copied()
    }

    fn trace(&mut self, shard: ShardId) -> &mut Trace {
        let (first, trace) = self.first.get_or_insert((shard, Trace::default()));
        if *first == shard {
            return trace;
        }
        let place = self.others.iter().position(|&(other, _)| other == shard);
        let place = place.unwrap_or_else(|| {
            self.others.push((shard, Trace::default()));
            self.others.len() - 1
        });
        &mut self.others[place].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acks::{Generation, Proof, Seen};
    use crate::ids::Time;

    fn begin(acks: &mut ShardAcks, generation: u64, proof: Proof) {
        let seen = Seen {
            generation: Generation(generation),
            offset: 100,
            backlog_active: true,
            aof_enabled: false,
            cluster_enabled: false,
            online: 1,
        };
        acks.new_generation(proof, &seen, Time::ZERO);
        let number = acks.begin_report();
        acks.report(number, &seen);
    }

    #[test]
    fn a_loss_is_told_once_even_if_more_was_written_since() {
        let (mut acks, mut marks) = (ShardAcks::new(), SessionMarks::default());
        begin(&mut acks, 1, Proof::Nothing);
        marks.wrote(ShardId(0), &acks);
        begin(&mut acks, 2, Proof::Below(50));
        marks.wrote(ShardId(0), &acks);
        assert_eq!(marks.take_loss(|_| Some(&acks)), Some(ShardId(0)));
        assert_eq!(marks.take_loss(|_| Some(&acks)), None);
        assert_eq!(marks.iter().next(), Some((ShardId(0), acks.mark())), "the later write counts");
    }

    #[test]
    fn a_session_that_lost_all_has_written_nothing() {
        let (mut acks, mut marks) = (ShardAcks::new(), SessionMarks::default());
        begin(&mut acks, 1, Proof::Nothing);
        marks.wrote(ShardId(0), &acks);
        begin(&mut acks, 2, Proof::Nothing);
        assert_eq!(marks.take_loss(|_| Some(&acks)), Some(ShardId(0)));
        assert!(marks.is_empty());
    }

    #[test]
    fn what_is_proven_is_no_loss() {
        let (mut acks, mut marks) = (ShardAcks::new(), SessionMarks::default());
        begin(&mut acks, 1, Proof::Nothing);
        marks.wrote(ShardId(0), &acks);
        let number = acks.begin_report();
        acks.report(number, &Seen { offset: 120, ..acks.seen.unwrap() });
        begin(&mut acks, 2, Proof::Below(121));
        assert_eq!(marks.take_loss(|_| Some(&acks)), None);
        marks.wrote(ShardId(0), &acks);
        assert_eq!(marks.take_loss(|_| Some(&acks)), None);
        assert_eq!(marks.iter().next(), Some((ShardId(0), acks.mark())));
    }

    #[test]
    fn each_shard_is_told_by_itself() {
        let (mut acks, mut marks) = (ShardAcks::new(), SessionMarks::default());
        begin(&mut acks, 1, Proof::Nothing);
        marks.wrote(ShardId(0), &acks);
        marks.wrote(ShardId(1), &acks);
        marks.wrote(ShardId(2), &acks);
        marks.lost(ShardId(1));
        marks.lost(ShardId(0));
        assert_eq!(marks.take_loss(|_| Some(&acks)), Some(ShardId(0)));
        assert_eq!(marks.take_loss(|_| Some(&acks)), Some(ShardId(1)));
        assert_eq!(marks.take_loss(|_| Some(&acks)), None);
        assert_eq!(marks.iter().count(), 3, "only what was unknown is forgotten");
    }

    #[test]
    fn the_loss_that_was_told_is_the_one_that_is_forgotten() {
        let (mut acks, mut marks) = (ShardAcks::new(), SessionMarks::default());
        begin(&mut acks, 1, Proof::Nothing);
        marks.wrote(ShardId(0), &acks);
        marks.wrote(ShardId(1), &acks);
        marks.lost(ShardId(0));
        marks.lost(ShardId(1));
        marks.loss_was_told(ShardId(1), |_| Some(&acks));
        marks.loss_was_told(ShardId(2), |_| Some(&acks));
        assert_eq!(marks.take_loss(|_| Some(&acks)), Some(ShardId(0)));
        assert_eq!(marks.take_loss(|_| Some(&acks)), None);
        assert_eq!(marks.iter().count(), 2);
    }
}
