//! A child process that never outlives us.
//!
//! Two things take care of that. Dropping a [`Child`] kills and reaps it. And should this process
//! die without dropping anything (a crash, `kill -9`, the time limit of a CI), the kernel does it:
//! each child asks for SIGKILL when its parent goes (`PR_SET_PDEATHSIG`).
//!
//! "Parent" there means the *thread* that made the child, and `cargo test` runs every test on a
//! thread of its own, which ends with the test. A child made by one test for all would die with it.
//! So one thread makes all children, and it lives as long as the process.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{self, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

/// A running (or ended, but not forgotten) child process.
#[derive(Debug)]
pub struct Child {
    pid: i32,
    /// Under a lock so that a signal is never sent to a process id that was reaped, and so given
    /// to a stranger, in the meantime.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    child: process::Child,
    ended: Option<ExitStatus>,
}

impl Child {
    /// Starts `command` in a process group of its own: Ctrl-C at the terminal is for us, and how
    /// the servers end is then our decision.
    pub fn spawn(mut command: Command) -> io::Result<Child> {
        let parent = process::id();
        command.process_group(0);
        // SAFETY: between fork and exec only functions that are async-signal-safe are called, and
        // nothing is allocated.
        unsafe {
            command.pre_exec(move || {
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                    return Err(io::Error::last_os_error());
                }
                // The parent may have gone before the line above; then no signal comes any more.
                if libc::getppid() as u32 != parent {
                    return Err(io::Error::from_raw_os_error(libc::ESRCH));
                }
                Ok(())
            });
        }
        let (answer, answered) = mpsc::channel();
        let gone = |_| io::Error::other("the spawning thread has ended");
        spawner().send(Order { command, answer }).map_err(|_| gone(()))?;
        let child = answered.recv().map_err(|_| gone(()))??;
        let pid = child.id() as i32;
        Ok(Child { pid, state: Mutex::new(State { child, ended: None }) })
    }

    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// How it ended, or `None` while it runs.
    pub fn ended(&self) -> Option<ExitStatus> {
        let mut state = self.state();
        if state.ended.is_none() {
            // An error would mean that somebody else reaped it: it has ended in any case.
            let gone = || Some(ExitStatus::from_raw(0));
            state.ended = state.child.try_wait().unwrap_or_else(|_| gone());
        }
        state.ended
    }

    /// Sends a signal, unless the process has ended.
    pub(crate) fn signal(&self, signal: i32) {
        let state = self.state();
        if state.ended.is_none() {
            // SAFETY: no memory is passed. The child isn't reaped as long as `state` is held, so
            // the id is its own.
            unsafe { libc::kill(self.pid, signal) };
        }
    }

    /// Waits until it ends by itself, for at most `time`.
    pub(crate) fn wait(&self, time: Duration) -> Option<ExitStatus> {
        crate::within(time, || self.ended())
    }

    /// Ends the processes that it started in its turn, and itself.
    pub fn kill_group(&self) {
        let state = self.state();
        if state.ended.is_none() {
            // SAFETY: no memory is passed. The child leads its group and isn't reaped as long as
            // `state` is held, so the group is its own.
            unsafe { libc::killpg(self.pid, libc::SIGKILL) };
        }
        drop(state);
        self.kill();
    }

    /// Ends it, whatever it is doing, and waits until it is gone. A stopped process dies of SIGKILL
    /// as well.
    pub(crate) fn kill(&self) {
        self.signal(libc::SIGKILL);
        let mut state = self.state();
        if state.ended.is_none() {
            state.ended = state.child.wait().ok();
        }
    }

    /// A panic elsewhere leaves nothing half-done in here, so a poisoned lock is as good as any.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

struct Order {
    command: Command,
    answer: mpsc::Sender<io::Result<process::Child>>,
}

fn spawner() -> mpsc::Sender<Order> {
    static SPAWNER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    SPAWNER
        .get_or_init(|| {
            let (sender, orders) = mpsc::channel::<Order>();
            thread::Builder::new()
                .name("lab-spawner".into())
                .spawn(move || {
                    for mut order in orders {
                        // Who asked may have gone; then dropping the child would leave it running.
                        if let Err(mpsc::SendError(Ok(mut orphan))) =
                            order.answer.send(order.command.spawn())
                        {
                            let _ = orphan.kill().and_then(|()| orphan.wait());
                        }
                    }
                })
                .expect("a thread can be started");
            sender
        })
        .clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper() -> Child {
        let mut command = Command::new("sleep");
        command.arg("1000");
        Child::spawn(command).expect("sleep starts")
    }

    fn alive(pid: i32) -> bool {
        // SAFETY: signal 0 only asks.
        unsafe { libc::kill(pid, 0) == 0 }
    }

    #[test]
    fn a_child_outlives_the_thread_that_asked_for_it() {
        let child = thread::spawn(sleeper).join().expect("no panic");
        crate::pause(Duration::from_millis(50));
        assert_eq!(child.ended(), None);
    }

    #[test]
    fn a_dropped_child_is_gone_even_if_it_was_stopped() {
        let child = sleeper();
        let pid = child.pid();
        child.signal(libc::SIGSTOP);
        assert!(alive(pid));
        drop(child);
        assert!(!alive(pid));
    }

    #[test]
    fn a_program_that_does_not_exist_is_an_error() {
        assert!(Child::spawn(Command::new("/no/such/program")).is_err());
    }
}
