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
pub fn free() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Processes that run at the same time start in different places; 191 is prime to the length.
    let start = process::id().wrapping_mul(191);
    for _ in FIRST..LAST {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = (FIRST + start.wrapping_add(step) % (LAST - FIRST)) as u16;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {LAST} on 127.0.0.1");
}
