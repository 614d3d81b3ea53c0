//! Host names to addresses, on a thread of its own: the system's resolver blocks, for seconds if
//! its servers don't answer, and a worker must not.
//!
//! Each connection to a shard that is configured by name asks anew, so a name that moves is
//! followed. A numeric address never comes here. Questions are answered one after the other; a slow
//! one delays the next, whose link then fails by its own connect timeout and is tried again.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::Receiver;

use crate::ids::{LinkId, WorkerId};

use super::fleet::Shared;
use super::mailbox::Letter;

/// A name's addresses, or why there are none, for people.
pub(super) type Resolved = Result<Vec<SocketAddr>, String>;

/// One name to be resolved, and for whom.
#[derive(Debug)]
pub(super) struct Lookup {
    pub(super) worker: WorkerId,
    pub(super) link: LinkId,
    pub(super) host: String,
    pub(super) port: u16,
}

/// What the thread does. It ends when the last sender of lookups, a worker, is gone.
pub(super) fn serve(asked: &Receiver<Lookup>, shared: &Shared) {
    while let Ok(lookup) = asked.recv() {
        let resolved = resolve(&lookup.host, lookup.port);
        let mailbox = shared.mailbox(lookup.worker);
        mailbox.put(Letter::Resolved(lookup.link, resolved));
        mailbox.wake();
    }
}

fn resolve(host: &str, port: u16) -> Resolved {
    let found = (host, port).to_socket_addrs();
    let addresses: Vec<_> =
        found.map_err(|error| format!("its name {host} is unknown: {error}"))?.collect();
    if addresses.is_empty() {
        return Err(format!("its name {host} has no address"));
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_addresses_or_a_reason_why_not() {
        assert!(resolve("localhost", 7).unwrap().iter().all(|address| address.port() == 7));
        // Longer than a label of a name may be, so nobody has to be asked.
        let impossible = "x".repeat(64);
        let why = resolve(&impossible, 7).unwrap_err();
        assert!(why.contains(&impossible), "{why}");
    }
}
