//! Connections: opened, greeted, up, down; and what a change of history does to them.
//!
//! ```text
//!   Connecting --control link greeted--> Up --control link lost--> Connecting --refused--> Down
//!       ^                                                                                   |
//!       +------------------------------------- retry ---------------------------------------+
//! ```
//!
//! Every link says INFO as the last word of its greeting, so each is known to stand in one history
//! of its primary. Whoever sees another history first, closes all other links of the shard: no
//! reply of one history can be taken for one of the next.

use std::sync::Arc;

use crate::acks::{Generation, Proof, RoundNumber, Seen};
use crate::command::{CommandTable, TableError};
use crate::ids::{LinkId, ShardId};
use crate::limits;
use crate::pipeline::Pipeline;
use crate::resp::{Value, Version, write};
use crate::route::Router;
use crate::stats::ShardState;
use crate::text;
use crate::topology::{Change, History, Report};

use super::event::Whom;
use super::lanes::LaneKey;
use super::link::{Link, Own, Role, Token};
use super::shard::State;
use super::{Engine, Level, Output};

/// The sections of INFO that tell who a primary is, and all that acknowledgements need to know.
pub(super) const REPORT_INFO: &[&str] =
    &["INFO", "server", "replication", "persistence", "cluster"];

/// The begin of a shard's error while a script runs on it for too long: it lives.
const BUSY: &[u8] = b"BUSY ";

/// Bytes of a greeting without its passwords, at most.
pub(super) const GREETING_BYTES_MAX: usize = 512;

/// Writes what logs Weir itself in, if it is to log in at all.
pub(super) fn write_login(out: &mut Vec<u8>, user: &str, password: &str) -> bool {
    match (user, password) {
        (_, "") => return false,
        ("", _) => write::request(out, &["AUTH", password]),
        _ => write::request(out, &["AUTH", user, password]),
    }
    true
}

/// Writes what makes a greeted connection one of a lane. Returns whose the replies are.
///
/// A stock server that refuses AUTH says nothing at all while earlier replies are still to be
/// written (redis `acl.c`, `addAuthErrReply`). So HELLO follows: if its reply comes first, which is
/// no `+OK`, AUTH was refused.
///
/// `was_ours`: the connection was logged in as Weir's own user and is the default user's again. If
/// that one needs a password, a stock server answers whatever it says with NOAUTH, and closes the
/// connection if it says much; so it can't be shared. HELLO, for which one must be logged in and
/// needs no other right, tells.
pub(super) fn write_lane(out: &mut Vec<u8>, lane: &LaneKey, was_ours: bool) -> Vec<Own> {
    let mut owed = Vec::with_capacity(3);
    let select = |out: &mut Vec<u8>, owed: &mut Vec<Own>| {
        if lane.db != 0 {
            write::request(out, &["SELECT", lane.db.to_string().as_str()]);
            owed.push(Own::Lane);
        }
    };
    if let Some(login) = &lane.login {
        // As Weir's own user still: the client may have chosen its database as another user than it
        // is now, who may not SELECT.
        select(out, &mut owed);
        login.write(out);
        owed.push(Own::Entered);
    }
    if was_ours || lane.login.is_some() || lane.resp == Version::Resp3 {
        write::request(out, &["HELLO", lane.resp.number().to_string().as_str()]);
        owed.push(Own::Lane);
    }
    if lane.login.is_none() {
        select(out, &mut owed);
    }
    owed
}

impl Engine {
    // ---------------------------------------------------------------- opening

    pub(super) fn open_link(
        &mut self,
        shard: ShardId,
        role: Role,
        pipeline: Pipeline<Token>,
    ) -> LinkId {
        let link = self.links.insert(Link::new(shard, role, pipeline, self.now));
        let here = &mut self.shards[shard.index()];
        if matches!(role, Role::Pinned(_)) {
            if here.opening == limits::PINS_OPENING_MAX {
                here.to_open.push_back(link);
                return link;
            }
            self.connect_pin(link, shard);
        } else {
            self.connect(link, shard);
        }
        link
    }

    fn connect(&mut self, link: LinkId, shard: ShardId) {
        // Without an address a shard is never up, so nobody wants a link to it.
        if let Some(address) = self.shards[shard.index()].address.clone() {
            let (whom, timeout) = (Whom::Shard, self.settings.connect_timeout);
            self.outputs.push_back(Output::Connect { link, whom, address, timeout });
        }
    }

    fn connect_pin(&mut self, id: LinkId, shard: ShardId) {
        if let Some(link) = self.links.get_mut(id) {
            link.opening = true;
            self.shards[shard.index()].opening += 1;
            self.connect(id, shard);
        }
    }

    /// A pin that was being opened has been greeted, or is gone: the next one's turn.
    pub(super) fn pin_opened(&mut self, shard: ShardId) {
        self.shards[shard.index()].opening -= 1;
        while let Some(next) = self.shards[shard.index()].to_open.pop_front() {
            if self.links.get(next).is_some() {
                return self.connect_pin(next, shard);
            }
        }
    }

    pub(super) fn link_opened(&mut self, id: LinkId) {
        self.stats().shard_connects.add(1);
        let settings = Arc::clone(&self.settings);
        let now = self.now;
        let Some(link) = self.links.get_mut(id) else {
            return;
        };
        if link.role == Role::Scout {
            return self.scout_opened(id);
        }
        self.setup.stats.workers[usize::from(self.setup.worker.0)].shards[link.shard.index()]
            .connects
            .add(1);
        link.silent_since = now;
        let mut lane = match link.role {
            Role::Shared(lane)
            | Role::Pinned(lane)
            | Role::Beside(lane)
            | Role::Reader(lane, _) => self.lanes.key(lane),
            Role::Wire(feed) => LaneKey { login: self.feeds.login(feed), ..LaneKey::default() },
            Role::Door | Role::Control | Role::Tracker(_) | Role::Watch(_) | Role::Scout => {
                LaneKey::default()
            }
        };
        // A busy shard answers neither INFO nor SELECT, and what is asked of it is about no data.
        let beside = matches!(link.role, Role::Beside(_));
        if beside {
            lane.db = 0;
        }
        let name = link.role.name();
        let cluster = self.map.kind() == crate::shards::Kind::Cluster;
        let reads = cluster && matches!(link.role, Role::Reader(..));
        let is_clients = link.role.lane().is_some() || matches!(link.role, Role::Wire(_));
        let (user, password) = (&settings.shard_user, &settings.shard_password);
        let login_bytes = lane.login.as_ref().map_or(0, |login| login.request_bytes());
        let size = GREETING_BYTES_MAX + user.len() + password.len() + login_bytes;
        link.pipeline.opened(size, |out| {
            let mut tokens = Vec::with_capacity(8);
            if write_login(out, user, password) {
                tokens.push(Token::Own(Own::Login));
            }
            write::request(out, &["CLIENT", "SETNAME", name]);
            tokens.push(Token::Own(Own::Named));
            if !beside {
                write::request(out, &["CLIENT", "ID"]);
                tokens.push(Token::Own(Own::Id));
                write::request(out, REPORT_INFO);
                tokens.push(Token::Own(Own::Greeting));
            }
            let back_to_default = is_clients && lane.login.is_none() && !password.is_empty();
            if back_to_default {
                write::request(out, &["RESET"]);
                tokens.push(Token::Own(Own::Lane));
                // That has taken the name away.
                write::request(out, &["CLIENT", "SETNAME", name]);
                tokens.push(Token::Own(Own::Named));
            }
            if is_clients {
                let owed = write_lane(out, &lane, back_to_default);
                tokens.extend(owed.into_iter().map(Token::Own));
            }
            if reads {
                // Or a replica sends its clients to the primary.
                write::request(out, &["READONLY"]);
                tokens.push(Token::Own(Own::Lane));
            }
            tokens
        });
        self.flush_link(id);
    }

    pub(super) fn greeting_reply(&mut self, id: LinkId, own: Own, reply: &[u8]) {
        let Some(link) = self.links.get_mut(id) else {
            return;
        };
        let shard = link.shard;
        match (own, Value::parse(reply)) {
            (Own::Login, Some((Value::Error(text), _))) => {
                let why = format!("it refuses our login: {}", String::from_utf8_lossy(&text));
                self.reject_link(id, &why);
            }
            (Own::Id, Some((Value::Int(number), _))) => link.client_id = Some(number),
            // A user that may not say CLIENT can do without; a shard that has no room for us says
            // so in reply to whatever comes first, and closes.
            (Own::Named, _) if matches!(link.role, Role::Beside(_) | Role::Scout) => {
                self.if_greeted(id);
            }
            (Own::Named | Own::Id, Some((Value::Error(text), _))) => {
                link.refusal = Some(String::from_utf8_lossy(&text).into_owned());
            }
            (Own::Greeting, Some((Value::Bulk(info), _))) => match Report::parse(&info) {
                Ok(report) if report.loading => self.reject_link(id, "it is loading its data"),
                Ok(report) if let Role::Watch(reader) | Role::Reader(_, reader) = link.role => {
                    match self.reader_report(shard, reader, &report) {
                        true => self.if_greeted(id),
                        false => self.reject_link(id, "it is no replica of this primary"),
                    }
                }
                Ok(report) => {
                    if self.observe(shard, report, Some(id)) {
                        self.if_greeted(id);
                    }
                }
                Err(error) => self.reject_link(id, &format!("its INFO can't be read: {error}")),
            },
            (Own::Greeting, Some((Value::Error(text), _))) => {
                let why = format!("it refuses INFO: {}", String::from_utf8_lossy(&text));
                if text.starts_with(BUSY) {
                    // Clients get this error from a stock server too.
                    link.lane_refusal = Some(text);
                }
                self.reject_link(id, &why);
            }
            (Own::Greeting, _) => self.reject_link(id, "its INFO is no text"),
            (Own::Entered, _) if reply != b"+OK\r\n" => {
                let text = match Value::parse(reply) {
                    Some((Value::Error(text), _)) => text,
                    _ => text::WRONG_PASSWORD.into(),
                };
                link.lane_refusal = Some(text);
                self.reject_link(id, "it refuses a client's login");
            }
            (Own::Lane, Some((Value::Error(text), _))) if link.role == Role::Scout => {
                let why = format!("it refuses us: {}", text.escape_ascii());
                self.reject_link(id, &why);
            }
            (Own::Lane, Some((Value::Error(text), _))) => {
                let why = format!("it refuses a client: {}", String::from_utf8_lossy(&text));
                let is_login = text.starts_with(b"NOAUTH");
                link.lane_refusal = Some(if is_login { text::NO_AUTH.into() } else { text });
                self.reject_link(id, &why);
            }
            (Own::Lane, _) => self.if_greeted(id),
            _ => {}
        }
    }

    /// If the last word of a greeting has been answered, the link is ready.
    fn if_greeted(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(id).filter(|link| link.pipeline.is_greeting_over())
        else {
            return;
        };
        let (shard, role) = (link.shard, link.role);
        link.pipeline.greeted();
        if std::mem::take(&mut link.opening) {
            self.pin_opened(shard);
        }
        match role {
            Role::Control => self.shard_up(shard, id),
            Role::Shared(lane) => {
                let links = self.shards[shard.index()].lane(lane, self.now);
                if links.shared == Some(id) {
                    links.parked_since = None;
                }
                self.relief_ready(id, lane);
            }
            Role::Tracker(tracker) => {
                self.shards[shard.index()].acks.tracker_ready(tracker, self.now);
            }
            Role::Pinned(_) => self.pin_greeted(id),
            Role::Wire(feed) => self.wire_up(feed, shard),
            Role::Scout => self.scout_greeted(id),
            Role::Door | Role::Beside(_) | Role::Watch(_) | Role::Reader(..) => {}
        }
        self.flush_link(id);
    }

    fn shard_up(&mut self, id: ShardId, control: LinkId) {
        let interval = self.poll_pace();
        let now = self.now;
        let shard = &mut self.shards[id.index()];
        let was = std::mem::replace(&mut shard.state, State::Up);
        shard.poll_at = now + interval;
        let first = !std::mem::replace(&mut shard.commands_known, true);
        if let (true, Some(report)) = (was != State::Up, &shard.report) {
            let line = format!(
                "{} is up: version {}, {} replica(s) online, append-only file {}",
                shard.name(),
                report.version,
                report.online(),
                if report.aof_enabled { "on" } else { "off" }
            );
            self.log(Level::Notice, line);
        }
        self.stats().shards[id.index()].state.set(ShardState::Up as u64);
        if first {
            self.send_own(control, Own::Commands, |out| write::request(out, &["COMMAND"]));
        }
        self.ask_report(id, control);
        let waiting = self.shards[id.index()].parking.clone();
        for lane in std::iter::once(self.lanes.first).chain(waiting) {
            self.shared_link(id, lane);
        }
        self.open_wires(id);
        self.wake_awaiting(id);
    }

    pub(super) fn shard_commands(&mut self, id: LinkId, reply: &[u8]) {
        let Some(link) = self.links.get(id) else {
            return;
        };
        let name = self.shards[link.shard.index()].name();
        if let Err(error) = self.learn_commands(reply) {
            self.log(
                Level::Warning,
                format!(
                    "{name}: its COMMAND can't be read ({error}); commands of modules that only it \
                     has are unknown here"
                ),
            );
        }
    }

    /// A shard's commands join those that are known: it may have modules that nobody else has.
    fn learn_commands(&mut self, reply: &[u8]) -> Result<(), TableError> {
        let theirs = CommandTable::from_reply(reply)?;
        let mut table = CommandTable::clone(self.router.table());
        if table.merge_in(&theirs)? > 0 {
            self.router = Arc::new(Router::new(Arc::new(table), Arc::clone(&self.map)));
        }
        Ok(())
    }

    // ---------------------------------------------------------------- failing

    /// Closes a link that answered, but not as it must.
    pub(super) fn reject_link(&mut self, id: LinkId, why: &str) {
        self.outputs.push_back(Output::CloseLink { link: id });
        self.link_failed(id, why);
    }

    /// A link is gone: tells everyone who was owed something on it.
    pub(super) fn link_failed(&mut self, id: LinkId, reason: &str) {
        let Some(mut link) = self.links.remove(id) else {
            return;
        };
        let shard = link.shard;
        if link.opening {
            self.pin_opened(shard);
        }
        self.stats().shard_disconnects.add(1);
        if link.role == Role::Scout {
            return self.scout_failed(id, reason);
        }
        self.stats().shards[shard.index()].disconnects.add(1);
        let greeted = link.pipeline.is_ready();
        let refusal = link.refusal.take().filter(|_| !greeted);
        let refusal = refusal.map(|text| format!("it refuses us: {text}"));
        let reason = refusal.as_deref().unwrap_or(reason);
        if matches!(link.role, Role::Watch(_) | Role::Reader(..)) {
            return self.reader_failed(id, &link);
        }
        for (token, fate) in link.pipeline.broken() {
            self.broken_command(token, fate, shard, reason);
        }
        for session in std::mem::take(&mut link.holding) {
            if let Some(held) = self.sessions.get_mut(session) {
                held.holds.link = false;
            }
            self.touch(session);
        }
        match link.role {
            Role::Shared(lane) => {
                if let Some(link) = self.relief_failed(id, lane, link) {
                    self.shared_failed(lane, link, greeted, reason);
                }
            }
            Role::Wire(feed) => self.wire_failed(feed, link, greeted, reason),
            Role::Control => self.control_failed(shard, greeted, reason),
            Role::Door => self.door_failed(shard, id, link.pipeline, reason),
            Role::Tracker(tracker) => {
                let shard = &mut self.shards[shard.index()];
                shard.trackers.retain(|(_, link)| *link != id);
                shard.acks.tracker_lost(tracker, self.now);
            }
            Role::Pinned(lane) | Role::Beside(lane) => {
                // There is no next connection for a request of which nothing had left.
                let text = text::cut_off(&self.shards[shard.index()].name(), reason);
                let text = link.lane_refusal.take().unwrap_or(text.into_bytes());
                for token in link.pipeline.drop_unsent() {
                    self.fail_command(token, &text);
                }
                self.shards[shard.index()].pinned -= 1;
                self.shards[shard.index()].lane(lane, self.now).idle.retain(|link| *link != id);
                if let Some(owner) = link.owner {
                    self.forget_pin(id, shard, owner);
                }
            }
            Role::Watch(_) | Role::Reader(..) | Role::Scout => {}
        }
    }

    fn control_failed(&mut self, id: ShardId, greeted: bool, reason: &str) {
        let now = self.now;
        let shard = &mut self.shards[id.index()];
        shard.control = None;
        let state = if greeted && shard.is_up() {
            // Perhaps only this connection was lost: try again before anybody is told otherwise.
            shard.away_since = now;
            shard.retry_at = now;
            State::Connecting
        } else {
            shard.retry_at = now + limits::LINK_RETRY;
            State::Down(reason.to_owned())
        };
        let patience = self.settings.failover_timeout;
        let name = shard.name();
        shard.acks.down(now);
        self.look_again();
        let shard = &mut self.shards[id.index()];
        let line = match (&shard.state, &state) {
            (State::Up, _) => Some((
                Level::Notice,
                format!("{name}: Weir's own connection is lost ({reason}); connecting again"),
            )),
            (State::Down(before), State::Down(why)) if before == why => None,
            (_, State::Down(why)) => Some((
                Level::Warning,
                format!(
                    "{name} is down: {why}. Trying every {} ms; commands for it wait up to {} ms, \
                     then get an error",
                    limits::LINK_RETRY.as_millis(),
                    patience.as_millis()
                ),
            )),
            _ => None,
        };
        let word = match state {
            State::Down(_) => ShardState::Down,
            _ => ShardState::Connecting,
        };
        shard.state = state;
        self.stats().shards[id.index()].state.set(word as u64);
        if let Some((level, text)) = line {
            self.log(level, text);
        }
    }

    /// Closes all links of a shard but one.
    pub(super) fn close_links(&mut self, shard: ShardId, but: Option<LinkId>, why: &str) {
        let doomed: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(id, link)| link.shard == shard && Some(*id) != but)
            .map(|(id, _)| id)
            .collect();
        self.shards[shard.index()].to_open.clear();
        for id in doomed {
            self.reject_link(id, why);
        }
        // They failed because we wanted them to: the next are opened as soon as the shard is up.
        let now = self.now;
        for lane in self.shards[shard.index()].lanes.tenants_mut() {
            lane.retry_at = lane.retry_at.min(now);
        }
        self.feeds.retry_now(shard, now);
    }

    // ---------------------------------------------------------------- history

    /// A primary has said who it is. Returns whether the link on which it said so may be used.
    pub(super) fn observe(&mut self, id: ShardId, report: Report, via: Option<LinkId>) -> bool {
        let shard = &mut self.shards[id.index()];
        let change = match (&shard.history, History::of(&report)) {
            (_, None) => Change::NotPrimary,
            (None, Some(_)) => Change::NewHistory { proof: None },
            (Some(history), Some(_)) => history.change(&report),
        };
        let history = History::of(&report);
        let replicas = u32::try_from(report.replicas.len()).unwrap_or(u32::MAX);
        shard.most_replicas = shard.most_replicas.max(replicas);
        shard.report = Some(report);
        match change {
            Change::SameHistory => true,
            Change::NewHistory { proof } => {
                let first = shard.generation == 0;
                shard.history = history;
                self.new_generation(id, proof.map_or(Proof::Nothing, Proof::Below), via);
                if !first {
                    let shard = &self.shards[id.index()];
                    let line = format!(
                        "{}: the primary has another history now (generation {}); connections are \
                         opened anew, and who waits for writes that it can't prove to have gets \
                         -UNBLOCKED",
                        shard.name(),
                        shard.generation
                    );
                    self.log(Level::Warning, line);
                }
                true
            }
            Change::NotPrimary => {
                if shard.history.take().is_some() {
                    // Nobody acknowledges the writes of a history that has no primary: who waits
                    // for them is told at once, as a stock server tells who waits when it is
                    // demoted.
                    self.new_generation(id, Proof::Nothing, via);
                }
                self.close_links(id, None, "it is a replica, not a primary");
                self.look_again();
                false
            }
        }
    }

    pub(super) fn new_generation(&mut self, id: ShardId, proof: Proof, via: Option<LinkId>) {
        let now = self.now;
        let shard = &mut self.shards[id.index()];
        shard.generation += 1;
        let generation = shard.generation;
        // A shard may leave before it has ever said who it is, and clients have marks there since
        // slots have come: those end too.
        let unknown = Seen {
            generation: Generation::default(),
            offset: 0,
            backlog_active: false,
            aof_enabled: false,
            cluster_enabled: true,
            online: 0,
        };
        let seen = self.seen(id).unwrap_or(unknown);
        let seen = Seen { generation: Generation(generation), ..seen };
        self.shards[id.index()].acks.new_generation(proof, &seen, now);
        self.stats().shards[id.index()].generation.set(generation);
        self.shards[id.index()].readers.forget();
        if generation > 1 {
            self.close_links(id, via, "the primary's history has changed");
        }
    }

    // ---------------------------------------------------------------- our own questions

    pub(super) fn send_own(&mut self, id: LinkId, own: Own, write: impl FnOnce(&mut Vec<u8>)) {
        let now = self.now;
        if let Some(link) = self.links.get_mut(id) {
            if link.pipeline.owed() == 0 {
                link.silent_since = now;
            }
            link.pipeline.send(Token::Own(own), write);
        }
        self.flush_link(id);
    }

    pub(super) fn shard_timer(&mut self, index: usize) {
        let now = self.now;
        let shard = &mut self.shards[index];
        let id = shard.id;
        match shard.control {
            None if shard.address.is_some() && now >= shard.retry_at => {
                shard.poll_at = now + self.settings.shard_timeout;
                let link = self.open_link(id, Role::Control, Pipeline::default());
                self.shards[index].control = Some(link);
            }
            Some(control) if !shard.is_up() && now >= shard.poll_at => {
                self.reject_link(control, &self.silent());
            }
            Some(control) if shard.is_up() && now >= shard.poll_at => {
                self.shards[index].poll_at = now + self.poll_pace();
                self.poll(id, control);
            }
            _ => {}
        }
        self.parking_timer(id);
        self.readers_timer(id);
        let shard = &mut self.shards[index];
        shard.acks.handle_timeout(now);
        if now >= shard.patience(&self.settings) {
            self.wake_awaiting(id);
        }
    }

    /// Asks a primary how it is; or, if it owes an answer for too long, gives it up.
    fn poll(&mut self, id: ShardId, control: LinkId) {
        if let Some(since) = self.silence(control) {
            if self.now.since(since) >= self.settings.shard_timeout {
                self.close_links(id, None, &self.silent());
            }
            return;
        }
        self.ask_report(id, control);
    }

    pub(super) fn silent(&self) -> String {
        format!("it has not answered for {} ms", self.settings.shard_timeout.as_millis())
    }

    fn ask_report(&mut self, id: ShardId, control: LinkId) {
        let now = self.now;
        let shard = &mut self.shards[id.index()];
        let number = shard.acks.begin_report();
        shard.readers.looks(number, now);
        self.send_own(control, Own::Poll { number }, |out| write::request(out, REPORT_INFO));
    }

    pub(super) fn poll_reply(&mut self, id: LinkId, number: RoundNumber, reply: &[u8]) {
        let Some(link) = self.links.get(id) else {
            return;
        };
        let shard = link.shard;
        let report = match Value::parse(reply) {
            Some((Value::Bulk(info), _)) => Report::parse(&info).ok(),
            Some((Value::Error(text), _)) if text.starts_with(BUSY) => return,
            _ => None,
        };
        let Some(report) = report else {
            self.reject_link(id, "its INFO can't be read");
            return;
        };
        if self.observe(shard, report, Some(id)) {
            self.tell_acks(shard, number);
            self.primary_looked(shard, number);
        }
    }
}
