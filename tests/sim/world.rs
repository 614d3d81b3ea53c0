//! One world: all that is in it, its clock, and what happens next.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use weir::command::CommandTable;
use weir::engine::{Mail, Setup};
use weir::ids::{LinkId, SessionId, WorkerId};
use weir::stats::Stats;

use super::beliefs::Beliefs;
use super::client::Client;
use super::cluster::{News, View};
use super::faults::Fault;
use super::ledger::{Effect, EntryId, Ledger};
use super::node::{Node, Role};
use super::places::{self, Place};
use super::plan::{Plan, Told};
use super::regions::Region;
use super::replication::Repl;
use super::rng::Rng;
use super::sentinels::{Sentinel, Word};
use super::wire::{Way, Wire, WireNo};
use super::worker::{Input, Worker};

/// Everything that can happen by itself.
#[derive(Debug)]
pub enum Happening {
    Turn { worker: usize },
    Mail { worker: usize, mail: Mail },
    Connected { worker: usize, link: LinkId, place: Place },
    ConnectTimedOut { worker: usize, link: LinkId },
    CloseUnflushed { worker: usize, session: SessionId },
    Arrive { wire: WireNo, way: Way },
    Stream { link: usize },
    Acked { link: usize },
    Fsynced { node: usize, life: u64, upto: u64 },
    Cron { node: usize },
    PopsNoMore { node: usize, life: u64, wire: WireNo, serial: u64 },
    Heard { sentinel: usize, shard: usize, word: Word },
    Gossip { to: usize, news: News },
    Suspected { by: usize, node: usize },
    Move,
    MoveOn { region: usize },
    Wonders { client: usize },
    FailOver { shard: usize },
    Late { node: usize, life: u64, wire: WireNo },
    Unswap { node: usize, life: u64, wire: WireNo },
    NewClient,
    Client { client: usize },
    ClientReads { client: usize },
    Fault,
    Undo(Fault),
}

/// What happens when; at the same time, in the order in which it was planned.
#[derive(Debug, Default)]
pub struct Agenda {
    order: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    next: u64,
}

impl Agenda {
    pub fn add(&mut self, at: u64, happening: Happening) {
        self.order.push(Reverse((at, self.next)));
        self.happenings.insert(self.next, happening);
        self.next += 1;
    }

    fn take(&mut self) -> Option<(u64, Happening)> {
        let Reverse((at, number)) = self.order.pop()?;
        Some((at, self.happenings.remove(&number)?))
    }

    fn next_at(&self) -> Option<u64> {
        self.order.peek().map(|Reverse((at, _))| *at)
    }
}

/// One shard as it truly is.
#[derive(Debug)]
pub struct Shard {
    /// Where its address leads; or who was last made its primary.
    pub primary: usize,
    pub nodes: Vec<usize>,
    /// The last time that something was wrong; none: never.
    pub trouble_at: Option<u64>,
    /// How often it has got another primary, as Sentinels count it.
    pub config_epoch: u64,
    /// Since when somebody who can be asked knows where its primary is.
    pub told_at: Option<u64>,
    /// What its first primary was called.
    pub first_run: String,
    pub first_id: String,
    /// The offset before the last barrier.
    pub barrier_before: u64,
    /// For each worker: the generation that it is in, and since when.
    pub known: Vec<(u64, u64)>,
    attached: Vec<(usize, u64, u64)>,
}

impl Shard {
    pub fn attached(&mut self, node: usize, now: u64) {
        self.attached.push((node, now, u64::MAX));
    }

    pub fn detached(&mut self, node: usize, now: u64) {
        for span in &mut self.attached {
            if span.0 == node && span.2 == u64::MAX {
                span.2 = now;
            }
        }
    }

    /// How many nodes were replicas at some time from `low` on.
    pub fn replicas_since(&self, low: u64) -> i64 {
        let was = |node: usize| self.attached.iter().any(|span| span.0 == node && span.2 >= low);
        self.nodes.iter().filter(|&&node| was(node)).count() as i64
    }
}

/// Counts of what was tried, to see that a simulation isn't of nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub replies: u64,
    pub writes: u64,
    pub waits: u64,
    pub counted: u64,
    pub lost: u64,
    pub faults: u64,
    pub errors: u64,
    pub moves: u64,
    pub executed: u64,
    pub aborted: u64,
    pub taken: u64,
    pub events: u64,
    /// Worlds of each kind.
    pub with_sentinels: u64,
    pub failovers: u64,
    pub clusters: u64,
    /// Regions that have gone to another shard, and keys that have with them.
    pub regions_moved: u64,
    pub keys_moved: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        self.replies += other.replies;
        self.writes += other.writes;
        self.waits += other.waits;
        self.counted += other.counted;
        self.lost += other.lost;
        self.faults += other.faults;
        self.errors += other.errors;
        self.moves += other.moves;
        self.executed += other.executed;
        self.aborted += other.aborted;
        self.taken += other.taken;
        self.events += other.events;
        self.with_sentinels += other.with_sentinels;
        self.failovers += other.failovers;
        self.clusters += other.clusters;
        self.regions_moved += other.regions_moved;
        self.keys_moved += other.keys_moved;
    }
}

pub struct World {
    pub plan: Plan,
    pub rng: Rng,
    pub now: u64,
    pub agenda: Agenda,
    pub wires: Vec<Wire>,
    pub nodes: Vec<Node>,
    pub repls: Vec<Repl>,
    pub shards: Vec<Shard>,
    pub regions: Vec<Region>,
    pub ledger: Ledger,
    pub sentinels: Vec<Sentinel>,
    /// The highest epoch of the cluster.
    pub cluster_epoch: u64,
    /// What all nodes knew at the beginning.
    pub first_view: View,
    /// What each worker believes of the cluster.
    pub beliefs: Vec<Beliefs>,
    pub workers: Vec<Worker>,
    pub clients: Vec<Client>,
    pub stats: Stats,
    pub healed: bool,
    pub tally: Tally,
    /// Commands so far that pop and may wait.
    pub pops: u64,
    /// Replies that are held back to be swapped.
    pub held_reply: BTreeMap<WireNo, Vec<u8>>,
    /// Requests that were answered and not executed.
    pub late: BTreeMap<WireNo, Vec<Vec<u8>>>,
    pub failure: Option<String>,
    /// The last lines of what happened, if wanted.
    pub trace: Option<Vec<String>>,
    ids: u64,
}

/// Lines of a trace that are kept.
const TRACE_MAX: usize = 40_000;

impl World {
    pub fn new(plan: Plan, tracing: bool) -> Self {
        let rng = Rng::new(plan.seed.wrapping_mul(31).wrapping_add(7));
        let stats = Stats::new(usize::from(plan.workers), plan.engine_shards());
        let mut world = Self {
            rng,
            now: 0,
            agenda: Agenda::default(),
            wires: Vec::new(),
            nodes: Vec::new(),
            repls: Vec::new(),
            shards: Vec::new(),
            regions: (0..plan.regions)
                .map(|region| Region::new(region * plan.shards / plan.regions))
                .collect(),
            ledger: Ledger::default(),
            sentinels: Vec::new(),
            cluster_epoch: 0,
            first_view: View::default(),
            beliefs: Vec::new(),
            workers: Vec::new(),
            clients: Vec::new(),
            stats,
            healed: false,
            tally: Tally::default(),
            pops: 0,
            held_reply: BTreeMap::new(),
            late: BTreeMap::new(),
            failure: None,
            trace: tracing.then(Vec::new),
            ids: 0,
            plan,
        };
        let plan = format!("{:?}", world.plan);
        world.line(|| plan);
        world.make_shards();
        if world.plan.told == Told::Sentinel {
            world.make_sentinels();
            world.tally.with_sentinels = 1;
        }
        if world.plan.told == Told::Cluster {
            world.make_cluster();
            world.tally.clusters = 1;
            if let Some(every) = world.plan.move_every {
                let at = world.plan.begins_at() + world.rng.around(every);
                world.agenda.add(at, Happening::Move);
            }
        }
        world.make_workers();
        for _ in 0..world.plan.clients {
            world.add_client();
        }
        if world.plan.faulty() {
            world.agenda.add(100_000, Happening::Fault);
        }
        world
    }

    fn make_shards(&mut self) {
        for shard in 0..self.plan.shards {
            let mut nodes = Vec::new();
            for place in 0..=self.plan.replicas {
                let number = self.nodes.len();
                let role = if place == 0 { Role::Primary } else { Role::Replica };
                let aof = if place == 0 || self.rng.percent(80) { self.plan.aof } else { None };
                let id = self.fresh_id("first");
                self.nodes.push(Node::new(shard, role, aof, id));
                nodes.push(number);
                let at = self.rng.below(1_000_000);
                self.agenda.add(at, Happening::Cron { node: number });
            }
            let known = vec![(0, 0); usize::from(self.plan.workers)];
            let primary = nodes[0];
            self.shards.push(Shard {
                primary,
                nodes: nodes.clone(),
                trouble_at: None,
                config_epoch: 0,
                told_at: Some(0),
                first_run: String::new(),
                first_id: String::new(),
                barrier_before: 0,
                known,
                attached: Vec::new(),
            });
            if self.plan.attached {
                for &replica in &nodes[1..] {
                    self.attach(replica, primary);
                }
            } else if let Some(&replica) = nodes.get(1) {
                let at = self.rng.below(2_000_000);
                self.agenda.add(at, Happening::Undo(Fault::Detached { replica }));
            }
            // The first attachment was before anybody could look.
            self.shards[shard].trouble_at = None;
            self.shards[shard].first_run = self.nodes[primary].run_id.clone();
            self.shards[shard].first_id = self.nodes[primary].replid.clone();
        }
    }

    fn make_workers(&mut self) {
        let (table, map) = (whole_table(), Arc::new(places::first_map(&self.plan)));
        for number in 0..self.plan.workers {
            let setup = Setup {
                worker: WorkerId(number),
                workers: self.plan.workers,
                settings: Arc::new(self.plan.settings.clone()),
                table: Arc::clone(&table),
                map: Arc::clone(&map),
                stats: self.stats.clone(),
                wall: Duration::from_secs(1_700_000_000),
                port: 6399,
                process_id: 1,
                run_id: Arc::from("0"),
            };
            self.workers.push(Worker::new(setup));
            self.beliefs.push(Beliefs::of(&self.plan));
            self.room_for_first_turn(usize::from(number));
        }
    }

    fn room_for_first_turn(&mut self, worker: usize) {
        // Nobody: a turn that finds nothing carries out what the engine asked for when it was made.
        let nobody = Mail::Answer {
            ticket: u64::MAX,
            worker: WorkerId(0),
            answer: weir::engine::Answer::Count(0),
        };
        self.wake_worker(worker, Input::Mail(nobody));
    }

    // ---------------------------------------------------------------- time passes

    /// Runs until `until`, or until something is wrong.
    pub fn run_until(&mut self, until: u64) {
        while self.failure.is_none() {
            match self.agenda.next_at() {
                Some(at) if at <= until => {}
                _ => break,
            }
            let Some((at, happening)) = self.agenda.take() else {
                break;
            };
            self.now = at;
            self.tally.events += 1;
            if self.tally.events > 5_000_000 {
                return self.violation("too much happens for so little".to_owned());
            }
            self.happen(happening);
        }
        self.now = self.now.max(until);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Turn { worker } => self.turn(worker),
            Happening::Mail { worker, mail } => self.wake_worker(worker, Input::Mail(mail)),
            Happening::Connected { worker, link, place } => self.connected(worker, link, place),
            Happening::ConnectTimedOut { worker, link } => self.connect_timed_out(worker, link),
            Happening::CloseUnflushed { worker, session } => self.close_unflushed(worker, session),
            Happening::Arrive { wire, way } => self.arrive(wire, way),
            Happening::Stream { link } => self.stream_arrives(link),
            Happening::Acked { link } => self.ack_arrives(link),
            Happening::Heard { sentinel, shard, word } => self.heard(sentinel, shard, word),
            Happening::Gossip { to, news } => self.hear(to, news),
            Happening::Suspected { by, node } => self.suspected(by, node),
            Happening::Move => self.begin_move(),
            Happening::MoveOn { region } => self.move_on(region),
            Happening::FailOver { shard } => self.fail_over(shard),
            Happening::Wonders { client } => self.client_wonders(client),
            Happening::Fsynced { node, life, upto } => self.fsynced(node, life, upto),
            Happening::Cron { node } => self.cron(node),
            Happening::PopsNoMore { node, life, wire, serial } => {
                self.pops_no_more(node, life, wire, serial);
            }
            Happening::Unswap { node, life, wire } => {
                let held = self.held_reply.remove(&wire);
                if let (Some(held), true) = (held, self.nodes[node].life == life) {
                    self.reply(wire, &held);
                }
            }
            Happening::Late { node, life, wire } => {
                if self.nodes[node].life == life {
                    self.execute_late(node, wire);
                }
            }
            Happening::NewClient => self.add_client(),
            Happening::Client { client } => self.client_acts(client),
            Happening::ClientReads { client } => self.client_reads(client),
            Happening::Fault => self.fault(),
            Happening::Undo(fault) => self.undo(fault),
        }
    }

    // ---------------------------------------------------------------- the truth about shards

    /// Something was wrong with a shard, or may have looked so.
    pub fn trouble(&mut self, shard: usize) {
        self.shards[shard].trouble_at = Some(self.now);
        for region in self.regions.iter_mut().filter(|region| region.concerns(shard)) {
            region.epoch += 1;
        }
    }

    /// The shard's address leads to a primary with other data than before: finds what it hasn't.
    pub fn find_losses(&mut self, shard: usize) {
        self.trouble(shard);
        let node = self.shards[shard].primary;
        if !self.nodes[node].up || self.nodes[node].role != Role::Primary {
            return;
        }
        let log = self.nodes[node].log.iter();
        let there: BTreeSet<EntryId> =
            log.flat_map(|item| self.ledger.written(&item.what)).copied().collect();
        let mut lost = Vec::new();
        for number in 0..self.ledger.entries.len() {
            let entry = &self.ledger.entries[number];
            // What was lost before its region went elsewhere is nowhere.
            let elsewhere = entry.lost_at.is_some() && self.shard_of_key(&entry.key) != shard;
            if entry.home() != shard || elsewhere {
                continue;
            }
            let has = there.contains(&number);
            let entry = &mut self.ledger.entries[number];
            entry.lost_at = if has { None } else { Some(entry.lost_at.unwrap_or(self.now)) };
            if !has {
                lost.push(number);
            }
        }
        self.line(|| format!("shard {shard} is node {node}, without writes {lost:?}"));
    }

    /// If a node that executes a write isn't where its shard's address leads: now.
    pub fn shard_has_other_primary(&self, node: usize) -> Option<u64> {
        (self.shards[self.nodes[node].shard].primary != node).then_some(self.now)
    }

    /// A write was executed; it must not be one whose client was told that it wasn't.
    pub fn executed(&mut self, effect: &Effect) {
        self.tally.writes += 1;
        if let Effect::Set(value) = effect {
            self.must_not_be_denied(value);
        }
    }

    pub fn must_not_be_denied(&mut self, value: &[u8]) {
        let owner = super::client::writer_of(value);
        let denied = owner.and_then(|owner| self.clients.get(owner));
        if denied.is_some_and(|client| client.denied.contains(value)) {
            let value = String::from_utf8_lossy(&value[..value.len().min(24)]).into_owned();
            self.violation(format!("{value} is executed, though its client was told it wasn't"));
        }
    }

    // ---------------------------------------------------------------- small things

    pub fn fresh_id(&mut self, why: &str) -> String {
        self.ids += 1;
        format!("{why}-{}", self.ids)
    }

    /// A promise is broken.
    pub fn violation(&mut self, what: String) {
        self.line(|| format!("VIOLATION: {what}"));
        let now = self.now;
        self.failure.get_or_insert(format!("at {now} us: {what}"));
    }

    /// A line for the trace, made only if somebody wants it.
    pub fn line(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            if trace.len() >= 2 * TRACE_MAX {
                trace.drain(1..TRACE_MAX);
            }
            trace.push(format!("{:>9} {}", self.now, text()));
        }
    }
}

/// The table that the host gives its workers: read once for all worlds.
fn whole_table() -> Arc<CommandTable> {
    static TABLE: OnceLock<Arc<CommandTable>> = OnceLock::new();
    let read = || CommandTable::from_reply(super::commands::WHOLE_TABLE).expect("a table");
    Arc::clone(TABLE.get_or_init(|| Arc::new(read())))
}
