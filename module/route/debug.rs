//! DEBUG: where its subcommands go.
//!
//! No server describes them: to `COMMAND`, DEBUG is one command without keys. Whether it may be
//! used at all is the shards' own decision (`enable-debug-command`), so what can be asked of one
//! server is asked of all of them here, and refused is only what would end a shard, or make its
//! history look like another one. Source of the subcommands: redis `debug.c`, `debugCommand`.

use crate::command::How;
use crate::resp::Request;

/// Who is to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The shard that has the keys, from this argument on.
    Keys(usize),
    /// Any shard: all would say the same.
    Any,
    /// All shards.
    All(How),
    /// The shard, if there is only one.
    Only,
    /// Nobody.
    Nobody,
}

/// One row per destination; whatever is not here changes how a server behaves, and goes to all.
const ROWS: &[(Asked, &[&str])] = &[
    (Asked::Keys(2), &["object", "listpack", "ziplist", "quicklist", "sdslen", "htstats-key"]),
    (Asked::Keys(2), &["digest-value"]),
    (Asked::Any, &["help", "error", "log", "protocol", "stringmatch-len", "structsize"]),
    (Asked::All(How::Digest), &["digest"]),
    // They name keys by themselves, or count what one server has.
    (Asked::Only, &["populate", "htstats", "mallctl", "mallctl-str"]),
    (Asked::Nobody, &["segfault", "panic", "assert", "oom", "restart", "crash-and-recover"]),
    (Asked::Nobody, &["leak", "change-repl-id"]),
];

/// Who is to be asked what this DEBUG asks.
pub(super) fn asked(request: &Request<'_>) -> Asked {
    let name = request.get(1).unwrap_or_default();
    let named = |names: &[&str]| names.iter().any(|n| name.eq_ignore_ascii_case(n.as_bytes()));
    let row = ROWS.iter().find(|(_, names)| named(names));
    row.map_or(Asked::All(How::AllSucceeded), |(asked, _)| *asked)
}
