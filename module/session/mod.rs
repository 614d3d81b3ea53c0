//! One client: its seats and its mode.
//!
//! ```text
//!   bytes -> intake -> parser -> (request) ...              what it asks
//!   out   <- seats  <- replies, in any order                what it gets
//!   marks:  shard 0: round 17, shard 1: round 4             what its next WAIT is about
//! ```
//!
//! A session is passive: the engine reads its requests and fills its seats. What it may do is in
//! one [`Mode`]; whether its requests are read on is in its [`Holds`].

pub mod seats;
pub mod tracking;
pub mod transaction;

use crate::ids::{LaneId, LinkId, ShardId, Time};
use crate::resp::{Intake, Outbox, Parser, Version};

pub use seats::{Gather, SeatNumber, Seats};
pub use tracking::{Tracking, Wish};
pub use transaction::{Queue, Sent, Transaction};

/// Who a client is, as the socket tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its address, `ip:port`, or the socket's path with `:0` behind it.
    pub address: String,
    /// The endpoint's address that it connected to.
    pub local: String,
    /// The descriptor's number; -1 if there is no socket, because the client is in this process.
    pub fd: i32,
}

impl Peer {
    /// Whether it has no socket.
    pub fn is_inside(&self) -> bool {
        self.fd < 0
    }
}

/// What a session does with its requests. `U` is the engine's state of a large request that is
/// forwarded as it arrives, `W` what is to be done once all earlier replies are there.
#[derive(Debug)]
pub enum Mode<U, W> {
    /// Reads and serves them.
    Serving,
    /// Reads no further until all seats but the last have left, then does this.
    Draining(W),
    /// Inside WAIT or WAITAOF: reads no further until it is answered.
    Waiting,
    /// Inside a command that waits on its shard: reads no further until it is answered.
    Blocked {
        /// The connection for it stands, so that the shard has it or is about to.
        sent: bool,
    },
    /// Forwards one large request as it arrives.
    Uploading(U),
    /// Inside SUBSCRIBE or its kin: reads no further until the shards have confirmed.
    Joining,
    /// Reads no more; closes when what it is owed has left.
    Closing,
}

/// Why a session's requests are not read on for now. Each is set and cleared by its own cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Holds {
    /// The client reads its replies too slowly.
    pub output: bool,
    /// It is owed too many replies.
    pub seats: bool,
    /// A shard takes its requests too slowly.
    pub link: bool,
    /// A shard is being asked what its user may do.
    pub rights: bool,
    /// It waits to be let in.
    pub door: bool,
    /// CLIENT PAUSE.
    pub pause: bool,
    /// Nobody has said yet what shards there are.
    pub map: bool,
}

impl Holds {
    /// Whether anything holds it.
    pub fn any(self) -> bool {
        let Self { output, seats, link, rights, door, pause, map } = self;
        output || seats || link || rights || door || pause || map
    }
}

/// Where a client wants its reads to be answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reads {
    /// It hasn't said so.
    #[default]
    AsSet,
    /// READONLY: by replicas.
    ByReplicas,
    /// READWRITE: by primaries.
    ByPrimaries,
}

/// CLIENT REPLY.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ReplyMode {
    /// Every request is answered.
    #[default]
    On,
    /// None is.
    Off,
    /// The next one is not.
    SkipNext,
}

impl ReplyMode {
    /// Whether the request that is served now gets no answer.
    pub fn next_is_mute(&mut self) -> bool {
        let mute = *self != Self::On;
        if *self == Self::SkipNext {
            *self = Self::On;
        }
        mute
    }
}

/// What a client gets that answers no request: the messages of channels.
#[derive(Debug, Default)]
pub struct Inbox {
    /// It listens to something.
    pub listens: bool,
    /// Messages that must not leave yet, in the order in which they came.
    pub held: Vec<u8>,
    /// Messages of what it asks to listen to: its own as soon as it does.
    pub early: Vec<u8>,
}

/// What a client says of itself, and what is told of it by CLIENT LIST.
#[derive(Debug, Default)]
pub struct Profile {
    /// CLIENT SETNAME.
    pub name: String,
    /// CLIENT SETINFO LIB-NAME.
    pub lib_name: String,
    /// CLIENT SETINFO LIB-VER.
    pub lib_version: String,
    /// CLIENT NO-EVICT: said, though nothing of a client is ever evicted here.
    pub no_evict: bool,
    /// CLIENT NO-TOUCH: said, as the shards' own clocks are shared.
    pub no_touch: bool,
}

impl<F, U, W, M, C> Session<F, U, W, M, C> {
    /// Whether a message must wait: for replies, or for messages that wait for them.
    pub fn must_hold_messages(&self) -> bool {
        !self.inbox.held.is_empty() || self.seats.hold_messages()
    }

    /// Lets go of messages that had to wait, if they need no longer.
    pub fn release_messages(&mut self) {
        if !self.inbox.held.is_empty() && !self.seats.hold_messages() {
            self.out.end().append(&mut self.inbox.held);
            self.inbox.held = Vec::new();
        }
    }

    /// Whether it is told by shards what it has not asked for, and so keeps all its pins.
    pub fn is_pushed_to(&self) -> bool {
        self.monitors || self.tracking.is_some()
    }

    /// Whether a request of its is served by what it says alone: it is inside no transaction, is
    /// told nothing unasked, and is not among those that are owed reads of replicas.
    pub fn is_plain(&self) -> bool {
        let pushed_to = self.inbox.listens || self.is_pushed_to();
        !pushed_to && self.transaction.is_none() && !self.on_replicas
    }

    /// Whether what it says goes to the shards as it is, and comes back as it is.
    pub fn only_forwards(&self) -> bool {
        matches!(self.mode, Mode::Serving)
            && !self.holds.any()
            && self.is_plain()
            && self.pins.is_empty()
            && self.reply == ReplyMode::On
    }

    /// The link to a shard that it has for itself.
    pub fn pin(&self, shard: ShardId) -> Option<LinkId> {
        self.pins.iter().find(|(pinned, _)| *pinned == shard).map(|(_, pin)| *pin)
    }

    /// Whether it needs its pin on a shard though nothing is owed on it.
    pub fn keeps_pin(&self, shard: ShardId) -> bool {
        let transacts = self.transaction.as_ref().is_some_and(|t| t.shard == Some(shard));
        transacts || self.is_pushed_to()
    }
}

/// See the module's picture.
#[derive(Debug)]
pub struct Session<F, U, W, M, C> {
    /// CLIENT ID: unique over all workers, never reused.
    pub client: u64,
    /// Who it is.
    pub peer: Peer,
    /// When it came.
    pub since: Time,
    /// When it last sent something.
    pub active: Time,
    /// Which connections to shards it uses.
    pub lane: LaneId,
    /// Which RESP it speaks: that of its lane.
    pub resp: Version,
    /// The links to shards that it has for itself.
    pub pins: Vec<(ShardId, LinkId)>,
    /// MULTI and WATCH.
    pub transaction: Option<Box<Transaction>>,
    /// CLIENT TRACKING.
    pub tracking: Option<Box<Tracking>>,
    /// MONITOR.
    pub monitors: bool,
    /// What it says of itself.
    pub profile: Profile,
    /// Its last command.
    pub last_command: Option<C>,
    /// What it has sent and was not read; none while there is nothing.
    pub intake: Option<Intake>,
    /// Where its next request stands.
    pub parser: Parser,
    /// What it is owed.
    pub seats: Seats<F>,
    /// What is to be written to it.
    pub out: Outbox,
    /// What it does with its requests.
    pub mode: Mode<U, W>,
    /// Why they are not read on.
    pub holds: Holds,
    /// It has sent its last byte.
    pub ended: bool,
    /// Whether its socket is being read.
    pub reading: bool,
    /// Whether it is in the list of sessions to be looked at.
    pub touched: bool,
    /// Whether links are not read because this client doesn't take its replies.
    pub pausing: bool,
    /// Whether its replies have stopped others for long enough: they are taken from the shards even
    /// if they don't fit, until it holds none any more.
    pub pressing: bool,
    /// READONLY, READWRITE.
    pub reads: Reads,
    /// All that it is owed are reads by replicas.
    pub on_replicas: bool,
    /// CLIENT REPLY.
    pub reply: ReplyMode,
    /// What it remembers of its writes.
    pub marks: M,
    /// When its output last moved, while there is some.
    pub moved: Time,
    /// What it gets of channels.
    pub inbox: Inbox,
}
