//! What the endpoint answers itself: commands about the connection, not about data.
//!
//! Texts and their order are those of a stock server (redis `server.c`, `networking.c`); the
//! command table has checked names and numbers of arguments already.

use crate::ids::SessionId;
use crate::resp::{Request, Version, write};
use crate::route::{ClientSub, Local};
use crate::session::Reads;
use crate::text;

use super::dispatch::Served;
use super::event::Question;
use super::waits::Kind;
use super::{Engine, Mode};

impl Engine {
    pub(super) fn serve_local(
        &mut self,
        id: SessionId,
        local: Local,
        request: &Request<'_>,
    ) -> Served {
        if local != Local::Hello
            && let Err(served) = self.permit(id, local)
        {
            return served;
        }
        self.stats().commands_local.add(1);
        match local {
            Local::Auth => return self.auth(id, request),
            Local::AclChange => self.ask_everybody(id, request, Question::ForgetRights),
            Local::ResetStat => self.ask_everybody(id, request, Question::ResetStats),
            Local::Ok => self.answer(id, |out| write::simple(out, "OK")),
            Local::Ping => self.ping(id, request),
            Local::Echo => self.answer(id, |out| write::bulk(out, request.arg(1))),
            Local::Quit => {
                self.answer(id, |out| write::simple(out, "OK"));
                if let Some(session) = self.sessions.get_mut(id) {
                    session.mode = Mode::Closing;
                }
            }
            Local::Reset => return self.reset(id),
            Local::Time => self.time(id),
            Local::Hello => return self.hello(id, request),
            Local::Select => return self.select(id, request),
            Local::Info => self.info(id, request),
            Local::Wait => self.wait(id, Kind::WAIT, request),
            Local::WaitAof => self.wait(id, Kind::WAITAOF, request),
            Local::WeirWait => self.wait(id, Kind::WEIR_WAIT, request),
            Local::WeirWaitAof => self.wait(id, Kind::WEIR_WAITAOF, request),
            Local::ReadOnly | Local::ReadWrite => {
                let reads = match local {
                    Local::ReadOnly => Reads::ByReplicas,
                    _ => Reads::ByPrimaries,
                };
                self.read_by(id, reads);
                self.answer(id, |out| write::simple(out, "OK"));
            }
            Local::Monitor => return self.monitor(id, request),
            Local::Client(ClientSub::Tracking) => return self.client_tracking(id, request),
            Local::Client(sub) => self.client_command(id, sub, request),
            Local::PubSub(word) => return self.serve_pubsub(id, word, request),
        }
        Served::Done
    }

    fn ping(&mut self, id: SessionId, request: &Request<'_>) {
        let listens = self.sessions.get(id).is_some_and(|session| session.inbox.listens);
        match request.len() {
            // In RESP2 it must look like a message. Source: redis `server.c`, `pingCommand`.
            1 | 2 if listens && self.resp(id) == Version::Resp2 => self.answer(id, |out| {
                write::array(out, 2);
                write::bulk(out, b"pong");
                write::bulk(out, request.get(1).unwrap_or_default());
            }),
            1 => self.answer(id, |out| out.extend_from_slice(b"+PONG\r\n")),
            2 => self.answer(id, |out| write::bulk(out, request.arg(1))),
            _ => self.answer_error(id, &text::wrong_arity("ping")),
        }
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
}
