//! Redis Cluster: shards that know one another, and promote a replica where a primary is gone.
//!
//! The servers are [`Shards`], as elsewhere; each shard starts with its share of the slots. Who is
//! the primary then changes, and so may the slots; `shard.primary` remains the one that was it at
//! the start, so ask [`RedisCluster::primary_of`] and [`RedisCluster::owner`]. Replicas stay with
//! their shard (`cluster-allow-replica-migration no`).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use crate::client::{Client, Value};
use crate::cluster::{Aof, Shard, Shards};
use crate::network::{Network, Place};
use crate::ports;
use crate::process::Proc;
use crate::servers::Server;

/// How many hash slots there are.
pub const SLOTS: u16 = 16_384;

/// How many keys of a slot are moved at once.
const BATCH: &str = "100";

/// How long nodes may take to agree.
const SETTLE: Duration = Duration::from_secs(30);

/// A cluster to be: see [`RedisCluster::of`].
#[derive(Clone, Debug)]
pub struct Plan {
    server: Server,
    primaries: usize,
    replicas: usize,
    aof: Aof,
    node_timeout: Duration,
    lines: Vec<String>,
    network: Option<Network>,
}

impl Plan {
    /// How many shards; three if nothing is said, the fewest that can vote.
    #[must_use]
    pub fn primaries(mut self, primaries: usize) -> Plan {
        self.primaries = primaries;
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

    /// After how long a node that doesn't answer is taken for dead; a second if nothing is said.
    #[must_use]
    pub fn node_timeout(mut self, time: Duration) -> Plan {
        self.node_timeout = time;
        self
    }

    /// A line of configuration for all servers.
    #[must_use]
    pub fn line(mut self, line: impl Into<String>) -> Plan {
        self.lines.push(line.into());
        self
    }

    /// Each server gets a place of its own on this network.
    #[must_use]
    pub fn network(mut self, network: &Network) -> Plan {
        self.network = Some(network.clone());
        self
    }

    /// Starts all servers, makes them a cluster, and waits until each sees it whole.
    ///
    /// # Panics
    /// If they don't within half a minute.
    #[track_caller]
    pub fn start(self) -> RedisCluster {
        let shards = (0..self.primaries).map(|_| {
            let replicas = (0..self.replicas).map(|_| self.start_node());
            let (primary, bus) = self.start_node();
            let (replicas, buses): (Vec<Proc>, Vec<u16>) = replicas.unzip();
            (Shard { primary, replicas }, [vec![bus], buses].concat())
        });
        let (shards, buses): (Vec<Shard>, Vec<Vec<u16>>) = shards.unzip();
        let shards = Shards::from(shards);
        share_out(&shards);
        introduce(&shards, &buses.concat());
        let id = |node: &Proc| (node.address(), node.client().command("CLUSTER MYID").text());
        let ids = shards.iter().flat_map(Shard::servers).map(id).collect();
        let cluster = RedisCluster { shards, ids };
        cluster.attach_replicas();
        cluster.wait_settled();
        cluster
    }

    /// A node that knows nobody, and the port where others are to find it.
    #[track_caller]
    fn start_node(&self) -> (Proc, u16) {
        let bus = ports::free();
        let plan = Proc::of(&self.server)
            .line("cluster-enabled yes")
            .line(format!("cluster-port {bus}"))
            .line(format!("cluster-node-timeout {}", self.node_timeout.as_millis()))
            .line("cluster-allow-replica-migration no")
            .line("cluster-require-full-coverage no")
            // However long a replica was away, it may stand for election.
            .line("cluster-replica-validity-factor 0");
        let plan = plan.lines(&self.aof.lines()).lines(&self.lines);
        let place = self.network.as_ref().map_or_else(Place::local, Network::place);
        (plan.place(place).start(), bus)
    }
}

/// Gives each primary its share of the slots.
#[track_caller]
fn share_out(shards: &Shards) {
    let bound = |number: usize| usize::from(SLOTS) * number / shards.len();
    for (number, shard) in shards.iter().enumerate() {
        let mut client = shard.primary.client();
        let (from, to) = (bound(number), bound(number + 1) - 1);
        expect_ok(&client.command(&format!("CLUSTER ADDSLOTSRANGE {from} {to}")));
        expect_ok(&client.command(&format!("CLUSTER SET-CONFIG-EPOCH {}", number + 1)));
    }
}

/// Makes every node known to every other.
#[track_caller]
fn introduce(shards: &Shards, buses: &[u16]) {
    let nodes: Vec<&Proc> = shards.iter().flat_map(Shard::servers).collect();
    let mut first = nodes[0].client();
    for (node, bus) in nodes.iter().zip(buses).skip(1) {
        let (ip, port) = (node.place().ip(), node.port());
        expect_ok(&first.command(&format!("CLUSTER MEET {ip} {port} {bus}")));
    }
    for node in &nodes {
        crate::eventually("each node knows all others", || {
            let seen = Nodes::seen_by(node).unwrap_or_default();
            seen.0.len() == nodes.len() && seen.0.iter().all(|line| !line.has("handshake"))
        });
    }
}

#[track_caller]
fn expect_ok(reply: &Value) {
    assert_eq!(*reply, crate::client::ok());
}

/// A running cluster. Dropping it ends it.
#[derive(Debug)]
pub struct RedisCluster {
    shards: Shards,
    /// The id of each node, by its address: it keeps it when it is started again.
    ids: BTreeMap<String, String>,
}

/// How a replica becomes the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takeover {
    /// The primary agrees, and holds its clients up until the replica has everything.
    Agreed,
    /// The primary isn't asked: `FORCE`.
    Forced,
    /// Nobody is asked: `TAKEOVER`.
    Unasked,
}

impl RedisCluster {
    /// The plan of a cluster of these servers: three shards, each a primary and a replica, no
    /// append-only file.
    pub fn of(server: &Server) -> Plan {
        Plan {
            server: server.clone(),
            primaries: 3,
            replicas: 1,
            aof: Aof::Off,
            node_timeout: Duration::from_secs(1),
            lines: Vec::new(),
            network: None,
        }
    }

    /// What `weir.upstream` is to be for this cluster.
    pub fn upstream(&self) -> String {
        let nodes = self.shards.iter().flat_map(Shard::servers);
        let addresses: Vec<String> = nodes.map(Proc::address).collect();
        format!("cluster://{}", addresses.join(","))
    }

    pub fn shards(&self) -> &Shards {
        &self.shards
    }

    /// The server that owns a slot, as the first node says that answers and knows.
    pub fn owner(&self, slot: u16) -> Option<&Proc> {
        self.find(|line| line.owns(slot))
    }

    /// The primary among the servers of a shard, as the nodes say; the newest, should they not
    /// agree.
    pub fn primary_of(&self, shard: usize) -> Option<&Proc> {
        let servers: Vec<String> = self.shards[shard].servers().map(Proc::address).collect();
        let views = self.shards.iter().flat_map(Shard::servers).filter_map(Nodes::seen_by);
        let lines = views.flat_map(|view| view.0);
        let newest = lines
            .filter(|line| line.has("master") && !line.slots.is_empty())
            .filter(|line| servers.contains(&line.address))
            .max_by_key(|line| line.epoch)?;
        self.shards.at(&newest.address).map(|(_, server)| server)
    }

    /// Tells a replica to take its primary's place. This returns before it has.
    ///
    /// # Errors
    /// If it doesn't answer, or won't.
    pub fn failover(&self, replica: &Proc, how: Takeover) -> io::Result<()> {
        let words: &[&str] = match how {
            Takeover::Agreed => &["CLUSTER", "FAILOVER"],
            Takeover::Forced => &["CLUSTER", "FAILOVER", "FORCE"],
            Takeover::Unasked => &["CLUSTER", "FAILOVER", "TAKEOVER"],
        };
        accepted(replica.ask(words)?)
    }

    /// What is still missing until all nodes see the same cluster, in order, and every shard is
    /// whole. `None`: nothing is.
    pub fn unsettled(&self) -> Option<String> {
        let mut views = Vec::new();
        for node in self.shards.iter().flat_map(Shard::servers) {
            let ok = |text: &Value| text.text().contains("cluster_state:ok");
            let state = node.ask(&["CLUSTER", "INFO"]);
            match Nodes::seen_by(node).filter(|_| state.as_ref().is_ok_and(ok)) {
                Some(view) if view.is_whole() => views.push(view.agreed()),
                _ => {
                    let seen = node.ask(&["CLUSTER", "NODES"]).map(|seen| seen.text());
                    let address = node.address();
                    return Some(format!("{address} doesn't see the cluster whole: {seen:?}"));
                }
            }
        }
        if views.windows(2).any(|pair| pair[0] != pair[1]) {
            return Some("the nodes don't agree".into());
        }
        (0..self.shards.len()).find_map(|number| match self.primary_of(number) {
            Some(primary) => self.shards[number].unsettled(&primary.address()),
            None => Some(format!("shard {number} has no primary")),
        })
    }

    /// Waits until [`RedisCluster::unsettled`] finds nothing.
    ///
    /// # Panics
    /// If that takes longer than half a minute.
    #[track_caller]
    pub fn wait_settled(&self) {
        crate::settles("the nodes", SETTLE, || self.unsettled());
    }

    /// Moves slots with their keys from one primary to another, while both are in use, as
    /// `redis-cli --cluster reshard` does: the target imports, the source migrates, keys are
    /// moved in batches, and then every primary is told, the target first.
    ///
    /// # Errors
    /// If a node doesn't answer, or refuses.
    pub fn move_slots(
        &self,
        slots: impl IntoIterator<Item = u16>,
        source: &Proc,
        target: &Proc,
    ) -> io::Result<()> {
        let primaries = (0..self.shards.len()).filter_map(|shard| self.primary_of(shard));
        let others =
            primaries.filter(|node| ![source.port(), target.port()].contains(&node.port()));
        let others: Vec<&Proc> = others.collect();
        let connect = |node: &Proc| Client::try_connect_soon(&node.address(), SETTLE);
        let mut clients: Vec<Client> = [target, source]
            .iter()
            .chain(&others)
            .map(|node| connect(node))
            .collect::<Result<_, _>>()?;
        let (source_id, target_id) = (self.id(source)?, self.id(target)?);
        for slot in slots {
            let slot = slot.to_string();
            let set =
                |what: &str, id: &str| ["CLUSTER", "SETSLOT", &slot, what, id].map(str::to_owned);
            accepted(clients[0].try_call(&set("IMPORTING", source_id))?)?;
            accepted(clients[1].try_call(&set("MIGRATING", target_id))?)?;
            while move_batch(&mut clients[1], &slot, target)? {}
            for client in &mut clients {
                accepted(client.try_call(&set("NODE", target_id))?)?;
            }
        }
        Ok(())
    }

    fn attach_replicas(&self) {
        for shard in self.shards.iter() {
            let id = &self.ids[&shard.primary.address()];
            for replica in &shard.replicas {
                expect_ok(&replica.client().command(&format!("CLUSTER REPLICATE {id}")));
            }
        }
    }

    fn find(&self, wanted: impl Fn(&Line) -> bool) -> Option<&Proc> {
        let views = self.shards.iter().flat_map(Shard::servers).filter_map(Nodes::seen_by);
        let line = views.flat_map(|view| view.0).find(wanted)?;
        self.shards.at(&line.address).map(|(_, server)| server)
    }

    fn id(&self, node: &Proc) -> io::Result<&str> {
        let id = self.ids.get(&node.address()).map(String::as_str);
        id.ok_or_else(|| io::Error::other(format!("{} is of another cluster", node.address())))
    }
}

/// Moves some keys of a slot; false if there were none left.
fn move_batch(source: &mut Client, slot: &str, target: &Proc) -> io::Result<bool> {
    let keys = source.try_call(&["CLUSTER", "GETKEYSINSLOT", slot, BATCH])?;
    let Value::Array(keys) = keys else {
        return Err(io::Error::other(format!("GETKEYSINSLOT was answered by {keys:?}")));
    };
    if keys.is_empty() {
        return Ok(false);
    }
    let (ip, port) = (target.place().ip(), target.port().to_string());
    let mut command: Vec<&[u8]> =
        ["MIGRATE", ip, &port, "", "0", "5000", "KEYS"].map(str::as_bytes).to_vec();
    command.extend(keys.iter().map(Value::bytes));
    let reply = source.try_call(&command)?;
    // A key that expired or was deleted meanwhile.
    if reply == crate::client::simple("NOKEY") { Ok(true) } else { accepted(reply).map(|()| true) }
}

fn accepted(reply: Value) -> io::Result<()> {
    reply.error_text().map_or(Ok(()), |text| Err(io::Error::other(text)))
}

/// What one node says of all: CLUSTER NODES.
#[derive(Clone, Debug, Default)]
struct Nodes(Vec<Line>);

#[derive(Clone, Debug)]
struct Line {
    id: String,
    address: String,
    flags: Vec<String>,
    primary: String,
    epoch: u64,
    linked: bool,
    slots: Vec<(u16, u16)>,
}

impl Nodes {
    /// None if the node doesn't answer.
    fn seen_by(node: &Proc) -> Option<Nodes> {
        let reply = node.ask(&["CLUSTER", "NODES"]).ok()?;
        let Value::Bulk(text) = reply else { return None };
        let lines = String::from_utf8_lossy(&text).lines().map(Line::read).collect::<Option<_>>();
        lines.map(Nodes)
    }

    /// Whether it finds nothing wrong with any node.
    fn is_whole(&self) -> bool {
        let well =
            |line: &Line| line.linked && !line.flags.iter().any(|flag| flag.contains("fail"));
        self.0.iter().all(well)
    }

    /// What all nodes must say alike.
    fn agreed(self) -> BTreeSet<String> {
        let agreed = |line: Line| {
            let is_primary = line.has("master");
            format!("{} {is_primary} {} {:?}", line.id, line.primary, line.slots)
        };
        self.0.into_iter().map(agreed).collect()
    }
}

impl Line {
    fn read(text: &str) -> Option<Line> {
        let words: Vec<&str> = text.split(' ').collect();
        let [id, address, flags, primary, _, _, epoch, link, slots @ ..] = &words[..] else {
            return None;
        };
        let slots = slots.iter().filter(|slots| !slots.starts_with('['));
        let range = |slots: &&str| {
            let (from, to) = slots.split_once('-').unwrap_or((slots, slots));
            Some((from.parse().ok()?, to.parse().ok()?))
        };
        Some(Line {
            id: (*id).into(),
            address: address.split('@').next()?.into(),
            flags: flags.split(',').map(str::to_owned).collect(),
            primary: (*primary).into(),
            epoch: epoch.parse().ok()?,
            linked: *link == "connected",
            slots: slots.map(range).collect::<Option<_>>()?,
        })
    }

    fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|known| known == flag)
    }

    fn owns(&self, slot: u16) -> bool {
        self.slots.iter().any(|(from, to)| (*from..=*to).contains(&slot))
    }
}

/// The hash slot of a key: CRC16 of it, or of what stands between its first braces.
pub fn slot_of(key: &[u8]) -> u16 {
    let open = key.iter().position(|&byte| byte == b'{');
    let tag = open.and_then(|open| {
        let rest = &key[open + 1..];
        let length = rest.iter().position(|&byte| byte == b'}')?;
        Some(&rest[..length]).filter(|tag| !tag.is_empty())
    });
    let crc = tag.unwrap_or(key).iter().fold(0_u16, |crc, &byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    });
    crc % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_that_servers_say() {
        assert_eq!(slot_of(b"123456789"), 12_739);
        assert_eq!(slot_of(b"foo"), 12_182);
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"user1000"));
        assert_eq!(slot_of(b"foo{}{bar}"), 8_363);
    }

    #[test]
    fn a_line_of_cluster_nodes_is_read() {
        let text = "07c3 127.0.0.1:30004@31004,host fail?,slave e7d1 0 1426238317239 4 connected";
        let line = Line::read(text).expect("a line");
        assert_eq!((line.address.as_str(), line.epoch, line.linked), ("127.0.0.1:30004", 4, true));
        assert!(line.has("fail?") && line.slots.is_empty());
        let text = "e7d1 :0@0 myself,master - 0 0 1 disconnected 0-5460 7 [93->-292f]";
        let line = Line::read(text).expect("a line");
        assert!(line.owns(5460) && line.owns(7) && !line.owns(93 + 5460) && !line.linked);
    }
}
