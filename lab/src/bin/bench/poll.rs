//! Which of many sockets can be read: the little of epoll that a load generator needs.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// As many as are asked of the kernel at once.
const EVENTS_MAX: usize = 256;

pub(crate) struct Poll {
    epoll: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Poll {
    pub(crate) fn new() -> io::Result<Poll> {
        // SAFETY: no memory is passed.
        let fd = checked(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the kernel has just given us this descriptor.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Poll { epoll, events: Vec::with_capacity(EVENTS_MAX) })
    }

    /// Watches a socket, for as long as it is open.
    pub(crate) fn add(&self, socket: &impl AsRawFd, token: usize) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: token as u64 };
        let epoll = self.epoll.as_raw_fd();
        let (add, fd) = (libc::EPOLL_CTL_ADD, socket.as_raw_fd());
        // SAFETY: both descriptors are open, and the pointer is to a whole event.
        checked(unsafe { libc::epoll_ctl(epoll, add, fd, &raw mut event) }).map(drop)
    }

    /// As [`Poll::wait`], to well under a millisecond.
    pub(crate) fn wait_precisely(
        &mut self,
        time: Duration,
    ) -> io::Result<impl Iterator<Item = usize> + '_> {
        let mut watched =
            libc::pollfd { fd: self.epoll.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let time = libc::timespec {
            tv_sec: time.as_secs() as libc::time_t,
            tv_nsec: libc::c_long::from(time.subsec_nanos()),
        };
        // SAFETY: one pollfd and one time, which both outlive the call; no signal mask. Whatever it
        // says, what is ready is asked for below.
        unsafe { libc::ppoll(&raw mut watched, 1, &raw const time, std::ptr::null()) };
        self.wait(Duration::ZERO)
    }

    /// The tokens of the sockets that can be read, after at most `time`.
    pub(crate) fn wait(&mut self, time: Duration) -> io::Result<impl Iterator<Item = usize> + '_> {
        let milliseconds = i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
        let (epoll, room) = (self.epoll.as_raw_fd(), self.events.as_mut_ptr());
        // SAFETY: there is room for that many events.
        let waited = unsafe { libc::epoll_wait(epoll, room, EVENTS_MAX as i32, milliseconds) };
        let ready = match checked(waited) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            other => other?,
        };
        // SAFETY: the kernel has filled in that many, which is no more than there is room for.
        unsafe { self.events.set_len(ready as usize) };
        Ok(self.events.iter().map(|event| event.u64 as usize))
    }
}

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
