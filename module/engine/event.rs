//! All that can happen to an engine, and all that it can ask for.

use std::sync::Arc;
use std::time::Duration;

use crate::ids::{LinkId, SessionId, ShardId, WorkerId};
use crate::pubsub::{Kind, Receivers};
pub use crate::session::Peer;
use crate::settings::Settings;
use crate::shards::{Address, ShardMap};

/// Every cause of work. The worker tells them one by one; the engine never looks for itself.
#[derive(Debug)]
pub enum Event {
    /// A client has connected. The worker gives out session ids.
    Accepted {
        /// The new session.
        session: SessionId,
        /// Who it is.
        peer: Peer,
    },
    /// `bytes` bytes were read into [`super::Engine::session_space`].
    SessionRead {
        /// Whose.
        session: SessionId,
        /// How many.
        bytes: usize,
    },
    /// `bytes` bytes of [`super::Engine::session_output`] were written.
    SessionWrote {
        /// Whose.
        session: SessionId,
        /// How many.
        bytes: usize,
    },
    /// The client has sent its last byte, and all were read. It may still take replies.
    SessionEnded {
        /// Whose.
        session: SessionId,
    },
    /// The client has gone, or its connection failed. The worker has closed it.
    SessionClosed {
        /// Whose.
        session: SessionId,
    },
    /// A connection that was asked for stands.
    LinkOpened {
        /// Which.
        link: LinkId,
    },
    /// A connection could not be made, or died. The worker has closed it.
    LinkFailed {
        /// Which.
        link: LinkId,
        /// Why, for people.
        reason: String,
    },
    /// `bytes` bytes were read into [`super::Engine::link_space`].
    LinkRead {
        /// Which.
        link: LinkId,
        /// How many.
        bytes: usize,
    },
    /// `bytes` bytes of [`super::Engine::link_output`] were written.
    LinkWrote {
        /// Which.
        link: LinkId,
        /// How many.
        bytes: usize,
    },
    /// [`super::Engine::next_timeout`] has come.
    Timer,
    /// All that was readable in this turn has been read: what many clients asked for can be asked
    /// of the shards together.
    TurnEnd,
    /// Settings were changed.
    Settings(Arc<Settings>),
    /// From another worker's engine, or from the host.
    Mail(Mail),
}

/// What the engine asks its worker to do.
#[derive(Debug)]
pub enum Output {
    /// Connect to a server; answered by `LinkOpened` or `LinkFailed`.
    Connect {
        /// The new link.
        link: LinkId,
        /// To what kind of server.
        whom: Whom,
        /// Where to.
        address: Address,
        /// How long it may take.
        timeout: Duration,
    },
    /// Close a link; no event follows.
    CloseLink {
        /// Which.
        link: LinkId,
    },
    /// A session has something to be written.
    FlushSession {
        /// Whose.
        session: SessionId,
    },
    /// A link has something to be written.
    FlushLink {
        /// Which.
        link: LinkId,
    },
    /// Close a session; no event follows.
    CloseSession {
        /// Whose.
        session: SessionId,
        /// Only when its output has been written, or a bound on time has passed.
        after_flush: bool,
    },
    /// Whether a session's socket is to be read. While it isn't, its end must still be noticed.
    ReadSession {
        /// Whose.
        session: SessionId,
        /// Read it.
        on: bool,
    },
    /// Whether a link's socket is to be read.
    ReadLink {
        /// Which.
        link: LinkId,
        /// Read it.
        on: bool,
    },
    /// Mail for somebody else.
    Mail {
        /// Who.
        to: Destination,
        /// What.
        mail: Mail,
    },
    /// A line for the log.
    Log {
        /// How grave.
        level: Level,
        /// The line.
        text: String,
    },
}

/// To what kind of server a link goes: each has a setting of its own for TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    /// A server with data: a shard's, or another node of its cluster.
    Shard,
    /// A Sentinel.
    Sentinel,
}

/// How grave a log line is; the levels of Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For developers.
    Debug,
    /// Rarely of use.
    Verbose,
    /// What an operator wants to know.
    Notice,
    /// What an operator must know.
    Warning,
}

/// Who mail is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// Another worker's engine.
    Worker(WorkerId),
    /// The host.
    Host,
}

/// What threads say to each other.
#[derive(Debug, Clone)]
pub enum Mail {
    /// A question; the answer goes back to `from` with the same ticket.
    Ask {
        /// Who asks.
        from: Asker,
        /// The asker's own number for the question.
        ticket: u64,
        /// The question.
        question: Question,
    },
    /// The answer of one worker.
    Answer {
        /// The question's number.
        ticket: u64,
        /// Who answers.
        worker: WorkerId,
        /// The answer.
        answer: Answer,
    },
    /// From the first worker's engine: who has which slots, and where the primaries are.
    Map(Arc<ShardMap>),
    /// From the first worker's engine: how many replicas each shard should have, as those say who
    /// tell of the shards.
    Replicas(Arc<[u32]>),
    /// To the first worker's engine: the map may be true no longer.
    Doubt,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// A worker's engine, for one of its sessions.
    Worker(WorkerId),
    /// The host, for one of its clients.
    Host,
}

/// What one worker can be asked by another, or by the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// How the shards are.
    Shards,
    /// The sessions, as lines of CLIENT LIST.
    Clients(ClientFilter),
    /// Close the sessions that match.
    Kill(ClientFilter),
    /// What is known of users' rights may not hold any more. Answered with a count of 0.
    ForgetRights,
    /// CONFIG RESETSTAT: counters begin anew.
    ResetStats,
    /// CLIENT UNBLOCK.
    Unblock {
        /// The client's id.
        client: u64,
        /// With an error instead of the count.
        error: bool,
    },
    /// CLIENT PAUSE.
    Pause {
        /// How long.
        time: Duration,
        /// All requests, or only those that may change data.
        all: bool,
    },
    /// CLIENT UNPAUSE.
    Unpause,
    /// Who listens to what; the host never asks.
    PubSub(PubSubQuestion),
}

/// What one worker's engine asks another about channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PubSubQuestion {
    /// Who gets what was published.
    Receivers {
        /// Where.
        shard: ShardId,
        /// To a channel or to a shard channel.
        kind: Kind,
        /// Its name.
        channel: Arc<[u8]>,
    },
    /// To what of a kind anybody listens.
    Names {
        /// The kind.
        kind: Kind,
        /// Only names that this pattern matches.
        pattern: Option<Arc<[u8]>>,
    },
    /// How many listen.
    Listeners {
        /// To what kind, ...
        kind: Kind,
        /// ... to each of these.
        names: Vec<Arc<[u8]>>,
    },
    /// How much there is of each kind.
    Topics,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PubSubAnswer {
    /// To [`PubSubQuestion::Receivers`].
    Receivers(Receivers),
    /// To [`PubSubQuestion::Names`], each once.
    Names(Vec<Arc<[u8]>>),
    /// To [`PubSubQuestion::Listeners`], in their order.
    Listeners(Vec<u64>),
    /// To [`PubSubQuestion::Topics`]: the hashes of the names of channels, patterns and shard
    /// channels, so that what several workers have can be counted once.
    Topics([Vec<u64>; 3]),
}

/// Which sessions are meant: those that match all that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientFilter {
    /// Any of these ids; empty means any.
    pub ids: Vec<u64>,
    /// The client's address.
    pub address: Option<String>,
    /// The endpoint's address.
    pub local: Option<String>,
    /// The user.
    pub user: Option<String>,
    /// Older than so many seconds.
    pub max_age: Option<u64>,
    /// `normal` or `pubsub`; nobody is anything else.
    pub kind: Option<String>,
    /// Leaves out this client.
    pub skip: Option<u64>,
}

/// A worker's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To [`Question::Shards`].
    Shards(Vec<ShardView>),
    /// To [`Question::Clients`]: id and line, by id.
    Clients(Vec<(u64, String)>),
    /// To [`Question::Kill`] and [`Question::Unblock`]: how many. To [`Question::Pause`] and
    /// [`Question::Unpause`]: that it is done.
    Count(u64),
    /// To [`Question::PubSub`].
    PubSub(PubSubAnswer),
}

/// One shard as one worker sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShardView {
    /// Its number.
    pub shard: u16,
    /// Its slots, as `0-8191`, several ranges with a comma between.
    pub slots: String,
    /// The primary's address.
    pub primary: String,
    /// `up`, `connecting`, or `down: ` and why.
    pub state: String,
    /// How many histories of it this worker has seen.
    pub generation: u64,
    /// Its replicas, as the primary tells.
    pub replicas: Vec<ReplicaView>,
    /// Sessions in WAIT or WAITAOF.
    pub waiters: u64,
    /// Rounds asked so far.
    pub rounds: u64,
    /// Connections of this worker.
    pub pipelines: u64,
}

/// One replica as its primary told last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplicaView {
    /// `ip:port`.
    pub address: String,
    /// `online` and kin.
    pub state: String,
    /// The offset that it acknowledged last.
    pub offset: u64,
    /// Seconds since then.
    pub lag: u64,
}
