//! The servers that rows run on, and the ways to reach them.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use lab::client::{Client, encode_into};
use lab::cluster::{Aof, Shards};
use lab::host::Host;
use lab::nutcracker::Nutcracker;
use lab::procfs;
use lab::servers::Server;

use crate::rows::Bed;

/// By which way a command gets to the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Way {
    /// There is nothing between.
    Direct,
    Nutcracker,
    Endpoint,
    /// The own port of the endpoint's host.
    HostPort,
    /// An endpoint of another build of the module (`--before`).
    Before,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Way::Direct => "direct",
            Way::Nutcracker => "nutcracker",
            Way::Endpoint => "endpoint",
            Way::HostPort => "host-port",
            Way::Before => "before",
        })
    }
}

/// One primary, and all ways to it.
pub(crate) struct Servers {
    shards: Shards,
    nutcracker: Option<Nutcracker>,
    endpoint: Option<Host>,
    before: Option<Host>,
}

impl Servers {
    /// Starts the servers of a bed, and what is needed for these ways.
    pub(crate) fn start(server: &Server, bed: Bed, ways: &[Way], before: Option<&Path>) -> Servers {
        let (replicas, aof) = match bed {
            Bed::Plain => (0, Aof::Off),
            Bed::Replicated => (1, Aof::Off),
            Bed::Durable => (1, Aof::Always),
        };
        let shards = Shards::of(server).shards(1).replicas(replicas).aof(aof).start();
        let host = || Host::of(server).upstream(shards.upstream());
        let goes = |way| ways.contains(&way);
        Servers {
            nutcracker: (bed == Bed::Plain && goes(Way::Nutcracker))
                .then(|| Nutcracker::start(&[shards.primary(0).address()])),
            endpoint: (goes(Way::Endpoint) || goes(Way::HostPort)).then(|| host().start()),
            before: before.filter(|_| goes(Way::Before)).map(|path| host().module(path).start()),
            shards,
        }
    }

    /// The port that this way begins at; none if there is no such way here.
    pub(crate) fn port(&self, way: Way) -> Option<u16> {
        match way {
            Way::Direct => Some(self.shards.primary(0).port()),
            Way::Nutcracker => self.nutcracker.as_ref().map(Nutcracker::port),
            Way::Endpoint => self.endpoint.as_ref().map(Host::endpoint_port),
            Way::HostPort => self.endpoint.as_ref().map(|host| host.port()),
            Way::Before => self.before.as_ref().map(Host::endpoint_port),
        }
    }

    /// Processor time used so far: by what stands between, and by the primary.
    pub(crate) fn run_time(&self, way: Way) -> (Duration, Duration) {
        let between = match way {
            Way::Direct => None,
            Way::Nutcracker => self.nutcracker.as_ref().map(Nutcracker::pid),
            Way::Endpoint | Way::HostPort => self.endpoint.as_ref().map(|host| host.pid()),
            Way::Before => self.before.as_ref().map(|host| host.pid()),
        };
        let primary = self.shards.primary(0).pid();
        (between.map_or(Duration::ZERO, procfs::run_time), procfs::run_time(primary))
    }

    /// Processor time of all processes here.
    pub(crate) fn run_time_of_all(&self) -> Duration {
        let hosts = [&self.endpoint, &self.before].into_iter().flatten().map(|host| host.pid());
        let servers = self.shards.iter().flat_map(|shard| {
            std::iter::once(&shard.primary).chain(&shard.replicas).map(|server| server.pid())
        });
        let nutcracker = self.nutcracker.iter().map(Nutcracker::pid);
        hosts.chain(servers).chain(nutcracker).map(procfs::run_time).sum()
    }

    /// Gives each of the benchmark program's first `keys` keys a value of this size.
    pub(crate) fn fill(&self, keys: usize, value: usize) {
        const AT_ONCE: usize = 100;
        let value = "x".repeat(value);
        let mut client = Client::connect(&self.shards.primary(0).address());
        for from in (0..keys).step_by(AT_ONCE) {
            let mut bytes = Vec::new();
            let to = keys.min(from + AT_ONCE);
            for key in from..to {
                encode_into(&mut bytes, &["SET", &format!("key:{key:012}"), &value]);
            }
            client.pipeline_raw(&bytes, to - from);
        }
    }
}
