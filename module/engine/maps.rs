//! The shard map changes: a primary is elsewhere, slots have moved, a shard has come or gone.
//!
//! ```text
//!   scouts (worker 0) --Mail::Map--> every engine:   primary elsewhere -> links closed, opened there
//!                                                    slots moved       -> marks follow, sessions drain
//!                                                    shard new, gone   -> a place more, an empty one
//! ```
//!
//! A map is never changed: the engine is given another. What was sent on the old map is still
//! answered by whom it was sent to; so a session that is owed something is served on only when it
//! has come, or what it says next could overtake what it said before.

use std::sync::Arc;

use crate::acks::Proof;
use crate::ids::{SessionId, ShardId};
use crate::resp::Request;
use crate::route::Plan;
use crate::shards::ShardMap;
use crate::stats::ShardState;
use crate::text;

use super::dispatch::Served;
use super::shard::{Shard, State};
use super::{Engine, Level};

/// What a shard is when the cluster knows no primary of it any more.
const GONE: &str = "it is no part of the cluster any more";

impl Engine {
    /// Another map holds from now on.
    pub(super) fn map_changed(&mut self, map: Arc<ShardMap>) {
        if *map == *self.map {
            return;
        }
        let was_known = self.knows_shards();
        for (id, shard) in map.shards().skip(self.shards.len()) {
            self.shards.push(Shard::new(id, shard, self.now));
            self.stats().shards[id.index()].state.set(ShardState::Connecting as u64);
        }
        self.stats().known_shards.set(map.len() as u64);
        let moves = self.map.moves_to(&map);
        self.map = Arc::clone(&map);
        self.router = Arc::new(self.router.over(Arc::clone(&map)));
        for (id, shard) in map.shards() {
            let here = &mut self.shards[id.index()];
            here.slots = shard.slots_text();
            here.master.clone_from(&shard.master);
            if here.address != shard.address {
                self.primary_moved(id, shard.address.clone());
            }
        }
        let left = |id: &ShardId| self.shards[id.index()].is_gone();
        for gone in map.shards().map(|(id, _)| id).filter(left).collect::<Vec<_>>() {
            self.wait_without(gone);
        }
        if was_known && !moves.is_empty() {
            self.slots_moved(&moves);
        }
        self.detours.retry_now(self.now);
        self.feeds.remap(&map, self.now);
        self.carry_words();
        self.check_asks();
        if self.knows_shards() {
            self.shards_are_known();
        }
    }

    /// The primary of a shard is another server than before, or at another address.
    fn primary_moved(&mut self, id: ShardId, address: Option<crate::shards::Address>) {
        let now = self.now;
        let shard = &mut self.shards[id.index()];
        let before = std::mem::replace(&mut shard.address, address);
        let name = shard.name();
        let gone = shard.address.is_none();
        let why = if gone { GONE } else { "its primary is another server now" };
        self.close_links(id, None, why);
        let shard = &mut self.shards[id.index()];
        shard.retry_at = now;
        shard.away_since = now;
        shard.state = if gone { State::Down(GONE.to_owned()) } else { State::Connecting };
        let word = if gone { ShardState::Down } else { ShardState::Connecting };
        self.stats().shards[id.index()].state.set(word as u64);
        if gone {
            // Nobody acknowledges what was written there any more, nor what was to be asked of it
            // because slots had come, though it had not said who it is.
            self.shards[id.index()].history = None;
            self.new_generation(id, Proof::Nothing, None);
        }
        let line = match before {
            Some(before) if gone => format!("{name}, which was at {before}: {GONE}"),
            Some(before) => format!("{name}: this is its primary now, before it was {before}"),
            None => format!("{name}: this is its primary"),
        };
        self.log(Level::Notice, line);
        self.shard_timer(id.index());
    }

    /// Slots have other owners now: pairs of before and after.
    ///
    /// A client's writes have gone along with the slots, so its next WAIT asks the new owners too:
    /// the old ones' replicas have those keys no more. If the old owner is not up, as when this map
    /// gives it another primary too, nobody knows what it still had, and has gone along.
    fn slots_moved(&mut self, moves: &[(ShardId, ShardId)]) {
        let sessions: Vec<SessionId> = self.sessions.iter().map(|(id, _)| id).collect();
        for id in sessions {
            let Some(session) = self.sessions.get_mut(id) else { continue };
            let marked: Vec<ShardId> = session.marks.iter().map(|(shard, _)| shard).collect();
            for (before, after) in moves.iter().filter(|(before, _)| marked.contains(before)) {
                if self.shards[before.index()].is_up() {
                    session.marks.wrote(*after, &self.shards[after.index()].acks);
                } else {
                    session.marks.lost(*after);
                }
            }
            if matches!(session.mode, super::Mode::Serving) {
                self.must_drain(id);
            }
        }
    }

    // ---------------------------------------------------------------- before there is one

    /// Whether there is any shard that has slots: not before a cluster's nodes have told.
    pub(super) fn knows_shards(&self) -> bool {
        !self.map.members().is_empty()
    }

    /// What becomes of a request while no shard is known; none if the endpoint answers it itself.
    pub(super) fn without_shards(
        &mut self,
        id: SessionId,
        request: &Request<'_>,
    ) -> Option<Served> {
        if self.now < self.shards[0].patience(&self.settings) {
            if let Some(session) = self.sessions.get_mut(id) {
                session.holds.map = true;
            }
            return Some(Served::Later);
        }
        // A transaction is opened all the same, or what follows would be executed without one.
        let name = request.arg(0);
        let steps: [&[u8]; 3] = [b"multi", b"exec", b"discard"];
        if steps.iter().any(|step| name.eq_ignore_ascii_case(step)) {
            return None;
        }
        match self.router.plan(request, &mut self.scratch) {
            Plan::Local { .. } | Plan::Error(_) => return None,
            _ => {}
        }
        self.abort_transaction(id);
        let why = self.shards[0].why().to_owned();
        self.answer_error(id, &text::shard_down("the cluster", &why));
        Some(Served::Done)
    }

    /// Who waits for the first map waits no longer: it is there, or has not come in time.
    pub(super) fn shards_are_known(&mut self) {
        let held = self.sessions.iter().filter(|(_, session)| session.holds.map);
        let held: Vec<SessionId> = held.map(|(id, _)| id).collect();
        for id in held {
            if let Some(session) = self.sessions.get_mut(id) {
                session.holds.map = false;
            }
            self.touch(id);
        }
    }
}
