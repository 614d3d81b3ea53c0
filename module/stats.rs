//! Counters, one row each.
//!
//! ```text
//!   worker 0            worker 1             any thread (INFO weir, an endpoint's INFO)
//!   WorkerStats         WorkerStats               |
//!   | cell cell cell    | cell cell cell  <-------+  Stats::total: a sum over workers
//!   | shards[0..n]      | shards[0..n]    <-------+  Stats::shard_total: the same, per shard
//! ```
//!
//! A worker writes its own cells and nobody else's, so an increment is a load and a store of a
//! cache line that no other core writes: no locked instruction, no line that travels. Readers see
//! each cell whole, but cells one after the other: a sum is not a snapshot.
//!
//! To add a counter is to add a row and to say `.add(1)` where the thing happens. INFO shows it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One number, written by one thread, read by all.
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

impl Cell {
    /// Only the owning worker may call this; of two writers, one's count could be lost.
    pub fn add(&self, n: u64) {
        self.set(self.get().wrapping_add(n));
    }

    /// For gauges; only the owning worker may call this. Stops at 0.
    pub fn sub(&self, n: u64) {
        self.set(self.get().saturating_sub(n));
    }

    /// For gauges; only the owning worker may call this.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a number means, and so how the numbers of several workers make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Things that happened: only grows, and `CONFIG RESETSTAT` sets it to 0. Workers add up.
    Counter,
    /// Things that are: goes up and down. Workers add up.
    Gauge,
    /// A condition that each worker sees for itself. The highest counts.
    Highest,
}

impl Kind {
    fn join(self, a: u64, b: u64) -> u64 {
        match self {
            Self::Counter | Self::Gauge => a.wrapping_add(b),
            Self::Highest => a.max(b),
        }
    }
}

/// One number as INFO shows it, in statistics of type `S`.
#[derive(Debug)]
pub struct Row<S> {
    pub name: &'static str,
    pub kind: Kind,
    help: &'static str,
    cell: fn(&S) -> &Cell,
}

impl<S> Row<S> {
    /// What is counted: a sentence for a user.
    pub fn help(&self) -> &'static str {
        self.help.trim_start()
    }

    /// The number in one worker's statistics.
    pub fn get(&self, stats: &S) -> u64 {
        (self.cell)(stats).get()
    }
}

/// Makes a struct of cells and the table of its rows. The documentation of a field is its help.
macro_rules! stats {
    (
        $(#[$meta:meta])*
        $name:ident, $table:ident;
        $($(#[doc = $help:literal])+ $field:ident: $kind:ident;)*
        $(| $(#[$rest_meta:meta])* $rest:ident: $rest_type:ty;)*
    ) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        pub struct $name {
            $($(#[doc = $help])+ pub $field: Cell,)*
            $($(#[$rest_meta])* pub $rest: $rest_type,)*
        }

        /// The rows, in the order in which INFO shows them.
        pub static $table: &[Row<$name>] = &[$(
            Row {
                name: stringify!($field),
                kind: Kind::$kind,
                help: concat!($($help),+),
                cell: |stats| &stats.$field,
            },
        )*];
    };
}

stats! {
    /// What one worker has counted. It fills whole pairs of cache lines, so that the prefetcher of
    /// another worker's core never pulls them over.
    #[repr(align(128))]
    WorkerStats, WORKER_ROWS;

    /// Client connections that were accepted.
    connections_received: Counter;
    /// Client connections that are open.
    connected_clients: Gauge;
    /// Client connections that were closed because there were `maxclients` of them.
    rejected_connections: Counter;
    /// Client connections that were closed because their TLS handshake failed or took too long.
    tls_refused: Counter;
    /// Clients that wait for the answer of a WAIT or WAITAOF.
    blocked_clients: Gauge;
    /// Clients that were closed because they had sent nothing for `timeout`.
    timeouts: Counter;
    /// Clients that were closed because others' replies were stuck behind one they didn't take.
    stalled_clients: Counter;

    /// Requests that were answered, by the endpoint itself or by shards.
    commands_processed: Counter;
    /// Requests that the endpoint answered without asking a shard.
    commands_local: Counter;
    /// Requests that were split over the shards which own their keys.
    commands_split: Counter;
    /// Requests that were sent to all shards.
    commands_fanned_out: Counter;
    /// Requests that waited for a shard to come back before they were sent.
    commands_delayed: Counter;
    /// Requests that failed before they were sent, because their shard was away for too long.
    commands_not_sent: Counter;
    /// Requests that were sent on a connection which then died: they may or may not have happened.
    commands_unknown_outcome: Counter;
    /// Error replies that clients got, whoever made them.
    error_replies: Counter;
    /// Clients that were closed because what they sent is no request.
    protocol_errors: Counter;
    /// Logins (AUTH, HELLO with AUTH) that the shards refused.
    logins_refused: Counter;

    /// Bytes from clients.
    net_input_bytes: Counter;
    /// Bytes to clients.
    net_output_bytes: Counter;
    /// Bytes from shards.
    shard_net_input_bytes: Counter;
    /// Bytes to shards.
    shard_net_output_bytes: Counter;
    /// Connections to shards that were opened.
    shard_connects: Counter;
    /// Connections to shards that were lost, or refused.
    shard_disconnects: Counter;
    /// Replies from shards that are no reply; each costs its connection.
    shard_protocol_errors: Counter;

    /// WAIT and WAITAOF commands.
    waits: Counter;
    /// WAIT and WAITAOF commands that were answered at once, by what was known already.
    waits_known: Counter;
    /// WAIT and WAITAOF commands that got less than they asked for, at their deadline.
    waits_timed_out: Counter;
    /// WAIT and WAITAOF commands that failed because a primary had lost its history.
    waits_lost: Counter;
    /// Questions to primaries about who has everything up to here. One answers many WAITs.
    wait_rounds: Counter;
    /// Times that a question was asked again before its answer had come.
    wait_reasks: Counter;

    /// Clients that listen to a channel or a pattern.
    pubsub_clients: Gauge;
    /// Channels and patterns that workers have subscribed at shards.
    pubsub_topics: Gauge;
    /// Messages of channels that clients were sent, each counted once for every client.
    pubsub_messages: Counter;
    /// Clients that were closed because they left too much of their messages unread.
    pubsub_slow_clients: Counter;

    /// Turns of the event loop.
    turns: Counter;
    /// Reads that went to a replica.
    commands_to_replicas: Counter;
    /// Commands that were sent on or sent again because a shard said so: MOVED, ASK, TRYAGAIN,
    /// CLUSTERDOWN, READONLY.
    commands_redirected: Counter;
    /// Writes to sockets. Many replies or requests share one.
    flushes: Counter;

    |
    /// By shard, in the order of the shard map. There is room for all that there can ever be.
    shards: Box<[ShardStats]>;
    |
    /// How many of them there are.
    known_shards: Cell;
}

stats! {
    /// What one worker has counted about one shard.
    ShardStats, SHARD_ROWS;

    /// How the worker that is worst off stands with the shard: `up`, `connecting` or `down`.
    state: Highest;
    /// Histories of the primary that were seen, from 1: one more after each failover or restart.
    generation: Highest;
    /// Connections for clients' commands that are open.
    pipelines: Gauge;
    /// Commands that were sent and aren't answered yet.
    inflight: Gauge;
    /// Clients inside WAIT or WAITAOF that wait for this shard.
    waiters: Gauge;
    /// Questions to the primary about who has everything up to here.
    rounds: Counter;
    /// Commands that were sent to the shard.
    commands: Counter;
    /// Connections to the shard that were opened.
    connects: Counter;
    /// Connections to the shard that were lost, or refused.
    disconnects: Counter;
}

/// How a worker stands with a shard. A higher number is worse, so the highest of all workers is
/// what an operator should see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum ShardState {
    Up = 0,
    Connecting = 1,
    Down = 2,
}

impl ShardState {
    /// As a word for INFO.
    pub fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Connecting => "connecting",
            Self::Down => "down",
        }
    }

    /// The state that a cell holds; whatever is no state is [`Self::Down`].
    pub fn of(number: u64) -> Self {
        match number {
            0 => Self::Up,
            1 => Self::Connecting,
            _ => Self::Down,
        }
    }
}

impl WorkerStats {
    /// All zero, for a database of `shards` shards, to each of which a worker is connecting.
    pub fn new(shards: usize) -> Self {
        let stats = Self {
            shards: (0..shards).map(|_| ShardStats::default()).collect(),
            ..Self::default()
        };
        stats.known_shards.set(shards as u64);
        for shard in &stats.shards {
            shard.state.set(ShardState::Connecting as u64);
        }
        stats
    }

    /// `CONFIG RESETSTAT`: counters begin again at 0, gauges stay. Only the owning worker may call
    /// this.
    pub fn reset(&self) {
        for row in WORKER_ROWS.iter().filter(|row| row.kind == Kind::Counter) {
            (row.cell)(self).set(0);
        }
        for shard in &self.shards {
            for row in SHARD_ROWS.iter().filter(|row| row.kind == Kind::Counter) {
                (row.cell)(shard).set(0);
            }
        }
    }
}

/// The statistics of all workers.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    pub workers: Vec<Arc<WorkerStats>>,
}

impl Stats {
    /// For so many workers and shards, all zero.
    pub fn new(workers: usize, shards: usize) -> Self {
        Self { workers: (0..workers).map(|_| Arc::new(WorkerStats::new(shards))).collect() }
    }

    /// One row over all workers.
    pub fn total(&self, row: &Row<WorkerStats>) -> u64 {
        self.workers.iter().fold(0, |sum, worker| row.kind.join(sum, row.get(worker)))
    }

    /// One row of one shard over all workers; 0 if there is no such shard.
    pub fn shard_total(&self, shard: usize, row: &Row<ShardStats>) -> u64 {
        let shards = self.workers.iter().filter_map(|worker| worker.shards.get(shard));
        shards.fold(0, |sum, stats| row.kind.join(sum, row.get(stats)))
    }

    /// How many shards the workers know; there is room for as many, or more.
    pub fn shards(&self) -> usize {
        let known = self.workers.iter().map(|worker| worker.known_shards.get());
        known.max().and_then(|most| usize::try_from(most).ok()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row<'a, S>(table: &'a [Row<S>], name: &str) -> &'a Row<S> {
        table.iter().find(|row| row.name == name).expect("a row of this name")
    }

    #[test]
    fn each_row_has_a_cell_of_its_own_and_a_sentence() {
        let stats = WorkerStats::new(1);
        for (place, row) in WORKER_ROWS.iter().enumerate() {
            assert!(row.help().ends_with('.'), "{} has no sentence", row.name);
            assert_eq!(row.get(&stats), 0, "{} shares a cell", row.name);
            (row.cell)(&stats).set(place as u64 + 1);
        }
        let fresh = ShardStats::default();
        for (place, row) in SHARD_ROWS.iter().enumerate() {
            assert!(row.help().ends_with('.'), "{} has no sentence", row.name);
            assert_eq!(row.get(&fresh), 0, "{} shares a cell", row.name);
            (row.cell)(&fresh).set(place as u64 + 1);
        }
    }

    #[test]
    fn workers_add_up_and_the_worst_state_shows() {
        let stats = Stats::new(2, 2);
        stats.workers[0].waits.add(2);
        stats.workers[1].waits.add(3);
        assert_eq!(stats.total(row(WORKER_ROWS, "waits")), 5);

        let state = row(SHARD_ROWS, "state");
        assert_eq!(ShardState::of(stats.shard_total(1, state)), ShardState::Connecting);
        for worker in &stats.workers {
            worker.shards[1].state.set(ShardState::Up as u64);
        }
        assert_eq!(ShardState::of(stats.shard_total(1, state)), ShardState::Up);
        stats.workers[1].shards[1].state.set(ShardState::Down as u64);
        assert_eq!(ShardState::of(stats.shard_total(1, state)), ShardState::Down);
        assert_eq!(stats.shard_total(2, state), 0);
        assert_eq!(stats.shards(), 2);
    }

    #[test]
    fn reset_keeps_what_is() {
        let stats = WorkerStats::new(1);
        stats.connected_clients.add(2);
        stats.connected_clients.sub(1);
        stats.waits.add(1);
        stats.shards[0].rounds.add(1);
        stats.shards[0].generation.set(3);
        stats.reset();
        assert_eq!(stats.connected_clients.get(), 1);
        assert_eq!(stats.waits.get(), 0);
        assert_eq!(stats.shards[0].rounds.get(), 0);
        assert_eq!(stats.shards[0].generation.get(), 3);
    }

    #[test]
    fn a_gauge_stops_at_zero() {
        let cell = Cell::default();
        cell.sub(1);
        assert_eq!(cell.get(), 0);
    }
}
