//! The Redis edge: everything that knows the server which loaded the module.
//!
//! ```text
//!              the host's main thread                       |        worker threads
//!                                                           |
//!   OnLoad --> config --> check --> descriptors --> COMMAND --> Fleet::start
//!              (settings)           (fd base)       (table) |      |
//!   CONFIG SET --> config --> check ------------------- broadcast -+-> settings
//!   WEIR.SHARDS --> commands --> block, ask ---------------- send -+-> question
//!        reply <--- commands <-- unblock <---- asks <--------------+-- answer
//!   INFO ---------> info <-------------- reads atomics ------------+-- stats
//!                                        log <---------------------+-- lines
//!   OnUnload, shutdown ------------------------------- Fleet::stop
//! ```
//!
//! Rules of the edge:
//!
//! * Every function that the server calls runs inside `guard`: no panic crosses.
//! * `api.rs` is the only file that touches the server's functions; `unsafe` elsewhere only turns
//!   the server's pointers into `api`'s types.
//! * A worker thread uses three of the server's functions, which are safe from any thread: the log,
//!   a clock, and to unblock a client.
//! * Memory is the system's. The server's allocator would count our buffers as its data, and evict
//!   keys for them; a library without a `#[global_allocator]` uses the system's.
//! * What could work is loaded. A shard that is down is retried; only what could never work refuses
//!   the load, with a line in the log that says what to change.

mod api;
mod asks;
mod commands;
mod config;
mod descriptors;
mod guard;
mod info;
mod load;
mod log;
mod shim;
mod state;

use std::ffi::{c_int, c_void};

use redis_module::raw::{RedisModuleCtx, RedisModuleEvent, RedisModuleString};

use crate::engine::Level;
use api::{Ctx, ERR, OK};
use guard::guard;

/// The server's first call. The name is the one that it looks for.
///
/// # Safety
/// Only for the server: `ctx` is its context for this call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RedisModule_OnLoad(
    ctx: *mut RedisModuleCtx,
    _argv: *mut *mut RedisModuleString,
    argc: c_int,
) -> c_int {
    // SAFETY: as the caller promises.
    let initialised = unsafe { api::init(ctx, c"weir", load::version_number()) };
    if initialised != OK || api::missing().is_some() {
        return ERR; // Without the server's functions there is no log either.
    }
    // SAFETY: as the caller promises.
    let ctx = unsafe { Ctx::new(ctx) };
    log::open(ctx);
    let loaded = guard("loading", || load::load(ctx, argc), || Err("see above".to_owned()));
    let Err(why) = loaded else { return OK };
    log::line(Level::Warning, &format!("not loaded: {why}"));
    leave();
    ERR
}

/// The server's last call, by `MODULE UNLOAD`. The library may stay in memory and be "loaded"
/// again, so nothing may be left behind.
///
/// # Safety
/// Only for the server.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RedisModule_OnUnload(_ctx: *mut RedisModuleCtx) -> c_int {
    match guard("unloading", stop, || Err("a bug".to_owned())) {
        Ok(()) => {
            leave();
            OK
        }
        Err(why) => {
            log::line(Level::Warning, &format!("not unloaded: {why}"));
            ERR
        }
    }
}

/// The host is about to exit: clients get what is theirs, and the Unix socket's file goes.
unsafe extern "C" fn shutdown(
    _ctx: *mut RedisModuleCtx,
    _event: RedisModuleEvent,
    _subevent: u64,
    _data: *mut c_void,
) {
    if let Err(why) = guard("shutting down", stop, || Err("a bug".to_owned())) {
        log::line(Level::Warning, &why);
    }
}

/// Stops all workers, if there are any. It takes a bounded time.
///
/// # Errors
/// Which threads are still there. Their code stays in memory, so they can do no harm.
fn stop() -> Result<(), String> {
    let Some(running) = state::take_running() else { return Ok(()) };
    match running.fleet.stop() {
        Ok(()) => {
            let listening = running.listening;
            log::line(Level::Notice, &format!("no longer serving on {listening}"));
            Ok(())
        }
        Err(stuck) => Err(stuck.to_string()),
    }
}

/// Forgets everything. No other thread of ours is left.
fn leave() {
    guard("leaving", state::clear, || ());
    log::close();
}
