//! What a shard tells a session without having been asked: invalidations, and the lines of MONITOR.
//!
//! ```text
//!   pin: +OK  > invalidate ..  :1  +1700000000.1 [0 ..] "SET" ..
//!        |    |                |   |
//!        seat push             seat push             push: at once, but never into a reply
//! ```
//!
//! They come on pins, so a client that takes them too slowly stands in nobody's way. It is not made
//! to wait for, since then a shard would have to keep for it what it doesn't take: it is closed.

use std::sync::Arc;

use crate::command::Flags;
use crate::ids::{LinkId, SessionId};
use crate::pipeline::Piece;
use crate::resp::{Request, write};
use crate::text;

use super::Engine;
use super::dispatch::{Finish, Served};
use super::link::{Own, Token};
use super::serve::out_of;
use super::waits::CHANNEL;

/// Whether a frame of a shard answers nothing.
pub(super) fn is_push(begin: &[u8], _: Option<Token>) -> bool {
    begin.starts_with(b">")
}

/// The same while MONITOR is on: its lines begin with a time. Nothing else is said on such a pin
/// that is answered so.
fn is_push_or_line(begin: &[u8], _: Option<Token>) -> bool {
    is_push(begin, None) || begin.starts_with(b"+") && begin.get(1).is_some_and(u8::is_ascii_digit)
}

/// What the endpoint answers itself, so that only Weir asks shards for it; and Weir's own words.
const OF_WEIR: [&str; 13] = [
    r#""INFO" "server" "replication" "persistence" "cluster""#,
    r#""FUNCTION" "RESTORE" "\n\x00]"#,
    r#""CLIENT" "#,
    r#""COMMAND""#,
    r#""ECHO" "weir""#,
    r#""HELLO" "#,
    r#""PING""#,
    r#""PUBSUB" "#,
    r#""RESET""#,
    r#""SELECT" "#,
    r#""TIME""#,
    r#""WAIT" "#,
    r#""WAITAOF" "#,
];

/// Whether a line of MONITOR, `+time [db address] "command" ..`, tells of what Weir itself asks
/// shards all the time. What scripts do, which have no address, never is.
fn is_of_weir(line: &[u8]) -> bool {
    let Some(end) = line.windows(2).position(|two| two == b"] ") else {
        return false;
    };
    let (head, command) = line.split_at(end + 2);
    let barrier = format!("\"SPUBLISH\" \"{CHANNEL}\"");
    let asks = |words: &str| command.starts_with(words.as_bytes());
    line.starts_with(b"+")
        && !head.ends_with(b" lua] ")
        && (asks(&barrier) || OF_WEIR.iter().any(|words| asks(words)))
}

impl Engine {
    /// `MONITOR`: every shard tells what it executes.
    pub(super) fn monitor(&mut self, id: SessionId, request: &Request<'_>) -> Served {
        if self.sessions.get(id).is_none_or(|session| session.monitors) {
            // Source: redis `replication.c`, `monitorCommand`.
            return Served::Done;
        }
        if self.must_drain(id) {
            return Served::Later;
        }
        let shards = self.map.members().to_vec();
        let pins = match self.pin_all(id, &shards) {
            Ok(pins) => pins,
            Err(served) => return served,
        };
        let Some(seat) = self.reserve_parts(id, pins.len(), Finish::Monitor) else {
            return Served::Done;
        };
        if let Some(session) = self.sessions.get_mut(id) {
            session.monitors = true;
        }
        for (part, pin) in (0u16..).zip(pins) {
            self.expect_lines(pin);
            let token = Token::Part { session: id, seat, part, writes: false };
            self.send_by(pin, token, |out| write::request(out, &[request.arg(0)]));
        }
        self.must_drain(id);
        Served::Done
    }

    /// What becomes of a request about data of a client that monitors: a stock server takes it for
    /// a replica. Source: redis `server.c`, `processCommand`.
    pub(super) fn barred_by_monitor(
        &mut self,
        id: SessionId,
        request: &Request<'_>,
    ) -> Option<Served> {
        if !self.sessions.get(id).is_some_and(|session| session.monitors) {
            return None;
        }
        let table = self.router.table();
        let spec = table.spec(table.check(request).ok()?);
        if !spec.may_write() && !spec.flags.any(Flags::READONLY) {
            return None;
        }
        self.answer_error(id, text::REPLICA_AND_KEYSPACE);
        Some(Served::Done)
    }

    /// All shards have answered MONITOR.
    pub(super) fn finish_monitor(&mut self, id: SessionId, parts: &[&[u8]], reply: &mut Vec<u8>) {
        let error = parts.iter().find(|part| part.starts_with(b"-"));
        reply.extend_from_slice(error.or(parts.first()).unwrap_or(&b"".as_slice()));
        if error.is_some() {
            if let Some(session) = self.sessions.get_mut(id) {
                session.monitors = false;
            }
            self.lose_pins(id);
        }
    }

    fn expect_lines(&mut self, link: LinkId) {
        if let Some(link) = self.links.get_mut(link) {
            link.pipeline.expect_unasked(is_push_or_line, Token::Own(Own::Push));
        }
    }

    /// Now and then: who is told of every shard gets back the pins that it has lost.
    pub(super) fn sweep_pushed(&mut self) {
        let everywhere = |session: &super::Session| {
            session.monitors || session.tracking.as_ref().is_some_and(|tracking| tracking.bcast)
        };
        let of_all = self.sessions.iter().filter(|(_, session)| everywhere(session));
        let lacking = of_all.filter(|(_, session)| session.pins.len() < self.map.members().len());
        let lacking: Vec<SessionId> = lacking.map(|(id, _)| id).collect();
        for id in lacking {
            for &shard in Arc::clone(&self.map).members() {
                if self.shards[shard.index()].is_up() && self.pin_of(id, shard).is_none() {
                    // Without one to be had, it is tried again.
                    let _ = self.pin(id, shard);
                }
            }
        }
    }

    /// A session has a pin more: it is told what the session wants to be told of.
    pub(super) fn begin_pushes(&mut self, id: SessionId, link: LinkId) {
        self.begin_tracking(id, link);
        if self.sessions.get(id).is_some_and(|session| session.monitors) {
            self.expect_lines(link);
            self.send_by(link, Token::Own(Own::Tracked), |out| write::request(out, &["MONITOR"]));
        }
    }

    /// A frame that answers nothing has come on a pin, or a piece of one.
    pub(super) fn pushed(&mut self, id: LinkId, piece: &Piece<Token>) {
        let most = self.pushed_bytes_max();
        let Some(link) = self.links.get_mut(id) else {
            return;
        };
        let owner = link.owner;
        // What is larger than the bound closes its client, and needn't be whole for that.
        if link.own_reply.len() <= most {
            let bytes = link.pipeline.bytes(piece);
            link.own_reply.extend_from_slice(bytes);
        }
        link.pipeline.done(piece);
        if !piece.last {
            return;
        }
        let frame = std::mem::take(&mut link.own_reply);
        if let Some(owner) = owner
            && !is_of_weir(&frame)
        {
            self.push(owner, &frame);
        }
    }

    fn pushed_bytes_max(&self) -> usize {
        usize::try_from(self.settings.pubsub_output_max).unwrap_or(usize::MAX)
    }

    /// Tells a client what it has not asked for.
    pub(super) fn push(&mut self, id: SessionId, frame: &[u8]) {
        let most = self.pushed_bytes_max();
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let waiting = session.out.len() + session.seats.pushed_bytes() + frame.len();
        if waiting > most {
            return self.close_slow(id, waiting);
        }
        let out = out_of(&mut session.out, &mut self.memory);
        session.seats.push(frame, out);
        self.touch(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_weir_asks_is_not_shown_and_what_clients_ask_is() {
        let of_weir = |command: &str, from: &str| {
            is_of_weir(format!("+1700000000.123456 [0 {from}] {command}\r\n").as_bytes())
        };
        for command in [
            r#""INFO" "server" "replication" "persistence" "cluster""#,
            r#""WAIT" "1" "0""#,
            r#""PING""#,
            r#""SPUBLISH" "__weir:barrier" """#,
        ] {
            assert!(of_weir(command, "10.0.0.1:1"), "{command}");
            assert!(!of_weir(command, "lua"), "{command}");
        }
        for command in [r#""INFO""#, r#""SET" "PING" "] \"PING\"""#, r#""SPUBLISH" "c" "m""#] {
            assert!(!of_weir(command, "10.0.0.1:1"), "{command}");
        }
        assert!(!is_of_weir(b">2\r\n$10\r\ninvalidate\r\n*1\r\n$8\r\n] \"PING\"\r\n"));
    }
}
