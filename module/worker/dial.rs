//! Connecting to shards.
//!
//! ```text
//!   Connect --name--> Resolving --addresses--> Connecting to the first --refused--> ... the next
//!          \--number------------------------/        |                                  |
//!                                                    v                                  v
//!                                               LinkOpened                          LinkFailed
//! ```
//!
//! One timeout covers the name and all addresses. A failure has a reason that a person can act on,
//! and is told in the next turn.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use std::vec::IntoIter;

use crate::engine::Event;
use crate::ids::{LinkId, Time};
use crate::os::address::RawAddress;
use crate::os::epoll::Interest;
use crate::os::socket::Stream;
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
    /// The addresses that have not been tried.
    rest: IntoIter<RawAddress>,
    /// Why the one before failed.
    error: Option<io::Error>,
}

#[derive(Debug)]
enum Stage {
    Resolving,
    Connecting(Stream),
}

impl<M: Machine> Worker<M> {
    pub(super) fn connect(
        &mut self,
        link: LinkId,
        address: &Address,
        timeout: Duration,
        now: Time,
    ) {
        self.alarms.set(now + timeout, Alarm::GiveUpConnecting(link));
        let known = match address {
            Address::Unix(path) => match RawAddress::unix(Path::new(path)) {
                Ok(address) => vec![address],
                Err(error) => return self.failures.push((link, error.to_string())),
            },
            Address::Tcp { host, port } => match host.parse::<IpAddr>() {
                Ok(ip) => vec![SocketAddr::new(ip, *port).into()],
                Err(_) => return self.look_up(link, host.clone(), *port),
            },
        };
        self.try_next(link, known.into_iter(), None);
    }

    fn look_up(&mut self, link: LinkId, host: String, port: u16) {
        let attempt =
            Attempt { stage: Stage::Resolving, rest: Vec::new().into_iter(), error: None };
        self.attempts.insert(link, attempt);
        if self.lookups.send(Lookup { worker: self.id, link, host, port }).is_err() {
            self.attempt_failed(link, "its name can't be looked up: that thread has ended");
        }
    }

    pub(super) fn resolved(&mut self, link: LinkId, resolved: Resolved) {
        // The engine may have let go of the link, or given up on it, in the meantime.
        if self.attempts.remove(link).is_none() {
            return;
        }
        match resolved {
            Ok(found) => {
                let addresses: Vec<RawAddress> = found.into_iter().map(Into::into).collect();
                self.try_next(link, addresses.into_iter(), None);
            }
            Err(reason) => self.failures.push((link, reason)),
        }
    }

    fn try_next(
        &mut self,
        link: LinkId,
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
                    self.attempts.insert(link, Attempt { stage, rest, error });
                    return;
                }
                Err(why) => error = Some(why),
            }
        }
        let reason = error.map_or_else(|| "it has no address".to_owned(), |e| describe(&e));
        self.failures.push((link, reason));
    }

    /// The socket of an attempt has something to say: it stands, or it failed.
    pub(super) fn attempt_ready(&mut self, link: LinkId, now: Time) {
        let Some(attempt) = self.attempts.remove(link) else {
            return;
        };
        let Stage::Connecting(stream) = attempt.stage else {
            return;
        };
        let error = stream.error().or_else(|| self_connected(&stream));
        self.epoll.remove(stream.fd());
        if let Some(error) = error {
            drop(stream);
            return self.try_next(link, attempt.rest, Some(error));
        }
        // These fail for Unix sockets, which need neither, and for connections that are gone
        // already.
        let _ = stream.set_nodelay();
        let _ = stream.set_keepalive(self.settings.tcp_keepalive);
        let who = Who::Link(link);
        self.connections.links.insert(link, Connection::new(stream, None));
        match self.watch(who) {
            Ok(()) => self.machine.handle(Event::LinkOpened { link }, now),
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
        if let Some(Attempt { stage: Stage::Connecting(stream), .. }) = self.attempts.remove(link) {
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
