//! CLIENT PAUSE: requests stay where they are until it ends.
//!
//! The endpoint itself pauses, in every worker, and not the shards: a shard that is paused would
//! hold up the rounds behind WAIT too. What has been forwarded already is answered.

use std::time::Duration;

use crate::command::Spec;
use crate::ids::{SessionId, Time};
use crate::limits;
use crate::resp::{Request, parse_int};
use crate::text;

use super::Engine;
use super::clients::{Finish, OK};
use super::event::Question;

/// Which requests are not served, and until when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paused {
    pub until: Time,
    /// All, or only those that may change data.
    all: bool,
}

/// Whether a request may change what replicas have. A script may say in its text that it doesn't,
/// and is not allowed to then.
pub(super) fn may_write(spec: &Spec, request: &Request<'_>) -> bool {
    let reads = || spec.name.eq_ignore_ascii_case("eval") && says_no_writes(request.arg(1));
    spec.may_write() && !reads()
}

/// Whether the first line of a script is `#!lua flags=no-writes`, perhaps with other flags. Source:
/// redis `eval.c`, `evalExtractShebangFlags`; what that finds fault with is not executed.
fn says_no_writes(script: &[u8]) -> bool {
    let line = script.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let mut words = line.split(u8::is_ascii_whitespace);
    let flags = |word: &[u8]| word.strip_prefix(b"flags=").is_some_and(has_no_writes);
    words.next() == Some(b"#!lua") && words.any(flags)
}

fn has_no_writes(flags: &[u8]) -> bool {
    flags.split(|byte| *byte == b',').any(|flag| flag == b"no-writes")
}

impl Engine {
    /// `CLIENT PAUSE milliseconds [WRITE|ALL]`. Source: redis `networking.c`, `clientCommand`.
    pub(super) fn client_pause(&mut self, id: SessionId, request: &Request<'_>) {
        if request.len() > 4 {
            let text = text::unknown_subcommand("CLIENT", request.arg(1));
            return self.answer_error(id, &text);
        }
        let all = match request.get(3) {
            None => true,
            Some(mode) if mode.eq_ignore_ascii_case(b"all") => true,
            Some(mode) if mode.eq_ignore_ascii_case(b"write") => false,
            Some(_) => return self.answer_error(id, text::PAUSE_MODE),
        };
        let error = match parse_int(request.arg(2)).map(u64::try_from) {
            None => text::TIMEOUT_NOT_AN_INTEGER,
            Some(Err(_)) => text::TIMEOUT_NEGATIVE,
            Some(Ok(millis)) => {
                let time = Duration::from_millis(millis).min(limits::PAUSE_MAX);
                let question = Question::Pause { time, all };
                return self.ask_workers(id, &question, Finish::Said(OK.to_vec()));
            }
        };
        self.answer_error(id, error);
    }

    /// Pauses from now on. Of two pauses at a time the longer and the stricter holds, as on a stock
    /// server. Source: redis `networking.c`, `pauseClientsByClient`.
    pub(super) fn pause(&mut self, time: Duration, all: bool) {
        let until = self.now + time;
        let before = self.paused.filter(|paused| paused.until > self.now);
        self.paused = Some(Paused {
            until: before.map_or(until, |before| before.until.max(until)),
            all: all || before.is_some_and(|before| before.all),
        });
    }

    /// Serves on.
    pub(super) fn unpause(&mut self) {
        self.paused = None;
        let held = self.sessions.iter().filter(|(_, session)| session.holds.pause);
        let held: Vec<SessionId> = held.map(|(id, _)| id).collect();
        for id in held {
            if let Some(session) = self.sessions.get_mut(id) {
                session.holds.pause = false;
            }
            self.stats().blocked_clients.sub(1);
            self.touch(id);
        }
    }

    /// Ends a pause whose time is up.
    pub(super) fn pause_timer(&mut self) {
        if self.paused.is_some_and(|paused| self.now >= paused.until) {
            self.unpause();
        }
    }

    /// Whether a request must wait for the end of a pause; if so its session is held. Source: redis
    /// `server.c`, `processCommand`.
    pub(super) fn must_pause(&mut self, id: SessionId, request: &Request<'_>) -> bool {
        let Some(paused) = self.paused else {
            return false;
        };
        let table = self.router.table();
        // What is no request of any command is told so at once.
        let Ok(spec) = table.check(request) else {
            return false;
        };
        let spec = table.spec(spec);
        let (may_write, exec) = (may_write(spec, request), spec.name.eq_ignore_ascii_case("exec"));
        let queue = self.sessions.get(id).and_then(|s| s.transaction.as_ref()?.queue.as_ref());
        let writes = may_write || exec && queue.is_some_and(|queue| queue.writes);
        (paused.all || writes) && self.hold_for_pause(id)
    }

    /// Whether a large request, which is going to be forwarded as it arrives, must wait.
    pub(super) fn must_pause_large(&mut self, id: SessionId, writes: bool) -> bool {
        let pauses = self.paused.is_some_and(|paused| paused.all || writes);
        pauses && self.hold_for_pause(id)
    }

    fn hold_for_pause(&mut self, id: SessionId) -> bool {
        // Who monitors is taken for a replica, and those are never paused.
        let Some(session) = self.sessions.get_mut(id).filter(|session| !session.monitors) else {
            return false;
        };
        if !std::mem::replace(&mut session.holds.pause, true) {
            self.stats().blocked_clients.add(1);
        }
        true
    }
}
