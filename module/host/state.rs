//! What lives from load to unload.
//!
//! A module has no `self`: the server calls plain functions. So what they share is in one static.
//! Only the server's main thread locks it, so nobody ever waits; the exception is the INFO of a
//! crash report, which may run on any thread and therefore only tries.
//!
//! Rule: while the lock is held, no function of the server is called that could call us back.

use std::sync::{Arc, MutexGuard, PoisonError};

use super::api::BlockedClient;
use super::asks::Asks;
use super::config::Config;
use super::ear::Ear;
use super::guests::Guests;
use super::pass::Names;
use crate::stats::Stats;
use crate::worker::Fleet;

/// All of it.
#[derive(Default)]
pub(super) struct State {
    pub(super) config: Config,
    pub(super) running: Option<Running>,
}

/// What there is only while the endpoint serves.
pub(super) struct Running {
    /// Before the fleet: who leaves says so to its worker.
    pub(super) guests: Guests,
    pub(super) ear: Option<Ear>,
    pub(super) names: Names,
    pub(super) fleet: Fleet,
    pub(super) stats: Stats,
    pub(super) asks: Arc<Asks<BlockedClient>>,
    pub(super) workers: u16,
    pub(super) shards: usize,
    /// The number at which our descriptors begin.
    pub(super) fd_base: u64,
    /// How many clients there are descriptors for.
    pub(super) clients_room: u32,
    /// Where clients are served, as one text: INFO may not allocate.
    pub(super) listening: String,
}

#[expect(clippy::disallowed_types, reason = "the server's callbacks have nowhere else to meet")]
static STATE: std::sync::Mutex<Option<State>> = std::sync::Mutex::new(None);

type Guard = MutexGuard<'static, Option<State>>;

fn lock() -> Guard {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `run` on the state, which begins empty. Main thread.
pub(super) fn with<R>(run: impl FnOnce(&mut State) -> R) -> R {
    run(lock().get_or_insert_default())
}

/// Runs `run` on the state if it is there and free. Any thread.
pub(super) fn try_with<R>(run: impl FnOnce(&State) -> R) -> Option<R> {
    let guard = STATE.try_lock().ok()?;
    guard.as_ref().map(run)
}

/// Takes the running part out, so that nobody finds it while it is being stopped. Main thread.
pub(super) fn take_running() -> Option<Running> {
    lock().as_mut()?.running.take()
}

/// Forgets everything: a module that is loaded again begins with the same statics, for its library
/// may have stayed in memory. Main thread.
pub(super) fn clear() {
    let state = lock().take();
    drop(state);
}
