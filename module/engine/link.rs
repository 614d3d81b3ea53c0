//! Connections to shards: what each is for, and whose each reply is.

use crate::ids::{LaneId, LinkId, SessionId, ShardId, Time};
use crate::limits;
use crate::pipeline::Pipeline;
use crate::pubsub::{FeedId, Word};
use crate::route::Local;
use crate::session::SeatNumber;

use super::readers::ReaderId;
use super::scouts::Question;

/// What a link is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The commands of all clients of a lane.
    Shared(LaneId),
    /// One client of a lane at a time.
    Pinned(LaneId),
    /// Logins of clients, and nothing else.
    Door,
    /// One command of a client of a lane, beside all others: see `beside.rs`.
    Beside(LaneId),
    /// Weir's own questions: who the replicas are, and unblocking a tracker.
    Control,
    /// Rounds; no client's data travels on it, so no WAIT ever holds up anybody.
    Tracker(crate::acks::TrackerId),
    /// The messages for all listeners of a feed.
    Wire(FeedId),
    /// How far a replica is.
    Watch(ReaderId),
    /// Reads of all clients of a lane, by a replica.
    Reader(LaneId, ReaderId),
    /// Where the primaries are: asked of a Sentinel, or of a node of the cluster. It goes to no
    /// shard.
    Scout,
}

impl Role {
    /// As the server's CLIENT LIST shows it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Shared(_) => "weir",
            Self::Pinned(_) => "weir-pinned",
            Self::Beside(_) => "weir-beside",
            Self::Door => "weir-door",
            Self::Control => "weir-control",
            Self::Tracker(_) => "weir-tracker",
            Self::Wire(_) => "weir-messages",
            Self::Watch(_) => "weir-watch",
            Self::Reader(..) => "weir-reader",
            Self::Scout => "weir-scout",
        }
    }

    /// The lane that it belongs to, if it is for clients.
    pub(super) fn lane(self) -> Option<LaneId> {
        match self {
            Self::Shared(lane)
            | Self::Pinned(lane)
            | Self::Beside(lane)
            | Self::Reader(lane, _) => Some(lane),
            Self::Door
            | Self::Control
            | Self::Tracker(_)
            | Self::Wire(_)
            | Self::Watch(_)
            | Self::Scout => None,
        }
    }
}

/// Whose a reply is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// The whole reply of a client's command.
    Reply {
        /// Whose.
        session: SessionId,
        /// Which of its replies.
        seat: SeatNumber,
        /// The command may have moved the shard's replication offset.
        writes: bool,
    },
    /// One part of it.
    Part {
        /// Whose.
        session: SessionId,
        /// Which of its replies.
        seat: SeatNumber,
        /// Which part.
        part: u16,
        /// The command may have moved the shard's replication offset.
        writes: bool,
    },
    /// The engine's.
    Own(Own),
}

impl Token {
    /// Whose reply it is, if a client's.
    pub(super) fn session(self) -> Option<SessionId> {
        match self {
            Self::Reply { session, .. } | Self::Part { session, .. } => Some(session),
            Self::Own(_) => None,
        }
    }
}

/// What the engine itself has asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Own {
    /// AUTH.
    Login,
    /// CLIENT SETNAME.
    Named,
    /// CLIENT ID.
    Id,
    /// INFO, as the last question of every link's greeting.
    Greeting,
    /// AUTH as a client's user.
    Entered,
    /// RESET, HELLO or SELECT: what makes a connection one of a lane.
    Lane,
    /// Whether a lane's user may do what the endpoint would do for it.
    Right {
        /// The lane.
        lane: LaneId,
        /// What the user wants to do.
        local: Local,
    },
    /// RESET behind an AUTH on a door.
    Left,
    /// COMMAND.
    Commands,
    /// What moves a tracker's offset past all writes before it.
    Barrier,
    /// WAIT or WAITAOF on a tracker.
    Acked,
    /// INFO behind it.
    RoundReport,
    /// INFO on the control link.
    Poll {
        /// The poll's number among the rounds.
        number: crate::acks::RoundNumber,
    },
    /// CLIENT UNBLOCK of this tracker's link.
    Unblocked(LinkId),
    /// CLIENT UNBLOCK of this pin.
    PinUnblocked(LinkId),
    /// What is sent in a transaction for which no client waits.
    Queued,
    /// HELLO or SELECT on a pin whose session changes its lane.
    Moved,
    /// SUBSCRIBE, UNSUBSCRIBE and their kin on a wire.
    Word(Word),
    /// PING on a wire that has been quiet.
    Ping,
    /// Nothing: a message.
    Message,
    /// CLIENT TRACKING or MONITOR on a pin of a session that has said it before.
    Tracked,
    /// Nothing: the shard tells it without having been asked.
    Push,
    /// INFO on a watch.
    Watched,
    /// What a scout has asked.
    Told(Question),
    /// Nothing: a Sentinel tells that something has happened.
    Tidings,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Link {
    /// Which shard it goes to; a scout goes to none.
    pub shard: ShardId,
    /// What it is for.
    pub role: Role,
    /// What it carries.
    pub pipeline: Pipeline<Token>,
    /// It is among those pins of its shard that are being opened.
    pub opening: bool,
    /// The shard's own id of this connection, once known.
    pub client_id: Option<i64>,
    /// Whose it is, if one session's.
    pub owner: Option<SessionId>,
    /// CLIENT UNBLOCK was said to its session, with this reason, and has not been answered.
    pub unblock: Option<&'static str>,
    /// How often the shard has said that there was nothing to unblock.
    pub unblocks: u32,
    /// What was sent up to here, ...
    pub fixed: u64,
    /// ... and from here on, is what a session says between MULTI and EXEC: it stays on this link.
    pub queued_from: u64,
    /// A CLIENT UNBLOCK may be on its way to it: no other session may have it.
    pub tainted: bool,
    /// What has come of the reply to a question of the engine's.
    pub own_reply: Vec<u8>,
    /// What the shard said against us while we greeted it: why, if it then closes the connection.
    pub refusal: Option<String>,
    /// The shard's error when it refused the link's lane.
    pub lane_refusal: Option<Vec<u8>>,
    /// A command of a transaction that is said again was refused because its slot is elsewhere.
    pub detoured: bool,
    /// What the round that is out has brought so far.
    pub round: RoundReplies,
    /// Since when it owes a reply without having sent a byte.
    pub silent_since: Time,
    /// Why it is not read for now.
    pub pause: Option<Pause>,
    /// Sessions that are not read until its backlog has shrunk.
    pub holding: Vec<SessionId>,
    /// It is in the list of links to be flushed.
    pub flushing: bool,
}

impl Link {
    /// Appends a command.
    pub(super) fn send(&mut self, token: Token, now: Time, write: impl FnOnce(&mut Vec<u8>)) {
        if self.pipeline.owed() == 0 {
            self.silent_since = now;
        }
        self.pipeline.send(token, write);
    }

    /// Whether whoever sends more is to wait until its backlog has shrunk.
    pub(super) fn is_full(&self) -> bool {
        self.pipeline.backlog() > limits::LINK_BACKLOG_HIGH
            || self.pipeline.kept() > limits::LINK_KEPT_HIGH
            || self.pipeline.owed() > limits::LINK_OWED_HIGH
    }
}

/// Why a link is not read: the reply that is next on it has no room.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pause {
    /// Whose reply it is.
    pub session: SessionId,
    /// What there is too much of.
    pub of: TooMuch,
    /// Since when.
    pub since: Time,
}

/// What there is too much of for another piece of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TooMuch {
    /// Bytes that the client has not taken yet.
    Output,
    /// Bytes of replies that wait for earlier ones; the piece is for this seat.
    Held(SeatNumber),
}

/// What is under way for the round of a tracker.
///
/// CLIENT UNBLOCK with TIMEOUT must never meet a command that is postponed by a pause: of clients
/// by an operator, or of writes while a cluster fails over. Valkey 8.0.1 dies of it (`blocked.c`,
/// `replyToBlockedClientTimedOut`: "Unknown btype"). A barrier may be postponed; the question
/// behind it is not, unless everything is, CLIENT UNBLOCK included.
#[derive(Debug, Default)]
pub(super) struct RoundReplies {
    /// What is to be asked when the barrier has been answered.
    pub held: Option<crate::acks::Need>,
    /// The count, or the shard's error.
    pub acked: Option<Result<crate::acks::Acked, crate::acks::ErrorText>>,
    /// The barrier has been sent, and not been answered.
    pub barrier_out: bool,
    /// The question is to be unblocked as soon as that is safe.
    pub unblock: bool,
    /// How many CLIENT UNBLOCK are on their way to it, ...
    pub unblocks_out: u32,
    /// ... and what is to be said when none is.
    pub next: Option<(crate::acks::Barrier, crate::acks::Need)>,
}

impl Link {
    pub(super) fn new(shard: ShardId, role: Role, pipeline: Pipeline<Token>, now: Time) -> Self {
        Self {
            shard,
            role,
            pipeline,
            opening: false,
            client_id: None,
            owner: None,
            unblock: None,
            unblocks: 0,
            fixed: 0,
            queued_from: 0,
            tainted: false,
            own_reply: Vec::new(),
            refusal: None,
            lane_refusal: None,
            detoured: false,
            round: RoundReplies::default(),
            silent_since: now,
            pause: None,
            holding: Vec::new(),
            flushing: false,
        }
    }
}

/// What is to be remembered of a link in lists: its id and that it was ours.
pub(super) type Links = crate::ids::Slab<LinkId, Link>;
