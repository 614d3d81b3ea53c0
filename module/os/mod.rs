//! The machine, as the workers need it: time, epoll, sockets, TLS, wake-ups, threads, descriptors.
//!
//! ```text
//!              worker/
//!   Wire: plain or TLS
//!     |
//!   Stream, Listener   Epoll   Bell   now()   spawn()
//!        \________________|_____/
//!                  Fd                  <- every descriptor of ours is one of these
//!                  |
//!   0 .... host's clients .... base .... ours ....      (fds.rs: why they are up there)
//! ```
//!
//! Everything here is a thin, safe wrapper of one system call or two, without policy: who is read
//! when, for how long, and what a failure means is decided in `worker/`. All `unsafe` outside
//! `host/` is in this folder. A port to another interface of the kernel (io_uring) rewrites this
//! room and `worker/`, and nothing above them.

pub mod address;
pub mod clock;
pub mod epoll;
pub mod eventfd;
pub mod fds;
pub mod socket;
pub mod thread;
pub mod tls;
pub mod wire;

/// Turns the `-1` of a system call into the error that the kernel left in `errno`.
pub(crate) fn checked(returned: libc::c_int) -> std::io::Result<libc::c_int> {
    if returned < 0 { Err(std::io::Error::last_os_error()) } else { Ok(returned) }
}

/// Like [`checked`], for the calls that return a number of bytes.
pub(crate) fn checked_size(returned: isize) -> std::io::Result<usize> {
    usize::try_from(returned).map_err(|_| std::io::Error::last_os_error())
}

/// Makes the call again for as long as a signal interrupts it.
pub(crate) fn retried<T>(mut call: impl FnMut() -> std::io::Result<T>) -> std::io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
