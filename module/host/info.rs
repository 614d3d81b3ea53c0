//! `INFO weir`: sections `weir_endpoint`, `weir_stats` and `weir_shards`.
//!
//! The server asks for it on demand, and once more when it writes a crash report, on whatever
//! thread crashed and in whatever state. So this file reads atomics, tries a lock and never waits
//! for one, and builds its texts on the stack.

use std::ffi::{CStr, c_int};
use std::fmt::{self, Write};

use redis_module::raw;

use super::api::InfoCtx;
use super::guard::guard;
use super::state::{self, Running, State};
use crate::stats::{SHARD_ROWS, ShardState, WORKER_ROWS};

/// The server's callback.
pub(super) unsafe extern "C" fn info(ctx: *mut raw::RedisModuleInfoCtx, _for_crash_report: c_int) {
    // SAFETY: the server's own pointer, good for the time of the call.
    let ctx = unsafe { InfoCtx::new(ctx) };
    let body = || {
        state::try_with(|state| {
            if let Some(running) = &state.running {
                endpoint(ctx, state, running);
                stats(ctx, running);
                shards(ctx, running);
            }
        });
    };
    guard("INFO", body, || ());
}

fn endpoint(ctx: InfoCtx, state: &State, running: &Running) {
    if ctx.section(c"endpoint") {
        ctx.text(c"version", Line::of(env!("CARGO_PKG_VERSION")).as_c_str());
        ctx.text(c"listening", Line::of(&running.listening).as_c_str());
        ctx.text(c"upstream", Line::of(&state.config.applied.upstream).as_c_str());
        ctx.number(c"threads", u64::from(running.workers));
        ctx.number(c"shards", running.stats.shards() as u64);
        let maxclients = state.config.applied.maxclients.min(running.clients_room);
        ctx.number(c"maxclients", u64::from(maxclients));
    }
}

fn stats(ctx: InfoCtx, running: &Running) {
    if ctx.section(c"stats") {
        for row in WORKER_ROWS {
            ctx.number(Line::of(row.name).as_c_str(), running.stats.total(row));
        }
    }
}

fn shards(ctx: InfoCtx, running: &Running) {
    if ctx.section(c"shards") {
        for shard in 0..running.stats.shards() {
            ctx.row(Line::of(format_args!("shard{shard}")).as_c_str(), |ctx| {
                shard_fields(ctx, running, shard);
            });
        }
    }
}

fn shard_fields(ctx: InfoCtx, running: &Running, shard: usize) {
    for row in SHARD_ROWS {
        let number = running.stats.shard_total(shard, row);
        let name = Line::of(row.name);
        if row.name == "state" {
            ctx.text(name.as_c_str(), Line::of(ShardState::of(number).word()).as_c_str());
        } else {
            ctx.number(name.as_c_str(), number);
        }
    }
}

/// A C string on the stack; what doesn't fit is cut off.
struct Line {
    bytes: [u8; Self::SIZE],
    len: usize,
}

impl Line {
    const SIZE: usize = 512;

    fn of(text: impl fmt::Display) -> Self {
        let mut line = Self { bytes: [0; Self::SIZE], len: 0 };
        // It can't fail: a line takes what fits.
        let _ = write!(line, "{text}");
        line
    }

    fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // One byte stays 0: the end.
        let fits = text.len().min(Self::SIZE - 1 - self.len);
        self.bytes[self.len..self.len + fits].copy_from_slice(&text.as_bytes()[..fits]);
        self.len += fits;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_takes_what_fits() {
        assert_eq!(Line::of(format_args!("shard{}", 7)).as_c_str(), c"shard7");
        assert_eq!(Line::of("x".repeat(2 * Line::SIZE)).as_c_str().count_bytes(), Line::SIZE - 1);
        assert_eq!(Line::of("").as_c_str(), c"");
    }
}
