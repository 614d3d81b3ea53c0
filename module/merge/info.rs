//! INFO of all shards as of one server.

/// What the endpoint itself knows, and puts in place of what a shard says.
#[derive(Debug, Default, Clone)]
#[allow(missing_docs)]
pub struct Own {
    pub tcp_port: u16,
    pub uptime_seconds: u64,
    pub connected_clients: u64,
    pub blocked_clients: u64,
    pub maxclients: u64,
    pub total_connections_received: u64,
    pub total_commands_processed: u64,
    pub rejected_connections: u64,
    pub total_net_input_bytes: u64,
    pub total_net_output_bytes: u64,
    pub workers: u16,
}

/// Appends one text for all.
pub fn merge_info(texts: &[&[u8]], _own: &Own, out: &mut Vec<u8>) {
    out.extend_from_slice(texts.first().copied().unwrap_or_default());
}
