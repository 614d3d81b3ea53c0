//! From the host's port to the shards and back: the command filter, and the commands that it makes
//! of what it takes.
//!
//! ```text
//!   GET k --> filter: WEIR.PASS GET k --> the server's own checks --> pass: the host's ACL on GET k
//!                                                                       |
//!                         reply, on the main thread <--unblock-- worker: the guest's session
//! ```
//!
//! The filter stands in front of all checks, so those that the server makes are of our command. It
//! is one of two. The server lets everybody say `WEIR.PASS`, because of its flag `no-auth` (source:
//! redis `acl.c`, `ACLSelectorCheckCmd`), so users need no right but those to the commands that
//! they say themselves. It would let those say it, too, who have not logged in, and a module can't
//! tell them from those who have logged in as the default user. So for the default user the filter
//! makes `WEIR.DO`, of which the server itself demands a login.

use std::ffi::{c_int, c_void};

use redis_module::raw::{
    RedisModuleCommandFilterCtx, RedisModuleCtx, RedisModuleEvent, RedisModuleString,
};

use super::api::{self, Args, BlockCallbacks, Ctx, OK, Passing, Permission, ServerString};
use super::commands::{self, BUG, CANT_BLOCK, NOT_RUNNING};
use super::ear::Ear;
use super::guard::guard;
use super::guests::{Guest, Guests, is_default};
use super::log;
use super::roads::{self, Bracket, Road};
use super::state::{self, Running};
use crate::engine::Question;
use crate::resp::write;
use crate::settings::Settings;
use crate::text;
use crate::worker::Promise;

static BLOCKED: BlockCallbacks =
    BlockCallbacks { reply: Some(reply), timeout: None, free: Some(free), disconnect: None };

/// What a client is told whose session was closed by somebody else.
const CLOSED: &str = "IOERR the connection to the database was closed, so this command's outcome is \
                      unknown: it may or may not have been executed";
const NO_CONNECTION: &str = "ERR this is for connections: a module uses the functions of weir.h";
const CANT_WAIT: &str = "ERR this has to wait for an answer, so it can't be used inside the host's \
                         own MULTI, a script or another module's call";

/// What the default user's commands become, and what users need to be allowed for those that the
/// host doesn't know.
const WORK: &str = "weir.do";

/// What the filter makes commands of.
pub(super) struct Names {
    pass: ServerString,
    work: ServerString,
}

impl Names {
    pub(super) fn new() -> Self {
        Self { pass: ServerString::new("weir.pass"), work: ServerString::new(WORK) }
    }
}

// ------------------------------------------------------------------------------ the filter

/// The server's call for each command.
pub(super) unsafe extern "C" fn filter(passing: *mut RedisModuleCommandFilterCtx) {
    // SAFETY: the server's own pointer, good for the time of the call.
    let passing = unsafe { Passing::new(passing) };
    let body = || {
        state::with(|state| {
            if let Some(running) = &mut state.running {
                see(passing, running, &state.config.applied);
            }
        });
    };
    guard("the command filter", body, || ());
}

fn see(passing: Passing<'_>, running: &mut Running, settings: &Settings) {
    let Some(name) = passing.arg(0) else { return };
    let sub = passing.arg(1);
    let road = roads::road(name, sub);
    let client = passing.client();
    let Running { guests, names, ear, fleet, .. } = running;
    let known = guests.get_mut(client);
    let (is_guest, in_multi) = (known.is_some(), known.is_some_and(|guest| guest.in_multi));
    let stays = match road {
        Road::Shards => !in_multi && guests.keeps(name),
        Road::Unblock | Road::Refused(_) => false,
        // In a transaction all is part of it.
        Road::Host | Road::Login | Road::Listen => !in_multi || roads::is_ours(name),
        Road::Reset => true,
    };
    match road {
        Road::Reset => guests.reset(client, settings),
        Road::Login => guests.user_may_change(client),
        Road::Listen if stays && (is_guest || user_of(client).is_some()) => {
            Ear::listen(ear, passing, fleet, settings);
        }
        _ => {}
    }
    if stays {
        return;
    }
    match guests.get_mut(client).map(|guest| guest.is_default) {
        Some(Some(true)) => passing.pass_to(&names.work),
        Some(Some(false)) => passing.pass_to(&names.pass),
        known => see_stranger(passing, client, known.is_some(), running),
    }
}

fn user_of(client: u64) -> Option<ServerString> {
    // SAFETY: the log's context is good until the module is unloaded.
    log::context().and_then(|ctx| unsafe { api::user_of(ctx, client) })
}

/// A command of a client whose user isn't known.
fn see_stranger(passing: Passing<'_>, client: u64, is_guest: bool, running: &mut Running) {
    let Some(user) = user_of(client) else {
        // A script's, another module's, or that of the primary of a host that is a replica.
        return;
    };
    // Whoever was in the host's MULTI when the module was loaded stays there.
    if !is_guest && api::connection(client).is_none_or(|connection| connection.in_multi) {
        return;
    }
    let default = is_default(&user);
    if let Some(guest) = running.guests.get_mut(client) {
        guest.is_default = Some(default);
    }
    passing.pass_to(if default { &running.names.work } else { &running.names.pass });
}

/// The server's call when a client has come or gone.
pub(super) unsafe extern "C" fn client_changed(
    _: *mut RedisModuleCtx,
    _: RedisModuleEvent,
    what: u64,
    data: *mut c_void,
) {
    if what != redis_module::raw::REDISMODULE_SUBEVENT_CLIENT_CHANGE_DISCONNECTED {
        return;
    }
    // SAFETY: the server's own pointer.
    let client = unsafe { api::changed_client(data) };
    let body = || state::with(|state| state.running.as_mut().map(|it| it.guests.leave(client)));
    guard("a disconnect", body, || None);
}

/// The server's call when a module was loaded or unloaded.
pub(super) unsafe extern "C" fn modules_changed(
    ctx: *mut RedisModuleCtx,
    _: RedisModuleEvent,
    _: u64,
    _: *mut c_void,
) {
    // SAFETY: the server's own pointer, good for the time of the call.
    let ctx = unsafe { Ctx::new(ctx) };
    guard("a change of modules", || learn_modules(ctx), || ());
}

/// Finds out which commands the host's other modules have.
pub(super) fn learn_modules(ctx: Ctx<'_>) {
    let kept = super::modules::commands(ctx);
    state::with(|state| {
        if let Some(running) = &mut state.running {
            running.guests.kept = kept;
        }
    });
}

// ------------------------------------------------------------------------------ the commands

/// `WEIR.DO command [arg ...]`
pub(super) unsafe extern "C" fn work(
    ctx: *mut RedisModuleCtx,
    argv: *mut *mut RedisModuleString,
    argc: c_int,
) -> c_int {
    // SAFETY: the server's own pointers, good for the time of the call.
    let (ctx, args) = unsafe { (Ctx::new(ctx), Args::new(argv, argc)) };
    guard("WEIR.DO", || pass(ctx, args, false), || ctx.reply_error(BUG))
}

/// `WEIR.PASS`, which the filter makes.
pub(super) unsafe extern "C" fn pass_on(
    ctx: *mut RedisModuleCtx,
    argv: *mut *mut RedisModuleString,
    argc: c_int,
) -> c_int {
    // SAFETY: the server's own pointers, good for the time of the call.
    let (ctx, args) = unsafe { (Ctx::new(ctx), Args::new(argv, argc)) };
    guard("WEIR.PASS", || pass(ctx, args, true), || ctx.reply_error(BUG))
}

/// `WEIR.WAIT` and `WEIR.WAITAOF`: the endpoint has them too.
pub(super) unsafe extern "C" fn wait(
    ctx: *mut RedisModuleCtx,
    argv: *mut *mut RedisModuleString,
    argc: c_int,
) -> c_int {
    // SAFETY: the server's own pointers, good for the time of the call.
    let (ctx, args) = unsafe { (Ctx::new(ctx), Args::new(argv, argc)) };
    let body = || {
        if !ctx.may_block() {
            return ctx.reply_error(CANT_WAIT);
        }
        with_guest(ctx, |guest| send(ctx, guest, args, None))
    };
    guard("WEIR.WAIT", body, || ctx.reply_error(BUG))
}

fn pass(ctx: Ctx<'_>, args: Args<'_>, named_only: bool) -> c_int {
    let command = args.behind(1);
    let Some(name) = command.get(0) else {
        return ctx.reply_wrong_arity();
    };
    if !ctx.may_block() {
        return ctx.reply_error(CANT_WAIT);
    }
    let Some(user) = ctx.user_of(ctx.client()) else {
        return ctx.reply_error(NO_CONNECTION);
    };
    if named_only && is_default(&user) {
        return ctx.reply_error(text::NO_AUTH);
    }
    let objection = object(ctx, &user, command);
    if objection.is_none()
        && roads::road(name, command.get(1)) == Road::Unblock
        && let Some(answered) = unblock(ctx, command)
    {
        return answered;
    }
    let objection = objection.or_else(|| {
        let why = roads::refusal(name, command.get(1))?;
        Some(format!("-{why}\r\n").into_bytes())
    });
    with_guest(ctx, |guest| {
        guest.is_default = Some(is_default(&user));
        match objection.map(|objection| in_place_of(name, objection)) {
            None => send(ctx, guest, command, None),
            Some(instead) if guest.in_multi => send(ctx, guest, command, Some(instead)),
            Some(instead) => ctx.reply(&instead.reply),
        }
    })
}

/// Runs `run` on the guest that this client is, or becomes.
fn with_guest(ctx: Ctx<'_>, run: impl FnOnce(&mut Guest) -> c_int) -> c_int {
    state::with(|state| {
        let Some(Running { guests, fleet, .. }) = &mut state.running else {
            return ctx.reply_error(NOT_RUNNING);
        };
        match guests.enter(ctx.client(), fleet, &state.config.applied) {
            Some(guest) => run(guest),
            None => ctx.reply_error(NO_CONNECTION),
        }
    })
}

/// What a client is told in place of a command's reply.
struct Instead {
    reply: Vec<u8>,
    /// What its transaction, if it is in one, is told.
    request: &'static str,
}

/// A command that the host objects to aborts its transaction, and EXEC ends it. Source: redis
/// `server.c`, `rejectCommand`.
fn in_place_of(name: &[u8], objection: Vec<u8>) -> Instead {
    if name.eq_ignore_ascii_case(b"exec") {
        let why = String::from_utf8_lossy(objection.strip_prefix(b"-").unwrap_or(&objection));
        let reply = format!("-{}\r\n", text::exec_aborted(why.trim_end())).into_bytes();
        return Instead { reply, request: "DISCARD" };
    }
    Instead { reply: objection, request: roads::ABORTS }
}

/// Why the host wouldn't run this command for this user, if it wouldn't.
fn object(ctx: Ctx<'_>, user: &ServerString, command: Args<'_>) -> Option<Vec<u8>> {
    let permission = ctx.permission(user, command);
    if permission == Permission::Granted {
        return None;
    }
    // A shard may have a command that the host has not. It is for those who may say WEIR.DO: not
    // WEIR.PASS, which everybody may.
    if permission == Permission::Unknown && ctx.may_say(user, &ServerString::new(WORK), command) {
        return None;
    }
    ctx.objection(command)
}

/// Says a command, or something in place of it, and blocks the client.
fn send(ctx: Ctx<'_>, guest: &mut Guest, command: Args<'_>, instead: Option<Instead>) -> c_int {
    let Some(client) = ctx.block(&BLOCKED, 0) else {
        return ctx.reply_error(CANT_BLOCK);
    };
    let mut request = Vec::new();
    match &instead {
        None => write::request_of(&mut request, command.iter()),
        Some(instead) => write::request(&mut request, &[instead.request]),
    }
    let bracket = command.get(0).map_or(Bracket::None, roads::bracket);
    let promise = Promise::new(move |reply| {
        let answer = Box::new(Answer { reply, bracket, instead });
        // SAFETY: a promise is kept once, so this is the one unblock; `reply` and `free` expect a
        // boxed answer.
        unsafe { client.unblock(Box::into_raw(answer).cast()) };
    });
    guest.say(request, ctx.speaks_resp3(), promise);
    OK
}

/// `CLIENT UNBLOCK` of a client that waits for the shards; none if it is somebody else.
fn unblock(ctx: Ctx<'_>, command: Args<'_>) -> Option<c_int> {
    let id = std::str::from_utf8(command.get(2)?).ok()?.parse().ok()?;
    let error = match command.get(3) {
        None => false,
        Some(reason) if reason.eq_ignore_ascii_case(b"timeout") => false,
        Some(reason) if reason.eq_ignore_ascii_case(b"error") => true,
        Some(_) => return Some(ctx.reply_error(text::UNBLOCK_REASON)),
    };
    let session = state::with(|state| {
        let guest = state.running.as_mut()?.guests.get_mut(id)?;
        guest.session().filter(|_| guest.waits)
    });
    match session {
        Some(client) => Some(commands::ask_all(ctx, &Question::Unblock { client, error })),
        // Not one of ours.
        None => ctx.run_as_it_is(command).map(|reply| ctx.reply(&reply)),
    }
}

// ------------------------------------------------------------------------------ the reply

/// What `reply` tells.
struct Answer {
    /// None if the session is gone.
    reply: Option<Vec<u8>>,
    bracket: Bracket,
    /// What the client is told instead.
    instead: Option<Instead>,
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
        // SAFETY: `send` put it there, and `free` comes later.
        let answer = unsafe { ctx.unblocked_with().cast::<Answer>().as_ref() };
        match answer {
            Some(Answer { reply: Some(reply), bracket, instead }) => {
                with_guests(|guests| {
                    if let Some(guest) = guests.get_mut(ctx.client()) {
                        guest.answered(*bracket, reply);
                    }
                });
                ctx.reply(instead.as_ref().map_or(reply, |instead| &instead.reply))
            }
            _ => end(ctx),
        }
    };
    guard("a reply", body, || OK)
}

/// The client's session is gone, and with it what WAIT would tell of: so is the client.
fn end(ctx: Ctx<'_>) -> c_int {
    let client = ctx.client();
    with_guests(|guests| guests.leave(client));
    ctx.close(client);
    ctx.reply_error(CLOSED)
}

fn with_guests(run: impl FnOnce(&mut Guests)) {
    state::with(|state| {
        if let Some(running) = &mut state.running {
            run(&mut running.guests);
        }
    });
}

/// The server's call when nobody needs the answer any more.
unsafe extern "C" fn free(_: *mut RedisModuleCtx, answer: *mut c_void) {
    if !answer.is_null() {
        // SAFETY: `send` made it, and this is the server's only call for it.
        guard("a free", || drop(unsafe { Box::from_raw(answer.cast::<Answer>()) }), || ());
    }
}
