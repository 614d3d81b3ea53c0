//! A link's bytes become replies, each for the seat that its token names.

use crate::ids::{LinkId, SessionId, ShardId, Time};
use crate::limits;
use crate::pipeline::{Fate, Piece};
use crate::resp::write;
use crate::text;

use super::link::{Own, Pause, Role, Token, TooMuch};
use super::readers::is_refusal;
use super::serve::out_of;
use super::{Engine, Level, Output};

impl Engine {
    pub(super) fn link_read(&mut self, id: LinkId, bytes: usize) {
        self.stats().shard_net_input_bytes.add(bytes as u64);
        let now = self.now;
        let Some(link) = self.links.get_mut(id) else {
            return;
        };
        link.silent_since = now;
        link.pipeline.filled(bytes);
        self.read_replies(id);
        self.release_if_room(id);
    }

    pub(super) fn link_wrote(&mut self, id: LinkId, bytes: usize) {
        self.stats().shard_net_output_bytes.add(bytes as u64);
        let Some(link) = self.links.get_mut(id) else {
            return;
        };
        link.pipeline.wrote(bytes);
        self.release_if_room(id);
    }

    /// Lets the sessions go on that a link's backlog had stopped, if it has shrunk.
    fn release_if_room(&mut self, id: LinkId) {
        let Some(link) = self.links.get(id).filter(|link| !link.holding.is_empty()) else {
            return;
        };
        if link.pipeline.backlog() <= limits::LINK_BACKLOG_HIGH / 2
            && link.pipeline.kept() <= limits::LINK_KEPT_HIGH / 2
        {
            self.release_held(id);
        }
    }

    /// Lets the sessions go on that a link's backlog had stopped.
    pub(super) fn release_held(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(id) else {
            return;
        };
        for session in std::mem::take(&mut link.holding) {
            if let Some(held) = self.sessions.get_mut(session) {
                held.holds.link = false;
            }
            self.touch(session);
        }
    }

    /// Hands out the replies that a link has brought, until there is none, or the client whose
    /// reply is next has no room for it.
    pub(super) fn read_replies(&mut self, id: LinkId) {
        let held_max = self.reply_held_max();
        loop {
            self.hand_out_whole(id);
            if !self.may_read_on(id) {
                return;
            }
            let mut errors = 0;
            let Some(link) = self.links.get_mut(id) else {
                return;
            };
            let piece = match link.pipeline.next_piece() {
                Ok(Some(piece)) => piece,
                Ok(None) => return,
                Err(_) => {
                    self.stats().shard_protocol_errors.add(1);
                    self.reject_link(id, "it sent what is no reply, or one that nobody asked for");
                    return;
                }
            };
            let (shard, role) = (link.shard, link.role);
            if let (Role::Shared(lane), true, false) = (role, piece.first, piece.last) {
                self.relieve(id, shard, lane);
            }
            let Some(link) = self.links.get_mut(id) else {
                return;
            };
            let bytes = link.pipeline.bytes(&piece);
            if is_refusal(bytes, role, self.map.kind()) && self.is_passed_over(id, role, &piece) {
                continue;
            }
            if self.detours.any_waits() && self.is_out_of_turn(id, role, &piece) {
                continue;
            }
            if piece.last {
                self.detours.arrived(piece.token);
            }
            let Some(link) = self.links.get_mut(id) else {
                return;
            };
            let bytes = link.pipeline.bytes(&piece);
            match piece.token {
                Token::Reply { session, seat, writes } => {
                    if let Some(to) = self.sessions.get_mut(session) {
                        let out = out_of(&mut to.out, &mut self.memory);
                        to.seats.fill(seat, bytes, piece.last, held_max, out);
                        errors += u64::from(piece.first && bytes.starts_with(b"-"));
                        if piece.last && writes {
                            to.marks.wrote(shard, &self.shards[shard.index()].acks);
                        }
                        if !to.touched {
                            to.touched = true;
                            self.touched.push(session);
                        }
                    }
                    link.pipeline.done(&piece);
                }
                Token::Part { .. } => self.part_piece(id, &piece),
                Token::Own(Own::Message) => self.message(id, &piece),
                Token::Own(Own::Push) => self.pushed(id, &piece),
                Token::Own(own) => self.own_piece(id, own, &piece),
            }
            if errors > 0 {
                self.stats().error_replies.add(errors);
            }
            if piece.last {
                self.link_replied(id, role, piece.token);
            }
        }
    }

    /// Hands out replies as long as they are what nearly all are: whole, short, no errors, by a
    /// shared link, to clients that have room for them, and no command is on a detour. It does what
    /// [`Engine::read_replies`] does for such, which goes on with whatever else comes.
    fn hand_out_whole(&mut self, id: LinkId) {
        let held_max = self.reply_held_max();
        let Self { links, sessions, shards, memory, touched, detours, .. } = self;
        let Some(link) = links.get_mut(id) else {
            return;
        };
        if !matches!(link.role, Role::Shared(_)) || link.pause.is_some() || !detours.is_idle() {
            return;
        }
        let shard = link.shard;
        let acks = &shards[shard.index()].acks;
        while let Some((token, bytes)) = link.pipeline.next_whole() {
            let Token::Reply { session, seat, writes } = token else {
                break;
            };
            let length = bytes.len();
            if let Some(to) = sessions.get_mut(session) {
                if !to.seats.is_front(seat) && to.seats.held_bytes() > held_max / 2 {
                    break;
                }
                to.seats.fill(seat, bytes, true, held_max, out_of(&mut to.out, memory));
                if writes {
                    to.marks.wrote(shard, acks);
                }
                if !to.touched {
                    to.touched = true;
                    touched.push(session);
                }
            }
            link.pipeline.took_whole(length);
        }
        link.pipeline.let_go_answered();
    }

    /// A piece of the reply to one part of a client's command.
    fn part_piece(&mut self, id: LinkId, piece: &Piece<Token>) {
        let held_max = self.reply_held_max();
        let (Some(link), Token::Part { session, seat, part, writes }) =
            (self.links.get_mut(id), piece.token)
        else {
            return;
        };
        let bytes = link.pipeline.bytes(piece);
        let gathered = self.sessions.get_mut(session).and_then(|to| {
            if piece.last && writes {
                to.marks.wrote(link.shard, &self.shards[link.shard.index()].acks);
            }
            to.seats.fill_part(seat, part.into(), bytes, piece.last, held_max)
        });
        link.pipeline.done(piece);
        if let Some(gather) = gathered {
            self.finish_parts(session, seat, *gather);
        }
    }

    /// A piece of the reply to a question of the engine's: it is gathered until it is whole.
    fn own_piece(&mut self, id: LinkId, own: Own, piece: &Piece<Token>) {
        let Some(link) = self.links.get_mut(id) else {
            return;
        };
        link.own_reply.extend_from_slice(link.pipeline.bytes(piece));
        link.pipeline.done(piece);
        if link.own_reply.len() > limits::OWN_REPLY_BYTES_MAX {
            self.reject_link(id, "its answer to a question of Weir's is too large");
        } else if piece.last {
            let reply = std::mem::take(&mut link.own_reply);
            self.own_reply(id, own, &reply);
        }
    }

    /// A link has brought a whole reply: perhaps nobody needs it any more, or others need it now.
    pub(super) fn link_replied(&mut self, id: LinkId, role: Role, token: Token) {
        match (role, token) {
            (_, Token::Own(Own::Push)) => {}
            (Role::Pinned(_), _) => self.pinned_replied(id),
            (Role::Beside(_), _) => self.beside_replied(id),
            (Role::Shared(lane), _) => self.relief_ready(id, lane),
            _ => {}
        }
    }

    /// Whether the next piece of a reply on a link may be handed out. If there is no room for it,
    /// the link is not read on until there is.
    fn may_read_on(&mut self, id: LinkId) -> bool {
        let held_max = self.reply_held_max();
        let Some(link) = self.links.get_mut(id) else {
            return false;
        };
        if link.pause.is_some() {
            return false;
        }
        let Some(Token::Reply { session, seat, .. }) = link.pipeline.next_token() else {
            return true;
        };
        let Some(to) = self.sessions.get_mut(session) else {
            return true;
        };
        let of = if to.seats.is_front(seat) {
            let full = to.out.len() > limits::REPLY_OUTPUT_HIGH;
            (full && link.pipeline.is_streaming()).then_some(TooMuch::Output)
        } else {
            let full = to.seats.held_bytes() > held_max / 2;
            (full && !to.pressing).then_some(TooMuch::Held(seat))
        };
        let Some(of) = of else {
            return true;
        };
        to.pausing = true;
        link.pause = Some(Pause { session, of, since: self.now });
        self.outputs.push_back(Output::ReadLink { link: id, on: false });
        false
    }

    /// Something has left of what a session is owed, or the session is gone: the links that it had
    /// stopped are read on, if there is room now.
    pub(super) fn unpause_links(&mut self, session: SessionId) {
        let held_max = self.reply_held_max();
        let Self { sessions, links, .. } = self;
        let to = sessions.get(session);
        let room = |of: TooMuch| match (to, of) {
            (None, _) => true,
            (Some(to), TooMuch::Output) => to.out.len() <= limits::REPLY_OUTPUT_HIGH / 2,
            (Some(to), TooMuch::Held(seat)) => {
                to.pressing || to.seats.is_front(seat) || to.seats.held_bytes() <= held_max / 4
            }
        };
        let of_session = links.iter().filter_map(|(id, link)| Some((id, link.pause?)));
        let (free, stuck): (Vec<_>, Vec<_>) = of_session
            .filter(|(_, pause)| pause.session == session)
            .partition(|(_, pause)| room(pause.of));
        if let Some(to) = self.sessions.get_mut(session) {
            to.pausing = !stuck.is_empty();
        }
        for (id, _) in free {
            if let Some(link) = self.links.get_mut(id) {
                link.pause = None;
            }
            self.outputs.push_back(Output::ReadLink { link: id, on: true });
            self.read_replies(id);
        }
    }

    /// Tells the owner of a command, whose connection died, what may be said of it.
    pub(super) fn broken_command(&mut self, token: Token, fate: Fate, shard: ShardId, why: &str) {
        if let Token::Own(Own::Right { lane, local }) = token {
            return self.right_lost(lane, local);
        }
        let name = self.shards[shard.index()].name();
        let text = match fate {
            Fate::Unknown => text::unknown_outcome(&name, why),
            Fate::Unfinished => text::cut_off(&name, why),
        };
        let (Token::Reply { session, writes, .. } | Token::Part { session, writes, .. }) = token
        else {
            return;
        };
        if fate == Fate::Unknown {
            self.stats().commands_unknown_outcome.add(1);
            if let (true, Some(session)) = (writes, self.sessions.get_mut(session)) {
                // It may have been executed and lost since: no WAIT may count it as held.
                session.marks.lost(shard);
            }
        }
        self.fail_command(token, text.as_bytes());
    }

    /// Answers a command with an error in the shard's stead.
    pub(super) fn fail_command(&mut self, token: Token, text: &[u8]) {
        if let Token::Own(own) = token {
            if let Own::Right { lane, local } = own {
                self.right_lost(lane, local);
            }
            return;
        }
        self.detours.arrived(token);
        self.stats().error_replies.add(1);
        let mut reply = Vec::new();
        write::error_bytes(&mut reply, text);
        match token {
            Token::Reply { session, seat, .. } => {
                let Some(to) = self.sessions.get_mut(session) else {
                    return;
                };
                if to.seats.is_torn(seat) {
                    let line = format!(
                        "client {} ({}) has got the begin of a reply whose end is lost with its \
                         shard: closed",
                        to.client, to.peer.address
                    );
                    self.log(Level::Warning, line);
                    self.close_session(session, false);
                    return;
                }
                to.seats.replace(seat, &reply, to.out.end());
                self.touch(session);
            }
            Token::Part { session, seat, part, .. } => {
                let gathered = self
                    .sessions
                    .get_mut(session)
                    .and_then(|to| to.seats.replace_part(seat, part.into(), &reply));
                if let Some(gather) = gathered {
                    self.finish_parts(session, seat, *gather);
                }
            }
            Token::Own(_) => {}
        }
    }

    fn own_reply(&mut self, id: LinkId, own: Own, reply: &[u8]) {
        match own {
            Own::Entered if self.links.get(id).is_some_and(|l| l.pipeline.is_ready()) => {
                if reply != b"+OK\r\n" {
                    self.reject_link(id, "it refuses a client's login");
                }
            }
            Own::Login | Own::Named | Own::Id | Own::Greeting | Own::Entered | Own::Lane => {
                self.greeting_reply(id, own, reply);
            }
            Own::Commands => self.shard_commands(id, reply),
            Own::Barrier | Own::Acked | Own::RoundReport => self.round_reply(id, own, reply),
            Own::Poll { number } => self.poll_reply(id, number, reply),
            Own::Word(word) => self.word_reply(id, word, reply),
            Own::Moved if reply.starts_with(b"-") => {
                self.reject_link(id, "it refuses a client that changes its user or database");
            }
            Own::Queued => self.queued_elsewhere(id, reply),
            Own::PinUnblocked(pin) => self.pin_unblocked(pin, reply),
            Own::Right { lane, local } => self.right_reply(lane, local, reply),
            Own::Left => self.left_door(id),
            Own::Watched => self.watched(id, reply),
            Own::Told(question) => self.told(id, question, reply),
            Own::Tidings => self.tidings(),
            Own::Tracked if reply.starts_with(b"-") => {
                self.reject_link(id, "it no longer lets a client track what it reads");
            }
            Own::Unblocked(tracker) => self.tracker_unblocked(tracker),
            Own::Moved | Own::Tracked | Own::Ping | Own::Message | Own::Push => {}
        }
    }

    /// How long ago the link began to owe us something without a byte since; none if it owes
    /// nothing.
    pub(super) fn silence(&self, id: LinkId) -> Option<Time> {
        let link = self.links.get(id)?;
        (link.pipeline.owed() > 0).then_some(link.silent_since)
    }
}
