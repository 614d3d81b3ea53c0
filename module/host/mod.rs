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
//!   a client's GET --> pass --> block; guests ----------------- say -+-> a guest's session
//!        reply <------- pass <-- unblock <---------------------------+-- its reply
//!   modules of the host --> exports <----- guests, asks ------------+-- replies, by weir.h
//!                                        log <---------------------+-- lines
//!   OnUnload, shutdown ------------------------------- Fleet::stop
//! ```
//!
//! Rules of the edge:
//!
//! * Every function that the server calls runs inside `guard`: no panic crosses.
//! * `api/` is the only room that touches the server's functions; `unsafe` elsewhere only turns
//!   the server's pointers into `api`'s types.
//! * What other modules call (`exports/`) may be called on any thread: it knows nothing of `state`.
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
mod ear;
mod exports;
mod guard;
mod guests;
mod info;
mod load;
mod log;
mod modules;
mod pass;
mod roads;
mod shim;
mod state;
mod voice;

use std::ffi::{c_int, c_void};

use redis_module::raw::{RedisModuleCtx, RedisModuleEvent, RedisModuleString};

use crate::engine::Level;
use api::{Ctx, ERR, OK};
use commands::Asking;
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
    if api::missing().is_some() {
        return ERR; // Without the server's functions there is no log either.
    }
    if initialised != OK {
        // Nothing may be touched here: it belongs to the one that is running.
        log::line(Level::Warning, "not loaded: a module of this name is loaded already");
        return ERR;
    }
    // SAFETY: as the caller promises.
    let ctx = unsafe { Ctx::new(ctx) };
    log::open(ctx);
    let loaded = guard("loading", || load::load(ctx, argc), || Err("see above".to_owned()));
    let Err(why) = loaded else { return OK };
    log::line(Level::Warning, &format!("not loaded: {why}"));
    leave(stop());
    ERR
}

/// The server's last call, by `MODULE UNLOAD`. The library may stay in memory and be "loaded"
/// again, so nothing may be left behind.
///
/// # Safety
/// Only for the server.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RedisModule_OnUnload(_ctx: *mut RedisModuleCtx) -> c_int {
    leave(stop());
    OK
}

/// The host is about to exit: clients get what is theirs, and the Unix socket's file goes.
unsafe extern "C" fn shutdown(
    _ctx: *mut RedisModuleCtx,
    _event: RedisModuleEvent,
    _subevent: u64,
    _data: *mut c_void,
) {
    stop();
}

/// Whether threads of ours are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Threads {
    Gone,
    /// Stuck in a call that doesn't return. The worker has pinned their code in memory.
    Left,
}

/// Stops all workers, if there are any. It takes a bounded time.
fn stop() -> Threads {
    let body = || {
        let Some(running) = state::take_running() else { return Threads::Gone };
        exports::close();
        let stopped = running.fleet.stop();
        drop(running.asks.forget(Asking::is_module));
        log::line(Level::Notice, &format!("no longer serving on {}", running.listening));
        match stopped {
            Ok(()) => Threads::Gone,
            Err(stuck) => {
                log::line(Level::Warning, &format!("{stuck}; they are left to themselves"));
                Threads::Left
            }
        }
    };
    guard("stopping", body, || Threads::Left)
}

/// Forgets everything.
fn leave(threads: Threads) {
    guard("leaving", state::clear, || ());
    log::close(threads);
}
