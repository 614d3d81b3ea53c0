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

use crate::ids::{LinkId, SessionId, ShardId};
use crate::limits;
use crate::resp::{Follower, Intake, Parser};
use crate::route::Place;

use super::dispatch::Served;
use super::link::Token;
use super::pins::Pin;
use super::{Engine, Mode, Then};

/// Where a large request goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    /// The shard.
    pub shard: ShardId,
    /// Where its keys are, if there is more than one shard.
    pub place: Option<Place>,
    /// It may move the shard's replication offset.
    pub writes: bool,
}

/// By which link a large request leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upstream {
    Link(LinkId),
    /// None yet.
    Later,
    /// None: it has been answered, and is dropped as it comes.
    Answered,
}

/// What a session knows of its large request.
#[derive(Debug)]
pub(super) struct Upload {
    /// Where the request ends.
    follower: Follower,
    /// Where its bytes go; none if they are dropped, because the reply is an error already.
    pub link: Option<LinkId>,
    /// Bytes at the front of the intake that have been read before.
    known: usize,
}

impl Engine {
    /// Nothing of the session's is outstanding any more: takes its large request over.
    pub(super) fn begin_upload(&mut self, id: SessionId, target: Target) {
        let upstream = self.upstream(id, target);
        if upstream == Upstream::Later {
            return;
        }
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let known = session.parser.parsed();
        let Some(follower) = session.parser.hand_over() else {
            return;
        };
        let mut upload = Upload { follower, link: None, known };
        if let Upstream::Link(link) = upstream {
            upload.link = Some(link);
            let seat = session.seats.reserve(session.reply.next_is_mute());
            // In a transaction it is EXEC that writes.
            let writes = target.writes && session.transaction.as_ref().is_none_or(|t| !t.is_open());
            if let Some(link) = self.links.get_mut(link) {
                link.pipeline.send_begin(Token::Reply { session: id, seat, writes });
                link.silent_since = self.now;
            }
        }
        session.mode = Mode::Uploading(upload);
        self.stats().commands_processed.add(1);
        self.touch(id);
    }

    /// By which link a large request leaves.
    fn upstream(&mut self, id: SessionId, target: Target) -> Upstream {
        let Target { shard, place, writes } = target;
        if self
            .sessions
            .get(id)
            .is_some_and(|s| s.transaction.as_ref().is_some_and(|t| t.is_open()))
        {
            return match self.join_transaction(id, shard, place, writes) {
                Ok(link) => {
                    self.remember_sent(id, None);
                    Upstream::Link(link)
                }
                Err(Served::Later) => Upstream::Later,
                Err(Served::Done) => Upstream::Answered,
            };
        }
        match self.pin(id, shard) {
            Pin::Link(link) => Upstream::Link(link),
            Pin::Later => Upstream::Later,
            Pin::Refused(text) => {
                self.answer_error(id, &text);
                Upstream::Answered
            }
        }
    }

    /// Whether a request that can't be parked is to wait for its shard to come back. The session is
    /// looked at again when it does, or when that has taken too long.
    pub(super) fn waits_for_shard(&mut self, id: SessionId, shard: ShardId) -> bool {
        let shard = &mut self.shards[shard.index()];
        let waits = !shard.is_up() && self.now < shard.patience(&self.settings);
        if waits && !shard.awaiting.contains(&id) {
            shard.awaiting.push(id);
        }
        waits
    }

    /// The sessions whose large request waits for a shard are looked at again.
    pub(super) fn wake_awaiting(&mut self, shard: ShardId) {
        for session in std::mem::take(&mut self.shards[shard.index()].awaiting) {
            self.touch(session);
        }
    }

    /// A large request that can't be forwarded as it arrives, and is too large to be held: says so,
    /// and drops the rest of it as it comes, so that the connection lives on.
    pub(super) fn refuse_large(
        &mut self,
        id: SessionId,
        intake: &mut Intake,
        parser: &mut Parser,
        text: &str,
    ) -> bool {
        let known = parser.parsed();
        let Some(follower) = parser.hand_over() else {
            return false;
        };
        self.answer_error(id, text);
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
                    self.abandon_upload(id, upload);
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

    /// The client has broken off: so must be the link that has the begin of its request.
    pub(super) fn abandon_upload(&mut self, id: SessionId, upload: Upload) {
        if let Some(link) = upload.link {
            self.pin_lost(link, id);
            self.drop_link(link);
        }
    }
}
