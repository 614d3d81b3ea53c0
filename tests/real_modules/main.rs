//! Other modules beside Weir in one server, by `shim/weir.h` and without it.
//!
//! ```text
//!   compile    C and C++ compilers make the modules
//!   ledger     examples/ledger.c, built as C and as C++: writes through Weir, answers when replicas
//!              have it; loaded, unloaded, and in the wrong order
//!   sessions   every kind of reply, counts of WAIT, users, the state of shards; many threads
//!   ends       each callback comes once, whatever ends: a session, a connection, the server
//!   calls      what another module, a script or a transaction may say on the host's own port
//!   hosts      a host that is a replica, or reads an append-only file
//! ```

#![cfg(feature = "host")]
#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod calls;
mod compile;
mod ends;
mod hosts;
mod ledger;
mod sessions;

use std::path::Path;

use lab::cluster::{Plan, Shards};
use lab::host::{self, Host};
use lab::servers::Server;

/// A database, and an endpoint with another module beside it.
struct Stage {
    // Dropped in this order: the host goes before its shards, and so never misses them.
    host: Host,
    shards: Shards,
}

impl Stage {
    fn of(server: &Server, shards: Plan, module: &Path) -> Stage {
        Stage::with(server, shards, module, |host| host)
    }

    /// With more settings for the host.
    fn with(
        server: &Server,
        shards: Plan,
        module: &Path,
        more: impl FnOnce(host::Plan) -> host::Plan,
    ) -> Stage {
        let shards = shards.start();
        let plan = Host::of(server)
            .upstream(shards.upstream())
            .line(format!("loadmodule {}", module.display()))
            .line("enable-module-command yes");
        Stage { host: more(plan).start(), shards }
    }
}
