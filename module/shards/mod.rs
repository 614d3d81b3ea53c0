//! Key -> hash slot -> shard.
//!
//! ```text
//!   "{a}.cart" --HashSlot::of--> 15495 --ShardMap--> ShardId(2) --shard()--> 10.0.0.3:6379
//! ```
//!
//! A key's slot is that of a Redis cluster: CRC16 over the key, or over its hash tag, modulo 16384.
//! So data can be moved between a cluster and the shards of Weir key by key, and whatever a client
//! library or a person knows of hash tags holds here. Which shard has which slots is an immutable
//! [`ShardMap`]; a change of topology is a new map, never a changed one.
//!
//! A map comes from the text of the setting `weir.upstream`, see [`Upstream`].

mod address;
mod map;
mod slot;
mod upstream;

pub use address::{Address, AddressError};
pub use map::{Kind, MapError, Shard, ShardMap, SlotRange};
pub use slot::HashSlot;
pub use upstream::{Upstream, UpstreamError};
