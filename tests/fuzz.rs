//! Bytes that no well-behaved client or shard would send: the engine must survive all of them, and
//! close what it can't follow. Seeded, so a failure can be run again: `FUZZ_SEED=n`;
//! `FUZZ_WORLDS=n` tries that many.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use weir::command::CommandTable;
use weir::engine::{Engine, Event, Output, Peer, Setup};
use weir::ids::{LinkId, SessionId, Slab, Time, WorkerId};
use weir::settings::Settings;
use weir::shards::Upstream;
use weir::stats::Stats;

const COMMANDS: &[u8] = include_bytes!("data/command-redis.resp");
/// Worlds in one run: a few seconds in a debug build.
const WORLDS: u64 = 150;
const STEPS: usize = 400;

/// What clients say, before it is mangled.
const REQUESTS: &[&[u8]] = &[
    b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n",
    b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
    b"*4\r\n$4\r\nMGET\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n",
    b"*5\r\n$4\r\nMSET\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\n2\r\n",
    b"*3\r\n$4\r\nWAIT\r\n$1\r\n1\r\n$2\r\n10\r\n",
    b"*4\r\n$7\r\nWAITAOF\r\n$1\r\n1\r\n$1\r\n1\r\n$1\r\n0\r\n",
    b"*2\r\n$4\r\nSCAN\r\n$1\r\n1\r\n",
    b"*1\r\n$6\r\nDBSIZE\r\n",
    b"*1\r\n$4\r\nINFO\r\n",
    b"*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$4\r\nSKIP\r\n",
    b"*2\r\n$6\r\nCLIENT\r\n$4\r\nLIST\r\n",
    b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3000000\r\nxxxxxxxxxxxx",
    b"*3\r\n$4\r\nEVAL\r\n$8\r\nreturn 1\r\n$1\r\n0\r\n",
    b"PING\r\n",
    b"set \"a b\" 'c'\r\n",
    b"*1\r\n$4\r\nQUIT\r\n",
    b"\r\n*0\r\n*-1\r\n",
    b"HELLO 3\r\n",
    b"HELLO 2\r\nSELECT 1\r\n",
    b"RESET\r\n",
    b"WATCH k\r\nMULTI\r\nSET k 1\r\nWAIT 0 0\r\nGET k\r\nEXEC\r\n",
    b"MULTI\r\nSET k 1\r\nGET other\r\n",
    b"EXEC\r\n",
    b"DISCARD\r\nUNWATCH\r\n",
    b"BLPOP k 1\r\nGET k\r\n",
    b"*6\r\n$5\r\nXREAD\r\n$5\r\nBLOCK\r\n$2\r\n10\r\n$7\r\nSTREAMS\r\n$1\r\ns\r\n$1\r\n$\r\n",
    b"SUBSCRIBE a b\r\nPSUBSCRIBE *\r\n",
    b"SSUBSCRIBE a\r\nSUNSUBSCRIBE\r\n",
    b"UNSUBSCRIBE\r\nPUNSUBSCRIBE\r\nPUBSUB NUMSUB a\r\n",
    b"PUBLISH a b\r\nSPUBLISH a b\r\n",
    b"CONFIG GET maxmemory*\r\nCLIENT INFO\r\n",
];

/// What shards say.
const REPLIES: &[&[u8]] = &[
    b"+OK\r\n",
    b":1\r\n",
    b"$5\r\nvalue\r\n",
    b"$-1\r\n",
    b"-ERR no\r\n",
    b"*2\r\n$1\r\n0\r\n*1\r\n$1\r\nk\r\n",
    b"*3\r\n$-1\r\n$1\r\nx\r\n:1\r\n",
    b"*2\r\n:1\r\n:1\r\n",
    b"$70000\r\nyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy",
    b"%1\r\n+a\r\n+b\r\n",
    b"_\r\n",
    b"*-1\r\n",
    b"+QUEUED\r\n",
    b"-NOPERM no\r\n",
    b"=7\r\ntxt:abc\r\n",
    b"~2\r\n#t\r\n,1.5\r\n",
    b"%1\r\n$9\r\nmaxmemory\r\n$1\r\n0\r\n",
    b"|1\r\n+k\r\n+v\r\n:5\r\n",
    b"!7\r\nERR\r\nx.\r\n",
    b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n",
    b">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n",
    b">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n",
    b">4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\na\r\n$1\r\nb\r\n",
    b">3\r\n$12\r\nsunsubscribe\r\n_\r\n:0\r\n",
    b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n",
    b">0\r\n",
];

const INFO: &str = "run_id:r\r\nredis_version:8.0.6\r\nrole:master\r\nconnected_slaves:1\r\n\
    slave0:ip=127.0.0.1,port=1,state=online,offset=5,lag=0\r\nmaster_replid:x\r\n\
    master_replid2:0\r\nmaster_repl_offset:100\r\nsecond_repl_offset:-1\r\n\
    repl_backlog_active:1\r\naof_enabled:1\r\nloading:0\r\ncluster_enabled:0\r\n";

/// Numbers from a seed. Source of the step: Marsaglia's xorshift64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.roll() % bound as u64) as usize
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.roll().is_multiple_of(chances)
    }

    /// One of `phrases`, mostly as it is, sometimes cut, repeated or with bytes changed.
    fn mangled(&mut self, phrases: &[&[u8]]) -> Vec<u8> {
        let mut bytes = phrases[self.below(phrases.len())].to_vec();
        match self.below(12) {
            0 => bytes.truncate(self.below(bytes.len() + 1)),
            1 => {
                let at = self.below(bytes.len());
                bytes[at] = self.roll() as u8;
            }
            2 => {
                let at = self.below(bytes.len());
                bytes.insert(at, self.roll() as u8);
            }
            3 => bytes = (0..self.below(64)).map(|_| self.roll() as u8).collect(),
            _ => {}
        }
        bytes
    }
}

struct World {
    engine: Engine,
    now: Time,
    sessions: Slab<SessionId, ()>,
    open: Vec<SessionId>,
    links: HashMap<LinkId, bool>,
    /// The last that the engine wrote to each.
    wrote: HashMap<LinkId, String>,
}

impl World {
    fn new() -> Self {
        let upstream = Upstream::parse("static://127.0.0.1:1,127.0.0.1:2").expect("an upstream");
        let setup = Setup {
            worker: WorkerId(0),
            workers: 1,
            settings: Arc::new(Settings::default()),
            table: Arc::new(CommandTable::from_reply(COMMANDS).expect("a recorded reply")),
            map: Arc::new(upstream.into_map()),
            stats: Stats::new(1, 2),
            wall: Duration::ZERO,
            port: 1,
            process_id: 1,
            run_id: Arc::from("0"),
        };
        let engine = Engine::new(setup, Time::ZERO);
        Self {
            engine,
            now: Time::ZERO,
            sessions: Slab::default(),
            open: Vec::new(),
            links: HashMap::new(),
            wrote: HashMap::new(),
        }
    }

    fn tell(&mut self, event: Event, dice: &mut Dice) {
        self.engine.handle(event, self.now);
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Connect { link, .. } => {
                    self.links.insert(link, false);
                }
                Output::CloseLink { link } => {
                    self.links.remove(&link);
                }
                Output::CloseSession { session, .. } => self.closed(session),
                Output::FlushLink { link } if !dice.one_in(8) => {
                    let written = self.engine.link_output(link).concat();
                    let bytes = written.len();
                    self.wrote.insert(link, String::from_utf8_lossy(&written).into_owned());
                    self.engine.handle(Event::LinkWrote { link, bytes }, self.now);
                }
                Output::FlushSession { session } if !dice.one_in(8) => {
                    let bytes = self.engine.session_output(session).len();
                    self.engine.handle(Event::SessionWrote { session, bytes }, self.now);
                }
                _ => {}
            }
        }
    }

    fn closed(&mut self, session: SessionId) {
        if self.sessions.remove(session).is_some() {
            self.open.retain(|open| *open != session);
            self.engine.handle(Event::SessionClosed { session }, self.now);
        }
    }

    fn client_says(&mut self, session: SessionId, mut bytes: &[u8], dice: &mut Dice) {
        while !bytes.is_empty() {
            let Some(space) = self.engine.session_space(session) else {
                return;
            };
            let count = space.len().min(bytes.len());
            space[..count].copy_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            self.tell(Event::SessionRead { session, bytes: count }, dice);
        }
    }

    fn shard_says(&mut self, link: LinkId, mut bytes: &[u8], dice: &mut Dice) {
        while !bytes.is_empty() {
            let Some(space) = self.engine.link_space(link) else {
                return;
            };
            let count = space.len().min(bytes.len());
            space[..count].copy_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            self.tell(Event::LinkRead { link, bytes: count }, dice);
        }
    }

    fn step(&mut self, dice: &mut Dice) {
        self.now = self.now + Duration::from_micros(dice.roll() % 20_000);
        match dice.below(16) {
            0 | 1 if self.open.len() < 6 => {
                let session = self.sessions.insert(());
                self.open.push(session);
                let (address, local) = ("c".to_owned(), "l".to_owned());
                let peer = Peer { address, local, fd: 1 };
                self.tell(Event::Accepted { session, peer }, dice);
            }
            2..=7 if !self.open.is_empty() => {
                let session = self.open[dice.below(self.open.len())];
                let bytes = dice.mangled(REQUESTS);
                self.client_says(session, &bytes, dice);
            }
            8 if !self.open.is_empty() && dice.one_in(4) => {
                let session = self.open[dice.below(self.open.len())];
                if dice.one_in(2) {
                    self.tell(Event::SessionEnded { session }, dice);
                } else {
                    self.closed(session);
                }
            }
            9..=12 if !self.links.is_empty() => self.link_step(dice),
            13 => self.tell(Event::TurnEnd, dice),
            _ => self.tell(Event::Timer, dice),
        }
    }

    fn link_step(&mut self, dice: &mut Dice) {
        let mut links: Vec<_> = self.links.iter().map(|(link, open)| (*link, *open)).collect();
        links.sort_unstable();
        let (link, open) = links[dice.below(links.len())];
        if dice.one_in(30) {
            self.links.remove(&link);
            let reason = "cut".to_owned();
            self.tell(Event::LinkFailed { link, reason }, dice);
        } else if open {
            let bytes = dice.mangled(REPLIES);
            self.shard_says(link, &bytes, dice);
        } else {
            self.links.insert(link, true);
            self.tell(Event::LinkOpened { link }, dice);
            // A greeting as it should be, or the world would never get beyond it.
            let asked = self.wrote.remove(&link).unwrap_or_default();
            let lane = ["AUTH", "HELLO", "SELECT"].iter().map(|word| asked.matches(word).count());
            let lane = "+OK\r\n".repeat(lane.sum());
            let info = format!("+OK\r\n:7\r\n${}\r\n{INFO}\r\n{lane}", INFO.len());
            self.shard_says(link, info.as_bytes(), dice);
        }
    }
}

#[test]
fn no_bytes_of_a_client_or_a_shard_bring_the_engine_down() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let worlds = number("FUZZ_WORLDS").unwrap_or(WORLDS);
    let seeds = number("FUZZ_SEED").map_or(1..=worlds, |seed| seed..=seed);
    let mut served = 0;
    for seed in seeds {
        let result = std::panic::catch_unwind(|| {
            let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let mut world = World::new();
            for _ in 0..STEPS {
                world.step(&mut dice);
            }
            world.links.len() + world.open.len()
        });
        served += result.unwrap_or_else(|_| panic!("run this world again with FUZZ_SEED={seed}"));
    }
    assert!(served > 0, "no world had anything in it at its end: nothing was tried");
}
