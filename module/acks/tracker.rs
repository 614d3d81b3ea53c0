//! A tracker connection and the round that it has out.
//!
//! ```text
//!             ready              begin              replied, somebody unmet
//!   Opening ---------> Ready ------------> Out  ------------------------------.
//!                        ^  nobody unmet,   | ^      asked again, same offset |
//!                        '------------------' '-------------------------------'
//!                          or taken along into a newer round
//! ```

use std::time::Duration;

use super::class::Class;
use super::waiters::Row;
use super::words::{Acked, Barrier, ErrorText, Need, RoundNumber, Seen};
use crate::ids::Time;
use crate::limits::{ACK_REASK_FIRST, ACK_REASK_MAX};

/// A tracker connection.
#[derive(Clone, Debug)]
pub(super) struct Tracker {
    /// Whose rounds it asks; it never changes, so a tracker of those who never wrote never sends a
    /// barrier.
    pub(super) class: Class,
    pub(super) state: State,
}

/// What a tracker is doing.
#[derive(Clone, Debug)]
pub(super) enum State {
    /// It isn't connected and greeted yet.
    Opening,
    /// It has nothing to do since then.
    Ready(Time),
    /// It has asked, and the reply isn't here.
    Out(Round),
}

/// A question that is out.
#[derive(Clone, Debug)]
pub(super) struct Round {
    pub(super) number: RoundNumber,
    pub(super) barrier: Barrier,
    /// What was asked last.
    pub(super) ask: Need,
    /// When the barrier went out.
    pub(super) started: Time,
    /// What was believed of the shard then; the barrier was chosen by it.
    pub(super) believed: Seen,
    /// Who waits for the reply.
    pub(super) members: Row,
    /// When the question is to be unblocked, if it is still out then.
    pub(super) unblock_at: Option<Time>,
    /// How long the next WAITAOF is left alone before it is asked again.
    reask: Duration,
    /// How long an unblocking is waited for before it is repeated.
    repeat: Duration,
    /// Whether it was unblocked since it was last asked, so that the reply must be under way.
    unblocked: bool,
    /// The shard's error for the barrier: the count is about nothing.
    pub(super) refused: Option<ErrorText>,
    /// Whether it was unblocked since the barrier went out: its duration then says nothing.
    pub(super) hurried: bool,
}

impl Round {
    pub(super) fn new(
        number: RoundNumber,
        barrier: Barrier,
        ask: Need,
        believed: Seen,
        now: Time,
    ) -> Self {
        let mut round = Self {
            number,
            barrier,
            ask,
            started: now,
            believed,
            members: Row::default(),
            unblock_at: None,
            reask: ACK_REASK_FIRST,
            repeat: ACK_REASK_FIRST,
            unblocked: false,
            refused: None,
            hurried: false,
        };
        round.asked(ask, now);
        round
    }

    /// Notes that the question went out.
    ///
    /// A blocked WAITAOF is unblocked by and by, to be asked again: facts in the doc of
    /// [`ACK_REASK_FIRST`]. A WAIT isn't: a replica's plain acknowledgement is never stale, and it
    /// comes once a second in any case.
    pub(super) fn asked(&mut self, ask: Need, now: Time) {
        self.ask = ask;
        self.unblock_at = None;
        self.unblocked = false;
        self.repeat = ACK_REASK_FIRST;
        if ask.is_aof() {
            self.unblock_by(now + self.reask);
            self.reask = (self.reask * 2).min(ACK_REASK_MAX);
        }
    }

    /// Asks for the count as it stands, `at` the latest. If it has been asked for already, the
    /// reply is under way.
    pub(super) fn unblock_by(&mut self, at: Time) {
        if !self.unblocked {
            self.unblock_at = Some(self.unblock_at.map_or(at, |earlier| earlier.min(at)));
        }
    }

    /// Whether it is to be unblocked now. If so, it will be again a while later: the CLIENT UNBLOCK
    /// travels on another connection, and may arrive before the question that it is for.
    pub(super) fn unblock_due(&mut self, now: Time) -> bool {
        if self.unblock_at.is_none_or(|at| at > now) {
            return false;
        }
        self.unblock_at = Some(now + self.repeat);
        self.repeat = (self.repeat * 2).min(ACK_REASK_MAX);
        self.unblocked = true;
        self.hurried = true;
        true
    }

    /// Whether the barrier really moved the connection's offset, judged by what was seen before it
    /// was sent and after the count was taken.
    ///
    /// What can't be told apart is a setting that was switched off and on again in between; nobody
    /// can switch off a backlog without a new replication id, and an AOF that is switched on again
    /// within one round is not worth a lock-step.
    pub(super) fn barrier_held(&self, seen: &Seen) -> bool {
        let backlog = self.believed.backlog_active && seen.backlog_active;
        let aof = self.believed.aof_enabled && seen.aof_enabled;
        match self.barrier {
            Barrier::Spublish => backlog && !seen.cluster_enabled,
            Barrier::FunctionRestore => backlog || aof,
            // Nothing was sent because nothing could move: true only if it was still so after it.
            Barrier::None => !seen.backlog_active && !seen.aof_enabled,
        }
    }

    /// What the reply says about those who wrote.
    pub(super) fn count(&self, acked: Acked) -> Acked {
        match self.barrier {
            // The connection's offset is 0, so a replica would be counted for being online.
            Barrier::None => Acked::default(),
            Barrier::Spublish | Barrier::FunctionRestore => acked,
        }
    }
}
