//! A connection's bytes, with TLS or without, in one handle.
//!
//! The worker reads, writes and watches a [`Wire`] without knowing which it is. What TLS adds to a
//! socket (bytes that are here though the socket is empty, bytes that are still here though they
//! were written: see `tls/channel.rs`) a plain socket simply never has. A [`Pipe`] is a connection
//! without a socket: there is nothing to watch, and it takes all that is written.

use std::io;

use super::fds::Fd;
use super::socket::{Stream, Written};
use super::tls::Channel;

/// A connection.
#[derive(Debug)]
pub enum Wire {
    /// Bytes as they are.
    Plain(Stream),
    /// TLS.
    Secure(Secure),
    /// The peer is in this process.
    Inside(Pipe),
}

/// A connection whose other end is in this process.
#[derive(Debug, Default)]
pub struct Pipe {
    /// What the peer has sent, of which `read` bytes have been read.
    inbound: Vec<u8>,
    read: usize,
    /// The peer sends no more.
    over: bool,
    /// What it has been sent.
    outbound: Vec<u8>,
}

impl Pipe {
    /// The peer sends `bytes`.
    pub fn send(&mut self, bytes: Vec<u8>) {
        if self.inbound.is_empty() {
            self.inbound = bytes;
        } else {
            self.inbound.extend_from_slice(&bytes);
        }
    }

    /// The peer has sent its last byte. What it sent is still read.
    pub fn hang_up(&mut self) {
        self.over = true;
    }

    /// Whether the peer sends no more, and not all that it sent has been read.
    pub fn is_left_unread(&self) -> bool {
        self.over && self.unread() > 0
    }

    /// Moves all that the peer was sent behind what `to` holds.
    pub fn receive(&mut self, to: &mut Vec<u8>) {
        if to.is_empty() {
            std::mem::swap(to, &mut self.outbound);
        } else {
            to.append(&mut self.outbound);
        }
    }

    fn take(&mut self, space: &mut [u8]) -> io::Result<usize> {
        let rest = &self.inbound[self.read..];
        let bytes = rest.len().min(space.len());
        if bytes == 0 {
            return if self.over { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        space[..bytes].copy_from_slice(&rest[..bytes]);
        self.read += bytes;
        if self.read == self.inbound.len() {
            self.inbound = Vec::new();
            self.read = 0;
        }
        Ok(bytes)
    }

    fn put(&mut self, pieces: [&[u8]; 2]) -> Written {
        for piece in pieces {
            self.outbound.extend_from_slice(piece);
        }
        Written { bytes: pieces[0].len() + pieces[1].len(), full: false }
    }

    fn unread(&self) -> usize {
        self.inbound.len() - self.read
    }
}

/// A connection with TLS. When it is dropped the peer is told that nothing more will come.
#[derive(Debug)]
pub struct Secure {
    // In a box: the state of TLS is a kilobyte, of which plain connections want none.
    channel: Box<Channel>,
    stream: Stream,
}

impl Drop for Secure {
    fn drop(&mut self) {
        self.channel.close(&self.stream);
    }
}

impl Wire {
    /// Both ends of `stream` speak TLS, or are about to begin.
    pub fn secure(stream: Stream, channel: Channel) -> Self {
        Self::Secure(Secure { channel: Box::new(channel), stream })
    }

    /// The socket, if there is one.
    pub fn stream(&self) -> Option<&Stream> {
        match self {
            Self::Plain(stream) => Some(stream),
            Self::Secure(secure) => Some(&secure.stream),
            Self::Inside(_) => None,
        }
    }

    /// What to watch, if anything.
    pub fn fd(&self) -> Option<&Fd> {
        self.stream().map(Stream::fd)
    }

    /// Whether it is TLS.
    pub fn is_secure(&self) -> bool {
        matches!(self, Self::Secure(_))
    }

    /// Goes on with the handshake; see [`Channel::shake`]. A plain connection has none to do.
    ///
    /// # Errors
    /// Why it failed, for people.
    pub fn shake(&mut self) -> io::Result<bool> {
        match self {
            Self::Plain(_) | Self::Inside(_) => Ok(true),
            Self::Secure(Secure { channel, stream }) => channel.shake(stream),
        }
    }

    /// Whether the peer has sent anything during the handshake.
    pub fn touched(&self) -> bool {
        match self {
            Self::Plain(_) | Self::Inside(_) => false,
            Self::Secure(secure) => secure.channel.touched(),
        }
    }

    /// Reads into `space`; 0 means that the peer has sent its last byte. Less than `space` holds
    /// means that the socket is empty or at its end.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing to read now; any other is the end of the connection.
    pub fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(space),
            Self::Secure(Secure { channel, stream }) => channel.read(stream, space),
            Self::Inside(pipe) => pipe.take(space),
        }
    }

    /// Writes the two pieces, one after the other, as far as possible; and whatever is held.
    ///
    /// # Errors
    /// The end of the connection. A full socket is no error.
    pub fn write(&mut self, pieces: [&[u8]; 2]) -> io::Result<Written> {
        match self {
            Self::Plain(stream) => {
                let offered = pieces[0].len() + pieces[1].len();
                match stream.write(pieces) {
                    Ok(bytes) => Ok(Written { bytes, full: bytes < offered }),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        Ok(Written { bytes: 0, full: true })
                    }
                    Err(error) => Err(error),
                }
            }
            Self::Secure(Secure { channel, stream }) => channel.write(stream, pieces),
            Self::Inside(pipe) => Ok(pipe.put(pieces)),
        }
    }

    /// Whether there is something to read of which the kernel knows nothing.
    pub fn has_more(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Secure(secure) => secure.channel.has_more(),
            Self::Inside(pipe) => pipe.unread() > 0 || pipe.over,
        }
    }

    /// Whether bytes that were written wait here for the kernel to take them.
    pub fn holds(&self) -> bool {
        match self {
            Self::Plain(_) | Self::Inside(_) => false,
            Self::Secure(secure) => secure.channel.holds(),
        }
    }

    /// How many bytes have come and have not been read: 0, or not.
    pub fn unread(&mut self) -> usize {
        match self {
            Self::Plain(stream) => stream.unread(),
            Self::Secure(Secure { channel, stream }) => channel.look(stream),
            Self::Inside(pipe) => pipe.unread(),
        }
    }
}

/// Whether a connection that was to be plain begins with a record of TLS instead: a handshake or an
/// alert, whose first bytes no request and no reply begins with. Source: RFC 8446, section 5.1.
pub fn begins_with_tls(bytes: &[u8]) -> bool {
    const ALERT: u8 = 21;
    const HANDSHAKE: u8 = 22;
    const MAJOR_VERSION: u8 = 3;
    matches!(bytes, [ALERT | HANDSHAKE, MAJOR_VERSION, ..])
}
