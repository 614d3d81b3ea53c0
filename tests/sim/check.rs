//! The judge: what each reply may be, given all that was asked and all that truly happened.
//!
//! Replies are judged as they enter a session's output, at the end of the turn that made them, so
//! that no later request of the client can have been executed by then.

use super::client::{Ask, Client, Expected, Kind, Leave};
use super::commands::DB_OUT_OF_RANGE;
use super::ledger::{EntryId, Having};
use super::node::stored;
use super::plan::{GRACE, Told};
use super::resp::{Reply, read_reply};
use super::world::World;

impl World {
    /// Bytes were added to what a client is to read.
    pub fn client_is_told(&mut self, client: usize, bytes: &[u8]) {
        self.clients[client].tail.extend_from_slice(bytes);
        loop {
            match read_reply(&self.clients[client].tail) {
                Ok(Some((reply, len))) => {
                    self.clients[client].tail.drain(..len);
                    self.judge_next(client, &reply);
                }
                Ok(None) => return,
                Err(error) => {
                    return self.violation(format!("client {client} is told {error}"));
                }
            }
        }
    }

    fn judge_next(&mut self, client: usize, reply: &Reply) {
        while self.clients[client].expected.front().is_some_and(|expected| expected.mute) {
            let db = self.clients[client].db;
            let silent = self.clients[client].expected.pop_front();
            // Nobody was told what it did.
            let keys = silent.map(|silent| keys_of(&silent.ask.within(db))).unwrap_or_default();
            self.make_unsure(client, &keys);
        }
        let Some(mut expected) = self.clients[client].expected.pop_front() else {
            return self.violation(format!("client {client} is told {reply:?}, asked nothing"));
        };
        expected.ask = expected.ask.within(self.clients[client].db);
        self.tally.replies += 1;
        if let Ask::Unblock { client, .. } = expected.ask {
            self.unblock_served(client);
        }
        self.line(|| {
            let asked: String = ask(&expected).chars().take(40).collect();
            format!("client {client} is told {} to {asked}", show(reply))
        });
        let before = self.failure.is_some();
        self.judge(client, &expected, reply);
        if self.failure.is_some() && !before {
            let (asked, at, epochs) = (ask(&expected), expected.sent_at, &expected.epochs);
            let text = format!("  client {client} had asked {asked} at {at}, epochs {epochs:?}");
            self.line(|| text);
        }
    }

    pub fn judge(&mut self, client: usize, expected: &Expected, reply: &Reply) {
        if let Reply::Error(text) = reply {
            self.tally.errors += 1;
            if expected.ask.is_step() {
                return self.judge_step_error(client, expected, text);
            }
            return self.judge_error(client, expected, text);
        }
        if let Ask::Hello { version: Some(version) } = expected.ask {
            self.clients[client].resp = version;
        }
        if reply.version().is_some_and(|version| version != self.clients[client].resp) {
            let (asked, version) = (ask(expected), self.clients[client].resp);
            let text =
                format!("client {client} speaks {version:?}, asked {asked} and is told {reply:?}");
            return self.violation(text);
        }
        let right = match &expected.ask {
            step if step.is_step() => self.judge_step(client, expected, reply),
            Ask::Push { .. } | Ask::Range { .. } | Ask::Pop { .. } | Ask::Move { .. } => {
                self.judge_list(client, expected, reply)
            }
            Ask::Wait { .. } | Ask::WaitAof { .. } => self.judge_counts(client, expected, reply),
            ask if keys_of(ask).is_empty() => self.judge_session(client, expected, reply),
            _ => self.judge_value(client, expected, reply),
        };
        if !right {
            let text =
                format!("client {client} asked {} and is told {}", ask(expected), show(reply));
            self.violation(text);
        }
    }

    // ---------------------------------------------------------------- values

    fn judge_value(&mut self, client: usize, expected: &Expected, reply: &Reply) -> bool {
        match (&expected.ask, reply) {
            (Ask::Set { key, value }, Reply::Simple(ok)) if ok == "OK" => {
                self.confirm(client, expected, key, Some(value.clone()));
                true
            }
            (Ask::MSet { pairs }, Reply::Simple(ok)) if ok == "OK" => {
                for (key, value) in pairs {
                    self.confirm(client, expected, key, Some(value.clone()));
                }
                true
            }
            (Ask::Get { keys, many: false }, value) => self.observe(client, &keys[0], value),
            (Ask::Get { keys, many: true }, Reply::Array(values)) => {
                keys.len() == values.len()
                    && keys.iter().zip(values).all(|(key, value)| self.observe(client, key, value))
            }
            (Ask::Del { keys }, Reply::Int(count)) => self.deleted(client, expected, keys, *count),
            (Ask::Incr { key }, Reply::Int(number)) => {
                let known = self.sure_value(client, key);
                let before = known.map(|value| number_in(value.as_deref()));
                let next = number.to_string().into_bytes();
                self.confirm(client, expected, key, Some(next));
                before.is_none_or(|before| before + 1 == *number)
            }
            (Ask::Append { key, piece }, Reply::Int(len)) => {
                self.appended(client, expected, key, piece, *len)
            }
            _ => false,
        }
    }

    /// A write was answered.
    pub fn confirm(
        &mut self,
        client: usize,
        expected: &Expected,
        key: &[u8],
        value: Option<Vec<u8>>,
    ) {
        self.changed_itself(client, key, value.is_some());
        let Some(key) = self.clients[client].keys.get_mut(key) else {
            return;
        };
        let epoch = self.shards[key.shard].epoch;
        key.value = value;
        key.sure = (expected.epochs[key.shard] == epoch).then_some(epoch);
    }

    /// The client has changed a key that it may be watching; surely, or only perhaps.
    fn changed_itself(&mut self, client: usize, key: &[u8], surely: bool) {
        let transaction = &mut self.clients[client].transaction;
        let watched = transaction.watches(key);
        transaction.may_be_changed |= watched;
        transaction.is_changed |= transaction.surely_watches(key) && surely;
    }

    /// The value of a key, if there is no doubt.
    pub fn sure_value(&self, client: usize, key: &[u8]) -> Option<Option<Vec<u8>>> {
        let key = &self.clients[client].keys[key];
        (key.sure == Some(self.shards[key.shard].epoch)).then(|| key.value.clone())
    }

    fn observe(&mut self, client: usize, name: &[u8], reply: &Reply) -> bool {
        let value = match reply {
            nil if nil.is_nil() => None,
            Reply::Bulk(value) => Some(value.clone()),
            _ => return false,
        };
        if let Some(sure) = self.sure_value(client, name) {
            return sure == value;
        }
        let key = &self.clients[client].keys[name];
        key.kind != Kind::Plain || value.is_none_or(|value| key.ever.contains(&value))
    }

    fn deleted(
        &mut self,
        client: usize,
        expected: &Expected,
        keys: &[Vec<u8>],
        count: i64,
    ) -> bool {
        let mut there = Some(0);
        for (place, key) in keys.iter().enumerate() {
            let known = self.sure_value(client, key);
            let first = !keys[..place].contains(key);
            there = match (there, known) {
                (Some(sum), Some(value)) => Some(sum + i64::from(first && value.is_some())),
                _ => None,
            };
        }
        for key in keys {
            self.confirm(client, expected, key, None);
        }
        there.is_none_or(|there| there == count)
    }

    fn appended(
        &mut self,
        client: usize,
        expected: &Expected,
        key: &[u8],
        piece: &[u8],
        len: i64,
    ) -> bool {
        let Some(known) = self.sure_value(client, key) else {
            return true;
        };
        let mut value = known.unwrap_or_default();
        value.extend_from_slice(piece);
        let right = value.len() as i64 == len;
        self.confirm(client, expected, key, Some(value));
        right
    }

    pub fn make_unsure(&mut self, client: usize, keys: &[Vec<u8>]) {
        for key in keys {
            self.changed_itself(client, key, false);
            if let Some(key) = self.clients[client].keys.get_mut(key) {
                key.sure = None;
            }
        }
    }

    // ---------------------------------------------------------------- errors

    fn judge_error(&mut self, client: usize, expected: &Expected, text: &str) {
        if let Ask::Wrong { error, .. } = &expected.ask {
            if text != *error && !text.starts_with("CLUSTERDOWN") {
                self.violation(format!("client {client}: the error is {text:?}, not {error:?}"));
            }
            return;
        }
        if let Ask::Wait { .. } | Ask::WaitAof { .. } = expected.ask {
            return self.judge_wait_error(client, expected, text);
        }
        if let Ask::Select { db } = expected.ask
            && text == DB_OUT_OF_RANGE
            && db >= self.plan.databases
        {
            return;
        }
        if let Ask::Pop { .. } | Ask::Move { .. } = expected.ask
            && self.judge_pop_error(client, expected, text)
        {
            return;
        }
        let keys = keys_of(&expected.ask);
        if keys.is_empty() && text.starts_with("CLUSTERDOWN") {
            // Shards say who may ask about other clients, and none could be asked yet.
            return;
        }
        let troubled = |key: &Vec<u8>| self.shards[self.shard_of_key(key)].trouble_at.is_some();
        // What any shard may be asked.
        if let Ask::Select { .. } | Ask::Info = expected.ask {
            let troubled = self.shards.iter().any(|shard| shard.trouble_at.is_some());
            if !troubled || self.clients[client].last_words {
                self.violation(format!("client {client} asked {}: {text}", ask(expected)));
            }
            return;
        }
        if !keys.iter().any(troubled) || self.clients[client].last_words {
            let text = format!("client {client} asked {}: {text}, for nothing", ask(expected));
            return self.violation(text);
        }
        let code = text.split(' ').next().unwrap_or_default();
        let unknown = text.contains("outcome is unknown");
        let not_executed = text.contains("not executed") || text.contains("not sent");
        let refused = ["LOADING", "READONLY", "OOM"].contains(&code);
        match &expected.ask {
            Ask::Set { value, .. } | Ask::Push { element: value, .. }
                if not_executed || refused =>
            {
                self.deny(client, value);
            }
            Ask::Get { .. } | Ask::Range { .. } if unknown || not_executed || refused => {}
            of if unknown => self.outcome_is_unknown(client, of),
            _ if not_executed || refused => self.make_unsure(client, &keys),
            _ => {
                let text = format!("client {client} asked {} and is told {text}", ask(expected));
                self.violation(text);
            }
        }
    }

    /// The client was told that this value wasn't written: so it must not be, before or after.
    pub fn deny(&mut self, client: usize, value: &[u8]) {
        if self.was_written(client, value) {
            let value = String::from_utf8_lossy(&value[..value.len().min(24)]).into_owned();
            self.violation(format!("{value} was executed, and client {client} is told it wasn't"));
        }
        self.clients[client].denied.insert(value.to_vec());
    }

    pub fn judge_wait_error(&mut self, client: usize, expected: &Expected, text: &str) {
        if text == "UNBLOCKED client unblocked via CLIENT UNBLOCK" {
            if !self.was_unblocked(client, expected) {
                self.violation(format!("client {client}: {text}, by nobody"));
            }
            return;
        }
        let lost = text.strip_prefix("UNBLOCKED shard ").filter(|text| text.contains("history"));
        if let Some(shard) = lost.and_then(|text| text.split(' ').next()?.parse::<usize>().ok()) {
            self.tally.lost += 1;
            if self.shards[shard].trouble_at.is_none() {
                self.violation(format!("client {client}: {text}, though nothing happened there"));
            }
            let all = self.ledger.entries.len();
            let who = &mut self.clients[client];
            who.forgiven[shard] = all;
            who.unknown[shard] = false;
            if who.last_words {
                let aof = matches!(expected.ask, Ask::WaitAof { .. });
                self.last_wait(client, aof);
            }
            return;
        }
        if text.starts_with("CLUSTERDOWN") {
            // Shards say who may wait, and none could be asked since there are clients. The next
            // one is told what this one wasn't.
            if self.clients[client].last_words {
                let aof = matches!(expected.ask, Ask::WaitAof { .. });
                self.last_wait(client, aof);
            }
            return;
        }
        let (replicas, local, timeout) = match expected.ask {
            Ask::Wait { replicas, timeout } => (replicas, 0, timeout),
            Ask::WaitAof { local, replicas, timeout } => (replicas, local, timeout),
            _ => (0, 0, 0),
        };
        let due = timeout > 0 && self.now >= expected.sent_at + timeout * 1_000;
        // Who asks for the count as it stands is told at once that there is none to be had.
        let at_once = replicas <= 0 && local <= 0;
        let ended = due || at_once || self.was_unblocked(client, expected);
        if text.contains("can't be reached") && ended && !self.clients[client].last_words {
            return;
        }
        let no_aof = text.starts_with("ERR WAITAOF cannot be used when numlocal");
        let lacks = self.nodes.iter().any(|node| node.aof.is_none());
        let replica = text.contains("cannot be used with replica instances");
        let troubled = self.shards.iter().any(|shard| shard.trouble_at.is_some());
        if !(no_aof && lacks || replica && troubled) || self.clients[client].last_words {
            self.violation(format!("client {client} waits and is told {text}"));
        }
    }

    pub fn was_unblocked(&self, client: usize, expected: &Expected) -> bool {
        let who = &self.clients[client];
        let to_come = |other: &Client| {
            let asks = |expected: &Expected| match expected.ask {
                Ask::Unblock { client, .. } => who.id == Some(client),
                _ => false,
            };
            other.expected.iter().any(asks)
        };
        who.unblock_at.is_some_and(|at| at + 1_000_000 >= expected.sent_at)
            || self.clients.iter().any(to_come)
    }

    /// Somebody's CLIENT UNBLOCK has been served by now, if it ever was.
    fn unblock_served(&mut self, id: i64) {
        for other in self.clients.iter_mut().filter(|other| other.id == Some(id)) {
            other.unblock_at = Some(self.now);
        }
    }

    // ---------------------------------------------------------------- WAIT, WAITAOF

    fn judge_counts(&mut self, client: usize, expected: &Expected, reply: &Reply) -> bool {
        match (&expected.ask, reply) {
            (Ask::Wait { replicas, timeout }, Reply::Int(count)) => {
                self.judge_wait(client, expected, (0, *replicas), (0, *count), *timeout);
                true
            }
            (Ask::WaitAof { local, replicas, timeout }, Reply::Array(counts)) => {
                let [Reply::Int(own), Reply::Int(count)] = counts.as_slice() else {
                    return false;
                };
                self.judge_wait(client, expected, (*local, *replicas), (*own, *count), *timeout);
                true
            }
            _ => false,
        }
    }

    /// The heart: a count is never higher than the truth, and never told of what is lost.
    fn judge_wait(
        &mut self,
        client: usize,
        expected: &Expected,
        wanted: (i64, i64),
        told: (i64, i64),
        timeout: u64,
    ) {
        self.tally.waits += 1;
        self.tally.counted += u64::from(told.1 > 0);
        let low = expected.sent_at.saturating_sub(GRACE);
        let (mut wrote, mut least) = (false, (1, i64::MAX));
        for shard in 0..self.plan.shards {
            let from = self.clients[client].forgiven[shard];
            let entries = self.entries_of(client, shard, from);
            if self.clients[client].unknown[shard] {
                let text = format!("a write's outcome on shard {shard} is unknown");
                return self.overcount(client, told, &text);
            }
            if entries.is_empty() {
                continue;
            }
            wrote = true;
            if let Err(why) = self.judge_lost(client, shard, &entries, expected, told) {
                return self.overcount(client, told, &why);
            }
            let nodes = || self.shards[shard].nodes.iter().copied();
            let (memory, disk) = (Having::InMemory, Having::OnDisk);
            if matches!(expected.ask, Ask::Wait { .. }) {
                least.1 = least.1.min(self.ledger.count(&entries, nodes(), memory, low));
            } else {
                let replicas = nodes().filter(|&node| self.held_at_all(&entries, node, low));
                least.1 = least.1.min(self.ledger.count(&entries, replicas, disk, low));
                let own = self.ledger.count(&entries, nodes(), disk, low);
                least.0 = least.0.min(own.min(1));
            }
        }
        if !wrote {
            // Who never wrote is told the smallest number of any shard. Who did, and changed
            // nothing, waits for those shards only.
            let all = self.shards.iter().map(|shard| shard.replicas_since(low));
            let tried = self.clients[client].tried_to_write;
            least.1 = if tried { all.max() } else { all.min() }.unwrap_or(0);
        }
        if told.1 > least.1 || told.0 > least.0 {
            let text = format!("no more than {least:?} is true");
            return self.overcount(client, told, &text);
        }
        let due = timeout > 0 && self.now >= expected.sent_at + timeout * 1_000;
        let short = told.0 < wanted.0 || told.1 < wanted.1;
        if short && !due && !self.was_unblocked(client, expected) {
            self.violation(format!(
                "client {client} waits for {wanted:?} and is told {told:?} before its time"
            ));
        }
        self.judge_last_wait(client, expected, wanted, told);
    }

    fn held_at_all(&self, entries: &[EntryId], node: usize, low: u64) -> bool {
        self.ledger.count(entries, std::iter::once(node), Having::InMemory, low) > 0
    }

    /// Whether a number may be told although some of the writes are not in the shard's history.
    fn judge_lost(
        &self,
        client: usize,
        shard: usize,
        entries: &[EntryId],
        expected: &Expected,
        told: (i64, i64),
    ) -> Result<(), String> {
        let lost = entries
            .iter()
            .filter_map(|&entry| self.ledger.entries[entry].lost_at.map(|at| (entry, at)));
        let (_, seen_at) = self.shards[shard].known[self.clients[client].worker];
        for (entry, at) in lost {
            let asked_after = |time: u64| expected.sent_at > time;
            if seen_at >= at + GRACE && asked_after(seen_at) {
                return Err(format!("write {entry} is lost, which its worker knows"));
            }
            if told.1 > 0 && asked_after(self.must_be_known_at(shard, at)) {
                return Err(format!("write {entry} is lost for a long time"));
            }
        }
        Ok(())
    }

    /// When engines must have seen that a write is lost which was lost then.
    fn must_be_known_at(&self, shard: usize, lost_at: u64) -> u64 {
        match (self.plan.told, self.shards[shard].told_at) {
            (Told::Static, _) => lost_at + GRACE,
            (_, Some(told_at)) => lost_at.max(told_at) + self.plan.patience(),
            (_, None) => u64::MAX,
        }
    }

    fn overcount(&mut self, client: usize, told: (i64, i64), why: &str) {
        self.violation(format!("OVER-COUNT: client {client} is told {told:?}, but {why}"));
    }

    fn judge_last_wait(
        &mut self,
        client: usize,
        expected: &Expected,
        wanted: (i64, i64),
        told: (i64, i64),
    ) {
        if !self.clients[client].last_words {
            return;
        }
        if told.0 < wanted.0 || told.1 < wanted.1 {
            return self.violation(format!(
                "client {client}: all is well, it waits for {wanted:?}, and is told {told:?}"
            ));
        }
        match expected.ask {
            Ask::Wait { .. } => self.last_wait(client, true),
            _ => self.clients[client].done = true,
        }
    }

    // ---------------------------------------------------------------- the end of a connection

    /// The endpoint, or the client, has closed: was that allowed, and is nothing owed?
    pub fn client_was_closed(&mut self, client: usize) {
        for place in 0..self.clients[client].expected.len() {
            if let Ask::Unblock { client, .. } = self.clients[client].expected[place].ask {
                self.unblock_served(client);
            }
        }
        let who = &self.clients[client];
        let owed = who.expected.iter().find(|expected| !expected.mute);
        // A reply that had begun to leave when its shard died, or that nobody took for too long.
        let large = self.plan.large > 0;
        let fine = match who.leave {
            Leave::AnyTime => true,
            Leave::WhenAnswered => owed.is_none() || large,
            Leave::No => large,
        };
        if !fine {
            let owed = owed.map(ask);
            self.violation(format!("client {client} is closed, and is owed {owed:?}"));
        }
    }
}

fn number_in(value: Option<&[u8]>) -> i64 {
    value.and_then(|value| std::str::from_utf8(value).ok()?.parse().ok()).unwrap_or(0)
}

impl Ask {
    /// The same with the names under which its keys are stored in this database.
    fn within(self, db: usize) -> Self {
        let all = |keys: Vec<Vec<u8>>| keys.iter().map(|key| stored(key, db)).collect();
        match self {
            Self::Set { key, value } => Self::Set { key: stored(&key, db), value },
            Self::Get { keys, many } => Self::Get { keys: all(keys), many },
            Self::Del { keys } => Self::Del { keys: all(keys) },
            Self::MSet { pairs } => {
                let stored = |(key, value): (Vec<u8>, _)| (stored(&key, db), value);
                Self::MSet { pairs: pairs.into_iter().map(stored).collect() }
            }
            Self::Incr { key } => Self::Incr { key: stored(&key, db) },
            Self::Append { key, piece } => Self::Append { key: stored(&key, db), piece },
            Self::Watch { keys } => Self::Watch { keys: all(keys) },
            Self::Queued(inner) => Self::Queued(Box::new(inner.within(db))),
            Self::Push { key, element } => Self::Push { key: stored(&key, db), element },
            Self::Range { key } => Self::Range { key: stored(&key, db) },
            Self::Pop { keys, timeout } => Self::Pop { keys: all(keys), timeout },
            Self::Move { from, to, timeout } => {
                Self::Move { from: stored(&from, db), to: stored(&to, db), timeout }
            }
            other => other,
        }
    }

    /// Whether it is about a transaction, or a part of one.
    fn is_step(&self) -> bool {
        matches!(
            self,
            Self::Watch { .. }
                | Self::Unwatch
                | Self::Multi
                | Self::Queued(_)
                | Self::Exec
                | Self::Discard
        )
    }
}

pub fn keys_of(ask: &Ask) -> Vec<Vec<u8>> {
    match ask {
        Ask::Set { key, .. } | Ask::Incr { key } | Ask::Append { key, .. } => vec![key.clone()],
        Ask::Get { keys, .. } | Ask::Del { keys } => keys.clone(),
        Ask::MSet { pairs } => pairs.iter().map(|(key, _)| key.clone()).collect(),
        Ask::Push { key, .. } | Ask::Range { key } => vec![key.clone()],
        Ask::Watch { keys } | Ask::Pop { keys, .. } => keys.clone(),
        Ask::Move { from, to, .. } => vec![from.clone(), to.clone()],
        Ask::Queued(inner) => keys_of(inner),
        _ => Vec::new(),
    }
}

/// A request for people: its first words.
pub fn ask(expected: &Expected) -> String {
    let text = match &expected.ask {
        Ask::Set { key, value } => {
            let value = String::from_utf8_lossy(&value[..value.len().min(24)]);
            format!("SET {} {value}", String::from_utf8_lossy(key))
        }
        other => format!("{other:?}"),
    };
    text.chars().take(160).collect()
}

fn show(reply: &Reply) -> String {
    match reply {
        Reply::Bulk(bytes) => {
            format!("{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(24)]))
        }
        Reply::Error(text) => format!("-{text}"),
        other => format!("{other:?}").chars().take(120).collect(),
    }
}
