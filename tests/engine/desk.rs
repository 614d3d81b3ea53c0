//! The test's desk: it is the worker, the clients and the shards at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use weir::command::CommandTable;
use weir::engine::{Engine, Event, Mail, Output, Peer, Setup};
use weir::ids::{LinkId, SessionId, Slab, Time, WorkerId};
use weir::settings::Settings;
use weir::shards::{ShardMap, SlotRange, Upstream};
use weir::stats::Stats;

/// An engine with one shard and one client.
pub(crate) struct Desk {
    pub(crate) engine: Engine,
    pub(crate) now: Time,
    pub(crate) client: SessionId,
    pub(crate) told: Vec<u8>,
    /// Links that were asked for and don't stand yet.
    pub(crate) asked: VecDeque<LinkId>,
    /// Links that stand, in the order in which they were asked for.
    pub(crate) links: Vec<LinkId>,
    /// Links that are not to be read.
    pub(crate) unread: Vec<LinkId>,
    /// The client is to be closed, and whether after its output has left.
    pub(crate) closing: Option<bool>,
    pub(crate) log: String,
    pub(crate) run: u32,
    /// Whatever links ask about rights is granted at once.
    pub(crate) granting: bool,
}

impl Desk {
    /// The control link stands, and a client is here.
    pub(crate) fn new() -> Self {
        let mut desk = Self::without_shard();
        desk.open_next();
        desk.greet(0);
        desk
    }

    /// A client is here, and the control link was asked for.
    pub(crate) fn without_shard() -> Self {
        Self::over("static://10.0.0.1:6379")
    }

    /// A client is here, and the control links to these shards were asked for.
    pub(crate) fn over(upstream: &str) -> Self {
        let table = CommandTable::from_reply(include_bytes!("../data/command-redis.resp")).unwrap();
        let settings = Settings {
            failover_timeout: Duration::from_millis(100),
            reply_held_max: 40_000,
            ..Settings::default()
        };
        let setup = Setup {
            worker: WorkerId(0),
            workers: 1,
            settings: Arc::new(settings),
            table: Arc::new(table),
            map: Arc::new(Upstream::parse(upstream).unwrap().into_map()),
            stats: Stats::new(1, 2),
            wall: Duration::from_secs(1_700_000_000),
            port: 6399,
            process_id: 1,
            run_id: Arc::from("0"),
        };
        let client = Slab::<SessionId, ()>::default().insert(());
        let mut desk = Self {
            engine: Engine::new(setup, Time::ZERO),
            now: Time::ZERO,
            client,
            told: Vec::new(),
            asked: VecDeque::new(),
            links: Vec::new(),
            unread: Vec::new(),
            closing: None,
            log: String::new(),
            run: 1,
            granting: false,
        };
        desk.turn();
        let peer = Peer { address: "client".into(), local: "weir".into(), fd: 0 };
        desk.tell(Event::Accepted { session: client, peer });
        desk
    }

    pub(crate) fn tell(&mut self, event: Event) {
        self.engine.handle(event, self.now);
        self.turn();
        self.grant();
    }

    /// Answers the links that have questions about rights, and no greeting.
    pub(crate) fn grant(&mut self) {
        for place in 0..if self.granting { self.links.len() } else { 0 } {
            let bytes = self.engine.link_output(self.links[place]).concat();
            let text = String::from_utf8_lossy(&bytes);
            let asked = text.matches('*').count();
            if asked > 0 && !text.contains("INFO") {
                self.sent(place);
                self.reply(place, b"+OK\r\n".repeat(asked).as_slice());
            }
        }
    }

    /// The end of a turn: all that the engine has to say to the client is taken.
    pub(crate) fn turn(&mut self) {
        self.engine.handle(Event::TurnEnd, self.now);
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Connect { link, .. } => self.asked.push_back(link),
                Output::CloseLink { link } => self.links.retain(|other| *other != link),
                Output::FlushSession { session } => {
                    let bytes = self.engine.session_output(session).to_vec();
                    self.told.extend_from_slice(&bytes);
                    let bytes = bytes.len();
                    self.engine.handle(Event::SessionWrote { session, bytes }, self.now);
                }
                Output::CloseSession { after_flush, .. } => self.closing = Some(after_flush),
                Output::ReadLink { link, on: false } => self.unread.push(link),
                Output::ReadLink { link, on: true } => self.unread.retain(|other| *other != link),
                Output::Log { text, .. } => self.log += &text,
                _ => {}
            }
        }
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.tell(Event::Timer);
    }

    /// The oldest connection that was asked for stands.
    pub(crate) fn open_next(&mut self) {
        let link = self.asked.pop_front().unwrap();
        self.links.push(link);
        self.tell(Event::LinkOpened { link });
    }

    /// What the engine has written to a link, as text.
    pub(crate) fn sent(&mut self, place: usize) -> String {
        let link = self.links[place];
        let bytes = self.engine.link_output(link).concat();
        self.tell(Event::LinkWrote { link, bytes: bytes.len() });
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub(crate) fn reply(&mut self, place: usize, bytes: &[u8]) {
        let link = self.links[place];
        self.engine.link_space(link).unwrap()[..bytes.len()].copy_from_slice(bytes);
        self.tell(Event::LinkRead { link, bytes: bytes.len() });
    }

    /// Answers a greeting: SETNAME, ID, INFO.
    pub(crate) fn greet(&mut self, place: usize) {
        self.sent(place);
        let info = self.info();
        let reply = format!("+OK\r\n:7\r\n${}\r\n{info}\r\n", info.len());
        self.reply(place, reply.as_bytes());
    }

    fn info(&self) -> String {
        format!(
            "run_id:run-{0}\r\nredis_version:8.0.6\r\nrole:master\r\nconnected_slaves:0\r\n\
             master_replid:id-{0}\r\nmaster_replid2:0\r\nmaster_repl_offset:100\r\n\
             second_repl_offset:-1\r\nrepl_backlog_active:1\r\naof_enabled:0\r\nloading:0\r\n\
             cluster_enabled:0\r\n",
            self.run
        )
    }

    /// Answers an INFO.
    pub(crate) fn report(&mut self, place: usize) {
        let info = self.info();
        self.reply(place, format!("${}\r\n{info}\r\n", info.len()).as_bytes());
    }

    pub(crate) fn ask(&mut self, bytes: &[u8]) {
        let session = self.client;
        self.engine.session_space(session).unwrap()[..bytes.len()].copy_from_slice(bytes);
        self.tell(Event::SessionRead { session, bytes: bytes.len() });
    }

    /// What the client was told since it was last asked.
    pub(crate) fn told(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.told)).unwrap()
    }

    /// A cluster of two shards, of which the second has the upper half of the slots.
    pub(crate) fn of_cluster() -> Self {
        let mut desk = Self::over("cluster://10.0.0.1:6379");
        // The scout's: nobody is asked here.
        desk.asked.clear();
        let half = |host: u8, first, last| {
            let address = format!("10.0.0.{host}:6379").parse().unwrap();
            (Some(address), vec![SlotRange { first, last }])
        };
        let map = ShardMap::of_cluster(vec![half(1, 0, 8191), half(2, 8192, 16383)]);
        desk.tell(Event::Mail(Mail::Map(Arc::new(map))));
        desk.open_all();
        // Who the client is, is asked once.
        desk.granting = true;
        desk.ask(b"PING\r\n");
        desk.open_all();
        desk.tell(Event::Timer);
        assert_eq!(desk.told(), "+PONG\r\n");
        desk.granting = false;
        desk
    }

    /// All connections that are asked for stand, and are greeted.
    pub(crate) fn open_all(&mut self) {
        while !self.asked.is_empty() {
            self.open_next();
            self.greet(self.links.len() - 1);
        }
    }

    /// Takes what was written to all links. Where is what has `text` in it, and it.
    pub(crate) fn find_sent(&mut self, text: &str) -> Option<(usize, String)> {
        let all: Vec<String> = (0..self.links.len()).map(|place| self.sent(place)).collect();
        all.into_iter().enumerate().find(|(_, sent)| sent.contains(text))
    }
}
