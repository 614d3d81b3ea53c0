//! Every order of events, in worlds small enough to go through them all.
//!
//! A world has two shards and two or three replicas; two clients do three writes and wait. Messages
//! on different connections overtake each other in every way that they can, replicas acknowledge at
//! every moment, and a fault (a replica leaves, another becomes the primary, a connection is cut, a
//! deadline passes) strikes at every moment. States that look the same are gone through once.

mod acks_world;

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use acks_world::server::Server;
use acks_world::{Event, Mutation, World};
use weir::acks::Need;

/// A state on the way through all of them.
#[derive(Clone)]
struct State {
    world: World,
    /// How far each client is in its script.
    done: [usize; 2],
    /// Which fault may still strike, and how often the clock may still go on.
    fault: Option<Fault>,
    timers: usize,
    /// How it came to be.
    path: Vec<Event>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Leave,
    FailOver,
    FailBack,
    DataCut,
    TrackerCut,
}

struct Scene {
    servers: Vec<Server>,
    scripts: [Vec<Event>; 2],
    fault: Option<Fault>,
    timers: usize,
    mutation: Mutation,
}

impl Scene {
    /// Two shards with a replica each. Client 0 writes to both, client 1 to the first; then both
    /// wait.
    fn two_shards(need: Need) -> Self {
        let scripts = [
            vec![Event::Write(0, 0), Event::Write(0, 1), Event::Wait(0, need, None)],
            vec![Event::Write(1, 0), Event::Wait(1, need, None)],
        ];
        Self::new(vec![Server::new(1, false), Server::new(1, false)], scripts)
    }

    /// One shard. Client 0 writes twice and waits, client 1 writes and waits.
    fn one_shard(replicas: usize, need: Need, timeout: Option<Duration>) -> Self {
        let scripts = [
            vec![Event::Write(0, 0), Event::Write(0, 0), Event::Wait(0, need, timeout)],
            vec![Event::Write(1, 0), Event::Wait(1, need, timeout)],
        ];
        Self::new(vec![Server::new(replicas, matches!(need, Need::WaitAof { .. }))], scripts)
    }

    fn new(servers: Vec<Server>, scripts: [Vec<Event>; 2]) -> Self {
        Self { servers, scripts, fault: None, timers: 0, mutation: Mutation::Nothing }
    }

    fn with(mut self, fault: Option<Fault>, timers: usize) -> Self {
        self.fault = fault;
        self.timers = timers;
        self
    }

    fn planted(mut self, mutation: Mutation) -> Self {
        self.mutation = mutation;
        self
    }

    /// Goes through all states; returns how many there are.
    fn explore(self) -> usize {
        let mut world = World::new(self.servers, 2, false);
        world.mutation = self.mutation;
        let first =
            State { world, done: [0; 2], fault: self.fault, timers: self.timers, path: Vec::new() };
        let (hasher, mut seen, mut stack) = (RandomState::new(), HashSet::new(), vec![first]);
        while let Some(state) = stack.pop() {
            let events = state.events(&self.scripts);
            if events.is_empty() {
                state.comes_to_rest();
                continue;
            }
            for event in events {
                let next = state.after(event);
                if seen.insert(hasher.hash_one(next.fingerprint())) {
                    stack.push(next);
                }
            }
        }
        seen.len()
    }
}

impl State {
    fn events(&self, scripts: &[Vec<Event>; 2]) -> Vec<Event> {
        let mut events = self.world.enabled();
        for (client, script) in scripts.iter().enumerate() {
            match script.get(self.done[client]) {
                _ if self.world.clients[client].waiting.is_some() => {}
                Some(&Event::Write(_, shard)) if !self.world.shards[shard].can_write() => {}
                Some(&Event::Wait(..)) if !self.world.can_wait(client) => {}
                Some(&event) => events.push(event),
                None => {}
            }
        }
        let first = &self.world.shards[0];
        match self.fault {
            Some(Fault::Leave) => events.push(Event::Leave(0, 0)),
            Some(Fault::FailOver) => events.push(Event::FailOver(0, 0)),
            Some(Fault::FailBack) => events.push(Event::FailBack(0, 0)),
            Some(Fault::DataCut) => events.push(Event::DataCut(0)),
            Some(Fault::TrackerCut) => {
                events.extend(first.open_trackers().into_iter().map(|id| Event::TrackerCut(0, id)));
            }
            None => {}
        }
        if self.timers > 0 && self.world.next_timeout().is_some() {
            events.push(Event::Timer);
        }
        // After a fault the proxy polls, so that it learns of it.
        if self.fault.is_none()
            && !first.polling()
            && first.acks.generation().0 == 1
            && self.struck()
        {
            events.push(Event::PollSend(0));
        }
        events
    }

    /// Whether another server, or history, is behind the first shard than the one it began with.
    fn struck(&self) -> bool {
        self.world.shards[0].server.line != 1
    }

    fn after(&self, event: Event) -> Self {
        let mut next = self.clone();
        match event {
            Event::Write(client, _) | Event::Wait(client, ..) => next.done[client] += 1,
            Event::Leave(..) | Event::FailOver(..) | Event::FailBack(..) => next.fault = None,
            Event::DataCut(_) | Event::TrackerCut(..) => next.fault = None,
            Event::Timer => next.timers -= 1,
            _ => {}
        }
        next.path.push(event);
        let happens = AssertUnwindSafe(|| {
            next.world.apply(event);
            next.world.turn_end();
        });
        if let Err(panic) = catch_unwind(happens) {
            let path: Vec<String> = next.path.iter().map(|event| format!("  {event:?}")).collect();
            panic!("{:?} after\n{}", panic.downcast_ref::<String>(), path.join("\n"));
        }
        next
    }

    /// All of the state but its counters, which tell the way and not the place.
    fn fingerprint(&self) -> String {
        let text = format!("{:?} {:?} {:?} {:?}", self.world, self.done, self.fault, self.timers);
        let mut rest = text.as_str();
        let mut out = String::with_capacity(text.len());
        while let Some((before, after)) = rest.split_once("counts: Counts {") {
            out.push_str(before);
            rest = after.split_once('}').map_or("", |(_, rest)| rest);
        }
        out + rest
    }

    /// Nothing is under way any more: with the clock going on and the replicas back, everybody is
    /// answered.
    fn comes_to_rest(mut self) {
        for shard in 0..self.world.shards.len() {
            for replica in 0..self.world.shards[shard].server.replicas.len() {
                if !self.world.shards[shard].server.replicas[replica].online {
                    self.world.apply(Event::Attach(shard, replica));
                }
            }
        }
        for turn in 0..500 {
            if self.world.clients.iter().all(|client| client.waiting.is_none()) {
                return;
            }
            let event = match self.world.enabled().first() {
                Some(&event) => event,
                None if turn % 10 == 0 && !self.world.shards[0].polling() => Event::PollSend(0),
                None => Event::Timer,
            };
            self.world.apply(event);
            self.world.turn_end();
        }
        panic!("somebody waits for ever");
    }
}

fn wait(replicas: i64) -> Need {
    Need::Wait { replicas }
}

fn is_found(scene: Scene) -> bool {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let found = catch_unwind(AssertUnwindSafe(|| scene.explore())).is_err();
    std::panic::set_hook(hook);
    found
}

/// Goes through a scene; `at_least` so many states, or the scene is smaller than its name.
fn explore(scene: Scene, at_least: usize) {
    let states = scene.explore();
    assert!(states > at_least, "only {states} states");
}

#[test]
fn two_shards() {
    explore(Scene::two_shards(wait(1)), 10_000);
}

#[test]
fn one_shard_and_both_of_its_replicas() {
    explore(Scene::one_shard(2, wait(2), None), 4000);
}

#[test]
fn a_replica_leaves() {
    explore(Scene::one_shard(1, wait(1), None).with(Some(Fault::Leave), 0), 4000);
}

#[test]
fn a_replica_becomes_the_primary() {
    explore(Scene::one_shard(1, wait(1), None).with(Some(Fault::FailOver), 0), 10_000);
}

#[test]
fn the_primary_is_demoted_and_promoted() {
    explore(Scene::one_shard(1, wait(1), None).with(Some(Fault::FailBack), 0), 10_000);
}

#[test]
fn connections_are_cut() {
    for fault in [Fault::DataCut, Fault::TrackerCut] {
        explore(Scene::one_shard(1, wait(1), None).with(Some(fault), 0), 4000);
    }
}

#[test]
fn deadlines_pass() {
    let timeout = Some(Duration::from_millis(1));
    explore(Scene::one_shard(1, wait(1), timeout).with(None, 1), 4000);
}

#[test]
fn fsyncs_are_asked_for_again() {
    let need = Need::WaitAof { local: 1, replicas: 1 };
    explore(Scene::one_shard(1, need, None).with(None, 1), 4000);
}

#[test]
fn planted_bugs_are_found() {
    let scene = || Scene::one_shard(1, wait(1), None);
    let failing_back = Scene::one_shard(2, wait(1), None).with(Some(Fault::FailBack), 0);
    for (mutation, scene) in [
        (Mutation::MarksOneEarly, scene()),
        (Mutation::NoBarrier, scene()),
        (Mutation::TrustsAnyHistory, failing_back),
        (Mutation::FirstShardOnly, Scene::two_shards(wait(1))),
    ] {
        assert!(is_found(scene.planted(mutation)), "{mutation:?} was not found");
    }
}
