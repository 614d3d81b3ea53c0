//! What is measured: one row per kind of work.

use crate::mixed::MANY;
use crate::ways::Way;

/// Which servers a row runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bed {
    /// A primary alone, which keeps nothing on disk.
    Plain,
    /// Two of these, between which the keys are divided.
    Two,
    /// One as in `Plain`, but no other proxies than nutcracker: values of 100 MB are not for all.
    Mixed,
    /// A primary with its replica.
    Replicated,
    /// A primary and a replica that write each change to disk before they answer.
    Durable,
    /// One as in `Plain`, anew for each measurement: memory that was used before may be used again.
    Memory,
}

impl Bed {
    /// In the order in which they are measured.
    pub(crate) const EACH: [Bed; 6] =
        [Bed::Plain, Bed::Two, Bed::Mixed, Bed::Replicated, Bed::Durable, Bed::Memory];

    /// As a heading.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Bed::Plain => "one primary, no replica, no append-only file",
            Bed::Two => "two primaries, no replica, no append-only file; direct: one of them",
            Bed::Mixed => "one primary as at first, and clients that differ",
            Bed::Replicated => "one primary and its replica, no append-only file",
            Bed::Durable => "one primary and its replica, both with appendfsync always",
            Bed::Memory => "one primary as at first, and many sessions",
        }
    }
}

/// A command of the benchmark program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Set,
    Get,
    /// Of so many keys; it counts as one command.
    Mget(usize),
}

/// What goes on beside the client whose latency is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beside {
    Nothing,
    /// One client that sends pipelines of 10,000 commands.
    Pipelines,
    /// One client that writes and reads a value of 100 MB.
    Large,
    /// The same, beside many clients that ask at times of their own.
    LargeOfMany,
}

/// What sessions do whose memory is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nothing any more.
    Idle,
    /// They are in a WAIT for a replica that there isn't.
    Wait,
    /// They are in a BLPOP of a list that there isn't.
    Blpop,
}

/// What the clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// The servers' own benchmark program: so many commands are sent at once, and then their
    /// replies awaited.
    Commands { command: Command, pipeline: u32, value: usize },
    /// Each client sends a SET and then, when that is answered or together with it, the second
    /// command, and when that is answered begins anew. One of these counts as one command.
    Acknowledged { wait: &'static [&'static str], together: bool },
    /// So many SETs per second, over all clients.
    Paced(u32),
    /// One client GETs a small key, and when that is answered begins anew.
    Mixed(Beside),
    /// Each client sends a SET, and then rests so.
    Sessions(Rest),
}

/// One row of the tables.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// For `--only`.
    pub(crate) name: &'static str,
    /// For a reader.
    pub(crate) text: &'static str,
    pub(crate) bed: Bed,
    pub(crate) clients: usize,
    pub(crate) work: Work,
    /// The shortest measurement that says something.
    pub(crate) seconds_min: f64,
    /// Ways that this row is measured by, beside those of all, if nothing else is asked for.
    pub(crate) more: &'static [Way],
}

impl Work {
    /// Whether it is load that is measured by what it costs.
    pub(crate) fn is_load(self) -> bool {
        matches!(self, Work::Commands { .. } | Work::Acknowledged { .. } | Work::Paced(_))
    }
}

impl Row {
    /// Whether it can be measured by this way.
    pub(crate) fn takes(&self, way: Way) -> bool {
        match way {
            // It knows neither WAIT nor commands that wait.
            Way::Nutcracker => {
                matches!(self.work, Work::Commands { .. } | Work::Paced(_) | Work::Mixed(_))
                    || self.work == Work::Sessions(Rest::Idle)
            }
            // It gives one fixed reply, to whatever is said by the benchmark program.
            Way::Floor => self.bed == Bed::Plain && matches!(self.work, Work::Commands { .. }),
            Way::Peer(_) => self.bed == Bed::Plain,
            // Its sessions are the host's clients besides, and limited like these.
            Way::HostPort => self.bed != Bed::Memory,
            Way::Direct | Way::Endpoint | Way::Threads2 | Way::Before => true,
        }
    }
}

/// Three bytes: what the servers' benchmark programs send if nothing is said.
const SMALL: usize = 3;
const KILO: usize = 1024;
const LARGE: usize = 16 * KILO;
const WAIT: &[&str] = &["WAIT", "1", "0"];
const WAITAOF: &[&str] = &["WAITAOF", "0", "1", "0"];

const FLOOR: &[Way] = &[Way::Floor];
const ALL_MORE: &[Way] = &[Way::Threads2, Way::Floor];

const fn commands(
    name: &'static str,
    text: &'static str,
    clients: usize,
    (command, pipeline, value): (Command, u32, usize),
) -> Row {
    let work = Work::Commands { command, pipeline, value };
    Row { name, text, bed: Bed::Plain, clients, work, seconds_min: 0.0, more: &[] }
}

const fn paced(name: &'static str, text: &'static str, clients: usize, per_second: u32) -> Row {
    let work = Work::Paced(per_second);
    Row { name, text, bed: Bed::Plain, clients, work, seconds_min: 0.0, more: &[Way::Threads2] }
}

const fn acknowledged(name: &'static str, text: &'static str, clients: usize) -> Row {
    let work = Work::Acknowledged { wait: WAIT, together: false };
    Row { name, text, bed: Bed::Replicated, clients, work, seconds_min: 0.0, more: &[] }
}

/// A stock primary takes up to a second for a WAITAOF: a measurement must have room for several.
const fn synced(name: &'static str, text: &'static str, together: bool) -> Row {
    let work = Work::Acknowledged { wait: WAITAOF, together };
    Row { name, text, bed: Bed::Durable, clients: 1, work, seconds_min: 3.5, more: &[] }
}

/// What is beside may keep the client from being served for a good part of a second.
const fn mixed(name: &'static str, text: &'static str, beside: Beside, seconds_min: f64) -> Row {
    let work = Work::Mixed(beside);
    Row { name, text, bed: Bed::Mixed, clients: 1, work, seconds_min, more: &[] }
}

const fn sessions(name: &'static str, text: &'static str, clients: usize, rest: Rest) -> Row {
    let work = Work::Sessions(rest);
    Row { name, text, bed: Bed::Memory, clients, work, seconds_min: 0.0, more: &[] }
}

use Command::{Get, Mget, Set};

pub(crate) const ROWS: &[Row] = &[
    Row { more: ALL_MORE, ..commands("set-p1", "SET, 50 clients", 50, (Set, 1, SMALL)) },
    Row { more: ALL_MORE, ..commands("get-p1", "GET, 50 clients", 50, (Get, 1, SMALL)) },
    Row {
        more: ALL_MORE,
        ..commands("set-p16", "SET, 50 clients, pipelines of 16", 50, (Set, 16, SMALL))
    },
    Row {
        more: ALL_MORE,
        ..commands("get-p16", "GET, 50 clients, pipelines of 16", 50, (Get, 16, SMALL))
    },
    commands("set-p100", "SET, 50 clients, pipelines of 100", 50, (Set, 100, SMALL)),
    commands("get-p100", "GET, 50 clients, pipelines of 100", 50, (Get, 100, SMALL)),
    commands("set-c1", "SET, 1 client", 1, (Set, 1, SMALL)),
    commands("get-c1", "GET, 1 client", 1, (Get, 1, SMALL)),
    commands("set-c1-p100", "SET, 1 client, pipelines of 100", 1, (Set, 100, SMALL)),
    Row {
        more: FLOOR,
        ..commands("get-c1-p100", "GET, 1 client, pipelines of 100", 1, (Get, 100, SMALL))
    },
    commands("set-1k", "SET of 1 KB, 50 clients", 50, (Set, 1, KILO)),
    Row { more: FLOOR, ..commands("get-1k", "GET of 1 KB, 50 clients", 50, (Get, 1, KILO)) },
    commands("set-16k", "SET of 16 KB, 50 clients", 50, (Set, 1, LARGE)),
    Row { more: FLOOR, ..commands("get-16k", "GET of 16 KB, 50 clients", 50, (Get, 1, LARGE)) },
    Row {
        more: FLOOR,
        ..commands("mget-10", "MGET of 10 keys, 50 clients", 50, (Mget(10), 1, SMALL))
    },
    paced("set-paced", "SET, 50 clients, 5,000 per second", 50, 5_000),
    Row {
        bed: Bed::Two,
        ..commands("set-p16-two", "SET, pipelines of 16, two shards", 50, (Set, 16, SMALL))
    },
    Row {
        bed: Bed::Two,
        ..commands("get-p16-two", "GET, pipelines of 16, two shards", 50, (Get, 16, SMALL))
    },
    mixed("mixed-alone", "GET, 1 client, alone", Beside::Nothing, 1.0),
    mixed("mixed-pipeline", "GET beside pipelines of 10,000", Beside::Pipelines, 2.0),
    mixed("mixed-100m", "GET beside values of 100 MB", Beside::Large, 4.0),
    Row {
        clients: MANY,
        ..mixed(
            "mixed-100m-many",
            "SET, 50 clients, 1,000 per second, beside values of 100 MB",
            Beside::LargeOfMany,
            4.0,
        )
    },
    acknowledged("wait-c1", "SET then WAIT 1, 1 client", 1),
    acknowledged("wait-c50", "SET then WAIT 1, 50 clients", 50),
    acknowledged("wait-c500", "SET then WAIT 1, 500 clients", 500),
    synced("waitaof-c1", "SET then WAITAOF 0 1, 1 client", false),
    synced("waitaof-c1-together", "SET and WAITAOF 0 1 as one, 1 client", true),
    sessions("memory-idle", "idle sessions", 10_000, Rest::Idle),
    sessions("memory-wait", "sessions blocked in WAIT", 10_000, Rest::Wait),
    // Each costs the shard a connection.
    sessions("memory-blpop", "sessions blocked in BLPOP", 1_000, Rest::Blpop),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_rows_have_the_same_name() {
        let mut names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ROWS.len());
    }

    #[test]
    fn a_row_takes_the_ways_that_it_names() {
        for row in ROWS {
            assert!(row.more.iter().all(|way| row.takes(*way)), "{}", row.name);
        }
    }
}
