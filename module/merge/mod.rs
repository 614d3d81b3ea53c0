//! Parts -> one reply.
//!
//! ```text
//!   MGET a b c     shard 0: *1 $B           order [1, 0, 1]
//!                  shard 1: *2 $A $C        ---------------> *3 $A $B $C
//!
//!   DBSIZE         :3  :4  :5               Sum  ----------> :12
//!   MSET ..        +OK  -OOM ..             AllSucceeded --> -OOM .. (from 1 of 2 shards; ..)
//!   SCAN 7         *2 $12 *n ..             scan ----------> *2 $(12 * shards + shard) *n ..
//! ```
//!
//! A reply is handled as the bytes that a shard sent: elements are copied as ranges, never taken
//! apart into trees. So whatever a shard replies inside an element passes as it is, and merging
//! allocates nothing once warm.
//!
//! Nobody says which version of RESP it is to be. The parts are all of one, the session's, and what
//! is written around elements is of the kind that was around them: a map stays a map.
//!
//! An error from any shard is the reply (of several, that of the lowest shard), except where one
//! success is enough. Replies that don't fit together, as by shards of different versions, are an
//! error too; nothing is made up.

mod frame;
pub mod info;
mod insert;
mod newest;
mod numbers;
mod scan;

pub use crate::command::{How, Merge};
pub use insert::insert;
pub use scan::scan;

use crate::command::is_data_setting;
use crate::resp::write;
use crate::text;
use frame::{Elements, Kind, error_text, is_nil, string};

/// Makes one reply of several. Its memory is reused.
#[derive(Debug, Default)]
pub struct Merger {
    /// For each part: what of it has not been used yet.
    cursors: Vec<usize>,
    /// How many random keys were chosen.
    chosen: u64,
}

/// The parts are not what the rule needs.
struct Misfit;

impl Merger {
    /// Appends the reply to a request whose parts got these replies, each one complete frame,
    /// in ascending order of shards. `order` is that of the plan, for [`How::ByKey`]: for each key,
    /// which of the parts has it.
    pub fn merge(&mut self, merge: Merge, order: &[u16], parts: &[&[u8]], out: &mut Vec<u8>) {
        let begin = out.len();
        let done = match merge.how {
            How::OneSucceeded => one_succeeded(parts, out),
            _ if any_error(merge, parts, out) => Ok(()),
            How::AllSucceeded => first(parts, out),
            How::Sum => self.fold(i64::saturating_add, parts, out),
            How::Min => self.fold(i64::min, parts, out),
            How::Max => self.fold(i64::max, parts, out),
            How::And => self.fold(|a, b| i64::from(a != 0 && b != 0), parts, out),
            How::Or => self.fold(|a, b| i64::from(a != 0 || b != 0), parts, out),
            How::Concat => concat(parts, out),
            How::ByKey => self.by_key(order, parts, out),
            How::RandomKey => self.random_key(parts, out),
            How::Newest(most) => newest::newest(most, parts, out).ok_or(Misfit),
            How::Digest => digest(parts, out),
            How::Running => running(parts, out),
            How::DataSettings => data_settings(parts, out),
        };
        if let Err(Misfit) = done {
            out.truncate(begin);
            write::error(out, text::REPLIES_DONT_FIT);
        }
    }

    fn by_key(&mut self, order: &[u16], parts: &[&[u8]], out: &mut Vec<u8>) -> Result<(), Misfit> {
        self.cursors.clear();
        for part in parts {
            let elements = Elements::of(part).filter(|e| e.kind() == Some(Kind::Array));
            self.cursors.push(elements.ok_or(Misfit)?.offset());
        }
        write::array(out, order.len());
        for &which in order {
            let part = parts.get(usize::from(which)).ok_or(Misfit)?;
            let cursor = &mut self.cursors[usize::from(which)];
            let element = frame::at(part, *cursor).ok_or(Misfit)?;
            out.extend_from_slice(element);
            *cursor += element.len();
        }
        // A shard that sent more elements than it was asked for answered something else.
        let used_up = parts.iter().zip(&self.cursors).all(|(part, &cursor)| part.len() == cursor);
        if used_up { Ok(()) } else { Err(Misfit) }
    }

    /// One of the keys that the shards have chosen, each at random: shards count alike, however
    /// many keys they have. With few keys they choose the same ones again and again, so which of
    /// them is taken depends on how often this was done before too.
    fn random_key(&mut self, parts: &[&[u8]], out: &mut Vec<u8>) -> Result<(), Misfit> {
        let chosen = || parts.iter().filter(|part| !is_nil(part));
        self.chosen = self.chosen.wrapping_add(1);
        let times = self.chosen.to_le_bytes();
        let bytes = chosen().flat_map(|part| part.iter()).chain(&times);
        // FNV-1a.
        let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325, mix);
        match chosen().count() as u64 {
            0 => first(parts, out),
            count => {
                let which = usize::try_from((hash >> 32) % count).unwrap_or(0);
                out.extend_from_slice(chosen().nth(which).ok_or(Misfit)?);
                Ok(())
            }
        }
    }

    fn fold(
        &mut self,
        fold: fn(i64, i64) -> i64,
        parts: &[&[u8]],
        out: &mut Vec<u8>,
    ) -> Result<(), Misfit> {
        numbers::fold(&mut self.cursors, fold, parts, out).ok_or(Misfit)
    }
}

/// Writes the error of the lowest shard that has one.
fn any_error(merge: Merge, parts: &[&[u8]], out: &mut Vec<u8>) -> bool {
    let mut errors = parts.iter().filter_map(|part| error_text(part));
    let Some(error) = errors.next() else {
        return false;
    };
    let failed = 1 + errors.count();
    if merge.may_write && failed < parts.len() {
        let mut told = error.to_vec();
        let note = format!(" (from {failed} of {} shards; the others did it)", parts.len());
        told.extend_from_slice(note.as_bytes());
        write::error_bytes(out, &told);
    } else {
        write::error_bytes(out, error);
    }
    true
}

fn first(parts: &[&[u8]], out: &mut Vec<u8>) -> Result<(), Misfit> {
    out.extend_from_slice(parts.first().ok_or(Misfit)?);
    Ok(())
}

/// The first success. If there is none: the first error that is more than the usual one of a shard
/// that had nothing to do, since SCRIPT KILL asks all for a script that runs on one.
fn one_succeeded(parts: &[&[u8]], out: &mut Vec<u8>) -> Result<(), Misfit> {
    let success = parts.iter().find(|part| error_text(part).is_none());
    let busy = || {
        let had_something =
            |part: &&&[u8]| error_text(part).is_some_and(|t| !t.starts_with(b"NOTBUSY"));
        parts.iter().find(had_something)
    };
    out.extend_from_slice(success.or_else(busy).or(parts.first()).ok_or(Misfit)?);
    Ok(())
}

fn concat(parts: &[&[u8]], out: &mut Vec<u8>) -> Result<(), Misfit> {
    let (mut kind, mut count) = (None, 0);
    for part in parts {
        let elements = Elements::of(part).ok_or(Misfit)?;
        count += elements.count();
        match (kind, elements.kind()) {
            (Some(before), Some(this)) if before != this => return Err(Misfit),
            (before, this) => kind = before.or(this),
        }
    }
    kind.unwrap_or(Kind::Array).write(out, count);
    for elements in parts.iter().filter_map(|part| Elements::of(part)) {
        out.extend_from_slice(elements.bytes());
    }
    Ok(())
}

/// The digest of a database is the exclusive or of its keys' digests, so this is that of all
/// shards.
fn digest(parts: &[&[u8]], out: &mut Vec<u8>) -> Result<(), Misfit> {
    const DIGITS: usize = 40;
    let mut sum = [0; DIGITS];
    for part in parts {
        let digits = part.get(1..1 + DIGITS).filter(|_| part.len() == DIGITS + 3).ok_or(Misfit)?;
        for (sum, digit) in sum.iter_mut().zip(digits) {
            *sum ^= char::from(*digit).to_digit(16).ok_or(Misfit)?;
        }
    }
    out.push(b'+');
    out.extend(sum.iter().filter_map(|digit| char::from_digit(*digit, 16)).map(|c| c as u8));
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// FUNCTION STATS begins with `running_script` and what is known of it, or a nil.
fn running(parts: &[&[u8]], out: &mut Vec<u8>) -> Result<(), Misfit> {
    let runs = |part: &&&[u8]| {
        let mut elements = Elements::of(part)?;
        elements.next()?;
        Some(!is_nil(elements.next()?))
    };
    let running = parts.iter().find(|part| runs(part) == Some(true));
    out.extend_from_slice(running.or(parts.first()).ok_or(Misfit)?);
    Ok(())
}

/// The first shard's settings, without those that are its own.
fn data_settings(parts: &[&[u8]], out: &mut Vec<u8>) -> Result<(), Misfit> {
    let elements = parts.first().and_then(|part| Elements::of(part)).ok_or(Misfit)?;
    let kept = |visit: &mut dyn FnMut(&[u8], &[u8])| -> Option<()> {
        let mut rest = elements;
        while let Some(name) = rest.next() {
            let value = rest.next()?;
            if is_data_setting(string(name)?) {
                visit(name, value);
            }
        }
        Some(())
    };
    let mut count = 0;
    kept(&mut |_, _| count += 2).ok_or(Misfit)?;
    elements.kind().unwrap_or(Kind::Array).write(out, count);
    kept(&mut |name, value| {
        out.extend_from_slice(name);
        out.extend_from_slice(value);
    })
    .ok_or(Misfit)
}
