//! Which arguments of a request are keys.
//!
//! A key spec has two halves: where to begin, and how to go on from there.
//!
//! ```text
//!   GEORADIUS key lon lat r m STORE dest          begin: index 1         find: range of one
//!             ^^^                   ^^^^          begin: keyword STORE   find: range of one
//!   EVAL script 2 k1 k2 arg                       begin: index 2         find: as many as that says
//!                 ^^ ^^
//! ```
//!
//! The rules for odd requests are those of redis `db.c`, `getKeysUsingKeySpecs`, with one
//! difference: a spec that doesn't fit the request gives no keys, where a server gives none of any
//! spec. Such a request is wrong, and any shard will say so in the right words.

use super::flags::Flags;
use super::sort::{SortOption, sort_options};
use super::spec::Spec;
use crate::resp::{Request, parse_int};

/// Where a key spec begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At this argument.
    Index(usize),
    /// Behind this word, looked for from an argument on; backwards if that is negative, which then
    /// counts from the end.
    Keyword {
        /// Compared without regard to case.
        word: Box<[u8]>,
        /// Never 0.
        from: i64,
    },
    /// No rule can say.
    Unknown,
}

/// How a key spec goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Find {
    /// From the beginning to a last argument.
    Range {
        /// Counts from the beginning; if negative, from the end of the request, where -1 is its
        /// last argument.
        last: i64,
        /// From key to key; at least 1.
        step: usize,
        /// If above 1 and `last` is negative: only the first 1/limit of the rest are keys.
        limit: usize,
    },
    /// As many keys as a number says.
    KeyNum {
        /// The number's place behind the beginning.
        at: usize,
        /// The first key's place behind the beginning.
        first: usize,
        /// From key to key; at least 1.
        step: usize,
    },
    /// No rule can say.
    Unknown,
}

/// One rule for finding keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// Where to begin.
    pub begin: Begin,
    /// How to go on.
    pub find: Find,
    /// What it finds is not a key, but hashes to a slot like one: the channel of SPUBLISH.
    pub not_key: bool,
    /// There may be keys that it doesn't find.
    pub incomplete: bool,
}

/// How the keys of a command are found, the quickest way that is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRule {
    /// It has none.
    None,
    /// It has exactly one, at this argument.
    One(usize),
    /// The key specs say.
    Specs,
    /// Key 1, and the argument of the last STORE.
    Sort,
    /// Argument 3, or if that is empty all that follows the word KEYS.
    Migrate,
    /// Nothing says where they all are.
    Untold,
}

impl KeyRule {
    /// The rule for a command named `name`.
    pub(super) fn of(name: &str, flags: Flags, specs: &[KeySpec]) -> Self {
        let name_is = |known: &str| name.eq_ignore_ascii_case(known);
        if name_is("sort") {
            return Self::Sort;
        }
        // Its BY and GET name no keys for a route, and it has no STORE.
        if name_is("sort_ro") {
            return Self::One(1);
        }
        if name_is("migrate") {
            return Self::Migrate;
        }
        let untold = |spec: &KeySpec| {
            spec.incomplete || spec.begin == Begin::Unknown || spec.find == Find::Unknown
        };
        let moves = |spec: &KeySpec| {
            matches!(spec.begin, Begin::Keyword { .. }) || matches!(spec.find, Find::KeyNum { .. })
        };
        // A module may find keys by code of its own. All that shows is that they move, although no
        // spec says how.
        let by_code = flags.any(Flags::MODULE) && flags.any(Flags::MOVABLE_KEYS);
        match specs {
            _ if specs.iter().any(untold) || (by_code && !specs.iter().any(moves)) => Self::Untold,
            [] => Self::None,
            [KeySpec { begin: Begin::Index(at), find: Find::Range { last: 0, .. }, .. }] => {
                Self::One(*at)
            }
            _ => Self::Specs,
        }
    }
}

impl Spec {
    /// Puts the indices of `request`'s keys in `keys`, in the order of the specs; arguments that
    /// hash like keys are among them. None are found if there are none, if nothing tells
    /// ([`KeyRule::Untold`]), or if the request is one that any server refuses.
    pub fn keys(&self, request: &Request<'_>, keys: &mut Vec<usize>) {
        keys.clear();
        match self.key_rule {
            KeyRule::None | KeyRule::Untold => {}
            KeyRule::One(at) => keys.extend((at < request.len()).then_some(at)),
            KeyRule::Specs => self.key_specs.iter().for_each(|spec| spec.find(request, keys)),
            KeyRule::Sort => {
                keys.extend((1 < request.len()).then_some(1));
                let stores = sort_options(request).filter_map(|option| match option {
                    SortOption::Store(at) => Some(at),
                    _ => None,
                });
                keys.extend(stores.last());
            }
            KeyRule::Migrate => migrate(request, keys),
        }
    }

    /// Whether all keys of a request that will have `total` arguments are certain to be among those
    /// that `head` has. With [`Spec::keys`] on `head` it then says what it will say on the whole.
    pub fn keys_before(&self, head: &Request<'_>, total: usize) -> bool {
        if head.len() >= total {
            return true;
        }
        match self.key_rule {
            KeyRule::None => true,
            KeyRule::One(at) => at < head.len(),
            KeyRule::Specs => self.key_specs.iter().all(|spec| spec.before(head, total)),
            KeyRule::Sort | KeyRule::Migrate | KeyRule::Untold => false,
        }
    }
}

/// First key, last key, step: both ends are arguments of the request.
type Run = (usize, usize, usize);

impl KeySpec {
    fn find(&self, request: &Request<'_>, keys: &mut Vec<usize>) {
        let Some((first, last, step)) = self.run(request, request.len()) else {
            return;
        };
        if last < request.len() {
            keys.extend((first..=last).step_by(step));
        }
    }

    fn before(&self, head: &Request<'_>, total: usize) -> bool {
        // A keyword that isn't there yet may come, one that is there may be some other option's
        // argument: a server judges by the whole request only.
        if !matches!(self.begin, Begin::Index(_)) {
            return false;
        }
        if let (Begin::Index(begin), Find::KeyNum { at, .. }) = (&self.begin, &self.find)
            && begin + at >= head.len()
        {
            return false;
        }
        self.run(head, total).is_none_or(|(_, last, _)| last < head.len())
    }

    /// Where its keys lie in a request of `total` arguments, of which only some may be there yet;
    /// nothing if the spec doesn't fit the request.
    fn run(&self, request: &Request<'_>, total: usize) -> Option<Run> {
        let begin = match &self.begin {
            Begin::Index(at) => *at,
            Begin::Keyword { word, from } => keyword(request, word, *from)? + 1,
            Begin::Unknown => return None,
        };
        let (first, last, step) = match self.find {
            Find::Range { last, step, .. } if last >= 0 => {
                (begin, begin.checked_add(usize::try_from(last).ok()?)?, step)
            }
            Find::Range { last, step, limit } => {
                let back = usize::try_from(last.unsigned_abs()).ok()?;
                let end = match limit {
                    0 | 1 => total,
                    _ => begin + total.checked_sub(begin)? / limit,
                };
                (begin, end.checked_sub(back)?, step)
            }
            Find::KeyNum { at, first, step } => {
                let count = parse_int(request.get(begin.checked_add(at)?)?)?;
                let count = usize::try_from(count).ok()?;
                let first = begin.checked_add(first)?;
                (first, first.checked_add(count)?.checked_sub(1)?, step)
            }
            Find::Unknown => return None,
        };
        (first <= last && last < total).then_some((first, last, step))
    }
}

/// The place of `word`, looked for from argument `from` on, to the end or backwards to argument 2.
fn keyword(request: &Request<'_>, word: &[u8], from: i64) -> Option<usize> {
    let here = |at: &usize| request.arg(*at).eq_ignore_ascii_case(word);
    let count = request.len();
    let from_end = usize::try_from(from.unsigned_abs()).ok()?;
    if from > 0 {
        // The last argument is not looked at: behind it there is no key.
        (from_end..count.saturating_sub(1)).find(here)
    } else {
        (2..=count.checked_sub(from_end)?).rev().find(here)
    }
}

/// Source: redis `db.c`, `migrateGetKeys`.
fn migrate(request: &Request<'_>, keys: &mut Vec<usize>) {
    let mut at = 6;
    while let Some(word) = request.get(at) {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        if is("keys") {
            // Both a key and KEYS is a syntax error.
            let first = if request.arg(3).is_empty() { at + 1 } else { request.len() };
            keys.extend(first..request.len());
            return;
        }
        at += match () {
            () if is("auth") => 2,
            () if is("auth2") => 3,
            () => 1,
        };
    }
    keys.extend((3 < request.len()).then_some(3));
}
