//! Guests: clients of the engine that have no socket, because they are in this process.
//!
//! ```text
//!   any thread                          |  the guest's worker
//!                                       |
//!   Entrance::enter -> GuestHandle -----+-> Enter: a session, on a pipe
//!   say(request, promise) --------------+-> Say:   the request into the pipe, the promise behind
//!                                       |          those before it
//!   promise kept <----------------------+-- a reply in the pipe: the front promise gets it
//!   dropped ----------------------------+-> Leave: the pipe is at its end, behind what was said
//! ```
//!
//! To the machine a guest is a session like any other. So whatever holds of the endpoint's clients,
//! the order of replies and what WAIT counts, holds of a guest; it may even be killed like them.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::engine::{Event, Mail, Peer};
use crate::ids::{Time, WorkerId};
use crate::os::wire::{Pipe, Wire};
use crate::resp::{Scan, Scanner};

use super::connection::{Connection, Reading, Who};
use super::fleet::{Fleet, Shared};
use super::machine::Machine;
use super::mailbox::Letter;
use super::turn::Worker;

/// Which guest; never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct GuestId(pub(super) u64);

/// Where a guest's pushes go: the frames of RESP3 that answer nothing. Called on a worker's thread;
/// must not take long.
pub type Hear = Box<dyn Fn(&[u8]) + Send>;

type Keep = Box<dyn FnOnce(Option<Vec<u8>>) + Send>;

/// What becomes of what a guest has said, when it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// It is still executed, as that of a client that sends a command and closes its connection,
    /// but for what would wait.
    HangUp,
    /// Whoever is owed a reply is told at once that there will be none.
    Cut,
}

/// Who waits for a reply. It is told exactly once, whatever happens: a promise that is dropped says
/// that no reply will come.
pub struct Promise(Option<Keep>);

impl Promise {
    /// `keep` is called with the reply, or with `None` when there will be none because the guest
    /// is gone: what it had asked may or may not have been executed. On any thread; must not
    /// take long.
    pub fn new(keep: impl FnOnce(Option<Vec<u8>>) + Send + 'static) -> Self {
        Self(Some(Box::new(keep)))
    }

    /// Tells the reply.
    pub fn keep(mut self, reply: Vec<u8>) {
        if let Some(keep) = self.0.take() {
            keep(Some(reply));
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some(keep) = self.0.take() {
            keep(None);
        }
    }
}

impl fmt::Debug for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Promise")
    }
}

/// What a guest's worker is told.
pub(super) enum Word {
    Enter(Peer, Option<Hear>),
    /// Requests: the last of them is what `promise` is about. `mute` are in front of it, about
    /// whose replies nobody wants to know.
    Say {
        requests: Vec<u8>,
        mute: usize,
        promise: Promise,
    },
    Leave(Farewell),
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Enter(..) => "Enter",
            // Not what: there may be a password in it.
            Self::Say { .. } => "Say",
            Self::Leave(_) => "Leave",
        })
    }
}

/// What is owed to a guest, in the order of its requests.
#[derive(Debug)]
enum Owed {
    Nothing,
    Reply(Promise),
}

/// A client without a socket, at its worker.
pub(super) struct Guest {
    pub(super) id: GuestId,
    owed: VecDeque<Owed>,
    hear: Option<Hear>,
    scanner: Scanner,
    /// What has come of the next reply, of which the scanner has seen `scanned` bytes.
    reply: Vec<u8>,
    scanned: usize,
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest").field("id", &self.id).field("owed", &self.owed.len()).finish()
    }
}

impl Guest {
    fn new(id: GuestId, hear: Option<Hear>) -> Self {
        let (owed, scanner) = (VecDeque::new(), Scanner::default());
        Self { id, owed, hear, scanner, reply: Vec::new(), scanned: 0 }
    }

    /// Gives what has come to those who wait for it. False if these are no replies.
    fn pass_on(&mut self, pipe: &mut Pipe) -> bool {
        pipe.receive(&mut self.reply);
        while self.scanned < self.reply.len() {
            match self.scanner.scan(&self.reply[self.scanned..]) {
                Scan::Done { used } => {
                    let end = self.scanned + used;
                    self.scanned = 0;
                    let behind = self.reply.split_off(end);
                    let frame = std::mem::replace(&mut self.reply, behind);
                    self.came(frame);
                }
                Scan::More { used: 0 } => break,
                Scan::More { used } => self.scanned += used,
                Scan::Invalid => return false,
            }
        }
        true
    }

    fn came(&mut self, frame: Vec<u8>) {
        if frame.first() == Some(&b'>') {
            if let Some(hear) = &self.hear {
                hear(&frame);
            }
        } else if let Some(Owed::Reply(promise)) = self.owed.pop_front() {
            promise.keep(frame);
        }
    }
}

impl<M: Machine> Worker<M> {
    pub(super) fn guest_says(&mut self, id: GuestId, word: Word, now: Time) {
        match word {
            Word::Enter(peer, hear) => {
                let mut connection = Connection::new(Wire::Inside(Pipe::default()), None);
                connection.guest = Some(Box::new(Guest::new(id, hear)));
                let session = self.connections.sessions.insert(connection);
                self.guests.insert(id, session);
                self.machine.handle(Event::Accepted { session, peer }, now);
            }
            Word::Say { requests, mute, promise } => {
                let Some(&session) = self.guests.get(&id) else {
                    return; // It was killed; the promise is broken here.
                };
                let who = Who::Session(session);
                let Some(connection) = self.connections.get_mut(who) else {
                    return;
                };
                if let (Some(guest), Wire::Inside(pipe)) =
                    (&mut connection.guest, &mut connection.wire)
                {
                    guest.owed.extend((0..mute).map(|_| Owed::Nothing));
                    guest.owed.push_back(Owed::Reply(promise));
                    pipe.send(requests);
                }
                self.look_after(who);
            }
            Word::Leave(farewell) => {
                let Some(&session) = self.guests.get(&id) else {
                    return;
                };
                let who = Who::Session(session);
                if farewell == Farewell::Cut {
                    return self.end(who, "", now);
                }
                if let Some(Wire::Inside(pipe)) =
                    self.connections.get_mut(who).map(|connection| &mut connection.wire)
                {
                    pipe.hang_up();
                }
                self.look_after(who);
                self.let_go_if_unread(who, now);
            }
        }
    }

    /// A guest has left, and the machine doesn't want what it said last, as it waits for something
    /// that came before: nobody is there to wait.
    pub(super) fn let_go_if_unread(&mut self, who: Who, now: Time) {
        let Some(connection) = self.connections.get(who) else {
            return;
        };
        if let Wire::Inside(pipe) = &connection.wire
            && connection.reading == Reading::Off
            && pipe.is_left_unread()
        {
            self.end(who, "", now);
        }
    }

    /// Gives a guest what was written to it.
    pub(super) fn pass_on(&mut self, who: Who, now: Time) {
        let Some(connection) = self.connections.get_mut(who) else {
            return;
        };
        if let (Some(guest), Wire::Inside(pipe)) = (&mut connection.guest, &mut connection.wire)
            && !guest.pass_on(pipe)
        {
            self.end(who, "", now);
        }
    }
}

/// A guest, as whoever let it in holds it. When this is dropped the guest leaves: see [`Farewell`].
pub struct GuestHandle {
    shared: Arc<Shared>,
    worker: WorkerId,
    id: GuestId,
    farewell: Farewell,
}

impl fmt::Debug for GuestHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestHandle").field("id", &self.id).finish()
    }
}

impl GuestHandle {
    /// Says `mute` requests, about whose replies nobody wants to know, and behind them the one that
    /// `promise` is about. May be said again before that is kept: replies come in order.
    ///
    /// Each request must be answered: none that changes how or whether the session answers
    /// (SUBSCRIBE, MONITOR, CLIENT REPLY).
    pub fn say(&self, requests: Vec<u8>, mute: usize, promise: Promise) {
        self.tell(Word::Say { requests, mute, promise });
    }

    fn tell(&self, word: Word) {
        let mailbox = self.shared.mailbox(self.worker);
        mailbox.put(Letter::Guest(self.id, word));
        mailbox.wake();
        // If nobody reads it any more, it is taken out here: its promise must not lie there.
        if self.shared.closed.load(Ordering::SeqCst) {
            mailbox.clear();
        }
    }
}

impl Drop for GuestHandle {
    fn drop(&mut self) {
        self.tell(Word::Leave(self.farewell));
    }
}

/// Where guests come in. Unlike the fleet it may be shared among threads, and outlive the fleet:
/// then whatever is asked of it is told that nobody is there.
#[derive(Clone)]
pub struct Entrance {
    shared: Arc<Shared>,
}

impl fmt::Debug for Entrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entrance")
    }
}

impl Entrance {
    /// Lets in a client that has no socket. Its pushes go to `hear`.
    pub fn enter(&self, peer: Peer, hear: Option<Hear>, farewell: Farewell) -> GuestHandle {
        let number = self.shared.guests.fetch_add(1, Ordering::Relaxed);
        let worker = WorkerId((number % u64::from(self.workers())) as u16);
        let shared = Arc::clone(&self.shared);
        let handle = GuestHandle { shared, worker, id: GuestId(number), farewell };
        handle.tell(Word::Enter(peer, hear));
        handle
    }

    /// As [`Fleet::send`].
    pub fn send(&self, worker: WorkerId, mail: Mail) {
        self.shared.send(worker, mail);
    }

    /// How many workers there are.
    pub fn workers(&self) -> u16 {
        self.shared.workers()
    }
}

impl Fleet {
    /// Where guests come in.
    pub fn entrance(&self) -> Entrance {
        Entrance { shared: Arc::clone(&self.shared) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    fn promise() -> (Promise, Receiver<Option<Vec<u8>>>) {
        let (tell, told) = channel();
        let promise = Promise::new(move |reply| tell.send(reply).unwrap());
        (promise, told)
    }

    fn write(guest: &mut Guest, bytes: &[u8]) -> bool {
        let mut wire = Wire::Inside(Pipe::default());
        wire.write([bytes, b""]).unwrap();
        let Wire::Inside(pipe) = &mut wire else { unreachable!() };
        guest.pass_on(pipe)
    }

    #[test]
    fn replies_reach_their_promises_in_order_however_they_are_cut() {
        let replies = b"+muted\r\n*2\r\n$1\r\na\r\n:5\r\n>1\r\n+pushed\r\n$-1\r\n";
        for step in 1..replies.len() {
            let (heard, pushes) = channel();
            let hear: Hear = Box::new(move |push: &[u8]| heard.send(push.to_vec()).unwrap());
            let mut guest = Guest::new(GuestId(1), Some(hear));
            let ((first, told_first), (second, told_second)) = (promise(), promise());
            guest.owed.extend([Owed::Nothing, Owed::Reply(first), Owed::Reply(second)]);
            for piece in replies.chunks(step) {
                assert!(write(&mut guest, piece));
            }
            assert_eq!(told_first.try_recv().unwrap(), Some(b"*2\r\n$1\r\na\r\n:5\r\n".to_vec()));
            assert_eq!(told_second.try_recv().unwrap(), Some(b"$-1\r\n".to_vec()));
            assert_eq!(pushes.try_recv().unwrap(), b">1\r\n+pushed\r\n");
            assert!(guest.reply.is_empty() && guest.owed.is_empty());
        }
    }

    #[test]
    fn a_promise_that_is_dropped_tells_once_that_nothing_comes() {
        let (promise, told) = promise();
        drop(promise);
        assert_eq!(told.try_recv().unwrap(), None);
        told.try_recv().unwrap_err();
    }

    #[test]
    fn what_is_no_reply_is_noticed() {
        let mut guest = Guest::new(GuestId(1), None);
        assert!(!write(&mut guest, b"hello\r\n"));
    }
}
