//! What is measured: one row per kind of work.

/// Which servers a row runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bed {
    /// A primary alone, which keeps nothing on disk.
    Plain,
    /// The same with a replica.
    Replicated,
    /// A primary and a replica that write each change to disk before they answer.
    Durable,
}

impl Bed {
    /// As a heading.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Bed::Plain => "one primary, no replica, no append-only file",
            Bed::Replicated => "one primary and its replica, no append-only file",
            Bed::Durable => "one primary and its replica, both with appendfsync always",
        }
    }
}

/// What the clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// The servers' own benchmark program: so many commands are sent at once, and then their
    /// replies awaited.
    Commands { set: bool, pipeline: u32, value: usize },
    /// Each client sends a SET and then, when that is answered or together with it, the second
    /// command, and when that is answered begins anew. One of these counts as one command.
    Acknowledged { wait: &'static [&'static str], together: bool },
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
}

/// Three bytes: what the servers' benchmark programs send if nothing is said.
const SMALL: usize = 3;
const LARGE: usize = 16 * 1024;
const WAIT: &[&str] = &["WAIT", "1", "0"];
const WAITAOF: &[&str] = &["WAITAOF", "0", "1", "0"];

const fn commands(
    name: &'static str,
    text: &'static str,
    clients: usize,
    (set, pipeline, value): (bool, u32, usize),
) -> Row {
    let work = Work::Commands { set, pipeline, value };
    Row { name, text, bed: Bed::Plain, clients, work, seconds_min: 0.0 }
}

const fn acknowledged(name: &'static str, text: &'static str, clients: usize) -> Row {
    let work = Work::Acknowledged { wait: WAIT, together: false };
    Row { name, text, bed: Bed::Replicated, clients, work, seconds_min: 0.0 }
}

/// A stock primary takes up to a second for a WAITAOF: a measurement must have room for several.
const fn synced(name: &'static str, text: &'static str, together: bool) -> Row {
    let work = Work::Acknowledged { wait: WAITAOF, together };
    Row { name, text, bed: Bed::Durable, clients: 1, work, seconds_min: 3.5 }
}

pub(crate) const ROWS: &[Row] = &[
    commands("set-p1", "SET, 50 clients", 50, (true, 1, SMALL)),
    commands("get-p1", "GET, 50 clients", 50, (false, 1, SMALL)),
    commands("set-p16", "SET, 50 clients, pipelines of 16", 50, (true, 16, SMALL)),
    commands("get-p16", "GET, 50 clients, pipelines of 16", 50, (false, 16, SMALL)),
    commands("set-p100", "SET, 50 clients, pipelines of 100", 50, (true, 100, SMALL)),
    commands("get-p100", "GET, 50 clients, pipelines of 100", 50, (false, 100, SMALL)),
    commands("set-c1", "SET, 1 client", 1, (true, 1, SMALL)),
    commands("get-c1", "GET, 1 client", 1, (false, 1, SMALL)),
    commands("get-c1-p100", "GET, 1 client, pipelines of 100", 1, (false, 100, SMALL)),
    commands("set-16k", "SET of 16 KB, 50 clients", 50, (true, 1, LARGE)),
    commands("get-16k", "GET of 16 KB, 50 clients", 50, (false, 1, LARGE)),
    acknowledged("wait-c1", "SET then WAIT 1, 1 client", 1),
    acknowledged("wait-c50", "SET then WAIT 1, 50 clients", 50),
    acknowledged("wait-c500", "SET then WAIT 1, 500 clients", 500),
    synced("waitaof-c1", "SET then WAITAOF 0 1, 1 client", false),
    synced("waitaof-c1-together", "SET and WAITAOF 0 1 as one, 1 client", true),
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
}
