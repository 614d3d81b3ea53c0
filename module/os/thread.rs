//! Threads that behave well inside somebody else's process.
//!
//! A thread of ours has a name that `top -H` and a crash report show, takes none of the signals
//! that are meant for the host, and sleeps to the microsecond.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::thread::{Builder, JoinHandle};

/// What a thread of ours still takes: its own faults, and the signal by which a Redis host asks all
/// its threads for their stack (source: redis `threads_mngr.c`). All others, SIGTERM and SIGINT
/// among them, go to the host's threads.
const TAKEN: [libc::c_int; 6] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGABRT, libc::SIGUSR2];

/// Starts a thread. Of `name` the kernel keeps the first 15 bytes.
///
/// # Errors
/// When the system has no more threads or memory.
pub fn spawn<F>(name: &str, body: F) -> io::Result<JoinHandle<()>>
where
    F: FnOnce() + Send + 'static,
{
    // A thread inherits its maker's mask, so it is the maker's that changes for a moment: a thread
    // that set its own would be open to any signal until then.
    let before = block_signals()?;
    let started = Builder::new().name(name.to_owned()).spawn(move || {
        sharpen_timers();
        body();
    });
    restore_signals(&before);
    started
}

fn block_signals() -> io::Result<libc::sigset_t> {
    let mut all_but_taken = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: both sets are written before they are read: the first by sigfillset, the second by
    // pthread_sigmask, whose failure is looked at.
    unsafe {
        libc::sigfillset(all_but_taken.as_mut_ptr());
        for signal in TAKEN {
            libc::sigdelset(all_but_taken.as_mut_ptr(), signal);
        }
        let returned =
            libc::pthread_sigmask(libc::SIG_SETMASK, all_but_taken.as_ptr(), before.as_mut_ptr());
        if returned != 0 {
            return Err(io::Error::from_raw_os_error(returned));
        }
        Ok(before.assume_init())
    }
}

fn restore_signals(before: &libc::sigset_t) {
    // SAFETY: the set came from pthread_sigmask, which can't refuse it now.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before, ptr::null_mut()) };
}

/// By default the kernel adds up to 50 us to a sleep, to save power; our shortest timers are 500
/// us.
fn sharpen_timers() {
    // SAFETY: the call touches no memory. If it fails, timers are a little late.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1000 as libc::c_ulong) };
}

/// Makes sure that the code of this library stays in memory until the process ends, because a
/// thread that runs it couldn't be stopped.
pub fn pin_code() {
    let mut info = MaybeUninit::<libc::Dl_info>::uninit();
    // SAFETY: the address is of a function of this library, and `info` is where the answer goes; it
    // is read only if there is one. NOLOAD loads nothing: it marks what is loaded.
    unsafe {
        let here = pin_code as *const libc::c_void;
        if libc::dladdr(here, info.as_mut_ptr()) != 0 {
            let name = info.assume_init().dli_fname;
            libc::dlopen(name, libc::RTLD_NOW | libc::RTLD_NODELETE | libc::RTLD_NOLOAD);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_thread_has_a_name_and_leaves_signals_to_the_host() {
        let (tell, told) = mpsc::channel();
        let thread = spawn("weir-test", move || {
            let status = fs::read_to_string("/proc/thread-self/status").unwrap();
            let slack = fs::read_to_string("/proc/thread-self/timerslack_ns").unwrap_or_default();
            tell.send((status, slack)).unwrap();
        })
        .unwrap();
        let (status, slack) = told.recv().unwrap();
        thread.join().unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line[name.len()..].trim().to_owned()
        };
        assert_eq!(field("Name:"), "weir-test");
        let blocked = u64::from_str_radix(&field("SigBlk:"), 16).unwrap();
        let is_blocked = |signal: i32| blocked & (1 << (signal - 1)) != 0;
        assert!(is_blocked(libc::SIGTERM) && is_blocked(libc::SIGINT) && is_blocked(libc::SIGHUP));
        assert!(TAKEN.iter().all(|signal| !is_blocked(*signal)));
        assert!(slack.is_empty() || slack.trim() == "1000");
    }

    #[test]
    fn the_makers_own_mask_is_as_before() {
        let mask = || {
            let status = fs::read_to_string("/proc/thread-self/status").unwrap();
            status.lines().find(|line| line.starts_with("SigBlk:")).unwrap().to_owned()
        };
        let before = mask();
        spawn("weir-test", || {}).unwrap().join().unwrap();
        assert_eq!(mask(), before);
        pin_code();
    }
}
