//! WAIT and WAITAOF: a session's marks become waiters, and the acks' wishes become commands.
//!
//! ```text
//!   WAIT 1 100 --all earlier replies are there--> marks --> acks of each shard --+
//!                                                                               |
//!   tracker link:  [ SPUBLISH | WAIT 1 0 | INFO replication ]   <--Ask----------+
//!                       |          |            |                               |
//!                    refused?    count     which history?   ----round_replied-->|
//!                                                                               |
//!   seat <-- the smallest count of all shards <-- waits <-------Answer----------+
//! ```

use std::sync::Arc;
use std::time::Duration;

use crate::acks::{
    Acked, Action, Barrier, Content, Counted, Denied, Need, Part, RoundNumber, Seen, ShardAcks,
    TrackerId, Verdict, WaitNumber, Waits,
};
use crate::ids::{LinkId, Mirror, SessionId, ShardId, Time};
use crate::pipeline::Pipeline;
use crate::resp::{Request, Value, parse_int, write};
use crate::session::SeatNumber;
use crate::text;
use crate::topology::Report;

use super::link::{Own, Role};
use super::shard::Shard;
use super::{Engine, Mode, Then};

/// The channel of barriers. Nobody subscribes to it; it is not in any keyspace and not in an AOF.
pub(super) const CHANNEL: &str = "__weir:barrier";

/// `FUNCTION RESTORE` of a library dump without a library: RDB version 10 and its CRC64. It changes
/// nothing and is replicated. Source: redis `functions.c`, `functionRestoreCommand`; servers from
/// 7.0 on take version 10.
const NO_FUNCTIONS: &[u8] = &[0x0a, 0x00, 0x5d, 0x9b, 0x5c, 0x40, 0x0f, 0x7f, 0xa2, 0xda];

/// Which of the commands it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    aof: bool,
    /// ALL and MAJORITY may stand for the number of replicas.
    quorums: bool,
}

impl Kind {
    pub(super) const WAIT: Self = Self { aof: false, quorums: false };
    pub(super) const WAITAOF: Self = Self { aof: true, quorums: false };
    pub(super) const WEIR_WAIT: Self = Self { aof: false, quorums: true };
    pub(super) const WEIR_WAITAOF: Self = Self { aof: true, quorums: true };
}

/// How many of the replicas that a shard should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quorum {
    All,
    /// More than half of them.
    Majority,
}

impl Quorum {
    fn named(word: &[u8]) -> Option<Self> {
        if word.eq_ignore_ascii_case(b"all") {
            Some(Self::All)
        } else if word.eq_ignore_ascii_case(b"majority") {
            Some(Self::Majority)
        } else {
            None
        }
    }

    fn of(self, replicas: u32) -> i64 {
        i64::from(match self {
            Self::All => replicas,
            Self::Majority => replicas / 2 + 1,
        })
    }
}

/// What a session has asked to wait for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wait {
    need: Need,
    /// In place of the number of replicas in `need`: each shard's own, and nothing less.
    quorum: Option<Quorum>,
    /// None: for ever.
    timeout: Option<Duration>,
    /// Where the answer goes; none if it is for an EXEC that is yet to be sent.
    seat: Option<SeatNumber>,
    /// The client doesn't want the reply, so it can't be told of a loss by it.
    mute: bool,
}

/// The sessions that wait.
#[derive(Debug, Default)]
pub(super) struct Book {
    waits: Waits,
    /// What each is to be answered with, and where.
    open: Mirror<SessionId, Open>,
}

#[derive(Debug)]
struct Open {
    wait: Wait,
    shards: Vec<ShardId>,
    deadline: Option<Time>,
}

impl Wait {
    /// Whether its answer goes to a seat of its own.
    pub(super) fn has_seat(&self) -> bool {
        self.seat.is_some()
    }
}

impl Engine {
    /// `WAIT numreplicas timeout` or `WAITAOF numlocal numreplicas timeout`: errors and their order
    /// as stock. Source: redis `replication.c`, `waitCommand`, `waitaofCommand`. Those of Weir take
    /// ALL or MAJORITY for a number of replicas too.
    pub(super) fn wait(&mut self, id: SessionId, kind: Kind, request: &Request<'_>) {
        let (need, quorum, timeout) = match parse_wait(kind, request, self.wall_micros() / 1000) {
            Ok(wait) => wait,
            Err(text) => return self.answer_error(id, text),
        };
        self.stats().waits.add(1);
        let mute = self.next_is_mute(id);
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let seat = Some(session.seats.reserve(mute));
        session.mode = Mode::Draining(Then::Wait(Wait { need, quorum, timeout, seat, mute }));
        self.touch(id);
    }

    /// All that the session asked before has been answered: its marks say what the wait is about.
    pub(super) fn begin_wait(&mut self, id: SessionId, wait: Wait) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        session.mode = Mode::Waiting;
        if let Some(lost) = session.marks.take_loss(acks_of(&self.shards)) {
            return self.end_lost_wait(id, wait, lost);
        }
        let need = wait.need;
        let part = |(shard, mark)| Part { shard, mark: Some(mark), need };
        let mut parts: Vec<Part> = session.marks.iter().map(part).collect();
        if parts.is_empty() {
            // It never wrote: each shard answers as a stock server answers such a client.
            let part = |&shard| Part { shard, mark: None, need };
            parts.extend(self.map.members().iter().map(part));
        }
        let content = match wait.quorum {
            None => Content::WithWhatThereIs,
            Some(quorum) => {
                for part in &mut parts {
                    let shard = &self.shards[part.shard.index()];
                    let replicas = shard.replicas_due(&self.settings);
                    if replicas == 0 {
                        let text = text::no_replica_known(&shard.name());
                        return self.end_wait_with_error(id, wait, text.as_bytes());
                    }
                    part.need = need.of_replicas(quorum.of(replicas));
                }
                Content::WithNothingLess
            }
        };
        let deadline = wait.timeout.map(|timeout| now + timeout);
        let [first, others @ ..] = parts.as_slice() else {
            // The last has gone meanwhile.
            let text = text::shard_down("the cluster", self.shards[0].why());
            return self.end_wait_with_error(id, wait, text.as_bytes());
        };
        let number = self.book.waits.open(id, content, deadline, *first, others.iter().copied());
        let shards = parts.iter().map(|part| part.shard).collect();
        self.book.open.insert(id, Open { wait, shards, deadline });
        self.stats().blocked_clients.add(1);
        for Part { shard, mark, need } in parts {
            self.stats().shards[shard.index()].waiters.add(1);
            self.shards[shard.index()].acks.wait(id, number, need, mark, deadline, now);
        }
    }

    /// The session waits no longer: takes it out everywhere.
    fn close_wait(&mut self, id: SessionId) -> Option<Open> {
        let open = self.book.open.remove(id)?;
        self.book.waits.close(id);
        self.stats().blocked_clients.sub(1);
        for shard in &open.shards {
            self.stats().shards[shard.index()].waiters.sub(1);
            self.shards[shard.index()].acks.cancel(id, self.now);
        }
        Some(open)
    }

    /// A shard is gone. Who waits for a write there is told; who never wrote waits for every shard,
    /// and so for those that there are now.
    pub(super) fn wait_without(&mut self, gone: ShardId) {
        let now = self.now;
        let waits =
            |id: SessionId| self.book.open.get(id).is_some_and(|open| open.shards.contains(&gone));
        let never_wrote = self.sessions.iter().filter(|(_, session)| session.marks.is_empty());
        let all: Vec<SessionId> = never_wrote.map(|(id, _)| id).filter(|id| waits(*id)).collect();
        for id in all {
            if let Some(Open { wait, deadline, .. }) = self.close_wait(id) {
                let timeout = deadline.map(|deadline| deadline.since(now));
                self.begin_wait(id, Wait { timeout, ..wait });
            }
        }
    }

    /// The session is gone.
    pub(super) fn cancel_wait(&mut self, id: SessionId) {
        self.close_wait(id);
    }

    /// CLIENT UNBLOCK. Returns whether the session was waiting.
    pub(super) fn unblock_wait(&mut self, id: SessionId, error: bool) -> bool {
        if error {
            let Some(open) = self.close_wait(id) else {
                return false;
            };
            self.end_wait_with_error(id, open.wait, text::UNBLOCKED_BY_CLIENT.as_bytes());
            return true;
        }
        let Some(open) = self.book.open.get(id) else {
            return false;
        };
        for shard in &open.shards {
            self.shards[shard.index()].acks.unblock(id, self.now);
        }
        true
    }

    /// Tells of a shard that has lost its history. The session has forgotten that loss, because it
    /// is told now; unless it doesn't want the reply, or the reply is for an EXEC that may come to
    /// nothing: then it is to be told another time.
    fn end_lost_wait(&mut self, id: SessionId, wait: Wait, lost: ShardId) {
        self.stats().waits_lost.add(1);
        let untold = wait.mute || !wait.has_seat();
        if let (true, Some(session)) = (untold, self.sessions.get_mut(id)) {
            session.marks.lost(lost);
        }
        if !wait.has_seat() {
            self.will_tell_of(id, lost);
        }
        let text = text::lost_history(&self.shards[lost.index()].name());
        self.end_wait_with_error(id, wait, text.as_bytes());
    }

    fn end_wait_with_error(&mut self, id: SessionId, wait: Wait, text: &[u8]) {
        let mut reply = Vec::with_capacity(text.len() + 3);
        write::error_bytes(&mut reply, text);
        self.end_wait(id, wait, &reply);
    }

    fn end_wait(&mut self, id: SessionId, wait: Wait, reply: &[u8]) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.mode = Mode::Serving;
        }
        match wait.seat {
            Some(seat) => self.fill_seat(id, seat, reply),
            None => {
                let aof = matches!(wait.need, Need::WaitAof { .. });
                self.counted_for_exec(id, aof, reply);
                self.touch(id);
            }
        }
    }

    /// The error that the arguments of WAIT or WAITAOF deserve, if they do.
    pub(super) fn wait_error(&self, aof: bool, request: &Request<'_>) -> Option<Vec<u8>> {
        let kind = if aof { Kind::WAITAOF } else { Kind::WAIT };
        let text = parse_wait(kind, request, self.wall_micros() / 1000).err()?;
        let mut error = Vec::new();
        write::error(&mut error, text);
        Some(error)
    }

    /// EXEC's reply tells the session of losses on these shards.
    pub(super) fn losses_are_told(&mut self, id: SessionId, losses: &[ShardId]) {
        if let Some(session) = self.sessions.get_mut(id) {
            for &shard in losses {
                session.marks.loss_was_told(shard, acks_of(&self.shards));
            }
        }
    }

    /// WAIT and WAITAOF between MULTI and EXEC are answered with what is acknowledged when EXEC
    /// comes, as a stock server does: counts it, and then EXEC is served anew.
    pub(super) fn count_for_exec(&mut self, id: SessionId, aof: bool) {
        let need = match aof {
            false => Need::Wait { replicas: 0 },
            true => Need::WaitAof { local: 0, replicas: 0 },
        };
        // For a shard that can't be asked.
        let timeout = Some(crate::limits::ACK_STANDING_MAX);
        if let Some(session) = self.sessions.get_mut(id) {
            let wait = Wait { need, quorum: None, timeout, seat: None, mute: false };
            session.mode = Mode::Draining(Then::Wait(wait));
        }
        self.touch(id);
    }

    fn shard_answered(
        &mut self,
        shard: ShardId,
        id: SessionId,
        number: WaitNumber,
        answer: Result<Counted, Denied>,
    ) {
        let now = self.now;
        let answer = match self.book.waits.answered(id, number, shard, answer, now) {
            Verdict::Waiting => return,
            Verdict::Confirm(old) => {
                for old in old {
                    self.shards[old.shard.index()].acks.confirm(id, &old, now);
                }
                return;
            }
            Verdict::Decided(answer) => answer,
            Verdict::Short { part, acked } => return self.end_short_wait(id, part, acked),
        };
        let Some(Open { wait, .. }) = self.close_wait(id) else {
            return;
        };
        match answer {
            Ok(acked) => {
                let mut reply = Vec::new();
                match wait.need {
                    Need::Wait { replicas } => {
                        if acked.replicas < replicas {
                            self.stats().waits_timed_out.add(1);
                        }
                        write::int(&mut reply, acked.replicas);
                    }
                    Need::WaitAof { local, replicas } => {
                        if acked.local < local || acked.replicas < replicas {
                            self.stats().waits_timed_out.add(1);
                        }
                        write::array(&mut reply, 2);
                        write::int(&mut reply, acked.local);
                        write::int(&mut reply, acked.replicas);
                    }
                }
                self.end_wait(id, wait, &reply);
            }
            Err(Denied::Lost) => {
                let session = self.sessions.get_mut(id);
                let told = session.and_then(|s| s.marks.take_loss(acks_of(&self.shards)));
                self.end_lost_wait(id, wait, told.unwrap_or(shard));
            }
            Err(Denied::Unreachable) => {
                let text = text::out_of_reach(&self.shards[shard.index()].name());
                self.end_wait_with_error(id, wait, text.as_bytes());
            }
            Err(Denied::Error(text)) => self.end_wait_with_error(id, wait, &text),
        }
    }

    /// The time is up, and a shard has less than all that was asked for.
    fn end_short_wait(&mut self, id: SessionId, part: Part, acked: Acked) {
        let Some(Open { wait, .. }) = self.close_wait(id) else {
            return;
        };
        self.stats().waits_timed_out.add(1);
        let least = part.need.least();
        let name = self.shards[part.shard.index()].name();
        let text = if acked.replicas < least.replicas {
            text::short_of_replicas(&name, acked.replicas, least.replicas)
        } else {
            text::not_fsynced(&name)
        };
        self.end_wait_with_error(id, wait, text.as_bytes());
    }

    // ---------------------------------------------------------------- rounds

    /// Does what the acks of all shards want done. Returns whether there was anything.
    pub(super) fn act_on_acks(&mut self) -> bool {
        let mut any = false;
        for index in 0..self.shards.len() {
            while let Some(action) = self.shards[index].acks.poll_action() {
                any = true;
                self.act(ShardId(u16::try_from(index).unwrap_or(u16::MAX)), action);
            }
        }
        any
    }

    fn act(&mut self, shard: ShardId, action: Action) {
        match action {
            Action::OpenTracker(tracker) => {
                let link = self.open_link(shard, Role::Tracker(tracker), Pipeline::default());
                self.shards[shard.index()].trackers.push((tracker, link));
            }
            Action::CloseTracker(tracker) => {
                if let Some(link) = self.tracker_link(shard, tracker) {
                    self.shards[shard.index()].trackers.retain(|(_, other)| *other != link);
                    self.drop_link(link);
                }
            }
            Action::Ask { tracker, barrier, ask } => {
                self.stats().wait_rounds.add(1);
                self.stats().shards[shard.index()].rounds.add(1);
                if let Some(link) = self.tracker_link(shard, tracker) {
                    self.begin_round(link, barrier, ask);
                }
            }
            Action::AskAgain { tracker, ask } => {
                self.stats().wait_reasks.add(1);
                if let Some(link) = self.tracker_link(shard, tracker) {
                    self.send_question(link, ask);
                }
            }
            Action::Unblock { tracker } => self.unblock_tracker(shard, tracker),
            Action::Answer { session, number, answer } => {
                self.shard_answered(shard, session, number, answer);
            }
        }
    }

    fn tracker_link(&self, shard: ShardId, tracker: TrackerId) -> Option<LinkId> {
        let trackers = &self.shards[shard.index()].trackers;
        trackers.iter().find(|(other, _)| *other == tracker).map(|(_, link)| *link)
    }

    /// Sends a round's barrier and question; but never while a CLIENT UNBLOCK for the round before
    /// is on its way.
    fn begin_round(&mut self, id: LinkId, barrier: Barrier, ask: Need) {
        let Some(link) = self.links.get_mut(id) else {
            return;
        };
        if link.round.unblocks_out > 0 {
            link.round.next = Some((barrier, ask));
            return;
        }
        link.round.barrier_out = barrier != Barrier::None;
        match barrier {
            Barrier::None => {}
            Barrier::Spublish => {
                self.send_own(id, Own::Barrier, |out| {
                    write::request(out, &["SPUBLISH", CHANNEL, ""]);
                });
            }
            Barrier::FunctionRestore => {
                self.send_own(id, Own::Barrier, |out| {
                    write::request(out, &[b"FUNCTION".as_slice(), b"RESTORE", NO_FUNCTIONS]);
                });
            }
        }
        self.ask(id, barrier, ask);
    }

    /// Asks behind a barrier: at once, but for a WAITAOF.
    ///
    /// A replica that reads the barrier and GETACK together tells what it had fsynced before them,
    /// and would have to be asked again later (`acks`, re-asking). So the primary is asked when it
    /// has answered the barrier, by when that is on its way to the replica alone.
    fn ask(&mut self, link: LinkId, barrier: Barrier, ask: Need) {
        match (barrier, ask) {
            (Barrier::Spublish | Barrier::FunctionRestore, Need::WaitAof { .. }) => {
                if let Some(link) = self.links.get_mut(link) {
                    link.round.held = Some(ask);
                }
            }
            (Barrier::None, _) | (_, Need::Wait { .. }) => self.send_question(link, ask),
        }
    }

    /// The question, and behind it INFO: if that still shows this history, the count is about it.
    fn send_question(&mut self, link: LinkId, ask: Need) {
        self.send_own(link, Own::Acked, |out| match ask {
            Need::Wait { replicas } => {
                write::request(out, &["WAIT", replicas.to_string().as_str(), "0"]);
            }
            Need::WaitAof { local, replicas } => {
                let (local, replicas) = (local.to_string(), replicas.to_string());
                write::request(out, &["WAITAOF", local.as_str(), replicas.as_str(), "0"]);
            }
        });
        self.send_own(link, Own::RoundReport, |out| write::request(out, super::links::REPORT_INFO));
    }

    fn unblock_tracker(&mut self, shard: ShardId, tracker: TrackerId) {
        let Some(id) = self.tracker_link(shard, tracker) else {
            return;
        };
        let Some(link) = self.links.get_mut(id) else {
            return;
        };
        if link.round.barrier_out || link.round.next.is_some() {
            link.round.unblock = true;
            return;
        }
        let control = self.shards[shard.index()].control;
        if let (Some(client), Some(control)) = (link.client_id, control) {
            link.round.unblocks_out += 1;
            self.send_own(control, Own::Unblocked(id), |out| {
                let client = client.to_string();
                write::request(out, &["CLIENT", "UNBLOCK", client.as_str(), "TIMEOUT"]);
            });
        }
    }

    /// A CLIENT UNBLOCK for a tracker has been answered: if it was the last, its next round begins.
    pub(super) fn tracker_unblocked(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(id) else {
            return;
        };
        link.round.unblocks_out = link.round.unblocks_out.saturating_sub(1);
        if link.round.unblocks_out == 0
            && let Some((barrier, ask)) = link.round.next.take()
        {
            self.begin_round(id, barrier, ask);
        }
    }

    pub(super) fn round_reply(&mut self, id: LinkId, own: Own, reply: &[u8]) {
        let now = self.now;
        let Some(link) = self.links.get_mut(id) else {
            return;
        };
        let (shard, Role::Tracker(tracker)) = (link.shard, link.role) else {
            return;
        };
        let value = Value::parse(reply).map(|(value, _)| value);
        match (own, value) {
            (Own::Barrier, value) => {
                let held = link.round.held.take();
                link.round.barrier_out = false;
                let unblock = std::mem::take(&mut link.round.unblock);
                if let Some(Value::Error(text)) = value {
                    self.shards[shard.index()].acks.barrier_refused(tracker, Arc::from(text), now);
                }
                if let Some(ask) = held {
                    self.send_question(id, ask);
                }
                if unblock {
                    self.unblock_tracker(shard, tracker);
                }
            }
            (Own::Acked, Some(value)) => link.round.acked = read_count(&value),
            (Own::RoundReport, Some(Value::Bulk(info))) => {
                let acked = link.round.acked.take();
                link.round.unblock = false;
                let report = match Report::parse(&info) {
                    Ok(report) => report,
                    Err(error) => {
                        let why = format!("its INFO can't be read: {error}");
                        return self.reject_link(id, &why);
                    }
                };
                let generation = self.shards[shard.index()].generation;
                let same = self.observe(shard, report, Some(id))
                    && self.shards[shard.index()].generation == generation;
                match (acked, self.seen(shard)) {
                    (Some(outcome), Some(seen)) if same => {
                        let acks = &mut self.shards[shard.index()].acks;
                        acks.round_replied(tracker, outcome, &seen, now);
                    }
                    // The count is about another history, or is none: nobody is told.
                    _ => self.reject_link(id, "the primary's history has changed"),
                }
            }
            (Own::RoundReport, _) => self.reject_link(id, "it refuses INFO"),
            _ => {}
        }
    }

    /// What the last report of a shard means for its acks.
    pub(super) fn seen(&self, id: ShardId) -> Option<Seen> {
        let shard = &self.shards[id.index()];
        let report = shard.report.as_ref()?;
        Some(Seen {
            generation: shard.acks.generation(),
            offset: report.offset,
            backlog_active: report.backlog_active,
            aof_enabled: report.aof_enabled,
            cluster_enabled: report.cluster_enabled,
            online: report.online(),
        })
    }

    /// A poll's report is here.
    pub(super) fn tell_acks(&mut self, id: ShardId, number: RoundNumber) {
        if let Some(seen) = self.seen(id) {
            self.shards[id.index()].acks.report(number, &seen);
        }
    }
}

/// Where to find each shard's acks.
fn acks_of<'a>(shards: &'a [Shard]) -> impl Fn(ShardId) -> Option<&'a ShardAcks> {
    |shard| shards.get(shard.index()).map(|shard| &shard.acks)
}

/// The count in the reply of WAIT or WAITAOF, or its error.
fn read_count(value: &Value) -> Option<Result<Acked, crate::acks::ErrorText>> {
    match value {
        Value::Int(replicas) => Some(Ok(Acked { local: 0, replicas: *replicas })),
        Value::Array(pair) => match pair.as_slice() {
            [Value::Int(local), Value::Int(replicas)] => {
                Some(Ok(Acked { local: *local, replicas: *replicas }))
            }
            _ => None,
        },
        Value::Error(text) => Some(Err(Arc::from(text.as_slice()))),
        _ => None,
    }
}

/// Reads the arguments, with the errors of a stock server in its order. `wall` is the Unix time in
/// milliseconds.
fn parse_wait(
    kind: Kind,
    request: &Request<'_>,
    wall: u64,
) -> Result<(Need, Option<Quorum>, Option<Duration>), &'static str> {
    let number = |at: usize| request.get(at).and_then(parse_int);
    let quorum = request.get(if kind.aof { 2 } else { 1 }).and_then(Quorum::named);
    let quorum = quorum.filter(|_| kind.quorums);
    let (need, timeout) = if kind.aof {
        let local = number(1).ok_or(text::NOT_AN_INTEGER)?;
        if !(0..=1).contains(&local) {
            return Err(text::NOT_ZERO_OR_ONE);
        }
        let replicas = number(2).filter(|replicas| *replicas >= 0);
        let replicas = replicas.or(quorum.map(|_| 0)).ok_or(text::NOT_POSITIVE)?;
        (Need::WaitAof { local, replicas }, number(3))
    } else {
        let replicas = number(1).or(quorum.map(|_| 0)).ok_or(text::NOT_AN_INTEGER)?;
        (Need::Wait { replicas }, number(2))
    };
    let timeout = timeout.ok_or(text::TIMEOUT_NOT_AN_INTEGER)?;
    let millis = u64::try_from(timeout).map_err(|_| text::TIMEOUT_NEGATIVE)?;
    // A stock server adds the time of day, and its sum overflows. Here such a deadline would just
    // never come, but the client is told the same.
    if millis > i64::MAX.unsigned_abs().saturating_sub(wall) {
        return Err(text::TIMEOUT_OUT_OF_RANGE);
    }
    Ok((need, quorum, (millis > 0).then(|| Duration::from_millis(millis))))
}
