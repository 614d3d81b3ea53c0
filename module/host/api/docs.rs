//! What a command is, for the server and for `COMMAND DOCS`.

use std::ffi::{CStr, c_int};
use std::ptr;

use redis_module::raw;

/// What a command needs to be made.
pub(in crate::host) struct CommandRow {
    pub(in crate::host) name: &'static CStr,
    pub(in crate::host) run: raw::RedisModuleCmdFunc,
    pub(in crate::host) flags: &'static CStr,
    pub(in crate::host) acl_categories: &'static CStr,
    pub(in crate::host) summary: &'static CStr,
    pub(in crate::host) complexity: &'static CStr,
    /// With the command's own name.
    pub(in crate::host) arity: c_int,
    pub(in crate::host) args: &'static [Arg],
}

/// One argument.
pub(in crate::host) struct Arg {
    pub(in crate::host) name: &'static CStr,
    pub(in crate::host) kind: ArgKind,
    pub(in crate::host) often: Often,
}

/// What it is.
pub(in crate::host) enum ArgKind {
    Text,
    Number,
    /// This very word.
    Token(&'static CStr),
    OneOf(&'static [Arg]),
}

/// How many there are of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::host) enum Often {
    Once,
    /// Any number, or none.
    Any,
}

impl Arg {
    pub(in crate::host) const fn once(name: &'static CStr, kind: ArgKind) -> Self {
        Self { name, kind, often: Often::Once }
    }
}

/// Shows the description of a command to `set`. The server copies it.
pub(super) fn describe(
    row: &CommandRow,
    set: impl FnOnce(*const raw::RedisModuleCommandInfo) -> c_int,
) -> c_int {
    static VERSION: raw::RedisModuleCommandInfoVersion = raw::RedisModuleCommandInfoVersion {
        version: 1,
        sizeof_historyentry: size_of::<raw::RedisModuleCommandHistoryEntry>(),
        sizeof_keyspec: size_of::<raw::RedisModuleCommandKeySpec>(),
        sizeof_arg: size_of::<raw::RedisModuleCommandArg>(),
    };
    let mut lists = Vec::new();
    let args = list(row.args, &mut lists);
    let info = raw::RedisModuleCommandInfo {
        version: &raw const VERSION,
        summary: row.summary.as_ptr(),
        complexity: row.complexity.as_ptr(),
        since: c"0.1.0".as_ptr(),
        history: ptr::null_mut(),
        tips: c"nondeterministic_output".as_ptr(),
        arity: row.arity,
        key_specs: ptr::null_mut(),
        args,
    };
    set(&raw const info)
}

/// The arguments as the server reads them. `lists` keeps what the result points to.
fn list(
    args: &[Arg],
    lists: &mut Vec<Vec<raw::RedisModuleCommandArg>>,
) -> *mut raw::RedisModuleCommandArg {
    if args.is_empty() {
        return ptr::null_mut();
    }
    // SAFETY: an argument of zeroes, nothing but null pointers, is how such a list ends.
    let end: raw::RedisModuleCommandArg = unsafe { std::mem::zeroed() };
    let mut entries: Vec<_> = args
        .iter()
        .map(|arg| {
            let (kind, token, subargs) = match arg.kind {
                ArgKind::Text => {
                    (raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_STRING, None, None)
                }
                ArgKind::Number => {
                    (raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_INTEGER, None, None)
                }
                ArgKind::Token(token) => (
                    raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_PURE_TOKEN,
                    Some(token.as_ptr()),
                    None,
                ),
                ArgKind::OneOf(args) => (
                    raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_ONEOF,
                    None,
                    Some(list(args, lists)),
                ),
            };
            let any = raw::REDISMODULE_CMD_ARG_OPTIONAL | raw::REDISMODULE_CMD_ARG_MULTIPLE;
            raw::RedisModuleCommandArg {
                name: arg.name.as_ptr(),
                type_: kind,
                key_spec_index: -1,
                token: token.unwrap_or(ptr::null()),
                flags: if arg.often == Often::Any { any as c_int } else { 0 },
                subargs: subargs.unwrap_or(ptr::null_mut()),
                ..end
            }
        })
        .collect();
    entries.push(end);
    // What a vector holds stays where it is when the vector itself is moved.
    let first = entries.as_mut_ptr();
    lists.push(entries);
    first
}
