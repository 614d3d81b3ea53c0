//! CLIENT TRACKING and CLIENT CACHING.
//!
//! ```text
//!   CLIENT TRACKING ON -> every pin of the session, or one, or (BCAST) one on every shard
//!   GET k              -> pin on the shard of k; a new one is told to track first
//!   shard: > invalidate k -> the session, at its place among the replies of that shard
//!   the pin is lost       -> invalidate everything: what the shard would have told is not known
//! ```
//!
//! Which options go together a shard says: the client's own request is sent to it. A session that
//! tracks has a pin on every shard that it talks to, and everything that it says there goes over
//! it, so that nothing is read but what the shard tells about.

use crate::ids::{LinkId, SessionId, ShardId};
use crate::resp::{Request, Version, write};
use crate::route::Plan;
use crate::session::{Tracking, Wish};
use crate::text;

use super::dispatch::{Finish, Served};
use super::link::{Own, Token};
use super::pins::Pin;
use super::{Engine, Level};

/// What a client is told that can't know what has changed.
const INVALIDATE_ALL: &[u8] = b">2\r\n$10\r\ninvalidate\r\n_\r\n";

impl Engine {
    /// `CLIENT TRACKING ON|OFF ...`
    pub(super) fn client_tracking(&mut self, id: SessionId, request: &Request<'_>) -> Served {
        let told = match Tracking::read(request) {
            Wish::On(told) => told,
            Wish::Off => return self.track_no_more(id),
            Wish::Redirect => return self.refuse(id, text::NO_REDIRECT),
            Wish::Invalid => return self.refuse(id, text::SYNTAX),
        };
        if self.must_drain(id) {
            return Served::Later;
        }
        let pins = match self.pins_to_track(id, told.bcast) {
            Ok(pins) => pins,
            Err(served) => return served,
        };
        let Some(session) = self.sessions.get_mut(id) else {
            return Served::Done;
        };
        let told = told.joined_to(session.tracking.as_deref());
        let before = session.tracking.replace(Box::new(told));
        let Some(seat) = self.reserve_parts(id, pins.len(), Finish::Track(before)) else {
            return Served::Done;
        };
        let words: Vec<&[u8]> = (0..request.len()).map(|at| request.arg(at)).collect();
        for (part, pin) in (0u16..).zip(pins) {
            let token = Token::Part { session: id, seat, part, writes: false };
            self.send_by(pin, token, |out| write::request(out, &words));
        }
        // Whether it tracks is known before anything else is served.
        self.must_drain(id);
        Served::Done
    }

    fn refuse(&mut self, id: SessionId, text: &str) -> Served {
        self.answer_error(id, text);
        Served::Done
    }

    /// The pins that are to be told to track; at least one, for its judgement.
    fn pins_to_track(&mut self, id: SessionId, bcast: bool) -> Result<Vec<LinkId>, Served> {
        let pinned = self.sessions.get(id).map(|session| session.pins.clone()).unwrap_or_default();
        let shards: Vec<ShardId> = match pinned.as_slice() {
            _ if bcast => self.map.members().to_vec(),
            [] => vec![self.any_shard()],
            some => some.iter().map(|(shard, _)| *shard).collect(),
        };
        self.pin_all(id, &shards)
    }

    /// A pin on each of these shards; or what becomes of the request if there is none to be had.
    pub(super) fn pin_all(
        &mut self,
        id: SessionId,
        shards: &[ShardId],
    ) -> Result<Vec<LinkId>, Served> {
        let mut pins = Vec::with_capacity(shards.len());
        for &shard in shards {
            match self.pin(id, shard) {
                Pin::Link(link) => pins.push(link),
                Pin::Later => return Err(Served::Later),
                Pin::Refused(text) => {
                    self.unpin_unneeded(id);
                    return Err(self.refuse(id, &text));
                }
            }
        }
        Ok(pins)
    }

    /// All shards that were told to track have answered.
    pub(super) fn finish_tracking(
        &mut self,
        id: SessionId,
        before: Option<Box<Tracking>>,
        parts: &[&[u8]],
        reply: &mut Vec<u8>,
    ) {
        let refused = parts.iter().filter(|part| part.starts_with(b"-")).count();
        let error = parts.iter().find(|part| part.starts_with(b"-"));
        reply.extend_from_slice(error.or(parts.first()).unwrap_or(&b"".as_slice()));
        if refused == 0 {
            return;
        }
        if let Some(session) = self.sessions.get_mut(id) {
            session.tracking = before;
        }
        if refused < parts.len() {
            // Some track as they were told and some don't: all are told anew when next needed.
            self.lose_pins(id);
        } else {
            self.unpin_unneeded(id);
        }
    }

    fn track_no_more(&mut self, id: SessionId) -> Served {
        if self.must_drain(id) {
            return Served::Later;
        }
        let Some(session) = self.sessions.get_mut(id) else {
            return Served::Done;
        };
        if session.tracking.take().is_some() {
            for (_, pin) in session.pins.clone() {
                self.send_by(pin, Token::Own(Own::Tracked), |out| {
                    write::request(out, &["CLIENT", "TRACKING", "OFF"]);
                });
            }
        }
        self.answer(id, |out| write::simple(out, "OK"));
        Served::Done
    }

    /// `CLIENT CACHING YES|NO`. Source: redis `networking.c`, `clientCommand`.
    pub(super) fn client_caching(&mut self, id: SessionId, word: &[u8]) {
        let tracking = self.sessions.get_mut(id).and_then(|s| s.tracking.as_deref_mut());
        let (yes, no) = (word.eq_ignore_ascii_case(b"yes"), word.eq_ignore_ascii_case(b"no"));
        let error = match tracking {
            None => text::CACHING_WITHOUT_TRACKING,
            Some(tracking) if yes && tracking.optin || no && tracking.optout => {
                tracking.caching = Some(Vec::new());
                return self.answer(id, |out| write::simple(out, "OK"));
            }
            Some(_) if yes => text::CACHING_WITHOUT_OPTIN,
            Some(_) if no => text::CACHING_WITHOUT_OPTOUT,
            Some(_) => text::SYNTAX,
        };
        self.answer_error(id, error);
    }

    /// CLIENT CACHING was about the command that has just been served.
    fn end_caching(&mut self, id: SessionId, request: &Request<'_>) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let Some(tracking) = session.tracking.as_deref_mut() else {
            return;
        };
        // A transaction that no key has sent to a shard yet takes it along.
        let waits = session.transaction.as_ref().is_some_and(|t| t.is_open() && t.shard.is_none());
        if !waits && !request.arg(0).eq_ignore_ascii_case(b"client") {
            tracking.caching = None;
        }
    }

    /// `CLIENT TRACKINGINFO`. Source: redis `networking.c`, `clientCommand`.
    pub(super) fn tracking_info(&mut self, id: SessionId) {
        let resp = self.resp(id);
        let redirect = self.redirect(id);
        let tracking = self.sessions.get(id).and_then(|session| session.tracking.as_deref());
        let mut flags = vec![if tracking.is_some() { "on" } else { "off" }];
        let mut prefixes = Vec::new();
        if let Some(tracking) = tracking {
            for (_, name, _) in tracking.options().into_iter().filter(|(set, ..)| *set) {
                flags.push(name);
                match name {
                    "optin" if tracking.caching.is_some() => flags.push("caching-yes"),
                    "optout" if tracking.caching.is_some() => flags.push("caching-no"),
                    _ => {}
                }
            }
            prefixes.extend(tracking.prefixes.iter().cloned());
            // Every key: a stock server tells that as the empty prefix.
            if tracking.bcast && prefixes.is_empty() {
                prefixes.push(Vec::new());
            }
        }
        self.answer(id, |out| {
            write::map(out, resp, 3);
            write::bulk(out, b"flags");
            write::set(out, resp, flags.len());
            flags.iter().for_each(|flag| write::bulk(out, flag.as_bytes()));
            write::bulk(out, b"redirect");
            write::int(out, redirect);
            write::bulk(out, b"prefixes");
            write::array(out, prefixes.len());
            prefixes.iter().for_each(|prefix| write::bulk(out, prefix));
        });
    }

    /// To whom invalidations go, as stock servers number it: 0 means to the client itself, -1 that
    /// it doesn't track.
    pub(super) fn redirect(&self, id: SessionId) -> i64 {
        let tracks = self.sessions.get(id).is_some_and(|session| session.tracking.is_some());
        if tracks { 0 } else { -1 }
    }

    /// Serves a request of a session that tracks or monitors.
    pub(super) fn dispatch_of_pushed(
        &mut self,
        id: SessionId,
        request: &Request<'_>,
        len: usize,
    ) -> Served {
        if let Some(served) = self.barred_by_monitor(id, request) {
            return served;
        }
        if let Err(served) = self.pins_for(id, request) {
            return served;
        }
        let served = self.dispatch_now(id, request, len);
        if served == Served::Done {
            self.end_caching(id, request);
        }
        served
    }

    /// A session that tracks: sees to it that it has a pin on each shard that the request is for.
    /// Otherwise, what has become of the request.
    fn pins_for(&mut self, id: SessionId, request: &Request<'_>) -> Result<(), Served> {
        let shards: Vec<ShardId> = match self.router.plan(request, &mut self.scratch) {
            Plan::One { shard, .. } | Plan::Scan { shard, .. } | Plan::Publish { shard, .. } => {
                vec![shard]
            }
            Plan::Split { parts, .. } => parts.iter().map(|(shard, _)| shard).collect(),
            Plan::All { .. } => self.map.members().to_vec(),
            // These see to their pins themselves, or need none.
            Plan::Blocking { .. }
            | Plan::Transaction { .. }
            | Plan::Beside { .. }
            | Plan::Local { .. }
            | Plan::Error(_) => return Ok(()),
        };
        self.pin_all(id, &shards).map(|_| ())
    }

    /// A session that tracks has a pin more: it is told so.
    pub(super) fn begin_tracking(&mut self, id: SessionId, link: LinkId) {
        let tracking = self.sessions.get(id).and_then(|session| session.tracking.as_deref());
        if let Some(tracking) = tracking {
            let mut words = Vec::new();
            tracking.write(&mut words);
            self.send_by(link, Token::Own(Own::Tracked), |out| out.extend_from_slice(&words));
        }
    }

    /// A pin of a session that tracks is lost: what the shard would have told it, nobody knows.
    pub(super) fn invalidate_all(&mut self, id: SessionId, shard: ShardId) {
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        if session.tracking.is_none() || session.resp != Version::Resp3 {
            return;
        }
        let line = format!(
            "client {} ({}) is told to forget all that it has cached: its connection to {} is gone",
            session.client,
            session.peer.address,
            self.shards[shard.index()].name()
        );
        self.log(Level::Verbose, line);
        self.push(id, INVALIDATE_ALL);
    }
}
