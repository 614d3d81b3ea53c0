//! A small machine in the engine's place, and what a test needs to run a fleet of them.
//!
//! A session echoes what it is sent. A line that begins with `!` is an order instead:
//!
//! | order | what happens |
//! |---|---|
//! | `!quit` | closes after all output |
//! | `!drop` | closes at once |
//! | `!hold` | stops reading, until a timer of its own comes |
//! | `!big n` | sends `n` bytes of `x` |
//! | `!mail n` | sends worker `n` a letter, which that one passes on to the host |
//! | `!link address` | connects to a shard, tells how it went, and then relays what it sends |
//! | `!say text` | writes the text to the link |
//! | `!timer us` | answers with the microseconds that passed until a timer came |
//! | `!who` | answers with the client's address and the worker's number |
//! | `!panic` | panics |
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, unbounded};

use weir::engine::{Answer, Asker, Destination, Event, Level, Mail, Output, Peer, Question, Whom};
use weir::ids::{LinkId, SessionId, Slab, Time, WorkerId};
use weir::os::clock;
use weir::settings::Settings;
use weir::stats::Stats;
use weir::worker::{Fleet, Ground, Machine, OnPanic, Place};

struct Client {
    peer: Peer,
    space: Vec<u8>,
    line: Vec<u8>,
    output: Vec<u8>,
    link: Option<LinkId>,
}

struct Wire {
    session: SessionId,
    space: Vec<u8>,
    output: VecDeque<u8>,
}

/// See the module's table.
pub(crate) struct Echo {
    worker: WorkerId,
    clients: HashMap<SessionId, Client>,
    links: Slab<LinkId, Wire>,
    outputs: VecDeque<Output>,
    timer: Option<(Time, Time, SessionId)>,
}

impl Echo {
    pub(crate) fn new(place: &Place, _now: Time) -> Self {
        Self {
            worker: place.worker,
            clients: HashMap::new(),
            links: Slab::default(),
            outputs: VecDeque::new(),
            timer: None,
        }
    }

    fn answer(&mut self, session: SessionId, bytes: &[u8]) {
        if let Some(client) = self.clients.get_mut(&session) {
            client.output.extend_from_slice(bytes);
            self.outputs.push_back(Output::FlushSession { session });
        }
    }

    fn session_read(&mut self, session: SessionId, bytes: usize, now: Time) {
        let Some(client) = self.clients.get_mut(&session) else {
            return;
        };
        let read = client.space[..bytes].to_vec();
        for byte in read {
            let Some(client) = self.clients.get_mut(&session) else {
                return;
            };
            client.line.push(byte);
            if byte == b'\n' {
                let line = std::mem::take(&mut client.line);
                match line.strip_prefix(b"!") {
                    Some(order) => {
                        let order = String::from_utf8_lossy(order).trim().to_owned();
                        self.obey(session, &order, now);
                    }
                    None => self.answer(session, &line),
                }
            }
        }
    }

    fn obey(&mut self, session: SessionId, order: &str, now: Time) {
        let (verb, rest) = order.split_once(' ').unwrap_or((order, ""));
        match verb {
            "quit" => {
                self.outputs.push_back(Output::CloseSession { session, after_flush: true });
            }
            "drop" => {
                self.clients.remove(&session);
                self.outputs.push_back(Output::CloseSession { session, after_flush: false });
            }
            "hold" => self.outputs.push_back(Output::ReadSession { session, on: false }),
            "big" => self.answer(session, &vec![b'x'; rest.parse().unwrap()]),
            "mail" => {
                let to = Destination::Worker(WorkerId(rest.parse().unwrap()));
                let from = Asker::Worker(self.worker);
                let mail = Mail::Ask { from, ticket: now.0, question: Question::Shards };
                self.outputs.push_back(Output::Mail { to, mail });
            }
            "link" => self.open_link(session, rest),
            "say" => {
                let link = self.clients[&session].link.unwrap();
                self.links.get_mut(link).unwrap().output.extend(rest.bytes().chain([b'\n']));
                self.outputs.push_back(Output::FlushLink { link });
            }
            "timer" => {
                let due = now + Duration::from_micros(rest.parse().unwrap());
                self.timer = Some((now, due, session));
            }
            "who" => {
                let Peer { address, local, .. } = self.clients[&session].peer.clone();
                let text = format!("{address} {local} {}\n", self.worker.0);
                self.answer(session, text.as_bytes());
            }
            "panic" => panic!("as ordered"),
            _ => self.answer(session, b"what?\n"),
        }
    }

    fn open_link(&mut self, session: SessionId, address: &str) {
        let wire = Wire { session, space: vec![0; 4096], output: VecDeque::new() };
        let link = self.links.insert(wire);
        self.clients.get_mut(&session).unwrap().link = Some(link);
        let address = address.parse().unwrap();
        let timeout = Duration::from_secs(5);
        self.outputs.push_back(Output::Connect { link, whom: Whom::Shard, address, timeout });
    }

    fn link_event(&mut self, link: LinkId, text: &[u8]) {
        if let Some(session) = self.links.get(link).map(|wire| wire.session) {
            self.answer(session, text);
        }
    }
}

impl Machine for Echo {
    fn handle(&mut self, event: Event, now: Time) {
        match event {
            Event::Accepted { session, peer } => {
                let (space, line, output) = (vec![0; 16 * 1024], Vec::new(), Vec::new());
                let client = Client { peer, space, line, output, link: None };
                assert!(self.clients.insert(session, client).is_none(), "an id was given twice");
            }
            Event::SessionRead { session, bytes } => self.session_read(session, bytes, now),
            Event::SessionWrote { session, bytes } => {
                self.clients.get_mut(&session).unwrap().output.drain(..bytes);
            }
            Event::SessionEnded { session } => {
                self.outputs.push_back(Output::CloseSession { session, after_flush: true });
            }
            Event::SessionClosed { session } => {
                self.clients.remove(&session);
                let text = format!("closed {}", self.clients.len());
                self.outputs.push_back(Output::Log { level: Level::Debug, text });
            }
            Event::LinkOpened { link } => self.link_event(link, b"opened\n"),
            Event::LinkFailed { link, reason } => {
                self.link_event(link, format!("failed: {reason}\n").as_bytes());
                self.links.remove(link);
            }
            Event::LinkRead { link, bytes } => {
                let read = self.links.get(link).unwrap().space[..bytes].to_vec();
                self.link_event(link, &read);
            }
            Event::LinkWrote { link, bytes } => {
                self.links.get_mut(link).unwrap().output.drain(..bytes);
            }
            Event::Timer => {
                if let Some((set, due, session)) = self.timer.take_if(|(_, due, _)| *due <= now) {
                    assert!(due <= now);
                    self.outputs.push_back(Output::ReadSession { session, on: true });
                    let passed = now.since(set).as_micros();
                    self.answer(session, format!("{passed}\n").as_bytes());
                }
            }
            Event::Mail(Mail::Ask { ticket, .. }) => {
                let answer = Answer::Count(u64::from(self.worker.0));
                let mail = Mail::Answer { ticket, worker: self.worker, answer };
                self.outputs.push_back(Output::Mail { to: Destination::Host, mail });
            }
            Event::Mail(_) | Event::TurnEnd | Event::Settings(_) => {}
        }
    }
    fn session_space(&mut self, id: SessionId) -> Option<&mut [u8]> {
        self.clients.get_mut(&id).map(|client| client.space.as_mut_slice())
    }
    fn link_space(&mut self, id: LinkId) -> Option<&mut [u8]> {
        self.links.get_mut(id).map(|wire| wire.space.as_mut_slice())
    }
    fn session_output(&self, id: SessionId) -> &[u8] {
        self.clients.get(&id).map_or(&[], |client| &client.output)
    }
    fn link_output(&self, id: LinkId) -> [&[u8]; 2] {
        self.links.get(id).map_or([&[], &[]], |wire| wire.output.as_slices().into())
    }
    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }
    fn next_timeout(&self) -> Option<Time> {
        self.timer.map(|(_, due, _)| due)
    }
}

/// A fleet of echoes, and what it has said.
pub(crate) struct Hall {
    pub(crate) fleet: Fleet,
    pub(crate) settings: Settings,
    pub(crate) stats: Stats,
    pub(crate) log: Receiver<String>,
    pub(crate) mail: Receiver<Mail>,
}

/// What a fleet stands on, with its two ends.
pub(crate) fn ground(
    settings: &Settings,
    fd_base: i32,
) -> (Ground, Receiver<String>, Receiver<Mail>) {
    let (tell, log): (Sender<String>, _) = unbounded();
    let (give, mail) = unbounded();
    let ground = Ground {
        settings: Arc::new(settings.clone()),
        stats: Stats::new(usize::from(settings.threads), 1),
        log: Arc::new(move |_, text| drop(tell.send(text.to_owned()))),
        to_host: Arc::new(move |mail| drop(give.send(mail))),
        fd_base,
        on_panic: OnPanic::EndThread,
    };
    (ground, log, mail)
}

/// Settings for a free port of this machine.
pub(crate) fn settings(threads: u16) -> Settings {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    Settings { port, threads, ..Settings::default() }
}

impl Hall {
    pub(crate) fn open(settings: Settings, fd_base: i32) -> Self {
        let (ground, log, mail) = ground(&settings, fd_base);
        let stats = ground.stats.clone();
        let fleet = Fleet::start_with(ground, 8, |place, now| Echo::new(&place, now)).unwrap();
        Self { fleet, settings, stats, log, mail }
    }

    pub(crate) fn connect(&self) -> Caller {
        Caller::new(TcpStream::connect(("127.0.0.1", self.settings.port)).unwrap())
    }

    /// Waits until the log says `text` somewhere in a line, and returns the line.
    pub(crate) fn await_log(&self, text: &str) -> String {
        loop {
            let line = self.log.recv_timeout(Duration::from_secs(10));
            let line = line.unwrap_or_else(|_| panic!("the log never said {text:?}"));
            if line.contains(text) {
                return line;
            }
        }
    }
}

/// A client that blocks.
pub(crate) struct Caller {
    stream: BufReader<TcpStream>,
}

impl Caller {
    fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.stream.get_mut().write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    pub(crate) fn ask(&mut self, text: &str) -> String {
        self.send(&format!("{text}\n"));
        self.line()
    }

    pub(crate) fn stream(&mut self) -> &mut BufReader<TcpStream> {
        &mut self.stream
    }
}

/// Waits until `done`, by asking again and again.
pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let until = clock::now() + Duration::from_secs(10);
    while !done() {
        assert!(clock::now() < until, "never happened: {what}");
        std::thread::yield_now();
    }
}

/// The descriptors that this process has at or above `base`.
pub(crate) fn open_above(base: i32) -> usize {
    let numbers = fs::read_dir("/proc/self/fd")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
    numbers.filter(|number| *number >= base).count()
}

/// The threads of this process.
pub(crate) fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}
