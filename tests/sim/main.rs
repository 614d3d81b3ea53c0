//! The simulation: whole engines, with everything else faked, from a seed.
//!
//! ```text
//!   seed -> plan ->  clients ~~wires~~ workers (real engines) ~~wires~~ servers ~~stream~~ replicas
//!                       |                                                  |        |
//!                       '--what was asked, what was told--> check <--what truly happened (ledger)
//! ```
//!
//! A world lives for some seconds of its own time: a storm, in which clients ask and things go
//! wrong; then everything is put right, whatever was asked must be answered, and each client writes
//! once more and waits for everybody; then all leave, and nothing may be left behind.
//!
//! `SEED=n` runs one world and tells, if it fails, all that happened in it. `SEEDS=n` runs that
//! many, from `SEED` on. A failing seed names itself.

#![allow(clippy::unwrap_used, reason = "a test may")]
#![allow(unreachable_pub, reason = "this crate is one test")]
#![allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]

mod beliefs;
mod check;
mod client;
mod cluster;
mod commands;
mod counts;
mod exec;
mod faults;
mod ledger;
mod lists;
mod moving;
mod node;
mod partition;
mod places;
mod plan;
mod redirect;
mod regions;
mod replication;
mod resp;
mod rng;
mod script;
mod sentinels;
mod session;
mod transactions;
mod wire;
mod worker;
mod world;

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

use plan::{Plan, Plant, Told};
use world::{Tally, World};

/// Worlds of an ordinary test run.
const SEEDS: u64 = 200;

/// Worlds in which a planted bug must show.
const SEEDS_FOR_A_PLANT: u64 = 1_000;

/// Failing worlds after which a run ends.
const FAILURES_MAX: usize = 20;

impl World {
    /// From the first connection to the last goodbye.
    fn live(&mut self) {
        self.run_until(self.plan.storm);
        self.heal();
        self.run_until(self.now + 2_000_000);
        self.until("requests are answered", |world| {
            let owed =
                |client: &client::Client| client.here && client.expected.iter().any(|e| !e.mute);
            world.clients.iter().position(owed)
        });
        for client in 0..self.clients.len() {
            self.last_words(client);
        }
        self.until("last words are answered", |world| {
            world.clients.iter().position(|client| client.here && !client.done)
        });
        for client in 0..self.clients.len() {
            self.client_resets(client);
        }
        self.run_until(self.now + 1_000_000);
        self.nothing_is_left();
    }

    /// Runs until nobody is left of whom `who` speaks, which must not take long.
    fn until(&mut self, what: &str, who: impl Fn(&Self) -> Option<usize>) {
        for _ in 0..600 {
            if self.failure.is_some() || who(self).is_none() {
                return;
            }
            self.run_until(self.now + 100_000);
        }
        if let Some(client) = who(self) {
            let first = self.clients[client].expected.front();
            let first = first.map(check::ask);
            self.violation(format!("{what}: not those of client {client}: {first:?}"));
        }
    }

    /// Everybody has gone: engines must have forgotten them.
    fn nothing_is_left(&mut self) {
        if self.failure.is_some() {
            return;
        }
        self.beliefs_are_true();
        for worker in 0..self.workers.len() {
            let counted = self.stats.workers[worker].clone();
            let (clients, blocked) = (&counted.connected_clients, &counted.blocked_clients);
            let views = self.views(worker);
            let waiters: u64 = views.iter().map(|view| view.waiters).sum();
            let unsent = self.unsent(worker);
            let left = (clients.get(), blocked.get(), waiters, unsent);
            if left != (0, 0, 0, 0) {
                let here = self.sessions(worker);
                self.line(|| format!("worker {worker} still has {here}"));
                self.violation(format!(
                    "worker {worker} has clients, blocked, waiters, unsent bytes: {left:?}"
                ));
            }
            // A shard that has left a cluster keeps its place for a while.
            let gone =
                |view: &weir::engine::ShardView| self.is_cluster() && view.primary.is_empty();
            if let Some(view) = views.iter().find(|view| view.state != "up" && !gone(view)) {
                let text = format!("worker {worker}: shard {} is {}", view.shard, view.state);
                self.violation(text);
            }
        }
    }
}

/// One world; the error is what was violated.
fn world(seed: u64, plant: Option<Plant>, tracing: bool) -> (Result<Tally, String>, Vec<String>) {
    let mut world = World::new(Plan::of(seed, plant), tracing);
    let lived = catch_unwind(AssertUnwindSafe(|| world.live()));
    let result = match (lived, world.failure.take()) {
        (Err(panic), _) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
            Err(format!("at {} us: panic: {}", world.now, text.unwrap_or_default()))
        }
        (Ok(()), Some(failure)) => Err(failure),
        (Ok(()), None) => Ok(world.tally),
    };
    (result, world.trace.take().unwrap_or_default())
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().filter(|text| !text.is_empty())?.parse().ok()
}

/// Says something while the tests run; seen with `--nocapture`.
fn say(text: &str) {
    // Nobody to tell is no failure.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Fails with all that happened in the first world that failed, and with how the others did.
fn tell(failures: &[(u64, String)]) {
    let Some((seed, _)) = failures.first() else {
        return;
    };
    let (result, trace) = world(*seed, None, true);
    let failure = result.err().unwrap_or_else(|| "it does not fail again!".to_owned());
    let others: String =
        failures[1..].iter().map(|(seed, text)| format!("SEED={seed}: {text}\n")).collect();
    panic!("{}\n\n{others}SEED={seed}: {failure}", trace.join("\n"));
}

#[test]
fn no_world_sees_a_wrong_answer() {
    let (first, one) = (number("SEED"), number("SEEDS"));
    let count = one.unwrap_or(if first.is_some() { 1 } else { SEEDS });
    let first = first.unwrap_or(1);
    let (mut sum, mut failures) = (Tally::default(), Vec::new());
    for seed in first..first + count {
        match world(seed, None, false).0 {
            Ok(tally) => sum.add(&tally),
            Err(failure) => failures.push((seed, failure)),
        }
        if failures.len() == FAILURES_MAX {
            break;
        }
        if (seed - first + 1) % 1_000 == 0 {
            say(&format!("{} worlds: {sum:?}", seed - first + 1));
        }
    }
    say(&format!("{count} worlds: {sum:?}"));
    tell(&failures);
    assert!(count < 100 || sum.counted > count, "a simulation of nothing: {sum:?}");
}

#[test]
fn a_seed_tells_everything() {
    for seed in [3, 17, 40] {
        let (first, second) = (world(seed, None, true), world(seed, None, true));
        assert!(first.1 == second.1, "seed {seed} gives two worlds");
    }
}

fn must_be_found(plant: Plant, how: &str) {
    must_be_found_in(plant, how, |_| true);
}

/// In worlds of this kind.
fn must_be_found_in(plant: Plant, how: &str, fit: impl Fn(Told) -> bool) {
    for seed in (1..=SEEDS_FOR_A_PLANT).filter(|&seed| fit(Told::of(seed, Some(plant)))) {
        if let Err(failure) = world(seed, Some(plant), false).0 {
            say(&format!("{plant:?} found with seed {seed}: {failure}"));
            assert!(failure.contains(how), "{plant:?}, SEED={seed}, is found by {failure:?}");
            return;
        }
    }
    panic!("{plant:?} is not found in {SEEDS_FOR_A_PLANT} worlds");
}

#[test]
fn a_skipped_barrier_is_found() {
    must_be_found(Plant::SkippedBarrier, "OVER-COUNT");
}

#[test]
fn a_mark_a_round_too_early_is_found() {
    must_be_found(Plant::EarlyMark, "OVER-COUNT");
}

#[test]
fn a_history_that_nobody_looks_at_is_found() {
    must_be_found(Plant::OldHistory, "");
}

#[test]
fn a_proof_that_nobody_checks_is_found() {
    must_be_found(Plant::FalseProof, "OVER-COUNT");
}

#[test]
fn a_failover_that_nobody_follows_is_found() {
    for kind in [Told::Sentinel, Told::Cluster] {
        must_be_found_in(Plant::FirstWord, "", |told| told == kind);
    }
}

#[test]
fn a_key_that_goes_to_another_shard_alone_is_found() {
    must_be_found(Plant::LeftBehind, "OVER-COUNT");
}

#[test]
fn an_fsync_that_is_only_promised_is_found() {
    must_be_found(Plant::EarlyFsync, "OVER-COUNT");
}

#[test]
fn replies_in_the_wrong_order_are_found() {
    must_be_found(Plant::SwappedReplies, "");
}

#[test]
fn a_session_that_overtakes_itself_is_found() {
    must_be_found(Plant::Overtaken, "is told");
}

#[test]
fn a_wait_that_is_never_answered_is_found() {
    must_be_found(Plant::DeafReplicas, "");
}
