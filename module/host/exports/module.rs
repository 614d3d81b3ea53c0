//! Another module, as one that uses Weir: its sessions, and what is due to it.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Condvar, MutexGuard, PoisonError};

use super::Outcome;
use super::session::Session;
use crate::limits;

/// Bytes of a module's name in CLIENT LIST.
const NAME_MAX: usize = 64;

/// Behind a `WeirModule`.
pub(super) struct Module {
    /// What its sessions are called.
    pub(super) name: String,
    #[expect(clippy::disallowed_types, reason = "threads of a foreign module and workers meet")]
    state: std::sync::Mutex<State>,
    nothing_due: Condvar,
}

#[derive(Default)]
struct State {
    /// Callbacks that have not returned yet.
    due: usize,
    /// Those that are open, by their address.
    sessions: HashMap<usize, Arc<Session>>,
    left: bool,
}

/// A callback that is due. It is counted until this is dropped.
pub(super) struct Due(Arc<Module>);

impl Drop for Due {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.due -= 1;
        if state.due == 0 {
            self.0.nothing_due.notify_all();
        }
    }
}

impl Module {
    pub(super) fn new(name: &[u8]) -> Arc<Self> {
        let plain = |&byte: &u8| match byte {
            b'.' | b'_' | b'-' => char::from(byte),
            byte if byte.is_ascii_alphanumeric() => char::from(byte),
            _ => '_',
        };
        #[expect(clippy::disallowed_types, reason = "as above")]
        let state = std::sync::Mutex::new(State::default());
        Arc::new(Self {
            name: name.iter().take(NAME_MAX).map(plain).collect(),
            state,
            nothing_due: Condvar::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A callback will come; none if the module has left.
    pub(super) fn due(self: &Arc<Self>) -> Option<Due> {
        let mut state = self.lock();
        if state.left {
            return None;
        }
        state.due += 1;
        Some(Due(Arc::clone(self)))
    }

    /// Keeps a session until it is forgotten; false if the module has left.
    pub(super) fn keep(&self, session: &Arc<Session>) -> bool {
        let mut state = self.lock();
        if !state.left {
            state.sessions.insert(Arc::as_ptr(session).addr(), Arc::clone(session));
        }
        !state.left
    }

    pub(super) fn forget(&self, session: &Session) {
        let kept = self.lock().sessions.remove(&std::ptr::from_ref(session).addr());
        drop(kept); // Not under the lock: who leaves says so to its worker.
    }

    /// Ends all sessions, and waits until nothing is due any more.
    pub(super) fn leave(&self) -> Outcome {
        let mut state = self.lock();
        state.left = true;
        let sessions = mem::take(&mut state.sessions);
        drop(state);
        drop(sessions);
        let waited =
            self.nothing_due
                .wait_timeout_while(self.lock(), limits::MODULE_LEAVE_MAX, |state| state.due > 0);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.due == 0 { Outcome::Ok } else { Outcome::Busy }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::thread;

    #[test]
    fn who_leaves_waits_for_what_is_due() {
        let module = Module::new(b"a b\nc.d");
        assert_eq!(module.name, "a_b_c.d");
        let due = module.due().expect("it is here");
        let waiting = Arc::clone(&module);
        let (tell, left) = std::sync::mpsc::channel();
        let leave = move || tell.send(waiting.leave()).unwrap();
        let leaver = thread::spawn("weir-test", leave).unwrap();
        while module.due().is_some() {
            std::thread::yield_now();
        }
        drop(due);
        assert_eq!(left.recv().unwrap(), Outcome::Ok);
        leaver.join().unwrap();
    }
}
