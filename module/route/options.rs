//! Options that decide where a request goes, or whether it goes at all.

use crate::command::{How, Merge, SortOption, is_data_setting, sort_options};
use crate::resp::{Request, parse_int};
use crate::shards::HashSlot;
use crate::text;

/// What looking at a request's arguments comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes where its keys are, or to all shards.
    Pass,
    /// It goes where its keys are, and may wait there.
    Waits,
    /// An error text of a stock server.
    Error(&'static str),
    /// Not supported: the command with the option that is the reason.
    Refused(String),
}

/// Patterns of BY and GET must stay in the slot of the key, as in a cluster; a shard would find
/// nothing of what other shards have, and would not say so.
pub(super) fn sort(request: &Request<'_>) -> Verdict {
    let slot = HashSlot::of(request.arg(1));
    let elsewhere = |at: usize| HashSlot::of_pattern(request.arg(at)) != Some(slot);
    let wrong = sort_options(request).find_map(|option| match option {
        // Without a star BY reads no keys; it means: don't sort.
        SortOption::By(at) if request.arg(at).contains(&b'*') && elsewhere(at) => {
            Some(text::SORT_BY_OTHER_SLOTS)
        }
        SortOption::Get(at) if request.arg(at) != b"#" && elsewhere(at) => {
            Some(text::SORT_GET_OTHER_SLOTS)
        }
        _ => None,
    });
    wrong.map_or(Verdict::Pass, Verdict::Error)
}

/// Whether XREAD or XREADGROUP may wait. Source of the options: redis `t_stream.c`, `xreadCommand`.
pub(super) fn read(request: &Request<'_>) -> Verdict {
    let mut at = 1;
    while let Some(word) = request.get(at) {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        if is("block") {
            return Verdict::Waits;
        }
        if is("streams") {
            break;
        }
        // An option of later servers is taken for one without argument: what may be a BLOCK must
        // not slip through behind it.
        at += match () {
            () if is("count") => 2,
            () if is("group") => 3,
            () => 1,
        };
    }
    Verdict::Pass
}

/// Only settings of the data.
pub(super) fn config_set(request: &Request<'_>) -> Verdict {
    let names = (2..request.len()).step_by(2).map(|at| request.arg(at));
    match names.into_iter().find(|name| !is_data_setting(name)) {
        None => Verdict::Pass,
        Some(name) => Verdict::Refused(quoted("config|set", name)),
    }
}

/// How the logs of all shards become one: lists go one behind the other, unless they are to be
/// forgotten. Source: redis `acl.c`, `aclCommand`.
pub(super) fn acl_log(request: &Request<'_>) -> Merge {
    let resets = request.get(2).is_some_and(|word| word.eq_ignore_ascii_case(b"reset"));
    let how = if resets { How::AllSucceeded } else { How::Concat };
    Merge { how, may_write: resets }
}

/// A command with the argument that is the reason why it is refused.
pub(super) fn quoted(command: &str, name: &[u8]) -> String {
    let name = String::from_utf8_lossy(&name[..name.len().min(QUOTED_BYTES_MAX)]);
    format!("{command} {name}")
}

/// Bytes of a name that an error quotes at most, as of other names.
const QUOTED_BYTES_MAX: usize = 128;

/// How many entries SLOWLOG GET asks for. None if it is no such number. Source: redis `slowlog.c`,
/// `slowlogCommand`.
pub(super) fn slow_log(request: &Request<'_>) -> Option<u32> {
    const UNTOLD: u32 = 10;
    match request.get(2).map(parse_int) {
        None => Some(UNTOLD),
        Some(Some(-1)) => Some(u32::MAX),
        Some(number) => u32::try_from(number?).ok(),
    }
}

/// The cursor of a SCAN.
pub(super) fn cursor(text: &[u8]) -> Option<u64> {
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}
