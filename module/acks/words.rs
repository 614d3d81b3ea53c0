//! The words of this room, all plain values.

use std::sync::Arc;

use crate::ids::{SessionId, slab_id};

/// One unbroken history of one primary: as long as its run id and its replication id stay the same.
/// The engine counts them, per shard, from 1; generation 0 is before the first connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

/// The number of a question to a primary, from 1, never used again, also not in a later generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoundNumber(pub u64);

/// What a session remembers of its last write on a shard: every round of this generation whose
/// number is at least `round` had its barrier sent after the write's reply was here, so it covers
/// the write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark {
    /// The history that the write is part of.
    pub generation: Generation,
    /// The first round that covers it.
    pub round: RoundNumber,
}

/// One wait of a session. A session waits many times, and an answer that was under way when one
/// wait ended must not be taken for an answer to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WaitNumber(pub(crate) u64);

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Need {
    /// `WAIT replicas timeout`. Zero and below: the count as it stands.
    Wait {
        /// How many replicas are to have the writes.
        replicas: i64,
    },
    /// `WAITAOF local replicas timeout`. Zero twice: the counts as they stand.
    WaitAof {
        /// 1 if the primary itself is to have fsynced the writes, else 0.
        local: i64,
        /// How many replicas are to have fsynced the writes.
        replicas: i64,
    },
}

/// What is asked by whoever wants no more than the INFO behind it.
pub(crate) const LEAST: Need = Need::Wait { replicas: 0 };

impl Need {
    /// The same, with another number of replicas.
    #[must_use]
    pub fn of_replicas(self, replicas: i64) -> Self {
        match self {
            Self::Wait { .. } => Self::Wait { replicas },
            Self::WaitAof { local, .. } => Self::WaitAof { local, replicas },
        }
    }

    /// The numbers asked for; below zero is zero, as a stock server compares.
    pub(crate) fn least(self) -> Acked {
        match self {
            Self::Wait { replicas } => Acked { local: 0, replicas: replicas.max(0) },
            Self::WaitAof { local, replicas } => {
                Acked { local: local.clamp(0, 1), replicas: replicas.max(0) }
            }
        }
    }

    /// Whether it is a WAITAOF.
    pub(crate) fn is_aof(self) -> bool {
        matches!(self, Self::WaitAof { .. })
    }

    /// The same question for other numbers.
    pub(crate) fn with(self, goal: Acked) -> Self {
        match self {
            Self::Wait { .. } => Self::Wait { replicas: goal.replicas },
            Self::WaitAof { .. } => Self::WaitAof { local: goal.local, replicas: goal.replicas },
        }
    }
}

/// How many have it. For a WAIT `local` means nothing and is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Acked {
    /// 1 if the primary itself has fsynced it, else 0.
    pub local: i64,
    /// Replicas that have it (WAIT), or have fsynced it (WAITAOF).
    pub replicas: i64,
}

impl Acked {
    /// Whether each number is at least that of `goal`.
    pub(crate) fn meets(self, goal: Self) -> bool {
        self.local >= goal.local && self.replicas >= goal.replicas
    }

    /// Each number by itself, the smaller one.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self { local: self.local.min(other.local), replicas: self.replicas.min(other.replicas) }
    }

    /// Each number by itself, the larger one.
    #[must_use]
    pub(crate) fn max(self, other: Self) -> Self {
        Self { local: self.local.max(other.local), replicas: self.replicas.max(other.replicas) }
    }
}

/// A shard's own error line, without `-` and line end, to be passed on as it is.
pub type ErrorText = Arc<[u8]>;

/// Why there is no number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The history that holds the writes has ended, and nothing proves that the new one has them.
    Lost,
    /// The time is up, and the shard can't be reached: nobody can say. What was written isn't
    /// forgotten.
    Unreachable,
    /// The shard answered with this error.
    Error(ErrorText),
}

/// A shard's state as far as a count stays true in it: another one as soon as its history has
/// changed, or a replica was seen to have left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub(crate) u64);

/// A count, and the epoch in which it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// How many.
    pub acked: Acked,
    /// Until when it stays true.
    pub epoch: Epoch,
    /// It was counted before, and is told again because it has been found to be still true.
    pub confirmed: bool,
}

/// The answer to a session: of all its shards together.
pub type Answer = Result<Acked, Denied>;

/// What moves a tracker connection's own replication offset past every write before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Barrier {
    /// Nothing is sent before the question.
    None,
    /// `SPUBLISH <private channel> ""`: moves the offset wherever there is a backlog, outside of
    /// cluster mode.
    Spublish,
    /// `FUNCTION RESTORE <empty payload>`: moves it wherever there is a backlog or an AOF. A write:
    /// it can be refused.
    FunctionRestore,
}

/// What an `INFO` of the primary said, as far as it concerns acknowledgements. The engine makes one
/// only of an INFO whose run id, role and replication id are still those of `generation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The history that the INFO belongs to.
    pub generation: Generation,
    /// `master_repl_offset`: no write whose reply was here when the INFO was sent lies beyond it.
    pub offset: u64,
    /// `repl_backlog_active`.
    pub backlog_active: bool,
    /// `aof_enabled`.
    pub aof_enabled: bool,
    /// `cluster_enabled`.
    pub cluster_enabled: bool,
    /// Replicas in state `online`.
    pub online: i64,
}

/// What a new history proves about the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Nothing: no write of the old history may be counted.
    Nothing,
    /// `master_replid2` is the old replication id, and this is `second_repl_offset`: every write
    /// that ended below this offset is part of the new history.
    Below(u64),
}

slab_id! {
    /// A tracker connection: one on which rounds, and nothing else, are asked.
    TrackerId
}

/// Something for the engine to do, from [`super::ShardAcks::poll_action`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Open a connection and greet it, INFO included; then `tracker_ready` if that INFO shows this
    /// generation, else `tracker_lost` (and `new_generation`).
    OpenTracker(TrackerId),
    /// Close it; nothing more will be heard of it.
    CloseTracker(TrackerId),
    /// Send in this order: the barrier, the question with timeout 0, then INFO; the question may
    /// wait for the barrier's reply. Then `barrier_refused` if that is an error, and
    /// `round_replied` when the INFO is here.
    Ask {
        /// Where.
        tracker: TrackerId,
        /// What goes first.
        barrier: Barrier,
        /// `WAIT k 0` or `WAITAOF l k 0`.
        ask: Need,
    },
    /// Send the question and INFO again, without a barrier: it is about the same offset. Then
    /// `round_replied`.
    AskAgain {
        /// Where.
        tracker: TrackerId,
        /// `WAIT k 0` or `WAITAOF l k 0`.
        ask: Need,
    },
    /// Send `CLIENT UNBLOCK <the tracker's client id> TIMEOUT` on another connection: the blocked
    /// question returns the count as it stands. May be dropped: it is repeated until the reply is
    /// here.
    Unblock {
        /// Whose question.
        tracker: TrackerId,
    },
    /// What this shard says to a session, for [`super::Waits`]. It waits here no longer.
    Answer {
        /// Who waited.
        session: SessionId,
        /// Which of its waits it is about.
        number: WaitNumber,
        /// What for.
        answer: Result<Counted, Denied>,
    },
}

/// Counters, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Waiters that came.
    pub waits: u64,
    /// Waiters that came back, to have an old count confirmed.
    pub confirms: u64,
    /// Of them, answered at once from what was known.
    pub known: u64,
    /// Questions with a barrier, or of clients that never wrote.
    pub rounds: u64,
    /// Questions asked again without a barrier.
    pub asked_again: u64,
    /// `CLIENT UNBLOCK` sent.
    pub unblocks: u64,
    /// Waiters told that their writes may be lost.
    pub lost: u64,
}
