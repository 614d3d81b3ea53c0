//! The judge of transactions and of commands that wait.

use super::check::{ask, keys_of};
use super::client::{Ask, Expected, Kind};
use super::ledger::Effect;
use super::lists::{elements, joined};
use super::regions::Stamp;
use super::resp::{self, Reply};
use super::world::World;

/// What a client has between WATCH or MULTI and EXEC, as its replies tell.
#[derive(Debug, Default)]
pub struct Transaction {
    /// What it was told to be queued since MULTI, or refused; none before it.
    queue: Option<Vec<Expected>>,
    /// One of them was refused.
    refused: bool,
    /// The slot of its keys.
    slot: Option<u16>,
    /// Watched keys, each with the stamp of its region when the client asked for it.
    watched: Vec<(Vec<u8>, Stamp)>,
    /// How many histories its worker had seen when the first was.
    histories: u64,
    /// The client itself may have changed a watched key since, and surely has.
    pub may_be_changed: bool,
    pub is_changed: bool,
}

/// In place of the stamp, of a key whose WATCH was answered by an error.
const REFUSED: Stamp = (u64::MAX, 0);

impl Transaction {
    pub fn watches(&self, key: &[u8]) -> bool {
        self.watched.iter().any(|(watched, _)| watched == key)
    }

    /// The same, and its WATCH was not refused.
    pub fn surely_watches(&self, key: &[u8]) -> bool {
        self.watched.iter().any(|(watched, stamp)| watched == key && *stamp != REFUSED)
    }
}

/// The number of the shard of which an error of the endpoint speaks.
fn shard_named_in(text: &str) -> Option<usize> {
    text.split_once("shard ")?.1.split(' ').next()?.parse().ok()
}

/// The slot of a key by its stored name.
fn slot(stored: &[u8]) -> u16 {
    let name = stored.split(|&byte| byte == b'@').next().unwrap_or_default();
    resp::slot(name)
}

impl World {
    pub fn is_troubled(&self) -> bool {
        self.shards.iter().any(|shard| shard.trouble_at.is_some())
    }

    /// A reply to WATCH, MULTI or one of their kin that is no error. Returns whether it is right.
    pub fn judge_step(&mut self, client: usize, expected: &Expected, reply: &Reply) -> bool {
        let ok = matches!(reply, Reply::Simple(text) if text == "OK");
        match &expected.ask {
            Ask::Watch { keys } => {
                let stamps = keys.iter().map(|key| expected.stamps[self.region_of_key(key)]);
                let watched: Vec<_> = keys.iter().cloned().zip(stamps).collect();
                let histories = self.histories_seen(client);
                let transaction = &mut self.clients[client].transaction;
                if transaction.watched.is_empty() {
                    transaction.histories = histories;
                }
                transaction.slot = transaction.slot.or(keys.first().map(|key| slot(key)));
                transaction.watched.extend(watched);
                ok
            }
            Ask::Unwatch => {
                self.clients[client].transaction = Transaction::default();
                ok
            }
            Ask::Multi => {
                self.clients[client].transaction.queue = Some(Vec::new());
                ok
            }
            Ask::Queued(inner) => {
                let other = self.is_of_other_slot(client, inner);
                let wrong = matches!(**inner, Ask::Wrong { .. });
                self.queue(client, expected, inner);
                let open = self.clients[client].transaction.queue.is_some();
                let queued = matches!(reply, Reply::Simple(text) if text == "QUEUED");
                // Of what is lost already, only EXEC will tell.
                open && queued && !wrong && (!other || self.is_troubled())
            }
            Ask::Discard => {
                self.nothing_was_executed(client);
                ok
            }
            _ => self.judge_exec(client, expected, reply),
        }
    }

    fn queue(&mut self, client: usize, expected: &Expected, inner: &Ask) {
        let transaction = &mut self.clients[client].transaction;
        let first = keys_of(inner).first().map(|key| slot(key));
        transaction.slot = transaction.slot.or(first);
        let ask = inner.clone();
        if let Some(queue) = &mut transaction.queue {
            queue.push(Expected { ask, mute: false, ..expected.clone() });
        }
    }

    fn is_of_other_slot(&self, client: usize, inner: &Ask) -> bool {
        let keys = keys_of(inner);
        let slots = || keys.iter().map(|key| slot(key));
        let ours = self.clients[client].transaction.slot.or(slots().next());
        (self.plan.shards > 1 || self.is_cluster()) && slots().any(|slot| Some(slot) != ours)
    }

    fn judge_exec(&mut self, client: usize, expected: &Expected, reply: &Reply) -> bool {
        let transaction = &self.clients[client].transaction;
        if reply.is_nil() {
            let later = |(key, stamp): &(Vec<u8>, Stamp)| {
                self.regions[self.region_of_key(key)].stamp() != *stamp
            };
            // A connection that watches is closed when its worker sees another history, though the
            // key may be as it was.
            let right = !transaction.watched.is_empty()
                && (transaction.may_be_changed
                    || transaction.histories != self.histories_seen(client)
                    || transaction.refused
                    || transaction.watched.iter().any(later));
            self.nothing_was_executed(client);
            self.tally.aborted += 1;
            return right && reply == &self.null_array(client);
        }
        let Reply::Array(replies) = reply else {
            return false;
        };
        let right = !transaction.is_changed && !transaction.refused;
        let queue = std::mem::take(&mut self.clients[client].transaction).queue;
        let queue = queue.unwrap_or_default();
        if !right || queue.len() != replies.len() {
            return false;
        }
        self.tally.executed += 1;
        for (queued, reply) in queue.iter().zip(replies) {
            let queued = Expected { stamps: expected.stamps.clone(), ..queued.clone() };
            match (&queued.ask, reply) {
                // How many have what was written before; it is not waited for.
                (Ask::Wait { .. }, Reply::Int(count)) => {
                    if *count > self.plan.replicas as i64 {
                        return false;
                    }
                }
                (Ask::WaitAof { .. }, Reply::Array(_)) => {}
                (Ask::Wait { .. } | Ask::WaitAof { .. }, Reply::Error(text)) => {
                    // Nothing is waited for, so it is as if nothing had been asked for.
                    let ask = match queued.ask {
                        Ask::Wait { .. } => Ask::Wait { replicas: 0, timeout: 0 },
                        _ => Ask::WaitAof { local: 0, replicas: 0, timeout: 0 },
                    };
                    self.judge_wait_error(client, &Expected { ask, ..queued }, text);
                }
                (Ask::Pop { .. } | Ask::Move { .. }, nil) if nil.is_nil() => {
                    self.judge_nothing_popped(client, &queued);
                }
                _ => self.judge(client, &queued, reply),
            }
        }
        true
    }

    /// How often a client's worker has seen that a shard's history is another one.
    fn histories_seen(&self, client: usize) -> u64 {
        let shards = &self.stats.workers[self.clients[client].worker].shards;
        shards.iter().map(|shard| shard.generation.get()).sum()
    }

    fn null_array(&self, client: usize) -> Reply {
        match self.clients[client].resp {
            weir::resp::Version::Resp2 => Reply::NilArray,
            weir::resp::Version::Resp3 => Reply::Null,
        }
    }

    /// A transaction came to its end without an effect.
    pub fn nothing_was_executed(&mut self, client: usize) {
        let queue = std::mem::take(&mut self.clients[client].transaction).queue;
        for queued in queue.unwrap_or_default() {
            for value in values_of(&queued.ask) {
                self.deny(client, &value);
            }
        }
    }

    /// An error in reply to one of them.
    pub fn judge_step_error(&mut self, client: usize, expected: &Expected, text: &str) {
        let code = text.split(' ').next().unwrap_or_default();
        let right = match &expected.ask {
            Ask::Queued(inner) => {
                let other = self.is_of_other_slot(client, inner) && code == "CROSSSLOT";
                let wrong = matches!(**inner, Ask::Wrong { error, .. } if error == text);
                self.queue(client, expected, inner);
                self.clients[client].transaction.refused = true;
                other || wrong || self.is_troubled()
            }
            Ask::Exec => {
                let right = code == "EXECABORT" && self.clients[client].transaction.refused;
                if text.contains("outcome is unknown") {
                    self.anything_was_executed(client, text);
                } else {
                    self.nothing_was_executed(client);
                }
                right || self.is_troubled()
            }
            Ask::Discard => {
                self.nothing_was_executed(client);
                self.is_troubled()
            }
            Ask::Multi => {
                let transaction = &mut self.clients[client].transaction;
                transaction.queue = Some(Vec::new());
                transaction.refused = true;
                self.is_troubled()
            }
            Ask::Watch { keys } => {
                // It may be watched or not: to find it changed is right in any case.
                let watched = keys.iter().map(|key| (key.clone(), REFUSED));
                self.clients[client].transaction.watched.extend(watched);
                self.is_troubled()
            }
            _ => self.is_troubled(),
        };
        if !right || self.clients[client].last_words {
            let asked = ask(expected);
            self.violation(format!(
                "client {client} asked {asked} and is told {text}, for nothing"
            ));
        }
    }

    /// Nobody knows what came of a transaction.
    fn anything_was_executed(&mut self, client: usize, text: &str) {
        let queue = std::mem::take(&mut self.clients[client].transaction).queue;
        for queued in queue.unwrap_or_default() {
            self.outcome_is_unknown(client, &queued.ask, text);
        }
    }

    /// It may have been executed or not.
    pub fn outcome_is_unknown(&mut self, client: usize, of: &Ask, text: &str) {
        let keys = keys_of(of);
        self.make_unsure(client, &keys);
        let shards: Vec<usize> = keys.iter().map(|key| self.shard_of_key(key)).collect();
        let (Some(&shard), true) = (shards.first(), of.may_write()) else {
            return;
        };
        // Where slots move, only the text says who was asked.
        if self.is_cluster() {
            if let Some(shard) = shard_named_in(text) {
                self.clients[client].unknown[shard] = true;
            }
            return;
        }
        // Of several shards the reply doesn't say whose outcome it is.
        if shards.iter().all(|other| *other == shard) {
            self.clients[client].unknown[shard] = true;
        }
    }

    // ---------------------------------------------------------------- lists

    /// Whether a reply about lists, that is no error, is right.
    pub fn judge_list(&mut self, client: usize, expected: &Expected, reply: &Reply) -> bool {
        match (&expected.ask, reply) {
            (Ask::Push { key, element }, Reply::Int(length)) => {
                self.judge_push(client, expected, (key, element), *length)
            }
            (Ask::Range { key }, Reply::Array(found)) => self.judge_range(client, key, found),
            (Ask::Pop { timeout, .. } | Ask::Move { timeout, .. }, nil) if nil.is_nil() => {
                self.judge_time_out(client, expected, *timeout)
            }
            (Ask::Pop { .. }, Reply::Array(popped)) => match popped.as_slice() {
                [Reply::Bulk(from), Reply::Bulk(element)] => {
                    self.judge_popped(client, expected, Some(from), element)
                }
                _ => false,
            },
            (Ask::Move { .. }, Reply::Bulk(element)) => {
                self.judge_popped(client, expected, None, element)
            }
            _ => false,
        }
    }

    fn judge_push(
        &mut self,
        client: usize,
        expected: &Expected,
        (key, element): (&[u8], &[u8]),
        length: i64,
    ) -> bool {
        let own = self.clients[client].keys.get(key);
        if own.is_none_or(|key| key.kind != Kind::List) {
            return length > 0;
        }
        let Some(known) = self.sure_value(client, key) else {
            return true;
        };
        let mut list = elements(known.as_deref());
        list.push(element.to_vec());
        let right = list.len() as i64 == length;
        self.confirm(client, expected, key, joined(&list));
        right
    }

    fn judge_range(&self, client: usize, key: &[u8], found: &[Reply]) -> bool {
        let known = self.sure_value(client, key);
        known.is_none_or(|known| {
            let wanted = elements(known.as_deref()).into_iter().map(Reply::Bulk);
            wanted.collect::<Vec<_>>() == found
        })
    }

    /// What BLPOP or BLMOVE took, and from where: none says that it was one of several.
    fn judge_popped(
        &mut self,
        client: usize,
        expected: &Expected,
        from: Option<&[u8]>,
        element: &[u8],
    ) -> bool {
        let (keys, to) = match &expected.ask {
            Ask::Pop { keys, .. } => (keys.clone(), None),
            Ask::Move { from, to, .. } => (vec![from.clone()], Some(to.clone())),
            _ => return false,
        };
        let db = self.clients[client].db;
        let named = |key: &&Vec<u8>| from.is_none_or(|name| super::node::stored(name, db) == **key);
        let Some(key) = keys.iter().find(named).cloned() else {
            return false;
        };
        if self.clients[client].keys[&key].kind == Kind::Queue {
            return self.judge_taken(client, &key, element);
        }
        let mut right = true;
        for before in keys.iter().take_while(|before| **before != key) {
            right &= self.sure_value(client, before).is_none_or(|list| list.is_none());
        }
        match self.sure_value(client, &key) {
            None => {
                self.make_unsure(client, &keys);
                self.make_unsure(client, &to.into_iter().collect::<Vec<_>>());
                return right;
            }
            Some(known) => {
                let mut list = elements(known.as_deref());
                if list.first().map(Vec::as_slice) != Some(element) {
                    return false;
                }
                list.remove(0);
                self.confirm(client, expected, &key, joined(&list));
            }
        }
        if let Some(to) = to {
            match self.sure_value(client, &to) {
                None => self.make_unsure(client, std::slice::from_ref(&to)),
                Some(known) => {
                    let mut list = elements(known.as_deref());
                    list.push(element.to_vec());
                    self.confirm(client, expected, &to, joined(&list));
                }
            }
        }
        right
    }

    /// An element of the list into which others push: somebody has, and nobody took it before.
    fn judge_taken(&mut self, client: usize, key: &[u8], element: &[u8]) -> bool {
        let shard = self.shard_of_key(key);
        let troubled = self.shards[shard].trouble_at.is_some();
        let Some(queue) = self.clients[client].keys.get_mut(key) else {
            return false;
        };
        self.tally.taken += 1;
        queue.ever.contains(element) && (queue.taken.insert(element.to_vec()) || troubled)
    }

    /// BLPOP or BLMOVE found nothing.
    fn judge_nothing_popped(&mut self, client: usize, expected: &Expected) {
        let keys = match &expected.ask {
            Ask::Pop { keys, .. } => keys.clone(),
            Ask::Move { from, .. } => vec![from.clone()],
            _ => Vec::new(),
        };
        for key in keys {
            let kind = self.clients[client].keys[&key].kind;
            let known = self.sure_value(client, &key).flatten();
            if let (Kind::List, Some(list)) = (kind, known) {
                let list = String::from_utf8_lossy(&list).into_owned();
                self.violation(format!("client {client} is told of nothing, and there is {list}"));
            }
        }
    }

    /// The time of BLPOP or BLMOVE is up.
    fn judge_time_out(&mut self, client: usize, expected: &Expected, timeout: u64) -> bool {
        self.judge_nothing_popped(client, expected);
        let due = self.now >= expected.sent_at + timeout * 1_000;
        due || self.was_unblocked(client, expected)
    }

    /// An error in reply to BLPOP or BLMOVE that only they have. Returns whether it is one.
    pub fn judge_pop_error(&mut self, client: usize, expected: &Expected, text: &str) -> bool {
        if text == "UNBLOCKED client unblocked via CLIENT UNBLOCK" {
            if !self.was_unblocked(client, expected) {
                self.violation(format!("client {client}: {text}, by nobody"));
            }
            return true;
        }
        text.starts_with("UNBLOCKED force unblock") && self.is_troubled()
    }

    /// Whether a client's value was written, as a value or as an element of one.
    pub fn was_written(&self, client: usize, value: &[u8]) -> bool {
        self.ledger.of(client).iter().any(|&entry| match &self.ledger.entries[entry].effect {
            Effect::Set(other) => {
                other == value || elements(Some(other)).iter().any(|element| element == value)
            }
            Effect::Del => false,
        })
    }
}

/// The values that only this request can have written.
fn values_of(ask: &Ask) -> Vec<Vec<u8>> {
    match ask {
        Ask::Set { value, .. } => vec![value.clone()],
        Ask::MSet { pairs } => pairs.iter().map(|(_, value)| value.clone()).collect(),
        Ask::Push { element, .. } => vec![element.clone()],
        _ => Vec::new(),
    }
}
