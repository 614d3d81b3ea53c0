//! The host's own commands: `WEIR.SHARDS`, `WEIR.CLIENTS` and `WEIR.RELOAD`; those that pass on
//! what a client says are in `pass.rs`.
//!
//! What the first two tell is known to the workers only, so the client is blocked while all workers
//! are asked (`asks.rs`). Nothing is done on the server's main thread but writing the finished
//! reply.
//!
//! `WEIR.RELOAD` is there because a module's `CONFIG SET` to the value that is there already never
//! reaches the module, and files are renewed under the names that they had.

use std::ffi::{c_int, c_void};
use std::ptr;

use redis_module::raw::{RedisModuleBlockedClient, RedisModuleCtx, RedisModuleString};

use super::api::{
    Arg, ArgKind, BlockCallbacks, BlockedClient, CommandRow, Ctx, OK, Often, Refused,
};
use super::asks::Asks;
use super::exports::Call;
use super::guard::guard;
use super::{config, pass, state};
use crate::engine::{Answer, Asker, ClientFilter, Mail, Question, ReplicaView, ShardView};
use crate::ids::WorkerId;

/// Workers that don't answer within so many milliseconds are in trouble. An idle one answers in
/// microseconds, a busy one after its turn.
const ANSWER_MS_MAX: u32 = 2_000;

pub(super) const BUG: &str = "ERR a bug of the module weir: see the log";
pub(super) const NOT_RUNNING: &str = "ERR the endpoint is not running";
/// Source: valkey 9.1 `module.c`, `moduleBlockClient`.
pub(super) const CANT_BLOCK: &str = "ERR the server can't make this client wait: newer versions of \
                                     Valkey can't if it listens to channels; use another \
                                     connection, or the endpoint's port";

const COMMAND: Arg = Arg::once(c"command", ArgKind::Text);
const ARGS: Arg = Arg { name: c"arg", kind: ArgKind::Text, often: Often::Any };
const TIMEOUT: Arg = Arg::once(c"timeout", ArgKind::Number);
const REPLICAS: Arg = Arg::once(
    c"replicas",
    ArgKind::OneOf(&[
        Arg::once(c"numreplicas", ArgKind::Number),
        Arg::once(c"all", ArgKind::Token(c"ALL")),
        Arg::once(c"majority", ArgKind::Token(c"MAJORITY")),
    ]),
);

static COMMANDS: [CommandRow; 7] = [
    CommandRow {
        name: c"weir.wait",
        run: Some(pass::wait),
        flags: c"allow-stale deny-script blocking",
        acl_categories: c"slow blocking connection",
        summary: c"WAIT, of the database, that also takes ALL or MAJORITY: then it fails if there are fewer.",
        complexity: c"O(S) with S the number of shards that the client wrote to.",
        arity: 3,
        args: &[REPLICAS, TIMEOUT],
    },
    CommandRow {
        name: c"weir.waitaof",
        run: Some(pass::wait),
        flags: c"allow-stale deny-script blocking",
        acl_categories: c"slow blocking connection",
        summary: c"WAITAOF, of the database, that also takes ALL or MAJORITY of the replicas.",
        complexity: c"O(S) with S the number of shards that the client wrote to.",
        arity: 4,
        args: &[Arg::once(c"numlocal", ArgKind::Number), REPLICAS, TIMEOUT],
    },
    CommandRow {
        name: c"weir.do",
        run: Some(pass::work),
        flags: c"allow-stale deny-script blocking",
        acl_categories: c"slow",
        summary: c"Runs a command on the shards, as a client of the endpoint would.",
        complexity: c"That of the command.",
        arity: -2,
        args: &[COMMAND, ARGS],
    },
    CommandRow {
        name: c"weir.pass",
        run: Some(pass::pass_on),
        flags: c"allow-stale deny-script blocking no-auth",
        acl_categories: c"slow",
        summary: c"What weir.intercept makes of a client's command; not to be said by hand.",
        complexity: c"That of the command.",
        arity: -2,
        args: &[COMMAND, ARGS],
    },
    CommandRow {
        name: c"weir.shards",
        run: Some(shards),
        flags: c"allow-loading allow-stale deny-script",
        acl_categories: c"slow dangerous",
        summary: c"Shows each shard: slots, primary, state, replicas, and who waits for it.",
        complexity: c"O(W*S) with W the number of workers and S the number of shards.",
        arity: 1,
        args: &[],
    },
    CommandRow {
        name: c"weir.clients",
        run: Some(clients),
        flags: c"admin allow-loading allow-stale deny-script",
        acl_categories: c"admin slow dangerous",
        summary: c"Lists the clients of the endpoint, one line each, as CLIENT LIST does.",
        complexity: c"O(N) with N the number of clients.",
        arity: 1,
        args: &[],
    },
    CommandRow {
        name: c"weir.reload",
        run: Some(reload),
        flags: c"admin allow-loading allow-stale deny-script",
        acl_categories: c"admin slow dangerous",
        summary: c"Reads the files of the weir.tls-* settings anew; new connections use them.",
        complexity: c"O(1)",
        arity: 1,
        args: &[],
    },
];

static BLOCKED: BlockCallbacks = BlockCallbacks {
    reply: Some(reply),
    timeout: Some(timed_out),
    free: Some(free),
    disconnect: Some(disconnected),
};

/// Who asks all workers something.
pub(super) enum Asking {
    /// A client that is blocked meanwhile.
    Client(BlockedClient),
    /// Another module.
    Module(Call),
}

impl Asking {
    fn is(&self, client: BlockedClient) -> bool {
        matches!(self, Self::Client(blocked) if *blocked == client)
    }

    pub(super) fn is_module(&self) -> bool {
        matches!(self, Self::Module(_))
    }
}

/// Makes the commands.
///
/// # Errors
/// What the server refused.
pub(super) fn register(ctx: Ctx<'_>) -> Result<(), Refused> {
    COMMANDS.iter().try_for_each(|row| ctx.create_command(row))
}

unsafe extern "C" fn shards(
    ctx: *mut RedisModuleCtx,
    _: *mut *mut RedisModuleString,
    argc: c_int,
) -> c_int {
    // SAFETY: the server's own pointer, good for the time of the call.
    ask(unsafe { Ctx::new(ctx) }, "WEIR.SHARDS", argc, Question::Shards)
}

unsafe extern "C" fn clients(
    ctx: *mut RedisModuleCtx,
    _: *mut *mut RedisModuleString,
    argc: c_int,
) -> c_int {
    let all = Question::Clients(ClientFilter::default());
    // SAFETY: the server's own pointer, good for the time of the call.
    ask(unsafe { Ctx::new(ctx) }, "WEIR.CLIENTS", argc, all)
}

unsafe extern "C" fn reload(
    ctx: *mut RedisModuleCtx,
    _: *mut *mut RedisModuleString,
    argc: c_int,
) -> c_int {
    // SAFETY: the server's own pointer, good for the time of the call.
    let ctx = unsafe { Ctx::new(ctx) };
    let body = || {
        if argc != 1 {
            return ctx.reply_wrong_arity();
        }
        match config::reload() {
            Ok(()) => ctx.reply_ok(),
            Err(why) => ctx.reply_error(&format!("ERR {why}")),
        }
    };
    guard("WEIR.RELOAD", body, || ctx.reply_error(BUG))
}

fn ask(ctx: Ctx<'_>, command: &str, argc: c_int, question: Question) -> c_int {
    let body = || {
        if argc != 1 {
            return ctx.reply_wrong_arity();
        }
        if !ctx.may_block() {
            return ctx.reply_error(&format!(
                "ERR {command} has to wait for an answer, so it can't be used inside MULTI, a \
                 script or another module's call"
            ));
        }
        ask_all(ctx, &question)
    };
    guard(command, body, || ctx.reply_error(BUG))
}

/// Blocks the client, which may be blocked, and asks all workers.
pub(super) fn ask_all(ctx: Ctx<'_>, question: &Question) -> c_int {
    state::with(|state| {
        let Some(running) = &state.running else {
            return ctx.reply_error(NOT_RUNNING);
        };
        let Some(client) = ctx.block(&BLOCKED, ANSWER_MS_MAX) else {
            return ctx.reply_error(CANT_BLOCK);
        };
        let ticket = running.asks.open(Asking::Client(client), usize::from(running.workers));
        for worker in (0..running.workers).map(WorkerId) {
            let question = question.clone();
            running.fleet.send(worker, Mail::Ask { from: Asker::Host, ticket, question });
        }
        OK
    })
}

/// Takes a worker's answer. On the worker's thread.
pub(super) fn answered(asks: &Asks<Asking>, ticket: u64, worker: WorkerId, answer: Answer) {
    match asks.answer(ticket, worker, answer) {
        Some((Asking::Client(client), answer)) => {
            let answer = Box::into_raw(Box::new(answer)).cast::<c_void>();
            // SAFETY: the ticket was ours to take, so this is the one unblock; `reply` and `free`
            // expect a boxed answer.
            unsafe { client.unblock(answer) };
        }
        Some((Asking::Module(call), Answer::Shards(shards))) => call.tell(shards),
        // A module that has asked something else would be told by the call's end.
        Some((Asking::Module(_), _)) | None => {}
    }
}

/// The server's call to answer a client that was unblocked.
unsafe extern "C" fn reply(
    ctx: *mut RedisModuleCtx,
    _: *mut *mut RedisModuleString,
    _: c_int,
) -> c_int {
    // SAFETY: the server's own pointer, good for the time of the call.
    let ctx = unsafe { Ctx::new(ctx) };
    let body = || {
        // SAFETY: `answered` put it there, and `free` comes later.
        match unsafe { ctx.unblocked_with().cast::<Answer>().as_ref() } {
            Some(Answer::Shards(shards)) => reply_shards(ctx, shards),
            Some(Answer::Clients(clients)) => reply_clients(ctx, clients),
            Some(Answer::Count(count)) => ctx.reply_number(*count),
            // The host asks nothing about channels.
            Some(Answer::PubSub(_)) | None => ctx.reply_error("ERR the endpoint is being stopped"),
        }
    };
    guard("a reply", body, || OK)
}

/// The server's call when the workers took too long.
unsafe extern "C" fn timed_out(
    ctx: *mut RedisModuleCtx,
    _: *mut *mut RedisModuleString,
    _: c_int,
) -> c_int {
    // SAFETY: the server's own pointer, good for the time of the call.
    let ctx = unsafe { Ctx::new(ctx) };
    let body = || {
        forget(ctx.blocked_client());
        ctx.reply_error(&format!(
            "ERR a worker of the endpoint did not answer within {ANSWER_MS_MAX} milliseconds"
        ))
    };
    guard("a time-out", body, || OK)
}

/// The server's call when the client has gone.
unsafe extern "C" fn disconnected(_: *mut RedisModuleCtx, client: *mut RedisModuleBlockedClient) {
    // SAFETY: the server's own handle.
    guard("a disconnect", || forget(unsafe { BlockedClient::new(client) }), || ());
}

fn forget(client: BlockedClient) {
    let ours = state::with(|state| {
        let running = state.running.as_ref()?;
        running.asks.forget(|asking| asking.is(client)).pop()
    });
    if ours.is_some() {
        // SAFETY: the ticket was ours to take, so this is the one unblock.
        unsafe { client.unblock(ptr::null_mut()) };
    }
}

/// The server's call when nobody needs the answer any more.
unsafe extern "C" fn free(_: *mut RedisModuleCtx, answer: *mut c_void) {
    if answer.is_null() {
        return;
    }
    // SAFETY: `answered` made it, and this is the server's only call for it.
    guard("a free", || drop(unsafe { Box::from_raw(answer.cast::<Answer>()) }), || ());
}

fn reply_clients(ctx: Ctx<'_>, clients: &[(u64, String)]) -> c_int {
    let mut lines = String::new();
    for (_, line) in clients {
        lines.push_str(line.trim_end());
        lines.push('\n');
    }
    ctx.reply_text(&lines)
}

fn reply_shards(ctx: Ctx<'_>, shards: &[ShardView]) -> c_int {
    ctx.reply_array(shards.len());
    for shard in shards {
        ctx.reply_map(9);
        number(ctx, "shard", u64::from(shard.shard));
        text(ctx, "slots", &shard.slots);
        text(ctx, "primary", &shard.primary);
        text(ctx, "state", &shard.state);
        number(ctx, "generation", shard.generation);
        ctx.reply_text("replicas");
        reply_replicas(ctx, &shard.replicas);
        number(ctx, "waiters", shard.waiters);
        number(ctx, "rounds", shard.rounds);
        number(ctx, "pipelines", shard.pipelines);
    }
    OK
}

fn reply_replicas(ctx: Ctx<'_>, replicas: &[ReplicaView]) {
    ctx.reply_array(replicas.len());
    for replica in replicas {
        ctx.reply_map(4);
        text(ctx, "address", &replica.address);
        text(ctx, "state", &replica.state);
        number(ctx, "offset", replica.offset);
        number(ctx, "lag", replica.lag);
    }
}

fn number(ctx: Ctx<'_>, name: &str, number: u64) {
    ctx.reply_text(name);
    ctx.reply_number(number);
}

fn text(ctx: Ctx<'_>, name: &str, text: &str) {
    ctx.reply_text(name);
    ctx.reply_text(text);
}
