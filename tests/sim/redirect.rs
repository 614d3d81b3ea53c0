//! What a node of a cluster says of a command whose keys are another's.
//!
//! ```text
//!   region is another's in its view                        MOVED
//!   its own, on its way: all keys there | none | some      (serves) | ASK | TRYAGAIN
//!   coming, behind ASKING: one key | several, all there    (serves)
//!   nobody has it, or it believes that all is lost         CLUSTERDOWN
//! ```
//!
//! Source: redis `cluster.c`, `getNodeByQuery`, `clusterRedirectClient`,
//! `clusterRedirectBlockedClientIfNeeded`.

use super::places::Place;
use super::plan::Plant;
use super::resp;
use super::wire::WireNo;
use super::world::World;

/// Commands that a replica answers to whoever has said READONLY.
const READS: &[&str] = &["GET", "MGET", "EXISTS", "LRANGE"];

/// The keys of a command.
pub fn keys_in<'a>(name: &str, request: &'a [Vec<u8>]) -> Vec<&'a Vec<u8>> {
    let step = if name == "MSET" { 2 } else { 1 };
    let count = match name {
        "DEL" | "MGET" | "MSET" | "EXISTS" | "WATCH" => usize::MAX,
        "BLPOP" => request.len().saturating_sub(2),
        "BLMOVE" => 2,
        "GET" | "SET" | "INCR" | "APPEND" | "RPUSH" | "LRANGE" => 1,
        _ => 0,
    };
    request.iter().skip(1).step_by(step).take(count).collect()
}

impl World {
    /// What a node says of a command that it doesn't execute because of its keys; none if it does.
    pub fn redirection(
        &mut self,
        node: usize,
        wire: WireNo,
        name: &str,
        request: &[Vec<u8>],
    ) -> Option<String> {
        let (region, text) = self.redirection_of(node, wire, name, request)?;
        self.regions[region].stirred += 1;
        Some(text)
    }

    fn redirection_of(
        &mut self,
        node: usize,
        wire: WireNo,
        name: &str,
        request: &[Vec<u8>],
    ) -> Option<(usize, String)> {
        if !self.is_cluster() {
            return None;
        }
        let conn = self.nodes[node].conns.get_mut(&wire)?;
        let (asking, readonly) = (std::mem::take(&mut conn.asking), conn.readonly);
        let mut keys: Vec<Vec<u8>> = Vec::new();
        let mut reads = true;
        let own = [request.to_vec()];
        for request in if name == "EXEC" { conn.transaction.queued() } else { &own } {
            let name = String::from_utf8_lossy(&request[0]).to_ascii_uppercase();
            reads &= READS.contains(&name.as_str());
            keys.extend(keys_in(&name, request).into_iter().cloned());
        }
        let slot = resp::slot(keys.first()?);
        if let Some(other) = keys.iter().find(|key| resp::slot(key) != slot) {
            let (name, key) = (name.to_owned(), String::from_utf8_lossy(other).into_owned());
            self.violation(format!("{name} {key}: sent together with a key of another slot"));
        }
        let region = self.region_of_key(&keys[0]);
        let member = &self.nodes[node].member;
        let Some(owner) = member.view.owner[region] else {
            return Some((region, "CLUSTERDOWN Hash slot not served".to_owned()));
        };
        if self.believes_all_lost(node) {
            return Some((region, "CLUSTERDOWN The cluster is down".to_owned()));
        }
        let there = |key: &&Vec<u8>| self.nodes[node].data.contains_key(*key);
        let missing = keys.iter().filter(|key| !there(key)).count();
        let several = keys.iter().any(|key| *key != keys[0]);
        let try_again =
            || Some((region, "TRYAGAIN Multiple keys request during rehashing of slot".to_owned()));
        let to = member.migrating.get(&region).filter(|_| owner == node);
        if let (Some(to), true) = (to, missing > 0) {
            if missing < keys.len() {
                return try_again();
            }
            let (host, port) = Place::Node(self.believed_primary(node, *to)).host_and_port();
            return Some((region, format!("ASK {slot} {host}:{port}")));
        }
        if member.importing.contains(&region) && asking {
            return if several && missing > 0 { try_again() } else { None };
        }
        if owner == node || readonly && reads && member.view.of[node] == Some(owner) {
            return None;
        }
        let (host, port) = Place::Node(owner).host_and_port();
        Some((region, format!("MOVED {slot} {host}:{port}")))
    }

    /// Whether a node answers nothing about keys.
    fn believes_all_lost(&self, node: usize) -> bool {
        let member = &self.nodes[node].member;
        let alone = member.isolated_at.is_some_and(|at| self.now >= at + self.plan.node_timeout);
        let view = &member.view;
        let failed = |owner: &Option<usize>| owner.is_none_or(|owner| view.failed[owner]);
        let uncovered = self.plan.full_coverage && view.owner.iter().any(failed);
        alone || self.now < member.joining_until || uncovered
    }

    /// Who is a shard's primary, as one node believes.
    fn believed_primary(&self, node: usize, shard: usize) -> usize {
        let view = &self.nodes[node].member.view;
        let nodes = self.shards[shard].nodes.iter().copied();
        let primaries = nodes.filter(|other| view.of[*other].is_none());
        primaries.max_by_key(|other| view.epochs[*other]).unwrap_or(self.shards[shard].primary)
    }

    /// Sends those away who wait for elements of lists that are another's by now.
    pub fn redirect_blocked(&mut self, node: usize) {
        let conns = self.nodes[node].conns.iter();
        let waiting: Vec<(WireNo, Vec<u8>)> = conns
            .filter_map(|(&wire, conn)| Some((wire, conn.popping.as_ref()?.first()?.clone())))
            .collect();
        for (wire, key) in waiting {
            let member = &self.nodes[node].member;
            let region = self.region_of_key(&key);
            let owner = member.view.owner[region];
            let reply = match owner {
                _ if self.believes_all_lost(node) => "CLUSTERDOWN The cluster is down".to_owned(),
                None => "CLUSTERDOWN Hash slot not served".to_owned(),
                Some(owner) if owner == node || member.importing.contains(&region) => continue,
                Some(owner) => {
                    let (host, port) = Place::Node(owner).host_and_port();
                    format!("MOVED {} {host}:{port}", resp::slot(&key))
                }
            };
            self.stop_popping(node, wire, format!("-{reply}\r\n").as_bytes());
        }
    }

    // ---------------------------------------------------------------- CLUSTER NODES

    /// CLUSTER NODES, in an order of the node's own. Source: redis `cluster_legacy.c`,
    /// `clusterGenNodeDescription`.
    pub fn cluster_nodes(&self, node: usize) -> Vec<u8> {
        let member = &self.nodes[node].member;
        let view = match self.plan.plant {
            Some(Plant::FirstWord) => &self.first_view,
            _ => &member.view,
        };
        let count = self.nodes.len();
        let mut text = String::new();
        for other in (0..count).map(|place| (place + node * 7) % count) {
            let (host, port) = Place::Node(other).host_and_port();
            let myself = if other == node { "myself," } else { "" };
            let role = if view.of[other].is_some() { "slave" } else { "master" };
            let failed = if view.failed[other] { ",fail" } else { "" };
            let primary = view.of[other].map_or("-".to_owned(), node_id);
            let epoch = view.epochs[view.of[other].unwrap_or(other)];
            text.push_str(&format!(
                "{} {host}:{port}@{} {myself}{role}{failed} {primary} 0 0 {epoch} connected",
                node_id(other),
                port + 10_000,
            ));
            let ranges = resp::ranges(self.regions.len());
            let mut merged: Vec<(u16, u16)> = Vec::new();
            let own = ranges.iter().zip(&view.owner).filter(|(_, owner)| **owner == Some(other));
            for (range, _) in own {
                match merged.last_mut() {
                    Some(last) if last.1 + 1 == range.0 => last.1 = range.1,
                    _ => merged.push(*range),
                }
            }
            for (first, last) in merged {
                text.push_str(&format!(" {first}-{last}"));
            }
            if other == node {
                for (region, to) in &member.migrating {
                    let to = node_id(self.believed_primary(node, *to));
                    text.push_str(&format!(" [{}->-{to}]", ranges[*region].0));
                }
            }
            text.push('\n');
        }
        let mut reply = Vec::new();
        resp::bulk(&mut reply, text.as_bytes());
        reply
    }
}

/// A node's name: forty hexadecimal digits.
fn node_id(node: usize) -> String {
    format!("{:040x}", node + 1)
}
