//! What the endpoint answers itself: commands about the connection, not about data.
//!
//! Texts and their order are those of a stock server (redis `server.c`, `networking.c`); the
//! command table has checked names and numbers of arguments already.

use crate::ids::SessionId;
use crate::resp::{Request, parse_int, write};
use crate::route::Local;
use crate::session::{Profile, ReplyMode};
use crate::text;

use super::{Engine, Mode};

impl Engine {
    pub(super) fn serve_local(&mut self, id: SessionId, local: Local, request: &Request<'_>) {
        self.stats().commands_local.add(1);
        match local {
            Local::Ok => self.answer(id, |out| write::simple(out, "OK")),
            Local::Ping => self.ping(id, request),
            Local::Echo => self.answer(id, |out| write::bulk(out, request.arg(1))),
            Local::Quit => {
                self.answer(id, |out| write::simple(out, "OK"));
                if let Some(session) = self.sessions.get_mut(id) {
                    session.mode = Mode::Closing;
                }
            }
            Local::Reset => self.reset(id),
            Local::Time => self.time(id),
            Local::Hello => self.hello(id, request),
            Local::Info => self.info(id, request),
            Local::Wait | Local::WaitAof => self.wait(id, local == Local::WaitAof, request),
            Local::Client(sub) => self.client_command(id, sub, request),
        }
    }

    fn ping(&mut self, id: SessionId, request: &Request<'_>) {
        match request.len() {
            1 => self.answer(id, |out| out.extend_from_slice(b"+PONG\r\n")),
            2 => self.answer(id, |out| write::bulk(out, request.arg(1))),
            _ => self.answer_error(id, &text::wrong_arity("ping")),
        }
    }

    fn reset(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.profile = Profile::default();
            session.reply = ReplyMode::On;
        }
        self.answer(id, |out| write::simple(out, "RESET"));
    }

    fn time(&mut self, id: SessionId) {
        let micros = self.wall_micros();
        self.answer(id, |out| {
            write::array(out, 2);
            write::bulk(out, (micros / 1_000_000).to_string().as_bytes());
            write::bulk(out, (micros % 1_000_000).to_string().as_bytes());
        });
    }

    /// Unix time in microseconds.
    pub(super) fn wall_micros(&self) -> u64 {
        let start = u64::try_from(self.setup.wall.as_micros()).unwrap_or(u64::MAX);
        start.saturating_add(self.now.0)
    }

    /// `HELLO [protover [AUTH username password] [SETNAME clientname]]`.
    /// Source: redis `networking.c`, `helloCommand`.
    fn hello(&mut self, id: SessionId, request: &Request<'_>) {
        if let Some(version) = request.get(1) {
            match parse_int(version) {
                Some(2) => {}
                Some(_) => return self.answer_error(id, text::NO_PROTO),
                None => return self.answer_error(id, text::PROTO_NOT_AN_INTEGER),
            }
        }
        let mut at = 2;
        let mut name = None;
        while let Some(option) = request.get(at) {
            let left = request.len() - at - 1;
            if option.eq_ignore_ascii_case(b"AUTH") && left >= 2 {
                // There are no users here yet but the default one, who needs no password.
                if request.arg(at + 1) != b"default" {
                    return self.answer_error(id, text::WRONG_PASSWORD);
                }
                at += 3;
            } else if option.eq_ignore_ascii_case(b"SETNAME") && left >= 1 {
                let wanted = request.arg(at + 1);
                if !super::clients::is_plain(wanted) {
                    return self.answer_error(id, text::CLIENT_NAME);
                }
                name = Some(String::from_utf8_lossy(wanted).into_owned());
                at += 2;
            } else {
                let option = String::from_utf8_lossy(option);
                return self.answer_error(id, &text::hello_syntax(&option));
            }
        }
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if let Some(name) = name {
            session.profile.name = name;
        }
        let client = i64::try_from(session.client).unwrap_or(i64::MAX);
        let (server, version) = self.posing_as();
        self.answer(id, |out| {
            write::array(out, 14);
            write::bulk(out, b"server");
            write::bulk(out, server.as_bytes());
            write::bulk(out, b"version");
            write::bulk(out, version.as_bytes());
            write::bulk(out, b"proto");
            write::int(out, 2);
            write::bulk(out, b"id");
            write::int(out, client);
            write::bulk(out, b"mode");
            write::bulk(out, b"standalone");
            write::bulk(out, b"role");
            write::bulk(out, b"master");
            write::bulk(out, b"modules");
            write::array(out, 0);
        });
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
