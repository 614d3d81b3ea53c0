//! The suite: where it is, what is in it, and copies of it to work in.
//!
//! Two runs in one tree disturb each other, by way of `tests/tmp`, so each has a copy of its own.
//! Of the rest of the source tree the tests want to see the programs, in `src/`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use lab::folder::Folder;
use lab::servers::{Server, repository};

use crate::bed::{HOST_CLIENT, Side, Way, idle_lines};

/// The folders of units, in the order in which the suite itself runs them.
const FOLDERS: [&str; 4] = ["unit", "unit/type", "unit/cluster", "integration"];

/// What CI leaves out: units that take long, most of it Tcl's own work, and of whose commands
/// others make use as well.
const LONG: &[&str] = &[
    "unit/dump",
    "unit/geo",
    "unit/hyperloglog",
    "unit/info-keysizes",
    "unit/latency-monitor",
    "unit/lazyfree",
    "unit/type/list-2",
    "unit/type/list-3",
];

/// What is played on the host's own port: units about data. A name stands for all that begin so.
const ON_HOST: &[&str] = &[
    "unit/bitfield",
    "unit/bitops",
    "unit/dump",
    "unit/expire",
    "unit/functions",
    "unit/geo",
    "unit/hyperloglog",
    "unit/keyspace",
    "unit/lazyfree",
    "unit/multi",
    "unit/protocol",
    "unit/quit",
    "unit/scan",
    "unit/scripting",
    "unit/sort",
    "unit/type/",
];

/// What CI plays of these: transactions, commands that wait, and replies of most kinds.
const ON_HOST_PART: &[&str] = &["unit/multi", "unit/type/incr", "unit/type/stream-cgroups"];

/// What is played in servers that have loaded the module and don't use it: what a module could
/// disturb, be it by its threads, its memory, its filter, its settings, or by being there.
const IDLE: &[&str] = &[
    "unit/acl",
    "unit/auth",
    "unit/client-eviction",
    "unit/info",
    "unit/introspection",
    "unit/introspection-2",
    "unit/limits",
    "unit/maxmemory",
    "unit/memefficiency",
    "unit/multi",
    "unit/oom-score-adj",
    "unit/other",
    "unit/querybuf",
    "unit/scripting",
    "unit/shutdown",
    "unit/wait",
    "integration/aof",
    "integration/logging",
    "integration/rdb",
    "integration/replication-psync",
];

/// Whether a unit is played this way, or in this part of it.
pub(crate) fn plays(unit: &str, way: Way, part: bool) -> bool {
    let among = |names: &[&str]| names.iter().any(|name| unit.starts_with(name));
    match way {
        Way::Endpoint(_) => !part || !LONG.contains(&unit),
        Way::Host => among(if part { ON_HOST_PART } else { ON_HOST }),
        Way::Idle => IDLE.contains(&unit),
    }
}

/// The suite, as `make setup` of it left it.
pub(crate) struct Suite {
    root: PathBuf,
}

impl Suite {
    /// # Errors
    /// If it isn't there; the text says what to do.
    pub(crate) fn find() -> io::Result<Suite> {
        let root = repository().join(".servers/suite");
        if !root.join("tests/test_helper.tcl").exists() {
            let text = format!(
                "no tests at {}: run `tests/setup/servers.sh servers suite`",
                root.display()
            );
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        Ok(Suite { root })
    }

    /// The names of all units: `unit/type/hash`.
    pub(crate) fn units(&self) -> io::Result<Vec<String>> {
        let mut units = Vec::new();
        for folder in FOLDERS {
            let mut names = Vec::new();
            for entry in fs::read_dir(self.root.join("tests").join(folder))? {
                let name = entry?.file_name();
                if let Some(name) = name.to_str().and_then(|name| name.strip_suffix(".tcl")) {
                    names.push(format!("{folder}/{name}"));
                }
            }
            names.sort();
            units.append(&mut names);
        }
        Ok(units)
    }

    /// A copy of it, for a run with this server's programs.
    pub(crate) fn copy(&self, server: &Server, way: Way, side: Side) -> io::Result<Folder> {
        let folder = Folder::new();
        let tests = folder.path().join("tests");
        copy_folder(&self.root.join("tests"), &tests)?;
        let more: &[(&str, String)] = match (way, side) {
            (Way::Host, Side::Weir) => &[("support/redis.tcl", HOST_CLIENT.into())],
            (Way::Idle, Side::Weir) => {
                &["assets/default.conf", "assets/minimal.conf"].map(|name| (name, idle_lines()))
            }
            _ => &[],
        };
        for (name, text) in more {
            let mut file = File::options().append(true).open(tests.join(name))?;
            file.write_all(text.as_bytes())?;
        }
        let programs = folder.path().join("src");
        fs::create_dir(&programs)?;
        for (program, name) in [
            (server.program.clone(), "redis-server"),
            // One program, which looks by which name it was started.
            (server.program.clone(), "redis-check-aof"),
            (server.program.clone(), "redis-check-rdb"),
            (server.program.clone(), "redis-sentinel"),
            (server.cli(), "redis-cli"),
            (server.benchmark(), "redis-benchmark"),
        ] {
            symlink(program, programs.join(name))?;
        }
        Ok(folder)
    }
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let copy = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &copy)?;
        } else {
            fs::copy(entry.path(), copy)?;
        }
    }
    Ok(())
}
