//! What the suite is run against: a bare server, the endpoint of a database, the host's own port.

use std::fmt;

use lab::cluster::Shards;
use lab::host::Host;
use lab::process::Proc;
use lab::servers::{Server, module_path};

/// What is compared with a bare server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// The endpoint of so many shards.
    Endpoint(usize),
    /// The host's own port, whose data commands go to one shard.
    Host,
    /// A server that has loaded the module and doesn't use it.
    Idle,
}

impl Way {
    /// `3`, `host`, `idle`.
    pub(crate) fn read(word: &str) -> Option<Way> {
        match word {
            "host" => Some(Way::Host),
            "idle" => Some(Way::Idle),
            count => count.parse().ok().filter(|count| *count > 0).map(Way::Endpoint),
        }
    }

    /// What the suite is told, beside the unit's name.
    pub(crate) fn suite_options(self) -> &'static [&'static str] {
        match self {
            // Keep to what a cluster can do: one database, and no command over several slots. Redis
            // itself tests a cluster so.
            Way::Endpoint(2..) => &["--cluster-mode"],
            Way::Endpoint(_) | Way::Host | Way::Idle => &[],
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Way::Endpoint(1) => f.pad("1 shard"),
            Way::Endpoint(shards) => f.pad(&format!("{shards} shards")),
            Way::Host => f.pad("host port"),
            Way::Idle => f.pad("idle"),
        }
    }
}

/// Which of the two that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Bare,
    Weir,
}

/// As the suite wants its servers, bare or not.
const LINES: [&str; 3] =
    ["enable-protected-configs yes", "enable-debug-command yes", "enable-module-command yes"];

/// Running servers, which nobody else uses and which end when this is dropped.
pub(crate) enum Bed {
    /// The suite starts servers itself.
    Own,
    Bare(Proc),
    Weir {
        host: Box<Host>,
        shards: Shards,
        port: u16,
    },
}

impl Bed {
    /// # Panics
    /// If a server doesn't start; with the end of its log.
    pub(crate) fn start(server: &Server, way: Way, side: Side) -> Bed {
        let count = match (way, side) {
            (Way::Idle, _) => return Bed::Own,
            (_, Side::Bare) => return Bed::Bare(Proc::start(server, &LINES)),
            (Way::Endpoint(count), Side::Weir) => count,
            (Way::Host, Side::Weir) => 1,
        };
        let plan = Shards::of(server).shards(count).replicas(0);
        let shards = LINES.iter().fold(plan, |plan, line| plan.line(*line)).start();
        let plan = Host::of(server).upstream(shards.upstream());
        let plan = if way == Way::Host {
            LINES.iter().fold(plan, |plan, line| plan.line(*line))
        } else {
            plan
        };
        let host = Box::new(plan.start());
        let port = if way == Way::Host { host.port() } else { host.endpoint_port() };
        Bed::Weir { host, shards, port }
    }

    /// Where the tests go; none if they start servers themselves.
    pub(crate) fn port(&self) -> Option<u16> {
        match self {
            Bed::Own => None,
            Bed::Bare(server) => Some(server.port()),
            Bed::Weir { port, .. } => Some(*port),
        }
    }

    /// Who of these has ended though nobody wanted it, with the end of the log.
    pub(crate) fn fallen(&self) -> Option<String> {
        let named = |name: &str, server: &Proc| {
            let text = || format!("{name} has ended:\n{}", last_words(&server.log()));
            (!server.is_running()).then(text)
        };
        match self {
            Bed::Own => None,
            Bed::Bare(server) => named("the bare server", server),
            Bed::Weir { host, shards, .. } => named("the host", host).or_else(|| {
                let mut primaries = shards.iter().map(|shard| &shard.primary).enumerate();
                primaries.find_map(|(number, primary)| named(&format!("shard {number}"), primary))
            }),
        }
    }
}

/// What makes a server load the module, and leave it idle. Several servers have these lines at a
/// time, so the endpoint is a socket in each one's own folder; its shard need not be there.
pub(crate) fn idle_lines() -> String {
    format!(
        "\nloadmodule {}\nweir.upstream static://127.0.0.1:1\nweir.intercept no\nweir.port 0\n\
         weir.unixsocket weir.sock\n",
        module_path().display()
    )
}

/// What is added to the suite's client on the host's own port. By these commands the tests mean the
/// server that has the data, and there they are the host's own: whoever means the shards says
/// `WEIR.DO` before them.
pub(crate) const HOST_CLIENT: &str = "
rename ::redis::__dispatch__raw__ ::redis::dispatch_to_host
proc ::redis::__dispatch__raw__ {id method argv} {
    if {[string tolower $method] in {bgrewriteaof bgsave config debug info save}} {
        tailcall ::redis::dispatch_to_host $id weir.do [linsert $argv 0 $method]
    }
    tailcall ::redis::dispatch_to_host $id $method $argv
}
";

/// What a server that crashed says first of it, or the end of the log of one that has just gone.
fn last_words(log: &str) -> String {
    const LINES: usize = 60;
    let lines: Vec<&str> = log.lines().collect();
    let crash = lines.iter().position(|line| line.contains("BUG REPORT START"));
    let begin = crash.unwrap_or(lines.len().saturating_sub(LINES));
    lines[begin..].iter().take(LINES).map(|line| format!("{line}\n")).collect()
}
