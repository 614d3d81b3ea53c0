//! Clients on their way in: the TLS handshake, and those who mistook one port for the other.
//!
//! ```text
//!   accept --TLS--> arriving --handshake done--> Accepted --> as any other client
//!      |               |
//!      |               +--failed, or too late--> a line in the log, closed
//!      +--plain--> Accepted --begins with TLS--> a line in the log, closed
//! ```
//!
//! The machine hears of a client when its handshake is done, so one that fails never was a client:
//! it costs a place among `maxclients` while it lasts, and that is bounded.

use std::io;

use crate::engine::{Event, Level};
use crate::ids::{SessionId, Time};
use crate::limits;
use crate::os::wire::Wire;

use super::alarm::Alarm;
use super::connection::{Connection, Who};
use super::listener::Newcomer;
use super::machine::Machine;
use super::turn::Worker;

impl<M: Machine> Worker<M> {
    /// Takes in a client that is to begin with a handshake.
    pub(super) fn await_handshake(&mut self, newcomer: Newcomer, now: Time) {
        let Newcomer { stream, peer, ticket, .. } = newcomer;
        let channel = match self.tls.accept() {
            Ok(channel) => channel,
            Err(error) => return self.log_refused(Level::Warning, &peer.address, &error),
        };
        let mut connection = Connection::new(Wire::secure(stream, channel), Some(ticket));
        connection.arriving = Some(peer);
        let session = self.connections.sessions.insert(connection);
        let who = Who::Session(session);
        if let Err(error) = self.watch(who) {
            self.log(Level::Warning, &format!("can't watch a client's connection: {error}"));
            self.connections.remove(who);
            return;
        }
        self.alarms.set(now + limits::TLS_HANDSHAKE_MAX, Alarm::GiveUpArriving(session));
    }

    /// The socket of a client that is arriving has something to say, or room to be told something.
    pub(super) fn arrival_ready(&mut self, session: SessionId, now: Time) {
        if self.handshakes == limits::TURN_HANDSHAKES_MAX {
            return; // It is reported again in the next turn.
        }
        self.handshakes += 1;
        let who = Who::Session(session);
        let Some(connection) = self.connections.get_mut(who) else {
            return;
        };
        let shaken = connection.wire.shake();
        connection.full = connection.wire.holds();
        match shaken {
            Ok(false) => self.tell_epoll(who),
            Ok(true) => {
                if let Some(peer) = connection.arriving.take() {
                    self.tell_epoll(who);
                    self.machine.handle(Event::Accepted { session, peer }, now);
                    // Its first request may have come together with the end of the handshake.
                    self.read(who, now);
                }
            }
            Err(error) => self.refuse(session, &error),
        }
    }

    pub(super) fn arrival_timed_out(&mut self, session: SessionId) {
        let arriving = self.connections.sessions.get(session).map(|found| found.arriving.is_some());
        if arriving == Some(true) {
            let seconds = limits::TLS_HANDSHAKE_MAX.as_secs();
            let late = format!("it has not finished the TLS handshake in {seconds} seconds");
            self.refuse(session, &io::Error::new(io::ErrorKind::TimedOut, late));
        }
    }

    /// Closes a client that has not arrived.
    fn refuse(&mut self, session: SessionId, error: &io::Error) {
        let Some(connection) = self.connections.remove(Who::Session(session)) else {
            return;
        };
        self.leave(&connection);
        self.stats().tls_refused.add(1);
        // Load balancers connect and go away without a word, once a second: no news.
        let level = if connection.wire.touched() { Level::Notice } else { Level::Verbose };
        let address = connection.arriving.as_ref().map_or("", |peer| &peer.address);
        self.log_refused(level, address, error);
    }

    fn log_refused(&self, level: Level, address: &str, error: &io::Error) {
        self.log(level, &format!("TLS: client {address} was refused: {error}"));
    }

    /// A connection that was to be plain begins with TLS.
    pub(super) fn unexpected_tls(&mut self, who: Who, now: Time) {
        if let (Who::Session(_), Some(connection)) = (who, self.connections.get(who)) {
            let peer = connection.wire.stream().and_then(|stream| stream.peer_address().ok());
            let address = peer.and_then(|peer| peer.internet());
            let address = address.map_or_else(String::new, |address| format!(" {address}"));
            let text = format!(
                "client{address} was refused: it speaks TLS, and this port doesn't; see \
                 weir.tls-port"
            );
            self.log(Level::Notice, &text);
        }
        self.end(who, "it speaks TLS: set weir.shard-tls to yes", now);
    }
}
