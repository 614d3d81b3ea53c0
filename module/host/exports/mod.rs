//! The functions of `shim/weir.h`, for other modules of the host.
//!
//! ```text
//!   any thread of another module                |  worker
//!                                               |
//!   open ----> Session: a guest, with a Voice   |
//!   submit --> gate open? room? --> request ----+-> ... --> reply --> Tree --> callback
//!   shards --> gate open? --> a question to all +-> ... --> Call --> callback
//!   leave ---> its sessions end, and it waits <-+-- until nothing is due to it
//! ```
//!
//! The table is generated from the header, so that can't say what isn't done here.
//!
//! The gate is shut before the workers are stopped. Whoever is in a call has it held open. So what
//! is said is either read by a worker or taken out by `Fleet::stop`: no promise is ever broken on
//! the thread that makes it, inside the call, where its caller may hold a lock.

use std::ffi::{c_char, c_int, c_void};
use std::ptr;
use std::sync::{Arc, OnceLock, PoisonError};

use super::api::Ctx;
use super::asks::Asks;
use super::commands::Asking;
use super::guard::guard;
use super::load::version_number;
use super::voice;
use crate::settings::Settings;
use crate::worker::Entrance;

mod acks;
mod header;
mod module;
mod reply;
mod session;
mod shards;

pub(super) use shards::Call;

use header::{
    WEIR_API_NAME, WEIR_GONE, WEIR_INVALID, WEIR_OK, WeirAcksCallback, WeirApi, WeirModule,
    WeirReplyCallback, WeirSession, WeirShardsCallback,
};
use module::Module;
use session::{Arguments, Session};

/// What a function of the header returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Ok,
    Gone,
    Full,
    Invalid,
    Busy,
}

impl Outcome {
    fn code(self) -> c_int {
        let code = match self {
            Self::Ok => WEIR_OK,
            Self::Gone => WEIR_GONE,
            Self::Full => header::WEIR_FULL,
            Self::Invalid => WEIR_INVALID,
            Self::Busy => header::WEIR_BUSY,
        };
        code as c_int
    }
}

/// What a caller wants to be given back.
#[derive(Clone, Copy, Debug)]
struct Data(*mut c_void);

// SAFETY: it is only passed back, and the header says on which threads.
unsafe impl Send for Data {}

impl Data {
    fn get(self) -> *mut c_void {
        self.0
    }
}

// ------------------------------------------------------------------------------ the gate

/// What there is while the endpoint serves.
struct Gate {
    entrance: Entrance,
    asks: Arc<Asks<Asking>>,
    login: Option<Vec<u8>>,
}

#[expect(clippy::disallowed_types, reason = "the host's modules may call on any thread")]
static GATE: std::sync::RwLock<Option<Gate>> = std::sync::RwLock::new(None);

/// From now on other modules are served. Main thread.
pub(super) fn open(entrance: Entrance, asks: Arc<Asks<Asking>>, settings: &Settings) {
    set(Some(Gate { entrance, asks, login: voice::login(settings) }));
}

/// From now on none is; those who are in a call get their turn before. Main thread.
pub(super) fn close() {
    set(None);
}

/// Sessions that are opened from now on log in as these settings say. Main thread.
pub(super) fn change(settings: &Settings) {
    let mut gate = GATE.write().unwrap_or_else(PoisonError::into_inner);
    if let Some(gate) = &mut *gate {
        gate.login = voice::login(settings);
    }
}

fn set(new: Option<Gate>) {
    let mut gate = GATE.write().unwrap_or_else(PoisonError::into_inner);
    let old = std::mem::replace(&mut *gate, new);
    drop(gate);
    drop(old);
}

/// Runs `run` if the endpoint serves, which it goes on to do meanwhile.
fn if_open(run: impl FnOnce(&Gate) -> Outcome) -> Outcome {
    let gate = GATE.read().unwrap_or_else(PoisonError::into_inner);
    gate.as_ref().map_or(Outcome::Gone, run)
}

/// Lets other modules find the table. Main thread, at load.
///
/// # Errors
/// A sentence for the log.
pub(super) fn export(ctx: Ctx<'_>) -> Result<(), String> {
    static TABLE: OnceLock<WeirApi> = OnceLock::new();
    let table = TABLE.get_or_init(|| WeirApi {
        size: size_of::<WeirApi>(),
        weir_version: i64::from(version_number()),
        join: Some(join),
        leave: Some(leave),
        open: Some(open_session),
        close: Some(close_session),
        submit: Some(submit),
        wait: Some(wait),
        waitaof: Some(waitaof),
        shards: Some(ask_shards),
    });
    // SAFETY: a static, and the type that the header names.
    let exported = unsafe { ctx.export(WEIR_API_NAME, ptr::from_ref(table).cast()) };
    exported.then_some(()).ok_or_else(|| "the server refused the functions of weir.h".to_owned())
}

// ------------------------------------------------------------------------------ the functions

unsafe extern "C" fn join(name: *const c_char) -> *mut WeirModule {
    let body = || {
        // SAFETY: the header asks for a C string.
        let name = unsafe { session::c_bytes(name) };
        Arc::into_raw(Module::new(name)).cast::<WeirModule>().cast_mut()
    };
    guard("weir.h, join", body, ptr::null_mut)
}

/// What is behind a handle; none if that is null.
///
/// # Safety
/// `Arc::into_raw` has shown it, and it has not been dropped since.
unsafe fn behind<H, T>(handle: *mut H) -> Option<Arc<T>> {
    let inner = handle.cast::<T>().cast_const();
    if inner.is_null() {
        return None;
    }
    // SAFETY: as the caller promises; the count that is added here is the result's.
    unsafe {
        Arc::increment_strong_count(inner);
        Some(Arc::from_raw(inner))
    }
}

unsafe extern "C" fn leave(module: *mut WeirModule) -> c_int {
    let body = || {
        // SAFETY: `join` made it, as the header says.
        let Some(inner) = (unsafe { behind::<_, Module>(module) }) else { return Outcome::Ok };
        let left = inner.leave();
        if left == Outcome::Ok {
            // SAFETY: `join` made it, and it isn't used any more.
            drop(unsafe { Arc::from_raw(module.cast::<Module>().cast_const()) });
        }
        left
    };
    guard("weir.h, leave", body, || Outcome::Busy).code()
}

unsafe extern "C" fn open_session(module: *mut WeirModule) -> *mut WeirSession {
    let body = || {
        // SAFETY: `join` made it, as the header says.
        let module = unsafe { behind::<_, Module>(module) };
        let opened = module.and_then(|module| Session::open(&module));
        opened.map_or(ptr::null_mut(), |session| session.cast_mut().cast())
    };
    guard("weir.h, open", body, ptr::null_mut)
}

unsafe extern "C" fn close_session(session: *mut WeirSession) {
    let body = || {
        // SAFETY: `open` made it, as the header says.
        if let Some(session) = unsafe { behind::<_, Session>(session) } {
            session.close();
        }
    };
    guard("weir.h, close", body, || ());
}

unsafe extern "C" fn submit(
    session: *mut WeirSession,
    argc: usize,
    argv: *const *const c_char,
    lengths: *const usize,
    callback: WeirReplyCallback,
    data: *mut c_void,
) -> c_int {
    let data = Data(data);
    let body = || {
        // SAFETY: what the header asks for, good for the time of the call.
        let (session, words) =
            unsafe { (behind::<_, Session>(session), Arguments::new(argc, argv, lengths)) };
        let (Some(session), Some(words)) = (session, words) else { return Outcome::Invalid };
        let (request, refused) = words.request();
        session.say(request, move |reply| {
            let reply = reply.map(|reply| refused.map_or(reply, reply::error));
            // SAFETY: a callback of the header, with what its module has given for it.
            unsafe { reply::tell(reply, callback, data.get()) };
        })
    };
    guard("weir.h, submit", body, || Outcome::Invalid).code()
}

unsafe extern "C" fn wait(
    session: *mut WeirSession,
    replicas: i64,
    timeout_ms: i64,
    callback: WeirAcksCallback,
    data: *mut c_void,
) -> c_int {
    let question = acks::Question::Wait { replicas, timeout_ms };
    // SAFETY: as the header asks.
    unsafe { ask_acks(session, question, callback, data) }
}

unsafe extern "C" fn waitaof(
    session: *mut WeirSession,
    local: i64,
    replicas: i64,
    timeout_ms: i64,
    callback: WeirAcksCallback,
    data: *mut c_void,
) -> c_int {
    let question = acks::Question::WaitAof { local, replicas, timeout_ms };
    // SAFETY: as the header asks.
    unsafe { ask_acks(session, question, callback, data) }
}

/// # Safety
/// `session` is one that `open` made, or null.
unsafe fn ask_acks(
    session: *mut WeirSession,
    question: acks::Question,
    callback: WeirAcksCallback,
    data: *mut c_void,
) -> c_int {
    let data = Data(data);
    let body = || {
        // SAFETY: as the caller promises.
        let session = unsafe { behind::<_, Session>(session) };
        let (Some(session), Some(request)) = (session, question.request()) else {
            return Outcome::Invalid;
        };
        session.say(request, move |reply| {
            // SAFETY: a callback of the header, with what its module has given for it.
            unsafe { acks::tell(question, reply.as_deref(), callback, data.get()) };
        })
    };
    guard("weir.h, a wait", body, || Outcome::Invalid).code()
}

unsafe extern "C" fn ask_shards(
    module: *mut WeirModule,
    callback: WeirShardsCallback,
    data: *mut c_void,
) -> c_int {
    let data = Data(data);
    let body = || {
        // SAFETY: `join` made it, as the header says.
        let Some(module) = (unsafe { behind::<_, Module>(module) }) else {
            return Outcome::Invalid;
        };
        if_open(|gate| shards::ask(gate, &module, callback, data))
    };
    guard("weir.h, shards", body, || Outcome::Invalid).code()
}

const _: () = assert!(header::WEIR_OWED_MAX as usize == crate::limits::MODULE_OWED_MAX);
const _: () = assert!(header::WEIR_OWED_BYTES_MAX as usize == crate::limits::MODULE_OWED_BYTES_MAX);
