//! Descriptors: where ours are, and how a forked child gets rid of them.
//!
//! ```text
//!   0 ........ maxclients + 128 ...... base ............. 2^20
//!   |  the host's event loop can  |     |  ours, each with  |
//!   |  hold only these numbers    |     |  a bit in OURS    |
//! ```
//!
//! **Why up there.** The host's event loop has room for `maxclients + 128` descriptor numbers. The
//! kernel hands out the lowest free number, so if ours lay below, a client of the host could be
//! given a number that doesn't fit, and would hang without a word. So every descriptor of ours is
//! moved to `base` or above as soon as it exists ([`FdSpace::lift`]).
//!
//! **Why a table.** BGSAVE and its kin fork. The child would keep our listening sockets and
//! connections open for as long as it lives: a port that stays taken after the parent has crashed,
//! and peers that never see the end of a connection. Close-on-exec doesn't help, for nobody calls
//! exec. So each descriptor has a bit in a table that never moves, and a handler that
//! `pthread_atfork` calls in the child closes them. In a child of a process with threads only
//! async-signal-safe calls are allowed; the handler reads atomics and calls `close`, nothing else.
//!
//! **What may still slip through.** A fork between the moment when the kernel makes a descriptor
//! and the moment when its bit is set leaves the child a copy. Listeners are made long before
//! anybody forks; for a connection it means only that the child holds it too, and since a
//! connection is shut down before it is closed (`socket.rs`), its peer sees the end at the right
//! time all the same.
//!
//! **Unloading.** The handler is registered once per loaded copy of this library, whose statics say
//! so. If the library is really unmapped, glibc removes the handler with it: `pthread_atfork` is
//! linked into each library, and registers under that library's `__dso_handle`, whose handlers
//! `dlclose` drops. If it stays mapped (the destructors of Rust's thread-locals pin it) and is
//! "loaded" again, the statics still say that the handler is there. Both ways it is there exactly
//! once.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::checked;
use crate::limits::DESCRIPTOR_NUMBERS_MAX;

const WORD_BITS: usize = u64::BITS as usize;
const WORDS: usize = DESCRIPTOR_NUMBERS_MAX / WORD_BITS;

/// A bit for each descriptor that is ours. In `.bss`: pages never touched cost nothing.
static OURS: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];
/// One more than the highest word of [`OURS`] that ever had a bit: where the child stops looking.
static WORDS_USED: AtomicUsize = AtomicUsize::new(0);
/// Whether the handler for forked children is there.
static HANDLER: AtomicBool = AtomicBool::new(false);

/// The part of the process's descriptor numbers that is ours: `base` and above.
#[derive(Clone, Copy, Debug)]
pub struct FdSpace {
    base: RawFd,
}

impl FdSpace {
    /// Claims the numbers from `base` up, and makes sure that forked children will close what is
    /// put there.
    ///
    /// # Errors
    /// When `base` is negative or beyond the table, or the handler can't be registered (out of
    /// memory).
    pub fn new(base: RawFd) -> io::Result<Self> {
        if !usize::try_from(base).is_ok_and(|base| base < DESCRIPTOR_NUMBERS_MAX) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("descriptors can't start at {base}: the bound is {DESCRIPTOR_NUMBERS_MAX}"),
            ));
        }
        register_handler()?;
        Ok(Self { base })
    }

    /// Moves a new descriptor up to where ours are, and enters it in the table.
    ///
    /// # Errors
    /// `EMFILE` when the process may have no more, or the table has no place for the number.
    pub fn lift(self, low: OwnedFd) -> io::Result<Fd> {
        // SAFETY: `low` is open, and the call touches no memory.
        let raised = unsafe { libc::fcntl(low.as_raw_fd(), libc::F_DUPFD_CLOEXEC, self.base) };
        // The kernel's word for a base beyond the limit is EINVAL; it is the same trouble.
        let raw = checked(raised).map_err(|error| match error.raw_os_error() {
            Some(libc::EINVAL) => io::Error::from_raw_os_error(libc::EMFILE),
            _ => error,
        })?;
        drop(low);
        if usize::try_from(raw).is_ok_and(|number| number < DESCRIPTOR_NUMBERS_MAX) {
            mark_ours(raw);
            return Ok(Fd { raw });
        }
        // SAFETY: `raw` was just made here and is known to nobody else.
        unsafe { libc::close(raw) };
        Err(io::Error::from_raw_os_error(libc::EMFILE))
    }

    /// Makes sure that `count` descriptors fit above the base, raising the process's limit if it
    /// may.
    ///
    /// # Errors
    /// When the limit is too low and can't be raised; the text says which limit is needed.
    pub fn room_for(self, count: usize) -> Result<(), NoRoom> {
        let base = self.base as u64;
        let needed = base + count as u64;
        let mut limit = open_files_limit();
        if limit.rlim_cur < needed && raise_open_files_limit(limit, needed) {
            limit = open_files_limit();
        }
        if limit.rlim_cur >= needed {
            return Ok(());
        }
        let available = usize::try_from(limit.rlim_cur.saturating_sub(base)).unwrap_or(usize::MAX);
        Err(NoRoom { available, count, limit: limit.rlim_cur, needed })
    }
}

/// The process may not have as many open files as are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom {
    /// How many descriptors do fit.
    pub available: usize,
    /// How many were asked for.
    pub count: usize,
    /// The limit as it is.
    pub limit: u64,
    /// The limit that would do.
    pub needed: u64,
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { available, count, limit, needed } = self;
        write!(
            f,
            "{count} file descriptors are needed beside the host's own, and there is room for \
             {available}: the limit of open files is {limit} and should be {needed} or more \
             (ulimit -n, or LimitNOFILE= of the service; note that a host lowers its own limit to \
             what its maxclients needs when it starts with less)"
        )
    }
}

impl std::error::Error for NoRoom {}

/// A descriptor of ours: up where it bothers nobody, in the table, closed when dropped.
#[derive(Debug)]
pub struct Fd {
    raw: RawFd,
}

impl Fd {
    /// The number, for a system call or a log line.
    pub fn raw(&self) -> RawFd {
        self.raw
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        // The bit goes first: once the number is closed another thread may be given it, and set it.
        let (word, bit) = place_of(self.raw);
        OURS[word].fetch_and(!bit, Ordering::Relaxed);
        // SAFETY: the number is ours alone, and is not used after this.
        unsafe { libc::close(self.raw) };
    }
}

fn mark_ours(raw: RawFd) {
    let (word, bit) = place_of(raw);
    OURS[word].fetch_or(bit, Ordering::Relaxed);
    WORDS_USED.fetch_max(word + 1, Ordering::Relaxed);
}

fn place_of(raw: RawFd) -> (usize, u64) {
    let number = raw as usize;
    (number / WORD_BITS, 1 << (number % WORD_BITS))
}

fn register_handler() -> io::Result<()> {
    if HANDLER.swap(true, Ordering::AcqRel) {
        return Ok(());
    }
    // SAFETY: the handler is a function of this library, and glibc forgets it when the library
    // goes.
    let returned = unsafe { libc::pthread_atfork(None, None, Some(close_ours_in_child)) };
    if returned == 0 {
        return Ok(());
    }
    HANDLER.store(false, Ordering::Release);
    Err(io::Error::from_raw_os_error(returned))
}

/// Runs in a forked child, where other threads are gone and any lock may be held for ever: atomics
/// and `close` only.
unsafe extern "C" fn close_ours_in_child() {
    for (index, word) in OURS.iter().enumerate().take(WORDS_USED.load(Ordering::Relaxed)) {
        let mut bits = word.swap(0, Ordering::Relaxed);
        while bits != 0 {
            let number = index * WORD_BITS + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            // SAFETY: the child's copy of a descriptor of ours, which nobody in the child uses.
            unsafe { libc::close(number as RawFd) };
        }
    }
}

fn open_files_limit() -> libc::rlimit {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a whole rlimit. The call can't fail for a known resource; if it
    // did, the limit would read as zero, which is the safe side.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    limit
}

fn raise_open_files_limit(now: libc::rlimit, needed: u64) -> bool {
    let raised = libc::rlimit { rlim_cur: needed, rlim_max: now.rlim_max.max(needed) };
    // SAFETY: the pointer is to a whole rlimit that the call only reads.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) == 0 }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    const BASE: RawFd = 700;

    fn some_fd() -> Fd {
        let low = OwnedFd::from(File::open("/dev/null").unwrap());
        FdSpace::new(BASE).unwrap().lift(low).unwrap()
    }

    fn is_open(raw: RawFd) -> bool {
        // SAFETY: asks about a number; touches no memory.
        unsafe { libc::fcntl(raw, libc::F_GETFD) != -1 }
    }

    #[test]
    fn a_descriptor_is_moved_up_and_closed_on_exec_and_on_drop() {
        let fd = some_fd();
        let raw = fd.raw();
        assert!(raw >= BASE);
        // SAFETY: as above.
        assert_eq!(unsafe { libc::fcntl(raw, libc::F_GETFD) }, libc::FD_CLOEXEC);
        let (word, bit) = place_of(raw);
        assert_ne!(OURS[word].load(Ordering::Relaxed) & bit, 0);
        drop(fd);
    }

    #[test]
    fn a_forked_child_closes_ours_and_keeps_the_others() {
        let ours = some_fd();
        let host = File::open("/dev/null").unwrap();
        let (ours_raw, host_raw) = (ours.raw(), host.as_raw_fd());
        // SAFETY: the child calls only async-signal-safe functions and leaves by _exit.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let right = !is_open(ours_raw) && is_open(host_raw);
            // SAFETY: ends the child without running anything else of it.
            unsafe { libc::_exit(if right { 0 } else { 1 }) };
        }
        assert!(child > 0);
        let mut status = 0;
        // SAFETY: `child` is our own child, and `status` is where its end is written.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0, "the child saw a wrong set of descriptors");
        assert!(is_open(ours_raw), "the parent keeps its own");
    }

    #[test]
    fn room_is_a_matter_of_the_limit() {
        let space = FdSpace::new(BASE).unwrap();
        space.room_for(8).unwrap();
        let none = space.room_for(1 << 40).unwrap_err();
        assert!(none.available > 0);
        let text = none.to_string();
        assert!(text.contains("LimitNOFILE") && text.contains(&none.needed.to_string()), "{text}");
        assert!(FdSpace::new(-1).is_err());
    }
}
