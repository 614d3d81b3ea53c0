//! Lines for the host's log, from any thread.
//!
//! ```text
//!   worker threads ---+
//!                     +--> line --> clean --> Quiet: said just now? --> the server's log
//!   callbacks --------+                       | yes: counted, and told later
//! ```
//!
//! The server opens, writes and closes its log file for each line, on the thread that logs. So a
//! fault that repeats a thousand times a second may not log a thousand lines: the same text passes
//! at most once a second, and all texts of a level together at most [`LINES_MAX`] times. What was
//! held back is counted and told.
//!
//! Texts may quote what a shard or a client said. They are only text to the server, never a format
//! (`shim/`), and control characters are shown as `?`, so that nobody forges a line.

use std::borrow::Cow;
use std::ptr;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicPtr, Ordering};

use redis_module::raw;

use super::Threads;
use super::api::{self, Ctx};
use crate::engine::Level;

/// Two lines of the same text are at least so far apart, in microseconds.
const APART_US: u64 = 1_000_000;
/// So many texts are remembered. With more at a time the one said longest ago is forgotten, and may
/// come again sooner.
const TEXTS_MAX: usize = 32;
/// So many lines of one level pass in a second, whatever their texts. Levels are counted each for
/// itself: what only a developer would read must not silence a warning.
const LINES_MAX: u32 = 50;

/// As many as [`Level`] has.
const LEVELS: usize = Level::Warning as usize + 1;

/// The server's name for us in its log; null while we aren't loaded.
static CTX: AtomicPtr<raw::RedisModuleCtx> = AtomicPtr::new(ptr::null_mut());

#[expect(clippy::disallowed_types, reason = "all threads log; a line is rare and never waited for")]
static QUIET: std::sync::Mutex<Quiet> = std::sync::Mutex::new(Quiet::new());

/// From now on lines carry the module's name. Main thread, at load.
pub(super) fn open(ctx: Ctx<'_>) {
    CTX.store(ctx.detached(), Ordering::Release);
}

/// The context that `open` made, if there is one; for the main thread.
pub(super) fn context() -> Option<*mut raw::RedisModuleCtx> {
    Some(CTX.load(Ordering::Acquire)).filter(|ctx| !ctx.is_null())
}

/// Tells what was held back, and frees what `open` made, unless a thread is left that may be using
/// it right now. Main thread.
pub(super) fn close(threads: Threads) {
    let rest = QUIET.lock().unwrap_or_else(PoisonError::into_inner).drain();
    for (level, line) in rest {
        write(level, &line);
    }
    let ctx = CTX.swap(ptr::null_mut(), Ordering::AcqRel);
    if !ctx.is_null() && threads == Threads::Gone {
        // SAFETY: `open` made it, the swap takes it once, and the other threads are gone.
        unsafe { api::free_detached(ctx) };
    }
}

/// Writes `text` to the host's log, unless it said the same just now.
pub(super) fn line(level: Level, text: &str) {
    if cfg!(test) {
        return; // A unit test has no server.
    }
    let text = clean(text);
    let lines = {
        let mut quiet = QUIET.lock().unwrap_or_else(PoisonError::into_inner);
        quiet.pass(level, text, api::monotonic_us())
    };
    for (level, line) in lines {
        write(level, &line);
    }
}

fn write(level: Level, text: &str) {
    let level = match level {
        Level::Debug => c"debug",
        Level::Verbose => c"verbose",
        Level::Notice => c"notice",
        Level::Warning => c"warning",
    };
    // SAFETY: the context is null or `open`'s, which lives until `close`, when we are alone.
    unsafe { api::log_line(CTX.load(Ordering::Acquire), level, text) };
}

/// Control characters as `?`.
fn clean(text: &str) -> Cow<'_, str> {
    if text.contains(|c: char| c.is_control()) {
        Cow::Owned(text.replace(|c: char| c.is_control(), "?"))
    } else {
        Cow::Borrowed(text)
    }
}

/// Who was said when, and what was held back since.
#[derive(Debug)]
struct Quiet {
    said: Vec<Said>,
    /// The second in which `lines` are counted.
    second: u64,
    lines: [u32; LEVELS],
    /// Lines that were held back in that second because there were too many others.
    dropped: u64,
}

#[derive(Debug)]
struct Said {
    level: Level,
    text: String,
    at: u64,
    repeats: u64,
}

/// A line to be written.
type Line = (Level, String);

impl Said {
    fn summary(&self) -> Line {
        (self.level, format!("{} ({} more times)", self.text, self.repeats))
    }
}

impl Quiet {
    const fn new() -> Self {
        Self { said: Vec::new(), second: 0, lines: [0; LEVELS], dropped: 0 }
    }

    /// The lines to be written now that somebody wants to say `text`.
    fn pass(&mut self, level: Level, text: Cow<'_, str>, now: u64) -> Vec<Line> {
        let mut lines = self.news(now);
        if let Some(said) = self.said.iter_mut().find(|said| said.text == text) {
            said.repeats += 1;
            return lines;
        }
        let passed = &mut self.lines[level as usize];
        if *passed >= LINES_MAX {
            self.dropped += 1;
            return lines;
        }
        *passed += 1;
        if self.said.len() == TEXTS_MAX {
            let oldest = self.said.remove(0);
            if oldest.repeats > 0 {
                lines.push(oldest.summary());
            }
        }
        let text = text.into_owned();
        self.said.push(Said { level, text: text.clone(), at: now, repeats: 0 });
        lines.push((level, text));
        lines
    }

    /// What there is to tell of the seconds that are over.
    fn news(&mut self, now: u64) -> Vec<Line> {
        let mut lines = Vec::new();
        if now / APART_US != self.second {
            lines.extend(self.dropped_line());
            (self.second, self.lines, self.dropped) = (now / APART_US, [0; LEVELS], 0);
        }
        self.said.retain_mut(|said| {
            if now.saturating_sub(said.at) < APART_US {
                return true;
            }
            if said.repeats == 0 {
                return false;
            }
            // It goes on: the summary counts as the next line of this text.
            lines.push(said.summary());
            (said.at, said.repeats) = (now, 0);
            true
        });
        lines
    }

    /// All that was held back.
    fn drain(&mut self) -> Vec<Line> {
        let mut lines: Vec<_> =
            self.said.iter().filter(|said| said.repeats > 0).map(Said::summary).collect();
        lines.extend(self.dropped_line());
        *self = Self::new();
        lines
    }

    fn dropped_line(&self) -> Option<Line> {
        let text = format!("{} other lines were not logged in one second", self.dropped);
        (self.dropped > 0).then_some((Level::Warning, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(quiet: &mut Quiet, text: &str, now: u64) -> Vec<String> {
        texts(quiet.pass(Level::Notice, Cow::Borrowed(text), now))
    }

    fn texts(lines: Vec<Line>) -> Vec<String> {
        lines.into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn a_repeated_line_is_counted_and_told() {
        let mut quiet = Quiet::new();
        assert_eq!(say(&mut quiet, "down", 0), ["down"]);
        assert!(say(&mut quiet, "down", 1).is_empty());
        assert!(say(&mut quiet, "down", APART_US - 1).is_empty());
        assert_eq!(say(&mut quiet, "up", APART_US), ["down (2 more times)", "up"]);
        assert_eq!(say(&mut quiet, "up", 2 * APART_US), ["up"]);
        assert_eq!(quiet.drain(), []);
    }

    #[test]
    fn what_was_held_back_is_told_at_the_end_with_its_own_level() {
        let mut quiet = Quiet::new();
        say(&mut quiet, "down", 0);
        say(&mut quiet, "down", 1);
        assert_eq!(quiet.drain(), [(Level::Notice, "down (1 more times)".to_owned())]);
    }

    #[test]
    fn many_different_lines_are_bounded_too() {
        let mut quiet = Quiet::new();
        let mut written = 0;
        for n in 0..500 {
            written += say(&mut quiet, &format!("client {n} left"), 10).len();
            assert!(quiet.said.len() <= TEXTS_MAX);
        }
        assert_eq!(written, LINES_MAX as usize);
        let warning = quiet.pass(Level::Warning, Cow::Borrowed("shard 0 is down"), 10);
        assert_eq!(texts(warning), ["shard 0 is down"]);
        let next = say(&mut quiet, "later", APART_US + 10);
        assert_eq!(next, ["450 other lines were not logged in one second", "later"]);
    }

    #[test]
    fn nobody_forges_a_line() {
        assert_eq!(clean("a\r\nb\x1b"), "a??b?");
        assert_eq!(clean("100% of %s"), "100% of %s");
    }
}
