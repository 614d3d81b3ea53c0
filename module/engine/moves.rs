//! HELLO, SELECT, RESET: a session changes its lane.
//!
//! ```text
//!   GET k  SELECT 3  GET k          the second GET must not overtake anything of db 0:
//!   |      |         |              so SELECT waits for all earlier replies, goes to a shard on
//!   db 0   db 3      db 3           the lane of db 3, and the session is served on when it is
//!                                   answered
//! ```

use crate::ids::{LaneId, SessionId, ShardId};
use crate::resp::{Request, Version, parse_int, write};
use crate::route::Local;
use crate::session::{Profile, Reads, ReplyMode};
use crate::text;

use super::dispatch::{Finish, Served};
use super::lanes::LaneKey;
use super::link::Token;
use super::users::Greeting;
use super::{Engine, Mode, Then};

impl Engine {
    /// Has the session wait for all that it is owed before anything else of it is served. Returns
    /// whether it must.
    pub(super) fn must_drain(&mut self, id: SessionId) -> bool {
        let Some(session) = self.sessions.get_mut(id) else {
            return false;
        };
        let owed = !session.seats.is_empty();
        if owed {
            session.mode = Mode::Draining(Then::Serve);
        }
        owed
    }

    /// The RESP version that a session speaks.
    pub(super) fn resp(&self, id: SessionId) -> Version {
        self.sessions.get(id).map(|session| session.resp).unwrap_or_default()
    }

    /// The key of the session's lane.
    pub(super) fn lane_key(&self, id: SessionId) -> LaneKey {
        self.sessions.get(id).map(|session| self.lanes.key(session.lane)).unwrap_or_default()
    }

    /// A shard to ask what any of them could answer.
    pub(super) fn any_shard(&self) -> ShardId {
        let up = self.shards.iter().find(|shard| shard.is_up());
        up.map_or(self.map.first(), |shard| shard.id)
    }

    /// `SELECT index`: the shards say whether there is such a database.
    /// Source: redis `db.c`, `selectCommand`.
    pub(super) fn select(&mut self, id: SessionId, request: &Request<'_>) -> Served {
        let db = match parse_int(request.arg(1)).map(|db| (i32::try_from(db), u32::try_from(db))) {
            None => Err(text::NOT_AN_INTEGER),
            Some((Err(_), _)) => Err(text::NOT_AN_INT),
            Some((_, db)) => db.map_err(|_| text::DB_OUT_OF_RANGE),
        };
        let db = match db {
            Ok(db) => db,
            Err(text) => {
                self.answer_error(id, text);
                return Served::Done;
            }
        };
        let key = self.lane_key(id);
        if key.db == db {
            self.answer(id, |out| write::simple(out, "OK"));
            return Served::Done;
        }
        if self.must_drain(id) {
            return Served::Later;
        }
        let Some(lane) = self.lanes.find_or_make(LaneKey { db, ..key }, self.now) else {
            self.answer_error(id, text::TOO_MANY_LANES);
            return Served::Done;
        };
        let Some(seat) = self.reserve_parts(id, 1, Finish::Move(lane)) else {
            return Served::Done;
        };
        let token = Token::Part { session: id, seat, part: 0, writes: false };
        let shard = self.any_shard();
        self.send_on(shard, lane, token, |out| {
            write::request(out, &["SELECT", db.to_string().as_str()]);
        });
        self.must_drain(id);
        Served::Done
    }

    /// A shard has answered what decides whether the session changes its lane.
    pub(super) fn finish_move(&mut self, id: SessionId, lane: LaneId, reply: &[u8]) {
        if !reply.starts_with(b"-") {
            self.change_lane(id, lane);
        }
    }

    /// RESET. Source: redis `networking.c`, `resetCommand`.
    pub(super) fn reset(&mut self, id: SessionId) -> Served {
        let first = self.lanes.first;
        let moves = (self.sessions.get(id))
            .is_some_and(|s| s.lane != first || !s.pins.is_empty() || s.inbox.listens);
        if moves && self.must_drain(id) {
            return Served::Later;
        }
        if let Some(session) = self.sessions.get_mut(id) {
            let pushed = session.is_pushed_to();
            session.tracking = None;
            session.monitors = false;
            if session.transaction.take().is_some() || pushed {
                self.drop_pins(id);
            }
        }
        self.change_lane(id, first);
        self.stop_listening(id);
        self.read_by(id, Reads::default());
        if let Some(session) = self.sessions.get_mut(id) {
            // Who the library is doesn't change with what the session is reset to.
            let was = std::mem::take(&mut session.profile);
            let (lib_name, lib_version) = (was.lib_name, was.lib_version);
            session.profile = Profile { lib_name, lib_version, ..Profile::default() };
            if session.reply == ReplyMode::Off {
                session.reply = ReplyMode::On;
            }
        }
        self.answer(id, |out| write::simple(out, "RESET"));
        Served::Done
    }

    /// `HELLO [protover [AUTH username password] [SETNAME clientname]]`.
    /// Source: redis `networking.c`, `helloCommand`.
    pub(super) fn hello(&mut self, id: SessionId, request: &Request<'_>) -> Served {
        let options = match Hello::read(request) {
            Ok(options) => options,
            Err(text) => {
                self.answer_error(id, &text);
                return Served::Done;
            }
        };
        if let Some((user, password)) = options.auth {
            let Hello { version, name, .. } = options;
            return self.auth_by_hello(id, user, password, Greeting { version, name });
        }
        let mut key = self.lane_key(id);
        if key.login.is_none()
            && let Err(served) = self.permit(id, Local::Hello)
        {
            return served;
        }
        if let Some(version) = options.version
            && version != key.resp
        {
            if self.must_drain(id) {
                return Served::Later;
            }
            key.resp = version;
            let Some(lane) = self.lanes.find_or_make(key, self.now) else {
                self.answer_error(id, text::TOO_MANY_LANES);
                return Served::Done;
            };
            self.change_lane(id, lane);
        }
        if let (Some(name), Some(session)) = (options.name, self.sessions.get_mut(id)) {
            session.profile.name = name;
        }
        let mut reply = Vec::new();
        self.write_greeting(id, &mut reply);
        self.answer(id, |out| out.extend_from_slice(&reply));
        Served::Done
    }

    /// HELLO's reply: who the endpoint is.
    pub(super) fn write_greeting(&self, id: SessionId, out: &mut Vec<u8>) {
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        let client = i64::try_from(session.client).unwrap_or(i64::MAX);
        let resp = session.resp;
        let (server, version) = self.posing_as();
        write::map(out, resp, 7);
        write::bulk(out, b"server");
        write::bulk(out, server.as_bytes());
        write::bulk(out, b"version");
        write::bulk(out, version.as_bytes());
        write::bulk(out, b"proto");
        write::int(out, resp.number().into());
        write::bulk(out, b"id");
        write::int(out, client);
        write::bulk(out, b"mode");
        write::bulk(out, b"standalone");
        write::bulk(out, b"role");
        write::bulk(out, b"master");
        write::bulk(out, b"modules");
        write::array(out, 0);
    }

    /// Whose name and version the endpoint gives as its own: those of the first shard that has told
    /// them, since its commands are what the client gets.
    fn posing_as(&self) -> (String, String) {
        let told = self.shards.iter().find_map(|shard| shard.report.as_ref());
        let version = told.map_or("redis 7.2.0", |report| &report.version);
        let (server, version) = version.split_once(' ').unwrap_or(("redis", version));
        (server.to_owned(), version.to_owned())
    }
}

/// What HELLO was told.
struct Hello<'a> {
    version: Option<Version>,
    /// A user and a password.
    auth: Option<(&'a [u8], &'a [u8])>,
    name: Option<String>,
}

impl<'a> Hello<'a> {
    fn read(request: &Request<'a>) -> Result<Self, String> {
        let version = match request.get(1).map(parse_int) {
            None => None,
            Some(Some(2)) => Some(Version::Resp2),
            Some(Some(3)) => Some(Version::Resp3),
            Some(Some(_)) => return Err(text::NO_PROTO.to_owned()),
            Some(None) => return Err(text::PROTO_NOT_AN_INTEGER.to_owned()),
        };
        let mut at = 2;
        let (mut auth, mut name) = (None, None);
        while let Some(option) = request.get(at) {
            let left = request.len() - at - 1;
            if option.eq_ignore_ascii_case(b"AUTH") && left >= 2 {
                auth = Some((request.arg(at + 1), request.arg(at + 2)));
                at += 3;
            } else if option.eq_ignore_ascii_case(b"SETNAME") && left >= 1 {
                let wanted = request.arg(at + 1);
                if !super::clients::is_plain(wanted) {
                    return Err(text::CLIENT_NAME.to_owned());
                }
                name = Some(String::from_utf8_lossy(wanted).into_owned());
                at += 2;
            } else {
                return Err(text::hello_syntax(&String::from_utf8_lossy(option)));
            }
        }
        Ok(Self { version, auth, name })
    }
}
