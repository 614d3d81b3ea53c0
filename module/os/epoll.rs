//! Which descriptors are ready.
//!
//! **Level-triggered**, but for bells. A connection that has more to read than one turn gives it is
//! simply reported again, so fairness needs no list of the half-read; a reader that stops at a
//! short read, and doesn't ask once more to hear that there is nothing, misses nothing. The price
//! of level is one `epoll_ctl` when interest changes (a peer that doesn't take our bytes, a client
//! held back), which is the rare case. Edge-triggered would save that and cost an extra `read` per
//! connection and turn.
//!
//! Timeouts are kept to the microsecond with `epoll_pwait2` (Linux 5.11); where the kernel or a
//! sandbox doesn't have it, they are rounded up to the millisecond, never down: a timer that fires
//! early would only make its owner spin until it is time.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

use super::fds::{Fd, FdSpace};
use super::{checked, retried};

/// What a watcher of a descriptor wants to hear of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest(u32);

impl Interest {
    /// Only what the kernel always tells: errors, and the end of both directions.
    pub const NONE: Self = Self(0);
    /// Bytes to read, or their end.
    pub const READ: Self = Self(libc::EPOLLIN as u32);
    /// Room to write.
    pub const WRITE: Self = Self(libc::EPOLLOUT as u32);
    /// The peer has sent its last byte, whether or not all have been read.
    pub const HANGUP: Self = Self(libc::EPOLLRDHUP as u32);
    /// Each event once, however often it isn't answered: for bells.
    pub const EDGE_READ: Self = Self(libc::EPOLLIN as u32 | libc::EPOLLET as u32);

    /// Both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What a descriptor was found ready for.
#[derive(Clone, Copy, Debug)]
pub struct Readiness(u32);

impl Readiness {
    /// There is room to write.
    pub fn writable(self) -> bool {
        self.0 & libc::EPOLLOUT as u32 != 0
    }

    /// There is something to read: bytes, their end, or an error.
    pub fn readable(self) -> bool {
        self.0 & (libc::EPOLLIN as u32) != 0 || self.hung_up() || self.dead()
    }

    /// The peer sends no more.
    pub fn hung_up(self) -> bool {
        self.0 & libc::EPOLLRDHUP as u32 != 0 || self.dead()
    }

    /// Neither direction works any more.
    pub fn dead(self) -> bool {
        self.0 & (libc::EPOLLHUP | libc::EPOLLERR) as u32 != 0
    }
}

/// Where the kernel writes what is ready; filled anew by each [`Epoll::wait`].
pub struct Events {
    buffer: Vec<libc::epoll_event>,
}

impl Events {
    /// Room for `capacity` events per wait. What doesn't fit comes with the next wait.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { buffer: Vec::with_capacity(capacity.max(1)) }
    }

    /// The `index`th event of the last wait: whose, and what. `None` after the last.
    pub fn get(&self, index: usize) -> Option<(u64, Readiness)> {
        self.buffer.get(index).map(|event| (event.u64, Readiness(event.events)))
    }
}

/// One set of watched descriptors.
#[derive(Debug)]
pub struct Epoll {
    fd: Fd,
    has_pwait2: bool,
}

impl Epoll {
    /// An empty set.
    ///
    /// # Errors
    /// When the process or the system has no more descriptors.
    pub fn new(space: FdSpace) -> io::Result<Self> {
        // SAFETY: the call touches no memory.
        let raw = checked(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the kernel just made this number for us alone.
        let fd = space.lift(unsafe { OwnedFd::from_raw_fd(raw) })?;
        Ok(Self { fd, has_pwait2: true })
    }

    /// Starts to watch; events will carry `token`.
    ///
    /// # Errors
    /// When the system is out of memory or of watches.
    pub fn add(&self, fd: &Fd, interest: Interest, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, interest, token)
    }

    /// Watches the same descriptor for something else.
    ///
    /// # Errors
    /// When the system is out of memory.
    pub fn modify(&self, fd: &Fd, interest: Interest, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, interest, token)
    }

    /// Stops watching. To be called before a descriptor is closed: if a forked child holds a copy,
    /// the kernel would go on reporting it to us.
    pub fn remove(&self, fd: &Fd) {
        // It fails only for a descriptor that isn't watched, which is what was wanted.
        let _ = self.control(libc::EPOLL_CTL_DEL, fd, Interest::NONE, 0);
    }

    fn control(
        &self,
        what: libc::c_int,
        fd: &Fd,
        interest: Interest,
        token: u64,
    ) -> io::Result<()> {
        let mut event = libc::epoll_event { events: interest.0, u64: token };
        // SAFETY: both descriptors are open, and the pointer is to a whole event.
        checked(unsafe { libc::epoll_ctl(self.fd.raw(), what, fd.raw(), &raw mut event) })?;
        Ok(())
    }

    /// Sleeps until something is ready or `timeout` is over (`None`: for ever), and puts what is
    /// ready in `events`. A signal ends the sleep early, with no events.
    ///
    /// # Errors
    /// None that a correct program sees; they would mean a broken descriptor.
    pub fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.buffer.clear();
        let ready = if self.has_pwait2 {
            match self.wait_precisely(events, timeout) {
                // A kernel before 5.11 doesn't know the call, and some sandboxes forbid what they
                // don't know.
                Err(e) if matches!(e.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                    self.has_pwait2 = false;
                    self.wait_coarsely(events, timeout)
                }
                other => other,
            }
        } else {
            self.wait_coarsely(events, timeout)
        };
        match ready {
            Ok(ready) => {
                // SAFETY: the kernel has written this many events, at most the capacity it was
                // given.
                unsafe { events.buffer.set_len(ready) };
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn wait_precisely(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<usize> {
        let spec = timeout.map(|timeout| libc::timespec {
            tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::from(timeout.subsec_nanos()),
        });
        // By number and not by name: the name came to glibc years after the call came to the
        // kernel. SAFETY: the buffer has room for the number of events given, and the time is
        // either null or lives until the call is over; a null mask changes no signals.
        super::checked_size(unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.fd.raw(),
                events.buffer.as_mut_ptr(),
                capacity(events),
                spec.as_ref().map_or(ptr::null(), ptr::from_ref),
                ptr::null::<libc::sigset_t>(),
                0usize,
            )
        } as isize)
    }

    fn wait_coarsely(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<usize> {
        let milliseconds = timeout.map_or(-1, |timeout| {
            i32::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(i32::MAX)
        });
        // SAFETY: the buffer has room for the number of events given.
        let ready = checked(unsafe {
            libc::epoll_wait(
                self.fd.raw(),
                events.buffer.as_mut_ptr(),
                capacity(events),
                milliseconds,
            )
        })?;
        Ok(ready as usize)
    }

    /// Whether `fd`'s room or bytes are there right now; for tests and one-off checks.
    ///
    /// # Errors
    /// When the system is out of memory.
    pub fn poll_now(fd: &Fd, interest: Interest) -> io::Result<bool> {
        let events = if interest == Interest::WRITE { libc::POLLOUT } else { libc::POLLIN };
        let mut poll = libc::pollfd { fd: fd.raw(), events, revents: 0 };
        // SAFETY: one pollfd, and the call returns at once.
        retried(|| checked(unsafe { libc::poll(&raw mut poll, 1, 0) })).map(|ready| ready > 0)
    }
}

fn capacity(events: &Events) -> libc::c_int {
    libc::c_int::try_from(events.buffer.capacity()).unwrap_or(libc::c_int::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::clock;
    use crate::os::eventfd::Bell;

    fn space() -> FdSpace {
        FdSpace::new(800).unwrap()
    }

    #[test]
    fn a_timeout_is_kept_to_well_under_a_millisecond() {
        let mut epoll = Epoll::new(space()).unwrap();
        let mut events = Events::with_capacity(4);
        let mut slept = Vec::new();
        for _ in 0..21 {
            let before = clock::now();
            epoll.wait(&mut events, Some(Duration::from_micros(300))).unwrap();
            slept.push(clock::now().since(before));
        }
        slept.sort();
        assert!(slept[0] >= Duration::from_micros(300), "woken early: {slept:?}");
        if epoll.has_pwait2 {
            // The best of them: the others say how busy the machine is.
            assert!(slept[0] < Duration::from_micros(900), "coarse: {slept:?}");
        }
    }

    #[test]
    fn without_the_newer_call_timeouts_are_rounded_up() {
        let mut epoll = Epoll::new(space()).unwrap();
        epoll.has_pwait2 = false;
        let before = clock::now();
        epoll.wait(&mut Events::with_capacity(1), Some(Duration::from_micros(1200))).unwrap();
        assert!(clock::now().since(before) >= Duration::from_micros(1900));
    }

    #[test]
    fn each_ring_of_a_bell_is_heard_once_though_nobody_reads_it() {
        let mut epoll = Epoll::new(space()).unwrap();
        let mut events = Events::with_capacity(4);
        let bell = Bell::new(space()).unwrap();
        epoll.add(bell.fd(), Interest::EDGE_READ, 42).unwrap();
        for _ in 0..3 {
            bell.ring();
            epoll.wait(&mut events, None).unwrap();
            assert_eq!(events.get(0).map(|(token, _)| token), Some(42));
            epoll.wait(&mut events, Some(Duration::ZERO)).unwrap();
            assert!(events.get(0).is_none());
        }
    }
}
