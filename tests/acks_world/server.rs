//! A primary and its replicas, as far as WAIT and WAITAOF can tell them from real ones.

use std::collections::BTreeMap;

use weir::acks::{Acked, Barrier, Need, TrackerId};

/// A line of data: what a replication id names.
pub type Line = u32;

/// A write that the primary did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    pub line: Line,
    pub offset: u64,
}

#[derive(Clone, Debug)]
pub struct Replica {
    pub online: bool,
    /// Its data is of another history than its primary's.
    foreign: bool,
    /// What it has, what it has fsynced, and what it has told of both.
    pub got: u64,
    pub fsynced: u64,
    pub acked: u64,
    pub fsync_acked: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Conn {
    /// The offset of its last command that moved the primary's.
    pub offset: u64,
    pub blocked: Option<Need>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    pub run: u32,
    pub line: Line,
    pub former: Option<(Line, u64)>,
    pub offset: u64,
    pub backlog: bool,
    pub aof: bool,
    pub cluster: bool,
    pub online: i64,
}

#[derive(Clone, Debug)]
pub struct Server {
    pub run: u32,
    pub line: Line,
    /// `master_replid2` and `second_repl_offset`.
    former: Option<(Line, u64)>,
    /// Older lines whose data is in this one, each up to an offset.
    lineage: Vec<(Line, u64)>,
    pub offset: u64,
    pub fsynced: u64,
    pub backlog: bool,
    pub aof: bool,
    pub cluster: bool,
    /// Refuses FUNCTION RESTORE.
    pub full: bool,
    pub replicas: Vec<Replica>,
    pub conns: BTreeMap<TrackerId, Conn>,
    names: u32,
}

impl Server {
    /// A primary with `replicas` that are online and have everything.
    pub fn new(replicas: usize, aof: bool) -> Self {
        let replica = Replica {
            online: true,
            foreign: false,
            got: 1000,
            fsynced: 1000,
            acked: 1000,
            fsync_acked: 1000,
        };
        let backlog = replicas > 0;
        Self {
            run: 1,
            line: 1,
            former: None,
            lineage: Vec::new(),
            offset: 1000,
            fsynced: 1000,
            backlog,
            aof,
            cluster: false,
            full: false,
            replicas: vec![replica; replicas],
            conns: BTreeMap::new(),
            names: 1,
        }
    }

    fn new_name(&mut self) -> u32 {
        self.names += 1;
        self.names
    }

    fn moved(&mut self, bytes: u64, to_aof: bool) -> bool {
        match (self.backlog, self.aof && to_aof) {
            (true, _) => self.offset += bytes,
            (false, true) => self.offset += 1,
            (false, false) => return false,
        }
        true
    }

    pub fn write(&mut self) -> Written {
        self.moved(10, true);
        Written { line: self.line, offset: self.offset }
    }

    /// The linear scan: how many have this write.
    pub fn count(&self, write: Written) -> (i64, Acked) {
        let here = write.line == self.line
            || self.lineage.iter().any(|&(line, end)| line == write.line && write.offset <= end);
        if here { self.count_offset(write.offset) } else { (0, Acked::default()) }
    }

    /// Replicas for WAIT, and both numbers for WAITAOF: what is really there.
    fn count_offset(&self, offset: u64) -> (i64, Acked) {
        self.count_by(offset, |replica| (replica.got, replica.fsynced))
    }

    fn count_by(&self, offset: u64, up_to: impl Fn(&Replica) -> (u64, u64)) -> (i64, Acked) {
        let online = || self.replicas.iter().filter(|replica| replica.online).map(&up_to);
        let held = online().filter(|&(held, _)| held >= offset).count();
        let fsynced = online().filter(|&(_, fsynced)| fsynced >= offset).count();
        let local = i64::from(self.fsynced >= offset);
        (held as i64, Acked { local, replicas: fsynced as i64 })
    }

    /// An error is the refusal.
    pub fn barrier(&mut self, id: TrackerId, barrier: Barrier) -> Result<(), &'static str> {
        let moved = match barrier {
            Barrier::None => false,
            Barrier::Spublish => !self.cluster && self.moved(31, false),
            Barrier::FunctionRestore if self.full => {
                return Err("OOM command not allowed when used memory > 'maxmemory'.");
            }
            Barrier::FunctionRestore => self.moved(48, true),
        };
        let offset = self.offset;
        if let Some(conn) = self.conns.get_mut(&id)
            && moved
        {
            conn.offset = offset;
        }
        Ok(())
    }

    /// The count for a connection's question; none if it has to block.
    pub fn ask(
        &mut self,
        id: TrackerId,
        need: Need,
        may_block: bool,
    ) -> Option<Result<Acked, &'static str>> {
        let told = |replica: &Replica| (replica.acked, replica.fsync_acked);
        let (held, fsynced) = self.count_by(self.conns[&id].offset, told);
        let (acked, met) = match need {
            Need::Wait { replicas } => (Acked { local: 0, replicas: held }, held >= replicas),
            Need::WaitAof { local, .. } if local > 0 && !self.aof => {
                return Some(Err(
                    "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.",
                ));
            }
            Need::WaitAof { local, replicas } => {
                (fsynced, fsynced.local >= local && fsynced.replicas >= replicas)
            }
        };
        let conn = self.conns.get_mut(&id).expect("asked on a connection that is there");
        conn.blocked = (!met && may_block).then_some(need);
        (met || !may_block).then_some(Ok(acked))
    }

    pub fn info(&self) -> Info {
        Info {
            run: self.run,
            line: self.line,
            former: self.former,
            offset: self.offset,
            backlog: self.backlog,
            aof: self.aof,
            cluster: self.cluster,
            online: self.replicas.iter().filter(|replica| replica.online).count() as i64,
        }
    }

    /// A replica takes in the stream, and tells.
    pub fn replica_catches_up(&mut self, index: usize, fsync: bool) {
        let (offset, replica) = (self.offset, &mut self.replicas[index]);
        replica.got = offset;
        if fsync {
            replica.fsynced = offset;
        }
        replica.acked = replica.got;
        replica.fsync_acked = replica.fsynced;
    }

    pub fn replica_leaves(&mut self, index: usize) {
        self.replicas[index].online = false;
    }

    /// A replica attaches: it gets what it lacks, or everything if it has data of another history.
    /// It has told nothing yet.
    pub fn replica_attaches(&mut self, index: usize) {
        if !self.backlog {
            // The first replica makes the backlog, and with it a new line.
            self.lineage.push((self.line, u64::MAX));
            self.line = self.new_name();
            self.former = None;
            self.backlog = true;
        }
        let (offset, replica) = (self.offset, &mut self.replicas[index]);
        if std::mem::take(&mut replica.foreign) {
            replica.got = offset;
            replica.fsynced = 0;
        }
        replica.online = true;
        replica.acked = 0;
        replica.fsync_acked = 0;
    }

    /// Another process is the primary now: a former replica, with what it has. All connections end.
    pub fn fails_over(&mut self, index: usize) {
        let heir = self.replicas[index].clone();
        self.conns.clear();
        self.run = self.new_name();
        self.goes_on_from(heir.got);
        self.fsynced = heir.fsynced;
        self.part_with_replicas();
    }

    /// Demoted and promoted in place, having taken over what another had in between. Idle
    /// connections stay, with the offsets that they had.
    pub fn fails_back(&mut self, index: usize) {
        let other = self.replicas[index].got;
        self.conns.retain(|_, conn| conn.blocked.is_none());
        self.goes_on_from(other);
        let between = self.new_name();
        self.former = Some((between, other + 1));
        // The other wrote something of its own, so the offsets of lost writes are used again.
        self.offset += 500;
        self.part_with_replicas();
    }

    fn part_with_replicas(&mut self) {
        for replica in &mut self.replicas {
            replica.online = false;
            replica.foreign = true;
        }
    }

    fn goes_on_from(&mut self, offset: u64) {
        for (_, end) in &mut self.lineage {
            *end = (*end).min(offset);
        }
        self.lineage.push((self.line, offset));
        self.former = Some((self.line, offset + 1));
        self.line = self.new_name();
        self.offset = offset;
        self.backlog = true;
    }
}
