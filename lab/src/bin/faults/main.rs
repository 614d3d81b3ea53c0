//! `make faults`: writers, faults, and whether anybody was told a lie.
//!
//! ```text
//!   writers ---> endpoint -----+
//!                              +---> shards <--- Sentinels, or one another
//!   writers ---> bare client --+        ^
//!                                       +--- kill -9, SIGSTOP, partition, failover: from a seed
//! ```
//!
//! Each writer adds one element after another to sets of its own, asks WAIT or WAITAOF for all
//! replicas, and notes what it is told. In between servers are killed, stopped, cut off and failed
//! over; each time until everything is in its place again. In the end every element is looked for.
//! What was acknowledged by all replicas must be there. Beside the endpoint's clients the same is
//! done by a client library of the ordinary kind, on the same servers at the same time.
//!
//! Where the machine gives network namespaces, all of this happens in some of our own, so that
//! servers can be cut off; and where it doesn't there are no partitions.

mod bed; //     the servers
mod faults; //  what happens to them
mod ledger; //  what writers were told
mod options; // what a person can ask for
mod picture; // the time line
mod report; //  the tables
mod rng; //     numbers from a seed
mod roads; //   through the endpoint, or by a client library
mod watch; //   when the engine has switched
mod writer; //  who writes

use std::io;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use lab::network::{self, Network};
use lab::process::Proc;
use lab::redis_cluster::slot_of;
use lab::servers::{Server, repository};

use bed::{Bed, Kind};
use faults::{Mark, Schedule};
use ledger::{Book, Clock, Side};
use options::{Options, USAGE};
use rng::Rng;
use roads::{Bare, Endpoint, Guide};
use watch::Watch;
use writer::{Question, Task};

/// What the servers' files take in a long run.
const MEMORY: u64 = 4 << 30;

fn main() -> ExitCode {
    let Some(options) = Options::read(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all is as it should be.
fn run(options: &Options) -> io::Result<bool> {
    let network = if options.network { enter_network() } else { None };
    lab::folder::prefer_memory(MEMORY);
    let server = Server::of(options.flavor);
    let mut bed = Bed::start(&server, options.kind, network);
    if options.sides.contains(&Side::Endpoint) {
        bed.start_host(&server).map_err(io::Error::other)?;
    }
    println!(
        "Shards: {}, replicas of each: {}; {}, {}; seed {}\n",
        bed.shards().len(),
        bed.replicas(),
        options.kind.name(),
        options.flavor,
        options.seed
    );
    let clock = Clock::start();
    let watch = Watch::new(clock);
    let (mut books, marks) = make_history(&bed, options, &watch, clock)?;
    report::look(&bed, &mut books)?;

    let switches = watch.seen();
    let gaps = report::gaps(&books, &switches, &marks, &options.sides);
    report::print_told(&books, &options.sides);
    report::print_gaps(&gaps, &options.sides);
    report::print_longest(&gaps, clock);
    if let (Some(path), Some(host)) = (&options.host_log, bed.host()) {
        std::fs::write(path, host.log())?;
    }
    let name = format!("faults-{}-{}.svg", options.kind.name(), options.flavor);
    let picture = options.picture.clone();
    let picture = picture.unwrap_or_else(|| repository().join("target").join(name));
    picture::draw(&picture, &books, &marks, &switches, options).map_err(io::Error::other)?;
    println!("\nTime line: {}", picture.display());

    let mut failures = report::failures(&books, options.restart_host);
    if let Some(bound) = options.gap_max {
        let of_endpoint = gaps.iter().filter(|gap| gap.side == Side::Endpoint);
        let over = of_endpoint.filter(|gap| u128::from(gap.after) > bound.as_micros()).count();
        if over > 0 {
            failures.push(format!("{over} times writes failed for longer than {bound:?}"));
        }
    }
    match (failures.is_empty(), options.sides.contains(&Side::Endpoint)) {
        (true, true) => println!("No client of the endpoint was told what is not true."),
        (true, false) => println!("The endpoint was not asked."),
        _ => failures.iter().for_each(|failure| println!("FAILURE: {failure}")),
    }
    Ok(failures.is_empty())
}

/// A network that can be cut, if the machine has one for us.
fn enter_network() -> Option<Network> {
    match network::enter().and_then(|()| Network::new()) {
        Ok(network) => Some(network),
        Err(error) => {
            println!("No partitions, since there are no network namespaces here: {error}");
            None
        }
    }
}

/// Has writers write while faults happen. Returns what they know, and what happened.
fn make_history(
    bed: &Bed,
    options: &Options,
    watch: &Watch,
    clock: Clock,
) -> io::Result<(Vec<Book>, Vec<Mark>)> {
    let ended = AtomicBool::new(false);
    let task = Task { clock, ended: &ended, tags: bed.tags(), replicas: bed.replicas() };
    let all: Vec<usize> = (0..bed.shards().len()).collect();
    thread::scope(|scope| {
        // Whatever happens to this thread, the others must see the end.
        let end = End(&ended);
        watch.run(scope, bed, &ended);
        let mut writers = Vec::new();
        for &side in &options.sides {
            let asking = (0..options.writers)
                .map(|number| (all.clone(), [Question::Wait, Question::WaitAof][number % 2]));
            // One for each shard that shows when writes succeed.
            let plain = all.iter().map(|&shard| (vec![shard], Question::None));
            for (number, (shards, question)) in asking.chain(plain).enumerate() {
                let book = Book::new(side, number);
                writers.push(scope.spawn(move || match side {
                    Side::Endpoint => {
                        let address = bed.host().map(|host| host.endpoint()).unwrap_or_default();
                        task.run(Endpoint::new(address), &shards, question, book)
                    }
                    Side::Bare => {
                        let road = Bare::new(guide(bed), bed.shards().len());
                        task.run(road, &shards, question, book)
                    }
                }));
            }
        }
        let rng = Rng::new(options.seed);
        let marks = Schedule { bed, watch, clock, rng }.run(options);
        drop(end);
        let books = writers.into_iter().map(|writer| writer.join());
        let books: Vec<Book> =
            books.collect::<Result<_, _>>().map_err(|_| io::Error::other("a writer panicked"))?;
        Ok((books, marks?))
    })
}

/// Ends the run when it is dropped.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a client library is told of these servers.
fn guide(bed: &Bed) -> Guide {
    let shards = bed.shards().iter();
    match (bed.kind(), bed.sentinels()) {
        (Kind::Sentinel, Some(sentinels)) => Guide::Sentinel {
            sentinels: sentinels.iter().map(Proc::address).collect(),
            names: sentinels.names().to_vec(),
        },
        (Kind::Cluster, _) => Guide::Cluster {
            nodes: shards.flat_map(lab::cluster::Shard::servers).map(Proc::address).collect(),
            slots: bed.tags().iter().map(|tag| slot_of(tag.as_bytes())).collect(),
        },
        _ => Guide::Static(shards.map(|shard| shard.primary.address()).collect()),
    }
}
