//! Every bound, named, with its reason and with what happens there.

use std::time::Duration;

// ------------------------------------------------------------------------------------ resp

/// Bytes of an inline request, or of one header line. A stock server's own bound
/// (redis `server.h`, `PROTO_INLINE_MAX_SIZE`); beyond it: a protocol error.
pub const INLINE_BYTES_MAX: usize = 64 * 1024;

/// Bytes of one argument: a stock server's default for `proto-max-bulk-len`. Beyond it: a protocol
/// error.
pub const BULK_BYTES_MAX: i64 = 512 * 1024 * 1024;

/// Arguments of one request: a stock server's own bound (redis `networking.c`,
/// `processMultibulkBuffer`). Beyond it: a protocol error.
pub const REQUEST_ARGS_MAX: i64 = i32::MAX as i64;

/// Bytes of one request that are held at most, whatever the settings say: argument ranges are kept
/// in 32 bits.
pub const REQUEST_BYTES_MAX: usize = 2 * 1024 * 1024 * 1024;

const _: () = assert!(REQUEST_BYTES_MAX < u32::MAX as usize - BULK_BYTES_MAX as usize);

// ------------------------------------------------------------------------------------ pipeline

/// Bytes read from a shard at once. A turn's share of a connection, and the memory that an idle one
/// keeps.
pub const LINK_READ_BYTES: usize = 64 * 1024;

/// Bytes of an unfinished reply that are held before it is passed on in pieces. Below it a reply is
/// passed on whole, so that a shard that dies in the middle of it costs an error and no connection.
pub const REPLY_STREAM_BYTES: usize = 32 * 1024;

const _: () = assert!(REPLY_STREAM_BYTES < LINK_READ_BYTES);

// ---------------------------------------------------------------------------------- routing

/// Shards of one database. Redis's own advice ends at 1000 nodes of a cluster; beyond this number the
/// upstream is refused. It bounds the parts of a split request, and keeps part numbers in 16 bits.
pub const SHARDS_MAX: usize = 1024;

const _: () = assert!(SHARDS_MAX < u16::MAX as usize);

/// Commands and subcommands in one table. Stock servers have about 420, large modules some dozens
/// each; beyond it the `COMMAND` reply is refused. It keeps a table's places in 16 bits.
pub const COMMANDS_MAX: usize = 16_384;

/// Arguments for which the memory of planning a request is kept when the next one is planned. More
/// is given back: one request of a million keys must not cost memory for ever.
pub const PLAN_ARGS_KEPT: usize = 64 * 1024;
