//! One secure connection: what is plain on our side and cipher on the socket's.
//!
//! ```text
//!   read  <-- plaintext, whole records <-- decrypt <-- part of a record <-- recv
//!   write --> encrypt --> ciphertext that the kernel has not taken     --> send
//! ```
//!
//! A channel behaves as a socket does: it never blocks, it says `WouldBlock` when there is nothing
//! to read or no room to write, and 0 bytes mean that the peer sends no more. Two things are
//! different, and whoever watches the socket must ask for them, since the kernel knows of neither:
//!
//! * **Bytes that are here already.** The socket may be empty while decrypted bytes, or the end of
//!   the peer's, wait in here: [`Channel::has_more`]. Without asking, a request could lie here
//!   until its client sends another.
//! * **Bytes that are still here.** What [`Channel::write`] took may wait in here for the kernel:
//!   [`Channel::holds`]. Reading may leave some too, for the protocol answers for itself (a change
//!   of keys, an alert).
//!
//! Both are bounded, by rustls's own buffers: about 16 KB to be read (a record), 64 KB to be sent.
//! A channel that holds ciphertext takes no more plaintext; one that holds plaintext reads no more
//! of the socket. So both ends feel each other, as they do without TLS.
//!
//! The end of the peer's bytes is `close_notify`, or the end of the connection without it. To
//! distinguish them would serve nobody: requests and replies say how long they are, and one that
//! was cut off is never taken for whole.

use std::io::{self, BufRead, IoSlice, Read, Write};

use rustls::Connection;

use super::words;
use crate::limits::TLS_WRITE_BYTES;
use crate::os::socket::{Stream, Written};

/// What a channel needs of the socket below it.
pub trait Socket {
    /// Reads; 0 means that the peer has sent its last byte.
    ///
    /// # Errors
    /// `WouldBlock`, or the end of the connection.
    fn recv(&self, space: &mut [u8]) -> io::Result<usize>;

    /// Writes the pieces, one after the other, and says how many of their bytes were taken.
    ///
    /// # Errors
    /// `WouldBlock`, or the end of the connection.
    fn send(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize>;
}

impl Socket for Stream {
    fn recv(&self, space: &mut [u8]) -> io::Result<usize> {
        self.read(space)
    }

    fn send(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_pieces(pieces)
    }
}

/// What a pull at the socket has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pulled {
    /// Bytes, and there may be more.
    More,
    /// Nothing, or all that there was for now.
    Empty,
}

/// See the module's picture.
#[derive(Debug)]
pub struct Channel {
    pub(super) tls: Connection,
    /// Decrypted bytes that were not read: at least so many.
    unread: usize,
    /// The peer sends no more, in one way or the other.
    ended: bool,
    /// An error that was met behind bytes.
    broken: Option<io::Error>,
    /// Whether a byte ever came.
    touched: bool,
}

impl Channel {
    pub(super) fn new(tls: Connection) -> Self {
        Self { tls, unread: 0, ended: false, broken: None, touched: false }
    }

    /// Goes on with the handshake as far as it goes now. Says whether it is done; then the channel
    /// can be read and written. Ciphertext may be held in either case.
    ///
    /// # Errors
    /// Why it failed, for people. The peer has been told as far as its socket took it.
    pub fn shake(&mut self, socket: &impl Socket) -> io::Result<bool> {
        while self.tls.is_handshaking() {
            self.push(socket)?;
            let pulled = self.pull(socket)?;
            if self.ended && self.tls.is_handshaking() {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "it closed the connection during the TLS handshake",
                ));
            }
            if pulled == Pulled::Empty {
                break;
            }
        }
        self.push(socket)?;
        Ok(!self.tls.is_handshaking())
    }

    /// Whether the peer has sent anything yet.
    pub fn touched(&self) -> bool {
        self.touched
    }

    /// Reads into `space`; 0 means that the peer has sent its last byte. Less than `space` holds
    /// means that the socket is empty, or at its end.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing to read now; any other is the end of the connection.
    pub fn read(&mut self, socket: &impl Socket, space: &mut [u8]) -> io::Result<usize> {
        let (mut filled, mut dry) = (0, false);
        loop {
            filled += self.take_out(&mut space[filled..])?;
            // The end, or an error, that was met behind bytes is told by the next read.
            let done = dry || self.broken.is_some();
            if filled == space.len() || self.ended || (filled > 0 && done) {
                return Ok(filled);
            }
            if let Some(error) = self.broken.take() {
                return Err(error);
            }
            if dry {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            match self.pull(socket) {
                Ok(pulled) => dry = pulled == Pulled::Empty,
                Err(error) => self.broken = Some(error),
            }
        }
    }

    /// Takes bytes of the two pieces, as many as make sense now, and sends what the socket takes of
    /// their ciphertext.
    ///
    /// # Errors
    /// The end of the connection. A full socket is no error.
    pub fn write(&mut self, socket: &impl Socket, mut pieces: [&[u8]; 2]) -> io::Result<Written> {
        let mut bytes = 0;
        self.push(socket)?;
        while !self.tls.wants_write() && bytes < TLS_WRITE_BYTES {
            let taken = self.tls.writer().write_vectored(&pieces.map(IoSlice::new))?;
            if taken == 0 {
                break;
            }
            bytes += taken;
            let of_first = taken.min(pieces[0].len());
            pieces = [&pieces[0][of_first..], &pieces[1][taken - of_first..]];
            self.push(socket)?;
        }
        Ok(Written { bytes, full: self.holds() })
    }

    /// Whether there is something to read of which the socket knows nothing: bytes, their end, or
    /// why there will be none.
    pub fn has_more(&self) -> bool {
        self.unread > 0 || self.ended || self.broken.is_some()
    }

    /// Whether ciphertext waits for the socket.
    pub fn holds(&self) -> bool {
        self.tls.wants_write()
    }

    /// Looks what has come, as far as there is room for it, and says how many bytes at least there
    /// are to be read. 0 if there are none, or the connection broke, which the next read will tell.
    pub fn look(&mut self, socket: &impl Socket) -> usize {
        while !self.has_more() {
            match self.pull(socket) {
                Ok(Pulled::More) => {}
                Ok(Pulled::Empty) => break,
                Err(error) => self.broken = Some(error),
            }
        }
        self.unread
    }

    /// Tells the peer that nothing more will come, if its socket takes that now.
    pub fn close(&mut self, socket: &impl Socket) {
        if !self.tls.is_handshaking() {
            self.tls.send_close_notify();
            // Who can't take it will see the connection's end.
            let _ = self.push(socket);
        }
    }

    /// Decrypted bytes, as many as there are and fit.
    fn take_out(&mut self, space: &mut [u8]) -> io::Result<usize> {
        if self.unread == 0 || space.is_empty() {
            return Ok(0);
        }
        let count = self.tls.reader().read(space)?;
        self.unread = self.decrypted();
        Ok(count)
    }

    /// How many decrypted bytes there are, at least: those of the first record.
    fn decrypted(&mut self) -> usize {
        self.tls.reader().fill_buf().map_or(0, <[u8]>::len)
    }

    /// Receives once, and decrypts what is complete. Only while there is nothing decrypted: there
    /// would be no room for more.
    fn pull(&mut self, socket: &impl Socket) -> io::Result<Pulled> {
        debug_assert!(self.unread == 0);
        let mut inlet = Inlet { socket, short: false };
        let came = match self.tls.read_tls(&mut inlet) {
            Ok(came) => came,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Pulled::Empty),
            Err(error) => return Err(error),
        };
        self.touched |= came > 0;
        let processed = self.tls.process_new_packets();
        // Also behind an error: what came before it is as good as ever.
        self.unread = self.decrypted();
        let state = match processed {
            Ok(state) => state,
            Err(error) => {
                // The alert that tells the peer why. Who can't take it will see the end.
                let _ = self.push(socket);
                return Err(words::broken(&error));
            }
        };
        self.ended = came == 0 || state.peer_has_closed();
        Ok(if inlet.short || self.ended { Pulled::Empty } else { Pulled::More })
    }

    /// Sends as much of the ciphertext as the socket takes.
    fn push(&mut self, socket: &impl Socket) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut Outlet { socket }) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The socket as rustls reads it.
struct Inlet<'a, S> {
    socket: &'a S,
    /// It gave less than it was asked for: it is empty now.
    short: bool,
}

impl<S: Socket> Read for Inlet<'_, S> {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        let count = self.socket.recv(space)?;
        self.short = count < space.len();
        Ok(count)
    }
}

/// The socket as rustls writes it.
struct Outlet<'a, S> {
    socket: &'a S,
}

impl<S: Socket> Write for Outlet<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.send(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.socket.send(pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
