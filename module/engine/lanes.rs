//! Lanes: what the connections that a session uses have in common.
//!
//! ```text
//!   session --lane--> login, RESP version, database
//!                        |
//!          shard 0: LaneLinks { shared link, idle links, parked commands }
//!          shard 1: LaneLinks { .. }
//! ```
//!
//! Replies pass untouched, so a connection must speak the version of RESP that its clients speak,
//! and be logged in as their user and in their database. All sessions that agree in these share a
//! lane, and on each shard its one shared link. A session changes its lane only when nothing of
//! its own is outstanding: or what it sent on the old link could be overtaken on the new one.

use std::sync::Arc;

use crate::ids::{LaneId, LinkId, SessionId, ShardId, Slab, Time};
use crate::limits;
use crate::pipeline::Pipeline;
use crate::resp::Version;

use super::Engine;
use super::link::{Link, Role, Token};
use super::relief::Relief;
use super::rights::Rights;
use super::users::Login;

/// What a connection must be for a session to use it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LaneKey {
    /// None: the shards' default user.
    pub login: Option<Arc<Login>>,
    /// Of its replies.
    pub resp: Version,
    /// As in SELECT.
    pub db: u32,
}

/// See the module's picture.
#[derive(Debug)]
pub(super) struct Lane {
    pub key: LaneKey,
    /// How many sessions use it.
    pub sessions: usize,
    /// Since when none does.
    pub idle_since: Time,
    /// What its user may do.
    pub rights: Rights,
}

impl Lane {
    fn new(key: LaneKey, now: Time) -> Self {
        Self { key, sessions: 0, idle_since: now, rights: Rights::default() }
    }
}

/// All lanes of an engine. The one that every session begins with is always there.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: Slab<LaneId, Lane>,
    pub first: LaneId,
}

impl Lanes {
    pub(super) fn new(now: Time) -> Self {
        let mut lanes = Slab::default();
        let first = lanes.insert(Lane::new(LaneKey::default(), now));
        Self { lanes, first }
    }

    pub(super) fn key(&self, id: LaneId) -> LaneKey {
        self.lanes.get(id).map(|lane| lane.key.clone()).unwrap_or_default()
    }

    /// The lane with this key; none if there are too many.
    pub(super) fn find_or_make(&mut self, key: LaneKey, now: Time) -> Option<LaneId> {
        let known = self.lanes.iter().find(|(_, lane)| lane.key == key).map(|(id, _)| id);
        if known.is_some() {
            return known;
        }
        if self.lanes.len() >= limits::LANES_MAX {
            return None;
        }
        Some(self.lanes.insert(Lane::new(key, now)))
    }

    pub(super) fn get_mut(&mut self, id: LaneId) -> Option<&mut Lane> {
        self.lanes.get_mut(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (LaneId, &Lane)> {
        self.lanes.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Lane> {
        self.lanes.iter_mut().map(|(_, lane)| lane)
    }

    pub(super) fn enter(&mut self, id: LaneId) {
        if let Some(lane) = self.lanes.get_mut(id) {
            lane.sessions += 1;
        }
    }

    pub(super) fn leave(&mut self, id: LaneId, now: Time) {
        if let Some(lane) = self.lanes.get_mut(id) {
            lane.sessions -= 1;
            lane.idle_since = now;
        }
    }
}

/// One lane's connections to one shard.
#[derive(Debug)]
pub(super) struct LaneLinks {
    /// The link that carries the commands of all sessions of the lane.
    pub shared: Option<LinkId>,
    /// Its relief.
    pub relief: Relief,
    /// Links for one session at a time, which nobody uses now.
    pub idle: Vec<LinkId>,
    /// Commands that wait for the shared link, ...
    pub parked: Pipeline<Token>,
    /// ... since when, ...
    pub parked_since: Option<Time>,
    /// ... and the sessions that are not read until they have left.
    pub holding: Vec<SessionId>,
    /// When to open the shared link again.
    pub retry_at: Time,
    /// The shard's error when it refused this lane; it is not asked again before `retry_at`.
    pub refusal: Option<Vec<u8>>,
}

impl LaneLinks {
    /// The link that any session may send by, if there is one now.
    pub(super) fn way_of_all(&self) -> Option<LinkId> {
        self.shared.filter(|_| self.relief.has_all())
    }

    pub(super) fn new(now: Time) -> Self {
        Self {
            shared: None,
            relief: Relief::new(now),
            idle: Vec::new(),
            parked: Pipeline::shared(),
            parked_since: None,
            holding: Vec::new(),
            retry_at: now,
            refusal: None,
        }
    }
}

impl Engine {
    /// The session uses another lane from now on. Nothing of its own may be outstanding.
    pub(super) fn change_lane(&mut self, id: SessionId, lane: LaneId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let old = std::mem::replace(&mut session.lane, lane);
        session.resp = self.lanes.key(lane).resp;
        self.lanes.enter(lane);
        self.lanes.leave(old, self.now);
        if lane != old {
            self.move_pins(id, lane);
        }
    }

    /// The link that carries everybody's commands of a lane to a shard; opened when first needed.
    /// None if the shard is not there, or has just refused.
    pub(super) fn shared_link(&mut self, id: ShardId, lane_id: LaneId) -> Option<LinkId> {
        let now = self.now;
        let shard = &mut self.shards[id.index()];
        if let Some(link) = shard.lanes.get(lane_id).and_then(|lane| lane.shared) {
            return Some(link);
        }
        let up = shard.is_up();
        let lane = shard.lane(lane_id, now);
        if !up || now < lane.retry_at {
            return None;
        }
        lane.refusal = None;
        let parked = std::mem::replace(&mut lane.parked, Pipeline::shared());
        let holding = std::mem::take(&mut lane.holding);
        let link = self.open_link(id, Role::Shared(lane_id), parked);
        if let Some(opened) = self.links.get_mut(link) {
            opened.holding = holding;
        }
        let shard = &mut self.shards[id.index()];
        shard.lane(lane_id, now).shared = Some(link);
        shard.parking.retain(|parking| *parking != lane_id);
        self.stats().shards[id.index()].pipelines.add(1);
        Some(link)
    }

    /// A lane's shared link is gone.
    pub(super) fn shared_failed(
        &mut self,
        lane_id: LaneId,
        failed: Link,
        greeted: bool,
        why: &str,
    ) {
        let id = failed.shard;
        let now = self.now;
        self.stats().shards[id.index()].pipelines.sub(1);
        let shard = &mut self.shards[id.index()];
        let (name, up) = (shard.name(), shard.is_up());
        let lane = shard.lane(lane_id, now);
        lane.shared = None;
        lane.retry_at = now + limits::LINK_RETRY;
        lane.parked = failed.pipeline;
        lane.refusal = failed.lane_refusal;
        if lane.refusal.is_some() {
            // Waiting for it would not help: this user, or this database, is not to be had.
            if let Some(lane) = self.lanes.get_mut(lane_id) {
                lane.rights.forget();
            }
            return self.give_up_parked(id, lane_id);
        }
        if lane.parked.owed() > 0 {
            lane.parked_since.get_or_insert(now);
            shard.parks(lane_id);
        }
        if up && !greeted {
            let line = format!("{name}: a connection for commands failed: {why}");
            self.log(super::Level::Warning, line);
        }
    }

    /// Answers all commands that wait for a lane's shared link with an error, and lets go who was
    /// held because of them.
    pub(super) fn give_up_parked(&mut self, id: ShardId, lane_id: LaneId) {
        let now = self.now;
        let shard = &mut self.shards[id.index()];
        let down = crate::text::shard_down(&shard.name(), shard.why()).into_bytes();
        shard.parking.retain(|parking| *parking != lane_id);
        let lane = shard.lane(lane_id, now);
        lane.parked_since = None;
        let text = lane.refusal.clone().unwrap_or(down);
        let tokens = lane.parked.drop_unsent();
        let held = std::mem::take(&mut lane.holding);
        self.stats().commands_not_sent.add(tokens.len() as u64);
        for token in tokens {
            self.fail_command(token, &text);
            self.end_if_refused_by(token, &text);
        }
        for session in held {
            if let Some(held) = self.sessions.get_mut(session) {
                held.holds.link = false;
            }
            self.touch(session);
        }
    }

    /// What waits for shared links of a shard: tries to open them again, or gives up.
    pub(super) fn parking_timer(&mut self, id: ShardId) {
        let patience = self.settings.failover_timeout;
        for lane_id in self.shards[id.index()].parking.clone() {
            if self.shared_link(id, lane_id).is_some() {
                continue;
            }
            let now = self.now;
            let lane = self.shards[id.index()].lane(lane_id, now);
            if lane.parked_since.is_some_and(|at| now >= at + patience) {
                self.give_up_parked(id, lane_id);
            }
        }
    }

    /// Now and then: closes the connections of lanes that nobody has used for a while.
    pub(super) fn sweep_lanes(&mut self) {
        let now = self.now;
        let first = self.lanes.first;
        let quiet: Vec<LaneId> = (self.lanes.lanes.iter())
            .filter(|(id, lane)| {
                let unused = lane.sessions == 0 && *id != first;
                unused && now.since(lane.idle_since) >= limits::LANE_IDLE_MAX
            })
            .map(|(id, _)| id)
            .collect();
        for id in quiet {
            let of_lane = self.links.iter().filter(|(_, link)| link.role.lane() == Some(id));
            let links: Vec<(LinkId, usize)> =
                of_lane.map(|(id, link)| (id, link.pipeline.owed())).collect();
            let parks = self.shards.iter().any(|shard| shard.parking.contains(&id));
            if parks || links.iter().any(|(_, owed)| *owed > 0) {
                continue;
            }
            for (link, _) in links {
                if let Some(link) = self.links.get(link)
                    && matches!(link.role, Role::Shared(_))
                {
                    self.stats().shards[link.shard.index()].pipelines.sub(1);
                }
                self.drop_link(link);
            }
            for shard in &mut self.shards {
                shard.parking.retain(|parking| *parking != id);
                shard.lanes.remove(id);
            }
            self.lanes.lanes.remove(id);
        }
    }
}
