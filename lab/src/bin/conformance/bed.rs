//! What the suite is run against: a bare server, or the endpoint of a database.

use std::fmt;

use lab::cluster::Shards;
use lab::host::Host;
use lab::process::Proc;
use lab::servers::Server;

/// Who answers the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    Bare,
    /// The endpoint of so many shards.
    Endpoint(usize),
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Way::Bare => f.pad("bare"),
            Way::Endpoint(1) => f.pad("1 shard"),
            Way::Endpoint(shards) => f.pad(&format!("{shards} shards")),
        }
    }
}

/// As the suite wants its servers, bare or not.
const LINES: [&str; 3] =
    ["enable-protected-configs yes", "enable-debug-command yes", "enable-module-command yes"];

/// Running servers, which nobody else uses and which end when this is dropped.
pub(crate) enum Bed {
    Bare(Proc),
    Endpoint { host: Box<Host>, shards: Shards },
}

impl Bed {
    /// # Panics
    /// If a server doesn't start; with the end of its log.
    pub(crate) fn start(server: &Server, way: Way) -> Bed {
        match way {
            Way::Bare => Bed::Bare(Proc::start(server, &LINES)),
            Way::Endpoint(count) => {
                let plan = Shards::of(server).shards(count).replicas(0);
                let shards = LINES.iter().fold(plan, |plan, line| plan.line(*line)).start();
                let host = Box::new(Host::of(server).upstream(shards.upstream()).start());
                Bed::Endpoint { host, shards }
            }
        }
    }

    /// Where the tests go.
    pub(crate) fn port(&self) -> u16 {
        match self {
            Bed::Bare(server) => server.port(),
            Bed::Endpoint { host, .. } => host.endpoint_port(),
        }
    }

    /// Who of these has ended though nobody wanted it, with the end of the log.
    pub(crate) fn fallen(&self) -> Option<String> {
        let named = |name: &str, server: &Proc| {
            let text = || format!("{name} has ended:\n{}", last_words(&server.log()));
            (!server.is_running()).then(text)
        };
        match self {
            Bed::Bare(server) => named("the bare server", server),
            Bed::Endpoint { host, shards } => named("the host", host).or_else(|| {
                let mut primaries = shards.iter().map(|shard| &shard.primary).enumerate();
                primaries.find_map(|(number, primary)| named(&format!("shard {number}"), primary))
            }),
        }
    }
}

/// What a server that crashed says first of it, or the end of the log of one that has just gone.
fn last_words(log: &str) -> String {
    const LINES: usize = 60;
    let lines: Vec<&str> = log.lines().collect();
    let crash = lines.iter().position(|line| line.contains("BUG REPORT START"));
    let begin = crash.unwrap_or(lines.len().saturating_sub(LINES));
    lines[begin..].iter().take(LINES).map(|line| format!("{line}\n")).collect()
}
