//! Free ports.
//!
//! They are taken from below Linux's range for outgoing connections (it starts at 32768), and not
//! from `bind` to port 0, which gives one inside it: a server that is to be killed and started
//! again on its port would now and then find the port in use, by a client's own end.

use std::net::{Ipv4Addr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

const FIRST: u32 = 10_240;
const LAST: u32 = 32_000;

/// A port on 127.0.0.1 that is free now and that this process hasn't given out before (until it has
/// gone round once). Another process may still be quicker: whoever listens on it must look whether
/// it could.
///
/// # Panics
/// If there is none.
pub fn free() -> u16 {
    for _ in FIRST..LAST {
        let port = next(1);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {LAST} on 127.0.0.1");
}

/// The first of `count` ports that this process hasn't given out before, for somebody who looks by
/// himself which of them are free.
pub fn range(count: u16) -> u16 {
    loop {
        let first = next(u32::from(count));
        if u32::from(first) + u32::from(count) <= LAST {
            return first;
        }
    }
}

/// The next port to try; those up to the next but `count` are not given out again.
fn next(count: u32) -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Processes that run at the same time start in different places; 191 is prime to the length.
    let start = process::id().wrapping_mul(191);
    let step = NEXT.fetch_add(count, Ordering::Relaxed);
    (FIRST + start.wrapping_add(step) % (LAST - FIRST)) as u16
}
