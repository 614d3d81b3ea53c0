//! The Rust declarations of `shim/weir_shim.h`, made by `build.rs`.

use std::ffi::{c_char, c_int, c_void};

use redis_module::raw::{RedisModuleCallReply, RedisModuleCtx, RedisModuleString};

#[allow(
    non_camel_case_types,
    unreachable_pub,
    clippy::missing_safety_doc,
    reason = "generated; the header says what each function asks of its caller"
)]
mod generated {
    use super::{RedisModuleCallReply, RedisModuleCtx, RedisModuleString};

    include!(concat!(env!("OUT_DIR"), "/weir_shim.rs"));
}

pub(super) use generated::{weir_call, weir_log};

unsafe extern "C" {
    /// As the header has it; `reply` is a function about a `long double`, a type that Rust lacks.
    pub(super) fn weir_reply_long_double(
        reply: *const c_void,
        ctx: *mut RedisModuleCtx,
        text: *const c_char,
    ) -> c_int;
}
