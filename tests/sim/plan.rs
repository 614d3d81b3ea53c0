//! What a world is like: all of it follows from the seed.

use std::time::Duration;

use weir::settings::Settings;

use super::rng::Rng;

/// The longest extra time that a stall of the network takes, in microseconds.
pub const STALL_MAX: u64 = 120_000;

/// For so long after something has changed an answer may still be about before: the slowest way of
/// a reply through a stalled network, and what an endpoint may tell of a moment ago.
pub const GRACE: u64 = 300_000;

/// A lie that a world's fakes tell, as a broken engine would make them true. Each must be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// Barriers are answered but move nothing: as a tracker that skips them.
    SkippedBarrier,
    /// A write is answered before it is executed: as a mark that is taken a round too early.
    EarlyMark,
    /// INFO goes on to tell the first history of each address: as a change that nobody looks for.
    OldHistory,
    /// Who is promoted says that it has all of its predecessor's history: as a proof whose offset
    /// nobody looks at.
    FalseProof,
    /// Sentinels, or nodes of a cluster, tell for ever what they knew first: as an engine that
    /// follows no failover.
    FirstWord,
    /// Replicas say that they have fsynced what they have only got: as a WAITAOF that asks WAIT.
    EarlyFsync,
    /// Now and then two replies in a row change places: as seats filled in the wrong order.
    SwappedReplies,
    /// Replicas acknowledge nothing when asked by GETACK, nor by themselves: as a WAIT that is
    /// never answered.
    DeafReplicas,
    /// Now and then a write is answered, and executed when its connection brings the next command,
    /// or after a while: as if a session went over to another connection with something
    /// outstanding, so that it overtook itself.
    Overtaken,
    /// A key that goes to another shard never gets to replicas there: as marks that stay where the
    /// key was.
    LeftBehind,
}

/// Who tells the engines where the primaries are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Nobody: the addresses never change, whichever server is behind them.
    Static,
    /// Sentinels.
    Sentinel,
    /// The nodes of a cluster themselves, who move slots among each other too.
    Cluster,
}

/// How a server's append-only file gets to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    Always,
    EverySecond,
    No,
}

#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub plant: Option<Plant>,
    pub told: Told,
    /// How many there are, if any.
    pub sentinels: usize,
    /// Whether they publish what they have heard, or have to be asked.
    pub publishing: bool,
    pub shards: usize,
    pub replicas: usize,
    /// Whether replicas are there from the start, or come later to primaries without a backlog.
    pub attached: bool,
    pub workers: u16,
    pub clients: usize,
    /// Requests that a client sends before it says goodbye or the storm ends.
    pub requests: u64,
    pub aof: Option<Fsync>,
    pub cluster: bool,
    /// Into how many parts the slots are split that move as one; without a cluster, as there are
    /// shards.
    pub regions: usize,
    /// Mean time between two moves of a region, if there are any.
    pub move_every: Option<u64>,
    /// The longest that news are under way between nodes.
    pub gossip_max: u64,
    /// So long a node that is cut off goes on, and one that is away is not missed.
    pub node_timeout: u64,
    /// A node that knows nobody who serves some slot refuses all.
    pub full_coverage: bool,
    /// Mean time between two faults; none: a world without.
    pub fault_every: Option<u64>,
    pub storm: u64,
    pub latency_max: u64,
    pub stalls: bool,
    /// How often what is sent is split before it travels, in percent.
    pub splitting: u64,
    /// Bytes that a connection to a client, or to a shard, holds before a write is short.
    pub room: usize,
    /// Values are now and then so large.
    pub large: usize,
    /// One value in so many, then.
    pub large_one_in: u64,
    pub whole_command_table: bool,
    pub inline_percent: u64,
    /// How many databases each server has.
    pub databases: usize,
    /// How many requests in a hundred are HELLO, SELECT or RESET.
    pub moving_percent: u64,
    /// How many requests in a hundred begin a transaction, or something that waits.
    pub script_percent: u64,
    pub settings: Settings,
}

impl Told {
    pub fn of(seed: u64, plant: Option<Plant>) -> Self {
        match plant {
            Some(Plant::FalseProof) => Self::Sentinel,
            Some(Plant::FirstWord) => [Self::Sentinel, Self::Cluster][(seed % 2) as usize],
            Some(Plant::LeftBehind) => Self::Cluster,
            _ => [Self::Static, Self::Sentinel, Self::Cluster][(seed % 3) as usize],
        }
    }
}

impl Plan {
    pub fn of(seed: u64, plant: Option<Plant>) -> Self {
        let mut rng = Rng::new(seed);
        let rng = &mut rng;
        let told = Told::of(seed, plant);
        let settings = Settings {
            failover_timeout: Duration::from_millis(rng.pick(&[0, 50, 500, 2000])),
            connect_timeout: Duration::from_millis(rng.pick(&[50, 200, 1000])),
            shard_timeout: Duration::from_millis(rng.pick(&[1100, 1500, 3000])),
            poll_interval: Duration::from_millis(rng.pick(&[20, 100, 1000])),
            client_stall_timeout: Duration::from_millis(rng.pick(&[200, 1000])),
            client_output_max: 64 * 1024,
            ..Settings::default()
        };
        let large = match rng.below(20) {
            0 => 1_200_000,
            1..=6 => 60_000,
            _ => 0,
        };
        let small = if large > 0 { [8_000, 8_000] } else { [40, 500] };
        // Without anybody to count, nothing but the session's own order can be found wrong.
        let in_cluster = told == Told::Cluster;
        let alone = plant == Some(Plant::Overtaken);
        let mut plan = Self {
            seed,
            plant,
            told,
            sentinels: rng.pick(&[1, 3, 3]),
            publishing: rng.percent(80),
            shards: rng.pick(&[1, 1, 2, 2, 3]),
            replicas: if alone { 0 } else { rng.pick(&[0, 1, 1, 2, 2, 3]) },
            attached: rng.percent(85),
            workers: rng.pick(&[1, 1, 2]),
            clients: rng.between(1, 6) as usize,
            requests: rng.between(10, 60),
            aof: rng
                .pick(&[
                    None,
                    Some(Fsync::Always),
                    Some(Fsync::Always),
                    Some(Fsync::EverySecond),
                    Some(Fsync::No),
                ])
                .filter(|_| !alone),
            cluster: rng.percent(10) || in_cluster,
            regions: 0,
            move_every: None,
            gossip_max: 0,
            node_timeout: 0,
            full_coverage: false,
            fault_every: rng.pick(&[None, Some(100_000), Some(400_000), Some(1_500_000)]),
            storm: rng.between(1_000_000, 5_000_000),
            latency_max: rng.pick(&[50, 300, 3_000, 20_000]),
            stalls: rng.percent(50),
            splitting: rng.pick(&[0, 10, 50, 90]),
            room: rng.pick(&[small[0], small[1], 64_000, 1_000_000]),
            large,
            large_one_in: rng.pick(&[2, 20]),
            whole_command_table: rng.one_in(20),
            inline_percent: rng.pick(&[0, 0, 20]),
            databases: rng.pick(&[1, 2, 3]),
            moving_percent: rng.pick(&[0, 2, 10]),
            script_percent: rng.pick(&[0, 5, 20]),
            settings,
        };
        plan.regions = plan.shards;
        if in_cluster {
            plan.be_cluster(rng);
        }
        plan.settings.upstream = super::places::upstream(&plan);
        plan
    }

    fn be_cluster(&mut self, rng: &mut Rng) {
        self.shards = rng.pick(&[1, 2, 2, 3, 3]);
        self.databases = 1;
        self.regions = self.shards * rng.pick(&[1, 2, 3, 5]);
        self.move_every = rng.pick(&[None, Some(50_000), Some(200_000), Some(800_000)]);
        self.gossip_max = rng.pick(&[5_000, 100_000, 100_000, 1_000_000]);
        self.node_timeout = rng.pick(&[100_000, 400_000]);
        self.full_coverage = rng.percent(30);
    }

    /// How many shards an engine may know at a time. In a cluster a place may stay empty.
    pub fn engine_shards(&self) -> usize {
        if self.told == Told::Cluster { 64 } else { self.shards }
    }

    /// When the first clients come: when the endpoint has had the time to find its shards.
    pub fn begins_at(&self) -> u64 {
        if self.told == Told::Static { 400_000 } else { 1_000_000 }
    }

    /// For so long engines may not know what somebody whom they ask knows.
    pub fn patience(&self) -> u64 {
        let of = &self.settings;
        let span = 2 * (of.shard_timeout + of.connect_timeout) + of.poll_interval;
        GRACE + span.as_micros() as u64
    }

    pub fn faulty(&self) -> bool {
        self.fault_every.is_some()
    }
}
