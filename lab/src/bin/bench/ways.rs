//! By which way a command gets to the primary.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use lab::client::{Client, bulk};
use lab::procfs;

/// See the picture in `main.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Way {
    /// There is nothing between.
    Direct,
    Nutcracker,
    Endpoint,
    /// An endpoint of two threads.
    Threads2,
    /// The own port of the endpoint's host.
    HostPort,
    /// An endpoint of another build of the module (`--before`).
    Before,
    /// It doesn't get there: `floor.rs` answers in the primary's place.
    Floor,
    /// Another proxy, which is not ours to start.
    Peer(&'static Peer),
}

impl Way {
    /// Those that have a name by themselves.
    pub(crate) const NAMED: [Way; 7] = [
        Way::Direct,
        Way::Nutcracker,
        Way::Endpoint,
        Way::Threads2,
        Way::HostPort,
        Way::Before,
        Way::Floor,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Way::Direct => "direct",
            Way::Nutcracker => "nutcracker",
            Way::Endpoint => "endpoint",
            Way::Threads2 => "threads-2",
            Way::HostPort => "host-port",
            Way::Before => "before",
            Way::Floor => "floor",
            Way::Peer(peer) => &peer.name,
        }
    }

    /// Whether it is somebody else's proxy.
    pub(crate) fn is_other(self) -> bool {
        matches!(self, Way::Nutcracker | Way::Peer(_))
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How long a peer may take for one answer, and until its first.
const ANSWER: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(10);

/// A proxy that somebody has started, in front of the primary's port.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    /// Of this machine: its processor time is looked at.
    pub(crate) pid: i32,
}

impl Peer {
    /// Reads `name=host:port:pid,...`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read_all(text: &str) -> Result<Vec<Peer>, String> {
        let mut peers: Vec<Peer> = Vec::new();
        for one in text.split(',').map(str::trim).filter(|one| !one.is_empty()) {
            let wrong = |what: &str| format!("'{one}' is no name=host:port:pid: {what}");
            let (name, rest) = one.split_once('=').ok_or_else(|| wrong("there is no '='"))?;
            let (address, pid) = rest.rsplit_once(':').ok_or_else(|| wrong("there is no ':'"))?;
            let pid = pid.parse().ok().filter(|pid| *pid > 0);
            let pid = pid.ok_or_else(|| wrong("the process id is no number"))?;
            let address = address.to_socket_addrs().ok().and_then(|mut found| found.next());
            let address = address.ok_or_else(|| wrong("there is no such host:port"))?;
            let well =
                |name: &str| name.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'));
            if name.is_empty() || !well(name) {
                return Err(wrong("a name has letters, digits, '-' and '_' only"));
            }
            let taken = Way::NAMED.iter().any(|way| way.name() == name)
                || peers.iter().any(|peer| peer.name == name);
            if taken {
                return Err(wrong("there is a way of this name already"));
            }
            peers.push(Peer { name: name.to_owned(), address, pid });
        }
        Ok(peers)
    }

    /// Looks whether it is there, and whether what is written by it gets to `primary`.
    ///
    /// # Errors
    /// What is wrong, and what to do about it.
    pub(crate) fn check(&self, primary: &str) -> Result<(), String> {
        const KEY: &str = "bench:peer";
        let (name, address) = (&self.name, self.address.to_string());
        if !procfs::is_there(self.pid) {
            return Err(format!("{name}: there is no process {}", self.pid));
        }
        let mut why = String::new();
        let through = |why: &mut String| {
            let set = Client::try_connect_soon(&address, ANSWER)
                .and_then(|mut client| client.try_call(&["SET", KEY, name]));
            match set {
                Ok(reply) if reply.error_text().is_none() => return Some(()),
                Ok(reply) => *why = format!("it says {reply:?}"),
                Err(error) => *why = error.to_string(),
            }
            None
        };
        // It may take a while to notice that its primary is there now.
        if lab::within(PATIENCE, || through(&mut why)).is_none() {
            return Err(format!(
                "{name} at {address} doesn't answer: {why}; it is to stand in front of {primary} \
                 (--primary-port says which port that is)"
            ));
        }
        let found = Client::connect(primary).call(&["GET", KEY]);
        if found != bulk(name) {
            return Err(format!(
                "{name} at {address} answers, but what it was told is not at {primary}: \
                 it is in front of another server"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_read() {
        let peer = |name: &str, address: &str, pid| {
            let address = address.parse().expect("an address");
            Peer { name: name.into(), address, pid }
        };
        let read = Peer::read_all("predixy=127.0.0.1:7617:12, ha_2=[::1]:80:3,");
        let both = vec![peer("predixy", "127.0.0.1:7617", 12), peer("ha_2", "[::1]:80", 3)];
        assert_eq!(read, Ok(both));
        assert_eq!(Peer::read_all(""), Ok(vec![]));
    }

    #[test]
    fn what_is_no_peer_is_told() {
        for (text, what) in [
            ("predixy", "no '='"),
            ("predixy=7617", "no ':'"),
            ("predixy=127.0.0.1:7617", "no such host:port"),
            ("predixy=7617:12", "no such host:port"),
            ("predixy=127.0.0.1:x:12", "no such host:port"),
            ("predixy=127.0.0.1:70000:12", "no such host:port"),
            ("predixy=127.0.0.1:7617:x", "process id"),
            ("predixy=127.0.0.1:7617:-1", "process id"),
            ("direct=127.0.0.1:7617:12", "already"),
            ("a=127.0.0.1:1:2,a=127.0.0.1:3:4", "already"),
            ("=127.0.0.1:1:2", "a name"),
            ("a b=127.0.0.1:1:2", "a name"),
        ] {
            let error = Peer::read_all(text).expect_err(text);
            assert!(error.contains(what), "{text}: {error}");
        }
    }
}
