//! The servers of a run, whoever looks after them.

use std::io;
use std::time::Duration;

use lab::cluster::{Aof, Shards};
use lab::host::Host;
use lab::network::{Network, Place};
use lab::process::Proc;
use lab::redis_cluster::{RedisCluster, slot_of};
use lab::sentinel::Sentinels;
use lab::servers::Server;

/// Who looks after the shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Static,
    Sentinel,
    Cluster,
}

impl Kind {
    pub(crate) const EACH: [Kind; 3] = [Kind::Static, Kind::Sentinel, Kind::Cluster];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Kind::Static => "static",
            Kind::Sentinel => "sentinel",
            Kind::Cluster => "cluster",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Kind> {
        Kind::EACH.into_iter().find(|kind| kind.name() == name)
    }

    /// How many shards a run of this kind has, and how many replicas each.
    const fn shape(self) -> (usize, usize) {
        match self {
            Kind::Static | Kind::Sentinel => (2, 2),
            // The fewest that can vote.
            Kind::Cluster => (3, 1),
        }
    }
}

/// Running servers, and the host in front of them.
#[derive(Debug)]
pub(crate) struct Bed {
    // Before what it uses: fields are dropped in this order.
    host: Option<Host>,
    engine: Engine,
    network: Option<Network>,
    tags: Vec<String>,
}

#[derive(Debug)]
enum Engine {
    Static(Shards),
    Sentinel(Sentinels, Shards),
    Cluster(RedisCluster),
}

impl Bed {
    /// Starts all servers but the host.
    ///
    /// # Panics
    /// If one doesn't start; with the end of its log.
    pub(crate) fn start(server: &Server, kind: Kind, network: Option<Network>) -> Bed {
        let (primaries, replicas) = kind.shape();
        let engine = if kind == Kind::Cluster {
            let plan = RedisCluster::of(server).primaries(primaries).replicas(replicas);
            // A server that is killed must come back with what it had acknowledged.
            let plan = plan.aof(Aof::Always).node_timeout(Duration::from_millis(800));
            Engine::Cluster(
                network.iter().fold(plan, |plan, network| plan.network(network)).start(),
            )
        } else {
            let plan = Shards::of(server).shards(primaries).replicas(replicas).aof(Aof::Always);
            let shards = network.iter().fold(plan, |plan, network| plan.network(network)).start();
            if kind == Kind::Static {
                Engine::Static(shards)
            } else {
                let plan = Sentinels::of(server);
                let plan = network.iter().fold(plan, |plan, network| plan.network(network));
                Engine::Sentinel(plan.start(&shards), shards)
            }
        };
        Bed { host: None, engine, network, tags: tags(primaries) }
    }

    /// Starts the host.
    ///
    /// # Errors
    /// The end of its log, if it can't serve these shards.
    pub(crate) fn start_host(&mut self, server: &Server) -> Result<(), String> {
        let upstream = match &self.engine {
            Engine::Static(shards) => shards.upstream(),
            Engine::Sentinel(sentinels, _) => sentinels.upstream(),
            Engine::Cluster(cluster) => cluster.upstream(),
        };
        let place = self.network.as_ref().map_or_else(Place::local, Network::place);
        let host = Host::of(server).upstream(upstream).place(place).try_start();
        self.host = Some(host.map_err(|refused| refused.0)?);
        Ok(())
    }

    pub(crate) fn host(&self) -> Option<&Host> {
        self.host.as_ref()
    }

    pub(crate) fn kind(&self) -> Kind {
        match self.engine {
            Engine::Static(_) => Kind::Static,
            Engine::Sentinel(..) => Kind::Sentinel,
            Engine::Cluster(_) => Kind::Cluster,
        }
    }

    pub(crate) fn shards(&self) -> &Shards {
        match &self.engine {
            Engine::Static(shards) | Engine::Sentinel(_, shards) => shards,
            Engine::Cluster(cluster) => cluster.shards(),
        }
    }

    pub(crate) fn sentinels(&self) -> Option<&Sentinels> {
        match &self.engine {
            Engine::Sentinel(sentinels, _) => Some(sentinels),
            _ => None,
        }
    }

    pub(crate) fn cluster(&self) -> Option<&RedisCluster> {
        match &self.engine {
            Engine::Cluster(cluster) => Some(cluster),
            _ => None,
        }
    }

    /// Whether servers can be cut off.
    pub(crate) fn has_network(&self) -> bool {
        self.network.is_some()
    }

    /// How many replicas each shard has.
    pub(crate) fn replicas(&self) -> usize {
        self.kind().shape().1
    }

    /// For each shard a hash tag, by which keys end up there.
    pub(crate) fn tags(&self) -> &[String] {
        &self.tags
    }

    /// The primary of a shard, as those say who look after it.
    pub(crate) fn primary(&self, shard: usize) -> Option<&Proc> {
        match &self.engine {
            Engine::Static(shards) => Some(shards.primary(shard)),
            Engine::Sentinel(sentinels, shards) => {
                let address = sentinels.primary_of(&sentinels.names()[shard])?;
                shards.at(&address).map(|(_, server)| server)
            }
            Engine::Cluster(cluster) => cluster.primary_of(shard),
        }
    }

    /// What is still missing until everything is in its place. `None`: nothing is.
    pub(crate) fn unsettled(&self) -> Option<String> {
        match &self.engine {
            Engine::Static(shards) => {
                shards.iter().find_map(|shard| shard.unsettled(&shard.primary.address()))
            }
            Engine::Sentinel(sentinels, shards) => sentinels.unsettled(shards),
            Engine::Cluster(cluster) => cluster.unsettled(),
        }
    }

    /// All who have a say in a failover of this server's shard, but itself.
    pub(crate) fn others(&self, server: &Proc) -> Vec<&Place> {
        let all = self.shards().iter().flat_map(lab::cluster::Shard::servers);
        let sentinels = self.sentinels().into_iter().flat_map(Sentinels::iter);
        let others = all.chain(sentinels).filter(|other| other.port() != server.port());
        others.map(Proc::place).collect()
    }

    /// The members of a set, as the primary has them that owns it now.
    pub(crate) fn members(&self, shard: usize, key: &str) -> io::Result<Vec<String>> {
        let owner = match &self.engine {
            Engine::Cluster(cluster) => cluster.owner(slot_of(key.as_bytes())),
            _ => self.primary(shard),
        };
        let owner = owner.ok_or_else(|| io::Error::other(format!("nobody has {key}")))?;
        let reply = owner.client().try_call(&["SMEMBERS", key])?;
        if let Some(text) = reply.error_text() {
            return Err(io::Error::other(text));
        }
        Ok(reply.items().iter().map(lab::client::Value::text).collect())
    }
}

/// For each of so many shards, which have even shares of the slots, a hash tag.
fn tags(shards: usize) -> Vec<String> {
    let shard = |tag: &str| usize::from(slot_of(tag.as_bytes())) * shards / 16_384;
    let of = |wanted| (0..).map(|n| format!("t{n}")).find(|tag| shard(tag) == wanted);
    (0..shards).filter_map(of).collect()
}
