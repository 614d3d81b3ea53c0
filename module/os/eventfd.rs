//! A bell: what one thread rings to get another out of its sleep in epoll.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use super::fds::{Fd, FdSpace};
use super::{checked, retried};

/// An eventfd. Watch it with [`super::epoll::Interest::EDGE_READ`] and never read it: each ring is
/// an edge of its own, so the sleeper needs no system call to silence the bell. The counter behind
/// it would be full after 2^64 rings.
#[derive(Debug)]
pub struct Bell {
    fd: Fd,
}

impl Bell {
    /// A new bell.
    ///
    /// # Errors
    /// When the process or the system has no more descriptors.
    pub fn new(space: FdSpace) -> io::Result<Self> {
        // SAFETY: the call touches no memory.
        let raw = checked(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: the kernel just made this number for us alone.
        Ok(Self { fd: space.lift(unsafe { OwnedFd::from_raw_fd(raw) })? })
    }

    /// Wakes whoever watches. Any thread may.
    pub fn ring(&self) {
        let one = 1u64.to_ne_bytes();
        let rung = retried(|| {
            // SAFETY: eight readable bytes, as an eventfd wants them.
            super::checked_size(unsafe { libc::write(self.fd.raw(), one.as_ptr().cast(), 8) })
        });
        debug_assert!(rung.is_ok(), "a bell can only fail when its counter is full: {rung:?}");
    }

    /// What to watch.
    pub fn fd(&self) -> &Fd {
        &self.fd
    }
}
