//! The Rust declarations of `shim/weir_shim.h`, made by `build.rs`.

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
