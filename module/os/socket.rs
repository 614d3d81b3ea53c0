//! Sockets that never block: listeners, and streams of bytes over TCP or a Unix socket.
//!
//! A stream is shut down before it is closed. Closing alone says goodbye to the peer only when the
//! last copy of the descriptor goes, and a forked child may hold one (`fds.rs`).

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use super::address::RawAddress;
use super::fds::{Fd, FdSpace};
use super::{checked, checked_size, retried};

const NEW_SOCKET: libc::c_int = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;

/// A socket that waits for clients.
#[derive(Debug)]
pub struct Listener {
    fd: Fd,
}

impl Listener {
    /// Binds `address` and listens. `backlog` is how many clients may wait to be accepted (the
    /// kernel may cut it to `net.core.somaxconn`).
    ///
    /// # Errors
    /// `AddrInUse`, `AddrNotAvailable`, `PermissionDenied`, or no more descriptors.
    pub fn bind(space: FdSpace, address: &RawAddress, backlog: i32) -> io::Result<Self> {
        let socket = new_socket(address.family())?;
        if address.family() != libc::AF_UNIX {
            // Without it a port stays taken for a minute after a restart.
            set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
        }
        if address.family() == libc::AF_INET6 {
            // `::` and `0.0.0.0` are two addresses, so that both can be listed.
            set_option(socket.as_raw_fd(), libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
        }
        let (name, length) = address.as_ptr();
        // SAFETY: the pointer and length are of a live address.
        checked(unsafe { libc::bind(socket.as_raw_fd(), name, length) })?;
        // SAFETY: the call touches no memory.
        checked(unsafe { libc::listen(socket.as_raw_fd(), backlog) })?;
        Ok(Self { fd: space.lift(socket)? })
    }

    /// The next client that waits, and its address.
    ///
    /// # Errors
    /// `WouldBlock` when nobody waits; see [`is_out_of_resources`] for the errors that last.
    pub fn accept(&self, space: FdSpace) -> io::Result<(Stream, RawAddress)> {
        let mut peer = RawAddress::empty();
        let raw = retried(|| {
            let (name, length) = peer.as_mut_ptr();
            let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
            // SAFETY: the pointers are to an address with room for any, and to its length.
            checked(unsafe { libc::accept4(self.fd.raw(), name, length, flags) })
        })?;
        // SAFETY: the kernel just made this number for us alone.
        let stream = Stream { fd: space.lift(unsafe { OwnedFd::from_raw_fd(raw) })? };
        Ok((stream, peer))
    }

    /// The address that it got, with the port that the kernel chose if it was asked to.
    ///
    /// # Errors
    /// None that a correct program sees.
    pub fn address(&self) -> io::Result<RawAddress> {
        local_address(&self.fd)
    }

    /// What to watch.
    pub fn fd(&self) -> &Fd {
        &self.fd
    }
}

/// Whether an `accept` failed for want of descriptors or memory, so that trying again at once would
/// only spin.
pub fn is_out_of_resources(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Bytes that were taken.
    pub bytes: usize,
    /// No more will be taken before the socket gets writable.
    pub full: bool,
}

/// A connection.
#[derive(Debug)]
pub struct Stream {
    fd: Fd,
}

impl Stream {
    /// Starts to connect. It is done when the stream gets writable; then [`Stream::error`] says how
    /// it went.
    ///
    /// # Errors
    /// What is known at once: no route, nobody at a Unix socket, no more descriptors. A Unix socket
    /// whose queue is full fails with `WouldBlock`.
    pub fn connect(space: FdSpace, address: &RawAddress) -> io::Result<Self> {
        let stream = Self { fd: space.lift(new_socket(address.family())?)? };
        let (name, length) = address.as_ptr();
        // SAFETY: the pointer and length are of a live address.
        match checked(unsafe { libc::connect(stream.fd.raw(), name, length) }) {
            Ok(_) => Ok(stream),
            // A signal doesn't stop the attempt, which goes on by itself.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR)) => {
                Ok(stream)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads into `space`; 0 means that the peer has sent its last byte.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing to read now; any other is the end of the connection.
    pub fn read(&self, space: &mut [u8]) -> io::Result<usize> {
        retried(|| {
            // SAFETY: the pointer and length are of one live slice.
            checked_size(unsafe {
                libc::recv(self.fd.raw(), space.as_mut_ptr().cast(), space.len(), 0)
            })
        })
    }

    /// Writes the two pieces, one after the other, and says how many bytes of them the kernel took.
    ///
    /// # Errors
    /// `WouldBlock` when it took none; any other is the end of the connection. No signal is raised.
    pub fn write(&self, pieces: [&[u8]; 2]) -> io::Result<usize> {
        match pieces {
            [piece, []] | [[], piece] => self.send(piece),
            both => self.write_pieces(&both.map(IoSlice::new)),
        }
    }

    /// Writes the pieces, one after the other, and says how many bytes of them the kernel took.
    /// More than it takes at once (`IOV_MAX`, 1024) are not offered.
    ///
    /// # Errors
    /// As [`Stream::write`].
    pub fn write_pieces(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        // SAFETY: a msghdr is plain integers and pointers, for which zero is a value.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        // An IoSlice is an iovec, as the standard library guarantees; the call only reads it.
        message.msg_iov = pieces.as_ptr().cast_mut().cast();
        message.msg_iovlen = pieces.len().min(libc::UIO_MAXIOV as usize);
        retried(|| {
            // SAFETY: the message points to live slices, which the call only reads.
            checked_size(unsafe {
                libc::sendmsg(self.fd.raw(), &raw const message, libc::MSG_NOSIGNAL)
            })
        })
    }

    fn send(&self, piece: &[u8]) -> io::Result<usize> {
        retried(|| {
            // SAFETY: the pointer and length are of one live slice.
            checked_size(unsafe {
                libc::send(self.fd.raw(), piece.as_ptr().cast(), piece.len(), libc::MSG_NOSIGNAL)
            })
        })
    }

    /// What went wrong with the connection, or with the attempt to make it. Asking clears it.
    pub fn error(&self) -> Option<io::Error> {
        match get_option(self.fd.raw(), libc::SOL_SOCKET, libc::SO_ERROR) {
            Ok(0) => None,
            Ok(code) => Some(io::Error::from_raw_os_error(code)),
            Err(error) => Some(error),
        }
    }

    /// How many bytes have come and have not been read. 0 if the kernel won't say.
    pub fn unread(&self) -> usize {
        let mut bytes: libc::c_int = 0;
        // SAFETY: the call writes one int, for which there is room.
        let asked = checked(unsafe { libc::ioctl(self.fd.raw(), libc::FIONREAD, &raw mut bytes) });
        asked.map_or(0, |_| usize::try_from(bytes).unwrap_or(0))
    }

    /// Sends small writes at once. It is we who gather bytes into large ones, once per turn.
    ///
    /// # Errors
    /// When the stream isn't TCP.
    pub fn set_nodelay(&self) -> io::Result<()> {
        set_option(self.fd.raw(), libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)
    }

    /// Has the kernel ask a silent peer after `idle` whether it is still there, and end the
    /// connection after about twice that time without an answer. Zero leaves it off.
    ///
    /// # Errors
    /// When the stream isn't TCP.
    pub fn set_keepalive(&self, idle: Duration) -> io::Result<()> {
        let Some(idle) = i32::try_from(idle.as_secs()).ok().filter(|seconds| *seconds > 0) else {
            return Ok(());
        };
        let fd = self.fd.raw();
        set_option(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1)?;
        set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, idle)?;
        // Three questions within another such time: one lost packet is not a lost peer.
        set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, (idle / 3).max(1))?;
        set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPCNT, 3)
    }

    /// Our end of the connection.
    ///
    /// # Errors
    /// None that a correct program sees.
    pub fn local_address(&self) -> io::Result<RawAddress> {
        local_address(&self.fd)
    }

    /// The peer's end of the connection.
    ///
    /// # Errors
    /// `NotConnected` when it isn't, or isn't any more.
    pub fn peer_address(&self) -> io::Result<RawAddress> {
        let mut address = RawAddress::empty();
        let (name, length) = address.as_mut_ptr();
        // SAFETY: the pointers are to an address with room for any, and to its length.
        checked(unsafe { libc::getpeername(self.fd.raw(), name, length) })?;
        Ok(address)
    }

    /// What to watch.
    pub fn fd(&self) -> &Fd {
        &self.fd
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Fails only for a connection that is already gone.
        // SAFETY: the descriptor is open, and the call touches no memory.
        unsafe { libc::shutdown(self.fd.raw(), libc::SHUT_RDWR) };
    }
}

fn new_socket(family: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: the call touches no memory.
    let raw = checked(unsafe { libc::socket(family, NEW_SOCKET, 0) })?;
    // SAFETY: the kernel just made this number for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

fn local_address(fd: &Fd) -> io::Result<RawAddress> {
    let mut address = RawAddress::empty();
    let (name, length) = address.as_mut_ptr();
    // SAFETY: the pointers are to an address with room for any, and to its length.
    checked(unsafe { libc::getsockname(fd.raw(), name, length) })?;
    Ok(address)
}

fn set_option(
    fd: RawFd,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the pointer is to one int, whose size is given.
    let set = unsafe { libc::setsockopt(fd, level, option, (&raw const value).cast(), length) };
    checked(set).map(drop)
}

fn get_option(fd: RawFd, level: libc::c_int, option: libc::c_int) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the pointers are to one int and to its size.
    let got =
        unsafe { libc::getsockopt(fd, level, option, (&raw mut value).cast(), &raw mut length) };
    checked(got).map(|_| value)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};

    use super::*;
    use crate::os::epoll::{Epoll, Events, Interest};

    fn space() -> FdSpace {
        FdSpace::new(900).unwrap()
    }

    fn listen() -> (Listener, SocketAddr) {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let listener = Listener::bind(space(), &any.into(), 16).unwrap();
        let address = listener.address().unwrap().internet().unwrap();
        (listener, address)
    }

    fn wait_for(fd: &Fd, interest: Interest) {
        let mut epoll = Epoll::new(space()).unwrap();
        let mut events = Events::with_capacity(1);
        epoll.add(fd, interest, 0).unwrap();
        epoll.wait(&mut events, Some(Duration::from_secs(10))).unwrap();
        assert!(events.get(0).is_some(), "nothing in ten seconds");
    }

    fn accept(listener: &Listener) -> (Stream, RawAddress) {
        wait_for(listener.fd(), Interest::READ);
        listener.accept(space()).unwrap()
    }

    #[test]
    fn a_client_is_accepted_with_its_address_and_served() {
        let (listener, address) = listen();
        assert_eq!(listener.accept(space()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let mut client = TcpStream::connect(address).unwrap();
        let (stream, peer) = accept(&listener);
        assert_eq!(peer.internet(), Some(client.local_addr().unwrap()));
        assert_eq!(stream.local_address().unwrap().internet(), Some(address));
        assert!(stream.fd().raw() >= 900);
        stream.set_nodelay().unwrap();
        stream.set_keepalive(Duration::from_secs(300)).unwrap();
        assert_eq!(stream.read(&mut [0; 4]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(stream.write([b"two ", b"pieces"]).unwrap(), 10);
        let mut got = [0; 10];
        client.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"two pieces");
        client.write_all(b"bye").unwrap();
        wait_for(stream.fd(), Interest::READ);
        assert_eq!(stream.unread(), 3);
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 3);
        drop(client);
        wait_for(stream.fd(), Interest::READ);
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
    }

    #[test]
    fn a_peer_that_does_not_read_makes_writes_partial_and_nothing_is_lost() {
        let (listener, address) = listen();
        let mut client = TcpStream::connect(address).unwrap();
        let (stream, _) = accept(&listener);
        let block = [7u8; 64 * 1024];
        let mut sent = 0;
        let partial = loop {
            match stream.write([&block, &block]) {
                Ok(bytes) if bytes == 2 * block.len() => sent += bytes,
                Ok(bytes) => {
                    sent += bytes;
                    break true;
                }
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    break false;
                }
            }
        };
        assert!(partial || sent > 0);
        assert!(!Epoll::poll_now(stream.fd(), Interest::WRITE).unwrap());
        drop(stream);
        let mut all = Vec::new();
        client.read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), sent);
    }

    #[test]
    fn connecting_tells_success_and_refusal() {
        let (listener, address) = listen();
        let stream = Stream::connect(space(), &address.into()).unwrap();
        wait_for(stream.fd(), Interest::WRITE);
        assert!(stream.error().is_none());
        drop(listener);
        match Stream::connect(space(), &address.into()) {
            Ok(refused) => {
                wait_for(refused.fd(), Interest::WRITE);
                let error = refused.error().unwrap();
                assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
            }
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused),
        }
    }

    #[test]
    fn a_port_in_use_is_an_error() {
        let (_listener, address) = listen();
        let again = Listener::bind(space(), &address.into(), 16).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
    }
}
