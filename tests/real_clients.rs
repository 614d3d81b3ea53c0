//! Client libraries as applications use them: what a program does on a stock server, it does on the
//! endpoint.
//!
//! ```text
//!                 +--> one bare server, with a replica          "ok", line by line
//!   a program ----|                                                    =
//!                 +--> the endpoint of two shards, with a       the same lines
//!                      replica each
//! ```
//!
//! Each library has a program under `tests/clients/` that prints a line for each of its checks.
//! Each is run in RESP2 and in RESP3, on both flavors of server, and must print the same lines, all
//! "ok", wherever it runs: so neither a check that was left out nor one that the library itself
//! fails can go by. `tests/setup/clients.sh` gets the libraries; where one is missing this fails.

#![cfg(feature = "host")]
#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use lab::cluster::{Aof, Shards};
use lab::host::Host;
use lab::servers::{self, Flavor, Server};

/// A program may take this long: many times what it needs, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// How the programs are run: the library, and what to run. `$links` is where the libraries are,
/// `$source` where the programs are, and `$made` where what had to be compiled is.
const PROGRAMS: &[(&str, &[&str])] = &[
    ("redis-py", &["$links/redis-py/bin/python", "-B", "$source/redis-py/main.py"]),
    ("ioredis", &["$links/node/node", "$source/ioredis/main.js"]),
    ("node-redis", &["$links/node/node", "$source/node-redis/main.js"]),
    ("hiredis", &["$made/hiredis"]),
    ("redis-rs", &["$made/redis-rs"]),
];

fn links() -> PathBuf {
    servers::repository().join(".servers/clients")
}

fn source() -> PathBuf {
    servers::repository().join("tests/clients")
}

fn made() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// Compiles the two programs that have to be, once for all tests.
fn compile() {
    static COMPILED: OnceLock<()> = OnceLock::new();
    COMPILED.get_or_init(|| {
        let hiredis = links().join("hiredis");
        run(Command::new("cc")
            .args(["-std=c11", "-D_POSIX_C_SOURCE=200809L", "-Wall", "-Wextra", "-Werror", "-O1"])
            .arg("-isystem")
            .arg(hiredis.join("include"))
            .arg(source().join("hiredis/main.c"))
            .args([hiredis.join("lib/libhiredis.a"), "-lm".into()])
            .arg("-o")
            .arg(made().join("hiredis")));
        run(Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--locked", "--manifest-path"])
            .arg(source().join("redis-rs/Cargo.toml"))
            .arg("--target-dir")
            .arg(links().join("redis-rs")));
        // Another clone, which builds in the same folder, may build it anew while we run it.
        let built = links().join("redis-rs/debug/weir-clients-redis-rs");
        fs::copy(built, made().join("redis-rs")).unwrap();
    });
}

/// Runs a program to its end, which must be a good one.
fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{}: {error}: run tests/setup/clients.sh", command.get_program().display())
    });
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{error}", output.status);
}

/// Where a program can be run.
struct Place {
    name: String,
    port: u16,
}

/// One run of a program.
struct Run {
    library: &'static str,
    protocol: u8,
    place: String,
    lines: Vec<String>,
    /// What went wrong besides a check: how it ended, and what it wrote to standard error.
    trouble: String,
}

impl Run {
    fn of(library: &'static str, words: &[&str], protocol: u8, place: &Place) -> Run {
        let fill = |word: &str| {
            word.replace("$links", &links().to_string_lossy())
                .replace("$source", &source().to_string_lossy())
                .replace("$made", &made().to_string_lossy())
        };
        // `timeout` is in every system's coreutils, and ends what it started with it.
        let mut command = Command::new("timeout");
        command
            .arg("--kill-after=5")
            .arg(PATIENCE.as_secs().to_string())
            .args(words.iter().map(|word| fill(word)))
            .args(["127.0.0.1", &place.port.to_string(), &protocol.to_string()])
            .env("NODE_PATH", links().join(library).join("node_modules"))
            .stdin(Stdio::null());
        let output = command.output().unwrap();
        Run {
            library,
            protocol,
            place: place.name.clone(),
            lines: String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect(),
            trouble: trouble(&output),
        }
    }

    fn title(&self) -> String {
        format!("{:<10} RESP{} on {}", self.library, self.protocol, self.place)
    }

    fn is_good(&self) -> bool {
        self.trouble.is_empty() && self.lines.iter().all(|line| line.starts_with("ok "))
    }
}

fn trouble(output: &Output) -> String {
    let mut trouble = String::new();
    if !output.status.success() {
        let late = output.status.code() == Some(124);
        let why = if late { " (it took too long)" } else { "" };
        let _ = writeln!(trouble, "{}{why}", output.status);
    }
    trouble.push_str(&String::from_utf8_lossy(&output.stderr));
    trouble
}

/// Runs every program in both protocols at all places, a library at a time on each, and compares.
fn programs_hold(flavor: Flavor) {
    compile();
    let server = Server::of(flavor);
    let plan = || Shards::of(&server).replicas(1).aof(Aof::EverySecond);
    let bare = plan().shards(1).start();
    let shards = plan().shards(2).start();
    let host = Host::of(&server).upstream(shards.upstream()).start();
    let bare_place = Place { name: format!("a bare {flavor}"), port: bare.primary(0).port() };
    let endpoint = Place { name: format!("the endpoint of {flavor}"), port: host.endpoint_port() };

    let mut report = String::new();
    let mut failed = false;
    let runs: Vec<[Run; 2]> = thread::scope(|scope| {
        // Libraries go side by side, as the programs of many users do; the two places of one run,
        // which are compared, as well.
        let libraries: Vec<_> = PROGRAMS
            .iter()
            .flat_map(|program| [(program, 2), (program, 3)])
            .map(|((library, words), protocol)| {
                let places = [&bare_place, &endpoint];
                scope.spawn(move || places.map(|place| Run::of(library, words, protocol, place)))
            })
            .collect();
        libraries.into_iter().map(|library| library.join().unwrap()).collect()
    });
    for [bare, endpoint] in &runs {
        for run in [bare, endpoint] {
            let ok = run.lines.iter().filter(|line| line.starts_with("ok ")).count();
            println!("{:<50} {ok:>3} of {:>3} checks", run.title(), run.lines.len());
            if !run.is_good() {
                failed = true;
                let _ = writeln!(report, "\n{}:", run.title());
                for line in run.lines.iter().filter(|line| !line.starts_with("ok ")) {
                    let _ = writeln!(report, "    {line}");
                }
                for line in run.trouble.lines() {
                    let _ = writeln!(report, "    | {line}");
                }
            }
        }
        if bare.lines.is_empty()
            || (bare.is_good() && endpoint.is_good() && bare.lines != endpoint.lines)
        {
            failed = true;
            let _ = writeln!(report, "\n{}: other checks than on the other", endpoint.title());
        }
    }
    assert!(host.is_running(), "the host has ended; the end of its log:\n{}", host.log_end());
    assert!(!failed, "{report}");
}

#[test]
fn what_holds_on_a_bare_valkey_holds_on_its_endpoint() {
    programs_hold(Flavor::Valkey);
}

#[test]
fn what_holds_on_a_bare_redis_holds_on_its_endpoint() {
    programs_hold(Flavor::Redis);
}
