//! Replies that are numbers, or arrays of numbers.

use super::frame::{self, Elements, Kind, int};
use crate::resp::write;

/// Appends what `fold` makes of all parts, or of their elements one by one; nothing if they are not
/// all numbers, or not arrays of equally many.
pub(super) fn fold(
    cursors: &mut Vec<usize>,
    fold: fn(i64, i64) -> i64,
    parts: &[&[u8]],
    out: &mut Vec<u8>,
) -> Option<()> {
    if let Some(number) = fold_all(fold, parts.iter().map(|part| int(part))) {
        write::int(out, number);
        return Some(());
    }
    let array = |part| Elements::of(part).filter(|elements| elements.kind() == Some(Kind::Array));
    let count = array(parts.first()?)?.count();
    cursors.clear();
    for part in parts {
        let elements = array(part)?;
        cursors.push(elements.offset());
        (elements.count() == count).then_some(())?;
    }
    write::array(out, count);
    for _ in 0..count {
        let next = parts.iter().zip(cursors.iter_mut()).map(|(part, cursor)| {
            let element = frame::at(part, *cursor)?;
            *cursor += element.len();
            int(element)
        });
        write::int(out, fold_all(fold, next)?);
    }
    Some(())
}

fn fold_all(fold: fn(i64, i64) -> i64, numbers: impl Iterator<Item = Option<i64>>) -> Option<i64> {
    let mut result = None;
    for number in numbers {
        let number = number?;
        result = Some(result.map_or(number, |before| fold(before, number)));
    }
    result
}
