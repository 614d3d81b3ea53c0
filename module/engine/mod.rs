//! All rooms put together; still no I/O.
//!
//! ```text
//!                    Event, now                                  Output
//!   worker ------------------------------> Engine ------------------------------> worker
//!
//!   serve.rs    a session's bytes -> requests            links.rs    connections: greeting, up, down
//!   dispatch.rs a request -> its plan -> links           replies.rs  a link's bytes -> seats, marks
//!   upload.rs   a large request, as it arrives           waits.rs    WAIT, WAITAOF <-> acks
//!   local.rs    what the endpoint answers itself         clients.rs  CLIENT LIST, KILL, UNBLOCK
//!   moves.rs    HELLO, SELECT, RESET                     lanes.rs    which links a session uses
//!   pins.rs     links of one session's own               transactions.rs  MULTI, WATCH
//!   users.rs    AUTH, changes of users                   rights.rs   what a user may ask of us
//!   tracking.rs CLIENT TRACKING, CLIENT CACHING          monitor.rs  MONITOR; what nobody asked for
//!   pauses.rs   CLIENT PAUSE                             beside.rs   SCRIPT KILL, FUNCTION KILL
//!   info.rs     INFO over all shards                     shard.rs    one shard's links and acks
//!   channels.rs SUBSCRIBE, PUBLISH, PUBSUB               feeds.rs    wires: messages -> listeners
//!   scouts.rs   asks where the primaries are             maps.rs     what follows from the answer
//!   redirects.rs  a command is another shard's           readers.rs  reads from replicas
//!   relief.rs   nobody waits behind a large reply        turns.rs    refused commands keep their turn
//! ```
//!
//! One engine is one worker thread's whole world: sessions, links, marks. It shares nothing, reads
//! no clock and touches no socket, so a simulator can run any number of them with everything else
//! faked. An event is handled to its end: what it made ready is settled before `handle` returns.

mod beside;
mod channels;
mod clients;
mod dispatch;
mod event;
mod feeds;
mod info;
mod lanes;
mod link;
mod links;
mod local;
mod maps;
mod monitor;
mod moves;
mod pauses;
mod pins;
mod readers;
mod redirects;
mod relief;
mod replies;
mod rights;
mod scouts;
mod serve;
mod shard;
mod tracking;
mod transactions;
mod turns;
mod upload;
mod users;
mod waits;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::command::{CommandTable, SpecId};
use crate::ids::{LinkId, Mirror, SessionId, ShardId, Slab, Time, WorkerId};
use crate::limits;
use crate::merge::Merger;
use crate::resp::Intake;
use crate::route::{Router, Scratch};
use crate::session::SeatNumber;
use crate::settings::Settings;
use crate::shards::{ShardMap, Upstream};
use crate::stats::Stats;

pub use event::{
    Answer, Asker, ClientFilter, Destination, Event, Level, Mail, Output, Peer, PubSubAnswer,
    PubSubQuestion, Question, ReplicaView, ShardView, Whom,
};

use dispatch::Finish;
use feeds::Feeds;
use lanes::Lanes;
use link::Links;
use scouts::Scouts;
use shard::Shard;
use upload::{Target, Upload};
use waits::Wait;

/// What a session does once all earlier replies are there.
#[derive(Debug)]
enum Then {
    /// Begins to wait.
    Wait(Wait),
    /// Begins to forward a large request.
    Upload(Target),
    /// Asks this shard again for a link of its own, or to be let in, once the shard is there.
    Pin(ShardId),
    /// Goes on.
    Serve,
}

type Session = crate::session::Session<Finish, Upload, Then, crate::acks::SessionMarks, SpecId>;
type Mode = crate::session::Mode<Upload, Then>;

/// What an engine is made of.
#[derive(Debug, Clone)]
pub struct Setup {
    /// This worker's number.
    pub worker: WorkerId,
    /// How many workers there are.
    pub workers: u16,
    /// The settings to begin with.
    pub settings: Arc<Settings>,
    /// The commands to begin with; shards add theirs.
    pub table: Arc<CommandTable>,
    /// Which shard has which slots, as far as it is known at the start. Who tells of it later is in
    /// the settings' `upstream`.
    pub map: Arc<ShardMap>,
    /// The counters of all workers; this engine writes only its own.
    pub stats: Stats,
    /// Unix time at [`Time::ZERO`].
    pub wall: Duration,
    /// The port on which clients are served, for INFO; 0 if none.
    pub port: u16,
    /// The process's id, for INFO.
    pub process_id: u32,
    /// Forty hexadecimal digits that no other start of the module has, for INFO.
    pub run_id: Arc<str>,
}

/// A question to all workers, and whose client it is for.
#[derive(Debug)]
struct Asked {
    session: SessionId,
    seat: SeatNumber,
    missing: u16,
    answers: Vec<Answer>,
    finish: clients::Finish,
}

/// See the module's picture.
#[derive(Debug)]
pub struct Engine {
    setup: Setup,
    settings: Arc<Settings>,
    map: Arc<ShardMap>,
    router: Arc<Router>,
    scratch: Scratch,
    merger: Merger,
    sessions: Mirror<SessionId, Session>,
    by_client: HashMap<u64, SessionId>,
    links: Links,
    lanes: Lanes,
    shards: Vec<Shard>,
    /// The first worker's, where the primaries have to be asked for.
    scouts: Option<Scouts>,
    detours: redirects::Detours,
    /// Sessions that have said READONLY.
    readonly_sessions: usize,
    /// When the first worker was told last that the map may not be true.
    doubted: Time,
    book: waits::Book,
    feeds: Feeds,
    asked: HashMap<u64, Asked>,
    next_ticket: u64,
    next_client: u64,
    /// CLIENT PAUSE.
    paused: Option<pauses::Paused>,
    outputs: VecDeque<Output>,
    /// While set, answers go there and not to a session.
    captured: Option<Vec<u8>>,
    /// Sessions that something happened to in this event, each once.
    touched: Vec<SessionId>,
    /// Links with something to be written, each once.
    flushes: Vec<LinkId>,
    /// Intakes that no session needs now.
    intakes: Vec<Intake>,
    /// Memory of outboxes that no session needs now.
    memory: Vec<Vec<u8>>,
    /// When idle and stalled sessions are looked for next.
    sweep_at: Time,
    now: Time,
}

impl Engine {
    /// An engine without clients, which connects to its shards at once.
    pub fn new(setup: Setup, now: Time) -> Self {
        let shards = setup.map.shards().map(|(id, shard)| Shard::new(id, shard, now)).collect();
        let upstream = Upstream::parse(&setup.settings.upstream).ok();
        let scouts = upstream.filter(|_| setup.worker == WorkerId(0));
        let mut engine = Self {
            settings: Arc::clone(&setup.settings),
            map: Arc::clone(&setup.map),
            router: Arc::new(Router::new(Arc::clone(&setup.table), Arc::clone(&setup.map))),
            scratch: Scratch::default(),
            merger: Merger::default(),
            sessions: Mirror::default(),
            by_client: HashMap::new(),
            links: Slab::default(),
            lanes: Lanes::new(now),
            shards,
            book: waits::Book::default(),
            scouts: scouts.and_then(|upstream| Scouts::of(upstream, now)),
            detours: redirects::Detours::default(),
            readonly_sessions: 0,
            doubted: Time::ZERO,
            feeds: Feeds::new(setup.map.len()),
            asked: HashMap::new(),
            next_ticket: 0,
            next_client: 0,
            paused: None,
            outputs: VecDeque::new(),
            captured: None,
            touched: Vec::new(),
            flushes: Vec::new(),
            intakes: Vec::new(),
            memory: Vec::new(),
            sweep_at: now + limits::SWEEP_INTERVAL,
            now,
            setup,
        };
        engine.stats().known_shards.set(engine.shards.len() as u64);
        engine.handle(Event::Timer, now);
        engine
    }

    /// Something has happened. Afterwards [`Engine::poll_output`] is to be called until it has
    /// nothing, and [`Engine::next_timeout`] asked again.
    pub fn handle(&mut self, event: Event, now: Time) {
        self.now = now;
        match event {
            Event::Accepted { session, peer } => self.accepted(session, peer),
            Event::SessionRead { session, bytes } => self.session_read(session, bytes),
            Event::SessionWrote { session, bytes } => self.session_wrote(session, bytes),
            Event::SessionEnded { session } => self.session_ended(session),
            Event::SessionClosed { session } => self.session_closed(session),
            Event::LinkOpened { link } => self.link_opened(link),
            Event::LinkFailed { link, reason } => self.link_failed(link, &reason),
            Event::LinkRead { link, bytes } => self.link_read(link, bytes),
            Event::LinkWrote { link, bytes } => self.link_wrote(link, bytes),
            Event::Timer => self.timer(),
            Event::TurnEnd => self.turn_end(),
            Event::Settings(settings) => self.set(settings),
            Event::Mail(mail) => self.mail(mail),
        }
        self.settle();
    }

    /// Where to read a client's bytes to; none if the session is not there any more.
    pub fn session_space(&mut self, id: SessionId) -> Option<&mut [u8]> {
        let session = self.sessions.get_mut(id)?;
        let intakes = &mut self.intakes;
        let intake = session.intake.get_or_insert_with(|| {
            intakes.pop().unwrap_or_else(|| Intake::with_space(limits::SESSION_READ_BYTES))
        });
        Some(intake.space(limits::SESSION_READ_BYTES / 4))
    }

    /// Where to read a shard's bytes to; none if the link is not there any more.
    pub fn link_space(&mut self, id: LinkId) -> Option<&mut [u8]> {
        self.links.get_mut(id).map(|link| link.pipeline.space())
    }

    /// What is to be written to a client.
    pub fn session_output(&self, id: SessionId) -> &[u8] {
        self.sessions.get(id).map_or(&[], |session| session.out.pending())
    }

    /// What is to be written to a shard, in two pieces.
    pub fn link_output(&self, id: LinkId) -> [&[u8]; 2] {
        self.links.get(id).map_or([&[], &[]], |link| link.pipeline.output())
    }

    /// What the worker is to do next, in this order.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Event::Timer`] is due; it does no harm if it comes early.
    pub fn next_timeout(&self) -> Option<Time> {
        let shards = self.shards.iter().filter_map(|shard| shard.next_timeout(&self.settings));
        let pause = self.paused.map(|paused| paused.until);
        let scouts = self.scouts.as_ref().map(Scouts::next_timeout);
        shards
            .chain(pause)
            .chain(scouts)
            .chain(self.detours.next_timeout())
            .chain(std::iter::once(self.sweep_at))
            .min()
    }

    /// Brings everything that this event has touched to rest.
    fn settle(&mut self) {
        loop {
            if let Some(session) = self.touched.pop() {
                self.settle_session(session);
            } else if !self.act_on_acks() {
                break;
            }
        }
        for id in std::mem::take(&mut self.flushes) {
            if let Some(link) = self.links.get_mut(id) {
                link.flushing = false;
                if link.pipeline.has_output() {
                    self.outputs.push_back(Output::FlushLink { link: id });
                }
            }
        }
    }

    fn turn_end(&mut self) {
        for shard in &mut self.shards {
            shard.acks.start_rounds(self.now);
        }
    }

    fn timer(&mut self) {
        self.pause_timer();
        for index in 0..self.shards.len() {
            self.shard_timer(index);
        }
        self.scouts_timer();
        self.detours_timer();
        if self.now >= self.sweep_at {
            self.sweep_at = self.now + limits::SWEEP_INTERVAL;
            self.sweep();
            self.sweep_lanes();
            self.sweep_feeds();
            self.sweep_doors();
            self.sweep_rights();
            self.sweep_pushed();
            self.sweep_silence();
            self.sweep_unblocks();
        }
    }

    /// These settings hold from now on.
    fn set(&mut self, settings: Arc<Settings>) {
        let before = std::mem::replace(&mut self.settings, settings);
        if before.upstream != self.settings.upstream
            && let Ok(upstream) = Upstream::parse(&self.settings.upstream)
        {
            self.upstream_changed(upstream);
        }
    }

    fn stats(&self) -> &crate::stats::WorkerStats {
        &self.setup.stats.workers[usize::from(self.setup.worker.0)]
    }

    fn log(&mut self, level: Level, text: String) {
        self.outputs.push_back(Output::Log { level, text });
    }

    /// Something has happened to a session: it is looked at before the event ends.
    fn touch(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(id)
            && !session.touched
        {
            session.touched = true;
            self.touched.push(id);
        }
    }

    /// A link has something to be written.
    fn flush_link(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(id)
            && !link.flushing
        {
            link.flushing = true;
            self.flushes.push(id);
        }
    }
}
