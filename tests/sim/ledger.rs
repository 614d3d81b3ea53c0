//! The truth that answers are held against: which writes were executed, and which server had which
//! of them, in memory and on disk, from when until when.

use std::collections::BTreeMap;

use super::node::What;

pub type EntryId = usize;

/// What a write made of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    Set(Vec<u8>),
    Del,
}

/// One executed change of one key.
#[derive(Debug)]
pub struct Entry {
    /// The shards on which it has lived, and since when; the last is where it is now.
    pub homes: Vec<(usize, u64)>,
    /// The node that executed it.
    pub node: usize,
    pub key: Vec<u8>,
    pub effect: Effect,
    /// Its client was told that it may be lost.
    pub forgiven: bool,
    /// It was executed when its connection was dead already: its client was, or will be, told that
    /// its outcome is unknown, and no WAIT is about it.
    pub ghost: bool,
    /// Since when the shard's primary is one that doesn't have it.
    pub lost_at: Option<u64>,
    /// Which replicas have it.
    held: Vec<Span>,
    /// Which servers, the primary included, have it on disk.
    synced: Vec<Span>,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    node: usize,
    from: u64,
    until: u64,
}

/// What a node has of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Having {
    InMemory,
    OnDisk,
}

impl Entry {
    /// The shard on which it is.
    pub fn home(&self) -> usize {
        self.homes.last().map_or(0, |home| home.0)
    }
}

/// A key that has come from another shard: all its writes at once.
#[derive(Debug)]
pub struct Import {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    pub entries: Vec<EntryId>,
}

#[derive(Debug, Default)]
pub struct Ledger {
    pub entries: Vec<Entry>,
    pub imports: Vec<Import>,
    by_owner: Vec<Vec<EntryId>>,
    by_key: BTreeMap<Vec<u8>, Vec<EntryId>>,
}

const NOW_ON: u64 = u64::MAX;

impl Ledger {
    pub fn add(
        &mut self,
        (node, home): (usize, (usize, u64)),
        owner: usize,
        key: &[u8],
        effect: Effect,
        ghost: bool,
    ) -> EntryId {
        let id = self.entries.len();
        if self.by_owner.len() <= owner {
            self.by_owner.resize_with(owner + 1, Vec::new);
        }
        self.by_owner[owner].push(id);
        self.by_key.entry(key.to_vec()).or_default().push(id);
        self.entries.push(Entry {
            homes: vec![home],
            node,
            key: key.to_vec(),
            effect,
            forgiven: false,
            ghost,
            lost_at: None,
            held: Vec::new(),
            synced: Vec::new(),
        });
        id
    }

    /// All writes of a client.
    pub fn of(&self, owner: usize) -> &[EntryId] {
        self.by_owner.get(owner).map_or(&[], Vec::as_slice)
    }

    /// All writes of a key.
    pub fn of_key(&self, key: &[u8]) -> &[EntryId] {
        self.by_key.get(key).map_or(&[], Vec::as_slice)
    }

    /// The key was deleted on a shard, which has nothing of its writes any more.
    pub fn forget_those_at(&mut self, key: &[u8], shard: usize) {
        for &id in self.by_key.get(key).map_or(&[] as &[_], Vec::as_slice) {
            let entry = &mut self.entries[id];
            entry.forgiven |= entry.home() == shard && entry.lost_at.is_none();
        }
    }

    /// The writes that something in a stream is made of.
    pub fn written<'a>(&'a self, what: &'a What) -> &'a [EntryId] {
        match what {
            What::Write(entry) => std::slice::from_ref(entry),
            What::Restored(import) => &self.imports[*import].entries,
            What::Gone(_) | What::Barrier | What::GetAck => &[],
        }
    }

    /// What something in a stream makes of which key.
    pub fn change(&self, what: What) -> Option<(&[u8], Effect)> {
        match what {
            What::Write(entry) => {
                let entry = &self.entries[entry];
                Some((&entry.key, entry.effect.clone()))
            }
            What::Restored(import) => {
                let import = &self.imports[import];
                Some((&import.key, Effect::Set(import.value.clone())))
            }
            What::Gone(entry) => Some((&self.entries[entry].key, Effect::Del)),
            What::Barrier | What::GetAck => None,
        }
    }

    fn spans(&mut self, entry: EntryId, having: Having) -> &mut Vec<Span> {
        let entry = &mut self.entries[entry];
        match having {
            Having::InMemory => &mut entry.held,
            Having::OnDisk => &mut entry.synced,
        }
    }

    /// From now on `node` has it.
    pub fn gains(&mut self, what: &What, node: usize, having: Having, now: u64) {
        for place in 0..self.written(what).len() {
            let spans = self.spans(self.written(what)[place], having);
            if !spans.iter().any(|span| span.node == node && span.until == NOW_ON) {
                spans.push(Span { node, from: now, until: NOW_ON });
            }
        }
    }

    /// From now on `node` doesn't have it.
    pub fn loses(&mut self, what: &What, node: usize, having: Having, now: u64) {
        for place in 0..self.written(what).len() {
            for span in self.spans(self.written(what)[place], having) {
                if span.node == node && span.until == NOW_ON {
                    span.until = now;
                }
            }
        }
    }

    /// How many of `nodes` had all of `entries` at some time from `low` on.
    pub fn count(
        &self,
        entries: &[EntryId],
        nodes: impl Iterator<Item = usize>,
        having: Having,
        low: u64,
    ) -> i64 {
        let has = |node: usize, entry: EntryId| {
            let entry = &self.entries[entry];
            let spans = if having == Having::InMemory { &entry.held } else { &entry.synced };
            spans.iter().any(|span| span.node == node && span.until >= low.max(span.from))
        };
        nodes.filter(|&node| entries.iter().all(|&entry| has(node, entry))).count() as i64
    }
}
