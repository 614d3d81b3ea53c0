//! The server's functions, each behind a safe one.
//!
//! The crate redis-module finds the server's functions at load and keeps them in statics; this room
//! is the only one that reads them. [`missing`] says at load whether one that we can't do without
//! is not there, so that the rest may rely on all of them.
//!
//! Beside it: `clients.rs`, what is about the host's clients; `replies.rs`, a shard's reply said
//! again.
//!
//! Types: a [`Ctx`] is the context of one callback, good until the callback returns. A
//! [`BlockedClient`] is a client of the host that waits for us; exactly one `unblock` ends it.

use std::ffi::{CStr, CString, c_char, c_int, c_longlong, c_void};
use std::marker::PhantomData;
use std::ptr;

use redis_module::raw;

use super::shim;

pub(super) const OK: c_int = raw::REDISMODULE_OK as c_int;
pub(super) const ERR: c_int = raw::REDISMODULE_ERR as c_int;

/// The server's function of this name, for use in an `unsafe` block. To read its static is sound:
/// it is written once, at load, before any other thread of ours exists.
macro_rules! server {
    ($name:ident) => {
        redis_module::raw::$name.expect("checked at load by `missing`")
    };
}

/// Makes [`missing`] of the names of all functions that are used below.
macro_rules! required {
    ($($name:ident),* $(,)?) => {
        /// The name of a function that this server lacks and Weir needs, if there is one. Every
        /// server from Redis 7.2 and Valkey 7.2 on has them all.
        pub(super) fn missing() -> Option<&'static str> {
            // SAFETY: the statics are written before this is called, and never again.
            let missing = unsafe { [$(match raw::$name {
                Some(_) => None,
                None => Some(stringify!($name)),
            }),*] };
            missing.into_iter().flatten().next()
        }
    };
}

required! {
    RedisModule_ACLCheckCommandPermissions,
    RedisModule_BlockClient,
    RedisModule_Call,
    RedisModule_CallReplyProto,
    RedisModule_CommandFilterArgGet,
    RedisModule_CommandFilterArgInsert,
    RedisModule_CommandFilterGetClientId,
    RedisModule_CreateCommand,
    RedisModule_CreateString,
    RedisModule_DeauthenticateAndCloseClient,
    RedisModule_EventLoopAdd,
    RedisModule_EventLoopDel,
    RedisModule_ExportSharedAPI,
    RedisModule_FreeCallReply,
    RedisModule_FreeModuleUser,
    RedisModule_FreeServerInfo,
    RedisModule_FreeString,
    RedisModule_FreeThreadSafeContext,
    RedisModule_GetBlockedClientHandle,
    RedisModule_GetBlockedClientPrivateData,
    RedisModule_GetClientId,
    RedisModule_GetClientInfoById,
    RedisModule_GetClientUserNameById,
    RedisModule_GetCommand,
    RedisModule_GetContextFlags,
    RedisModule_GetDetachedThreadSafeContext,
    RedisModule_GetModuleUserFromUserName,
    RedisModule_GetServerInfo,
    RedisModule_InfoAddFieldCString,
    RedisModule_InfoAddFieldULongLong,
    RedisModule_InfoAddSection,
    RedisModule_InfoBeginDictField,
    RedisModule_InfoEndDictField,
    RedisModule_LoadConfigs,
    RedisModule_Log,
    RedisModule_MonotonicMicroseconds,
    RedisModule_PublishMessage,
    RedisModule_PublishMessageShard,
    RedisModule_RegisterCommandFilter,
    RedisModule_RegisterInfoFunc,
    RedisModule_RegisterNumericConfig,
    RedisModule_RegisterStringConfig,
    RedisModule_ReplyWithArray,
    RedisModule_ReplyWithAttribute,
    RedisModule_ReplyWithBigNumber,
    RedisModule_ReplyWithBool,
    RedisModule_ReplyWithDouble,
    RedisModule_ReplyWithError,
    RedisModule_ReplyWithLongLong,
    RedisModule_ReplyWithMap,
    RedisModule_ReplyWithNull,
    RedisModule_ReplyWithNullArray,
    RedisModule_ReplyWithSet,
    RedisModule_ReplyWithSimpleString,
    RedisModule_ReplyWithStringBuffer,
    RedisModule_ReplyWithVerbatimStringType,
    RedisModule_RetainString,
    RedisModule_ServerInfoGetFieldUnsigned,
    RedisModule_SetCommandACLCategories,
    RedisModule_SetCommandInfo,
    RedisModule_SetDisconnectCallback,
    RedisModule_StringPtrLen,
    RedisModule_SubscribeToServerEvent,
    RedisModule_UnblockClient,
    RedisModule_WrongArity,
}

mod clients;
mod docs;
mod event_loop;
mod replies;

pub(super) use clients::{
    Args, Connection, Passing, Permission, changed_client, connection, user_of,
};
pub(super) use docs::{Arg, ArgKind, CommandRow, Often};
pub(super) use event_loop::{LoopBell, publish};

/// `text` as a C string. A NUL, which no text of ours has, would end it early.
pub(super) fn c_string(text: &str) -> CString {
    let end = text.find('\0').unwrap_or(text.len());
    CString::new(&text[..end]).unwrap_or_default()
}

/// The server's context of one callback.
#[derive(Clone, Copy)]
pub(super) struct Ctx<'callback> {
    raw: *mut raw::RedisModuleCtx,
    callback: PhantomData<&'callback ()>,
}

/// A command that the server refuses, with what it refused.
#[derive(Debug)]
pub(super) struct Refused(pub(super) String);

impl Ctx<'_> {
    /// # Safety
    /// `raw` is the context that the server passed to the callback that is running.
    pub(super) unsafe fn new(raw: *mut raw::RedisModuleCtx) -> Self {
        Self { raw, callback: PhantomData }
    }

    /// Whether the client of this command may be made to wait. Inside MULTI, a script, or another
    /// module's call it may not, and some servers abort when it is tried.
    pub(super) fn may_block(self) -> bool {
        // SAFETY: the context is the running callback's.
        let flags = unsafe { server!(RedisModule_GetContextFlags)(self.raw) } as u32;
        let forbids = raw::REDISMODULE_CTX_FLAGS_DENY_BLOCKING
            | raw::REDISMODULE_CTX_FLAGS_MULTI
            | raw::REDISMODULE_CTX_FLAGS_LUA;
        flags & forbids == 0
    }

    /// Blocks the client. `None` if the server won't.
    pub(super) fn block(self, calls: &BlockCallbacks, timeout_ms: u32) -> Option<BlockedClient> {
        // SAFETY: the context is the running callback's, and the callbacks match their types.
        let client = unsafe {
            server!(RedisModule_BlockClient)(
                self.raw,
                calls.reply,
                calls.timeout,
                calls.free,
                c_longlong::from(timeout_ms),
            )
        };
        if client.is_null() {
            return None;
        }
        // SAFETY: the handle is fresh.
        unsafe { server!(RedisModule_SetDisconnectCallback)(client, calls.disconnect) };
        Some(BlockedClient(client))
    }

    /// The client that a reply or time-out callback is called for.
    pub(super) fn blocked_client(self) -> BlockedClient {
        // SAFETY: the context is the running callback's.
        BlockedClient(unsafe { server!(RedisModule_GetBlockedClientHandle)(self.raw) })
    }

    /// What [`BlockedClient::unblock`] was given, in a reply callback.
    pub(super) fn unblocked_with(self) -> *mut c_void {
        // SAFETY: the context is the running callback's.
        unsafe { server!(RedisModule_GetBlockedClientPrivateData)(self.raw) }
    }

    pub(super) fn reply_error(self, text: &str) -> c_int {
        let text = c_string(text);
        // SAFETY: the context is the running callback's; the server copies the text.
        unsafe { server!(RedisModule_ReplyWithError)(self.raw, text.as_ptr()) }
    }

    pub(super) fn reply_wrong_arity(self) -> c_int {
        // SAFETY: the context is the running callback's.
        unsafe { server!(RedisModule_WrongArity)(self.raw) }
    }

    pub(super) fn reply_ok(self) -> c_int {
        // SAFETY: the context is the running callback's; the server copies the text.
        unsafe { server!(RedisModule_ReplyWithSimpleString)(self.raw, c"OK".as_ptr()) }
    }

    pub(super) fn reply_number(self, number: u64) -> c_int {
        let number = c_longlong::try_from(number).unwrap_or(c_longlong::MAX);
        // SAFETY: the context is the running callback's.
        unsafe { server!(RedisModule_ReplyWithLongLong)(self.raw, number) }
    }

    pub(super) fn reply_text(self, text: &str) -> c_int {
        // SAFETY: the context is the running callback's; the server copies the text.
        unsafe {
            server!(RedisModule_ReplyWithStringBuffer)(self.raw, text.as_ptr().cast(), text.len())
        }
    }

    /// As many replies must follow.
    pub(super) fn reply_array(self, len: usize) -> c_int {
        // SAFETY: the context is the running callback's.
        unsafe { server!(RedisModule_ReplyWithArray)(self.raw, len as _) }
    }

    /// As many pairs of replies must follow. To a RESP2 client it is an array of them all.
    pub(super) fn reply_map(self, len: usize) -> c_int {
        // SAFETY: the context is the running callback's.
        unsafe { server!(RedisModule_ReplyWithMap)(self.raw, len as _) }
    }

    /// The reply of `COMMAND` in RESP2, if the server has that command.
    pub(super) fn command_table(self) -> Option<Vec<u8>> {
        self.run(&["COMMAND"]).filter(|reply| reply.starts_with(b"*"))
    }

    /// The host's `maxclients`. Read from INFO: CONFIG may be renamed away.
    pub(super) fn host_maxclients(self) -> Option<u64> {
        // SAFETY: main thread, the context is the running callback's; the data is freed once.
        unsafe {
            let info = server!(RedisModule_GetServerInfo)(self.raw, c"clients".as_ptr());
            let mut failed: c_int = ERR;
            let number = server!(RedisModule_ServerInfoGetFieldUnsigned)(
                info,
                c"maxclients".as_ptr(),
                &raw mut failed,
            );
            server!(RedisModule_FreeServerInfo)(self.raw, info);
            (failed == OK).then_some(number)
        }
    }

    /// Makes a command without keys.
    pub(super) fn create_command(self, row: &CommandRow) -> Result<(), Refused> {
        let refused = |what: &str| Refused(format!("the server refused {what} of {:?}", row.name));
        // SAFETY: load time; the strings are C strings; the server copies all that it is shown.
        unsafe {
            let create = server!(RedisModule_CreateCommand);
            if create(self.raw, row.name.as_ptr(), row.run, row.flags.as_ptr(), 0, 0, 0) != OK {
                return Err(refused("the creation"));
            }
            let command = server!(RedisModule_GetCommand)(self.raw, row.name.as_ptr());
            let categories = row.acl_categories.as_ptr();
            if server!(RedisModule_SetCommandACLCategories)(command, categories) != OK {
                return Err(refused("the ACL categories"));
            }
            if docs::describe(row, |info| server!(RedisModule_SetCommandInfo)(command, info)) != OK
            {
                return Err(refused("the description"));
            }
        }
        Ok(())
    }

    /// Has `callback` called when INFO is asked for.
    pub(super) fn register_info(self, callback: raw::RedisModuleInfoFunc) -> bool {
        // SAFETY: load time; the callback matches its type.
        unsafe { server!(RedisModule_RegisterInfoFunc)(self.raw, callback) == OK }
    }

    /// Has `callback` called when the host shuts down in good order.
    pub(super) fn on_shutdown(self, callback: raw::RedisModuleEventCallback) -> bool {
        self.on(raw::REDISMODULE_EVENT_SHUTDOWN, callback)
    }

    /// Has `callback` called when a client has come or gone.
    pub(super) fn on_client_change(self, callback: raw::RedisModuleEventCallback) -> bool {
        self.on(raw::REDISMODULE_EVENT_CLIENT_CHANGE, callback)
    }

    /// Has `callback` called when a module has been loaded or unloaded.
    pub(super) fn on_module_change(self, callback: raw::RedisModuleEventCallback) -> bool {
        self.on(raw::REDISMODULE_EVENT_MODULE_CHANGE, callback)
    }

    fn on(self, id: u64, callback: raw::RedisModuleEventCallback) -> bool {
        let event = raw::RedisModuleEvent { id, dataver: 1 };
        // SAFETY: load time; the callback matches its type.
        unsafe { server!(RedisModule_SubscribeToServerEvent)(self.raw, event, callback) == OK }
    }

    /// Registers a config of text. The server copies name and default.
    pub(super) fn register_text(
        self,
        name: &CStr,
        default: &CStr,
        flags: u32,
        calls: &ConfigCallbacks,
    ) -> bool {
        // SAFETY: load time; the callbacks match their types.
        unsafe {
            server!(RedisModule_RegisterStringConfig)(
                self.raw,
                name.as_ptr(),
                default.as_ptr(),
                flags,
                calls.get_text,
                calls.set_text,
                calls.apply,
                ptr::null_mut(),
            ) == OK
        }
    }

    /// Registers a config that is a number in `min..=max`. The server copies the name.
    pub(super) fn register_number(
        self,
        name: &CStr,
        (default, min, max): (i64, i64, i64),
        flags: u32,
        calls: &ConfigCallbacks,
    ) -> bool {
        // SAFETY: load time; the callbacks match their types.
        unsafe {
            server!(RedisModule_RegisterNumericConfig)(
                self.raw,
                name.as_ptr(),
                default,
                flags,
                min,
                max,
                calls.get_number,
                calls.set_number,
                calls.apply,
                ptr::null_mut(),
            ) == OK
        }
    }

    /// Gives all registered configs their values. `false` if one is refused; the server has logged
    /// which.
    pub(super) fn load_configs(self) -> bool {
        // SAFETY: load time.
        unsafe { server!(RedisModule_LoadConfigs)(self.raw) == OK }
    }

    /// A context for log lines from any thread, good until [`free_detached`].
    pub(super) fn detached(self) -> *mut raw::RedisModuleCtx {
        // SAFETY: the context is the running callback's.
        unsafe { server!(RedisModule_GetDetachedThreadSafeContext)(self.raw) }
    }
}

/// Frees a context that [`Ctx::detached`] made.
///
/// # Safety
/// It was made there, is freed once, and no other thread uses it any more. Main thread.
pub(super) unsafe fn free_detached(ctx: *mut raw::RedisModuleCtx) {
    // SAFETY: as the caller promises.
    unsafe { server!(RedisModule_FreeThreadSafeContext)(ctx) };
}

/// Tells the server who we are, and finds its functions. To be called first.
///
/// # Safety
/// `ctx` is what the server passed to `RedisModule_OnLoad`.
pub(super) unsafe fn init(ctx: *mut raw::RedisModuleCtx, name: &CStr, version: c_int) -> c_int {
    let api = raw::REDISMODULE_APIVER_1 as c_int;
    // SAFETY: as the caller promises; the server copies the name.
    let initialised = unsafe { raw::Export_RedisModule_Init(ctx, name.as_ptr(), version, api) };
    replies::init();
    initialised
}

/// Microseconds on the host's clock, which never goes back. Any thread.
pub(super) fn monotonic_us() -> u64 {
    // SAFETY: reads a clock.
    unsafe { server!(RedisModule_MonotonicMicroseconds)() }
}

/// Writes a line to the host's log. Any thread; `ctx` may be null.
///
/// # Safety
/// `ctx` is null, or good for this thread.
pub(super) unsafe fn log_line(ctx: *mut raw::RedisModuleCtx, level: &CStr, text: &str) {
    let (text, len) = (text.as_ptr().cast::<c_char>(), text.len());
    // SAFETY: as the caller promises; the text has `len` bytes.
    unsafe {
        shim::weir_log(Some(server!(RedisModule_Log)), ctx, level.as_ptr(), text, len);
    }
}

/// What the server calls about a blocked client.
pub(super) struct BlockCallbacks {
    pub(super) reply: raw::RedisModuleCmdFunc,
    pub(super) timeout: raw::RedisModuleCmdFunc,
    pub(super) free: Option<unsafe extern "C" fn(*mut raw::RedisModuleCtx, *mut c_void)>,
    pub(super) disconnect: raw::RedisModuleDisconnectFunc,
}

/// What the server calls about a config.
pub(super) struct ConfigCallbacks {
    pub(super) get_text: raw::RedisModuleConfigGetStringFunc,
    pub(super) set_text: raw::RedisModuleConfigSetStringFunc,
    pub(super) get_number: raw::RedisModuleConfigGetNumericFunc,
    pub(super) set_number: raw::RedisModuleConfigSetNumericFunc,
    pub(super) apply: raw::RedisModuleConfigApplyFunc,
}

/// A client of the host that waits for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockedClient(*mut raw::RedisModuleBlockedClient);

// SAFETY: off the main thread the handle is only passed to RedisModule_UnblockClient, which the
// server documents as callable from any thread.
unsafe impl Send for BlockedClient {}

impl BlockedClient {
    /// # Safety
    /// `raw` is what the server passed to a disconnect callback.
    pub(super) unsafe fn new(raw: *mut raw::RedisModuleBlockedClient) -> Self {
        Self(raw)
    }

    /// Ends the wait. `with` goes to the reply callback, then to the callback that frees it; if the
    /// client is gone, only to the latter. Any thread.
    ///
    /// # Safety
    /// Called exactly once for a client that was blocked, and `with` is what its callbacks expect.
    pub(super) unsafe fn unblock(self, with: *mut c_void) {
        // SAFETY: as the caller promises.
        unsafe { server!(RedisModule_UnblockClient)(self.0, with) };
    }
}

/// A string that the server can read, owned by us.
#[derive(Debug)]
pub(super) struct ServerString(*mut raw::RedisModuleString);

// SAFETY: it is made, read and freed on the main thread only; it may lie in a static meanwhile.
unsafe impl Send for ServerString {}

impl ServerString {
    /// Main thread.
    pub(super) fn new(text: impl AsRef<[u8]>) -> Self {
        Self(new_string(text.as_ref()))
    }

    /// For a callback whose caller only looks at it.
    pub(super) fn raw(&self) -> *mut raw::RedisModuleString {
        self.0
    }
}

impl ServerString {
    /// Its bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: it lives as long as the result.
        unsafe { bytes_of(self.0) }
    }
}

impl Drop for ServerString {
    fn drop(&mut self) {
        // SAFETY: made by `new`, freed once.
        unsafe { server!(RedisModule_FreeString)(ptr::null_mut(), self.0) };
    }
}

fn new_string(text: &[u8]) -> *mut raw::RedisModuleString {
    let bytes = text.as_ptr().cast();
    // SAFETY: without a context the string belongs to whoever gets it; the server copies the text.
    unsafe { server!(RedisModule_CreateString)(ptr::null_mut(), bytes, text.len()) }
}

/// Hands the text of an error to the caller of a config callback, who frees it.
///
/// # Safety
/// `slot` is what the server passed to the callback.
pub(super) unsafe fn give_error(slot: *mut *mut raw::RedisModuleString, text: &str) {
    // SAFETY: as the caller promises; the server takes ownership of what is put there.
    unsafe { *slot = new_string(text.as_bytes()) };
}

/// The bytes of a server's string.
///
/// # Safety
/// `text` is good for as long as the result is used.
pub(super) unsafe fn bytes_of<'a>(text: *const raw::RedisModuleString) -> &'a [u8] {
    let mut len = 0;
    // SAFETY: as the caller promises; the server returns a pointer to `len` bytes.
    unsafe {
        let bytes = server!(RedisModule_StringPtrLen)(text, &raw mut len);
        std::slice::from_raw_parts(bytes.cast(), len)
    }
}

/// Where the fields of one INFO go.
#[derive(Clone, Copy)]
pub(super) struct InfoCtx(*mut raw::RedisModuleInfoCtx);

impl InfoCtx {
    /// # Safety
    /// `raw` is what the server passed to the INFO callback that is running.
    pub(super) unsafe fn new(raw: *mut raw::RedisModuleInfoCtx) -> Self {
        Self(raw)
    }

    /// Begins the section `weir_<name>`. `false` if nobody asked for it: its fields are to be left
    /// out.
    pub(super) fn section(self, name: &CStr) -> bool {
        // SAFETY: the context is the running callback's; the same holds below.
        unsafe { server!(RedisModule_InfoAddSection)(self.0, name.as_ptr()) == OK }
    }

    pub(super) fn number(self, name: &CStr, number: u64) {
        // SAFETY: as above.
        unsafe { server!(RedisModule_InfoAddFieldULongLong)(self.0, name.as_ptr(), number) };
    }

    pub(super) fn text(self, name: &CStr, text: &CStr) {
        // SAFETY: as above.
        unsafe {
            server!(RedisModule_InfoAddFieldCString)(self.0, name.as_ptr(), text.as_ptr());
        }
    }

    /// One field that is a row of `name=value`, which `fill` adds.
    pub(super) fn row(self, name: &CStr, fill: impl FnOnce(Self)) {
        // SAFETY: as above.
        unsafe { server!(RedisModule_InfoBeginDictField)(self.0, name.as_ptr()) };
        fill(self);
        // SAFETY: as above.
        unsafe { server!(RedisModule_InfoEndDictField)(self.0) };
    }
}
