//! One cursor over all shards.

use super::frame::{Elements, error_text, string};
use crate::ids::ShardId;
use crate::resp::write;
use crate::shards::ShardMap;
use crate::text;

/// Appends the reply to a SCAN that `shard` has answered with `reply`: its own cursor becomes one
/// over all shards of `map`.
pub fn scan(reply: &[u8], shard: ShardId, map: &ShardMap, out: &mut Vec<u8>) {
    if error_text(reply).is_some() {
        out.extend_from_slice(reply);
        return;
    }
    let Some((cursor, found)) = read(reply) else {
        write::error(out, text::REPLIES_DONT_FIT);
        return;
    };
    let Some(cursor) = map.cursor_of(shard, cursor) else {
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
