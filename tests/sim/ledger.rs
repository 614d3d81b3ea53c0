//! The truth that answers are held against: which writes were executed, and which server had which
//! of them, in memory and on disk, from when until when.

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
    pub shard: usize,
    pub key: Vec<u8>,
    pub effect: Effect,
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

#[derive(Debug, Default)]
pub struct Ledger {
    pub entries: Vec<Entry>,
    by_owner: Vec<Vec<EntryId>>,
}

const NOW_ON: u64 = u64::MAX;

impl Ledger {
    pub fn add(
        &mut self,
        shard: usize,
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
        self.entries.push(Entry {
            shard,
            key: key.to_vec(),
            effect,
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

    fn spans(&mut self, entry: EntryId, having: Having) -> &mut Vec<Span> {
        let entry = &mut self.entries[entry];
        match having {
            Having::InMemory => &mut entry.held,
            Having::OnDisk => &mut entry.synced,
        }
    }

    /// From now on `node` has it.
    pub fn gains(&mut self, entry: EntryId, node: usize, having: Having, now: u64) {
        let spans = self.spans(entry, having);
        if !spans.iter().any(|span| span.node == node && span.until == NOW_ON) {
            spans.push(Span { node, from: now, until: NOW_ON });
        }
    }

    /// From now on `node` doesn't have it.
    pub fn loses(&mut self, entry: EntryId, node: usize, having: Having, now: u64) {
        for span in self.spans(entry, having) {
            if span.node == node && span.until == NOW_ON {
                span.until = now;
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
