//! The schedule: one fault after another, each on a whole database, and the way back from it.

use std::fmt;
use std::io;
use std::time::Duration;

use lab::process::Proc;
use lab::redis_cluster::{Takeover, slot_of};

use crate::bed::{Bed, Kind};
use crate::ledger::{Clock, Micros};
use crate::options::{Options, Until};
use crate::rng::Rng;
use crate::watch::Watch;

/// How long the engine may take to fail over before the fault is taken back.
const SWITCH: Duration = Duration::from_secs(10);
/// How long it may take until everything is in its place again.
const SETTLE: Duration = Duration::from_secs(60);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How many slots are moved.
const SLOTS_MOVED: u16 = 20;
/// Of ten faults so many are about a primary.
const OF_TEN: u64 = 7;

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    KillPrimary,
    /// Its replicas are parted from it for a moment before, so writes are lost with it; where there
    /// is no network to cut they are stopped, and find some of the writes when they go on.
    KillPrimaryAhead,
    StopPrimary,
    CutPrimary,
    /// The primary is kept from its replicas and from who looks after it, but not from clients.
    SplitPrimary,
    Command(Takeover),
    KillReplica,
    StopReplica,
    CutReplica,
    KillSentinel,
    StopSentinel,
    CutSentinel,
    /// Some slots go to another shard with their keys, and come back.
    MoveSlots,
    RestartHost,
}

/// What is shown of what a server said when it crashed.
const CRASH_LINES: usize = 40;

use Fault::{
    Command, CutPrimary, CutReplica, CutSentinel, KillPrimary, KillPrimaryAhead, KillReplica,
    KillSentinel, MoveSlots, RestartHost, SplitPrimary, StopPrimary, StopReplica, StopSentinel,
};

/// Those after which there is another primary, if anybody looks after the shards.
const OF_PRIMARIES: [Fault; 8] = [
    KillPrimary,
    KillPrimaryAhead,
    StopPrimary,
    CutPrimary,
    SplitPrimary,
    Command(Takeover::Agreed),
    Command(Takeover::Forced),
    Command(Takeover::Unasked),
];
const OF_OTHERS: [Fault; 8] = [
    KillReplica,
    StopReplica,
    CutReplica,
    KillSentinel,
    StopSentinel,
    CutSentinel,
    MoveSlots,
    RestartHost,
];

impl Fault {
    /// Whether it can happen to these servers.
    fn is_possible(self, bed: &Bed, options: &Options) -> bool {
        match self {
            CutPrimary | SplitPrimary | CutReplica => bed.has_network(),
            KillSentinel | StopSentinel => bed.sentinels().is_some(),
            CutSentinel => bed.sentinels().is_some() && bed.has_network(),
            // A Sentinel knows one kind of failover.
            Command(how) => match bed.kind() {
                Kind::Static => false,
                Kind::Sentinel => how == Takeover::Unasked,
                Kind::Cluster => true,
            },
            MoveSlots => bed.cluster().is_some(),
            RestartHost => options.restart_host && bed.host().is_some(),
            KillPrimary | KillPrimaryAhead | StopPrimary | KillReplica | StopReplica => true,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KillPrimary => "primary killed",
            KillPrimaryAhead => "primary killed, replicas behind",
            StopPrimary => "primary stopped",
            CutPrimary => "primary cut off",
            SplitPrimary => "primary split off",
            Command(Takeover::Agreed) => "failover",
            Command(Takeover::Forced) => "failover, forced",
            Command(Takeover::Unasked) => "failover by command",
            KillReplica => "replica killed",
            StopReplica => "replica stopped",
            CutReplica => "replica cut off",
            KillSentinel => "Sentinel killed",
            StopSentinel => "Sentinel stopped",
            CutSentinel => "Sentinel cut off",
            MoveSlots => "slots moved",
            RestartHost => "host killed",
        })
    }
}

/// One that has happened.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) name: String,
    /// Whose shard it was about.
    pub(crate) shard: Option<usize>,
    pub(crate) from: Micros,
    /// When it was taken back.
    pub(crate) to: Micros,
    /// When everything was in its place again.
    pub(crate) settled: Micros,
}

/// Who makes faults.
pub(crate) struct Schedule<'a> {
    pub(crate) bed: &'a Bed,
    pub(crate) watch: &'a Watch,
    pub(crate) clock: Clock,
    pub(crate) rng: Rng,
}

impl Schedule<'_> {
    /// Makes faults as long as was asked for.
    ///
    /// # Errors
    /// If the servers don't come together again after one.
    pub(crate) fn run(&mut self, options: &Options) -> io::Result<Vec<Mark>> {
        let mut marks: Vec<Mark> = Vec::new();
        self.settle()?;
        loop {
            lab::pause(Duration::from_millis(self.rng.between(400, 1200)));
            let ended = match options.until {
                Until::Failovers(number) => self.watch.count() >= number,
                Until::Time(time) => self.clock.now() >= time.as_micros() as Micros,
            };
            if ended {
                return Ok(marks);
            }
            let mut mark = self.happen(options)?;
            let after = |error| io::Error::other(format!("{}: {error}", mark.name));
            self.settle().map_err(after)?;
            mark.settled = self.clock.now();
            tell(&mark, self.watch);
            marks.push(mark);
        }
    }

    /// One fault, to where it has been taken back.
    fn happen(&mut self, options: &Options) -> io::Result<Mark> {
        let which: &[Fault] =
            if self.rng.between(0, 10) < OF_TEN { &OF_PRIMARIES } else { &OF_OTHERS };
        let possible = |fault: &&Fault| fault.is_possible(self.bed, options);
        let possible: Vec<Fault> = which.iter().filter(possible).copied().collect();
        let fault = *self.rng.pick(&possible);
        let shard = self.rng.between(0, self.bed.shards().len() as u64) as usize;
        let primary = self.bed.primary(shard);
        let primary = primary.ok_or_else(|| io::Error::other("there is no primary"))?;
        let servers = self.bed.shards()[shard].servers();
        let replicas: Vec<&Proc> = servers.filter(|s| s.port() != primary.port()).collect();
        let replica = *self.rng.pick(&replicas);
        self.watch.set_hot(OF_PRIMARIES.contains(&fault));
        let from = self.clock.now();
        let about_shard = match fault {
            KillSentinel | StopSentinel | CutSentinel => {
                self.happen_to_sentinel(fault);
                false
            }
            RestartHost => {
                self.bed.host().iter().for_each(|host| host.restart());
                false
            }
            MoveSlots => {
                self.move_slots(shard)?;
                true
            }
            KillReplica | StopReplica | CutReplica => {
                self.happen_to_replica(fault, replica);
                true
            }
            _ => {
                self.happen_to_primary(fault, shard, primary, &replicas, replica)?;
                true
            }
        };
        self.watch.set_hot(false);
        let to = self.clock.now();
        let shard = about_shard.then_some(shard);
        Ok(Mark { name: fault.to_string(), shard, from, to, settled: to })
    }

    fn happen_to_sentinel(&mut self, fault: Fault) {
        let Some(sentinels) = self.bed.sentinels() else { return };
        let number = self.rng.between(0, sentinels.len() as u64) as usize;
        let sentinel = &sentinels[number];
        match fault {
            KillSentinel => sentinel.kill9(),
            StopSentinel => sentinel.stop(),
            _ => sentinel.place().cut(),
        }
        self.last(500, 1500);
        match fault {
            KillSentinel => sentinels.restart(number),
            StopSentinel => sentinel.cont(),
            _ => sentinel.place().join(),
        }
    }

    fn happen_to_replica(&mut self, fault: Fault, replica: &Proc) {
        match fault {
            KillReplica => replica.kill9(),
            StopReplica => replica.stop(),
            _ => replica.place().cut(),
        }
        self.last(200, 1500);
        match fault {
            KillReplica => replica.restart(),
            StopReplica => replica.cont(),
            _ => replica.place().join(),
        }
    }

    fn happen_to_primary(
        &mut self,
        fault: Fault,
        shard: usize,
        primary: &Proc,
        replicas: &[&Proc],
        replica: &Proc,
    ) -> io::Result<()> {
        let before = self.watch.count();
        let others = self.bed.others(primary);
        match fault {
            KillPrimary => primary.kill9(),
            KillPrimaryAhead => {
                let is_cut = self.bed.has_network();
                for replica in replicas {
                    if is_cut { primary.place().part_from(replica.place()) } else { replica.stop() }
                }
                self.last(20, 200);
                primary.kill9();
                replicas.iter().filter(|_| !is_cut).for_each(|replica| replica.cont());
            }
            StopPrimary => primary.stop(),
            CutPrimary => primary.place().cut(),
            SplitPrimary => others.iter().for_each(|other| primary.place().part_from(other)),
            Command(how) => self.command(shard, how, replica)?,
            _ => {}
        }
        if self.bed.kind() != Kind::Static {
            lab::within(SWITCH, || (self.watch.count() > before).then_some(()));
        }
        // Who was the primary isn't told at once.
        self.last(100, 1000);
        match fault {
            KillPrimary => primary.restart(),
            KillPrimaryAhead => {
                if self.bed.has_network() {
                    primary.place().meet(&others);
                }
                primary.restart();
            }
            StopPrimary => primary.cont(),
            CutPrimary => primary.place().join(),
            SplitPrimary => primary.place().meet(&others),
            _ => {}
        }
        Ok(())
    }

    /// Has the engine fail over.
    fn command(&self, shard: usize, how: Takeover, replica: &Proc) -> io::Result<()> {
        let Some(cluster) = self.bed.cluster() else {
            let Some(sentinels) = self.bed.sentinels() else { return Ok(()) };
            let name = &sentinels.names()[shard];
            // It may have to wait for the end of the last one.
            let done = lab::within(SWITCH, || sentinels.failover(name).ok());
            return done.ok_or_else(|| io::Error::other(format!("no Sentinel fails {name} over")));
        };
        cluster.failover(replica, how)
    }

    /// Moves the slots around those that are written to, to the next shard and back.
    fn move_slots(&mut self, shard: usize) -> io::Result<()> {
        let Some(cluster) = self.bed.cluster() else { return Ok(()) };
        let next = (shard + 1) % self.bed.shards().len();
        let pair = cluster.primary_of(shard).zip(cluster.primary_of(next));
        let (here, there) = pair.ok_or_else(|| io::Error::other("there is no primary"))?;
        let middle = slot_of(self.bed.tags()[shard].as_bytes());
        // Shares of slots are wider than this, but the first begins with slot 0.
        let slots = middle.saturating_sub(SLOTS_MOVED / 2)..middle + SLOTS_MOVED / 2;
        let slots: Vec<u16> = slots
            .filter(|&slot| cluster.owner(slot).is_some_and(|owner| owner.port() == here.port()))
            .collect();
        cluster.move_slots(slots.iter().copied(), here, there)?;
        self.last(100, 500);
        cluster.move_slots(slots, there, here)
    }

    /// So many milliseconds go by.
    fn last(&mut self, from: u64, to: u64) {
        lab::pause(Duration::from_millis(self.rng.between(from, to)));
    }

    fn settle(&self) -> io::Result<()> {
        let start = self.clock.now();
        loop {
            let Some(missing) = self.bed.unsettled() else { return Ok(()) };
            self.start_the_crashed();
            if self.clock.now() - start > SETTLE.as_micros() as Micros {
                return Err(io::Error::other(format!("after {SETTLE:?} still: {missing}")));
            }
            lab::pause(LOOK);
        }
    }

    /// A server that has ended by itself is started again, as its supervisor would do it, and what
    /// it said is shown.
    fn start_the_crashed(&self) {
        let servers = self.bed.shards().iter().flat_map(lab::cluster::Shard::servers);
        for server in servers.filter(|server| server.has_ended()) {
            let log = server.log();
            let report = log.rfind(" BUG REPORT START").map(|place| &log[place..]);
            let said = report.map_or_else(
                || server.log_end(),
                |report| report.lines().take(CRASH_LINES).collect::<Vec<_>>().join("\n"),
            );
            println!("{} has ended by itself:\n{said}", server.address());
            server.restart();
        }
    }
}

/// Says what has just happened.
fn tell(mark: &Mark, watch: &Watch) {
    let seconds = |micros: Micros| micros as f64 / 1e6;
    let shard = mark.shard.map_or(String::new(), |shard| format!(", shard {shard}"));
    let what = format!("{}{shard}", mark.name);
    let seen = watch.seen();
    let switch = seen.iter().find(|seen| seen.at > mark.from && Some(seen.shard) == mark.shard);
    let switch = match switch {
        Some(seen) => format!("another primary after {:5.2} s", seconds(seen.at - mark.from)),
        None => "no failover".to_owned(),
    };
    let (from, settled) = (seconds(mark.from), seconds(mark.settled - mark.from));
    println!("{from:7.1} s  {what:<42} {switch:<30} in place after {settled:5.1} s");
}
