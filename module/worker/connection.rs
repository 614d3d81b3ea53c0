//! The connections of one worker: clients' and shards', and what epoll is told of each.

use crate::engine::Peer;
use crate::ids::{LinkId, Mirror, SessionId, Slab, SlabId};
use crate::os::epoll::Interest;
use crate::os::wire::Wire;

use super::guest::Guest;
use super::listener::Ticket;

/// Whose a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Session(SessionId),
    Link(LinkId),
}

/// What epoll watches, and how it is written into the 64 bits that an event carries.
///
/// ```text
///   63 62 | 61 ........ 32 | 31 ....... 0
///   kind  |     index      |     tag
/// ```
///
/// An event that was fetched before a connection ended carries its tag, and so never reaches the
/// next tenant of its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watched {
    Bell,
    Listener(u32),
    Connection(Who),
}

const INDEX_BITS: u32 = 30;

impl Watched {
    pub(super) fn token(self) -> u64 {
        let (kind, index, tag) = match self {
            Self::Bell => (0, 0, 0),
            Self::Listener(index) => (1, index, 0),
            Self::Connection(Who::Session(id)) => (2, id.index(), id.tag()),
            Self::Connection(Who::Link(id)) => (3, id.index(), id.tag()),
        };
        debug_assert!(index < 1 << INDEX_BITS, "descriptors end long before");
        (kind << 62) | (u64::from(index) << 32) | u64::from(tag)
    }

    pub(super) fn of(token: u64) -> Self {
        let index = (token >> 32) as u32 & ((1 << INDEX_BITS) - 1);
        let tag = token as u32;
        match token >> 62 {
            0 => Self::Bell,
            1 => Self::Listener(index),
            2 => Self::Connection(Who::Session(SessionId::new(index, tag))),
            _ => Self::Connection(Who::Link(LinkId::new(index, tag))),
        }
    }
}

/// Whether a connection is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    On,
    /// The engine wants no bytes now; that the peer has sent its last one must still be noticed.
    Off,
    /// As above, and it is known that the peer has sent its last byte: there are some before it.
    OffAtEnd,
    /// As above, and the connection is dead in both directions, which the kernel would report
    /// without end. So it isn't watched at all until it is read again.
    OffUnwatched,
    /// The peer has sent its last byte and it was read; it may still be written to.
    Ended,
}

/// One open connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) wire: Wire,
    /// A client whose TLS handshake is not done: the machine doesn't know of it yet.
    pub(super) arriving: Option<Peer>,
    /// A client without a socket.
    pub(super) guest: Option<Box<Guest>>,
    /// Nothing was read from it yet.
    pub(super) fresh: bool,
    pub(super) reading: Reading,
    /// The kernel took less than it was offered; a write makes sense again when it says so.
    pub(super) full: bool,
    /// It is in the list of those to be written to.
    pub(super) dirty: bool,
    /// It is in the list of those that have bytes of which the kernel knows nothing.
    pub(super) eager: bool,
    /// The turn in which it was last written to.
    pub(super) wrote_in: u64,
    /// It closes when what it is owed has been written.
    pub(super) closing: bool,
    /// Why nothing can be written any more, while there may still be something to read.
    pub(super) deaf: Option<String>,
    /// What epoll was told last.
    pub(super) told: Interest,
    /// A client's place among `maxclients`.
    _ticket: Option<Ticket>,
}

impl Connection {
    pub(super) fn new(wire: Wire, ticket: Option<Ticket>) -> Self {
        Self {
            // What a link's handshake left to be sent.
            full: wire.holds(),
            wire,
            arriving: None,
            guest: None,
            fresh: true,
            reading: Reading::On,
            dirty: false,
            eager: false,
            wrote_in: 0,
            closing: false,
            deaf: None,
            told: Interest::READ,
            _ticket: ticket,
        }
    }

    /// What epoll should be told.
    pub(super) fn interest(&self) -> Interest {
        let reading = match self.reading {
            Reading::On => Interest::READ,
            Reading::Off => Interest::HANGUP,
            Reading::OffAtEnd | Reading::OffUnwatched | Reading::Ended => Interest::NONE,
        };
        if self.full { reading.and(Interest::WRITE) } else { reading }
    }
}

/// All open connections of a worker.
#[derive(Debug, Default)]
pub(super) struct Connections {
    pub(super) sessions: Slab<SessionId, Connection>,
    pub(super) links: Mirror<LinkId, Connection>,
}

impl Connections {
    pub(super) fn get(&self, who: Who) -> Option<&Connection> {
        match who {
            Who::Session(id) => self.sessions.get(id),
            Who::Link(id) => self.links.get(id),
        }
    }

    pub(super) fn get_mut(&mut self, who: Who) -> Option<&mut Connection> {
        match who {
            Who::Session(id) => self.sessions.get_mut(id),
            Who::Link(id) => self.links.get_mut(id),
        }
    }

    pub(super) fn remove(&mut self, who: Who) -> Option<Connection> {
        match who {
            Who::Session(id) => self.sessions.remove(id),
            Who::Link(id) => self.links.remove(id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_carries_all_that_it_stands_for() {
        let last = (1 << INDEX_BITS) - 1;
        for watched in [
            Watched::Bell,
            Watched::Listener(0),
            Watched::Listener(7),
            Watched::Connection(Who::Session(SessionId::new(0, 0))),
            Watched::Connection(Who::Session(SessionId::new(last, u32::MAX))),
            Watched::Connection(Who::Link(LinkId::new(last, 5))),
            Watched::Connection(Who::Link(LinkId::new(3, u32::MAX))),
        ] {
            assert_eq!(Watched::of(watched.token()), watched);
        }
    }
}
