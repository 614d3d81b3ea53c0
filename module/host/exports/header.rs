//! The Rust declarations of `shim/weir.h`, made by `build.rs`.

#![allow(
    non_camel_case_types,
    non_upper_case_globals,
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "generated; the header says it all"
)]

include!(concat!(env!("OUT_DIR"), "/weir_h.rs"));
