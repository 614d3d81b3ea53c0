//! Connecting to shards and to Sentinels.
//!
//! ```text
//!   Connect --name--> Resolving --addresses--> Connecting to the first --refused--> ... the next
//!          \--number------------------------/        |                                  |
//!                                                    v                                  v
//!                             LinkOpened <--done-- Shaking hands, if TLS --failed--> LinkFailed
//! ```
//!
//! One timeout covers the name, all addresses and the TLS handshake. A failure has a reason that a
//! person can act on, and is told in the next turn.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use std::vec::IntoIter;

use crate::engine::{Event, Whom};
use crate::ids::{LinkId, Time};
use crate::os::address::RawAddress;
use crate::os::epoll::Interest;
use crate::os::socket::Stream;
use crate::os::tls::PeerName;
use crate::os::wire::Wire;
use crate::shards::Address;

use super::alarm::Alarm;
use super::connection::{Connection, Watched, Who};
use super::machine::Machine;
use super::names::{Lookup, Resolved};
use super::turn::Worker;

/// A connection in the making.
#[derive(Debug)]
pub(super) struct Attempt {
    stage: Stage,
    /// Whom TLS is to be spoken with, if it is.
    name: Option<PeerName>,
    /// The addresses that have not been tried.
    rest: IntoIter<RawAddress>,
    /// Why the one before failed.
    error: Option<io::Error>,
}

#[derive(Debug)]
enum Stage {
    Resolving,
    Connecting(Stream),
    /// The TLS handshake.
    Shaking(Wire),
}

impl Stage {
    fn stream(&self) -> Option<&Stream> {
        match self {
            Self::Resolving => None,
            Self::Connecting(stream) => Some(stream),
            Self::Shaking(wire) => wire.stream(),
        }
    }
}

impl<M: Machine> Worker<M> {
    pub(super) fn connect(
        &mut self,
        link: LinkId,
        whom: Whom,
        address: &Address,
        timeout: Duration,
        now: Time,
    ) {
        self.alarms.set(now + timeout, Alarm::GiveUpConnecting(link));
        match address {
            // Nobody listens in on a Unix socket, and no certificate could name it.
            Address::Unix(path) => match RawAddress::unix(Path::new(path)) {
                Ok(address) => self.try_next(link, None, vec![address].into_iter(), None),
                Err(error) => self.failures.push((link, error.to_string())),
            },
            Address::Tcp { host, port } => {
                let name = match self
                    .tls
                    .dials(whom == Whom::Sentinel)
                    .then(|| PeerName::new(host))
                    .transpose()
                {
                    Ok(name) => name,
                    Err(error) => return self.failures.push((link, error.to_string())),
                };
                match host.parse::<IpAddr>() {
                    Ok(ip) => {
                        let address = SocketAddr::new(ip, *port).into();
                        self.try_next(link, name, vec![address].into_iter(), None);
                    }
                    Err(_) => self.look_up(link, name, host.clone(), *port),
                }
            }
        }
    }

    fn look_up(&mut self, link: LinkId, name: Option<PeerName>, host: String, port: u16) {
        let rest = Vec::new().into_iter();
        let attempt = Attempt { stage: Stage::Resolving, name, rest, error: None };
        self.attempts.insert(link, attempt);
        if self.lookups.send(Lookup { worker: self.id, link, host, port }).is_err() {
            self.attempt_failed(link, "its name can't be looked up: that thread has ended");
        }
    }

    pub(super) fn resolved(&mut self, link: LinkId, resolved: Resolved) {
        // The engine may have let go of the link, or given up on it, in the meantime.
        let Some(attempt) = self.attempts.remove(link) else {
            return;
        };
        match resolved {
            Ok(found) => {
                let addresses: Vec<RawAddress> = found.into_iter().map(Into::into).collect();
                self.try_next(link, attempt.name, addresses.into_iter(), None);
            }
            Err(reason) => self.failures.push((link, reason)),
        }
    }

    fn try_next(
        &mut self,
        link: LinkId,
        name: Option<PeerName>,
        mut rest: IntoIter<RawAddress>,
        mut error: Option<io::Error>,
    ) {
        for address in rest.by_ref() {
            let token = Watched::Connection(Who::Link(link)).token();
            let started = Stream::connect(self.shared.space, &address).and_then(|stream| {
                self.epoll.add(stream.fd(), Interest::WRITE, token)?;
                Ok(stream)
            });
            match started {
                Ok(stream) => {
                    let stage = Stage::Connecting(stream);
                    self.attempts.insert(link, Attempt { stage, name, rest, error });
                    return;
                }
                Err(why) => error = Some(why),
            }
        }
        let reason = error.map_or_else(|| "it has no address".to_owned(), |e| describe(&e));
        self.failures.push((link, reason));
    }

    /// The socket of an attempt has something to say: it stands, it failed, or the handshake goes
    /// on.
    pub(super) fn attempt_ready(&mut self, link: LinkId, now: Time) {
        let Some(Attempt { stage, name, rest, error }) = self.attempts.remove(link) else {
            return;
        };
        // Whatever becomes of it, it is watched for something else from now on, or closed.
        if let Some(stream) = stage.stream() {
            self.epoll.remove(stream.fd());
        }
        let shaken = self.wire_of(stage, name.as_ref()).and_then(|mut wire| {
            if wire.shake()? {
                return Ok((wire, true));
            }
            let token = Watched::Connection(Who::Link(link)).token();
            let more = if wire.holds() { Interest::WRITE } else { Interest::NONE };
            if let Some(fd) = wire.fd() {
                self.epoll.add(fd, Interest::READ.and(more), token)?;
            }
            Ok((wire, false))
        });
        match shaken {
            Ok((wire, true)) => self.opened(link, wire, now),
            Ok((wire, false)) => {
                let stage = Stage::Shaking(wire);
                self.attempts.insert(link, Attempt { stage, name, rest, error });
            }
            Err(why) => self.try_next(link, name, rest, Some(why)),
        }
    }

    /// What the bytes of an attempt go over, if it stands.
    fn wire_of(&self, stage: Stage, name: Option<&PeerName>) -> io::Result<Wire> {
        let stream = match stage {
            Stage::Resolving => return Err(io::ErrorKind::NotConnected.into()),
            Stage::Shaking(wire) => return Ok(wire),
            Stage::Connecting(stream) => stream,
        };
        if let Some(error) = stream.error().or_else(|| self_connected(&stream)) {
            return Err(error);
        }
        // These fail for Unix sockets, which need neither, and for connections that are gone
        // already.
        let _ = stream.set_nodelay();
        let _ = stream.set_keepalive(self.settings.tcp_keepalive);
        match name {
            None => Ok(Wire::Plain(stream)),
            Some(name) => Ok(Wire::secure(stream, self.tls.dial(name.clone())?)),
        }
    }

    fn opened(&mut self, link: LinkId, wire: Wire, now: Time) {
        let who = Who::Link(link);
        self.connections.links.insert(link, Connection::new(wire, None));
        match self.watch(who) {
            Ok(()) => {
                self.machine.handle(Event::LinkOpened { link }, now);
                self.look_after(who);
            }
            Err(error) => {
                self.connections.remove(who);
                self.failures.push((link, error.to_string()));
            }
        }
    }

    pub(super) fn connect_timed_out(&mut self, link: LinkId) {
        let reason = match self.attempts.get(link).map(|attempt| (&attempt.stage, &attempt.error)) {
            None => return,
            Some((Stage::Resolving, _)) => "the lookup of its name took too long".to_owned(),
            Some((Stage::Shaking(_), _)) => {
                "it did not finish the TLS handshake in time: does it speak TLS there?".to_owned()
            }
            Some((Stage::Connecting(_), None)) => "it did not answer in time".to_owned(),
            Some((Stage::Connecting(_), Some(earlier))) => {
                format!("it did not answer in time, and at another address: {earlier}")
            }
        };
        self.attempt_failed(link, &reason);
    }

    fn attempt_failed(&mut self, link: LinkId, reason: &str) {
        self.forget_attempt(link);
        self.failures.push((link, reason.to_owned()));
    }

    pub(super) fn forget_attempt(&mut self, link: LinkId) {
        if let Some(attempt) = self.attempts.remove(link)
            && let Some(stream) = attempt.stage.stream()
        {
            self.epoll.remove(stream.fd());
        }
    }
}

/// The kernel may connect a socket to itself, when nobody listens on a port of this machine and it
/// picks that very port as the near end. To us that is a refusal; and the port is held for as long
/// as it lasts, so that the real server couldn't come back.
fn self_connected(stream: &Stream) -> Option<io::Error> {
    let near = stream.local_address().ok()?.internet()?;
    let far = stream.peer_address().ok()?.internet()?;
    (near == far).then(|| io::Error::from_raw_os_error(libc::ECONNREFUSED))
}

fn describe(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::WouldBlock {
        // Only a Unix socket says so.
        return "too many connections wait for it to accept them".to_owned();
    }
    error.to_string()
}
