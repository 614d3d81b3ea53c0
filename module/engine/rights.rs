//! What a user may ask of the endpoint itself: the shards say.
//!
//! ```text
//!   WAIT 1 0 --> known and fresh? --yes--> served, or NOPERM in the shard's own words
//!                      |no
//!                      +--> WAIT 0 0 on the lane's link --> -NOPERM ..: may not   else: may
//!                           (the session is held meanwhile, and is then served anew)
//! ```
//!
//! Commands that shards execute need no care here: a lane's links are logged in as its user, so the
//! shard itself refuses. But what the endpoint answers would be answered to everybody. So for each
//! such command the lane keeps what a shard said to a own form of it, asked when the command
//! is first used and again twice a second while it is. No WAIT pays a round trip for it, and who
//! never tries a command never shows up in the shards' ACL LOG because of us.

use crate::ids::{LaneId, SessionId, ShardId, Time};
use crate::limits;
use crate::resp::{Value, write};
use crate::route::{ClientSub, Local, PubSub};
use crate::text;

use super::Engine;
use super::dispatch::Served;
use super::link::Own;

/// What a shard has said.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Granted,
    /// With this error.
    Denied(Vec<u8>),
}

/// What is known of one command.
#[derive(Debug)]
struct Known {
    local: Local,
    /// None: no shard has said anything yet.
    verdict: Option<Verdict>,
    /// When it was said; none if it may not hold any more.
    learned: Option<Time>,
    /// When a client last wanted to know.
    used: Time,
    /// Since when a question is out.
    asked: Option<Time>,
    /// Rights have changed since it left, so its answer may be of before.
    outdated: bool,
    /// Since when clients have waited for a first answer.
    wanted: Option<Time>,
    /// The shard whose turn it is if those before it, which were asked, are silent.
    turn: usize,
}

/// What is known of one lane's user.
#[derive(Debug, Default)]
pub(super) struct Rights {
    known: Vec<Known>,
    /// Sessions that are held until more is known.
    held: Vec<SessionId>,
}

/// What may be said to a client that asks for something.
#[derive(Debug)]
enum Right {
    Granted,
    Denied(Vec<u8>),
    /// It is to wait: a shard is being asked.
    Asked,
    /// No shard can be asked, and none ever was.
    Unknown,
}

/// A request that changes nothing, and that a shard refuses to whom it would refuse the command.
struct Probe {
    words: &'static [&'static str],
    /// The command is served if no shard can be asked and none ever was: it concerns nothing but
    /// the client's own connection.
    own: bool,
}

/// How to ask for the right to a command; none if it needs none, or if shards execute it anyway.
fn probe(local: Local) -> Option<Probe> {
    let own = |words| Some(Probe { words, own: true });
    let others = |words| Some(Probe { words, own: false });
    match local {
        Local::Auth | Local::Quit | Local::Reset | Local::Info => None,
        // Shards execute them; MONITOR on pins.
        Local::AclChange | Local::ResetStat | Local::Monitor => None,
        Local::Ping => own(&["PING"]),
        Local::Echo => own(&["ECHO", "weir"]),
        Local::Time => own(&["TIME"]),
        // The lane's own version follows.
        Local::Hello => own(&["HELLO"]),
        // The lane's own database follows.
        Local::Select => own(&["SELECT"]),
        Local::ReadOnly | Local::ReadWrite => own(&["READWRITE"]),
        Local::Ok => own(&["CLIENT", "CAPA", "weir"]),
        Local::Wait | Local::WeirWait => others(&["WAIT", "0", "0"]),
        Local::WaitAof | Local::WeirWaitAof => others(&["WAITAOF", "0", "0", "0"]),
        Local::PubSub(sub) => match sub {
            PubSub::Channels => others(&["PUBSUB", "CHANNELS", "weir"]),
            PubSub::NumSub => others(&["PUBSUB", "NUMSUB"]),
            PubSub::NumPat => others(&["PUBSUB", "NUMPAT"]),
            PubSub::ShardChannels => others(&["PUBSUB", "SHARDCHANNELS", "weir"]),
            PubSub::ShardNumSub => others(&["PUBSUB", "SHARDNUMSUB"]),
            // The wire is logged in as the user; and who listens to nothing may stop to.
            _ => None,
        },
        Local::Client(sub) => match sub {
            ClientSub::Id => own(&["CLIENT", "ID"]),
            ClientSub::Info => own(&["CLIENT", "INFO"]),
            ClientSub::GetName => own(&["CLIENT", "GETNAME"]),
            ClientSub::SetName => own(&["CLIENT", "SETNAME", "weir"]),
            ClientSub::SetInfo => own(&["CLIENT", "SETINFO", "LIB-NAME", "weir"]),
            ClientSub::NoEvict => own(&["CLIENT", "NO-EVICT", "OFF"]),
            ClientSub::NoTouch => own(&["CLIENT", "NO-TOUCH", "OFF"]),
            ClientSub::Reply => own(&["CLIENT", "REPLY", "ON"]),
            // A server's own ids never become so large.
            ClientSub::List => others(&["CLIENT", "LIST", "ID", "9223372036854775807"]),
            ClientSub::Kill => others(&["CLIENT", "KILL", "ID", "9223372036854775807"]),
            ClientSub::Tracking => None,
            ClientSub::TrackingInfo => own(&["CLIENT", "TRACKINGINFO"]),
            ClientSub::GetRedir => own(&["CLIENT", "GETREDIR"]),
            ClientSub::Caching => own(&["CLIENT", "CACHING", "weir"]),
            // There is no UNPAUSE that changes nothing: who may begin a pause may end it.
            ClientSub::Pause | ClientSub::Unpause => others(&["CLIENT", "PAUSE", "0", "weir"]),
            ClientSub::Unblock => others(&["CLIENT", "UNBLOCK", "9223372036854775807"]),
        },
    }
}

impl From<&Verdict> for Right {
    fn from(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Granted => Self::Granted,
            Verdict::Denied(text) => Self::Denied(text.clone()),
        }
    }
}

impl Rights {
    fn of(&mut self, local: Local, now: Time) -> &mut Known {
        let at = self.known.iter().position(|known| known.local == local).unwrap_or_else(|| {
            self.known.push(Known {
                local,
                verdict: None,
                learned: None,
                used: now,
                asked: None,
                outdated: false,
                wanted: None,
                turn: 0,
            });
            self.known.len() - 1
        });
        &mut self.known[at]
    }

    /// Somebody may have got or lost rights: nothing that is known is certain any more.
    pub(super) fn forget(&mut self) {
        for known in &mut self.known {
            known.learned = None;
            known.outdated = known.asked.is_some();
        }
    }
}

impl Known {
    /// What was said, if it is new enough to be relied on.
    fn fresh(&self, now: Time) -> Option<&Verdict> {
        let learned = self.learned?;
        self.verdict.as_ref().filter(|_| now.since(learned) < limits::RIGHT_AGE_MAX)
    }

    /// Whether the shard that was asked is silent.
    fn is_overdue(&self, now: Time) -> bool {
        self.asked.is_some_and(|asked| now.since(asked) >= limits::RIGHT_ANSWER_MAX)
    }

    /// Whether it is to be asked for although nobody waits.
    fn is_to_refresh(&self, now: Time) -> bool {
        self.asked.is_none()
            && self.verdict == Some(Verdict::Granted)
            && now.since(self.used) < limits::RIGHT_IDLE_MAX
            && self.learned.is_none_or(|at| now.since(at) >= limits::RIGHT_REFRESH_AGE)
    }
}

impl Engine {
    /// Whether the session's user may do this. If not, or not yet, the request has been dealt with.
    pub(super) fn permit(&mut self, id: SessionId, local: Local) -> Result<(), Served> {
        // Who is not logged in is told so by HELLO in words of its own.
        let no_auth = if local == Local::Hello { text::HELLO_NO_AUTH } else { text::NO_AUTH };
        self.permit_in_words(id, local, no_auth)
    }

    /// Whether the session's user is logged in, or needn't be: HELLO asks for nothing else. For
    /// what has no harmless form, but is not for strangers, who are told so in these words.
    pub(super) fn permit_known(
        &mut self,
        id: SessionId,
        no_auth: &'static str,
    ) -> Result<(), Served> {
        // Only where Weir's own user has a password may the default user need one.
        let may_be_strange = !self.settings.shard_password.is_empty();
        if may_be_strange && self.lane_key(id).login.is_none() {
            return self.permit_in_words(id, Local::Hello, no_auth);
        }
        Ok(())
    }

    fn permit_in_words(
        &mut self,
        id: SessionId,
        local: Local,
        no_auth: &'static str,
    ) -> Result<(), Served> {
        // What EXEC serves was permitted when it was queued.
        let Some(Probe { words, own }) = probe(local).filter(|_| self.captured.is_none()) else {
            return Ok(());
        };
        let Some(lane) = self.sessions.get(id).map(|session| session.lane) else {
            return Err(Served::Done);
        };
        match self.right(id, lane, local, words) {
            Right::Granted => Ok(()),
            Right::Unknown if own => Ok(()),
            Right::Asked => Err(Served::Later),
            Right::Denied(text) => {
                let is_stranger = text.starts_with(b"NOAUTH");
                let text = if is_stranger { no_auth.into() } else { text };
                self.stats().error_replies.add(1);
                self.answer(id, |out| write::error_bytes(out, &text));
                self.end_if_refused(id, &text);
                Err(Served::Done)
            }
            Right::Unknown => {
                let shard = &self.shards[self.any_shard().index()];
                let text = text::shard_down(&shard.name(), shard.why());
                self.answer_error(id, &text);
                Err(Served::Done)
            }
        }
    }

    fn right(
        &mut self,
        id: SessionId,
        lane_id: LaneId,
        local: Local,
        words: &'static [&'static str],
    ) -> Right {
        let now = self.now;
        let Some(lane) = self.lanes.get_mut(lane_id) else {
            return Right::Unknown;
        };
        let known = lane.rights.of(local, now);
        known.used = now;
        if let Some(verdict) = known.fresh(now) {
            return verdict.into();
        }
        if known.asked.is_none() {
            self.ask_right(lane_id, local, words);
        }
        let may_wait = self.may_wait_for_rights(now);
        let patience = self.settings.failover_timeout.max(limits::RIGHT_FIRST_MAX);
        let Some(lane) = self.lanes.get_mut(lane_id) else {
            return Right::Unknown;
        };
        let known = lane.rights.of(local, now);
        if let Some(verdict) = known.fresh(now) {
            return verdict.into();
        }
        if let Some(verdict) = &known.verdict {
            // Better what held a moment ago than a client that hangs because a shard does.
            if known.asked.is_none() || known.is_overdue(now) {
                return verdict.into();
            }
        } else {
            let wanted = *known.wanted.get_or_insert(now);
            let waited = now.since(wanted);
            if waited >= patience + limits::RIGHT_AGE_MAX {
                known.wanted = Some(now);
            } else if waited >= patience {
                return Right::Unknown;
            }
            if !may_wait {
                // Nobody waits, so nobody has waited for too long when it is asked for next.
                known.wanted = None;
                return Right::Unknown;
            }
        }
        lane.rights.held.push(id);
        if let Some(session) = self.sessions.get_mut(id) {
            session.holds.rights = true;
        }
        Right::Asked
    }

    /// Whether a shard is there that could say what a user may do, or may be soon.
    fn may_wait_for_rights(&self, now: Time) -> bool {
        let mut shards = self.shards.iter();
        shards.any(|shard| shard.is_up() || now < shard.patience(&self.settings))
    }

    /// Asks the first shard that can be asked, and has not been.
    fn ask_right(&mut self, lane_id: LaneId, local: Local, words: &'static [&'static str]) {
        let now = self.now;
        let shards = self.shards.len();
        let Some(lane) = self.lanes.get_mut(lane_id) else {
            return;
        };
        let (db, version) = (lane.key.db.to_string(), lane.key.resp.number().to_string());
        let mut words: Vec<&str> = words.to_vec();
        words.extend(match local {
            Local::Select => Some(db.as_str()),
            Local::Hello => Some(version.as_str()),
            _ => None,
        });
        let known = lane.rights.of(local, now);
        let turn = if known.asked.is_some() { known.turn } else { 0 };
        for index in turn..shards {
            let shard = self.shards[index].id;
            if !self.shards[index].is_up() {
                continue;
            }
            if let Some(link) = self.shared_link(shard, lane_id) {
                let own = Own::Right { lane: lane_id, local };
                self.send_own(link, own, |out| write::request(out, &words));
                return self.asked_right(lane_id, local, shard);
            }
            if let Some(refusal) = self.refusal(shard, lane_id) {
                return self.learn_right(lane_id, local, Verdict::Denied(refusal));
            }
        }
    }

    fn asked_right(&mut self, lane_id: LaneId, local: Local, shard: ShardId) {
        let now = self.now;
        if let Some(lane) = self.lanes.get_mut(lane_id) {
            let known = lane.rights.of(local, now);
            known.asked.get_or_insert(now);
            known.turn = shard.index() + 1;
        }
    }

    fn refusal(&mut self, shard: ShardId, lane: LaneId) -> Option<Vec<u8>> {
        let now = self.now;
        self.shards[shard.index()].lane(lane, now).refusal.clone()
    }

    /// A shard has answered.
    pub(super) fn right_reply(&mut self, lane: LaneId, local: Local, reply: &[u8]) {
        let verdict = match Value::parse(reply) {
            // Any other error comes only after these have been looked at.
            Some((Value::Error(text), _))
                if text.starts_with(b"NOPERM") || text.starts_with(b"NOAUTH") =>
            {
                Verdict::Denied(text)
            }
            _ => Verdict::Granted,
        };
        self.learn_right(lane, local, verdict);
    }

    fn learn_right(&mut self, lane_id: LaneId, local: Local, verdict: Verdict) {
        let now = self.now;
        if let Some(lane) = self.lanes.get_mut(lane_id) {
            let known = lane.rights.of(local, now);
            known.verdict = Some(verdict);
            known.learned = (!std::mem::take(&mut known.outdated)).then_some(now);
            known.asked = None;
            known.wanted = None;
        }
        self.release_rights(lane_id);
    }

    /// A question was lost with its connection.
    pub(super) fn right_lost(&mut self, lane_id: LaneId, local: Local) {
        let now = self.now;
        if let Some(lane) = self.lanes.get_mut(lane_id) {
            let known = lane.rights.of(local, now);
            known.asked = None;
            known.outdated = false;
        }
        self.release_rights(lane_id);
    }

    /// More is known: who was held is looked at again.
    fn release_rights(&mut self, lane_id: LaneId) {
        let Some(lane) = self.lanes.get_mut(lane_id) else {
            return;
        };
        for id in std::mem::take(&mut lane.rights.held) {
            if let Some(session) = self.sessions.get_mut(id) {
                session.holds.rights = false;
            }
            self.touch(id);
        }
    }

    /// Now and then: asks again for rights that are in use, asks another shard if one is silent,
    /// and has another look at who has waited.
    pub(super) fn sweep_rights(&mut self) {
        let now = self.now;
        let mut wishes = Vec::new();
        let mut held = Vec::new();
        for (id, lane) in self.lanes.iter() {
            if lane.sessions == 0 {
                continue;
            }
            let waits = !lane.rights.held.is_empty();
            if waits {
                held.push(id);
            }
            for known in &lane.rights.known {
                let unasked = waits && known.verdict.is_none() && known.asked.is_none();
                if unasked || known.is_to_refresh(now) || known.is_overdue(now) {
                    wishes.push((id, known.local));
                }
            }
        }
        for (lane, local) in wishes {
            if let Some(Probe { words, .. }) = probe(local) {
                self.ask_right(lane, local, words);
            }
        }
        for lane in held {
            self.release_rights(lane);
        }
    }

    /// Users have been changed through this endpoint.
    pub(super) fn forget_rights(&mut self) {
        for lane in self.lanes.iter_mut() {
            lane.rights.forget();
        }
    }
}
