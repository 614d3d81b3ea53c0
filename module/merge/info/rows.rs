//! What becomes of each field of INFO: one row for the fields that share a reason.
//!
//! Names are those of Redis 7.2 to 8 and Valkey 7.2 to 9. In a name `#` stands for a number, and
//! `*` at the end for any rest. A name that stands written out goes before one with a `*` or `#`;
//! of those the first that fits is taken.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::Own;
use super::Rule::{self, Any, Drop, Each, Every, Except, First, Fixed, Human, Least, Limit};
use super::Rule::{Lowest, Mean, Most, Own as Ours, Per, Same, Sum};

/// Fields, by names with blanks between, that are treated alike.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) names: &'static str,
    pub(super) rule: Rule,
    /// A sentence.
    #[cfg_attr(not(test), expect(dead_code, reason = "for readers; a test asks for it"))]
    pub(super) why: &'static str,
}

/// A field in no row: of a module, or of a server newer than this table. Adding up percentages or
/// settings would make up a number, and showing one shard's as that of all would be another lie; so
/// it is shown where all shards that have it agree.
static UNKNOWN: Rule = Same;

/// The rule for a field of this name.
pub(super) fn rule_for(name: &[u8]) -> &'static Rule {
    static EXACT: LazyLock<HashMap<&[u8], &Rule>> = LazyLock::new(|| {
        let plain = names(ROWS).filter(|(name, _)| !is_pattern(name));
        plain.map(|(name, rule)| (name.as_bytes(), rule)).collect()
    });
    static PATTERNS: LazyLock<Vec<(&str, &Rule)>> =
        LazyLock::new(|| names(ROWS).filter(|(name, _)| is_pattern(name)).collect());

    let by_pattern = || PATTERNS.iter().find(|(pattern, _)| fits(pattern.as_bytes(), name));
    match EXACT.get(name) {
        Some(rule) => rule,
        None => by_pattern().map_or(&UNKNOWN, |(_, rule)| rule),
    }
}

/// The rule for a part of a field that has several, like `keys` of `db0:keys=1,expires=0`.
pub(super) fn rule_of_part(rows: &'static [Row], name: &[u8]) -> &'static Rule {
    let found = names(rows).find(|(pattern, _)| fits(pattern.as_bytes(), name));
    found.map_or(&UNKNOWN, |(_, rule)| rule)
}

fn names(rows: &'static [Row]) -> impl Iterator<Item = (&'static str, &'static Rule)> {
    rows.iter().flat_map(|row| row.names.split_whitespace().map(|name| (name, &row.rule)))
}

fn is_pattern(name: &str) -> bool {
    name.contains(['*', '#'])
}

fn fits(pattern: &[u8], name: &[u8]) -> bool {
    match pattern {
        [] => name.is_empty(),
        [b'*'] => true,
        [b'#', pattern @ ..] => {
            let digits = name.iter().take_while(|byte| byte.is_ascii_digit()).count();
            digits > 0 && fits(pattern, &name[digits..])
        }
        [first, pattern @ ..] => name.first() == Some(first) && fits(pattern, &name[1..]),
    }
}

/// A number of the endpoint's own as its line says it.
macro_rules! ours {
    ($field:ident) => {
        Ours(|own| Some(own.$field.to_string()))
    };
}

/// Of channels, patterns and their listeners.
const LISTENERS: &str =
    "Listeners are clients of the endpoint; shards see one for all of a worker.";

fn unless_zero(number: u64) -> Option<String> {
    if number == 0 { None } else { Some(number.to_string()) }
}

fn run_id(own: &Own) -> Option<String> {
    if own.run_id.is_empty() { None } else { Some(own.run_id.clone()) }
}

/// See the module's documentation.
pub(super) static ROWS: &[Row] = &[
    // ---------------------------------------------------------------------------- Server
    Row {
        names: "redis_version valkey_version",
        rule: Lowest,
        why: "What the oldest shard can do is what all can do.",
    },
    Row {
        names: "server_name os mem_allocator arch_bits multiplexing_api hz configured_hz lru_clock",
        rule: First,
        why: "Monitors use them as labels and expect them; shards seldom differ.",
    },
    Row {
        names: "redis_git_sha1 redis_git_dirty redis_build_id monotonic_clock atomicvar_api
            gcc_version availability_zone",
        rule: Same,
        why: "They tell one build or one place from another: true of all shards or of none.",
    },
    Row {
        names: "redis_mode server_mode",
        rule: Fixed("standalone"),
        why: "Clients need no cluster protocol here, whatever the shards are.",
    },
    Row { names: "tcp_port", rule: ours!(tcp_port), why: "This is where clients are served." },
    Row {
        names: "process_id",
        rule: Ours(|own| unless_zero(own.process_id.into())),
        why: "A shard's would be of another process, perhaps on another machine.",
    },
    Row {
        names: "run_id",
        rule: Ours(run_id),
        why: "Clients tell by it whether the server they talk to was restarted.",
    },
    Row {
        names: "server_time_usec",
        rule: Ours(|own| unless_zero(own.wall_usec)),
        why: "The clock that the endpoint's TIME shows.",
    },
    Row {
        names: "uptime_in_seconds",
        rule: ours!(uptime_seconds),
        why: "Since when clients are served.",
    },
    Row {
        names: "uptime_in_days",
        rule: Ours(|own| Some((own.uptime_seconds / (24 * 60 * 60)).to_string())),
        why: "Since when clients are served.",
    },
    Row {
        names: "executable config_file process_supervised listener#",
        rule: Drop,
        why: "They are about one shard's process, which clients can't reach through the endpoint.",
    },
    Row {
        names: "shutdown_in_milliseconds",
        rule: Least,
        why: "The first shard to go is the one to hurry for.",
    },
    // --------------------------------------------------------------------------- Clients
    Row {
        names: "connected_clients",
        rule: ours!(connected_clients),
        why: "Shards see Weir's few connections, not the clients behind them.",
    },
    Row {
        names: "blocked_clients",
        rule: ours!(blocked_clients),
        why: "Clients wait at the endpoint, inside WAIT and WAITAOF; shards don't see them.",
    },
    Row { names: "maxclients", rule: ours!(maxclients), why: "The bound that clients meet." },
    Row {
        names: "cluster_connections",
        rule: Fixed("0"),
        why: "The endpoint is no node of a cluster.",
    },
    Row {
        names: "tracking_clients tracking_total_prefixes",
        rule: Most,
        why: "A client or prefix that is on several shards is one; the highest count is nearest.",
    },
    Row {
        names: "watching_clients total_watched_keys total_blocking_keys
            total_blocking_keys_on_nokey",
        rule: Sum,
        why: "A key is on one shard, and whoever watches it or blocks on it is there.",
    },
    Row {
        names: "client_recent_max_input_buffer client_recent_max_output_buffer
            clients_in_timeout_table total_reads_processed total_writes_processed
            client_query_buffer_limit_disconnections client_output_buffer_limit_disconnections
            reply_buffer_shrinks reply_buffer_expands",
        rule: Drop,
        why: "They are about Weir's connections to the shards, and would be read as the clients'.",
    },
    // ---------------------------------------------------------------------------- Memory
    Row {
        names: "used_memory used_memory_rss used_memory_peak used_memory_overhead
            used_memory_startup used_memory_dataset used_memory_lua used_memory_vm_eval
            used_memory_scripts_eval used_memory_vm_functions used_memory_vm_total
            used_memory_functions used_memory_scripts",
        rule: Sum,
        why: "Each shard has its own. Of peaks at different times the sum is an upper bound.",
    },
    Row {
        names: "allocator_allocated allocator_active allocator_resident allocator_muzzy
            allocator_frag_bytes allocator_rss_bytes rss_overhead_bytes mem_fragmentation_bytes",
        rule: Sum,
        why: "Each shard has memory of its own.",
    },
    Row {
        names: "mem_not_counted_for_evict mem_replication_backlog mem_total_replication_buffers
            mem_replica_full_sync_buffer replica_full_sync_buffer_size
            replica_full_sync_buffer_peak mem_clients_slaves mem_clients_normal mem_cluster_links
            mem_aof_buffer mem_overhead_db_hashtable_rehashing lazyfree_pending_objects
            lazyfreed_objects",
        rule: Sum,
        why: "Each shard has memory of its own.",
    },
    Row {
        names: "total_system_memory",
        rule: Sum,
        why: "Shards are meant to have a machine each; those that share one count it twice.",
    },
    Row {
        names: "maxmemory",
        rule: Limit,
        why: "Shards' limits add up, but if one has none the whole has none.",
    },
    Row {
        names: "used_memory_human used_memory_rss_human used_memory_peak_human
            used_memory_lua_human used_memory_vm_total_human used_memory_scripts_human
            total_system_memory_human maxmemory_human",
        rule: Human,
        why: "It is the field of the same name in other words.",
    },
    Row {
        names: "maxmemory_policy",
        rule: Except("noeviction"),
        why: "Job queues ask whether keys can be evicted: they can if one shard may.",
    },
    Row {
        names: "number_of_cached_scripts number_of_functions number_of_libraries",
        rule: Most,
        why: "Scripts and libraries are loaded on all shards: a sum would count each many times.",
    },
    Row {
        names: "used_memory_peak_perc",
        rule: Mean(&["used_memory_peak"]),
        why: "It is a part of the peak.",
    },
    Row {
        names: "used_memory_dataset_perc",
        rule: Mean(&["used_memory", "used_memory_startup"]),
        why: "It is a part of what is used beyond what an empty server uses.",
    },
    Row {
        names: "allocator_frag_ratio",
        rule: Mean(&["allocator_allocated"]),
        why: "It is a multiple of what is allocated.",
    },
    Row {
        names: "allocator_rss_ratio",
        rule: Mean(&["allocator_active"]),
        why: "It is a multiple of what is active.",
    },
    Row {
        names: "rss_overhead_ratio",
        rule: Mean(&["allocator_resident"]),
        why: "It is a multiple of what is resident.",
    },
    Row {
        names: "mem_fragmentation_ratio",
        rule: Mean(&["used_memory"]),
        why: "It is a multiple of what is used.",
    },
    Row {
        names: "active_defrag_running",
        rule: Most,
        why: "It says how hard a shard tries; the hardest is what slows clients down.",
    },
    // ----------------------------------------------------------------------- Persistence
    Row {
        names: "loading async_loading rdb_bgsave_in_progress aof_rewrite_in_progress
            aof_rewrite_scheduled aof_pending_rewrite module_fork_in_progress",
        rule: Any,
        why: "Clients wait until no shard does it any more.",
    },
    Row {
        names: "aof_enabled",
        rule: Every,
        why: "A write may go to any shard, so it is safe to count on only if all have it.",
    },
    Row {
        names: "rdb_last_bgsave_status aof_last_bgrewrite_status aof_last_write_status",
        rule: Except("ok"),
        why: "It is ok only if all are, and an alarm if one isn't.",
    },
    Row {
        names: "rdb_last_save_time loading_start_time",
        rule: Least,
        why: "The whole was last saved when the last shard was; it loads since the first one did.",
    },
    Row {
        names: "rdb_changes_since_last_save rdb_saves rdb_last_cow_size aof_last_cow_size
            rdb_last_load_keys_expired rdb_last_load_keys_loaded aof_rewrites
            module_fork_last_cow_size current_cow_peak current_cow_size
            current_save_keys_processed current_save_keys_total aof_current_size aof_base_size
            aof_buffer_length aof_pending_bio_fsync aof_delayed_fsync loading_total_bytes
            loading_rdb_used_mem loading_loaded_bytes",
        rule: Sum,
        why: "Each shard saves and loads its own part.",
    },
    Row {
        names: "rdb_last_bgsave_time_sec rdb_current_bgsave_time_sec aof_last_rewrite_time_sec
            aof_current_rewrite_time_sec aof_rewrites_consecutive_failures current_cow_size_age
            loading_eta_seconds",
        rule: Most,
        why: "Shards do it side by side: the slowest decides, and the worst is what matters.",
    },
    Row {
        names: "current_fork_perc",
        rule: Mean(&["current_save_keys_total"]),
        why: "It is the part of the keys that are saved.",
    },
    Row {
        names: "loading_loaded_perc",
        rule: Mean(&["loading_total_bytes"]),
        why: "It is the part of the bytes that are loaded.",
    },
    // --------------------------------------------------------------------------- Threads
    Row {
        names: "io_thread_# io_threads_active io_threaded_*",
        rule: Drop,
        why: "Threads of shards serve Weir's connections; clients are served by its workers.",
    },
    // ----------------------------------------------------------------------------- Stats
    Row {
        names: "total_connections_received",
        rule: ours!(total_connections_received),
        why: "Shards see Weir's few connections, not the clients behind them.",
    },
    Row {
        names: "total_commands_processed",
        rule: ours!(total_commands_processed),
        why: "A client's command can be several shards' or none's, and shards count Weir's own.",
    },
    Row {
        names: "rejected_connections",
        rule: ours!(rejected_connections),
        why: "Clients are rejected at the endpoint.",
    },
    Row {
        names: "total_net_input_bytes",
        rule: ours!(total_net_input_bytes),
        why: "What clients sent.",
    },
    Row {
        names: "total_net_output_bytes",
        rule: ours!(total_net_output_bytes),
        why: "What clients got.",
    },
    Row {
        names: "total_error_replies",
        rule: ours!(total_error_replies),
        why: "Clients get errors from the endpoint that no shard knows of.",
    },
    Row {
        names: "instantaneous_ops_per_sec instantaneous_input_kbps instantaneous_output_kbps
            instantaneous_input_repl_kbps instantaneous_output_repl_kbps
            instantaneous_eventloop_cycles_per_sec",
        rule: Sum,
        why: "Shards work side by side. With a split command counted once per part.",
    },
    Row {
        names: "total_net_repl_input_bytes total_net_repl_output_bytes sync_full sync_partial_ok
            sync_partial_err",
        rule: Sum,
        why: "Each shard has replicas of its own.",
    },
    Row {
        names: "expired_keys expired_subkeys expired_time_cap_reached_count
            expire_cycle_cpu_milliseconds evicted_keys evicted_scripts
            total_eviction_exceeded_time keyspace_hits keyspace_misses slave_expires_tracked_keys
            tracking_total_keys tracking_total_items active_defrag_hits active_defrag_misses
            active_defrag_key_hits active_defrag_key_misses total_active_defrag_time
            migrate_cached_sockets",
        rule: Sum,
        why: "Each key is on one shard.",
    },
    Row { names: "pubsub_clients", rule: ours!(pubsub_clients), why: LISTENERS },
    Row { names: "pubsub_channels", rule: ours!(pubsub_channels), why: LISTENERS },
    Row { names: "pubsub_patterns", rule: ours!(pubsub_patterns), why: LISTENERS },
    Row { names: "pubsubshard_channels", rule: ours!(pubsubshard_channels), why: LISTENERS },
    Row {
        names: "unexpected_error_replies dump_payload_sanitizations total_forks acl_access_denied_*
            cluster_incompatible_ops",
        rule: Sum,
        why: "Shards do it, each by itself.",
    },
    Row {
        names: "eventloop_cycles eventloop_duration_sum eventloop_duration_cmd_sum
            eventloop_duration_aof_sum eventloop_duration_cron_sum",
        rule: Sum,
        why: "Like CPU time: the work of all shards together.",
    },
    Row {
        names: "expired_stale_perc latest_fork_usec current_eviction_exceeded_time
            current_active_defrag_time instantaneous_eventloop_duration_usec
            eventloop_duration_max eventloop_cmd_per_cycle_max",
        rule: Most,
        why: "A high value is an alarm, and the worst shard is what to look at.",
    },
    Row {
        names: "evicted_clients",
        rule: Fixed("0"),
        why: "The endpoint evicts no clients. Shards could only evict Weir's connections.",
    },
    // ----------------------------------------------------------------------- Replication
    Row {
        names: "role",
        rule: Fixed("master"),
        why: "The endpoint takes writes, even while a shard's primary is being replaced.",
    },
    Row {
        names: "connected_slaves min_slaves_good_slaves",
        rule: Least,
        why: "That many replicas has every key; WAIT for more could never be answered.",
    },
    Row {
        names: "slave#",
        rule: Drop,
        why: "A client that sees replicas connects to them, and finds one shard's keys only.",
    },
    Row {
        names: "master_failover_state",
        rule: Except("no-failover"),
        why: "There is a failover if any shard has one.",
    },
    Row {
        names: "master_replid master_replid2 master_repl_offset second_repl_offset
            repl_backlog_first_byte_offset",
        rule: Drop,
        why: "Each is a place in one shard's history. There is no history of the whole.",
    },
    Row {
        names: "repl_backlog_active",
        rule: Every,
        why: "Replicas can catch up without a full copy only where there is one.",
    },
    Row {
        names: "repl_backlog_size repl_backlog_histlen replicas_waiting_psync",
        rule: Sum,
        why: "Each shard has a backlog and replicas of its own.",
    },
    Row {
        names: "master_host master_port master_link_status master_last_io_seconds_ago
            master_link_down_since_seconds master_sync_* slave_read_repl_offset slave_repl_offset
            slave_priority slave_read_only replica_announced",
        rule: Drop,
        why: "A replica says them of its primary: clients would wait for a link to come up.",
    },
    // ------------------------------------------------------------------------------- CPU
    Row {
        names: "used_cpu_*",
        rule: Sum,
        why: "The work of all shards together. The host's own is in the host's INFO.",
    },
    // --------------------------------------------------------------------------- Modules
    Row {
        names: "module:name=*",
        rule: First,
        why: "Each module is listed once, as the first shard that has it does.",
    },
    // --------------------------------------------- Commandstats, Errorstats, Latencystats
    Row {
        names: "cmdstat_*",
        rule: Each(COMMAND_PARTS),
        why: "What the shards were asked to do, by Weir too: a split command counts once per part.",
    },
    Row { names: "errorstat_*", rule: Each(COUNT_PARTS), why: "Errors that shards replied." },
    Row {
        names: "latency_percentiles_usec_*",
        rule: Drop,
        why: "The percentiles of a whole don't follow from those of its parts.",
    },
    // --------------------------------------------------------------------------- Cluster
    Row {
        names: "cluster_enabled",
        rule: Fixed("0"),
        why: "Clients need no cluster protocol here, whatever the shards are.",
    },
    // ---------------------------------------------------------------- Keyspace, Keysizes
    Row { names: "db#", rule: Each(KEYSPACE_PARTS), why: "Each key is on one shard." },
    Row { names: "db#_distrib_*", rule: Each(COUNT_PARTS), why: "Each key is on one shard." },
];

static COMMAND_PARTS: &[Row] = &[
    Row {
        names: "calls usec rejected_calls failed_calls",
        rule: Sum,
        why: "Each shard counts what it did.",
    },
    Row {
        names: "usec_per_call",
        rule: Per { what: "usec", by: "calls", decimals: 2 },
        why: "It is the quotient of two others.",
    },
];

static KEYSPACE_PARTS: &[Row] = &[
    Row {
        names: "keys expires subexpiry keys_with_volatile_items",
        rule: Sum,
        why: "Each key is on one shard.",
    },
    Row {
        names: "avg_ttl",
        rule: Mean(&["expires"]),
        why: "It is the mean over the keys that expire.",
    },
];

static COUNT_PARTS: &[Row] = &[Row { names: "*", rule: Sum, why: "Each shard counts its own." }];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_name_is_in_one_row_and_each_row_says_why() {
        for rows in [ROWS, COMMAND_PARTS, KEYSPACE_PARTS, COUNT_PARTS] {
            let mut seen = BTreeSet::new();
            for (name, _) in names(rows) {
                assert!(seen.insert(name), "{name} is in two rows");
            }
            for row in rows {
                assert!(row.why.ends_with('.') && !row.why.contains("  "), "{}", row.names);
            }
        }
    }

    /// A weight that nobody says would leave the mean out.
    #[test]
    fn what_a_rule_needs_is_there() {
        for rows in [ROWS, COMMAND_PARTS, KEYSPACE_PARTS] {
            let is_there = |name: &str| names(rows).any(|(other, _)| other == name);
            for (name, rule) in names(rows) {
                match *rule {
                    Mean(weight) => assert!(weight.iter().all(|name| is_there(name)), "{name}"),
                    Human => assert!(is_there(name.strip_suffix("_human").unwrap()), "{name}"),
                    Per { what, by, .. } => assert!(is_there(what) && is_there(by), "{name}"),
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn a_number_sign_is_a_number_and_a_star_is_any_rest() {
        for (pattern, name, fit) in [
            ("slave#", "slave0", true),
            ("slave#", "slave12", true),
            ("slave#", "slave", false),
            ("slave#", "slave0x", false),
            ("slave#", "slave_repl_offset", false),
            ("db#_distrib_*", "db3_distrib_strings_sizes", true),
            ("db#_distrib_*", "db_distrib_strings_sizes", false),
            ("*", "", true),
            ("role", "role", true),
            ("role", "roles", false),
        ] {
            assert_eq!(fits(pattern.as_bytes(), name.as_bytes()), fit, "{pattern} {name}");
        }
    }

    #[test]
    fn all_fields_of_the_recorded_servers_are_known() {
        for text in [
            include_str!("../../../tests/data/info-redis-0.txt"),
            include_str!("../../../tests/data/info-valkey-0.txt"),
        ] {
            for line in text.lines().filter(|line| !line.starts_with('#')) {
                let name = line.split([':', ',']).next().unwrap_or_default();
                let name = if name == "module" { "module:name=x" } else { name };
                let found =
                    names(ROWS).any(|(pattern, _)| fits(pattern.as_bytes(), name.as_bytes()));
                assert!(found || name.is_empty(), "{name} is in no row");
            }
        }
    }
}
