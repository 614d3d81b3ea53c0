//! A session's commands keep their order though one of them was refused.
//!
//! ```text
//!   SET k 1      --> -READONLY    it is to be said again, a little later
//!   GET k        --> nil          not what it would have read behind it: said again, behind it
//!   SET k 2      --> +OK          it came first: the others are told -READONLY and nil after all
//! ```
//!
//! Commands that are on their way to a shard when it refuses one may well be answered: a primary
//! that was demoted goes on to read, and a cluster that was down is up again. So whatever comes by
//! the link on which something of the same session was refused is looked at before it is handed
//! out. The reply of a read that is longer than what one read of the socket brings can't be held
//! back; of it that is all that could be stale.

use crate::ids::{LinkId, SessionId};
use crate::pipeline::Piece;
use crate::resp::{Parsed, Parser, Request, write};

use super::link::{Role, Token};
use super::redirects::Refused;
use super::{Engine, Mode, Session};

/// What a request does, and where.
#[derive(Debug, Clone, Copy)]
struct Nature {
    only_reads: bool,
    /// The hash slot of its keys, if they have one.
    slot: Option<u16>,
}

impl Engine {
    /// A link has brought the reply of a command. If it would overtake an earlier one that was
    /// refused, it is said again, or the earlier one is given up. Returns whether the reply is not
    /// to be handed out.
    pub(super) fn is_out_of_turn(&mut self, id: LinkId, role: Role, piece: &Piece<Token>) -> bool {
        let token = piece.token;
        let (Some(session), true) = (token.session(), piece.first) else {
            return false;
        };
        if !self.detours.waits_before(token, id) {
            return false;
        }
        let Some(link) = self.links.get_mut(id) else {
            return false;
        };
        let Some(request) = link.pipeline.front_request().map(<[u8]>::to_vec) else {
            return false;
        };
        let (shard, is_error) = (link.shard, link.pipeline.bytes(piece).starts_with(b"-"));
        let nature = self.nature_of(&request);
        let (Token::Reply { writes, .. } | Token::Part { writes, .. }) = token else {
            return false;
        };
        if writes && !is_error {
            self.give_up(session, token, id, nature.slot);
            return false;
        }
        let in_multi = self.sessions.get(session).is_some_and(|s| s.transaction.is_some());
        if !nature.only_reads || !piece.last || in_multi {
            return false;
        }
        let Some(link) = self.links.get_mut(id) else {
            return false;
        };
        let reply = link.pipeline.bytes(piece).to_vec();
        link.pipeline.done(piece);
        self.say_behind(token, request, id, reply, shard);
        self.link_replied(id, role, token);
        true
    }

    /// Whether something that its session said behind a refused command, by the same link, has not
    /// been answered yet: it would be known too late that it was executed first. One in which the
    /// session waits is not waited for.
    pub(super) fn is_followed(&self, refused: &Refused) -> bool {
        let (Token::Reply { session, seat, .. } | Token::Part { session, seat, .. }) =
            refused.token
        else {
            return false;
        };
        let waits = |session: &Session| matches!(session.mode, Mode::Blocked { .. });
        let Some(link) = self.links.get(refused.by) else {
            return false;
        };
        !self.sessions.get(session).is_none_or(waits)
            && link.pipeline.requests().any(|(token, _)| match token {
                Token::Reply { session: of, seat: later, .. }
                | Token::Part { session: of, seat: later, .. } => of == session && later > seat,
                Token::Own(_) => false,
            })
    }

    fn nature_of(&mut self, request: &[u8]) -> Nature {
        let mut nature = Nature { only_reads: false, slot: None };
        let mut parser = Parser::default();
        let Parsed::Complete { .. } = parser.parse(request) else {
            return nature;
        };
        let request = Request { bytes: request, args: parser.args() };
        if let Ok(spec) = self.router.table().check(&request) {
            let spec = self.router.table().spec(spec);
            nature.only_reads = spec.only_reads();
            let place = self.router.place(spec, &request, &mut self.scratch);
            nature.slot = place.ok().flatten().map(|place| place.slot);
        }
        nature
    }

    /// A later command of this session has been executed: what was refused before it, and would
    /// now be executed behind it, is answered with what the shard has said; and so is what was to
    /// be read behind that.
    fn give_up(&mut self, session: SessionId, later: Token, by: LinkId, slot: Option<u16>) {
        for Refused { token, reply, .. } in self.detours.take_waiting(later, by, slot) {
            self.hand_out(session, token, &reply);
        }
    }

    /// Answers a command of this session's with a whole reply that it didn't get by a link.
    pub(super) fn hand_out(&mut self, session: SessionId, token: Token, reply: &[u8]) {
        let held_max = self.reply_held_max();
        self.detours.arrived(token);
        self.stats().error_replies.add(u64::from(reply.starts_with(b"-")));
        match token {
            Token::Reply { seat, .. } => self.fill_seat(session, seat, reply),
            Token::Part { seat, part, .. } => {
                let gathered = self
                    .sessions
                    .get_mut(session)
                    .and_then(|to| to.seats.fill_part(seat, part.into(), reply, true, held_max));
                if let Some(gather) = gathered {
                    self.finish_parts(session, seat, *gather);
                }
            }
            Token::Own(_) => {}
        }
    }

    /// A whole reply is answered with another one in its place.
    pub(super) fn answer_instead(
        &mut self,
        id: LinkId,
        role: Role,
        piece: &Piece<Token>,
        reply: &[u8],
    ) {
        if let Some(link) = self.links.get_mut(id) {
            link.pipeline.done(piece);
        }
        if let Some(session) = piece.token.session() {
            self.hand_out(session, piece.token, reply);
        }
        self.link_replied(id, role, piece.token);
    }

    /// The same with a null array.
    pub(super) fn answer_null(&mut self, id: LinkId, role: Role, piece: &Piece<Token>) {
        let version = piece.token.session().map(|session| self.resp(session)).unwrap_or_default();
        let mut reply = Vec::new();
        write::null_array(&mut reply, version);
        self.answer_instead(id, role, piece, &reply);
    }

    /// The slot that a refused command is about, if that is why: TRYAGAIN is about keys of one
    /// slot, the other errors about a whole server.
    pub(super) fn slot_of_refused(&mut self, request: &[u8], error: &[u8]) -> Option<u16> {
        let about_slot = error.starts_with(b"-TRYAGAIN ");
        about_slot.then(|| self.nature_of(request).slot).flatten()
    }
}
