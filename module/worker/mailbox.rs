//! How threads talk: letters in a queue, and a bell for a reader that sleeps.
//!
//! ```text
//!   writer:  put a letter ...  then, once per turn:  asleep? -> ring
//!   reader:  asleep = true  ->  any letter? -> don't sleep after all
//! ```
//!
//! Whichever comes first, the letter or the sleep, one of the two sees the other: the writer looks
//! at `asleep` after it has put the letter, the reader looks for letters after it has set `asleep`,
//! and the fence between the two steps of each keeps them in that order. A reader that is awake
//! costs its writers no system call, and one that sleeps is rung by the first of them only.
//!
//! The queue has no bound of its own. What is put there is bounded where it comes from: newcomers
//! by `maxclients`, questions by who may ask them, one answer per question; what guests say, by who
//! lets them in.

use std::iter;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use crossbeam::queue::SegQueue;

use crate::engine::Mail;
use crate::ids::LinkId;
use crate::os::eventfd::Bell;
use crate::os::tls::Tls;
use crate::settings::Settings;

use super::guest::{GuestId, Word};
use super::listener::Newcomer;
use super::names::Resolved;

/// What a worker can be sent.
#[derive(Debug)]
pub(super) enum Letter {
    /// A client to serve.
    Newcomer(Newcomer),
    /// For the engine.
    Mail(Mail),
    /// From a client without a socket.
    Guest(GuestId, Word),
    /// For the engine and the worker.
    Settings(Arc<Settings>),
    /// For the worker: what TLS connections are made with from now on.
    Tls(Arc<Tls>),
    /// The answer of the names thread to a link's question.
    Resolved(LinkId, Resolved),
    /// End the thread.
    Stop,
}

/// One worker's letters.
#[derive(Debug)]
pub(super) struct Mailbox {
    letters: SegQueue<Letter>,
    asleep: AtomicBool,
    bell: Bell,
}

impl Mailbox {
    pub(super) fn new(bell: Bell) -> Self {
        Self { letters: SegQueue::new(), asleep: AtomicBool::new(false), bell }
    }

    /// Puts a letter in. It is read soon if the reader is awake; else after [`Mailbox::wake`].
    pub(super) fn put(&self, letter: Letter) {
        self.letters.push(letter);
    }

    /// Makes sure that the reader sees what was put in before. Says whether the bell had to be
    /// rung.
    pub(super) fn wake(&self) -> bool {
        fence(Ordering::SeqCst);
        let sleeps =
            self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel);
        if sleeps {
            self.bell.ring();
        }
        sleeps
    }

    /// The reader's: takes the first letter out.
    pub(super) fn take(&self) -> Option<Letter> {
        self.letters.pop()
    }

    /// Throws away what nobody will read. First all is taken out: whoever is told that it is lost
    /// may put in something more, and throw that away too.
    pub(super) fn clear(&self) {
        drop(iter::from_fn(|| self.take()).collect::<Vec<_>>());
    }

    /// The reader's: whether it may sleep. From a yes on, until [`Mailbox::awake`], letters ring.
    pub(super) fn may_sleep(&self) -> bool {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.letters.is_empty() {
            return true;
        }
        self.awake();
        false
    }

    /// The reader's: it has woken up, for whatever reason.
    pub(super) fn awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// What the reader watches.
    pub(super) fn bell(&self) -> &Bell {
        &self.bell
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::os::epoll::{Epoll, Events, Interest};
    use crate::os::fds::FdSpace;
    use crate::os::thread;

    fn mailbox() -> (Mailbox, FdSpace) {
        let space = FdSpace::new(1000).unwrap();
        (Mailbox::new(Bell::new(space).unwrap()), space)
    }

    #[test]
    fn a_sleeper_is_rung_once_and_a_waking_reader_never() {
        let (mailbox, _) = mailbox();
        mailbox.put(Letter::Stop);
        assert!(!mailbox.wake(), "it doesn't sleep");
        assert!(!mailbox.may_sleep(), "there is a letter");
        assert!(mailbox.take().is_some());
        assert!(mailbox.may_sleep());
        for _ in 0..100 {
            mailbox.put(Letter::Stop);
        }
        assert!(mailbox.wake());
        assert!(!mailbox.wake(), "it was rung already");
        mailbox.awake();
        assert!(!mailbox.wake());
    }

    #[test]
    fn no_letter_is_slept_over() {
        const LETTERS: usize = 20_000;
        let (mailbox, space) = mailbox();
        let mailbox = Arc::new(mailbox);
        let writer = Arc::clone(&mailbox);
        let thread = thread::spawn("weir-test", move || {
            for round in 0..LETTERS {
                writer.put(Letter::Stop);
                if round % 3 == 0 || round + 1 == LETTERS {
                    writer.wake();
                }
            }
        })
        .unwrap();
        let mut epoll = Epoll::new(space).unwrap();
        let mut events = Events::with_capacity(1);
        epoll.add(mailbox.bell().fd(), Interest::EDGE_READ, 0).unwrap();
        let mut taken = 0;
        while taken < LETTERS {
            while mailbox.take().is_some() {
                taken += 1;
            }
            if taken < LETTERS && mailbox.may_sleep() {
                epoll.wait(&mut events, Some(Duration::from_secs(20))).unwrap();
                assert!(events.get(0).is_some(), "slept over a letter after {taken}");
                mailbox.awake();
            }
        }
        thread.join().unwrap();
    }
}
