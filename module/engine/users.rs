//! AUTH, HELLO with AUTH, and who may do what: a shard decides, always.
//!
//! ```text
//!   AUTH u p --all earlier replies are there--> door --> shard        +OK: the session is on the
//!                                                |                    lane of (u, p) from now on
//!                            AUTH u p, RESET, AUTH v q, RESET, ..     -..: the shard's own words
//! ```
//!
//! A **door** is a link to a shard on which nothing but AUTH is said, by all sessions of the worker
//! that log in, one at a time: a stock server that refuses AUTH says nothing at all while earlier
//! replies are still to be written (redis `acl.c`, `addAuthErrReply`). Each AUTH is followed by
//! RESET, so that the door is nobody's afterwards. A few doors are enough for a crowd; those who
//! find all of them taken wait, with their passwords unread. A wrong password so costs nobody else
//! anything: no lane, no place in anybody's pipeline. A right one is asked about too, however many
//! sessions have logged in with it before: it may have been changed since.
//!
//! The connections of a lane log in by themselves, with the words that were right at the door. If
//! the shards don't take them any more, because the user is gone or has another password by now, a
//! session that needs a new connection is told so and closed, as a stock server closes the clients
//! of a user that is deleted: a client that connects again and logs in is well again.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::ids::{LinkId, SessionId, ShardId, Time};
use crate::limits;
use crate::pipeline::Pipeline;
use crate::resp::{Request, Version, write};
use crate::session::SeatNumber;
use crate::text;

use super::dispatch::{Finish, Served};
use super::link::{Own, Role, Token};
use super::{Engine, Mode, Then};

/// Who the shards take a client for. Overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    /// The user's name.
    pub user: Zeroizing<Vec<u8>>,
    /// What the user said to prove it.
    pub password: Zeroizing<Vec<u8>>,
}

impl Login {
    fn new(user: &[u8], password: &[u8]) -> Self {
        Self { user: user.to_vec().into(), password: password.to_vec().into() }
    }

    /// Bytes of the AUTH that says it, at most.
    pub(super) fn request_bytes(&self) -> usize {
        request_bytes(&[b"AUTH", &self.user, &self.password])
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        write::request(out, &[b"AUTH".as_slice(), &self.user, &self.password]);
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({})", String::from_utf8_lossy(&self.user))
    }
}

/// Bytes of a request of these words, at most.
fn request_bytes(words: &[&[u8]]) -> usize {
    const HEADER_BYTES_MAX: usize = 24;
    words.iter().map(|word| word.len() + 2).sum::<usize>() + HEADER_BYTES_MAX * (words.len() + 1)
}

/// What a session will be if the shard takes its login.
#[derive(Debug)]
pub(super) struct Entry {
    login: Arc<Login>,
    /// It came with HELLO, which asks for more.
    hello: Option<Greeting>,
}

/// What HELLO is to do once its AUTH has been taken.
#[derive(Debug)]
pub(super) struct Greeting {
    pub version: Option<Version>,
    pub name: Option<String>,
}

/// A shard's doors.
#[derive(Debug, Default)]
pub(super) struct Doors {
    open: Vec<Door>,
    /// Sessions that wait until one is free.
    waiting: VecDeque<SessionId>,
    /// When somebody last went through.
    used: Time,
    /// Why the last could not be opened, and when to try again.
    failed: Option<(String, Time)>,
}

#[derive(Debug)]
struct Door {
    link: LinkId,
    /// Somebody is being asked about.
    taken: bool,
}

/// What a session finds that wants to log in.
enum Found {
    Free(LinkId),
    Taken,
    /// There is no door, and why.
    None(String),
}

impl Engine {
    /// `AUTH [username] password`. Source: redis `acl.c`, `authCommand`.
    pub(super) fn auth(&mut self, id: SessionId, request: &Request<'_>) -> Served {
        let words: Vec<&[u8]> = (0..request.len()).map(|at| request.arg(at)).collect();
        let login = match words[1..] {
            [password] => Login::new(b"default", password),
            [user, password] => Login::new(user, password),
            _ => {
                self.answer_error(id, text::SYNTAX);
                return Served::Done;
            }
        };
        self.knock(id, &words, Entry { login: Arc::new(login), hello: None })
    }

    /// HELLO with AUTH: all of it, or nothing.
    pub(super) fn auth_by_hello(
        &mut self,
        id: SessionId,
        user: &[u8],
        password: &[u8],
        hello: Greeting,
    ) -> Served {
        let login = Arc::new(Login::new(user, password));
        self.knock(id, &[b"AUTH", user, password], Entry { login, hello: Some(hello) })
    }

    /// Asks a shard whether a login is right.
    fn knock(&mut self, id: SessionId, words: &[&[u8]], entry: Entry) -> Served {
        if words.iter().any(|word| word.len() > limits::AUTH_WORD_BYTES_MAX) {
            self.stats().logins_refused.add(1);
            self.answer_error(id, text::WRONG_PASSWORD);
            return Served::Done;
        }
        if self.must_drain(id) {
            return Served::Later;
        }
        let shard = self.any_shard();
        if self.waits_for_shard(id, shard) {
            if let Some(session) = self.sessions.get_mut(id) {
                session.mode = Mode::Draining(Then::Pin(shard));
            }
            return Served::Later;
        }
        match self.find_door(shard) {
            Found::Free(door) => {
                if let Some(seat) = self.reserve_parts(id, 1, Finish::Enter(Box::new(entry))) {
                    self.ask_at(door, id, seat, words);
                    self.must_drain(id);
                }
                Served::Done
            }
            Found::Taken => {
                self.shards[shard.index()].doors.waiting.push_back(id);
                if let Some(session) = self.sessions.get_mut(id) {
                    session.holds.door = true;
                }
                Served::Later
            }
            Found::None(why) => {
                let text = text::shard_down(&self.shards[shard.index()].name(), &why);
                self.answer_error(id, &text);
                Served::Done
            }
        }
    }

    /// A door that is free, or a new one.
    fn find_door(&mut self, id: ShardId) -> Found {
        let now = self.now;
        let shard = &mut self.shards[id.index()];
        if !shard.is_up() {
            return Found::None(shard.why().to_owned());
        }
        let doors = &mut shard.doors;
        doors.used = now;
        if let Some(door) = doors.open.iter().find(|door| !door.taken) {
            return Found::Free(door.link);
        }
        let failed = doors.failed.as_ref().filter(|(_, retry_at)| now < *retry_at);
        match failed {
            Some((why, _)) if doors.open.is_empty() => return Found::None(why.clone()),
            None if doors.open.len() < limits::DOORS_MAX => {}
            _ => return Found::Taken,
        }
        let link = self.open_link(id, Role::Door, Pipeline::default());
        self.shards[id.index()].doors.open.push(Door { link, taken: false });
        Found::Free(link)
    }

    fn ask_at(&mut self, door: LinkId, session: SessionId, seat: SeatNumber, words: &[&[u8]]) {
        let now = self.now;
        let Some(link) = self.links.get_mut(door) else {
            return;
        };
        link.silent_since = now;
        let token = Token::Part { session, seat, part: 0, writes: false };
        let size = request_bytes(words);
        link.pipeline.send_secret(token, size, |out| write::request(out, words));
        let shard = link.shard;
        self.take_door(shard, door, true);
        self.send_own(door, Own::Left, |out| write::request(out, &["RESET"]));
    }

    fn take_door(&mut self, shard: ShardId, link: LinkId, taken: bool) {
        let mut doors = self.shards[shard.index()].doors.open.iter_mut();
        if let Some(door) = doors.find(|door| door.link == link) {
            door.taken = taken;
        }
    }

    /// A door is nobody's again.
    pub(super) fn left_door(&mut self, door: LinkId) {
        if let Some(shard) = self.links.get(door).map(|link| link.shard) {
            self.take_door(shard, door, false);
            self.next_to_door(shard, 1);
        }
    }

    /// So many of those who wait for a door look again.
    fn next_to_door(&mut self, shard: ShardId, count: usize) {
        for _ in 0..count {
            loop {
                let Some(id) = self.shards[shard.index()].doors.waiting.pop_front() else {
                    return;
                };
                if let Some(session) = self.sessions.get_mut(id) {
                    session.holds.door = false;
                    self.touch(id);
                    break;
                }
            }
        }
    }

    /// A door is gone, with who was being asked about.
    pub(super) fn door_failed(
        &mut self,
        id: ShardId,
        door: LinkId,
        mut unsent: Pipeline<Token>,
        why: &str,
    ) {
        let retry_at = self.now + limits::LINK_RETRY;
        let shard = &mut self.shards[id.index()];
        shard.doors.open.retain(|open| open.link != door);
        shard.doors.failed = Some((why.to_owned(), retry_at));
        let waiting = shard.doors.waiting.len();
        let text = text::shard_down(&shard.name(), why);
        for token in unsent.drop_unsent() {
            self.fail_command(token, text.as_bytes());
        }
        self.next_to_door(id, waiting);
    }

    /// Now and then: closes doors through which nobody has gone for a while, and calls those who
    /// wait for one that is free.
    pub(super) fn sweep_doors(&mut self) {
        for index in 0..self.shards.len() {
            let shard = self.shards[index].id;
            let doors = &mut self.shards[index].doors;
            let free = doors.open.iter().filter(|door| !door.taken).count();
            if free > 0 && self.now.since(doors.used) >= limits::DOOR_IDLE_MAX {
                let (idle, taken) = doors.open.drain(..).partition(|door| !door.taken);
                doors.open = taken;
                let idle: Vec<Door> = idle;
                for door in idle {
                    self.drop_link(door.link);
                }
            }
            self.next_to_door(shard, free);
        }
    }

    /// A shard has said whether a login is right; writes what the client is told.
    pub(super) fn enter(
        &mut self,
        id: SessionId,
        entry: &Entry,
        verdict: &[u8],
        out: &mut Vec<u8>,
    ) {
        if verdict.starts_with(b"-") {
            self.stats().logins_refused.add(1);
            out.extend_from_slice(verdict);
            return;
        }
        let mut key = self.lane_key(id);
        key.login = Some(Arc::clone(&entry.login));
        key.resp = entry.hello.as_ref().and_then(|hello| hello.version).unwrap_or(key.resp);
        let Some(lane) = self.lanes.find_or_make(key, self.now) else {
            return write::error(out, text::TOO_MANY_LANES);
        };
        self.change_lane(id, lane);
        let Some(hello) = &entry.hello else {
            return out.extend_from_slice(verdict);
        };
        if let (Some(name), Some(session)) = (&hello.name, self.sessions.get_mut(id)) {
            session.profile.name.clone_from(name);
        }
        self.write_greeting(id, out);
    }

    /// A session was refused something. If it was its login that the shards don't take any more,
    /// it ends with this.
    pub(super) fn end_if_refused(&mut self, id: SessionId, text: &[u8]) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        // One that waits for something of its own learns of it when it goes on.
        if text.starts_with(b"WRONGPASS") && matches!(session.mode, Mode::Serving) {
            session.mode = Mode::Closing;
            self.touch(id);
        }
    }

    /// As [`Engine::end_if_refused`], for the owner of a command.
    pub(super) fn end_if_refused_by(&mut self, token: Token, text: &[u8]) {
        if let Some(session) = token.session() {
            self.end_if_refused(session, text);
        }
    }

    /// The name of a session's user.
    pub(super) fn user(&self, session: &super::Session) -> String {
        match self.lanes.key(session.lane).login {
            None => "default".to_owned(),
            Some(login) => String::from_utf8_lossy(&login.user).into_owned(),
        }
    }

    // ---------------------------------------------------------------- changes of users
}
