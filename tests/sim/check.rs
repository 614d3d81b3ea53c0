//! The judge: what each reply may be, given all that was asked and all that truly happened.
//!
//! Replies are judged as they enter a session's output, at the end of the turn that made them, so
//! that no later request of the client can have been executed by then.

use super::client::{Ask, Client, Expected, Kind, Leave};
use super::commands::DB_OUT_OF_RANGE;
use super::node::stored;
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
            let (asked, at, stamps) = (ask(&expected), expected.sent_at, &expected.stamps);
            let text = format!("  client {client} had asked {asked} at {at}, stamps {stamps:?}");
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
        let (region, epoch) = (self.region_of_key(key), self.epoch_of_key(key));
        if let Some(key) = self.clients[client].keys.get_mut(key) {
            key.value = value;
            key.sure = (expected.stamps[region].0 == epoch).then_some(epoch);
        }
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
        let epoch = self.epoch_of_key(key);
        let key = &self.clients[client].keys[key];
        (key.sure == Some(epoch)).then(|| key.value.clone())
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
        // In a cluster one shard's trouble may be everybody's.
        let troubled = |key: &Vec<u8>| match self.is_cluster() {
            true => self.is_troubled(),
            false => self.shards[self.shard_of_key(key)].trouble_at.is_some(),
        };
        // What any shard may be asked.
        if let Ask::Select { .. } | Ask::Info = expected.ask {
            let troubled = self.shards.iter().any(|shard| shard.trouble_at.is_some());
            if !troubled || self.clients[client].last_words {
                self.violation(format!("client {client} asked {}: {text}", ask(expected)));
            }
            return;
        }
        let code = text.split(' ').next().unwrap_or_default();
        let has_more = !self.clients[client].expected.is_empty();
        let overtaken = has_more && self.may_be_told(client, expected, code);
        if !(overtaken || keys.iter().any(troubled)) || self.clients[client].last_words {
            let text = format!("client {client} asked {}: {text}, for nothing", ask(expected));
            return self.violation(text);
        }
        let unknown = text.contains("outcome is unknown");
        let not_executed = text.contains("not executed") || text.contains("not sent");
        let refused = ["LOADING", "READONLY", "OOM"].contains(&code)
            || self.may_be_told(client, expected, code);
        match &expected.ask {
            Ask::Set { value, .. } | Ask::Push { element: value, .. }
                if not_executed || refused =>
            {
                self.deny(client, value);
            }
            Ask::Get { .. } | Ask::Range { .. } if unknown || not_executed || refused => {}
            of if unknown => self.outcome_is_unknown(client, of, text),
            _ if not_executed || refused => self.make_unsure(client, &keys),
            _ => {
                let text = format!("client {client} asked {} and is told {text}", ask(expected));
                self.violation(text);
            }
        }
    }

    /// What a node says for a while is told to a client who has waited for as long as it would;
    /// and to one that has sent more behind it, of which something may have been executed: then it
    /// can't be said again.
    fn may_be_told(&self, client: usize, expected: &Expected, code: &str) -> bool {
        let patience = self.plan.settings.failover_timeout.as_micros() as u64;
        self.is_cluster()
            && ["CLUSTERDOWN", "TRYAGAIN"].contains(&code)
            && (self.now >= expected.sent_at + patience
                || !self.clients[client].expected.is_empty())
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
            let troubled = match self.is_cluster() {
                true => self.is_troubled(),
                false => self.shards[shard].trouble_at.is_some(),
            };
            if !troubled {
                self.violation(format!("client {client}: {text}, though nothing happened there"));
            }
            self.forgive(client, shard, expected.sent_at);
            if self.clients[client].last_words {
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
