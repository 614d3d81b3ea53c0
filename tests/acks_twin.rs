//! Random orders of events, from a seed, against a linear scan: never an answer above what the scan
//! said of late, and in the end, when the replicas have caught up, everybody's answer and the right
//! one.

#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod acks_world;
mod scenario;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use acks_world::server::Server;
use acks_world::{Event, Mutation, World};
use scenario::Random;
use weir::acks::{Acked, Answer, Need};

/// How many seeds a run tries; `SEEDS=n` for more, `SEED=n` for the one.
fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(40),
    }
}

const CLIENTS: usize = 5;
/// Things that happen in a world before it is let come to rest.
const STEPS: usize = 2000;

/// What may go wrong in a world.
#[derive(Clone, Copy)]
struct Faults {
    replicas: bool,
    histories: bool,
    connections: bool,
    /// How many things happen between two of them.
    rarity: usize,
}

const ALL: Faults = Faults { replicas: true, histories: true, connections: true, rarity: 100 };
const OFTEN: Faults = Faults { rarity: 30, ..ALL };

struct Play {
    world: World,
    rng: Random,
    faults: Faults,
}

impl Play {
    fn new(seed: u64, faults: Faults, mutation: Mutation) -> Self {
        let mut rng = Random::new(seed);
        let servers = (0..2).map(|_| {
            let mut server = Server::new(rng.below(3), rng.below(2) == 0);
            server.cluster = rng.below(4) == 0;
            server
        });
        let servers = servers.collect();
        let mut world = World::new(servers, CLIENTS, true);
        world.mutation = mutation;
        Self { world, rng, faults }
    }

    fn need(&mut self) -> Need {
        let replicas = self.rng.below(4) as i64;
        match self.rng.below(2) {
            0 => Need::Wait { replicas },
            _ => Need::WaitAof { local: self.rng.below(2) as i64, replicas: replicas.min(2) },
        }
    }

    /// Something that a client may do, or nothing.
    fn client_event(&mut self) -> Option<Event> {
        let client = self.rng.below(CLIENTS);
        let shard = self.rng.below(2);
        if self.world.clients[client].waiting.is_some() {
            return match self.rng.below(60) {
                0 => Some(Event::Cancel(client)),
                1 => Some(Event::UnblockClient(client)),
                _ => None,
            };
        }
        if self.rng.below(2) == 0 {
            return self.world.shards[shard].can_write().then_some(Event::Write(client, shard));
        }
        let timeout = match self.rng.below(3) {
            0 => None,
            _ => Some(Duration::from_micros(self.rng.below(40_000) as u64)),
        };
        let need = self.need();
        self.world.can_wait(client).then_some(Event::Wait(client, need, timeout))
    }

    fn fault(&mut self) -> Option<Event> {
        let index = self.rng.below(2);
        let shard = &self.world.shards[index];
        let replicas = shard.server.replicas.len();
        let trackers = shard.open_trackers();
        let replica = if replicas > 0 { self.rng.below(replicas) } else { usize::MAX };
        let event = match self.rng.below(10) {
            0 | 1 if self.faults.replicas => Event::Leave(index, replica),
            2..=4 if self.faults.replicas && !shard.server.replicas.get(replica)?.online => {
                return Some(Event::Attach(index, replica));
            }
            5 if self.faults.histories => Event::FailOver(index, replica),
            6 if self.faults.histories => Event::FailBack(index, replica),
            7 if self.faults.connections => return Some(Event::DataCut(index)),
            8 if self.faults.connections && !trackers.is_empty() => {
                let pick = self.rng.below(trackers.len());
                return Some(Event::TrackerCut(index, trackers[pick]));
            }
            9 if self.faults.connections => return Some(Event::ToggleFull(index)),
            _ => return None,
        };
        (replicas > 0).then_some(event)
    }

    fn step(&mut self) {
        self.world.now.0 += self.rng.below(300) as u64;
        let late = self.world.overdue(Duration::from_millis(3));
        let event = if let Some(&event) = late.first() {
            Some(event)
        } else if self.rng.below(self.faults.rarity) == 0 {
            self.fault()
        } else if self.rng.below(3) == 0 {
            self.client_event()
        } else if self.rng.below(30) == 0 {
            let shard = self.rng.below(2);
            (!self.world.shards[shard].polling()).then_some(Event::PollSend(shard))
        } else {
            let enabled = self.world.enabled();
            let pick = self.rng.below(enabled.len().max(1));
            enabled.get(pick).copied()
        };
        // A replica may take its time, or fsync later than it acknowledges.
        let event = match event {
            Some(Event::CatchUp(..)) if self.rng.below(2) == 0 => None,
            Some(Event::CatchUp(shard, replica, _)) => {
                Some(Event::CatchUp(shard, replica, self.rng.below(2) == 0))
            }
            other => other,
        };
        if let Some(event) = event {
            self.world.apply(event);
        }
        self.clock();
        if self.rng.below(2) == 0 {
            self.world.turn_end();
        }
    }

    /// Timeouts that are due.
    fn clock(&mut self) {
        for _ in 0..1000 {
            if self.world.next_timeout().is_none_or(|at| at > self.world.now) {
                return;
            }
            self.world.apply(Event::Timer);
        }
        panic!("a timeout that comes again and again at {:?}", self.world.now);
    }

    /// Everything that is under way arrives, every replica comes back and catches up.
    fn settle(&mut self) {
        for index in 0..2 {
            self.world.shards[index].server.full = false;
            for replica in 0..self.world.shards[index].server.replicas.len() {
                if !self.world.shards[index].server.replicas[replica].online {
                    self.world.apply(Event::Attach(index, replica));
                }
            }
        }
        for turn in 0..20_000 {
            if turn % 100 == 0 {
                for shard in 0..2 {
                    if !self.world.shards[shard].polling() {
                        self.world.apply(Event::PollSend(shard));
                    }
                }
            }
            let enabled = self.world.enabled();
            let waiters = self.world.shards.iter().map(|shard| shard.acks.waiters()).sum::<usize>();
            if enabled.is_empty() && (waiters == 0 || turn > 10_000) {
                return;
            }
            let pick = self.rng.below(enabled.len().max(1));
            if let Some(&event) = enabled.get(pick) {
                self.world.apply(event);
            }
            self.world.now.0 += 50;
            self.clock();
            self.world.turn_end();
        }
    }

    /// The one more answer that a client gets; none if it waits for ever.
    fn ask(&mut self, client: usize, need: Need) -> Option<Answer> {
        assert!(self.world.can_wait(client), "client {client} waits for ever");
        let before = self.world.clients[client].answers.len();
        self.world.apply(Event::Wait(client, need, None));
        self.world.turn_end();
        self.settle();
        self.world.clients[client].answers.get(before).cloned()
    }

    fn run(&mut self) {
        for _ in 0..STEPS {
            self.step();
        }
        self.settle();
        let replicas = (0..2).map(|shard| self.world.shards[shard].server.replicas.len() as i64);
        let least = replicas.min().expect("two shards");
        for client in 0..CLIENTS {
            // Who asked for more than there can be waits rightly; everybody else has an answer.
            if let Some(need) = self.world.clients[client].waiting {
                let (Need::Wait { replicas } | Need::WaitAof { replicas, .. }) = need;
                assert!(replicas > least, "client {client} waits for ever for {need:?}");
                self.world.apply(Event::Cancel(client));
            }
        }
        let client = self.rng.below(CLIENTS);
        let mut answer = self.ask(client, Need::Wait { replicas: least });
        for _ in 0..2 {
            if matches!(answer, Some(Err(_))) {
                answer = self.ask(client, Need::Wait { replicas: least });
            }
        }
        let Some(Ok(Acked { replicas, .. })) = answer else { panic!("no answer: {answer:?}") };
        assert!(replicas >= least, "{replicas} of {least}");
        assert_eq!(self.world.shards.iter().map(|shard| shard.acks.waiters()).sum::<usize>(), 0);
    }
}

/// Whether a world with this bug in it goes wrong within so many seeds.
fn finds(mutation: Mutation, faults: Faults, seeds: u64) -> Option<u64> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let found = (0..seeds).find(|&seed| {
        catch_unwind(AssertUnwindSafe(|| {
            let mut play = Play::new(seed, faults, mutation);
            (0..STEPS).for_each(|_| play.step());
        }))
        .is_err()
    });
    std::panic::set_hook(hook);
    found
}

#[test]
fn never_higher_than_the_scan_and_right_in_the_end() {
    for seed in seeds() {
        let faults = if seed % 2 == 0 { ALL } else { OFTEN };
        let played =
            catch_unwind(AssertUnwindSafe(|| Play::new(seed, faults, Mutation::Nothing).run()));
        assert!(played.is_ok(), "SEED={seed} fails");
    }
}

#[test]
fn without_a_new_history_nothing_is_lost() {
    let faults = Faults { replicas: false, histories: false, connections: false, rarity: 100 };
    for seed in seeds() {
        let mut play = Play::new(seed, faults, Mutation::Nothing);
        play.run();
        assert_eq!(play.world.losses, 0, "SEED={seed}");
    }
}

#[test]
fn planted_bugs_are_found() {
    for mutation in [
        Mutation::MarksOneEarly,
        Mutation::NoBarrier,
        Mutation::TrustsAnyHistory,
        Mutation::FirstShardOnly,
        Mutation::InfoFirst,
        Mutation::PollBoundsLater,
        Mutation::NeverConfirms,
    ] {
        let found = finds(mutation, OFTEN, 1000);
        assert!(found.is_some(), "{mutation:?} was not found");
    }
}
