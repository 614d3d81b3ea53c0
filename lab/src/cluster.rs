//! Shards: primaries with their replicas.

use std::ops::Index;

use crate::network::{Network, Place};
use crate::process::{self, Proc};
use crate::servers::Server;

/// Whether a server keeps an append-only file, and when it writes it to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aof {
    Off,
    No,
    EverySecond,
    Always,
}

impl Aof {
    /// The lines of configuration that say so.
    pub(crate) fn lines(self) -> Vec<String> {
        let policy = match self {
            Aof::Off => return vec!["appendonly no".into()],
            Aof::No => "no",
            Aof::EverySecond => "everysec",
            Aof::Always => "always",
        };
        vec!["appendonly yes".into(), format!("appendfsync {policy}")]
    }
}

/// A database to be: see [`Shards::of`].
#[derive(Clone, Debug)]
pub struct Plan {
    server: Server,
    shards: usize,
    replicas: usize,
    aof: Aof,
    replica_aof: Option<Aof>,
    lines: Vec<String>,
    first_port: Option<u16>,
    network: Option<Network>,
}

impl Plan {
    /// How many shards; two if nothing is said.
    #[must_use]
    pub fn shards(mut self, shards: usize) -> Plan {
        self.shards = shards;
        self
    }

    /// How many replicas each shard has; one if nothing is said.
    #[must_use]
    pub fn replicas(mut self, replicas: usize) -> Plan {
        self.replicas = replicas;
        self
    }

    /// Whether all servers keep an append-only file; none does if nothing is said.
    #[must_use]
    pub fn aof(mut self, aof: Aof) -> Plan {
        self.aof = aof;
        self
    }

    /// The same for the replicas alone, where they differ from their primaries.
    #[must_use]
    pub fn replica_aof(mut self, aof: Aof) -> Plan {
        self.replica_aof = Some(aof);
        self
    }

    /// A line of configuration for all servers.
    #[must_use]
    pub fn line(mut self, line: impl Into<String>) -> Plan {
        self.lines.push(line.into());
        self
    }

    /// The port of the first primary, for somebody who has to know it beforehand.
    #[must_use]
    pub fn first_port(mut self, port: Option<u16>) -> Plan {
        self.first_port = port;
        self
    }

    /// Each server gets a place of its own on this network.
    #[must_use]
    pub fn network(mut self, network: &Network) -> Plan {
        self.network = Some(network.clone());
        self
    }

    /// Starts all servers, and waits until every replica is online and quiet.
    ///
    /// # Panics
    /// If a server doesn't start or a replica doesn't come online; with the end of the log.
    #[track_caller]
    pub fn start(self) -> Shards {
        let port = |shard| self.first_port.filter(|_| shard == 0);
        let shards = (0..self.shards).map(|shard| self.start_shard(port(shard))).collect();
        let shards = Shards { shards };
        shards.wait_online();
        shards
    }

    #[track_caller]
    fn start_shard(&self, port: Option<u16>) -> Shard {
        let place = || self.network.as_ref().map_or_else(Place::local, Network::place);
        let server =
            |aof: Aof| Proc::of(&self.server).lines(&self.lines).lines(&aof.lines()).place(place());
        let primary = server(self.aof);
        let primary = port.into_iter().fold(primary, process::Plan::port).start();
        let of = format!("replicaof {} {}", primary.place().ip(), primary.port());
        let replica = || server(self.replica_aof.unwrap_or(self.aof)).line(&of).start();
        let replicas = (0..self.replicas).map(|_| replica()).collect();
        Shard { primary, replicas }
    }
}

/// One primary with its replicas.
#[derive(Debug)]
pub struct Shard {
    pub primary: Proc,
    pub replicas: Vec<Proc>,
}

impl Shard {
    /// All its servers, the one that was the primary at the start first.
    pub fn servers(&self) -> impl Iterator<Item = &Proc> {
        std::iter::once(&self.primary).chain(&self.replicas)
    }

    /// Waits until the primary counts every replica as online, none has an append-only file still
    /// to rewrite (which it has after its first synchronisation), and all take what is new: a
    /// replica may be online for a second before it does.
    ///
    /// # Panics
    /// If that takes longer than twenty seconds.
    #[track_caller]
    pub fn wait_online(&self) {
        crate::eventually("replicas online", || {
            let info = self.primary.info("replication");
            info.int("connected_slaves") == self.replicas.len() as i64
                && (0..self.replicas.len())
                    .all(|i| info.part(&format!("slave{i}"), "state") == Some("online"))
        });
        for replica in &self.replicas {
            crate::eventually("a replica's link is up and its file written", || {
                let info = replica.info("everything");
                info.get("master_link_status") == Some("up")
                    && info.int("aof_rewrite_in_progress") == 0
                    && info.int("aof_rewrite_scheduled") == 0
            });
        }
        let mut client = self.primary.client();
        crate::eventually("replicas take the stream", || {
            // Something for the replicas that is no data.
            client.command("PUBLISH lab:stream new");
            let wait = format!("WAIT {} 200", self.replicas.len());
            client.command(&wait).int() == self.replicas.len() as i64
        });
    }

    /// What is still missing until `primary` is the primary of all the other servers, each of which
    /// is online and has written its append-only file anew, if it had to. `None`: nothing is.
    ///
    /// Unlike [`Shard::wait_online`] this asks who has which role now.
    pub fn unsettled(&self, primary: &str) -> Option<String> {
        for server in self.servers() {
            let info = match server.try_info("everything") {
                Ok(info) => info,
                Err(error) => return Some(format!("{}: {error}", server.address())),
            };
            let is = |field: &str, value: &str| info.get(field) == Some(value);
            let replicas = self.replicas.len();
            let in_place = if server.address() == primary {
                let online = |i| info.part(&format!("slave{i}"), "state") == Some("online");
                is("role", "master")
                    && info.get("connected_slaves") == Some(&replicas.to_string())
                    && (0..replicas).all(online)
            } else {
                let of = |ip, port| format!("{}:{}", ip, port);
                let of =
                    info.get("master_host").zip(info.get("master_port")).map(|(h, p)| of(h, p));
                of.as_deref() == Some(primary) && is("master_link_status", "up")
            };
            let written = is("aof_rewrite_in_progress", "0") && is("aof_rewrite_scheduled", "0");
            if !in_place || !written || !is("loading", "0") {
                return Some(format!("{} is not in place under {primary}", server.address()));
            }
        }
        None
    }

    /// How much of the stream each server has: the primary's offset, and each replica's own.
    pub fn offsets(&self) -> (i64, Vec<i64>) {
        let offset = |server: &Proc, field| server.info("replication").int(field);
        let replicas = self.replicas.iter().map(|r| offset(r, "slave_repl_offset")).collect();
        (offset(&self.primary, "master_repl_offset"), replicas)
    }
}

/// A running database: `shards[0].primary`, `shards[1].replicas[0]`.
#[derive(Debug)]
pub struct Shards {
    shards: Vec<Shard>,
}

impl Shards {
    /// The plan of a database of these servers: two shards, each a primary and a replica, no
    /// append-only file.
    pub fn of(server: &Server) -> Plan {
        Plan {
            server: server.clone(),
            shards: 2,
            replicas: 1,
            aof: Aof::Off,
            replica_aof: None,
            lines: Vec::new(),
            first_port: None,
            network: None,
        }
    }

    /// What `weir.upstream` is to be for this database.
    pub fn upstream(&self) -> String {
        let primaries: Vec<String> = self.iter().map(|shard| shard.primary.address()).collect();
        format!("static://{}", primaries.join(","))
    }

    /// Those that were started otherwise.
    pub(crate) fn from(shards: Vec<Shard>) -> Shards {
        Shards { shards }
    }

    /// The server with this address, whatever its role, and the number of its shard.
    pub fn at(&self, address: &str) -> Option<(usize, &Proc)> {
        let servers = self.iter().enumerate();
        let mut servers =
            servers.flat_map(|(number, shard)| shard.servers().map(move |s| (number, s)));
        servers.find(|(_, server)| server.address() == address)
    }

    pub fn primary(&self, shard: usize) -> &Proc {
        &self.shards[shard].primary
    }

    pub fn replica(&self, shard: usize, replica: usize) -> &Proc {
        &self.shards[shard].replicas[replica]
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Shard> {
        self.shards.iter()
    }

    pub fn len(&self) -> usize {
        self.shards.len()
    }

    pub fn is_empty(&self) -> bool {
        self.shards.is_empty()
    }

    /// [`Shard::wait_online`] for all.
    #[track_caller]
    pub fn wait_online(&self) {
        for shard in &self.shards {
            shard.wait_online();
        }
    }
}

impl Index<usize> for Shards {
    type Output = Shard;

    fn index(&self, shard: usize) -> &Shard {
        &self.shards[shard]
    }
}
