//! Functions about the host's clients: who they are, what they may do, and what they say.

use std::ffi::{CStr, c_int};
use std::ptr;

use redis_module::raw;

use super::super::shim;
use super::{Ctx, ERR, OK, ServerString, bytes_of};

/// What a user may do with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::host) enum Permission {
    Granted,
    /// The host doesn't have that command.
    Unknown,
    Refused,
}

/// One of the host's connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::host) struct Connection {
    /// `ip:port`.
    pub(in crate::host) address: String,
    /// It is inside the host's own MULTI.
    pub(in crate::host) in_multi: bool,
}

/// The name of a client's user; none if there is no such connection, or if it has no user, as that
/// of the primary of a host that is a replica. Main thread.
///
/// # Safety
/// `ctx` is good for the time of the call.
pub(in crate::host) unsafe fn user_of(
    ctx: *mut raw::RedisModuleCtx,
    client: u64,
) -> Option<ServerString> {
    // SAFETY: as the caller promises; the string is ours, for the context keeps none.
    let name = unsafe { server!(RedisModule_GetClientUserNameById)(ctx, client) };
    (!name.is_null()).then(|| ServerString(name))
}

/// A connection of the host by its client's id, if there is one. Main thread.
pub(in crate::host) fn connection(client: u64) -> Option<Connection> {
    // SAFETY: all zeroes is a value of this struct of numbers.
    let mut info: raw::RedisModuleClientInfo = unsafe { std::mem::zeroed() };
    info.version = 1;
    // SAFETY: the struct is of the version that it names.
    let found =
        unsafe { server!(RedisModule_GetClientInfoById)((&raw mut info).cast(), client) } == OK;
    if !found {
        return None;
    }
    // SAFETY: the server has written a C string there.
    let ip = unsafe { CStr::from_ptr(info.addr.as_ptr()) }.to_string_lossy();
    let address = if ip.contains(':') {
        format!("[{ip}]:{}", info.port)
    } else {
        format!("{ip}:{}", info.port)
    };
    let in_multi = info.flags & u64::from(raw::REDISMODULE_CLIENTINFO_FLAG_MULTI) != 0;
    Some(Connection { address, in_multi })
}

/// The id of the client that an event of a client's change is about.
///
/// # Safety
/// `data` is what the server passed to the event's callback.
pub(in crate::host) unsafe fn changed_client(data: *mut std::ffi::c_void) -> u64 {
    // SAFETY: as the caller promises.
    unsafe { data.cast::<raw::RedisModuleClientInfo>().as_ref() }.map_or(0, |info| info.id)
}

/// The arguments of a command, as the server passes them.
#[derive(Clone, Copy)]
pub(in crate::host) struct Args<'call> {
    strings: &'call [*mut raw::RedisModuleString],
}

impl<'call> Args<'call> {
    /// # Safety
    /// These are what the server passed to the command that is running.
    pub(in crate::host) unsafe fn new(argv: *mut *mut raw::RedisModuleString, argc: c_int) -> Self {
        let count = usize::try_from(argc).unwrap_or(0);
        // SAFETY: as the caller promises.
        Self { strings: unsafe { std::slice::from_raw_parts(argv, count) } }
    }

    pub(in crate::host) fn get(self, at: usize) -> Option<&'call [u8]> {
        // SAFETY: the server's strings live as long as the call.
        self.strings.get(at).map(|string| unsafe { bytes_of(*string) })
    }

    pub(in crate::host) fn iter(self) -> impl ExactSizeIterator<Item = &'call [u8]> + Clone {
        // SAFETY: as above.
        self.strings.iter().map(|string| unsafe { bytes_of(*string) })
    }

    /// Without the first `count`.
    pub(in crate::host) fn behind(self, count: usize) -> Self {
        Self { strings: self.strings.get(count..).unwrap_or_default() }
    }

    /// For functions of the server that only look at them.
    fn raw(self) -> (*mut *mut raw::RedisModuleString, usize) {
        (self.strings.as_ptr().cast_mut(), self.strings.len())
    }
}

impl Ctx<'_> {
    /// The id of the client whose command or reply this is; 0 if there is none.
    pub(in crate::host) fn client(self) -> u64 {
        // SAFETY: the context is the running callback's.
        unsafe { server!(RedisModule_GetClientId)(self.raw) }
    }

    /// The name of a client's user; see [`user_of`].
    pub(in crate::host) fn user_of(self, client: u64) -> Option<ServerString> {
        // SAFETY: the context is the running callback's.
        unsafe { user_of(self.raw, client) }
    }

    pub(in crate::host) fn speaks_resp3(self) -> bool {
        // SAFETY: the context is the running callback's.
        let flags = unsafe { server!(RedisModule_GetContextFlags)(self.raw) } as u32;
        flags & raw::REDISMODULE_CTX_FLAGS_RESP3 != 0
    }

    /// What the host's ACL says of a command, its keys and its channels.
    pub(in crate::host) fn permission(self, user: &ServerString, command: Args<'_>) -> Permission {
        let (argv, argc) = command.raw();
        let argc = c_int::try_from(argc).unwrap_or(c_int::MAX);
        // SAFETY: the user's name is a string, the user is freed once, and the server only looks at
        // the arguments.
        unsafe {
            let user = server!(RedisModule_GetModuleUserFromUserName)(user.raw());
            if user.is_null() {
                return Permission::Refused; // Deleted or disabled.
            }
            let granted = server!(RedisModule_ACLCheckCommandPermissions)(user, argv, argc);
            let why = std::io::Error::last_os_error().raw_os_error();
            server!(RedisModule_FreeModuleUser)(user);
            match granted {
                OK => Permission::Granted,
                _ if why == Some(libc::ENOENT) => Permission::Unknown,
                _ => Permission::Refused,
            }
        }
    }

    /// Whether a user may say `name` with these arguments.
    pub(in crate::host) fn may_say(
        self,
        user: &ServerString,
        name: &ServerString,
        args: Args<'_>,
    ) -> bool {
        let words: Vec<_> =
            std::iter::once(name.raw()).chain(args.strings.iter().copied()).collect();
        self.permission(user, Args { strings: &words }) == Permission::Granted
    }

    /// What the host would answer to a command of this client instead of running it: that it has
    /// no such command, that the number of arguments is wrong, or that the user may not. None if
    /// it would run it. What the user may not comes into the host's ACL LOG.
    pub(in crate::host) fn objection(self, command: Args<'_>) -> Option<Vec<u8>> {
        /* D: don't run it. C: as the client's user. E: errors are replies. */
        self.call(command.get(0)?, c"DCEv", command.behind(1))
    }

    /// Runs a command as the module. Its reply, in RESP2; none if there is no such command. Not
    /// while the state is locked.
    pub(in crate::host) fn run(self, words: &[&str]) -> Option<Vec<u8>> {
        let words: Vec<ServerString> = words.iter().map(ServerString::new).collect();
        let raw: Vec<_> = words.iter().map(ServerString::raw).collect();
        let command = Args { strings: &raw };
        // E: errors come as replies. Without 3 or 0 they are in RESP2, whatever `ctx` speaks.
        self.call(command.get(0)?, c"Ev", command.behind(1))
    }

    /// As [`Ctx::run`], with a client's own arguments.
    pub(in crate::host) fn run_as_it_is(self, command: Args<'_>) -> Option<Vec<u8>> {
        self.call(command.get(0)?, c"Ev", command.behind(1))
    }

    fn call(self, command: &[u8], format: &CStr, args: Args<'_>) -> Option<Vec<u8>> {
        let name = std::ffi::CString::new(command).ok()?;
        let (argv, argc) = args.raw();
        // SAFETY: main thread, the context is the running callback's, the name is a C string; `v`
        // in the format stands for the vector and its length.
        let reply = unsafe {
            shim::weir_call(
                Some(server!(RedisModule_Call)),
                self.raw,
                name.as_ptr(),
                format.as_ptr(),
                argv,
                argc,
            )
        };
        if reply.is_null() {
            return None;
        }
        // SAFETY: the reply is fresh; its bytes are copied before it is freed, which is once.
        unsafe {
            let mut len = 0;
            let bytes = server!(RedisModule_CallReplyProto)(reply, &raw mut len);
            let copy = (!bytes.is_null())
                .then(|| std::slice::from_raw_parts(bytes.cast::<u8>(), len).to_vec());
            server!(RedisModule_FreeCallReply)(reply);
            copy
        }
    }

    /// Closes a client's connection, soon.
    pub(in crate::host) fn close(self, client: u64) {
        // SAFETY: the context is the running callback's. If the client is gone, nothing happens.
        unsafe { server!(RedisModule_DeauthenticateAndCloseClient)(self.raw, client) };
    }

    /// Has `callback` see each command before it is run, but for those that we run ourselves.
    pub(in crate::host) fn filter(self, callback: raw::RedisModuleCommandFilterFunc) -> bool {
        let flags = raw::REDISMODULE_CMDFILTER_NOSELF as c_int;
        // SAFETY: load time; the callback matches its type.
        !unsafe { server!(RedisModule_RegisterCommandFilter)(self.raw, callback, flags) }.is_null()
    }
}

/// A command on its way, in a filter.
#[derive(Clone, Copy)]
pub(in crate::host) struct Passing<'callback> {
    raw: *mut raw::RedisModuleCommandFilterCtx,
    callback: std::marker::PhantomData<&'callback ()>,
}

impl<'callback> Passing<'callback> {
    /// # Safety
    /// `raw` is what the server passed to the filter that is running.
    pub(in crate::host) unsafe fn new(raw: *mut raw::RedisModuleCommandFilterCtx) -> Self {
        Self { raw, callback: std::marker::PhantomData }
    }

    pub(in crate::host) fn arg(self, at: c_int) -> Option<&'callback [u8]> {
        // SAFETY: the arguments live as long as the callback; we replace none.
        unsafe {
            let string = server!(RedisModule_CommandFilterArgGet)(self.raw, at);
            (!string.is_null()).then(|| bytes_of(string))
        }
    }

    /// Whose it is. Commands of scripts and of other modules have a client that is no connection.
    pub(in crate::host) fn client(self) -> u64 {
        // SAFETY: the filter's own context.
        unsafe { server!(RedisModule_CommandFilterGetClientId)(self.raw) }
    }

    /// Makes this an argument of the command `name`.
    pub(in crate::host) fn pass_to(self, name: &ServerString) {
        // SAFETY: the filter's own context; it takes over the reference that is made here.
        unsafe {
            server!(RedisModule_RetainString)(ptr::null_mut(), name.raw());
            let inserted = server!(RedisModule_CommandFilterArgInsert)(self.raw, 0, name.raw());
            debug_assert_ne!(inserted, ERR, "the first place is always there");
        }
    }
}
