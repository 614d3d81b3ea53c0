//! SLOWLOG GET: entries with the time at which they were made, the newest first.

use super::frame::{Elements, int};
use crate::resp::write;

/// Appends the newest entries of all parts, `most` of them if there are so many; nothing if they
/// are no lists of entries. Each part is in order already. Of the same second, those of the lowest
/// shard go first.
pub(super) fn newest(most: u32, parts: &[&[u8]], out: &mut Vec<u8>) -> Option<()> {
    let mut lists = Vec::with_capacity(parts.len());
    let mut total = 0;
    for part in parts {
        let mut entries = Elements::of(part)?;
        total += entries.count();
        lists.push((entries.next(), entries));
    }
    let total = total.min(usize::try_from(most).unwrap_or(usize::MAX));
    write::array(out, total);
    for _ in 0..total {
        let mut best = None;
        for (at, (entry, _)) in lists.iter().enumerate() {
            let Some(entry) = entry else { continue };
            let time = time(entry)?;
            if best.is_none_or(|(_, newest)| time > newest) {
                best = Some((at, time));
            }
        }
        let (entry, entries) = &mut lists[best?.0];
        out.extend_from_slice((*entry)?);
        *entry = entries.next();
    }
    Some(())
}

/// Seconds since 1970: behind the entry's number.
fn time(entry: &[u8]) -> Option<i64> {
    let mut fields = Elements::of(entry)?;
    fields.next()?;
    int(fields.next()?)
}
