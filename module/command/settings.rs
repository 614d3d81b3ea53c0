//! Which settings of a shard concern the data.
//!
//! CONFIG GET and SET reach the shards for settings that a user of the database may care about: how
//! values are kept, when they are evicted, how safe they are, what is logged of them. Everything
//! else (addresses, paths, passwords, threads, replication) is one server's own, and hidden: the
//! endpoint is not that server.

/// Settings that concern the data. A name that ends in `*` stands for all that begin so.
const DATA_SETTINGS: &[&str] = &[
    // How values are kept.
    "hash-max-*",
    "list-max-*",
    "list-compress-depth",
    "set-max-*",
    "zset-max-*",
    "hll-sparse-max-bytes",
    "stream-node-max-*",
    "proto-max-bulk-len",
    "sanitize-dump-payload",
    "activerehashing",
    "activedefrag",
    "active-defrag-*",
    // When values go.
    "maxmemory",
    "maxmemory-*",
    "lfu-log-factor",
    "lfu-decay-time",
    "active-expire-effort",
    "lazyfree-lazy-*",
    // How safe they are; client libraries and benchmark tools ask for these.
    "appendonly",
    "appendfsync",
    "save",
    "no-appendfsync-on-rewrite",
    "aof-*",
    "auto-aof-rewrite-*",
    "rdbcompression",
    "rdbchecksum",
    "rdb-*",
    "key-load-delay",
    "stop-writes-on-bgsave-error",
    "min-replicas-to-write",
    "min-replicas-max-lag",
    // What is told of them.
    "notify-keyspace-events",
    "tracking-table-max-keys",
    "slowlog-log-slower-than",
    "slowlog-max-len",
    "latency-monitor-threshold",
    "latency-tracking",
    "latency-tracking-info-percentiles",
    // How long scripts may run.
    "busy-reply-threshold",
    "lua-time-limit",
];

/// Whether the setting called `name`, in any case, concerns the data.
pub fn is_data_setting(name: &[u8]) -> bool {
    DATA_SETTINGS.iter().any(|row| match row.strip_suffix('*') {
        Some(prefix) => name
            .get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes())),
        None => name.eq_ignore_ascii_case(row.as_bytes()),
    })
}
