//! Reads from replicas.
//!
//! ```text
//!   poll 7 of the primary: 480 bytes ----+          by its watch, a replica says: 485
//!   poll 8 of the primary: 520 bytes     +--------> it has all that was written before poll 7,
//!                                                   so it is no staler than poll 7 is old, and has
//!                                                   what sessions with marks up to round 7 wrote
//! ```
//!
//! A **reader** is a replica as somebody to read from; its **watch** is the link on which it is
//! asked how far it is. A session reads there only if the reader is no staler than
//! `replica-max-lag`, and has the session's own last write. Whatever a reader can't answer, the
//! primary is asked for: a read can be said again.
//!
//! In a cluster a key may have gone ahead of its slot, and a replica of the shard that it has left
//! may know nothing of that: it answers as if there were no such key. So there a replica that says
//! *nothing* (nil, 0, an empty list) is not believed, and the primary is asked; with several keys
//! it could say half of the truth, so those reads are the primary's. And after a `MOVED` or `ASK`
//! a reader must have seen what the primary had then: a client whose write went to the new owner
//! would find its old value on a replica that still has the key.
//!
//! On two connections things happen in any order. So a session has only reads under way on
//! replicas, or nothing: its next write waits until they have been answered.

use std::collections::VecDeque;

use crate::acks::RoundNumber;
use crate::command::SpecId;
use crate::ids::{LaneId, LinkId, SessionId, ShardId, Time};
use crate::limits;
use crate::pipeline::{Piece, Pipeline};
use crate::resp::{Request, Value, write};
use crate::session::Reads;
use crate::settings::ReadFrom;
use crate::shards::{Address, Kind};
use crate::topology::{Report, Role as ServerRole};

use super::event::Whom;
use super::link::{Link, Own, Role, Token};
use super::{Engine, Output};

/// A replica's number among its shard's readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReaderId(u16);

/// See the module's picture.
#[derive(Debug)]
struct Reader {
    address: Address,
    /// The primary tells of it.
    listed: bool,
    watch: Option<LinkId>,
    retry_at: Time,
    /// It has all that the primary had then; none if that isn't known.
    fresh_at: Option<Time>,
    /// It has what marks up to this one stand for.
    holds: RoundNumber,
    /// The links on which lanes read.
    links: Vec<(LaneId, LinkId)>,
}

impl Reader {
    fn new(address: Address, now: Time) -> Self {
        Self {
            address,
            listed: true,
            watch: None,
            retry_at: now,
            fresh_at: None,
            holds: RoundNumber::default(),
            links: Vec::new(),
        }
    }
}

/// A look at the primary.
#[derive(Debug, Clone, Copy)]
struct Look {
    number: RoundNumber,
    at: Time,
    offset: Option<u64>,
}

/// A shard's readers, and what its primary had when.
#[derive(Debug, Default)]
pub(super) struct Readers {
    readers: Vec<Reader>,
    looks: VecDeque<Look>,
    /// When the primary said last that a key is elsewhere.
    strayed_at: Option<Time>,
}

impl Readers {
    /// The primary is being asked how far it is.
    pub(super) fn looks(&mut self, number: RoundNumber, at: Time) {
        if self.looks.len() == limits::READER_LOOKS_MAX {
            self.looks.pop_front();
        }
        self.looks.push_back(Look { number, at, offset: None });
    }

    /// It has said so.
    fn looked(&mut self, number: RoundNumber, offset: u64) {
        if let Some(look) = self.looks.iter_mut().find(|look| look.number == number) {
            look.offset = Some(offset);
        }
    }

    /// Whether a reader is as fresh as this, and has what a session wrote.
    fn may_answer(&self, reader: &Reader, oldest: Time, wrote: Option<RoundNumber>) -> bool {
        let fresh = reader
            .fresh_at
            .is_some_and(|at| at >= oldest && self.strayed_at.is_none_or(|strayed| at > strayed));
        reader.listed && fresh && wrote.is_none_or(|round| round <= reader.holds)
    }

    /// The primary's history is another one: what is known is about the old.
    pub(super) fn forget(&mut self) {
        self.looks.clear();
        for reader in &mut self.readers {
            reader.fresh_at = None;
            reader.holds = RoundNumber::default();
        }
    }

    /// A reader is as far as this.
    fn is_at(&mut self, reader: ReaderId, offset: u64) {
        let known = self.looks.iter().rev().find(|look| look.offset.is_some_and(|at| at <= offset));
        if let (Some(look), Some(reader)) = (known, self.readers.get_mut(usize::from(reader.0))) {
            reader.fresh_at = Some(look.at);
            reader.holds = reader.holds.max(look.number);
        }
    }

    fn get_mut(&mut self, reader: ReaderId) -> Option<&mut Reader> {
        self.readers.get_mut(usize::from(reader.0))
    }

    /// These replicas are there.
    fn list(&mut self, replicas: &[crate::topology::Replica], now: Time) {
        for reader in &mut self.readers {
            reader.listed = false;
        }
        for replica in replicas.iter().filter(|replica| replica.online) {
            let Ok(address) = replica.address.parse::<Address>() else { continue };
            let known = self.readers.iter().position(|reader| reader.address == address);
            match known {
                Some(place) => self.readers[place].listed = true,
                None if self.readers.len() < limits::READERS_MAX => {
                    self.readers.push(Reader::new(address, now));
                }
                None => {}
            }
        }
    }

    /// When the next watch is to be opened.
    pub(super) fn next_timeout(&self) -> Option<Time> {
        let missing = self.readers.iter().filter(|reader| reader.listed && reader.watch.is_none());
        missing.map(|reader| reader.retry_at).min()
    }

    /// A link is gone.
    pub(super) fn forget_link(&mut self, link: LinkId, retry_at: Time) {
        for reader in &mut self.readers {
            reader.links.retain(|(_, other)| *other != link);
            if reader.watch == Some(link) {
                reader.watch = None;
                reader.retry_at = retry_at;
                reader.fresh_at = None;
            }
        }
    }
}

impl Engine {
    /// Whether anybody reads from replicas.
    pub(super) fn reads_replicas(&self) -> bool {
        self.settings.read_from != ReadFrom::Primary || self.readonly_sessions > 0
    }

    /// How often primaries are asked how they are: a bound on staleness can't be kept by looking
    /// less often.
    pub(super) fn poll_pace(&self) -> std::time::Duration {
        let interval = self.settings.poll_interval;
        match self.reads_replicas() {
            false => interval,
            true => (self.settings.replica_max_lag / 4).max(limits::READER_PACE_MIN).min(interval),
        }
    }

    /// `READONLY` and `READWRITE`: where the session reads from now on, whatever the setting says.
    pub(super) fn read_by(&mut self, id: SessionId, reads: Reads) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let before = std::mem::replace(&mut session.reads, reads);
        let counts = |reads| usize::from(reads == Reads::ByReplicas);
        self.readonly_sessions = self.readonly_sessions + counts(reads) - counts(before);
        if counts(reads) > 0 {
            let now = self.now;
            for shard in &mut self.shards {
                shard.poll_at = shard.poll_at.min(now);
            }
        }
    }

    // ---------------------------------------------------------------- watching

    /// The primary has answered a poll.
    pub(super) fn primary_looked(&mut self, id: ShardId, number: RoundNumber) {
        if !self.reads_replicas() {
            return;
        }
        let now = self.now;
        let shard = &mut self.shards[id.index()];
        let Some(report) = &shard.report else {
            return;
        };
        shard.readers.looked(number, report.offset);
        shard.readers.list(&report.replicas, now);
        let watches = shard.readers.readers.iter().filter(|reader| reader.listed);
        let watches: Vec<LinkId> = watches.filter_map(|reader| reader.watch).collect();
        for watch in watches {
            if self.links.get(watch).is_some_and(|link| link.pipeline.is_ready()) {
                self.send_own(watch, Own::Watched, |out| {
                    write::request(out, super::links::REPORT_INFO);
                });
            }
        }
    }

    /// Opens the watches that are missing, and gives up links to readers that don't answer.
    pub(super) fn readers_timer(&mut self, id: ShardId) {
        let now = self.now;
        let wanted = self.reads_replicas();
        self.give_up_silent_readers(id);
        let all = self.shards[id.index()].readers.readers.iter().enumerate();
        let due: Vec<u16> = all
            .filter(|(_, reader)| {
                wanted && reader.listed && reader.watch.is_none() && now >= reader.retry_at
            })
            .filter_map(|(index, _)| u16::try_from(index).ok())
            .collect();
        for index in due {
            let role = Role::Watch(ReaderId(index));
            let link = self.dial_reader(id, ReaderId(index), role, Pipeline::default());
            if let Some(reader) = self.shards[id.index()].readers.get_mut(ReaderId(index)) {
                reader.watch = link;
            }
        }
    }

    /// A reader that is too stale to be read from and has said nothing for as long won't answer
    /// what it owes: the primary is asked.
    fn give_up_silent_readers(&mut self, id: ShardId) {
        let now = self.now;
        let lag = self.settings.replica_max_lag;
        let stale = |reader: &&Reader| reader.fresh_at.is_none_or(|at| now.since(at) > lag);
        let readers = self.shards[id.index()].readers.readers.iter().filter(stale);
        let links: Vec<LinkId> = readers
            .flat_map(|reader| reader.links.iter().map(|(_, link)| *link).chain(reader.watch))
            .collect();
        for link in links {
            let silent = self.silence(link).is_some_and(|since| now.since(since) > 2 * lag);
            if silent {
                let why = format!("it has not answered for {} ms", (2 * lag).as_millis());
                self.reject_link(link, &why);
            }
        }
    }

    fn dial_reader(
        &mut self,
        id: ShardId,
        reader: ReaderId,
        role: Role,
        pipeline: Pipeline<Token>,
    ) -> Option<LinkId> {
        let address = self.shards[id.index()].readers.get_mut(reader)?.address.clone();
        let link = self.links.insert(Link::new(id, role, pipeline, self.now));
        let timeout = self.settings.connect_timeout;
        let whom = Whom::Shard;
        self.outputs.push_back(Output::Connect { link, whom, address, timeout });
        Some(link)
    }

    /// A replica has said how it is. Returns whether it is one, of the history that the shard has.
    pub(super) fn reader_report(&mut self, id: ShardId, reader: ReaderId, report: &Report) -> bool {
        let shard = &mut self.shards[id.index()];
        let ours = shard.history.as_ref().is_some_and(|history| history.replid == report.replid);
        if !ours || report.role != ServerRole::Replica {
            return false;
        }
        shard.readers.is_at(reader, report.offset);
        true
    }

    /// A watch has been answered.
    pub(super) fn watched(&mut self, id: LinkId, reply: &[u8]) {
        let Some((shard, Role::Watch(reader))) = self.links.get(id).map(|l| (l.shard, l.role))
        else {
            return;
        };
        let report = match Value::parse(reply) {
            Some((Value::Bulk(info), _)) => Report::parse(&info).ok(),
            _ => None,
        };
        if !report.is_some_and(|report| self.reader_report(shard, reader, &report)) {
            self.reject_link(id, "it is no replica of this primary");
        }
    }

    // ---------------------------------------------------------------- reading

    /// Whether a session has reads under way on replicas, and now says something else: that must
    /// wait.
    pub(super) fn must_leave_replicas(&mut self, id: SessionId, request: &Request<'_>) -> bool {
        let Some(session) = self.sessions.get_mut(id).filter(|session| session.on_replicas) else {
            return false;
        };
        if session.seats.is_empty() {
            session.on_replicas = false;
            return false;
        }
        let table = self.router.table();
        let reads = table.check(request).is_ok_and(|spec| table.spec(spec).may_be_stale());
        !reads && self.must_drain(id)
    }

    /// Whether a replica's answer to a read tells what is not there: see the module's text. A
    /// request of this length has no longer *nothing* than what is passed on whole.
    fn tells_what_is_missing(&mut self, spec: SpecId, request: &Request<'_>, len: usize) -> bool {
        let spec = self.router.table().spec(spec);
        self.map.kind() == Kind::Apart
            || len < limits::REPLY_STREAM_BYTES
                && self.router.has_one_key(spec, request, &mut self.scratch)
    }

    /// A shard has answered with an error: if it is that a key is elsewhere, its readers must have
    /// seen what it knew.
    pub(super) fn key_strayed(&mut self, id: LinkId, piece: &Piece<Token>) {
        let Some(link) = self.links.get(id) else {
            return;
        };
        let error = link.pipeline.bytes(piece);
        if (error.starts_with(b"-MOVED ") || error.starts_with(b"-ASK "))
            && let Some(shard) = self.shards.get_mut(link.shard.index())
        {
            shard.readers.strayed_at = Some(self.now);
        }
    }

    /// The link to a replica that may answer this read of a session's; none if it is the primary's.
    pub(super) fn reader_of(
        &mut self,
        id: SessionId,
        shard: ShardId,
        spec: SpecId,
        request: &Request<'_>,
        len: usize,
    ) -> Option<LinkId> {
        if !self.reads_replicas()
            || !self.router.table().spec(spec).may_be_stale()
            || !self.tells_what_is_missing(spec, request, len)
        {
            return None;
        }
        let session = self.sessions.get(id)?;
        let from = match session.reads {
            Reads::AsSet => self.settings.read_from,
            Reads::ByReplicas => ReadFrom::Replica,
            Reads::ByPrimaries => ReadFrom::Primary,
        };
        let apart = session.transaction.is_some() || session.is_pushed_to();
        let busy = !session.seats.is_empty() && !session.on_replicas;
        if from == ReadFrom::Primary || apart || busy || self.pin_of(id, shard).is_some() {
            return None;
        }
        let here = &self.shards[shard.index()];
        let wrote = match session.marks.of(shard) {
            None => None,
            // What it wrote on another history, or may have written, the primary knows.
            Some(mark) => Some(mark.filter(|mark| mark.generation == here.acks.generation())?),
        };
        let oldest = self.now - self.settings.replica_max_lag;
        let wrote = wrote.map(|mark| mark.round);
        let may = |reader: &Reader| here.readers.may_answer(reader, oldest, wrote);
        let able: Vec<u16> = (0u16..)
            .zip(&here.readers.readers)
            .filter(|(_, reader)| may(reader))
            .map(|(number, _)| number)
            .collect();
        // A session keeps to one of them as long as it can, so that it doesn't see time go back.
        let choices = able.len() + usize::from(from == ReadFrom::Any);
        let turn = usize::try_from(session.client).ok()?.checked_rem(choices)?;
        let (reader, lane) = (ReaderId(*able.get(turn)?), session.lane);
        let link = self.reader_link(shard, lane, reader)?;
        self.sessions.get_mut(id)?.on_replicas = true;
        self.stats().commands_to_replicas.add(1);
        Some(link)
    }

    fn reader_link(&mut self, id: ShardId, lane: LaneId, number: ReaderId) -> Option<LinkId> {
        let reader = self.shards[id.index()].readers.get_mut(number)?;
        if let Some((_, link)) = reader.links.iter().find(|(other, _)| *other == lane) {
            return Some(*link);
        }
        let pipeline = Pipeline::shared();
        let link = self.dial_reader(id, number, Role::Reader(lane, number), pipeline)?;
        self.shards[id.index()].readers.get_mut(number)?.links.push((lane, link));
        Some(link)
    }

    /// A reader's link is lost: what it owes is asked of the primary.
    pub(super) fn reader_failed(&mut self, id: LinkId, link: &Link) {
        let again = self.now + limits::LINK_RETRY;
        self.shards[link.shard.index()].readers.forget_link(id, again);
        for (token, request) in link.pipeline.requests() {
            let Some(lane) = token.session().and_then(|id| self.sessions.get(id)).map(|s| s.lane)
            else {
                continue;
            };
            self.send_on(link.shard, lane, token, |out| out.extend_from_slice(request));
        }
    }
}

/// Whether a reply may be one that its client isn't to see.
pub(super) fn is_refusal(reply: &[u8], role: Role, kind: Kind) -> bool {
    match role {
        Role::Reader(..) => cannot_answer(reply, kind),
        _ => reply.starts_with(b"-"),
    }
}

/// What a replica answers that can't answer: it isn't one any more, has lost its primary, or its
/// data; or, in a cluster, it may not know that there is more.
pub(super) fn cannot_answer(reply: &[u8], kind: Kind) -> bool {
    if kind == Kind::Cluster && says_nothing(reply) {
        return true;
    }
    let codes = [b"-MOVED ".as_slice(), b"-ASK ", b"-TRYAGAIN ", b"-CLUSTERDOWN "];
    let own = [b"-MASTERDOWN ".as_slice(), b"-LOADING ", b"-READONLY ", b"-NOSCRIPT "];
    codes.iter().chain(&own).any(|code| reply.starts_with(code))
}

/// Whether a reply may be what a read of a missing key is answered with: an error, or nothing in it
/// but nil, empty strings and lists, "none", false, and numbers up to 0.
fn says_nothing(reply: &[u8]) -> bool {
    const NOTHING: [&[u8]; 7] = [b"", b"$-1", b"$0", b"_", b"+none", b"#f", b",0"];
    reply.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_end).all(|line| {
        let list_or_none =
            matches!(line, [b'*' | b'~' | b'%' | b'-', ..] | [b':', b'-' | b'0', ..]);
        list_or_none || NOTHING.contains(&line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICRO: std::time::Duration = std::time::Duration::from_micros(1);

    #[test]
    fn in_a_cluster_nothing_is_not_believed() {
        let nothing = [
            "$-1\r\n",
            "_\r\n",
            "*0\r\n",
            "*-1\r\n",
            ":0\r\n",
            ":-2\r\n",
            "+none\r\n",
            "$0\r\n\r\n",
            "*2\r\n$-1\r\n$-1\r\n",
            "*2\r\n:0\r\n:0\r\n",
            "%0\r\n",
            "#f\r\n",
            "-ERR no such key\r\n",
        ];
        for reply in nothing {
            assert!(cannot_answer(reply.as_bytes(), Kind::Cluster), "{reply}");
            assert!(!cannot_answer(reply.as_bytes(), Kind::Apart), "{reply}");
        }
        let something = [
            "$1\r\nx\r\n",
            ":1\r\n",
            "+string\r\n",
            "*2\r\n$-1\r\n$1\r\nx\r\n",
            "*2\r\n:0\r\n:1\r\n",
            "$5\r\n\r\n\r\n_\r\n",
            ",0.5\r\n",
            "#t\r\n",
        ];
        for reply in something {
            assert!(!cannot_answer(reply.as_bytes(), Kind::Cluster), "{reply}");
        }
    }

    #[test]
    fn a_reader_must_know_of_keys_that_have_gone() {
        let (early, then, late) = (Time::ZERO, Time::ZERO + MICRO, Time::ZERO + 2 * MICRO);
        let mut readers = Readers::default();
        let mut reader = Reader::new("10.0.0.2:6379".parse().unwrap(), early);
        reader.fresh_at = Some(then);
        assert!(readers.may_answer(&reader, early, None));
        assert!(!readers.may_answer(&reader, late, None), "it is too stale");
        readers.strayed_at = Some(then);
        assert!(!readers.may_answer(&reader, early, None), "it may have a key that is gone");
        reader.fresh_at = Some(late);
        assert!(readers.may_answer(&reader, early, None));
    }
}
