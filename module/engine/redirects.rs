//! A shard says that a command is another's: the client never sees it.
//!
//! ```text
//!   -MOVED 12 h:p     the slot is there          --> sent there; whoever knows the slots is asked
//!   -ASK 12 h:p       this key has gone ahead    --> sent there, behind ASKING
//!   -TRYAGAIN ..      its keys are on both sides  \
//!   -CLUSTERDOWN ..   somebody is being elected     > sent again after a moment
//!   -READONLY ..      it is no primary any more   /
//! ```
//!
//! None of these was executed, so it can be sent again; its bytes are still in the pipeline. What a
//! session says behind it waits until it has been answered, or it could be overtaken. If all of
//! that takes longer than `failover-timeout`, the client is told what the shard has said.
//!
//! Source: redis `cluster.c`, `getNodeByQuery` and `clusterRedirectClient`.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::ids::{LinkId, SessionId, ShardId, Time};
use crate::limits;
use crate::pipeline::Piece;
use crate::resp::{Parsed, Parser, is_command, write};
use crate::session::{SeatNumber, Sent};
use crate::shards::{Address, HashSlot, Kind};
use crate::text;

use super::link::{Own, Role, Token};
use super::readers::cannot_answer;
use super::{Engine, Mode, Then};

/// What a shard's error asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Detour {
    /// `MOVED`
    Moved(HashSlot, Option<Address>),
    /// `ASK`
    Ask(HashSlot, Option<Address>),
    /// `TRYAGAIN`, `CLUSTERDOWN`, `READONLY`: the same again, a little later.
    Later,
}

impl Detour {
    /// What an error reply asks for, if anything. `asked` is where it was asked.
    fn of(reply: &[u8], kind: Kind, asked: Option<&Address>) -> Option<Self> {
        if reply.starts_with(b"-READONLY ") {
            return Some(Self::Later);
        }
        if kind == Kind::Apart {
            return None;
        }
        if reply.starts_with(b"-TRYAGAIN ") || reply.starts_with(b"-CLUSTERDOWN ") {
            return Some(Self::Later);
        }
        let moved = reply.strip_prefix(b"-MOVED ");
        let rest = moved.or_else(|| reply.strip_prefix(b"-ASK "))?;
        let (slot, place) = std::str::from_utf8(rest).ok()?.trim_end().split_once(' ')?;
        let slot = HashSlot::new(slot.parse().ok()?)?;
        let place = address(place, asked);
        Some(if moved.is_some() { Self::Moved(slot, place) } else { Self::Ask(slot, place) })
    }

    /// Whether the reason is a slot that has moved or is moving, and not the server.
    fn is_about_slot(&self, reply: &[u8]) -> bool {
        *self != Self::Later || reply.starts_with(b"-TRYAGAIN ")
    }

    /// What its client is told if it can't be said again; none: what the shard has said.
    fn as_told(&self) -> Option<Vec<u8>> {
        let (Self::Moved(slot, _) | Self::Ask(slot, _)) = self else {
            return None;
        };
        let mut told = Vec::new();
        write::error(&mut told, &text::slot_moves(slot.number()));
        Some(told)
    }
}

/// `host:port`; an IPv6 address has no brackets. Without a host it is the one that was asked. Who
/// doesn't know its host's name says `?`.
fn address(place: &str, asked: Option<&Address>) -> Option<Address> {
    let (host, port) = place.rsplit_once(':')?;
    let host = match (host, asked) {
        ("", Some(Address::Tcp { host, .. })) => host.clone(),
        ("" | "?", _) => return None,
        (host, _) => host.to_owned(),
    };
    Some(Address::Tcp { host, port: port.parse().ok().filter(|port| *port != 0)? })
}

/// A command that has been refused, and its session's claim to an answer.
#[derive(Debug)]
pub(super) struct Refused {
    pub token: Token,
    request: Vec<u8>,
    /// By which link, ...
    pub by: LinkId,
    /// ... with what reply: an error, or what was read too early; ...
    pub reply: Vec<u8>,
    /// ... and about which slot alone.
    slot: Option<u16>,
    /// It is EXEC, of these.
    transaction: Option<(Sent, HashSlot)>,
    /// Its session waits in it: it needs a link of its own.
    blocks: bool,
}

/// One that is sent again later.
#[derive(Debug)]
struct Later {
    at: Time,
    refused: Refused,
    to: To,
}

impl Later {
    fn claim(&self) -> Option<Claim> {
        claim(self.refused.token)
    }
}

/// Where to.
#[derive(Debug, Clone, Copy)]
enum To {
    Shard(ShardId),
    OwnerOf(HashSlot),
}

/// Which part of which reply.
type Claim = (SessionId, SeatNumber, u16);

/// Commands on their way round.
#[derive(Debug, Default)]
pub(super) struct Detours {
    later: Vec<Later>,
    /// Since when each is on its way, and how many shards have refused it.
    under_way: BTreeMap<Claim, Way>,
    /// What an EXEC that was sent is about.
    transactions: HashMap<Claim, Kept>,
}

/// How far one is.
#[derive(Debug, Clone, Copy)]
struct Way {
    since: Time,
    /// How many shards have refused it.
    hops: u32,
    /// To which it was said last, and when; none while it waits to be.
    at: Option<(ShardId, Time)>,
}

impl Way {
    fn new(since: Time, hops: u32) -> Self {
        Self { since, hops, at: None }
    }
}

/// What is known of an EXEC, in case that its slot has moved.
#[derive(Debug)]
enum Kept {
    /// It can be said again, with all that is behind MULTI.
    Whole(Sent, HashSlot),
    /// It can't be: keys are watched where it was said.
    Watching,
}

impl Detours {
    pub(super) fn next_timeout(&self) -> Option<Time> {
        self.later.iter().map(|later| later.at).min()
    }

    /// The map has changed: what waits for that need wait no longer.
    pub(super) fn retry_now(&mut self, now: Time) {
        for later in &mut self.later {
            later.at = now;
        }
    }

    /// Whether anything waits to be said again.
    pub(super) fn any_waits(&self) -> bool {
        !self.later.is_empty()
    }

    /// Whether nobody's command is on another way than its first.
    pub(super) fn is_idle(&self) -> bool {
        self.later.is_empty() && self.under_way.is_empty() && self.transactions.is_empty()
    }

    /// Whether a command waits that this link has refused, and its session had said before `token`.
    pub(super) fn waits_before(&self, token: Token, by: LinkId) -> bool {
        // Others, with thousands waiting, are none of its affair.
        token.session().is_some_and(|session| self.any_of(session))
            && self.later.iter().any(|later| later.refused.is_before(token, by))
    }

    /// These don't wait any longer; of those that are about one slot, only if it is this.
    pub(super) fn take_waiting(
        &mut self,
        token: Token,
        by: LinkId,
        slot: Option<u16>,
    ) -> Vec<Refused> {
        let is_one = |later: &Later| {
            let refused = &later.refused;
            let told = !refused.reply.is_empty();
            let about = refused.slot.is_none() || refused.slot == slot;
            told && about && refused.is_before(token, by)
        };
        let (taken, rest) = std::mem::take(&mut self.later).into_iter().partition(is_one);
        self.later = rest;
        let taken: Vec<Later> = taken;
        taken.into_iter().map(|later| later.refused).collect()
    }

    /// Whether a command may be said to this shard now: what its session has said before, and was
    /// refused too, has been answered or is on its way there, before it.
    fn may_go(&self, token: Token, shard: ShardId) -> bool {
        let Some(claim) = claim(token) else {
            return true;
        };
        let earlier = self.under_way.range((claim.0, 0, 0)..(claim.0, claim.1, 0)).rev();
        // What came before these was looked at when they went.
        earlier
            .take(limits::DETOURS_LOOKED_AT)
            .all(|(_, way)| way.at.is_some_and(|(at, _)| at == shard))
    }

    /// A command is on its way to this shard.
    fn goes(&mut self, token: Token, shard: ShardId, now: Time) {
        if let Some(way) = claim(token).and_then(|claim| self.under_way.get_mut(&claim)) {
            way.at = Some((shard, now));
        }
    }

    /// Whether anything of a session is on its way.
    pub(super) fn any_of(&self, id: SessionId) -> bool {
        self.under_way.range((id, 0, 0)..=(id, SeatNumber::MAX, u16::MAX)).next().is_some()
    }

    /// A command has been answered for good, or its session is gone.
    pub(super) fn arrived(&mut self, token: Token) {
        if (!self.under_way.is_empty() || !self.transactions.is_empty())
            && let Some(claim) = claim(token)
        {
            self.under_way.remove(&claim);
            self.transactions.remove(&claim);
        }
    }

    /// A session is gone.
    pub(super) fn forget(&mut self, id: SessionId) {
        let is_other = |claim: &Claim| claim.0 != id;
        self.under_way.retain(|claim, _| is_other(claim));
        self.transactions.retain(|claim, _| is_other(claim));
        self.later.retain(|later| later.refused.token.session() != Some(id));
    }
}

impl Refused {
    /// One that stands for itself.
    fn plain(token: Token, request: Vec<u8>, by: LinkId) -> Self {
        let (reply, slot) = (Vec::new(), None);
        Self { token, request, by, reply, slot, transaction: None, blocks: false }
    }

    fn is_before(&self, token: Token, by: LinkId) -> bool {
        let (Some(own), Some(other)) = (claim(self.token), claim(token)) else {
            return false;
        };
        self.by == by && own.0 == other.0 && own.1 < other.1
    }
}

fn claim(token: Token) -> Option<Claim> {
    match token {
        Token::Reply { session, seat, .. } => Some((session, seat, 0)),
        Token::Part { session, seat, part, .. } => Some((session, seat, part)),
        Token::Own(_) => None,
    }
}

impl Engine {
    /// A link has brought an error. If the command is to be sent elsewhere, or again, that is done;
    /// if what it says is meant for clients of a cluster only, its client is told something else.
    /// Returns whether it was one of these.
    pub(super) fn is_passed_over(&mut self, id: LinkId, role: Role, piece: &Piece<Token>) -> bool {
        if piece.token.session().is_none() || !(piece.first && piece.last) {
            return false;
        }
        if matches!(role, Role::Reader(..)) {
            return self.asks_primary(id, piece);
        }
        if matches!(role, Role::Pinned(_)) && self.ends_as_timed_out(id, role, piece) {
            return true;
        }
        self.key_strayed(id, piece);
        if self.takes_detour(id, role, piece) {
            return true;
        }
        let Some(link) = self.links.get_mut(id) else {
            return false;
        };
        let detour = Detour::of(link.pipeline.bytes(piece), self.map.kind(), None);
        let Some(told) = detour.and_then(|detour| detour.as_told()) else {
            return false;
        };
        self.answer_instead(id, role, piece, &told);
        true
    }

    /// A replica that can't answer a read: the primary is asked.
    fn asks_primary(&mut self, id: LinkId, piece: &Piece<Token>) -> bool {
        let kind = self.map.kind();
        let Some(link) = self.links.get_mut(id) else {
            return false;
        };
        let (shard, token) = (link.shard, piece.token);
        if !cannot_answer(link.pipeline.bytes(piece), kind) {
            return false;
        }
        let lane = token.session().and_then(|session| self.sessions.get(session)).map(|s| s.lane);
        let (Some(lane), Some(request)) = (lane, link.pipeline.front_request()) else {
            return false;
        };
        let request = request.to_vec();
        link.pipeline.done(piece);
        self.send_on(shard, lane, token, |out| out.extend_from_slice(&request));
        true
    }

    fn takes_detour(&mut self, id: LinkId, role: Role, piece: &Piece<Token>) -> bool {
        let kind = self.map.kind();
        let now = self.now;
        let Some(link) = self.links.get_mut(id) else {
            return false;
        };
        let (shard, token) = (link.shard, piece.token);
        if !matches!(role, Role::Shared(_) | Role::Pinned(_)) {
            return false;
        }
        let asked = self.shards[shard.index()].address.as_ref();
        let reply = link.pipeline.bytes(piece);
        let undone = std::mem::take(&mut link.detoured) && reply.starts_with(b"-EXECABORT ");
        let Some(detour) = Detour::of(reply, kind, asked).or(undone.then_some(Detour::Later))
        else {
            return false;
        };
        let (Some(session), Some(claim)) = (token.session(), claim(token)) else {
            return false;
        };
        let Some(asker) = self.sessions.get(session) else {
            return false;
        };
        let (Some(end), Some(request)) = (link.pipeline.front_end(), link.pipeline.front_request())
        else {
            return false;
        };
        // What is or was queued in a transaction is no command of its own. Where slots don't move,
        // it is the shard's to say; nor is it known there in which of two transactions it was.
        let queued = end <= link.fixed && (kind == Kind::Apart || link.queued_from < end);
        let is_open = asker.transaction.as_ref().is_some_and(|transaction| transaction.is_open());
        if queued && (kind == Kind::Apart || !is_open) {
            return false;
        }
        if queued || is_command(request, &["watch"]) {
            return self.transaction_moves(id, role, piece, queued);
        }
        let transaction = match self.detours.transactions.remove(&claim) {
            Some(Kept::Watching) if detour.is_about_slot(reply) => {
                return self.watched_has_moved(id, role, piece);
            }
            Some(Kept::Whole(sent, slot)) => Some((sent, slot)),
            Some(Kept::Watching) | None if is_command(request, &["exec"]) => return false,
            Some(Kept::Watching) | None => None,
        };
        let blocks = matches!(asker.mode, Mode::Blocked { .. });
        let request = request.to_vec();
        let reply = link.pipeline.bytes(piece).to_vec();
        let way = self.detours.under_way.get(&claim).copied().unwrap_or(Way::new(now, 0));
        let hops = way.hops;
        // The time in which its session waited in it, as it is to, was none on its way.
        let patience = self.settings.failover_timeout;
        let waited = way.at.filter(|(_, at)| blocks && now.since(*at) >= patience / 4);
        let since = if waited.is_some() { now } else { way.since };
        if now.since(since) >= patience {
            self.detours.under_way.remove(&claim);
            return false;
        }
        self.detours.under_way.insert(claim, Way::new(since, hops + 1));
        link.pipeline.done(piece);
        let slot = self.slot_of_refused(&request, &reply);
        let reply = detour.as_told().unwrap_or(reply);
        let refused = Refused { token, request, by: id, reply, slot, transaction, blocks };
        self.stats().commands_redirected.add(1);
        if matches!(role, Role::Pinned(_)) {
            self.pinned_replied(id);
        }
        self.waits_for_detour(session, shard, &detour);
        self.detour(refused, detour, shard, hops);
        true
    }

    /// A command of the session is on its way round, perhaps because its slot has left the shard:
    /// what the session says next is not to overtake it, and what it watches there has changed.
    fn waits_for_detour(&mut self, id: SessionId, shard: ShardId, detour: &Detour) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if matches!(session.mode, Mode::Serving) {
            session.mode = Mode::Draining(Then::Serve);
        }
        if let Some(transaction) = &mut session.transaction {
            let here = transaction.watching && transaction.shard == Some(shard);
            let left = match detour {
                Detour::Moved(slot, _) | Detour::Ask(slot, _) => Some(slot.number()),
                Detour::Later => None,
            };
            transaction.lost |= here && left.is_some() && left == transaction.slot;
        }
    }

    // ---------------------------------------------------------------- transactions

    /// A command between MULTI and EXEC (`queued`), or WATCH, whose slot is another shard's by now.
    /// Nothing has been executed, so EXEC says all of it again there; if keys are watched, it
    /// answers as if they had changed.
    fn transaction_moves(
        &mut self,
        id: LinkId,
        role: Role,
        piece: &Piece<Token>,
        queued: bool,
    ) -> bool {
        let Token::Reply { session, seat, .. } = piece.token else {
            return false;
        };
        let Some(link) = self.links.get_mut(id) else {
            return false;
        };
        let shard = link.shard;
        link.pipeline.done(piece);
        let transaction = self.sessions.get_mut(session).and_then(|s| s.transaction.as_mut());
        if let Some(transaction) = transaction {
            match &mut transaction.queue {
                Some(queue) if queued && queue.sent.is_some() => queue.moved = true,
                _ => transaction.lost = true,
            }
        }
        let reply = if queued { b"+QUEUED\r\n".as_slice() } else { b"+OK\r\n" };
        self.fill_seat(session, seat, reply);
        self.doubt(shard);
        self.link_replied(id, role, piece.token);
        true
    }

    /// EXEC was refused because its slot has moved, or is on its way. What was watched is there no
    /// more, so it has changed.
    fn watched_has_moved(&mut self, id: LinkId, role: Role, piece: &Piece<Token>) -> bool {
        if let Some(shard) = self.links.get(id).map(|link| link.shard) {
            self.doubt(shard);
        }
        self.answer_null(id, role, piece);
        true
    }

    /// What an EXEC that is about to be sent is made of, in case it must be said again; and if it
    /// can't be, whether that is because keys are watched.
    pub(super) fn keep_for_detour(
        &mut self,
        token: Token,
        sent: Option<(Sent, HashSlot)>,
        watching: bool,
    ) {
        let kept = match sent {
            Some((sent, slot)) => Kept::Whole(sent, slot),
            None if watching && self.map.kind() == Kind::Cluster => Kept::Watching,
            None => return,
        };
        if let Some(claim) = claim(token) {
            self.detours.transactions.insert(claim, kept);
        }
    }

    /// Says a whole transaction again, where its slot is.
    pub(super) fn say_again(&mut self, token: Token, by: LinkId, sent: Sent, slot: HashSlot) {
        let Some(claim) = claim(token) else {
            return;
        };
        let now = self.now;
        self.detours.under_way.insert(claim, Way::new(now, 1));
        let refused =
            Refused { transaction: Some((sent, slot)), ..Refused::plain(token, EXEC.to_vec(), by) };
        self.detours.later.push(Later { at: now, refused, to: To::OwnerOf(slot) });
    }

    fn send_queue(&mut self, link: LinkId, sent: &Sent) {
        let token = Token::Own(Own::Queued);
        self.send_by(link, token, |out| write::request(out, &["MULTI"]));
        let (mut rest, mut parser) = (sent.requests.as_slice(), Parser::default());
        for _ in 0..sent.count {
            let Parsed::Complete { len } = parser.parse(rest) else {
                return;
            };
            let (request, others) = rest.split_at(len);
            self.send_by(link, token, |out| out.extend_from_slice(request));
            rest = others;
        }
    }

    /// What was sent in a transaction for which no client waits has been answered.
    pub(super) fn queued_elsewhere(&mut self, id: LinkId, reply: &[u8]) {
        let kind = self.map.kind();
        if let Some(link) = self.links.get_mut(id) {
            link.detoured |= Detour::of(reply, kind, None).is_some();
        }
    }

    // ---------------------------------------------------------------- again

    fn detour(&mut self, refused: Refused, detour: Detour, from: ShardId, hops: u32) {
        if !matches!(detour, Detour::Ask(..)) {
            self.doubt(from);
        }
        if let Some((_, slot)) = refused.transaction {
            return self.send_later(refused, To::OwnerOf(slot));
        }
        let asks = matches!(detour, Detour::Ask(..));
        let (Detour::Moved(slot, place) | Detour::Ask(slot, place)) = detour else {
            return self.send_later(refused, To::Shard(from));
        };
        let straight = |shard: &ShardId| {
            hops < limits::DETOURS_AT_ONCE
                && self.detours.may_go(refused.token, *shard)
                && (!asks || self.shards[shard.index()].is_up())
        };
        let there = place.and_then(|place| self.map.shard_at(&place)).filter(straight);
        match there {
            Some(shard) => self.send_again(refused, shard, asks),
            None => self.send_later(refused, To::OwnerOf(slot)),
        }
    }

    /// What is known of a shard may be true no longer: it is asked, and whoever knows the slots.
    fn doubt(&mut self, shard: ShardId) {
        let now = self.now;
        self.look_again();
        let shard = &mut self.shards[shard.index()];
        if shard.is_up() {
            shard.poll_at = shard.poll_at.min(now);
        }
    }

    fn send_later(&mut self, refused: Refused, to: To) {
        // A hundred tries, however long they may take.
        let pause = limits::DETOUR_PAUSE.max(self.settings.failover_timeout / 100);
        let at = self.now + pause;
        self.detours.later.push(Later { at, refused, to });
    }

    /// A command is said again, though it was not refused: behind one that was.
    pub(super) fn say_behind(
        &mut self,
        token: Token,
        request: Vec<u8>,
        by: LinkId,
        reply: Vec<u8>,
        shard: ShardId,
    ) {
        let now = self.now;
        if let Some(claim) = claim(token) {
            self.detours.under_way.entry(claim).or_insert(Way::new(now, 0)).at = None;
        }
        self.stats().commands_redirected.add(1);
        let refused = Refused { reply, ..Refused::plain(token, request, by) };
        self.send_later(refused, To::Shard(shard));
    }

    pub(super) fn detours_timer(&mut self) {
        let now = self.now;
        if self.detours.next_timeout().is_none_or(|at| now < at) {
            return;
        }
        let (due, later) =
            std::mem::take(&mut self.detours.later).into_iter().partition(|later| now >= later.at);
        self.detours.later = later;
        let mut due: Vec<Later> = due;
        due.sort_by_key(|later| claim(later.refused.token).map(|claim| claim.1));
        // What has nothing behind it.
        let mut last = HashSet::new();
        for later in due {
            let Some((session, ..)) = later.claim() else { continue };
            let Later { refused, to, .. } = later;
            let shard = match to {
                To::Shard(shard) => shard,
                To::OwnerOf(slot) => self.map.shard_of(slot),
            };
            let road = (session, refused.by);
            if !self.detours.may_go(refused.token, shard)
                || (!last.contains(&road) && self.is_followed(&refused))
            {
                self.send_later(refused, to);
            } else {
                last.insert(road);
                self.send_again(refused, shard, false);
            }
        }
    }

    /// Whether a command has been on its way for as long as it may.
    fn is_late(&self, token: Token) -> bool {
        let since = claim(token).and_then(|claim| self.detours.under_way.get(&claim));
        since.is_none_or(|way| self.now.since(way.since) >= self.settings.failover_timeout)
    }

    fn send_again(&mut self, refused: Refused, shard: ShardId, asking: bool) {
        let Some(id) = refused.token.session() else {
            return;
        };
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        let lane = session.lane;
        // A session that is told of changes says everything on links of its own.
        let pinned = refused.blocks || refused.transaction.is_some() || session.is_pushed_to();
        if pinned && !self.shards[shard.index()].is_up() && !self.is_late(refused.token) {
            let slot = refused.transaction.as_ref().map(|(_, slot)| *slot);
            return self.send_later(refused, slot.map_or(To::Shard(shard), To::OwnerOf));
        }
        let link = if pinned {
            match self.pin_now(id, shard) {
                Ok(link) => Some(link),
                Err(text) => return self.fail_command(refused.token, text.as_bytes()),
            }
        } else {
            // Between MULTI and EXEC its own connection would queue it.
            let pin = self.pin_of(id, shard).filter(|_| !self.is_in_multi(id));
            pin.or_else(|| self.shared_link(shard, lane))
        };
        if link.is_none() && asking {
            return self.send_later(refused, To::Shard(shard));
        }
        let Refused { token, request, transaction, blocks, .. } = refused;
        self.detours.goes(token, shard, self.now);
        let Some(link) = link else {
            return self.send_on(shard, lane, token, |out| out.extend_from_slice(&request));
        };
        if asking {
            self.send_by(link, Token::Own(Own::Queued), |out| write::request(out, &["ASKING"]));
        }
        if let Some((sent, slot)) = transaction {
            self.send_queue(link, &sent);
            self.keep_for_detour(token, Some((sent, slot)), false);
        }
        self.send_by(link, token, |out| out.extend_from_slice(&request));
        if blocks {
            self.blocks_on(id, link);
        }
    }
}

const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_not_executed_is_sent_again() {
        let asked: Address = "10.0.0.1:7000".parse().unwrap();
        let of = |reply: &str| Detour::of(reply.as_bytes(), Kind::Cluster, Some(&asked));
        let slot = |number| HashSlot::new(number).unwrap();
        let at = |text: &str| Some(text.parse::<Address>().unwrap());
        assert_eq!(
            of("-MOVED 12 1.1.1.1:6379\r\n"),
            Some(Detour::Moved(slot(12), at("1.1.1.1:6379")))
        );
        assert_eq!(of("-ASK 12 :6379\r\n"), Some(Detour::Ask(slot(12), at("10.0.0.1:6379"))));
        assert_eq!(of("-ASK 12 ::1:6379\r\n"), Some(Detour::Ask(slot(12), at("[::1]:6379"))));
        assert_eq!(of("-MOVED 12 ?:6379\r\n"), Some(Detour::Moved(slot(12), None)));
        assert_eq!(
            of("-TRYAGAIN Multiple keys request during rehashing of slot\r\n"),
            Some(Detour::Later)
        );
        assert_eq!(
            of("-READONLY You can't write against a read only replica.\r\n"),
            Some(Detour::Later)
        );
        for other in
            ["-MOVED\r\n", "-MOVED 16384 h:1\r\n", "-ERR MOVED 1 h:1\r\n", "-WRONGTYPE x\r\n"]
        {
            assert_eq!(of(other), None, "{other}");
        }
        let apart = |reply: &str| Detour::of(reply.as_bytes(), Kind::Apart, None);
        assert_eq!(apart("-MOVED 12 1.1.1.1:6379\r\n"), None);
        assert_eq!(apart("-READONLY x\r\n"), Some(Detour::Later));
    }
}
