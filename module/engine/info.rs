//! INFO: of all shards, as of one server; and how the shards are, for the host.

use crate::ids::SessionId;
use crate::merge::info::{Own, merge_info};
use crate::resp::{Request, Value, Version, write};

use super::dispatch::Finish;
use super::event::{ReplicaView, ShardView};
use super::{Engine, shard};

impl Engine {
    /// `INFO [section ...]`: asked of every shard as it is.
    pub(super) fn info(&mut self, id: SessionId, request: &Request<'_>) {
        let mut bytes = Vec::new();
        let args: Vec<&[u8]> = (0..request.len()).map(|at| request.arg(at)).collect();
        write::request(&mut bytes, &args);
        let len = bytes.len();
        self.fan_out(id, &Request { bytes: &bytes, args: request.args }, len, false, Finish::Info);
    }

    /// The shards' texts are there.
    pub(super) fn merge_info(
        &self,
        parts: &[&[u8]],
        resp: Version,
        topics: [u64; 3],
        out: &mut Vec<u8>,
    ) {
        let mut texts = Vec::with_capacity(parts.len());
        for part in parts {
            match Value::parse(part) {
                Some((Value::Bulk(text), _)) => texts.push(text),
                // A shard that is away, or refuses: its error is the answer, as it names the shard.
                _ => return out.extend_from_slice(part),
            }
        }
        let texts: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
        let mut merged = Vec::new();
        merge_info(&texts, &self.own_info(topics), &mut merged);
        write::text(out, resp, &merged);
    }

    /// What the endpoint knows better than the shards: its clients, and what they see.
    fn own_info(&self, [channels, patterns, shard_channels]: [u64; 3]) -> Own {
        let stats = &self.setup.stats;
        let sum = |get: fn(&crate::stats::WorkerStats) -> u64| {
            stats.workers.iter().map(|worker| get(worker)).sum::<u64>()
        };
        Own {
            tcp_port: self.setup.port,
            wall_usec: self.wall_micros(),
            uptime_seconds: self.now.0 / 1_000_000,
            connected_clients: sum(|worker| worker.connected_clients.get()),
            blocked_clients: sum(|worker| worker.blocked_clients.get()),
            pubsub_clients: sum(|worker| worker.pubsub_clients.get()),
            pubsub_channels: channels,
            pubsub_patterns: patterns,
            pubsubshard_channels: shard_channels,
            maxclients: u64::from(self.settings.maxclients),
            total_connections_received: sum(|worker| worker.connections_received.get()),
            total_commands_processed: sum(|worker| worker.commands_processed.get()),
            total_error_replies: sum(|worker| worker.error_replies.get()),
            rejected_connections: sum(|worker| worker.rejected_connections.get()),
            total_net_input_bytes: sum(|worker| worker.net_input_bytes.get()),
            total_net_output_bytes: sum(|worker| worker.net_output_bytes.get()),
            workers: self.setup.workers,
            process_id: self.setup.process_id,
            run_id: self.setup.run_id.to_string(),
        }
    }

    /// How the shards are.
    pub(super) fn views(&self) -> Vec<ShardView> {
        self.shards
            .iter()
            .filter(|shard| !shard.is_gone())
            .map(|shard| ShardView {
                shard: shard.id.0,
                slots: shard.slots.clone(),
                primary: shard.address.as_ref().map_or_else(String::new, ToString::to_string),
                state: match &shard.state {
                    shard::State::Up => "up".to_owned(),
                    shard::State::Connecting => "connecting".to_owned(),
                    shard::State::Down(why) => format!("down: {why}"),
                },
                generation: shard.generation,
                replicas: shard.report.as_ref().map_or_else(Vec::new, |report| {
                    report
                        .replicas
                        .iter()
                        .map(|replica| ReplicaView {
                            address: replica.address.clone(),
                            state: if replica.online { "online" } else { "not online" }.to_owned(),
                            offset: replica.offset,
                            lag: u64::try_from(replica.lag).unwrap_or(0),
                        })
                        .collect()
                }),
                waiters: shard.acks.waiters() as u64,
                rounds: shard.acks.counts().rounds,
                pipelines: self.links.iter().filter(|(_, link)| link.shard == shard.id).count()
                    as u64,
            })
            .collect()
    }
}
