//! Pins: links that one session has for itself.
//!
//! ```text
//!   session --needs one--> all it is owed has come? --no--> it drains first
//!                             | yes
//!                             v
//!   idle link of its lane, or a new one  = pin  --nothing owed, nothing kept--> idle, or closed
//! ```
//!
//! A transaction, a command that may wait, and a large request need a connection of their own.
//! While a session has a pin on a shard, everything that it says to that shard goes over it: so
//! what it says there keeps its order. It gets the pin only when it is owed nothing, and gives it
//! back only when the pin owes nothing: so neither way can anything of its own be overtaken.

use crate::ids::{LaneId, LinkId, SessionId, ShardId};
use crate::limits;
use crate::pipeline::{Piece, Pipeline};
use crate::resp::{is_command, write};
use crate::text;

use super::dispatch::Served;
use super::link::{Link, Own, Role, Token};
use super::monitor::is_push;
use super::{Engine, Mode, Output, Session, Then};

/// What has become of the wish for a pin.
#[derive(Debug)]
pub(super) enum Pin {
    /// Here it is.
    Link(LinkId),
    /// The session has to wait; then its request is served anew.
    Later,
    /// There is none to be had: the error that says why.
    Refused(String),
}

impl Engine {
    /// The link that a session has for itself on a shard.
    pub(super) fn pin_of(&self, id: SessionId, shard: ShardId) -> Option<LinkId> {
        self.sessions.get(id)?.pin(shard)
    }

    /// A link for the session itself, which stays its own until it is no longer needed.
    pub(super) fn pin(&mut self, id: SessionId, shard: ShardId) -> Pin {
        if let Some(link) = self.pin_of(id, shard) {
            return Pin::Link(link);
        }
        let Some(session) = self.sessions.get_mut(id) else {
            return Pin::Later;
        };
        let lane = session.lane;
        // Who is told of what changes says everything on pins: no shared link owes it anything.
        let owed = !session.is_pushed_to() && !session.seats.is_empty();
        if owed || self.waits_for_shard(id, shard) {
            if let Some(session) = self.sessions.get_mut(id) {
                session.mode = Mode::Draining(Then::Pin(shard));
            }
            return Pin::Later;
        }
        self.give_pin(id, shard, lane).map_or_else(Pin::Refused, Pin::Link)
    }

    /// The same at once, for a command that has been refused elsewhere: what the session has said
    /// before it was said there.
    pub(super) fn pin_now(&mut self, id: SessionId, shard: ShardId) -> Result<LinkId, String> {
        match (self.pin_of(id, shard), self.sessions.get(id).map(|session| session.lane)) {
            (Some(link), _) => Ok(link),
            (None, Some(lane)) => self.give_pin(id, shard, lane),
            (None, None) => Err(String::new()),
        }
    }

    fn give_pin(&mut self, id: SessionId, shard: ShardId, lane: LaneId) -> Result<LinkId, String> {
        let link = self.take_link(shard, lane)?;
        if let Some(taken) = self.links.get_mut(link) {
            taken.owner = Some(id);
        }
        if let Some(session) = self.sessions.get_mut(id) {
            session.pins.push((shard, link));
        }
        self.begin_pushes(id, link);
        Ok(link)
    }

    /// A link of this lane that nobody uses, or a new one.
    fn take_link(&mut self, shard: ShardId, lane: LaneId) -> Result<LinkId, String> {
        let now = self.now;
        let most = self.pinned_max();
        let here = &mut self.shards[shard.index()];
        if let Some(link) = here.lane(lane, now).idle.pop() {
            return Ok(link);
        }
        if !here.is_up() {
            return Err(text::shard_down(&here.name(), here.why()));
        }
        if here.pinned >= most {
            return Err(text::too_many_pinned(&here.name()));
        }
        here.pinned += 1;
        let pipeline = Pipeline::with_unasked(is_push, Token::Own(Own::Push)).keeping();
        Ok(self.open_link(shard, Role::Pinned(lane), pipeline))
    }

    /// This worker's share of the links that may be pinned on one shard.
    pub(super) fn pinned_max(&self) -> usize {
        let share = self.settings.shard_pinned_max / u32::from(self.setup.workers);
        usize::try_from(share.max(1)).unwrap_or(usize::MAX)
    }

    /// Serves a command that may wait: on a connection of the session's own, and the session is
    /// served on when it is answered.
    pub(super) fn block(
        &mut self,
        id: SessionId,
        request: &[u8],
        shard: ShardId,
        writes: bool,
    ) -> Served {
        let link = match self.pin(id, shard) {
            Pin::Link(link) => link,
            Pin::Later => return Served::Later,
            Pin::Refused(text) => {
                self.answer_error(id, &text);
                return Served::Done;
            }
        };
        let mute = self.next_is_mute(id);
        let Some(session) = self.sessions.get_mut(id) else {
            return Served::Done;
        };
        let seat = session.seats.reserve(mute);
        let token = Token::Reply { session: id, seat, writes };
        self.send_by(link, token, |out| out.extend_from_slice(request));
        self.blocks_on(id, link);
        Served::Done
    }

    /// The session waits in the command that it has sent on this link.
    pub(super) fn blocks_on(&mut self, id: SessionId, link: LinkId) {
        // It may be blocked already: what it said before is sent again too, and counts once.
        if let Some(session) = self.sessions.get_mut(id)
            && !matches!(session.mode, Mode::Blocked { .. })
        {
            session.mode = Mode::Blocked { sent: false };
        }
        self.if_blocked(link);
    }

    /// If the session waits in a command on this link, and the link stands, it counts as blocked:
    /// who blocks after it was counted blocks after it at the shard too.
    fn if_blocked(&mut self, id: LinkId) {
        let link = self.links.get(id).filter(|link| link.pipeline.is_ready());
        let owner = link.and_then(|link| link.owner);
        if let Some(session) = owner.and_then(|owner| self.sessions.get_mut(owner))
            && let Mode::Blocked { sent } = &mut session.mode
            && !std::mem::replace(sent, true)
        {
            self.stats().blocked_clients.add(1);
        }
    }

    /// A pin has been greeted.
    pub(super) fn pin_greeted(&mut self, id: LinkId) {
        self.if_blocked(id);
        self.unblock_pin(id);
    }

    /// CLIENT UNBLOCK of a session. Returns whether it is in a command that waits on a shard.
    pub(super) fn unblock_blocked(&mut self, id: SessionId, error: bool) -> bool {
        let Some(session) =
            self.sessions.get(id).filter(|s| matches!(s.mode, Mode::Blocked { .. }))
        else {
            return false;
        };
        // It waits in the last command that it sent on a pin, and sends no other meanwhile.
        let owes = |pin: &LinkId| self.links.get(*pin).is_some_and(|link| link.pipeline.owed() > 0);
        let Some(pin) = session.pins.iter().map(|(_, pin)| *pin).rfind(owes) else {
            return false;
        };
        if let Some(link) = self.links.get_mut(pin) {
            link.unblock = Some(if error { "ERROR" } else { "TIMEOUT" });
        }
        self.unblock_pin(pin);
        true
    }

    /// Unblocks a pin, if that is wished and the shard knows it yet.
    pub(super) fn unblock_pin(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(id).filter(|link| link.pipeline.is_ready()) else {
            return;
        };
        let (Some(reason), Some(client)) = (link.unblock, link.client_id) else {
            return;
        };
        // A server may die of the other word: see `link::RoundReplies`.
        let last = link.pipeline.requests().last();
        let waits = last.is_some_and(|(_, request)| ends_with_null_array(request));
        let reason = if waits { "ERROR" } else { reason };
        link.tainted = true;
        if let Some(control) = self.shards[link.shard.index()].control {
            self.send_own(control, Own::PinUnblocked(id), |out| {
                write::request(out, &["CLIENT", "UNBLOCK", client.to_string().as_str(), reason]);
            });
        }
    }

    /// The shard has answered to CLIENT UNBLOCK. What overtook the command that waits is said
    /// again; if that doesn't help, as when the shard's clients are paused, now and then.
    pub(super) fn pin_unblocked(&mut self, id: LinkId, reply: &[u8]) {
        let Some(link) = self.links.get_mut(id).filter(|_| reply.starts_with(b":0")) else {
            return;
        };
        link.unblocks += 1;
        if link.unblocks < limits::UNBLOCKS_AT_ONCE {
            self.unblock_pin(id);
        }
    }

    /// Says CLIENT UNBLOCK again where it has not helped.
    pub(super) fn sweep_unblocks(&mut self) {
        let late =
            |link: &Link| link.unblock.is_some() && link.unblocks >= limits::UNBLOCKS_AT_ONCE;
        let late: Vec<LinkId> =
            self.links.iter().filter(|(_, link)| late(link)).map(|(id, _)| id).collect();
        for id in late {
            self.unblock_pin(id);
        }
    }

    /// An error by a pin: if it is how a command was ended that was to end as if its time were up,
    /// it is answered so. Returns whether it was.
    pub(super) fn ends_as_timed_out(
        &mut self,
        id: LinkId,
        role: Role,
        piece: &Piece<Token>,
    ) -> bool {
        let Some(link) = self.links.get(id) else {
            return false;
        };
        let error = link.pipeline.bytes(piece).strip_prefix(b"-").unwrap_or_default();
        let is_one = link.unblock == Some("TIMEOUT")
            && error.trim_ascii_end() == text::UNBLOCKED_BY_CLIENT.as_bytes()
            && link.pipeline.front_request().is_some_and(ends_with_null_array);
        if is_one {
            self.answer_null(id, role, piece);
        }
        is_one
    }

    /// Whether a session forwards its large request on this link.
    fn is_uploading_on(&self, id: SessionId, link: LinkId) -> bool {
        let session = self.sessions.get(id);
        session.is_some_and(|session| match &session.mode {
            Mode::Uploading(upload) => upload.link == Some(link),
            _ => false,
        })
    }

    /// The session has changed its lane: the pins that it keeps change with it.
    pub(super) fn move_pins(&mut self, id: SessionId, lane: LaneId) {
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        let key = self.lanes.key(lane);
        for (_, pin) in session.pins.clone() {
            let Some(link) = self.links.get_mut(pin) else { continue };
            let was = link.role.lane().map(|lane| self.lanes.key(lane).db);
            link.role = Role::Pinned(lane);
            if let (Some(login), Some(link)) = (&key.login, self.links.get_mut(pin)) {
                link.silent_since = self.now;
                let token = Token::Own(Own::Entered);
                link.pipeline.send_secret(token, login.request_bytes(), |out| login.write(out));
            }
            let moved = Token::Own(Own::Moved);
            // Behind AUTH, whose refusal it may have to stand for: see `links::write_lane`.
            self.send_by(pin, moved, |out| {
                write::request(out, &["HELLO", key.resp.number().to_string().as_str()]);
            });
            // Who has just logged in may have no right to.
            if was != Some(key.db) {
                self.send_by(pin, moved, |out| {
                    write::request(out, &["SELECT", key.db.to_string().as_str()]);
                });
            }
        }
    }

    /// The session keeps no pin any more: nothing is owed on them that anybody is to hear.
    pub(super) fn drop_pins(&mut self, id: SessionId) {
        let pins = self.sessions.get_mut(id).map(|session| std::mem::take(&mut session.pins));
        for (_, pin) in pins.unwrap_or_default() {
            self.drop_link(pin);
        }
    }

    /// A pin has brought a reply: what waited for it goes on, and the link is given back if it is
    /// not needed any more.
    pub(super) fn pinned_replied(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(id) else {
            return;
        };
        if link.pipeline.owed() > 0 || !link.pipeline.is_ready() {
            return;
        }
        let shard = link.shard;
        (link.unblock, link.unblocks) = (None, 0);
        let Some(owner) = link.owner else {
            return;
        };
        if self.is_uploading_on(owner, id) {
            // The shard has answered before it had the whole request: it can't be spoken to any
            // more.
            self.pin_lost(id, owner);
            return self.drop_link(id);
        }
        self.unblock_session(owner);
        let Some(session) = self.sessions.get_mut(owner) else {
            return;
        };
        if session.keeps_pin(shard) {
            return;
        }
        session.pins.retain(|(_, pin)| *pin != id);
        self.give_back(id);
    }

    /// A session waits no longer in a command.
    fn unblock_session(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(id)
            && let Mode::Blocked { sent } = session.mode
        {
            session.mode = Mode::Serving;
            self.stats().blocked_clients.sub(u64::from(sent));
            // What was refused before it must not be overtaken by what comes after it.
            if self.detours.any_of(id) {
                self.must_drain(id);
            }
            self.touch(id);
        }
    }

    /// Nobody uses this link any more, and it owes nothing.
    fn give_back(&mut self, id: LinkId) {
        let now = self.now;
        let Some(link) = self.links.get_mut(id) else {
            return;
        };
        link.owner = None;
        link.detoured = false;
        let (shard, Role::Pinned(lane), tainted) = (link.shard, link.role, link.tainted) else {
            return;
        };
        let idle = &mut self.shards[shard.index()].lane(lane, now).idle;
        if !tainted && idle.len() < limits::PINNED_IDLE_MAX {
            idle.push(id);
        } else {
            self.drop_link(id);
        }
    }

    /// A pin has died; its replies were filled in already.
    pub(super) fn pin_lost(&mut self, id: LinkId, owner: SessionId) {
        let Some(link) = self.links.get_mut(id) else {
            return;
        };
        link.owner = None;
        let shard = link.shard;
        self.forget_pin(id, shard, owner);
    }

    /// What becomes of a session whose pin on a shard is gone.
    pub(super) fn forget_pin(&mut self, id: LinkId, shard: ShardId, owner: SessionId) {
        self.unblock_session(owner);
        let Some(session) = self.sessions.get_mut(owner) else {
            return;
        };
        session.pins.retain(|(_, pin)| *pin != id);
        if let Mode::Uploading(upload) = &mut session.mode
            && upload.link == Some(id)
        {
            // What is still to come of the request is dropped.
            upload.link = None;
            session.holds.link = false;
        }
        if let Some(transaction) = &mut session.transaction
            && transaction.shard == Some(shard)
        {
            transaction.lost = true;
        }
        self.touch(owner);
        self.invalidate_all(owner, shard);
    }

    /// The session's pins are closed, as if they had been lost. Nothing may be owed on them.
    pub(super) fn lose_pins(&mut self, id: SessionId) {
        let pins = self.sessions.get(id).map(|session| session.pins.clone());
        for (_, pin) in pins.unwrap_or_default() {
            self.pin_lost(pin, id);
            self.drop_link(pin);
        }
    }

    /// Gives back what the session has taken and doesn't need after all.
    pub(super) fn unpin_unneeded(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let (pins, links) = (std::mem::take(&mut session.pins), &self.links);
        let is_needed = |(shard, pin): &(ShardId, LinkId)| {
            let rests = |link: &Link| link.pipeline.is_ready() && link.pipeline.owed() == 0;
            session.keeps_pin(*shard) || !links.get(*pin).is_some_and(rests)
        };
        let (needed, idle): (Vec<_>, Vec<_>) = pins.into_iter().partition(is_needed);
        session.pins = needed;
        for (_, pin) in idle {
            self.give_back(pin);
        }
    }

    /// The session is gone: its pins are given back, or closed if something is still owed on them.
    pub(super) fn unpin_all(&mut self, session: &Session) {
        if matches!(session.mode, Mode::Blocked { sent: true }) {
            self.stats().blocked_clients.sub(1);
        }
        for &(shard, id) in &session.pins {
            let owes = self
                .links
                .get(id)
                .is_none_or(|link| link.pipeline.owed() > 0 || !link.pipeline.is_ready());
            if owes || session.keeps_pin(shard) || matches!(session.mode, Mode::Uploading(_)) {
                self.drop_link(id);
            } else {
                self.give_back(id);
            }
        }
    }

    /// Sends a command by a certain link.
    pub(super) fn send_by(&mut self, id: LinkId, token: Token, write: impl FnOnce(&mut Vec<u8>)) {
        let now = self.now;
        let Some(link) = self.links.get_mut(id) else {
            return;
        };
        let session = token.session();
        if let Some(owner) = link.owner
            && !matches!(token, Token::Own(Own::Tracked | Own::Moved))
            && let Some(tracking) = self.sessions.get_mut(owner).and_then(|s| s.tracking.as_mut())
            && let Some(word) = tracking.caching_word(id)
        {
            link.send(Token::Own(Own::Queued), now, |out| {
                write::request(out, &["CLIENT", "CACHING", word]);
            });
        }
        link.send(token, now, write);
        if let Some(owner) = link.owner.and_then(|owner| self.sessions.get(owner))
            && owner.transaction.as_ref().is_some_and(|transaction| transaction.is_open())
        {
            link.fixed = link.pipeline.end();
        }
        let (full, shard) = (link.is_full(), link.shard);
        if !std::mem::replace(&mut link.flushing, true) {
            self.flushes.push(id);
        }
        let Some(session) = session else {
            return;
        };
        if full {
            link.holding.push(session);
            self.hold_for_link(session);
        }
        self.stats().shards[shard.index()].commands.add(1);
    }

    /// Closes a link of whose replies nobody is to hear.
    pub(super) fn drop_link(&mut self, id: LinkId) {
        if let Some(link) = self.links.remove(id) {
            debug_assert!(link.role != Role::Control);
            match link.role {
                Role::Pinned(_) | Role::Beside(_) => self.shards[link.shard.index()].pinned -= 1,
                Role::Watch(_) | Role::Reader(..) => {
                    self.shards[link.shard.index()].readers.forget_link(id, self.now);
                }
                _ => {}
            }
            if link.opening {
                self.pin_opened(link.shard);
            }
            self.outputs.push_back(Output::CloseLink { link: id });
        }
    }
}

/// Whether a request is one that a stock server ends with a null array when its time is up.
/// Source: redis `blocked.c`, `replyToBlockedClientTimedOut`, for lists, sorted sets and streams.
fn ends_with_null_array(request: &[u8]) -> bool {
    const NAMES: [&str; 10] = [
        "blpop",
        "brpop",
        "blmove",
        "brpoplpush",
        "blmpop",
        "bzpopmin",
        "bzpopmax",
        "bzmpop",
        "xread",
        "xreadgroup",
    ];
    is_command(request, &NAMES)
}
