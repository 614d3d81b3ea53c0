//! One connection to a shard: its greeting, and what the wire owes us.
