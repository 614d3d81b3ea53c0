//! Who listens where, and what the setting `upstream` says of it.
//!
//! ```text
//!   10.0.0.<shard + 1>:6379        a shard's address, whichever node is behind it
//!   10.1.0.<node + 1>:6379         a node's own
//!   10.2.0.<number + 1>:26379      a Sentinel's
//! ```

use weir::shards::{Address, Upstream};

use super::plan::{Plan, Told};

/// Where an address leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Shard(usize),
    Node(usize),
    Sentinel(usize),
}

impl Place {
    pub fn of(address: &Address) -> Self {
        let text = address.to_string();
        let text = text.strip_prefix("10.").and_then(|text| text.split_once(':')).map(|(ip, _)| ip);
        let numbers = text.expect("an address of ours").split('.').map(|part| part.parse());
        let numbers: Vec<usize> = numbers.collect::<Result<_, _>>().expect("numbers");
        let [group, _, number] = numbers.try_into().expect("three of them");
        match group {
            0 => Self::Shard(number - 1),
            1 => Self::Node(number - 1),
            _ => Self::Sentinel(number - 1),
        }
    }

    pub fn address(self) -> String {
        let (host, port) = self.host_and_port();
        format!("{host}:{port}")
    }

    pub fn host_and_port(self) -> (String, u16) {
        match self {
            Self::Shard(number) => (format!("10.0.0.{}", number + 1), 6379),
            Self::Node(number) => (format!("10.1.0.{}", number + 1), 6379),
            Self::Sentinel(number) => (format!("10.2.0.{}", number + 1), 26379),
        }
    }
}

/// What Sentinels call a shard.
pub fn master(shard: usize) -> String {
    format!("m{shard}")
}

/// The text of the setting.
pub fn upstream(plan: &Plan) -> String {
    let list = |places: Vec<Place>| {
        let addresses = places.into_iter().map(Place::address);
        addresses.collect::<Vec<_>>().join(",")
    };
    match plan.told {
        Told::Static => format!("static://{}", list((0..plan.shards).map(Place::Shard).collect())),
        Told::Sentinel => {
            let sentinels = list((0..plan.sentinels).map(Place::Sentinel).collect());
            let masters: Vec<String> = (0..plan.shards).map(master).collect();
            format!("sentinel://{sentinels}/{}", masters.join(","))
        }
        // As many as there might be Sentinels, replicas too if there are any.
        Told::Cluster => {
            let nodes = plan.shards * (plan.replicas + 1);
            let seeds = (0..nodes).rev().step_by(2).take(plan.sentinels).map(Place::Node);
            format!("cluster://{}", list(seeds.collect()))
        }
    }
}

/// The map before anybody was asked.
pub fn first_map(plan: &Plan) -> weir::shards::ShardMap {
    Upstream::parse(&plan.settings.upstream).expect("an upstream").into_map()
}
