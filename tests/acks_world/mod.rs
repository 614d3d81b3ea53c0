//! A world for `weir::acks`: primaries and replicas that behave as real ones do, connections on
//! which messages take their time, clients that write and wait, and between them what the engine
//! does.
//!
//! Whatever can happen next is an [`Event`]; who picks the order is the test. Beside it runs the
//! dumb twin: every client's writes are remembered with the offset that they really have, and after
//! each event a linear scan counts who has them. An answer above what that scan said of late is an
//! over-count.
#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]

pub mod server;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use server::{Conn, Info, Line, Server, Written};
use weir::acks::{
    Acked, Action, Answer, Barrier, Content, Counted, Denied, Generation, Need, Part, Proof,
    RoundNumber, Seen, SessionMarks, ShardAcks, TrackerId, Verdict, WaitNumber, Waits,
};
use weir::ids::{SessionId, ShardId, SlabId, Time};

/// How old the scan may be that an answer agrees with: what is known is told for 10 ms, and before
/// that a count travels in messages that this world delays for 3 ms each.
const WINDOW: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A client's write reaches a primary, and is done.
    Write(usize, usize),
    /// The next reply to a write reaches the proxy.
    DataReply(usize),
    Wait(usize, Need, Option<Duration>),
    Cancel(usize),
    UnblockClient(usize),
    /// A tracker's connection is open, and greeted.
    Open(usize, TrackerId),
    OpenFails(usize, TrackerId),
    /// The primary reads what comes next on a tracker.
    Serve(usize, TrackerId),
    /// The next reply on a tracker reaches the proxy.
    Deliver(usize, TrackerId),
    /// The next CLIENT UNBLOCK reaches the primary.
    Control(usize),
    PollSend(usize),
    PollServe(usize),
    PollDeliver(usize),
    CatchUp(usize, usize, bool),
    Fsync(usize),
    Leave(usize, usize),
    Attach(usize, usize),
    FailOver(usize, usize),
    FailBack(usize, usize),
    DataCut(usize),
    TrackerCut(usize, TrackerId),
    ToggleFull(usize),
    ToggleAof(usize),
    /// The clock goes on to the next timeout.
    Timer,
}

#[derive(Clone, Debug)]
enum Request {
    Ask(Option<Barrier>, Need),
    Info,
}

#[derive(Clone, Debug)]
enum Reply {
    Refused(&'static str),
    Count(Result<Acked, &'static str>),
    Info(Info),
    Closed,
}

#[derive(Clone, Debug, Default)]
struct Wire {
    to_server: VecDeque<(Time, Request)>,
    to_proxy: VecDeque<(Time, Reply)>,
    /// At the proxy: the count whose INFO isn't here yet.
    count: Option<Result<Acked, &'static str>>,
    /// At a proxy that asks in the wrong order: the INFO whose count isn't here yet.
    info: Option<Info>,
}

#[derive(Clone, Copy, Debug)]
enum Poll {
    Sent(RoundNumber),
    Served(RoundNumber, Info),
}

#[derive(Clone, Debug)]
pub struct Shard {
    index: usize,
    pub server: Server,
    pub acks: ShardAcks,
    generation: u64,
    history: (u32, Line),
    data_open: bool,
    /// Replies to writes, on the one shared connection: whose, what, since when.
    data: VecDeque<(Time, usize, Written)>,
    opening: Vec<TrackerId>,
    wires: BTreeMap<TrackerId, Wire>,
    control: VecDeque<(Time, TrackerId)>,
    poll: Option<(Time, Poll)>,
    online: Log<i64>,
}

#[derive(Clone, Debug)]
struct Deed {
    shard: usize,
    written: Written,
    /// The proxy's generation when its reply was here, or when it became clear that none would
    /// come.
    generation: u64,
    replied: bool,
    unknown: bool,
}

#[derive(Clone, Debug)]
pub struct Client {
    id: SessionId,
    marks: SessionMarks,
    deeds: Vec<Deed>,
    outstanding: usize,
    pub waiting: Option<Need>,
    counts: Vec<Log<(i64, Acked)>>,
    pub answers: Vec<Answer>,
}

impl Client {
    fn unanswered(&mut self, shard: usize, written: Written) -> &mut Deed {
        let waits = |deed: &&mut Deed| {
            deed.shard == shard && deed.written == written && !deed.replied && !deed.unknown
        };
        self.deeds.iter_mut().find(waits).expect("every reply is to somebody's write")
    }
}

/// What a scan said, and when.
#[derive(Clone, Debug, Default)]
struct Log<T>(VecDeque<(Time, T)>);

impl<T: Copy + PartialEq> Log<T> {
    /// `most` puts two counts together, where all that ever was is to be remembered.
    fn note(&mut self, now: Time, value: T, window: Option<Duration>, most: impl Fn(T, T) -> T) {
        let Some(window) = window else {
            let ever = self.0.pop_back().map_or(value, |(_, ever)| most(ever, value));
            return self.0.push_back((Time::ZERO, ever));
        };
        if self.0.back().is_none_or(|(_, last)| *last != value) {
            self.0.push_back((now, value));
        }
        // The entry that was true when the window began stays.
        while self.0.len() > 1 && now.since(self.0[1].0) > window {
            self.0.pop_front();
        }
    }
}

#[derive(Clone, Debug)]
pub struct World {
    pub now: Time,
    pub shards: Vec<Shard>,
    pub clients: Vec<Client>,
    waits: Waits,
    /// None: a count counts if it was ever so since the write.
    window: Option<Duration>,
    pub mutation: Mutation,
    pub losses: usize,
}

/// A bug planted in what the engine does, to show that the world finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    Nothing,
    /// A write is marked with the round before the next.
    MarksOneEarly,
    /// The INFO is read before the count is made.
    InfoFirst,
    /// Any new history is taken for proof that all is well.
    TrustsAnyHistory,
    /// Barriers aren't sent.
    NoBarrier,
    /// Of several shards only the first is asked.
    FirstShardOnly,
    /// Counts of several shards are put together however old they are.
    NeverConfirms,
    /// A poll's bound is taken for all marks that are given until its reply is here.
    PollBoundsLater,
}

impl World {
    pub fn new(servers: Vec<Server>, clients: usize, exact_window: bool) -> Self {
        let shards = servers.into_iter().enumerate();
        let shards = shards.map(|(index, server)| Shard::new(index, server)).collect::<Vec<_>>();
        let clients = (0..clients)
            .map(|index| Client {
                id: SessionId::new(index as u32, 7),
                marks: SessionMarks::default(),
                deeds: Vec::new(),
                outstanding: 0,
                waiting: None,
                counts: vec![Log(VecDeque::new()); shards.len()],
                answers: Vec::new(),
            })
            .collect();
        let mut world = Self {
            now: Time(1_000_000),
            shards,
            clients,
            waits: Waits::default(),
            window: exact_window.then_some(WINDOW),
            mutation: Mutation::Nothing,
            losses: 0,
        };
        for shard in 0..world.shards.len() {
            world.shards[shard].new_generation(world.now);
        }
        world.scan();
        world
    }

    /// Everything that can happen next without a fault.
    pub fn enabled(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for (index, shard) in self.shards.iter().enumerate() {
            if !shard.data.is_empty() {
                events.push(Event::DataReply(index));
            }
            events.extend(shard.opening.iter().map(|&id| Event::Open(index, id)));
            for (&id, wire) in &shard.wires {
                let blocked =
                    shard.server.conns.get(&id).is_some_and(|conn| conn.blocked.is_some());
                if !wire.to_server.is_empty() && !blocked {
                    events.push(Event::Serve(index, id));
                }
                if !wire.to_proxy.is_empty() {
                    events.push(Event::Deliver(index, id));
                }
            }
            if !shard.control.is_empty() {
                events.push(Event::Control(index));
            }
            match shard.poll {
                Some((_, Poll::Sent(_))) => events.push(Event::PollServe(index)),
                Some((_, Poll::Served(..))) => events.push(Event::PollDeliver(index)),
                None => {}
            }
            for (number, replica) in shard.server.replicas.iter().enumerate() {
                let behind = replica.acked.min(replica.fsync_acked) < shard.server.offset;
                if replica.online && behind {
                    events.push(Event::CatchUp(index, number, true));
                }
            }
            if shard.server.aof && shard.server.fsynced < shard.server.offset {
                events.push(Event::Fsync(index));
            }
        }
        events
    }

    /// Messages that have been under way for as long as this world allows.
    pub fn overdue(&self, age: Duration) -> Vec<Event> {
        let old = |sent: &Time| self.now.since(*sent) > age;
        let mut events = Vec::new();
        for (index, shard) in self.shards.iter().enumerate() {
            if shard.data.front().is_some_and(|(sent, ..)| old(sent)) {
                events.push(Event::DataReply(index));
            }
            for (&id, wire) in &shard.wires {
                let blocked =
                    shard.server.conns.get(&id).is_some_and(|conn| conn.blocked.is_some());
                if wire.to_server.front().is_some_and(|(sent, _)| old(sent)) && !blocked {
                    events.push(Event::Serve(index, id));
                }
                if wire.to_proxy.front().is_some_and(|(sent, _)| old(sent)) {
                    events.push(Event::Deliver(index, id));
                }
            }
            if shard.control.front().is_some_and(|(sent, _)| old(sent)) {
                events.push(Event::Control(index));
            }
            match &shard.poll {
                Some((sent, Poll::Sent(_))) if old(sent) => events.push(Event::PollServe(index)),
                Some((sent, Poll::Served(..))) if old(sent) => {
                    events.push(Event::PollDeliver(index))
                }
                _ => {}
            }
        }
        events
    }

    /// Does one thing, and all that the proxy does at once because of it.
    pub fn apply(&mut self, event: Event) {
        self.step(event);
        self.run_actions();
        self.scan();
    }

    /// The end of an epoll turn.
    pub fn turn_end(&mut self) {
        for shard in &mut self.shards {
            shard.acks.start_rounds(self.now);
        }
        self.run_actions();
        self.scan();
    }

    pub fn next_timeout(&self) -> Option<Time> {
        self.shards.iter().filter_map(|shard| shard.acks.next_timeout()).min()
    }

    fn step(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Write(client, shard) => self.write(client, shard),
            Event::DataReply(shard) => self.data_reply(shard),
            Event::Wait(client, need, timeout) => self.wait(client, need, timeout),
            Event::Cancel(client) => self.cancel(client),
            Event::UnblockClient(client) => {
                let id = self.clients[client].id;
                self.shards.iter_mut().for_each(|shard| shard.acks.unblock(id, now));
            }
            Event::Open(shard, id) => self.shards[shard].open(id, now, &mut self.clients),
            Event::OpenFails(shard, id) => {
                self.shards[shard].opening.retain(|&other| other != id);
                self.shards[shard].acks.tracker_lost(id, now);
            }
            Event::Serve(shard, id) => self.shards[shard].serve(id, now),
            Event::Deliver(shard, id) => self.deliver(shard, id),
            Event::Control(shard) => self.shards[shard].unblock(now),
            Event::PollSend(shard) => {
                let number = self.shards[shard].acks.begin_report();
                self.shards[shard].poll = Some((now, Poll::Sent(number)));
            }
            Event::PollServe(shard) => self.shards[shard].serve_poll(now),
            Event::PollDeliver(shard) => self.poll_deliver(shard),
            Event::CatchUp(shard, replica, fsync) => {
                self.shards[shard].server.replica_catches_up(replica, fsync);
                self.shards[shard].wake(now);
            }
            Event::Fsync(shard) => {
                self.shards[shard].server.fsynced = self.shards[shard].server.offset;
                self.shards[shard].wake(now);
            }
            Event::Leave(shard, replica) => self.shards[shard].server.replica_leaves(replica),
            Event::Attach(shard, replica) => {
                self.shards[shard].server.replica_attaches(replica);
                self.shards[shard].wake(now);
            }
            Event::FailOver(shard, replica) => {
                self.shards[shard].server.fails_over(replica);
                self.shards[shard].data_open = false;
                self.shards[shard].control.clear();
                self.shards[shard].close_dead(now);
            }
            Event::FailBack(shard, replica) => {
                self.shards[shard].server.fails_back(replica);
                self.shards[shard].close_dead(now);
            }
            Event::DataCut(shard) => self.shards[shard].lose_data(&mut self.clients),
            Event::TrackerCut(shard, id) => {
                self.shards[shard].server.conns.remove(&id);
                self.shards[shard].close_dead(now);
            }
            Event::ToggleFull(shard) => {
                self.shards[shard].server.full ^= true;
            }
            Event::ToggleAof(shard) => {
                self.shards[shard].server.aof ^= true;
            }
            Event::Timer => {
                let next = self.next_timeout().unwrap_or(now);
                self.now = self.now.max(next);
                let now = self.now;
                self.shards.iter_mut().for_each(|shard| shard.acks.handle_timeout(now));
            }
        }
    }

    // ---- clients

    fn write(&mut self, client: usize, shard: usize) {
        let written = self.shards[shard].server.write();
        let generation = self.shards[shard].generation;
        self.shards[shard].data.push_back((self.now, client, written));
        let client = &mut self.clients[client];
        client.outstanding += 1;
        client.deeds.push(Deed { shard, written, generation, replied: false, unknown: false });
        client.counts[shard].0.clear();
    }

    fn data_reply(&mut self, shard: usize) {
        let Some((_, client, written)) = self.shards[shard].data.pop_front() else { return };
        let acks = &self.shards[shard].acks;
        let client = &mut self.clients[client];
        client.outstanding -= 1;
        client.marks.wrote(ShardId(shard as u16), acks);
        let deed = client.unanswered(shard, written);
        deed.replied = true;
        deed.generation = self.shards[shard].generation;
    }

    pub fn can_wait(&self, client: usize) -> bool {
        self.clients[client].outstanding == 0 && self.clients[client].waiting.is_none()
    }

    fn wait(&mut self, client: usize, need: Need, timeout: Option<Duration>) {
        let who = &mut self.clients[client];
        who.waiting = Some(need);
        if self.take_loss(client) {
            return;
        }
        let who = &self.clients[client];
        let part = |(shard, mark)| Part { shard, mark, need };
        let mut parts: Vec<Part> =
            who.marks.iter().map(|(shard, mark)| part((shard, Some(mark)))).collect();
        if parts.is_empty() {
            parts =
                (0..self.shards.len()).map(|shard| part((ShardId(shard as u16), None))).collect();
        }
        parts.sort_by_key(|part| part.shard);
        match self.mutation {
            Mutation::FirstShardOnly => parts.truncate(1),
            Mutation::MarksOneEarly => {
                parts.iter_mut().filter_map(|part| part.mark.as_mut()).for_each(|m| m.round.0 -= 1);
            }
            _ => {}
        }
        let (id, now) = (who.id, self.now);
        let deadline = timeout.map(|timeout| now + timeout);
        let number = self.waits.open(
            id,
            Content::WithWhatThereIs,
            deadline,
            parts[0],
            parts[1..].iter().copied(),
        );
        for part in parts {
            self.shards[part.shard.index()].acks.wait(id, number, need, part.mark, deadline, now);
        }
    }

    /// Tells the client of a loss, if there is one.
    fn take_loss(&mut self, client: usize) -> bool {
        let (shards, who) = (&self.shards, &mut self.clients[client]);
        let lost = who.marks.take_loss(|shard| shards.get(shard.index()).map(|shard| &shard.acks));
        let Some(lost) = lost else { return false };
        let generation = shards[lost.index()].generation;
        who.deeds.retain(|deed| {
            deed.shard != lost.index() || (deed.generation == generation && !deed.unknown)
        });
        who.counts[lost.index()].0.clear();
        who.waiting = None;
        who.answers.push(Err(Denied::Lost));
        self.losses += 1;
        true
    }

    pub fn cancel(&mut self, client: usize) {
        let id = self.clients[client].id;
        self.waits.close(id);
        for shard in &mut self.shards {
            shard.acks.cancel(id, self.now);
        }
        self.clients[client].waiting = None;
    }

    fn answered(
        &mut self,
        shard: usize,
        session: SessionId,
        number: WaitNumber,
        answer: Result<Counted, Denied>,
    ) {
        let client = session.index() as usize;
        let shard = ShardId(shard as u16);
        // A proxy that forgets about old counts is as if all came in just now.
        let now = if self.mutation == Mutation::NeverConfirms { Time(0) } else { self.now };
        let answer = match self.waits.answered(session, number, shard, answer, now) {
            Verdict::Waiting => return,
            Verdict::Confirm(stale) => {
                for old in stale {
                    self.shards[old.shard.index()].acks.confirm(session, &old, self.now);
                }
                return;
            }
            Verdict::Decided(answer) => answer,
            Verdict::Short { .. } => unreachable!("all are content with what there is"),
        };
        let need = self.clients[client].waiting.take().expect("who isn't waiting isn't answered");
        match answer {
            Ok(acked) => {
                self.check(client, need, acked);
                self.clients[client].answers.push(Ok(acked));
            }
            Err(denied) => {
                self.cancel(client);
                if denied == Denied::Lost {
                    assert!(self.take_loss(client), "a loss is told once, by the marks");
                } else {
                    self.clients[client].answers.push(Err(denied));
                }
            }
        }
    }

    /// The twin's verdict.
    fn check(&self, client: usize, need: Need, acked: Acked) {
        let who = &self.clients[client];
        let mut wrote = false;
        for (shard, log) in who.counts.iter().enumerate() {
            if who.deeds.iter().all(|deed| deed.shard != shard) {
                continue;
            }
            wrote = true;
            let ever =
                |pick: fn(&(i64, Acked)) -> i64| log.0.iter().map(|(_, count)| pick(count)).max();
            let held = ever(|count| count.0).unwrap_or(0);
            let replicas = ever(|count| count.1.replicas).unwrap_or(0);
            let local = ever(|count| count.1.local).unwrap_or(0);
            match need {
                Need::Wait { .. } => {
                    assert!(
                        acked.replicas <= held,
                        "over-count: client {client}, {acked:?}, truth {held}"
                    );
                }
                Need::WaitAof { .. } => {
                    assert!(
                        acked.replicas <= replicas,
                        "over-count of fsync: {acked:?}, truth {replicas}"
                    );
                    assert!(acked.local <= local, "over-count of local fsync: {acked:?}");
                }
            }
        }
        if !wrote {
            let online = |shard: &Shard| shard.online.0.iter().map(|&(_, count)| count).max();
            let most = self.shards.iter().filter_map(online).min().unwrap_or(0);
            assert!(acked.replicas <= most, "more than are online: {acked:?}, {most}");
        }
    }

    fn scan(&mut self) {
        for (index, shard) in self.shards.iter_mut().enumerate() {
            let online = shard.server.info().online;
            shard.online.note(self.now, online, self.window, i64::max);
            for client in &mut self.clients {
                let deeds = client.deeds.iter().filter(|deed| deed.shard == index);
                let counts = deeds.map(|deed| shard.server.count(deed.written));
                let least = counts.reduce(|a, b| (a.0.min(b.0), a.1.min(b.1)));
                let least = least.unwrap_or_default();
                client.counts[index].note(self.now, least, self.window, |a, b| {
                    let local = a.1.local.max(b.1.local);
                    let replicas = a.1.replicas.max(b.1.replicas);
                    (a.0.max(b.0), Acked { local, replicas })
                });
            }
        }
    }

    // ---- what the engine does

    fn run_actions(&mut self) {
        for shard in 0..self.shards.len() {
            while let Some(action) = self.shards[shard].acks.poll_action() {
                match action {
                    Action::Answer { session, number, answer } => {
                        self.answered(shard, session, number, answer);
                    }
                    other => self.shards[shard].act(other, self.now, self.mutation),
                }
            }
        }
    }

    fn deliver(&mut self, shard: usize, id: TrackerId) {
        let here = &mut self.shards[shard];
        let Some(wire) = here.wires.get_mut(&id) else { return };
        let now = self.now;
        match wire.to_proxy.pop_front() {
            None => {}
            Some((_, Reply::Refused(text))) => {
                here.acks.barrier_refused(id, text.as_bytes().into(), now)
            }
            Some((_, Reply::Closed)) => {
                here.wires.remove(&id);
                here.acks.tracker_lost(id, now);
            }
            Some((_, Reply::Count(count))) => wire.count = Some(count),
            Some((_, Reply::Info(info))) => wire.info = Some(info),
        }
        self.round_complete(shard, id);
    }

    /// When both the count and the INFO of a round are here.
    fn round_complete(&mut self, shard: usize, id: TrackerId) {
        let here = &mut self.shards[shard];
        let Some(wire) = here.wires.get_mut(&id) else { return };
        if self.mutation != Mutation::InfoFirst {
            assert!(wire.info.is_none() || wire.count.is_some(), "INFO comes last");
        }
        let (Some(info), Some(_)) = (wire.info, &wire.count) else { return };
        let outcome = wire.count.take().expect("just seen");
        wire.info = None;
        if here.is_new(info) {
            let trusts = self.mutation == Mutation::TrustsAnyHistory;
            return here.meet(info, trusts, self.now, &mut self.clients);
        }
        let seen = here.seen(info);
        let outcome = outcome.map_err(|text| text.as_bytes().into());
        here.acks.round_replied(id, outcome, &seen, self.now);
    }

    fn poll_deliver(&mut self, shard: usize) {
        let here = &mut self.shards[shard];
        let Some((_, Poll::Served(number, info))) = here.poll.take() else { return };
        if here.is_new(info) {
            let trusts = self.mutation == Mutation::TrustsAnyHistory;
            here.meet(info, trusts, self.now, &mut self.clients);
        } else {
            let seen = here.seen(info);
            let late = self.mutation == Mutation::PollBoundsLater;
            let number = if late { here.acks.mark().round } else { number };
            here.acks.report(number, &seen);
        }
    }
}

impl Shard {
    fn new(index: usize, server: Server) -> Self {
        Self {
            index,
            history: (server.run, server.line),
            server,
            acks: ShardAcks::new(),
            generation: 0,
            data_open: true,
            data: VecDeque::new(),
            opening: Vec::new(),
            wires: BTreeMap::new(),
            control: VecDeque::new(),
            poll: None,
            online: Log(VecDeque::new()),
        }
    }

    fn new_generation(&mut self, now: Time) {
        self.generation += 1;
        let seen = self.seen(self.server.info());
        self.acks.new_generation(Proof::Nothing, &seen, now);
    }

    pub fn can_write(&self) -> bool {
        self.data_open
    }

    pub fn polling(&self) -> bool {
        self.poll.is_some()
    }

    pub fn open_trackers(&self) -> Vec<TrackerId> {
        self.wires.keys().copied().collect()
    }

    pub fn opening(&self) -> Vec<TrackerId> {
        self.opening.clone()
    }

    fn seen(&self, info: Info) -> Seen {
        Seen {
            generation: Generation(self.generation),
            offset: info.offset,
            backlog_active: info.backlog,
            aof_enabled: info.aof,
            cluster_enabled: info.cluster,
            online: info.online,
        }
    }

    fn is_new(&self, info: Info) -> bool {
        (info.run, info.line) != self.history
    }

    /// An INFO shows another history than the one counted on.
    fn meet(&mut self, info: Info, trusts: bool, now: Time, clients: &mut [Client]) {
        self.lose_data(clients);
        let proof = match info.former {
            _ if trusts => Proof::Below(u64::MAX),
            Some((line, end)) if line == self.history.1 => Proof::Below(end),
            _ => Proof::Nothing,
        };
        self.generation += 1;
        self.history = (info.run, info.line);
        self.wires.clear();
        self.opening.clear();
        self.control.clear();
        self.poll = None;
        self.server.conns.clear();
        self.data_open = true;
        let seen = self.seen(info);
        self.acks.new_generation(proof, &seen, now);
    }

    /// The data connection ends: what was sent on it and not replied may or may not be done.
    fn lose_data(&mut self, clients: &mut [Client]) {
        for (_, client, written) in self.data.drain(..) {
            let client = &mut clients[client];
            client.outstanding -= 1;
            client.unanswered(self.index, written).unknown = true;
            client.marks.lost(ShardId(self.index as u16));
        }
    }

    fn open(&mut self, id: TrackerId, now: Time, clients: &mut [Client]) {
        self.opening.retain(|&other| other != id);
        let info = self.server.info();
        if self.is_new(info) {
            return self.meet(info, false, now, clients);
        }
        self.server.conns.insert(id, Conn::default());
        self.wires.insert(id, Wire::default());
        self.acks.tracker_ready(id, now);
    }

    fn act(&mut self, action: Action, now: Time, mutation: Mutation) {
        let ask = |barrier, ask| match mutation {
            Mutation::NoBarrier => Request::Ask(None, ask),
            _ => Request::Ask(barrier, ask),
        };
        match action {
            Action::OpenTracker(id) => self.opening.push(id),
            Action::CloseTracker(id) => {
                self.opening.retain(|&other| other != id);
                self.wires.remove(&id);
                self.server.conns.remove(&id);
                self.control.retain(|&(_, other)| other != id);
            }
            Action::Ask { tracker, barrier, ask: need } => {
                self.send(tracker, ask(Some(barrier), need), now, mutation);
            }
            Action::AskAgain { tracker, ask: need } => {
                self.send(tracker, ask(None, need), now, mutation);
            }
            Action::Unblock { tracker } => self.control.push_back((now, tracker)),
            Action::Answer { .. } => unreachable!("answered above"),
        }
    }

    fn send(&mut self, id: TrackerId, ask: Request, now: Time, mutation: Mutation) {
        let Some(wire) = self.wires.get_mut(&id) else { return };
        if mutation == Mutation::InfoFirst {
            wire.to_server.push_back((now, Request::Info));
            wire.to_server.push_back((now, ask));
        } else {
            wire.to_server.push_back((now, ask));
            wire.to_server.push_back((now, Request::Info));
        }
    }

    fn serve(&mut self, id: TrackerId, now: Time) {
        let Some(wire) = self.wires.get_mut(&id) else { return };
        if !self.server.conns.contains_key(&id) {
            wire.to_server.clear();
            return;
        }
        match wire.to_server.pop_front() {
            None => {}
            Some((_, Request::Info)) => {
                wire.to_proxy.push_back((now, Reply::Info(self.server.info())));
            }
            Some((_, Request::Ask(barrier, need))) => {
                if let Some(barrier) = barrier
                    && let Err(text) = self.server.barrier(id, barrier)
                {
                    wire.to_proxy.push_back((now, Reply::Refused(text)));
                }
                if let Some(count) = self.server.ask(id, need, true) {
                    wire.to_proxy.push_back((now, Reply::Count(count)));
                }
            }
        }
    }

    /// Who is blocked and has enough now returns.
    fn wake(&mut self, now: Time) {
        let blocked = self.server.conns.iter().filter_map(|(&id, conn)| Some((id, conn.blocked?)));
        for (id, need) in blocked.collect::<Vec<_>>() {
            if let Some(count) = self.server.ask(id, need, true)
                && let Some(wire) = self.wires.get_mut(&id)
            {
                wire.to_proxy.push_back((now, Reply::Count(count)));
            }
        }
    }

    fn unblock(&mut self, now: Time) {
        let Some((_, id)) = self.control.pop_front() else { return };
        let blocked = self.server.conns.get(&id).and_then(|conn| conn.blocked);
        if let Some(need) = blocked
            && let Some(count) = self.server.ask(id, need, false)
            && let Some(wire) = self.wires.get_mut(&id)
        {
            wire.to_proxy.push_back((now, Reply::Count(count)));
        }
    }

    fn serve_poll(&mut self, now: Time) {
        if let Some((_, Poll::Sent(number))) = self.poll {
            self.poll = Some((now, Poll::Served(number, self.server.info())));
        }
    }

    /// Connections that the primary has closed: their end reaches the proxy in time.
    fn close_dead(&mut self, now: Time) {
        for (id, wire) in &mut self.wires {
            if !self.server.conns.contains_key(id) {
                wire.to_server.clear();
                wire.to_proxy.push_back((now, Reply::Closed));
            }
        }
    }
}
