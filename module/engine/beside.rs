//! SCRIPT KILL, FUNCTION KILL, FUNCTION STATS: said beside everything else.
//!
//! ```text
//!   shared link:  EVAL "while true do end" | GET | GET ..      all of it waits for the script
//!   new link:     SCRIPT KILL -> +OK, closed                   a busy shard answers it
//! ```
//!
//! What holds up a shard can't be ended on the connection that it holds up. So each of these goes
//! to every shard on a connection of its own, which is closed when it has been answered. A busy
//! shard answers next to nothing: such a connection doesn't ask for INFO.

use std::sync::Arc;

use crate::command::Merge;
use crate::ids::{LinkId, SessionId, ShardId};
use crate::pipeline::Pipeline;
use crate::resp::Request;
use crate::text;

use super::Engine;
use super::dispatch::{Finish, Served};
use super::link::{Link, Role, Token};

impl Engine {
    /// Sends a request to every shard, beside all that is on its way there.
    pub(super) fn say_beside(
        &mut self,
        id: SessionId,
        request: &Request<'_>,
        len: usize,
        merge: Merge,
    ) -> Served {
        // So a client has no more than one connection of this kind to each shard; and what it has
        // said before has been done.
        if self.must_drain(id) {
            return Served::Later;
        }
        self.stats().commands_fanned_out.add(1);
        let map = Arc::clone(&self.map);
        let parts = map.members().len();
        let Some(seat) = self.reserve_parts(id, parts, Finish::Merge(merge, Vec::new())) else {
            return Served::Done;
        };
        for (part, &shard) in (0u16..).zip(map.members()) {
            let token = Token::Part { session: id, seat, part, writes: false };
            self.send_beside(shard, token, &request.bytes[..len]);
        }
        Served::Done
    }

    /// What was said beside everything else is answered.
    pub(super) fn beside_replied(&mut self, id: LinkId) {
        let is_over = |link: &Link| link.pipeline.is_ready() && link.pipeline.owed() == 0;
        if self.links.get(id).is_some_and(is_over) {
            self.drop_link(id);
        }
    }

    fn send_beside(&mut self, id: ShardId, token: Token, request: &[u8]) {
        let Some(lane) = token.session().and_then(|id| self.sessions.get(id)).map(|s| s.lane)
        else {
            return;
        };
        let most = self.pinned_max();
        let shard = &mut self.shards[id.index()];
        if shard.pinned >= most {
            let text = text::too_many_pinned(&shard.name());
            return self.fail_command(token, text.as_bytes());
        }
        shard.pinned += 1;
        let link = self.open_link(id, Role::Beside(lane), Pipeline::default());
        self.send_by(link, token, |out| out.extend_from_slice(request));
    }
}
