//! A large request, forwarded as it arrives.
//!
//! ```text
//!   client --32 KB at a time--> intake --follower--> a pinned link --> shard
//!                                 (where does the request end?)
//! ```
//!
//! A value of half a gigabyte is never held: its bytes go on as they come, on a link of the
//! client's own, so that a client that stops in the middle holds up nobody. The link is used only
//! when nothing of the client's is outstanding, and the client is served on only when the reply is
//! here: its requests can't overtake each other.

use crate::ids::{LaneId, LinkId, SessionId, ShardId};
use crate::limits;
use crate::pipeline::Pipeline;
use crate::resp::{Follower, Intake, Parser};

use super::link::{Role, Token};
use super::{Engine, Mode, Then, dispatch};

/// What a session knows of its large request.
#[derive(Debug)]
pub(super) struct Upload {
    /// Where the request ends.
    follower: Follower,
    /// Where its bytes go; none if they are dropped, because the reply is an error already.
    link: Option<LinkId>,
    /// Bytes at the front of the intake that have been read before.
    known: usize,
}

impl Engine {
    /// Nothing of the session's is outstanding any more: takes its large request over.
    pub(super) fn begin_upload(&mut self, id: SessionId, shard: ShardId, writes: bool) {
        let mute = self.next_is_mute(id);
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let known = session.parser.parsed();
        let Some(follower) = session.parser.hand_over() else {
            return;
        };
        let seat = session.seats.reserve(mute);
        let lane = session.lane;
        let link = self.pinned_link(shard, lane);
        let token = Token::Reply { session: id, seat, writes };
        match link {
            Some(link) => {
                if let Some(link) = self.links.get_mut(link) {
                    link.pipeline.send_begin(token);
                    link.silent_since = self.now;
                }
            }
            None => {
                let shard = &self.shards[shard.index()];
                let text = crate::text::shard_down(&shard.name(), shard.why());
                self.fail_command(token, text.as_bytes());
            }
        }
        self.stats().commands_processed.add(1);
        if let Some(session) = self.sessions.get_mut(id) {
            session.mode = Mode::Uploading(Upload { follower, link, known });
        }
        self.touch(id);
    }

    /// Whether a large request is to wait for its shard to come back, as smaller ones do. The
    /// session is looked at again when it does, or when that has taken too long.
    pub(super) fn upload_waits(&mut self, id: SessionId, shard: ShardId) -> bool {
        let shard = &mut self.shards[shard.index()];
        let waits = !shard.is_up() && self.now < shard.patience(&self.settings);
        if waits && !shard.uploaders.contains(&id) {
            shard.uploaders.push(id);
        }
        waits
    }

    /// The sessions whose large request waits for a shard are looked at again.
    pub(super) fn wake_uploaders(&mut self, shard: ShardId) {
        for session in std::mem::take(&mut self.shards[shard.index()].uploaders) {
            self.touch(session);
        }
    }

    /// A link of the session's own: one that is idle, or a new one.
    fn pinned_link(&mut self, shard: ShardId, lane: LaneId) -> Option<LinkId> {
        let now = self.now;
        if let Some(link) = self.shards[shard.index()].lane(lane, now).idle.pop() {
            return Some(link);
        }
        if !self.shards[shard.index()].is_up() {
            return None;
        }
        Some(self.open_link(shard, Role::Pinned(lane), Pipeline::default()))
    }

    /// A large request that can't be forwarded as it arrives, and is too large to be held: says so,
    /// and drops the rest of it as it comes, so that the connection lives on.
    pub(super) fn refuse_large(
        &mut self,
        id: SessionId,
        intake: &mut Intake,
        parser: &mut Parser,
        bound: usize,
    ) -> bool {
        let known = parser.parsed();
        let Some(follower) = parser.hand_over() else {
            return false;
        };
        self.answer_error(id, &dispatch::too_large(bound));
        if let Some(session) = self.sessions.get_mut(id) {
            session.mode = Mode::Uploading(Upload { follower, link: None, known });
        }
        !intake.is_empty()
    }

    /// Forwards what has come of a large request. Returns whether there may be something to serve
    /// behind it.
    pub(super) fn feed_upload(&mut self, id: SessionId, intake: &mut Intake) -> bool {
        let Some(session) = self.sessions.get_mut(id) else {
            return false;
        };
        let Mode::Uploading(upload) = &mut session.mode else {
            return false;
        };
        let known = std::mem::take(&mut upload.known);
        let followed = match upload.follower.follow(&intake.bytes()[known..]) {
            Ok(used) => known + used,
            Err(error) => {
                // What has been forwarded is no request, and never will be.
                if let Mode::Uploading(upload) = std::mem::replace(&mut session.mode, Mode::Closing)
                {
                    self.abandon_upload(upload);
                }
                self.protocol_error(id, &error);
                intake.consume(intake.len());
                return false;
            }
        };
        let ended = upload.follower.ended();
        let link_id = upload.link;
        if let Some(link) = link_id.and_then(|link| self.links.get_mut(link)) {
            link.pipeline.send_more(&intake.bytes()[..followed]);
            if ended {
                link.pipeline.send_end();
            } else if link.pipeline.backlog() > limits::UPLOAD_BACKLOG_HIGH {
                link.holding.push(id);
                session.holds.link = true;
            }
        }
        intake.consume(followed);
        if ended {
            session.mode = Mode::Draining(Then::Serve);
        }
        if let Some(link) = link_id {
            self.flush_link(link);
        }
        followed > 0 && !ended
    }

    /// The client is gone, or has broken off: so must be the link that has the begin of its
    /// request.
    pub(super) fn abandon_upload(&mut self, upload: Upload) {
        if let Some(link) = upload.link {
            self.drop_link(link);
        }
    }

    /// A pinned link has brought its reply: it is kept for the next large request, or closed.
    pub(super) fn pinned_replied(&mut self, id: LinkId) {
        let Some(link) = self.links.get(id) else {
            return;
        };
        let (shard, Role::Pinned(lane)) = (link.shard, link.role) else {
            return;
        };
        let now = self.now;
        if self.uploader(id).is_some() {
            // The shard has answered before it had the whole request: it can't be spoken to any
            // more.
            self.pinned_failed(id);
            self.drop_link(id);
            return;
        }
        let idle = &mut self.shards[shard.index()].lane(lane, now).idle;
        if idle.len() < limits::PINNED_IDLE_MAX {
            idle.push(id);
        } else {
            self.drop_link(id);
        }
    }

    /// A pinned link has died; the reply of its request was filled in already. What is still to
    /// come of the request is dropped.
    pub(super) fn pinned_failed(&mut self, id: LinkId) {
        let Some(orphan) = self.uploader(id) else {
            return;
        };
        if let Some(session) = self.sessions.get_mut(orphan) {
            session.holds.link = false;
            if let Mode::Uploading(upload) = &mut session.mode {
                upload.link = None;
            }
        }
        self.touch(orphan);
    }

    /// The session that is forwarding its request on this link.
    fn uploader(&self, id: LinkId) -> Option<SessionId> {
        let on_it = |mode: &Mode| match mode {
            Mode::Uploading(upload) => upload.link == Some(id),
            _ => false,
        };
        let mut sessions = self.sessions.iter();
        sessions.find(|(_, session)| on_it(&session.mode)).map(|(session, _)| session)
    }
}
