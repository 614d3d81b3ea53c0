//! How a guest talks: as the user that `weir.intercept-user` says, in the RESP that is wanted.
//!
//! ```text
//!   say --> Needed: the login goes first ---> Asked: all that is said waits
//!                ^                               |             |
//!                +---------- refused: told ------+             | let in: what waits goes
//!           say --> Done: goes at once <-----------------------+
//! ```
//!
//! Nothing is ever said as somebody else than the user that was asked for. A refused login is tried
//! again with what is said next: its password may have been set meanwhile.

use std::mem;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::log;
use crate::engine::Level;
use crate::resp::write;
use crate::settings::Settings;
use crate::worker::{GuestHandle, Promise};

/// The words with which guests log in, if they do.
pub(super) fn login(settings: &Settings) -> Option<Vec<u8>> {
    let (user, password) = (&settings.intercept_user, &settings.intercept_password);
    if password.is_empty() {
        return None;
    }
    let mut login = Vec::new();
    if user.is_empty() {
        write::request(&mut login, &["AUTH", password]);
    } else {
        write::request(&mut login, &["AUTH", user, password]);
    }
    Some(login)
}

/// A guest that can be talked through. Any thread. When it is dropped, the guest leaves.
pub(super) struct Voice {
    handle: Arc<GuestHandle>,
    line: Arc<Line>,
}

/// What is said, and in what order.
struct Line {
    #[expect(clippy::disallowed_types, reason = "who speaks and the answer to a login meet here")]
    state: std::sync::Mutex<State>,
}

struct State {
    login: Login,
    /// Which RESP the session speaks.
    resp3: bool,
}

enum Login {
    Needed(Vec<u8>),
    Asked { login: Vec<u8>, waiting: Vec<Said> },
    Done,
}

/// Requests of which the last has a promise.
struct Said {
    requests: Vec<u8>,
    mute: usize,
    promise: Promise,
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The guest is let in: says what has waited, before anything that is said later.
    fn let_in(&self, handle: &GuestHandle) {
        let mut state = self.lock();
        if let Login::Asked { waiting, .. } = mem::replace(&mut state.login, Login::Done) {
            for Said { requests, mute, promise } in waiting {
                handle.say(requests, mute, promise);
            }
        }
    }

    /// The guest isn't let in. Returns what has waited: nobody is told under the lock.
    fn shut_out(&self) -> Vec<Said> {
        let mut state = self.lock();
        state.resp3 = false; // What would have changed it has not been said.
        match mem::replace(&mut state.login, Login::Done) {
            Login::Asked { login, waiting } => {
                state.login = Login::Needed(login);
                waiting
            }
            other => {
                state.login = other;
                Vec::new()
            }
        }
    }
}

impl Voice {
    /// `login`: what is said before all else.
    pub(super) fn new(handle: GuestHandle, login: Option<Vec<u8>>) -> Self {
        let login = login.map_or(Login::Done, Login::Needed);
        #[expect(clippy::disallowed_types, reason = "as above")]
        let state = std::sync::Mutex::new(State { login, resp3: false });
        Self { handle: Arc::new(handle), line: Arc::new(Line { state }) }
    }

    /// Says `request`, whose reply is to be in this version of RESP.
    pub(super) fn say(&self, request: Vec<u8>, resp3: bool, promise: Promise) {
        let mut state = self.line.lock();
        let (mut requests, mut mute) = (request, 0);
        if resp3 != state.resp3 {
            state.resp3 = resp3;
            let mut both = Vec::with_capacity(requests.len() + 32);
            write::request(&mut both, &["HELLO", if resp3 { "3" } else { "2" }]);
            both.append(&mut requests);
            (requests, mute) = (both, 1);
        }
        match &mut state.login {
            Login::Done => self.handle.say(requests, mute, promise),
            Login::Asked { waiting, .. } => waiting.push(Said { requests, mute, promise }),
            Login::Needed(login) => {
                let (login, said) = (mem::take(login), Said { requests, mute, promise });
                state.login = Login::Asked { login: login.clone(), waiting: vec![said] };
                drop(state);
                self.log_in(login);
            }
        }
    }

    /// Says RESET, after which the guest has to log in again.
    pub(super) fn reset(&self, login: Option<Vec<u8>>) {
        let mut state = self.line.lock();
        // Who is not let in yet has said nothing.
        if let Login::Done = state.login {
            let mut request = Vec::new();
            write::request(&mut request, &["RESET"]);
            self.handle.say(request, 0, Promise::new(|_| {}));
            state.resp3 = false;
            state.login = login.map_or(Login::Done, Login::Needed);
        }
    }

    fn log_in(&self, login: Vec<u8>) {
        // It keeps nobody in who has left meanwhile: then it is told `None`.
        let (handle, line) = (Arc::downgrade(&self.handle), Arc::clone(&self.line));
        let answered = move |reply: Option<Vec<u8>>| match (reply, handle.upgrade()) {
            (Some(refusal), _) if refusal.starts_with(b"-") => {
                let why = String::from_utf8_lossy(&refusal[1..]).trim_end().to_owned();
                let text = format!("weir.intercept-user can't log in to the shards: {why}");
                log::line(Level::Warning, &text);
                for said in line.shut_out() {
                    said.promise.keep(refusal.clone());
                }
            }
            (Some(_), Some(handle)) => line.let_in(&handle),
            _ => drop(line.shut_out()),
        };
        self.handle.say(login, 0, Promise::new(answered));
    }
}
