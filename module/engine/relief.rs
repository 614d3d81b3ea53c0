//! Who is relieved of waiting behind a large reply.
//!
//! ```text
//!   shared   ... | 100 MB for A ~~~~~~~~~~~~~~~~~~~~~~~~~~~~ | B's | A's next      (the former)
//!   relief         opened when the large one begins   C's | B's next, once B is owed nothing there
//! ```
//!
//! Replies come in the order of commands, so whoever says something on a link that has begun a
//! large reply waits until all of that has come. So each lane may have two shared links to a shard:
//! when the one that takes commands begins a large reply, the other takes over, and they change
//! places again when that one does. The second is opened when it is first needed, and until it is
//! ready everything goes on as without it.
//!
//! A session's commands must not overtake each other. One that is owed replies by the former link
//! stays there until it is owed nothing; from then on it goes by the other.

use std::collections::HashSet;

use crate::ids::{LaneId, LinkId, SessionId, ShardId, Time};
use crate::limits;
use crate::pipeline::Pipeline;

use super::Engine;
use super::link::{Link, Role, Token};

/// A lane's second shared link to a shard: in reserve, or the former.
#[derive(Debug)]
pub(super) struct Relief {
    pub link: Option<LinkId>,
    /// Sessions that are owed replies by it, and perhaps some that were.
    stay: HashSet<SessionId>,
    /// When to open it again.
    retry_at: Time,
}

impl Relief {
    pub(super) fn new(now: Time) -> Self {
        Self { link: None, stay: HashSet::new(), retry_at: now }
    }

    /// Whether nobody has to stay on the former link.
    pub(super) fn has_all(&self) -> bool {
        self.stay.is_empty()
    }
}

impl Engine {
    /// A shared link has begun a reply that is not all there: what is said from now on needn't wait
    /// behind it.
    pub(super) fn relieve(&mut self, id: LinkId, shard: ShardId, lane_id: LaneId) {
        let now = self.now;
        let lane = self.shards[shard.index()].lane(lane_id, now);
        if lane.shared != Some(id) {
            return;
        }
        match lane.relief.link {
            Some(relief) => self.take_over(relief, shard, lane_id),
            None if now >= lane.relief.retry_at => {
                let pipeline = Pipeline::shared();
                let link = self.open_link(shard, Role::Shared(lane_id), pipeline);
                self.shards[shard.index()].lane(lane_id, now).relief.link = Some(link);
                self.stats().shards[shard.index()].pipelines.add(1);
            }
            None => {}
        }
    }

    /// A shared link has been greeted, or a reply on it has ended: if the other one is in the midst
    /// of a large one, it takes over.
    pub(super) fn relief_ready(&mut self, id: LinkId, lane_id: LaneId) {
        let Some(shard) = self.links.get(id).map(|link| link.shard) else {
            return;
        };
        let lane = self.shards[shard.index()].lane(lane_id, self.now);
        let busy = lane.shared.and_then(|shared| self.links.get(shared));
        if lane.relief.link == Some(id) && busy.is_some_and(|link| link.pipeline.is_streaming()) {
            self.take_over(id, shard, lane_id);
        }
    }

    /// The link in reserve takes over, if it can. Not while a refused command waits to be said
    /// again: what its session says behind it has to stay on the link that refused it (`turns.rs`).
    fn take_over(&mut self, relief: LinkId, shard: ShardId, lane_id: LaneId) {
        let is_free = |link: &Link| link.pipeline.is_ready() && !link.pipeline.is_streaming();
        if !self.detours.is_idle() || !self.links.get(relief).is_some_and(is_free) {
            return;
        }
        let lane = self.shards[shard.index()].lane(lane_id, self.now);
        let former = lane.shared.replace(relief);
        lane.relief.link = former;
        lane.relief.stay.clear();
        if let Some(former) = former.and_then(|former| self.links.get(former)) {
            lane.relief.stay.extend(former.pipeline.tokens().filter_map(Token::session));
        }
    }

    /// The former link, if a session whose command is to be sent must stay there. The command has
    /// its seat already.
    pub(super) fn former_link(
        &mut self,
        shard: ShardId,
        lane_id: LaneId,
        session: SessionId,
    ) -> Option<LinkId> {
        let relief = &mut self.shards[shard.index()].lanes.get_mut(lane_id)?.relief;
        if !relief.stay.contains(&session) {
            return None;
        }
        if self.sessions.get(session)?.seats.len() > 1 {
            return relief.link;
        }
        relief.stay.remove(&session);
        None
    }

    /// The second shared link of a lane is gone. Returns the link again if it was not that one.
    pub(super) fn relief_failed(
        &mut self,
        id: LinkId,
        lane_id: LaneId,
        failed: Link,
    ) -> Option<Link> {
        let (now, shard) = (self.now, failed.shard);
        let lane = self.shards[shard.index()].lane(lane_id, now);
        if lane.relief.link != Some(id) {
            return Some(failed);
        }
        lane.relief = Relief { retry_at: now + limits::LINK_RETRY, ..Relief::new(now) };
        self.stats().shards[shard.index()].pipelines.sub(1);
        // Of these nothing had left, so they go by whatever link takes commands now.
        for (token, request) in failed.pipeline.requests() {
            self.send_on(shard, lane_id, token, |out| out.extend_from_slice(request));
        }
        None
    }
}
