//! One cursor over all shards.

use super::frame::{Elements, error_text, string};
use crate::ids::ShardId;
use crate::resp::write;
use crate::text;

/// Appends the reply to a SCAN that `shard`, of so many `shards`, has answered with `reply`: its
/// own cursor becomes `cursor * shards + shard`, its end the beginning of the next shard, and the
/// end of the last shard 0.
pub fn scan(reply: &[u8], shard: ShardId, shards: usize, out: &mut Vec<u8>) {
    if error_text(reply).is_some() {
        out.extend_from_slice(reply);
        return;
    }
    let Some((cursor, found)) = read(reply) else {
        write::error(out, text::REPLIES_DONT_FIT);
        return;
    };
    let Some(cursor) = outer_cursor(cursor, u64::from(shard.0), shards as u64) else {
        write::error(out, text::CURSOR_TOO_LARGE);
        return;
    };
    write::array(out, 2);
    write::bulk(out, cursor.to_string().as_bytes());
    out.extend_from_slice(found);
}

fn read(reply: &[u8]) -> Option<(u64, &[u8])> {
    let mut elements = Elements::of(reply).filter(|elements| elements.count() == 2)?;
    let cursor = std::str::from_utf8(string(elements.next()?)?).ok()?.parse().ok()?;
    Some((cursor, elements.bytes()))
}

fn outer_cursor(inner: u64, shard: u64, shards: u64) -> Option<u64> {
    match inner {
        0 if shard + 1 >= shards => Some(0),
        0 => Some(shard + 1),
        _ => inner.checked_mul(shards)?.checked_add(shard),
    }
}
