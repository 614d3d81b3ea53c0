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
//! Each library has a program under `tests/clients/` that prints a line for each of its checks. It
//! is run in RESP2 and in RESP3, on both flavors of server, and must print the same lines, all
//! "ok", wherever it runs: so neither a check that was left out nor one that the library itself
//! fails can go by. redis-py does the same over TLS. `tests/setup/clients.sh` gets the libraries;
//! where one is missing this fails.

#![cfg(feature = "host")]
#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]
#![allow(clippy::print_stdout, reason = "how much was checked is shown")]

mod certificates;

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use certificates::Authority;
use lab::cluster::{Aof, Shards};
use lab::host::{Host, Plan};
use lab::servers::{self, Flavor, Server};

/// A program may take this long: many times what it needs, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// A library, and how its program is run. `$links` is where the libraries are, `$source` where the
/// programs are, and `$made` where what had to be compiled is.
type Program = (&'static str, &'static [&'static str]);

const PROGRAMS: &[Program] = &[
    ("redis-py", &["$links/redis-py/bin/python", "-B", "$source/redis-py/main.py"]),
    ("ioredis", &["$links/node/node", "$source/ioredis/main.js"]),
    ("node-redis", &["$links/node/node", "$source/node-redis/main.js"]),
    ("hiredis", &["$made/hiredis"]),
    ("redis-rs", &["$made/redis-rs"]),
];

/// Libraries that are tried at a time, on each flavor. Each has several programs running, which
/// have little to do but to wait; with many more, a machine of two cores is busy with starting
/// them.
const AT_A_TIME: usize = 2;

/// The library that is tried over TLS as well.
const SPEAKS_TLS: &str = "redis-py";

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

/// Where programs are run, and how they get there.
struct Place {
    name: String,
    host: &'static str,
    port: u16,
    /// The certificate that the place's own is signed with, if TLS is spoken there.
    authority: Option<String>,
}

impl Place {
    fn plain(name: String, port: u16) -> Place {
        Place { name, host: "127.0.0.1", port, authority: None }
    }
}

/// One run of a program.
struct Run {
    title: String,
    lines: Vec<String>,
    /// What went wrong besides a check: how it ended, and what it wrote to standard error.
    trouble: String,
}

impl Run {
    fn of((library, words): &Program, protocol: u8, place: &Place) -> Run {
        let fill = |word: &&str| {
            word.replace("$links", &links().to_string_lossy())
                .replace("$source", &source().to_string_lossy())
                .replace("$made", &made().to_string_lossy())
        };
        // `timeout` is in every system's coreutils, and ends what it started with it.
        let mut command = Command::new("timeout");
        command
            .arg("--kill-after=5")
            .arg(PATIENCE.as_secs().to_string())
            .args(words.iter().map(fill))
            .args([place.host, &place.port.to_string(), &protocol.to_string()])
            .args(&place.authority)
            .env("NODE_PATH", links().join(library).join("node_modules"))
            .stdin(Stdio::null());
        let output = command.output().unwrap();
        let tls = if place.authority.is_some() { ", TLS" } else { "" };
        Run {
            title: format!("{library:<10} RESP{protocol}{tls} on {}", place.name),
            lines: String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect(),
            trouble: trouble(&output),
        }
    }

    /// How many checks were made, and how many of them were well.
    fn counts(&self) -> (usize, usize) {
        let ok = self.lines.iter().filter(|line| line.starts_with("ok "));
        (self.lines.len(), ok.count())
    }

    fn is_good(&self) -> bool {
        let (made, ok) = self.counts();
        self.trouble.is_empty() && ok == made && made > 0
    }

    /// What is to be said of it when it wasn't good.
    fn report(&self) -> String {
        let mut report = format!("\n{}:\n", self.title);
        for line in self.lines.iter().filter(|line| !line.starts_with("ok ")) {
            let _ = writeln!(report, "    {line}");
        }
        for line in self.trouble.lines() {
            let _ = writeln!(report, "    | {line}");
        }
        report
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

/// Runs a program at all these places, the first of which is a bare server, and gives what is
/// wrong.
fn compare(program: &Program, protocol: u8, places: &[&Place]) -> String {
    // Side by side: a program waits most of its time, for replicas and their files.
    let runs: Vec<Run> = thread::scope(|scope| {
        let run = |place| scope.spawn(move || Run::of(program, protocol, place));
        let running: Vec<_> = places.iter().map(|place| run(*place)).collect();
        running.into_iter().map(|run| run.join().unwrap()).collect()
    });
    let mut wrong = String::new();
    for run in &runs {
        let (made, ok) = run.counts();
        println!("{:<50} {ok:>3} of {made:>3} checks", run.title);
        if !run.is_good() {
            wrong.push_str(&run.report());
        } else if run.lines != runs[0].lines {
            let _ = writeln!(wrong, "\n{}: not the checks that were made elsewhere", run.title);
        }
    }
    wrong
}

/// The lines of a host that speaks TLS on this port, to clients that have no certificate.
fn tls_lines(authority: &Authority, port: u16) -> [String; 5] {
    authority.issue("endpoint");
    [
        format!("weir.tls-port {port}"),
        format!("weir.tls-cert-file {}", authority.file("endpoint.crt")),
        format!("weir.tls-key-file {}", authority.file("endpoint.key")),
        format!("weir.tls-ca-cert-file {}", authority.file("ca.crt")),
        "weir.tls-auth-clients no".into(),
    ]
}

/// Runs every program in both protocols, on a bare server and on the endpoint.
fn programs_hold(flavor: Flavor) {
    compile();
    let server = Server::of(flavor);
    let plan = || Shards::of(&server).replicas(1).aof(Aof::EverySecond);
    let (bare, shards) = (plan().shards(1).start(), plan().shards(2).start());
    let authority = Authority::new("clients");
    let tls_port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let host = Host::of(&server).upstream(shards.upstream());
    let host = tls_lines(&authority, tls_port).into_iter().fold(host, Plan::line).start();

    let on_bare = Place::plain(format!("a bare {flavor}"), bare.primary(0).port());
    let on_endpoint = Place::plain(format!("the endpoint of {flavor}"), host.endpoint_port());
    let over_tls = Place {
        name: on_endpoint.name.clone(),
        // The name that its certificate is for.
        host: "localhost",
        port: tls_port,
        authority: Some(authority.file("ca.crt")),
    };
    let all = [&on_bare, &on_endpoint, &over_tls];
    let taken = AtomicUsize::new(0);
    let some = || {
        let mut wrong = String::new();
        while let Some(program) = PROGRAMS.get(taken.fetch_add(1, Ordering::Relaxed)) {
            let places = if program.0 == SPEAKS_TLS { &all[..] } else { &all[..2] };
            wrong += &[2, 3].map(|resp| compare(program, resp, places)).concat();
        }
        wrong
    };
    let wrong: String = thread::scope(|scope| {
        [(); AT_A_TIME].map(|()| scope.spawn(some)).map(|some| some.join().unwrap()).concat()
    });
    assert!(host.is_running(), "the host has ended; the end of its log:\n{}", host.log_end());
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn what_holds_on_a_bare_valkey_holds_on_its_endpoint() {
    programs_hold(Flavor::Valkey);
}

#[test]
fn what_holds_on_a_bare_redis_holds_on_its_endpoint() {
    programs_hold(Flavor::Redis);
}
