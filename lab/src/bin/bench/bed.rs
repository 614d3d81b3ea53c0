//! The servers that rows run on, and the ways to them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use lab::client::{Client, encode_into};
use lab::cluster::{Aof, Shards};
use lab::host::Host;
use lab::nutcracker::Nutcracker;
use lab::procfs;
use lab::servers::Server;

use crate::floor::Floor;
use crate::memory;
use crate::options::Options;
use crate::rows::{Bed, Command, Row, Work};
use crate::ways::Way;

/// One primary or two, and all ways to them.
pub(crate) struct Servers {
    shards: Shards,
    nutcracker: Option<Nutcracker>,
    endpoint: Option<Host>,
    threads_2: Option<Host>,
    before: Option<Host>,
    floor: Option<Floor>,
    /// Peers, which aren't ours, but what they do is.
    peers: Vec<i32>,
}

impl Servers {
    /// Starts the servers of a bed, and what is needed for these ways, each of which is there once.
    ///
    /// # Errors
    /// If the primary's port is taken, or a peer isn't there.
    pub(crate) fn start(
        server: &Server,
        bed: Bed,
        ways: &[Way],
        options: &Options,
    ) -> io::Result<Servers> {
        let goes = |way| ways.contains(&way);
        let shards = start_shards(server, bed, options)?;
        let host = || {
            let host = Host::of(server).upstream(shards.upstream());
            // Its own port's clients are few, and each that it allows costs a descriptor.
            session_lines(bed, "weir.maxclients").into_iter().fold(host, |host, line| {
                host.line(line).line(format!("maxclients {}", memory::clients_needed(0)))
            })
        };
        let nutcracker = || {
            let primaries = shards.iter().map(|shard| shard.primary.address());
            Nutcracker::start(&primaries.collect::<Vec<_>>())
        };
        let mut peers = Vec::new();
        for way in ways {
            let Way::Peer(peer) = way else { continue };
            peer.check(&shards.primary(0).address()).map_err(io::Error::other)?;
            // One process may stand behind two names.
            if !peers.contains(&peer.pid) {
                peers.push(peer.pid);
            }
        }
        let before = options.before.as_deref().filter(|_| goes(Way::Before));
        Ok(Servers {
            nutcracker: goes(Way::Nutcracker).then(nutcracker),
            endpoint: (goes(Way::Endpoint) || goes(Way::HostPort)).then(|| host().start()),
            threads_2: goes(Way::Threads2).then(|| host().line("weir.threads 2").start()),
            before: before.map(|path| host().module(path).start()),
            floor: None,
            peers,
            shards,
        })
    }

    /// Where this way begins, for this row.
    ///
    /// # Errors
    /// If the floor, which is another one for each kind of reply, doesn't start.
    pub(crate) fn open(&mut self, way: Way, row: &Row) -> io::Result<SocketAddr> {
        self.floor = match (way, row.work) {
            (Way::Floor, Work::Commands { command, value, .. }) => {
                Some(Floor::start(&reply(command, value))?)
            }
            _ => None,
        };
        let port = match way {
            Way::Direct => Some(self.shards.primary(0).port()),
            Way::Nutcracker => self.nutcracker.as_ref().map(Nutcracker::port),
            Way::Endpoint => self.endpoint.as_ref().map(Host::endpoint_port),
            Way::Threads2 => self.threads_2.as_ref().map(Host::endpoint_port),
            Way::HostPort => self.endpoint.as_ref().map(|host| host.port()),
            Way::Before => self.before.as_ref().map(Host::endpoint_port),
            Way::Floor => self.floor.as_ref().map(Floor::port),
            Way::Peer(peer) => return Ok(peer.address),
        };
        let port = port.ok_or_else(|| io::Error::other("nobody was started for it"))?;
        Ok((Ipv4Addr::LOCALHOST, port).into())
    }

    /// The process that stands between.
    pub(crate) fn between(&self, way: Way) -> Option<i32> {
        match way {
            Way::Direct => None,
            Way::Nutcracker => self.nutcracker.as_ref().map(Nutcracker::pid),
            Way::Endpoint | Way::HostPort => self.endpoint.as_ref().map(|host| host.pid()),
            Way::Threads2 => self.threads_2.as_ref().map(|host| host.pid()),
            Way::Before => self.before.as_ref().map(|host| host.pid()),
            Way::Floor => self.floor.as_ref().map(Floor::pid),
            Way::Peer(peer) => Some(peer.pid),
        }
    }

    /// The process whose clients those of this way are.
    pub(crate) fn serving(&self, way: Way) -> i32 {
        self.between(way).unwrap_or_else(|| self.shards.primary(0).pid())
    }

    /// Processor time used so far: by what stands between, and by the primaries.
    pub(crate) fn run_time(&self, way: Way) -> (Duration, Duration) {
        let primaries = self.shards.iter().map(|shard| procfs::run_time(shard.primary.pid()));
        (self.between(way).map_or(Duration::ZERO, procfs::run_time), primaries.sum())
    }

    /// Processor time of all processes here.
    pub(crate) fn run_time_of_all(&self) -> Duration {
        let hosts = [&self.endpoint, &self.threads_2, &self.before];
        let hosts = hosts.into_iter().flatten().map(|host| host.pid());
        let servers = self.shards.iter().flat_map(|shard| shard.servers().map(|one| one.pid()));
        let nutcracker = self.nutcracker.iter().map(Nutcracker::pid);
        hosts
            .chain(servers)
            .chain(nutcracker)
            .chain(self.peers.iter().copied())
            .map(procfs::run_time)
            .sum()
    }

    /// Gives each of the benchmark program's first `keys` keys a value of this size, on each
    /// primary: they don't agree about which key is whose.
    pub(crate) fn fill(&self, keys: usize, value: usize) {
        const AT_ONCE: usize = 100;
        let value = "x".repeat(value);
        for shard in self.shards.iter() {
            let mut client = Client::connect(&shard.primary.address());
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
}

fn start_shards(server: &Server, bed: Bed, options: &Options) -> io::Result<Shards> {
    let (shards, replicas, aof) = match bed {
        Bed::Plain | Bed::Mixed | Bed::Memory => (1, 0, Aof::Off),
        Bed::Two => (2, 0, Aof::Off),
        Bed::Replicated => (1, 1, Aof::Off),
        Bed::Durable => (1, 1, Aof::Always),
    };
    let port = options.primary_port.filter(|_| bed == Bed::Plain);
    if let Some(port) = port {
        TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .map_err(|error| io::Error::other(format!("the primary's port {port}: {error}")))?;
    }
    let plan = Shards::of(server).shards(shards).replicas(replicas).aof(aof).first_port(port);
    let lines = session_lines(bed, "maxclients");
    Ok(lines.into_iter().fold(plan, lab::cluster::Plan::line).start())
}

/// Lets a server of this bed have all clients of any row, under this option.
fn session_lines(bed: Bed, option: &str) -> Option<String> {
    let most = crate::rows::ROWS.iter().filter(|row| row.bed == bed).map(|row| row.clients).max();
    let most = most.filter(|_| bed == Bed::Memory)?;
    Some(format!("{option} {}", memory::clients_needed(most)))
}

/// What a primary answers to one command of the benchmark program.
fn reply(command: Command, value: usize) -> String {
    let bulk = || format!("${value}\r\n{}\r\n", "x".repeat(value));
    match command {
        Command::Set => "+OK\r\n".into(),
        Command::Get => bulk(),
        Command::Mget(keys) => format!("*{keys}\r\n{}", bulk().repeat(keys)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_says_what_a_primary_would() {
        assert_eq!(reply(Command::Set, 3), "+OK\r\n");
        assert_eq!(reply(Command::Get, 3), "$3\r\nxxx\r\n");
        assert_eq!(reply(Command::Mget(2), 1), "*2\r\n$1\r\nx\r\n$1\r\nx\r\n");
    }
}
