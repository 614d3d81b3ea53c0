//! What the engine alone costs per command: no socket, no thread, no other program's noise.
//!
//! ```text
//!   for each client: its bytes -> engine        then the replies of the shards -> engine
//!                        |                                         |
//!                    one turn                                  one turn
//! ```
//!
//! A turn is a worker's: all clients are read, then each link is written once; all links are read,
//! then each client is written once. What is printed is the best of many turns, since whatever else
//! the machine does can only add to it. `cargo bench --no-default-features --bench engine` runs it.
//!
//! `engine SET 1 16 20000` does one setting only (kind, shards, pipeline, commands): instructions
//! under `valgrind --tool=callgrind` are then those of so many commands, and of the start.

#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "it measures, and says so")]

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use weir::command::CommandTable;
use weir::engine::{Engine, Event, Output, Peer, Setup};
use weir::ids::{LinkId, SessionId, Slab, Time, WorkerId};
use weir::settings::Settings;
use weir::shards::Upstream;
use weir::stats::Stats;

const COMMANDS: &[u8] = include_bytes!("../tests/data/command-valkey.resp");

const CLIENTS: usize = 50;
const KEYS: usize = 1000;
/// How many commands are measured in each setting, if nothing is said: a fraction of a second.
const COMMANDS_MEASURED: usize = 1_000_000;

const INFO: &str = "run_id:r\r\nredis_version:8.0.6\r\nrole:master\r\nconnected_slaves:0\r\n\
    master_replid:x\r\nmaster_replid2:0\r\nmaster_repl_offset:100\r\nsecond_repl_offset:-1\r\n\
    repl_backlog_active:1\r\naof_enabled:0\r\nloading:0\r\ncluster_enabled:0\r\n";

/// One kind of command: requests of one length, each answered alike.
struct Kind {
    name: &'static str,
    request: fn(usize) -> String,
    reply: &'static [u8],
}

const KINDS: &[Kind] = &[
    Kind {
        name: "SET",
        request: |key| format!("*3\r\n$3\r\nSET\r\n$16\r\nkey:{key:012}\r\n$3\r\nxxx\r\n"),
        reply: b"+OK\r\n",
    },
    Kind {
        name: "GET",
        request: |key| format!("*2\r\n$3\r\nGET\r\n$16\r\nkey:{key:012}\r\n"),
        reply: b"$3\r\nxxx\r\n",
    },
];

struct World {
    engine: Engine,
    sessions: Vec<SessionId>,
    now: Time,
    /// What the engine wants written, each link and session once.
    links: HashSet<LinkId>,
    clients: HashSet<SessionId>,
}

impl World {
    fn new(shards: usize) -> Self {
        let upstream: Vec<String> = (1..=shards).map(|port| format!("127.0.0.1:{port}")).collect();
        let upstream = format!("static://{}", upstream.join(","));
        let map = Upstream::parse(&upstream).expect("an upstream").into_map();
        let setup = Setup {
            worker: WorkerId(0),
            workers: 1,
            settings: Arc::new(Settings::default()),
            table: Arc::new(CommandTable::from_reply(COMMANDS).expect("a recorded reply")),
            map: Arc::new(map),
            stats: Stats::new(1, shards),
            wall: Duration::ZERO,
            port: 1,
            process_id: 1,
            run_id: Arc::from("0"),
        };
        let mut world = Self {
            engine: Engine::new(setup, Time::ZERO),
            sessions: Vec::new(),
            now: Time::ZERO,
            links: HashSet::new(),
            clients: HashSet::new(),
        };
        world.outputs();
        let mut ids = Slab::<SessionId, ()>::default();
        for _ in 0..CLIENTS {
            let session = ids.insert(());
            let peer = Peer { address: "c".to_owned(), local: "l".to_owned(), fd: 1 };
            world.engine.handle(Event::Accepted { session, peer }, world.now);
            world.sessions.push(session);
        }
        world
    }

    /// Notes what is to be written; whoever is to be connected to answers as a shard would.
    fn outputs(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Connect { link, .. } => {
                    self.engine.handle(Event::LinkOpened { link }, self.now);
                    let greeting = format!("+OK\r\n:7\r\n${}\r\n{INFO}\r\n", INFO.len());
                    self.shard_says(link, greeting.as_bytes());
                }
                Output::FlushLink { link } => {
                    self.links.insert(link);
                }
                Output::FlushSession { session } => {
                    self.clients.insert(session);
                }
                _ => {}
            }
        }
    }

    fn client_says(&mut self, session: SessionId, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let space = self.engine.session_space(session).expect("it is open");
            let count = space.len().min(bytes.len());
            space[..count].copy_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            self.engine.handle(Event::SessionRead { session, bytes: count }, self.now);
        }
    }

    fn shard_says(&mut self, link: LinkId, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let space = self.engine.link_space(link).expect("it is open");
            let count = space.len().min(bytes.len());
            space[..count].copy_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            self.engine.handle(Event::LinkRead { link, bytes: count }, self.now);
        }
    }

    fn turn_ends(&mut self) {
        self.engine.handle(Event::TurnEnd, self.now);
        self.outputs();
        self.now = self.now + Duration::from_micros(50);
    }

    /// Writes to all links; says how many bytes to each.
    fn write_links(&mut self) -> Vec<(LinkId, usize)> {
        let links: Vec<LinkId> = self.links.drain().collect();
        let mut written = Vec::new();
        for link in links {
            let bytes = self.engine.link_output(link).iter().map(|piece| piece.len()).sum();
            self.engine.handle(Event::LinkWrote { link, bytes }, self.now);
            written.push((link, bytes));
        }
        written
    }

    /// Writes to all clients; says how many bytes in all.
    fn write_clients(&mut self) -> usize {
        let clients: Vec<SessionId> = self.clients.drain().collect();
        let mut written = 0;
        for session in clients {
            let bytes = self.engine.session_output(session).len();
            self.engine.handle(Event::SessionWrote { session, bytes }, self.now);
            written += bytes;
        }
        written
    }
}

/// Nanoseconds per command.
fn measure(kind: &Kind, shards: usize, pipeline: usize, commands: usize) -> f64 {
    let mut world = World::new(shards);
    world.turn_ends();
    world.write_links();
    let length = (kind.request)(0).len();
    let request = |client, n| (kind.request)((client * 7919 + n * 31) % KEYS);
    let requests: Vec<Vec<u8>> = (0..CLIENTS)
        .map(|client| (0..pipeline).map(|n| request(client, n)).collect::<String>().into_bytes())
        .collect();
    let replies = kind.reply.repeat(CLIENTS * pipeline);
    let mut best = f64::INFINITY;
    for _ in 0..commands / (CLIENTS * pipeline) {
        let start = Instant::now();
        for (client, bytes) in requests.iter().enumerate() {
            world.client_says(world.sessions[client], bytes);
        }
        world.turn_ends();
        for (link, bytes) in world.write_links() {
            world.shard_says(link, &replies[..bytes / length * kind.reply.len()]);
        }
        world.turn_ends();
        let answered = world.write_clients();
        world.outputs();
        let time = start.elapsed().as_secs_f64() * 1e9 / (CLIENTS * pipeline) as f64;
        assert_eq!(answered, replies.len(), "every command is answered");
        best = best.min(time);
    }
    best
}

fn main() {
    // Cargo adds `--bench`.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let [name, rest @ ..] = args.as_slice() {
        let kind = KINDS.iter().find(|kind| kind.name == name).expect("SET or GET");
        let numbers: Vec<usize> = rest.iter().map(|arg| arg.parse().expect("a number")).collect();
        let [shards, pipeline, commands] = numbers[..] else {
            panic!("it takes KIND SHARDS PIPELINE COMMANDS");
        };
        println!("{:.0} ns", measure(kind, shards, pipeline, commands));
        return;
    }
    println!("nanoseconds per command in the engine, {CLIENTS} clients; pipelines of 1, 16, 100");
    for shards in [1, 2] {
        for kind in KINDS {
            let times = [1, 16, 100].map(|depth| measure(kind, shards, depth, COMMANDS_MEASURED));
            let [one, some, many] = times;
            println!("{} over {shards} shard(s)  {one:>6.0} {some:>6.0} {many:>6.0}", kind.name);
        }
    }
}
