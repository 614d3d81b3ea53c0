//! Key -> hash slot -> shard.
