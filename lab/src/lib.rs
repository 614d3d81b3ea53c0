//! Starts and drives real servers for Weir: for its tests, its demonstration and its benchmark.
//!
//! ```text
//!                         clients (client)
//!                            |
//!                       +---------+
//!                       |  Host   |   a server that loaded libweir.so (host)
//!                       +---------+
//!                        /       \
//!              +---------+       +---------+
//!              | primary |       | primary |   Shards (cluster): each one a Proc (process),
//!              +---------+       +---------+   with a folder, a port and a log of its own
//!              | replica |       | replica |
//!              +---------+       +---------+
//! ```
//!
//! All servers listen on 127.0.0.1 only, on ports that were free, in a folder under the system's
//! temporary one. Dropping a value ends its processes and removes its folders; if this process
//! dies first, the kernel ends them.
//!
//! The lab is made for tests, so whatever goes wrong in it is a panic whose text says what was
//! expected, and shows the end of the log of the server in question. Where a caller wants to look
//! at a failure there is a `try_` form.
//!
//! A test reads like this:
//!
//! ```no_run
//! use lab::{client::ok, cluster::{Aof, Shards}, host::Host, servers};
//!
//! for server in servers::both() {
//!     let shards = Shards::of(&server).shards(2).replicas(1).aof(Aof::Always).start();
//!     let host = Host::of(&server).upstream(shards.upstream()).start();
//!     let mut client = host.client();
//!     assert_eq!(client.command("SET k v"), ok());
//!     assert_eq!(client.command("WAIT 1 0").int(), 1);
//! }
//! ```

pub mod child; //   a child process that never outlives us
pub mod client; //  RESP as bytes say it, over TCP or a unix socket
pub mod cluster; // shards: primaries with their replicas
pub mod folder; //  a temporary folder that goes with its owner
pub mod host; //    a server with the module in it
pub mod network; // servers that can be cut off: network namespaces on a bridge
pub mod nutcracker; // twemproxy, which the benchmark compares with
pub mod process; // one server: its folder, port, log, life and death
pub mod procfs; //  what the kernel says about a process: memory, threads, descriptors, time
pub mod redis_cluster; // shards that are a Redis Cluster
pub mod sentinel; // Sentinels, which watch shards
pub mod servers; // where the programs are: both flavors, and the module
pub mod sheet; // what pictures are drawn with

pub mod ports; // free ports

use std::time::{Duration, Instant};

/// Runs `work` and says how long it took.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}

/// Sleeps. Here so that tests, which may not sleep by themselves, do it where it can be found.
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Calls `probe` every few milliseconds until it gives something, for at most `within`.
pub fn within<T>(time: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = probe() {
            return Some(found);
        }
        if start.elapsed() >= time {
            return None;
        }
        pause(Duration::from_millis(5));
    }
}

/// Waits until `probe` is true, for at most twenty seconds: far more than anything in the lab takes
/// on a busy machine of one core.
///
/// # Panics
/// With `what`, if it never became true.
#[track_caller]
pub fn eventually(what: &str, mut probe: impl FnMut() -> bool) {
    let seen = within(Duration::from_secs(20), || probe().then_some(()));
    assert!(seen.is_some(), "waited 20 s in vain: {what}");
}

/// Waits until `unsettled` finds nothing missing any more.
///
/// # Panics
/// With what is missing still, if that takes longer than `time`.
#[track_caller]
pub(crate) fn settles(what: &str, time: Duration, mut unsettled: impl FnMut() -> Option<String>) {
    let mut missing = None;
    let seen = within(time, || {
        missing = unsettled();
        missing.is_none().then_some(())
    });
    assert!(seen.is_some(), "{what} have not settled within {time:?}: {missing:?}");
}
