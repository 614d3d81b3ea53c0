//! What becomes of a worker that panics.
//!
//! It tells where and why in the log, and aborts the process, on purpose: an engine that was left
//! in the middle of something might answer WAIT with a number that isn't true, and a host that goes
//! on without its endpoint looks healthy to whoever watches it. A supervisor starts it anew.
//!
//! It aborts in the panic hook, before the stack is unwound, so that the host's crash report and
//! the core show the stack of the culprit.

use std::cell::RefCell;
use std::panic;
use std::process;
use std::sync::{Arc, Once};

use crate::engine::Level;

use super::fleet::Log;

/// What follows when a worker has panicked and has said so in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnPanic {
    /// The process ends. What a server wants.
    Abort,
    /// The worker's thread ends, and nothing serves its clients. For tests of the rest.
    EndThread,
}

thread_local! {
    static GUARDED: RefCell<Option<Guarded>> = const { RefCell::new(None) };
}

struct Guarded {
    name: String,
    log: Log,
    on_panic: OnPanic,
}

/// Guards the thread that calls it, from now until its end.
pub(super) fn guard_this_thread(name: &str, log: &Log, on_panic: OnPanic) {
    install_hook();
    let guarded = Guarded { name: name.to_owned(), log: Arc::clone(log), on_panic };
    GUARDED.with(|place| *place.borrow_mut() = Some(guarded));
}

/// Once per loaded copy of this library: it has a standard library, and so a hook, of its own.
fn install_hook() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let told = GUARDED.try_with(|place| {
                let guarded = place.try_borrow();
                guarded.ok().is_some_and(|guarded| guarded.as_ref().is_some_and(|g| g.tell(info)))
            });
            if !told.unwrap_or(false) {
                before(info);
            }
        }));
    });
}

impl Guarded {
    fn tell(&self, info: &panic::PanicHookInfo<'_>) -> bool {
        let payload = info.payload();
        let what = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("without a word");
        let place = info.location().map_or_else(|| "?".to_owned(), ToString::to_string);
        let next = match self.on_panic {
            OnPanic::Abort => "Aborting the process rather than serving wrongly.",
            OnPanic::EndThread => "Its thread ends.",
        };
        (self.log)(
            Level::Warning,
            &format!("Bug: thread {} panicked at {place}: {what}. {next}", self.name),
        );
        if self.on_panic == OnPanic::Abort {
            process::abort();
        }
        true
    }
}
