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
/// WAITAOF's first argument. Source: redis `object.c`, `getRangeLongFromObjectOrReply`.
pub const NOT_ZERO_OR_ONE: &str = "ERR value is out of range, value must between 0 and 1";
/// Source: redis `object.c`, `getPositiveLongFromObjectOrReply`.
pub const NOT_POSITIVE: &str = "ERR value is out of range, must be positive";
/// Source: redis `timeout.c`, `getTimeoutFromObjectOrReply`.
pub const TIMEOUT_NOT_AN_INTEGER: &str = "ERR timeout is not an integer or out of range";
/// Source: redis `timeout.c`, `getTimeoutFromObjectOrReply`.
pub const TIMEOUT_OUT_OF_RANGE: &str = "ERR timeout is out of range";
/// Source: redis `timeout.c`, `getTimeoutFromObjectOrReply`.
pub const TIMEOUT_NEGATIVE: &str = "ERR timeout is negative";
/// Source: redis `networking.c`, `acceptCommonHandler`.
pub const MAX_CLIENTS: &str = "ERR max number of clients reached";
/// Source: redis `networking.c`, `helloCommand`.
pub const NO_PROTO: &str = "NOPROTO unsupported protocol version";
/// Source: redis `networking.c`, `helloCommand`.
pub const PROTO_NOT_AN_INTEGER: &str = "ERR Protocol version is not an integer or out of range";
/// Source: redis `networking.c`, `validateClientName`.
pub const CLIENT_NAME: &str =
    "ERR Client names cannot contain spaces, newlines or special characters.";
/// Source: redis `networking.c`, `clientUnblockCommand`.
pub const UNBLOCK_REASON: &str = "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR";
/// Source: redis `networking.c`, `clientKillCommand`.
pub const NO_SUCH_CLIENT: &str = "ERR No such client";
/// Source: redis `networking.c`, `clientListCommand`.
pub const INVALID_CLIENT_ID: &str = "ERR Invalid client ID";
/// Source: redis `networking.c`, `clientKillCommand`.
pub const CLIENT_ID_RANGE: &str = "ERR client-id should be greater than 0";
/// Source: redis `networking.c`, `clientKillCommand`.
pub const MAX_AGE_RANGE: &str = "ERR maxage should be greater than 0";
/// Source: redis `networking.c`, `clientKillCommand`.
pub const MAX_AGE_NOT_AN_INTEGER: &str = "ERR maxage is not an integer or out of range";
/// Source: redis `blocked.c`, `unblockClientOnError` by `CLIENT UNBLOCK id ERROR`.
pub const UNBLOCKED_BY_CLIENT: &str = "UNBLOCKED client unblocked via CLIENT UNBLOCK";

/// Source: redis `server.c`, `rejectCommandFormat` for wrong arity.
pub fn wrong_arity(full_name: &str) -> String {
    format!("ERR wrong number of arguments for '{full_name}' command")
}

/// Source: redis `networking.c`, `helloCommand`.
pub fn hello_syntax(option: &str) -> String {
    format!("ERR Syntax error in HELLO option '{option}'")
}

/// A command of a stock server that this endpoint doesn't serve.
pub fn not_supported(full_name: &str) -> String {
    format!("ERR '{full_name}' is not supported by this endpoint")
}

/// A command left whole on a connection that then died. `IOERR` is the code of stock servers for a
/// lost target (redis `cluster.c`, `migrateCommand`).
pub fn unknown_outcome(shard: &str, why: &str) -> String {
    format!(
        "IOERR connection to {shard} was lost after this command had been sent, so its outcome is \
         unknown ({why})"
    )
}

/// A command left in part on a connection that then died.
pub fn cut_off(shard: &str, why: &str) -> String {
    format!(
        "IOERR connection to {shard} was lost while this command was being sent, so it was not \
         executed ({why})"
    )
}

/// A command was not sent because its shard can't be reached. `CLUSTERDOWN` is the code of stock
/// servers for a slot that nobody serves (redis `cluster.c`, `clusterRedirectClient`).
pub fn shard_down(shard: &str, why: &str) -> String {
    format!("CLUSTERDOWN {shard} is not available ({why}); the command was not sent")
}

/// WAIT or WAITAOF about writes whose history is gone.
pub fn lost_history(shard: &str) -> String {
    format!(
        "UNBLOCKED {shard} has lost or changed its history since this client's last write there, so \
         how many replicas hold it is unknown"
    )
}

/// The nodes of a cluster send a command to and fro, or it can't be sent on.
pub fn slot_moves(slot: u16) -> String {
    format!(
        "CLUSTERDOWN hash slot {slot} is on its way from one shard to another; the command was not \
         executed"
    )
}

/// WAIT or WAITAOF whose time was up while a shard could not be asked.
pub fn out_of_reach(shard: &str) -> String {
    format!(
        "UNBLOCKED {shard} can't be reached, so how many replicas hold this client's last write \
         there is unknown"
    )
}

/// More different users, RESP versions and databases at a time than [`crate::limits::LANES_MAX`].
pub const TOO_MANY_LANES: &str =
    "ERR too many different users and databases are in use on this endpoint";

/// A client needs a connection to itself, and there are too many of those already.
pub fn too_many_pinned(shard: &str) -> String {
    format!(
        "ERR too many clients have a connection of their own to {shard} \
         (weir.shard-pinned-max); the command was not sent"
    )
}

// ----------------------------------------------------------------------------------- transactions

/// Source: redis `multi.c`, `multiCommand`.
pub const NESTED_MULTI: &str = "ERR MULTI calls can not be nested";
/// Source: redis `multi.c`, `watchCommand`.
pub const WATCH_IN_MULTI: &str = "ERR WATCH inside MULTI is not allowed";
/// Source: redis `multi.c`, `execCommand`.
pub const EXEC_WITHOUT_MULTI: &str = "ERR EXEC without MULTI";
/// Source: redis `multi.c`, `discardCommand`.
pub const DISCARD_WITHOUT_MULTI: &str = "ERR DISCARD without MULTI";
/// Source: redis `server.c`, `shared.execaborterr`.
pub const EXECABORT: &str = "EXECABORT Transaction discarded because of previous errors.";
/// Source: redis `server.c`, `processCommand`.
pub const NO_MULTI: &str = "ERR Command not allowed inside a transaction";

/// ALL or MAJORITY of replicas when the time is up. `NOREPLICAS` is the code of stock servers for
/// a write that too few replicas would get (`min-replicas-to-write`).
pub fn short_of_replicas(shard: &str, have: i64, want: i64) -> String {
    format!("NOREPLICAS {have} of the {want} replicas asked for on {shard} acknowledged in time")
}

/// The same, where it is the primary itself that is late.
pub fn not_fsynced(shard: &str) -> String {
    format!("NOREPLICAS the primary of {shard} has not fsynced in time")
}

/// ALL or MAJORITY of nobody knows how many.
pub fn no_replica_known(shard: &str) -> String {
    format!(
        "NOREPLICAS {shard} has had no replica since the start, so nobody knows how many it should \
         have: see weir.replicas"
    )
}

/// EXEC that is refused before it is looked at. Source: redis `multi.c`, `execCommandAbort`.
pub fn exec_aborted(error: &str) -> String {
    let why = error.strip_prefix("ERR ").unwrap_or(error);
    format!("EXECABORT Transaction discarded because of: {why}")
}

/// A command that a stock server would queue.
pub fn not_in_transaction(full_name: &str) -> String {
    format!("ERR '{full_name}' is not supported inside a transaction by this endpoint")
}
// ---------------------------------------------------------------------------------- users

/// Source: redis `acl.c`, `addAuthErrReply`.
pub const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";
/// Source: redis `server.c`, `shared.noautherr`.
pub const NO_AUTH: &str = "NOAUTH Authentication required.";
/// Source: redis `multi.c`, `execCommandAbort`.
pub const EXEC_NO_AUTH: &str =
    "EXECABORT Transaction discarded because of: NOAUTH Authentication required.";
/// Source: redis `networking.c`, `helloCommand`.
pub const HELLO_NO_AUTH: &str = "NOAUTH HELLO must be called with the client already \
    authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to \
    authenticate the client and select the RESP protocol version at the same time";

// ---------------------------------------------------------------------------------- routing

/// Source: redis `object.c`, `getIntFromObjectOrReply`.
pub const NOT_AN_INT: &str =
    "ERR value is out of range, value must between -2147483648 and 2147483647";
/// Source: redis `db.c`, `selectCommand`.
pub const DB_OUT_OF_RANGE: &str = "ERR DB index is out of range";
/// Source: redis `cluster.c`, `clusterCommand`.
pub const CLUSTER_DISABLED: &str = "ERR This instance has cluster support disabled";
/// Source: redis `db.c`, `parseScanCursorOrReply`.
pub const INVALID_CURSOR: &str = "ERR invalid cursor";
/// Source: redis `sort.c`, `sortCommandGeneric`, in cluster mode.
pub const SORT_BY_OTHER_SLOTS: &str = "ERR BY option of SORT denied in Cluster mode when keys \
    formed by the pattern may be in different slots.";
/// Source: redis `sort.c`, `sortCommandGeneric`, in cluster mode.
pub const SORT_GET_OTHER_SLOTS: &str = "ERR GET option of SORT denied in Cluster mode when keys \
    formed by the pattern may be in different slots.";
/// Shards whose replies to one request don't fit together, as by different versions.
pub const REPLIES_DONT_FIT: &str =
    "ERR the shards' replies to this command do not fit together; ask each shard";
/// A cursor of a shard that leaves no room for the shard's number.
pub const CURSOR_TOO_LARGE: &str = "ERR a shard's cursor is too large to be passed on";

// ---------------------------------------------------------------------------------- pubsub

/// A client of RESP2 that listens may not do this. Source: redis `server.c`, `processCommand`.
pub fn barred_while_listening(full_name: &str) -> String {
    format!(
        "ERR Can't execute '{full_name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / \
         RESET are allowed in this context"
    )
}

// ---------------------------------------------------------------- tracking, MONITOR, CLIENT PAUSE

/// Source: redis `networking.c`, `clientCommand`.
pub const CACHING_WITHOUT_TRACKING: &str = "ERR CLIENT CACHING can be called only when the client is \
    in tracking mode with OPTIN or OPTOUT mode enabled";
/// Source: redis `networking.c`, `clientCommand`.
pub const CACHING_WITHOUT_OPTIN: &str =
    "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.";
/// Source: redis `networking.c`, `clientCommand`.
pub const CACHING_WITHOUT_OPTOUT: &str =
    "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.";
/// CLIENT TRACKING with REDIRECT.
pub const NO_REDIRECT: &str = "ERR CLIENT TRACKING with REDIRECT is not supported by this endpoint: \
    the client to redirect to is on no shard; use RESP3, where invalidations need none";
/// Source: redis `networking.c`, `clientCommand`.
pub const PAUSE_MODE: &str = "ERR CLIENT PAUSE mode must be WRITE or ALL";
/// A command about data of a client that monitors. Source: redis `server.c`, `processCommand`.
pub const REPLICA_AND_KEYSPACE: &str = "ERR Replica can't interact with the keyspace";

/// Source: redis `networking.c`, `addReplySubcommandSyntaxError`.
pub fn unknown_subcommand(container: &str, name: &[u8]) -> String {
    let name = String::from_utf8_lossy(&name[..name.len().min(128)]);
    format!(
        "ERR unknown subcommand or wrong number of arguments for '{name}'. Try {container} HELP."
    )
}

/// MIGRATE.
pub const MIGRATE: &str = "ERR MIGRATE is not supported by this endpoint: it would take keys away \
    from the shard on which they are looked for; use DUMP and RESTORE";
