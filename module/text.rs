//! The texts of replies that the endpoint makes itself.
//!
//! Where a stock server has a text for the case, it is that text, with its source beside it; the
//! others begin with a code that clients already know. Every text is without `-` and line end:
//! `resp::write::error` adds them.

/// A request whose keys lie in different slots. Source: redis `cluster.c`, `getNodeByQuery`.
pub const CROSSSLOT: &str = "CROSSSLOT Keys in request don't hash to the same slot";
/// Source: redis `server.h`, `shared.syntaxerr`.
pub const SYNTAX: &str = "ERR syntax error";
/// Source: redis `object.c`, `getLongLongFromObjectOrReply`.
pub const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";
/// Source: redis `timeout.c`, `getTimeoutFromObjectOrReply`.
pub const TIMEOUT_NOT_AN_INTEGER: &str = "ERR timeout is not an integer or out of range";
/// Source: redis `timeout.c`, `getTimeoutFromObjectOrReply`.
pub const TIMEOUT_OUT_OF_RANGE: &str = "ERR timeout is out of range";
/// Source: redis `timeout.c`, `getTimeoutFromObjectOrReply`.
pub const TIMEOUT_NEGATIVE: &str = "ERR timeout is negative";
/// Source: redis `networking.c`, `acceptCommonHandler`.
pub const MAX_CLIENTS: &str = "ERR max number of clients reached";
/// Source: redis `blocked.c`, `unblockClientOnError` by `CLIENT UNBLOCK id ERROR`.
pub const UNBLOCKED_BY_CLIENT: &str = "UNBLOCKED client unblocked via CLIENT UNBLOCK";

/// Source: redis `server.c`, `rejectCommandFormat` for wrong arity.
pub fn wrong_arity(full_name: &str) -> String {
    format!("ERR wrong number of arguments for '{full_name}' command")
}

/// A command of a stock server that this endpoint doesn't serve.
pub fn not_supported(full_name: &str) -> String {
    format!("ERR '{full_name}' is not supported by this endpoint")
}
