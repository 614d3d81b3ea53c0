//! The row of replies that a client is owed.
//!
//! ```text
//!   requests:   GET a   MGET b c   GET d    WAIT 1 0
//!   seats:     [ Owed | Gather 1/2 | Held  | Owed    ]     replies leave from the front only
//!                 |         |          |
//!               out      parts come   came early, is kept until those before it have left
//! ```
//!
//! A seat is reserved when its request is read, so replies leave in the order of requests whatever
//! the shards do. What comes for the front seat goes straight to the output; what comes for another
//! is held, within a bound.

use std::collections::VecDeque;

use crate::limits;

/// A seat's number: counted from the session's first request, never reused.
pub type SeatNumber = u64;

/// The replies of the shards to one split request, until all are there.
#[derive(Debug)]
pub struct Gather<F> {
    /// One reply for each part, in the order of parts.
    pub parts: Vec<Vec<u8>>,
    /// What is to be done when all are there.
    pub finish: F,
    missing: usize,
}

#[derive(Debug)]
enum State<F> {
    /// Nothing of the reply is here, or the front seat's begin has left already.
    Owed,
    /// The reply, or the begin of it, waits for those before it.
    Held(Vec<u8>),
    /// It was too large to be held: the rest of it is dropped too.
    TooLarge,
    /// Parts are being gathered.
    Gather(Box<Gather<F>>),
}

#[derive(Debug)]
struct Seat<F> {
    state: State<F>,
    /// The reply is complete.
    complete: bool,
    /// The client doesn't want it (CLIENT REPLY OFF or SKIP).
    mute: bool,
    /// Messages that its request causes must not come before it.
    publishes: bool,
}

/// What a reply was too large for.
pub const TOO_LARGE: &str =
    "ERR reply is too large to be held until the replies of earlier commands are there";

/// The row. `F` says how a split request's parts become one reply.
#[derive(Debug)]
pub struct Seats<F> {
    front: SeatNumber,
    row: VecDeque<Seat<F>>,
    held_bytes: usize,
    /// Something of the front seat's reply has left and its end hasn't.
    front_begun: bool,
    /// Seats with `publishes`.
    publishing: usize,
    /// Behind the last seat of whose reply anything has come.
    reached: SeatNumber,
    /// What answers no request, each with the seat that must be the front before it may leave.
    pushes: VecDeque<(SeatNumber, Vec<u8>)>,
    pushed_bytes: usize,
}

impl<F> Default for Seats<F> {
    fn default() -> Self {
        Self {
            front: 0,
            row: VecDeque::new(),
            held_bytes: 0,
            front_begun: false,
            publishing: 0,
            reached: 0,
            pushes: VecDeque::new(),
            pushed_bytes: 0,
        }
    }
}

impl<F> Seats<F> {
    /// Replies that the client is owed.
    pub fn len(&self) -> usize {
        self.row.len()
    }

    /// Whether every request has been answered.
    pub fn is_empty(&self) -> bool {
        self.row.is_empty()
    }

    /// Bytes that wait for replies before them.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Whether this seat's reply is the next to leave.
    pub fn is_front(&self, seat: SeatNumber) -> bool {
        seat == self.front
    }

    /// Whether the client has seen the begin of a reply and not its end: if the rest can't come,
    /// the connection is beyond help.
    pub fn is_torn(&self, seat: SeatNumber) -> bool {
        seat == self.front && self.front_begun
    }

    /// Whether what answers no request must wait: for the end of a reply whose begin has left, or
    /// for the reply to a request that may have caused it.
    pub fn hold_messages(&self) -> bool {
        self.front_begun || self.publishing > 0
    }

    /// The number that the next seat will have.
    pub fn next(&self) -> SeatNumber {
        self.front + self.row.len() as u64
    }

    /// The request of the newest seat may cause messages to its own client, which must come behind
    /// its reply.
    pub fn newest_publishes(&mut self) {
        if let Some(seat) = self.row.back_mut().filter(|seat| !seat.publishes) {
            seat.publishes = true;
            self.publishing += 1;
        }
    }

    /// Bytes of what answers no request and waits for replies that came before it.
    pub fn pushed_bytes(&self) -> usize {
        self.pushed_bytes
    }

    /// Something has come that answers no request. It leaves at once, except that it neither breaks
    /// into a reply nor overtakes one that came before it: a client that is told to forget a value
    /// must have got the value first, or it would keep it for ever.
    pub fn push(&mut self, frame: &[u8], out: &mut Vec<u8>) {
        if self.front >= self.reached {
            return out.extend_from_slice(frame);
        }
        self.pushed_bytes += frame.len();
        self.pushes.push_back((self.reached, frame.to_vec()));
    }

    /// Lets go of what waited for the seats before the front.
    fn release_pushes(&mut self, out: &mut Vec<u8>) {
        while let Some((behind, _)) = self.pushes.front()
            && *behind <= self.front
            && let Some((_, frame)) = self.pushes.pop_front()
        {
            self.pushed_bytes -= frame.len();
            out.extend_from_slice(&frame);
        }
    }

    /// Reserves the next seat, for one reply that is passed on as it comes.
    pub fn reserve(&mut self, mute: bool) -> SeatNumber {
        self.append(State::Owed, mute)
    }

    /// Reserves the next seat, for a reply that is made of `parts` replies.
    pub fn reserve_parts(&mut self, parts: usize, finish: F, mute: bool) -> SeatNumber {
        let parts = vec![Vec::new(); parts];
        let missing = parts.len();
        self.append(State::Gather(Box::new(Gather { parts, finish, missing })), mute)
    }

    fn append(&mut self, state: State<F>, mute: bool) -> SeatNumber {
        self.row.push_back(Seat { state, complete: false, mute, publishes: false });
        self.front + self.row.len() as u64 - 1
    }

    /// Bytes of a seat's reply have come; `last` if they end it. What may leave is appended to
    /// `out`. A seat that has left already, or never was, is passed over.
    pub fn fill(
        &mut self,
        number: SeatNumber,
        bytes: &[u8],
        last: bool,
        held_max: usize,
        out: &mut Vec<u8>,
    ) {
        let Some(place) = number.checked_sub(self.front) else {
            return;
        };
        let Some(seat) = self.row.get_mut(place as usize) else {
            return;
        };
        debug_assert!(!seat.complete, "a reply after the reply");
        self.reached = self.reached.max(number + 1);
        if place == 0 {
            if !seat.mute {
                out.extend_from_slice(bytes);
            }
            self.front_begun = !last;
            if last {
                self.pop();
                self.release_all(out);
            }
            self.invariants();
            return;
        }
        seat.complete = last;
        if seat.mute {
            return;
        }
        match &mut seat.state {
            State::TooLarge => {}
            State::Held(held) if self.held_bytes + bytes.len() > held_max => {
                self.held_bytes -= held.len();
                seat.state = State::TooLarge;
            }
            _ if self.held_bytes + bytes.len() > held_max => seat.state = State::TooLarge,
            State::Held(held) => {
                held.extend_from_slice(bytes);
                self.held_bytes += bytes.len();
            }
            State::Owed | State::Gather(_) => {
                seat.state = State::Held(bytes.to_vec());
                self.held_bytes += bytes.len();
            }
        }
        self.invariants();
    }

    /// A seat's reply will not come whole: `reply` stands for it, whatever is held of it. Not for a
    /// seat that [`Seats::is_torn`].
    pub fn replace(&mut self, number: SeatNumber, reply: &[u8], out: &mut Vec<u8>) {
        debug_assert!(!self.is_torn(number));
        if let Some(place) = number.checked_sub(self.front)
            && let Some(seat) = self.row.get_mut(place as usize)
        {
            if let State::Held(held) = &mut seat.state {
                self.held_bytes -= held.len();
            }
            seat.state = State::Owed;
        }
        self.fill(number, reply, true, usize::MAX, out);
    }

    /// Bytes of one part's reply have come; `last` if they end it. When every part has ended they
    /// are returned, to be made into the seat's reply and [`Seats::fill`]ed in.
    pub fn fill_part(
        &mut self,
        number: SeatNumber,
        part: usize,
        bytes: &[u8],
        last: bool,
        held_max: usize,
    ) -> Option<Box<Gather<F>>> {
        let place = number.checked_sub(self.front)?;
        let seat = self.row.get_mut(place as usize)?;
        let State::Gather(gather) = &mut seat.state else {
            return None;
        };
        let reply = gather.parts.get_mut(part)?;
        self.reached = self.reached.max(number + 1);
        if self.held_bytes + bytes.len() > held_max {
            self.held_bytes -= reply.len();
            reply.clear();
            crate::resp::write::error(reply, TOO_LARGE);
            self.held_bytes += reply.len();
        } else if !reply.starts_with(b"-ERR reply is too large") {
            reply.extend_from_slice(bytes);
            self.held_bytes += bytes.len();
        }
        if !last {
            return None;
        }
        gather.missing -= 1;
        if gather.missing > 0 {
            return None;
        }
        let State::Gather(gather) = std::mem::replace(&mut seat.state, State::Owed) else {
            return None;
        };
        self.held_bytes -= gather.parts.iter().map(Vec::len).sum::<usize>();
        Some(gather)
    }

    /// One part's reply will not come whole: `reply` stands for it, whatever has come of it.
    pub fn replace_part(
        &mut self,
        number: SeatNumber,
        part: usize,
        reply: &[u8],
    ) -> Option<Box<Gather<F>>> {
        let place = number.checked_sub(self.front)?;
        let seat = self.row.get_mut(place as usize)?;
        let State::Gather(gather) = &mut seat.state else {
            return None;
        };
        let come = gather.parts.get_mut(part)?;
        self.held_bytes -= come.len();
        come.clear();
        self.fill_part(number, part, reply, true, usize::MAX)
    }

    /// Lets go of what waited for the seat that has just left.
    fn release_all(&mut self, out: &mut Vec<u8>) {
        if !self.pushes.is_empty() {
            self.release_pushes(out);
        }
        // Mostly nothing has come yet for the next.
        let waits = |seat: &Seat<F>| !seat.complete && matches!(seat.state, State::Owed);
        if !self.row.front().is_some_and(waits) {
            self.release(out);
        }
    }

    /// Lets go of all complete replies at the front, and of what has come of the one behind them.
    fn release(&mut self, out: &mut Vec<u8>) {
        while let Some(seat) = self.row.front_mut() {
            match std::mem::replace(&mut seat.state, State::Owed) {
                State::Gather(gather) => {
                    seat.state = State::Gather(gather);
                    return;
                }
                State::Held(held) => {
                    self.held_bytes -= held.len();
                    out.extend_from_slice(&held);
                    self.front_begun = !seat.complete;
                }
                State::TooLarge if seat.complete => crate::resp::write::error(out, TOO_LARGE),
                State::TooLarge => {
                    // Its end is still to come and to be dropped; the error stands for all of it.
                    crate::resp::write::error(out, TOO_LARGE);
                    seat.mute = true;
                }
                State::Owed => {}
            }
            if !seat.complete {
                return;
            }
            self.pop();
            self.release_pushes(out);
        }
        if self.row.capacity() > limits::SESSION_SEATS_KEPT {
            self.row.shrink_to(limits::SESSION_SEATS_KEPT);
        }
    }

    fn pop(&mut self) {
        let gone = self.row.pop_front();
        self.publishing -= usize::from(gone.is_some_and(|seat| seat.publishes));
        self.front += 1;
    }

    fn invariants(&self) {
        debug_assert!(
            self.row.front().is_none_or(|seat| !seat.complete),
            "a complete reply at the front"
        );
        debug_assert!(!self.front_begun || !self.row.is_empty());
        debug_assert!(self.publishing <= self.row.len());
        debug_assert!(self.pushes.front().is_none_or(|(behind, _)| *behind > self.front));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1000;

    fn row() -> (Seats<()>, Vec<u8>) {
        (Seats::default(), Vec::new())
    }

    #[test]
    fn replies_leave_in_the_order_of_requests() {
        let (mut seats, mut out) = row();
        let (a, b, c) = (seats.reserve(false), seats.reserve(false), seats.reserve(false));
        seats.fill(c, b"C", true, MAX, &mut out);
        seats.fill(b, b"B", true, MAX, &mut out);
        assert_eq!((out.as_slice(), seats.held_bytes()), (b"".as_slice(), 2));
        seats.fill(a, b"A", true, MAX, &mut out);
        assert_eq!((out.as_slice(), seats.held_bytes()), (b"ABC".as_slice(), 0));
        assert!(seats.is_empty());
    }

    #[test]
    fn a_reply_in_pieces_begins_to_leave_when_it_is_first_in_line() {
        let (mut seats, mut out) = row();
        let (a, b) = (seats.reserve(false), seats.reserve(false));
        seats.fill(b, b"b1", false, MAX, &mut out);
        assert!(!seats.is_torn(b));
        seats.fill(a, b"A", true, MAX, &mut out);
        assert_eq!(out, b"Ab1");
        assert!(seats.is_torn(b));
        seats.fill(b, b"b2", true, MAX, &mut out);
        assert_eq!(out, b"Ab1b2");
        assert!(seats.is_empty());
    }

    #[test]
    fn a_mute_seat_keeps_its_place_and_says_nothing() {
        let (mut seats, mut out) = row();
        let (a, b, c) = (seats.reserve(true), seats.reserve(true), seats.reserve(false));
        seats.fill(b, b"B", true, MAX, &mut out);
        seats.fill(c, b"C", true, MAX, &mut out);
        seats.fill(a, b"A", true, MAX, &mut out);
        assert_eq!(out, b"C");
    }

    #[test]
    fn a_push_leaves_at_once_if_nothing_before_it_is_held() {
        let (mut seats, mut out) = row();
        seats.push(b"0", &mut out);
        let (a, _) = (seats.reserve(false), seats.reserve(false));
        seats.push(b"1", &mut out);
        seats.fill(a, b"A", true, MAX, &mut out);
        seats.push(b"2", &mut out);
        assert_eq!((out.as_slice(), seats.pushed_bytes()), (b"01A2".as_slice(), 0));
    }

    #[test]
    fn a_push_neither_breaks_into_a_reply_nor_overtakes_one() {
        let (mut seats, mut out) = row();
        let (a, b, c) = (seats.reserve(false), seats.reserve(false), seats.reserve(false));
        seats.fill(b, b"B", true, MAX, &mut out);
        seats.push(b"1", &mut out);
        seats.fill(a, b"a", false, MAX, &mut out);
        seats.push(b"2", &mut out);
        assert_eq!((out.as_slice(), seats.pushed_bytes()), (b"a".as_slice(), 2));
        seats.fill(c, b"c", false, MAX, &mut out);
        seats.push(b"3", &mut out);
        seats.fill(a, b"A", true, MAX, &mut out);
        assert_eq!(out, b"aAB12c");
        seats.fill(c, b"C", true, MAX, &mut out);
        assert_eq!((out.as_slice(), seats.pushed_bytes()), (b"aAB12cC3".as_slice(), 0));
    }

    #[test]
    fn a_push_waits_for_the_parts_that_came_before_it() {
        let (mut seats, mut out) = row();
        let a = seats.reserve_parts(2, (), false);
        assert!(seats.fill_part(a, 0, b"0", true, MAX).is_none());
        seats.push(b"P", &mut out);
        assert!(seats.fill_part(a, 1, b"1", true, MAX).is_some());
        assert_eq!(out, b"");
        seats.fill(a, b"01", true, MAX, &mut out);
        assert_eq!(out, b"01P");
    }

    #[test]
    fn parts_come_in_any_order() {
        let (mut seats, mut out) = row();
        let a = seats.reserve_parts(2, (), false);
        assert!(seats.fill_part(a, 1, b"1", true, MAX).is_none());
        assert!(seats.fill_part(a, 0, b"0", false, MAX).is_none());
        let gather = seats.fill_part(a, 0, b"0", true, MAX).unwrap();
        assert_eq!(gather.parts, [b"00".to_vec(), b"1".to_vec()]);
        assert_eq!(seats.held_bytes(), 0);
        seats.fill(a, b"merged", true, MAX, &mut out);
        assert_eq!(out, b"merged");
    }

    #[test]
    fn a_held_reply_that_breaks_off_is_replaced() {
        let (mut seats, mut out) = row();
        let (a, b) = (seats.reserve(false), seats.reserve(false));
        seats.fill(b, b"$9\r\nbegin", false, MAX, &mut out);
        seats.replace(b, b"-ERR lost", &mut out);
        seats.fill(a, b"A", true, MAX, &mut out);
        assert_eq!(out, b"A-ERR lost");
        assert_eq!(seats.held_bytes(), 0);
    }

    #[test]
    fn a_part_that_breaks_off_is_replaced() {
        let (mut seats, _) = row();
        let a = seats.reserve_parts(2, (), false);
        assert!(seats.fill_part(a, 0, b"begin", false, MAX).is_none());
        assert!(seats.replace_part(a, 0, b"-ERR lost").is_none());
        let gather = seats.fill_part(a, 1, b"1", true, MAX).unwrap();
        assert_eq!(gather.parts, [b"-ERR lost".to_vec(), b"1".to_vec()]);
        assert_eq!(seats.held_bytes(), 0);
    }

    #[test]
    fn what_is_too_large_to_be_held_becomes_an_error_and_costs_no_connection() {
        let (mut seats, mut out) = row();
        let (a, b, c) = (seats.reserve(false), seats.reserve(false), seats.reserve(false));
        seats.fill(b, &[b'x'; 600], false, MAX, &mut out);
        seats.fill(b, &[b'x'; 600], false, MAX, &mut out);
        seats.fill(c, b"C", true, MAX, &mut out);
        assert_eq!(seats.held_bytes(), 1);
        seats.fill(a, b"A", true, MAX, &mut out);
        seats.fill(b, &[b'x'; 600], true, MAX, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), format!("A-{TOO_LARGE}\r\nC"));
    }

    #[test]
    fn messages_wait_for_replies_that_may_have_caused_them_and_for_the_end_of_one() {
        let (mut seats, mut out) = row();
        let a = seats.reserve(false);
        assert!(!seats.hold_messages());
        let b = seats.reserve(false);
        seats.newest_publishes();
        seats.newest_publishes();
        assert!(seats.hold_messages());
        seats.fill(b, b"B", true, MAX, &mut out);
        assert!(seats.hold_messages());
        seats.fill(a, b"A1", false, MAX, &mut out);
        seats.fill(a, b"A2", true, MAX, &mut out);
        assert!(!seats.hold_messages());
        let c = seats.reserve(false);
        seats.fill(c, b"C1", false, MAX, &mut out);
        assert!(seats.hold_messages());
    }

    #[test]
    fn seats_of_the_past_are_passed_over() {
        let (mut seats, mut out) = row();
        let a = seats.reserve(false);
        seats.fill(a, b"A", true, MAX, &mut out);
        seats.fill(a, b"again", true, MAX, &mut out);
        seats.fill(99, b"never", true, MAX, &mut out);
        assert_eq!(out, b"A");
    }
}
