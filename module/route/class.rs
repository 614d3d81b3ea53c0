//! What is to be done with a command that no row of `rows.rs` names.
//!
//! One `match` over all that decides, so that the compiler proves that every command has exactly
//! one answer, those of servers and modules not written yet too.

use super::action::{Action, Shape};
use crate::command::{Begin, Find, Flags, How, KeyRule, KeySpec, Merge, RequestPolicy, Spec};

/// Who a command is for, by its flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    /// Subscribers, whose connections nobody else can share.
    Channels,
    /// A server's operator: it would change one shard behind the others' backs, or a connection.
    Operators,
    /// Who can wait, and holds up all others on a shared connection.
    Waiters,
    Everybody,
}

impl For {
    fn of(flags: Flags) -> Self {
        match flags {
            _ if flags.any(Flags::PUBSUB) => Self::Channels,
            _ if flags.any(Flags::ADMIN) => Self::Operators,
            _ if flags.any(Flags::BLOCKING) => Self::Waiters,
            _ => Self::Everybody,
        }
    }
}

/// The action for `spec`, by its flags, keys and policies alone.
pub(super) fn action(spec: &Spec) -> Action {
    match For::of(spec.flags) {
        For::Channels | For::Operators => Action::Refused,
        For::Waiters => Action::Blocking,
        For::Everybody => by_policy(spec),
    }
}

/// The action for `spec` by its keys and policies alone, whoever it is for.
pub(super) fn by_policy(spec: &Spec) -> Action {
    use RequestPolicy::{AllNodes, AllShards, Default, MultiShard, Special};
    match (spec.key_rule, spec.request_policy) {
        (KeyRule::Untold, _) => Action::Untold,
        (KeyRule::None, Default) => Action::First,
        (KeyRule::None, AllNodes | AllShards) => {
            merge(spec, false).map_or(Action::Refused, Action::All)
        }
        // A rule that only its author knows; or to go by keys, without keys.
        (KeyRule::None, MultiShard | Special) => Action::Refused,
        (_, MultiShard) => match (shape(&spec.key_specs), merge(spec, true)) {
            (Some(shape), Some(merge)) => Action::Split(shape, merge),
            _ => Action::Keys,
        },
        (_, Default | AllNodes | AllShards | Special) => Action::Keys,
    }
}

fn merge(spec: &Spec, by_key: bool) -> Option<Merge> {
    let how = How::of(spec.response_policy, by_key)?;
    Some(Merge { how, may_write: spec.may_write() })
}

/// The shape of requests whose keys run from a fixed place to a fixed distance from the end: no
/// others can be split without understanding their options.
fn shape(specs: &[KeySpec]) -> Option<Shape> {
    match specs {
        [
            KeySpec {
                begin: Begin::Index(first),
                find: Find::Range { last, step, limit: 0 | 1 },
                ..
            },
        ] if *first > 0 && *last < 0 => {
            let trailer = match usize::try_from(last.unsigned_abs()).ok()? {
                back if *step == 1 => back - 1,
                // Whether a server counts up to the last key or to its last argument, nothing
                // follows.
                back if back == 1 || back == *step => 0,
                _ => return None,
            };
            Some(Shape { first: *first, step: *step, trailer })
        }
        _ => None,
    }
}

/// For rows that know how the replies become one where the tips don't say.
pub(super) fn all(spec: &Spec, how: How) -> Action {
    Action::All(Merge { how, may_write: spec.may_write() })
}
