//! `CONFIG GET`, `SET` and `REWRITE` of `weir.*`: the rows of `settings.rs` as configs of the host.
//!
//! ```text
//!   conf file, command line --+
//!                             +--> set (one option) --> pending --apply--> check --> applied
//!   CONFIG SET a 1 b 2 -------+       each in turn                once       |          |
//!                                                                            | no       v
//!                          the server sets the old values back, <------------+       workers
//!                          and tells the user why
//! ```
//!
//! At load there is no apply: the load itself checks, and refuses what can't work.

use std::ffi::{CStr, c_char, c_int, c_longlong, c_void};
use std::ptr;
use std::sync::Arc;

use redis_module::raw;

use super::api::{self, ConfigCallbacks, Ctx, ERR, OK, ServerString};
use super::guard::guard;
use super::{descriptors, exports, log, state};
use crate::engine::Level;
use crate::os::tls::Tls;
use crate::settings::{Change, Kind, OPTIONS, OptionRow, Secrecy, Settings, Unit, Value};
use crate::shards::Upstream;
use crate::worker::Fleet;

/// What the server calls our options, before the dot.
const PREFIX: &str = "weir.";

static CALLBACKS: ConfigCallbacks = ConfigCallbacks {
    get_text: Some(get_text),
    set_text: Some(set_text),
    get_number: Some(get_number),
    set_number: Some(set_number),
    apply: Some(apply),
};

/// The options' values.
#[derive(Debug, Default)]
pub(super) struct Config {
    /// As the user has set them, one by one.
    pub(super) pending: Settings,
    /// As they hold.
    pub(super) applied: Settings,
    /// The text that `get_text` returned last: the server copies it, but leaves it ours.
    shown: Option<ServerString>,
}

/// Registers all options.
///
/// # Errors
/// The name of one that the server refused.
pub(super) fn register(ctx: Ctx<'_>) -> Result<(), &'static str> {
    for row in OPTIONS {
        let name = api::c_string(row.name);
        let registered = match row.kind {
            Kind::Text { default } | Kind::Choice { default, .. } => {
                ctx.register_text(&name, &api::c_string(default), flags(row), &CALLBACKS)
            }
            Kind::Number { default, min, max, .. } => {
                ctx.register_number(&name, (default, min, max), flags(row), &CALLBACKS)
            }
        };
        if !registered {
            return Err(row.name);
        }
    }
    Ok(())
}

fn flags(row: &OptionRow) -> u32 {
    let mut flags = raw::REDISMODULE_CONFIG_DEFAULT;
    if row.change == Change::AtLoad {
        flags |= raw::REDISMODULE_CONFIG_IMMUTABLE;
    }
    if row.secrecy == Secrecy::Secret {
        flags |= raw::REDISMODULE_CONFIG_SENSITIVE;
    }
    if matches!(row.kind, Kind::Number { unit: Unit::Bytes, .. }) {
        flags |= raw::REDISMODULE_CONFIG_MEMORY;
    }
    flags
}

/// The row of a config. Some servers say the name with the prefix, some without.
///
/// # Safety
/// `name` is what the server passed to the callback.
unsafe fn row_of(name: *const c_char) -> Option<&'static OptionRow> {
    // SAFETY: as the caller promises, a C string.
    let name = unsafe { CStr::from_ptr(name) }.to_str().ok()?;
    OptionRow::find(name.strip_prefix(PREFIX).unwrap_or(name))
}

unsafe extern "C" fn get_text(name: *const c_char, _: *mut c_void) -> *mut raw::RedisModuleString {
    let body = || {
        // SAFETY: the server's own pointer.
        let Some(row) = (unsafe { row_of(name) }) else { return ptr::null_mut() };
        state::with(|state| {
            let Value::Text(text) = row.get(&state.config.pending) else { return ptr::null_mut() };
            state.config.shown.insert(ServerString::new(&text)).raw()
        })
    };
    guard("CONFIG GET", body, ptr::null_mut)
}

unsafe extern "C" fn get_number(name: *const c_char, _: *mut c_void) -> c_longlong {
    let body = || {
        // SAFETY: the server's own pointer.
        let Some(row) = (unsafe { row_of(name) }) else { return 0 };
        match state::with(|state| row.get(&state.config.pending)) {
            Value::Number(number) => number,
            Value::Text(_) => 0,
        }
    };
    guard("CONFIG GET", body, || 0)
}

unsafe extern "C" fn set_text(
    name: *const c_char,
    text: *mut raw::RedisModuleString,
    _: *mut c_void,
    error: *mut *mut raw::RedisModuleString,
) -> c_int {
    let body = || {
        // SAFETY: the server's own string, good for the time of the call.
        match std::str::from_utf8(unsafe { api::bytes_of(text) }) {
            // SAFETY: the server's own pointer.
            Ok(text) => set(unsafe { row_of(name) }, &Value::Text(text.to_owned())),
            Err(_) => Err("must be a text in UTF-8".to_owned()),
        }
    };
    // SAFETY: the slot is the server's.
    unsafe { tell(guard("CONFIG SET", body, || Err("a bug: see the log".to_owned())), error) }
}

unsafe extern "C" fn set_number(
    name: *const c_char,
    number: c_longlong,
    _: *mut c_void,
    error: *mut *mut raw::RedisModuleString,
) -> c_int {
    // SAFETY: the server's own pointer.
    let body = || set(unsafe { row_of(name) }, &Value::Number(number));
    // SAFETY: the slot is the server's.
    unsafe { tell(guard("CONFIG SET", body, || Err("a bug: see the log".to_owned())), error) }
}

unsafe extern "C" fn apply(
    _: *mut raw::RedisModuleCtx,
    _: *mut c_void,
    error: *mut *mut raw::RedisModuleString,
) -> c_int {
    // SAFETY: the slot is the server's.
    unsafe {
        tell(guard("CONFIG SET", apply_pending, || Err("a bug: see the log".to_owned())), error)
    }
}

fn set(row: Option<&OptionRow>, value: &Value) -> Result<(), String> {
    let row = row.ok_or("no such option")?;
    state::with(|state| row.set(&mut state.config.pending, value))
}

/// Sends the pending settings to the workers, if all is well with them.
fn apply_pending() -> Result<(), String> {
    state::with(|state| {
        let (pending, applied) = (&state.config.pending, &mut state.config.applied);
        let Some(running) = &mut state.running else { return Ok(()) };
        if pending == applied {
            return Ok(()); // A refused change was taken back.
        }
        pending.check()?;
        if pending.upstream != applied.upstream {
            check_upstream(&applied.upstream, &pending.upstream)?;
        }
        if pending.maxclients != applied.maxclients {
            descriptors::fit(running.fd_base, pending, running.shards)?;
            running.clients_room = pending.maxclients;
        }
        // Last of all that may fail, because it takes effect at once.
        if !pending.same_tls(applied) {
            renew_tls(pending, &running.fleet)?;
        }
        applied.clone_from(pending);
        exports::change(applied);
        running.fleet.broadcast(&Arc::new(effective(pending, running.clients_room)));
        Ok(())
    })
}

/// Whether the upstream may be changed so while clients are served.
fn check_upstream(before: &str, after: &str) -> Result<(), String> {
    let read = |text| Upstream::parse(text).map_err(|error| format!("weir.upstream: {error}"));
    let told = |why| format!("weir.upstream: {why}");
    read(after)?.may_follow(&read(before)?).map_err(told)
}

/// Has the workers use the files of the settings as they are now.
///
/// # Errors
/// The first that can't be used; all stays as it was.
pub(super) fn reload() -> Result<(), String> {
    state::with(|state| {
        let running = state.running.as_ref().ok_or("the endpoint is not running")?;
        renew_tls(&state.config.applied, &running.fleet)
    })
}

fn renew_tls(settings: &Settings, fleet: &Fleet) -> Result<(), String> {
    let tls = Tls::load(settings).map_err(|bad| bad.to_string())?;
    fleet.renew_tls(&Arc::new(tls));
    log::line(Level::Notice, "TLS: new connections use the certificates as they are now");
    Ok(())
}

/// What the workers get: no more clients than there are descriptors for. A user still sees the
/// number that was asked for, and `CONFIG REWRITE` keeps it: the lack may end with the next start.
pub(super) fn effective(settings: &Settings, clients_room: u32) -> Settings {
    Settings { maxclients: settings.maxclients.min(clients_room), ..settings.clone() }
}

/// Says to the server how a callback went.
///
/// # Safety
/// `error` is what the server passed to the callback.
unsafe fn tell(result: Result<(), String>, error: *mut *mut raw::RedisModuleString) -> c_int {
    match result {
        Ok(()) => OK,
        Err(text) => {
            // SAFETY: as the caller promises.
            unsafe { api::give_error(error, &text) };
            ERR
        }
    }
}
