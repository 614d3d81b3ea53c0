//! One connection to a shard: its greeting, and what the wire owes us.
//!
//! ```text
//!              greeting ->|                          commands ->
//!   out:   [ AUTH | SETNAME | INFO ]        [ c1 | c2 | c3 | c4 | c5 ]
//!                                                     ^written      ^appended
//!   owed:                                   (c1) (c2) (c3) (c4) (c5)      in wire order
//!                                             \
//!   in:                                        <- r1 [ r2 ...
//! ```
//!
//! Each command that is appended leaves an entry in `owed`: who is to get its reply (a token of the
//! owner's own making) and where its last byte stands in the stream. Replies come in wire order, so
//! the first entry is always whose reply is being read. Commands may be appended at any time: they
//! leave when the greeting has been answered.
//!
//! A pipeline may **keep** what it has written until it is answered: a command that the shard has
//! refused can then be sent to another one.
//!
//! A connection may also bring frames that answer nothing, such as the messages of channels. What
//! they look like is said when the pipeline is made, and whose they are; they take nothing from
//! `owed`.
//!
//! When the connection dies, the outcome of a command whose last byte was written is unknown. One
//! that left only in part can't have been executed; one of which nothing left is kept for the next
//! connection. No I/O here: bytes in, bytes out.

use std::collections::VecDeque;
use std::ops::Range;

use crate::limits;
use crate::resp::{Intake, Outbox, Scan, Scanner, whole_reply};

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not there yet: commands pile up.
    Connecting,
    /// The greeting is out; commands pile up until [`Pipeline::greeted`].
    Greeting,
    /// Commands leave as they come.
    Ready,
}

/// A piece of a reply, in wire order. Nearly always the whole: first and last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece<T> {
    /// Who is to get it.
    pub token: T,
    /// Where its bytes are: see [`Pipeline::bytes`].
    pub range: Range<usize>,
    /// The reply begins with this piece.
    pub first: bool,
    /// The reply ends with this piece.
    pub last: bool,
}

/// What may be said of a command whose connection died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It had left whole: it may have been executed or not.
    Unknown,
    /// It had left in part, or was never whole: it was not executed.
    Unfinished,
}

/// The connection sent what is no reply, or a reply that nobody asked for. It must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Desync;

#[derive(Debug)]
struct Owed<T> {
    token: T,
    /// Where its last byte stands in the stream of appended bytes; none while it is still growing.
    end: Option<u64>,
}

/// Frames that answer nothing.
#[derive(Debug, Clone, Copy)]
struct Unasked<T> {
    /// Whether a frame that begins so is one, when the reply of this token would be next.
    is_one: fn(&[u8], Option<T>) -> bool,
    /// Who gets it.
    token: T,
}

/// See the module's picture. `T` is the owner's token: cheap to copy.
#[derive(Debug)]
pub struct Pipeline<T> {
    phase: Phase,
    greeting: Outbox,
    out: Outbox,
    /// Bytes ever appended to `out`, and ever written from it.
    appended: u64,
    written: u64,
    /// Whether commands stay in `out` until they are answered, ...
    keeps: bool,
    /// ... and how many bytes at its front have been written and stay there.
    kept: usize,
    /// Where the first command in `owed` begins in the stream of appended bytes.
    front: u64,
    owed: VecDeque<Owed<T>>,
    /// Entries at the front of `owed` that belong to the greeting.
    greeting_owed: usize,
    intake: Intake,
    /// How large the intake becomes when a read has filled it.
    read_max: usize,
    /// Bytes of the intake that the scanner has seen and that were not handed out.
    scanned: usize,
    scanner: Scanner,
    /// The reply in front is being handed out in pieces.
    streaming: bool,
    /// The frames that answer nothing, if there are any.
    unasked: Option<Unasked<T>>,
    /// The frame that is being handed out is one of those.
    is_unasked: bool,
}

impl<T: Copy> Default for Pipeline<T> {
    fn default() -> Self {
        Self {
            phase: Phase::Connecting,
            greeting: Outbox::default(),
            out: Outbox::default(),
            appended: 0,
            written: 0,
            keeps: false,
            kept: 0,
            front: 0,
            owed: VecDeque::new(),
            greeting_owed: 0,
            intake: Intake::default(),
            read_max: limits::LINK_READ_BYTES,
            scanned: 0,
            scanner: Scanner::default(),
            streaming: false,
            unasked: None,
            is_unasked: false,
        }
    }
}

impl<T: Copy> Pipeline<T> {
    /// A pipeline on which some frames answer nothing: those whose first bytes `is_one` knows.
    /// `token` gets them. It is shown a whole frame, or at least the first
    /// [`limits::REPLY_STREAM_BYTES`] of it.
    pub fn with_unasked(is_one: fn(&[u8], Option<T>) -> bool, token: T) -> Self {
        let mut pipeline = Self::default();
        pipeline.expect_unasked(is_one, token);
        pipeline
    }

    /// A pipeline that many clients share: it keeps commands, as by [`Pipeline::keeping`], and has
    /// more space for their replies when many come at once.
    pub fn shared() -> Self {
        Self { read_max: limits::SHARED_LINK_READ_BYTES, ..Self::default().keeping() }
    }

    /// Commands are kept until they are answered: see [`Pipeline::front_request`].
    #[must_use]
    pub fn keeping(mut self) -> Self {
        self.keeps = true;
        self
    }

    /// From the next frame on, those whose first bytes `is_one` knows answer nothing.
    pub fn expect_unasked(&mut self, is_one: fn(&[u8], Option<T>) -> bool, token: T) {
        self.unasked = Some(Unasked { is_one, token });
    }

    /// Where the connection stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether commands may leave.
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    /// Whether every word of the greeting has been answered.
    pub fn is_greeting_over(&self) -> bool {
        self.phase != Phase::Connecting && self.greeting_owed == 0
    }

    /// Replies that are owed, commands that have not left included.
    pub fn owed(&self) -> usize {
        self.owed.len()
    }

    /// Whose reply the bytes are that have come and were not handed out; none if there are none.
    pub fn next_token(&self) -> Option<T> {
        self.owed.front().filter(|_| !self.intake.is_empty()).map(|owed| owed.token)
    }

    /// Whether the begin of a reply has been handed out, and its end has not.
    pub fn is_streaming(&self) -> bool {
        self.streaming
    }

    /// Bytes of commands that were appended and not written.
    pub fn backlog(&self) -> usize {
        self.out.len() - self.kept
    }

    /// Bytes of commands that were written and are kept.
    pub fn kept(&self) -> usize {
        self.kept
    }

    /// Whose replies are owed, in wire order.
    pub fn tokens(&self) -> impl Iterator<Item = T> {
        self.owed.iter().map(|owed| owed.token)
    }

    /// All commands of owners that are not answered, as far as the pipeline keeps them.
    pub fn requests(&self) -> impl Iterator<Item = (T, &[u8])> {
        let base = self.appended - self.out.len() as u64;
        let bytes = self.out.pending();
        let mut start = self.front;
        self.owed.iter().skip(self.greeting_owed).filter_map(move |owed| {
            let offset = |at: u64| usize::try_from(at.checked_sub(base)?).ok();
            let range = offset(std::mem::replace(&mut start, owed.end?))?..offset(owed.end?)?;
            Some((owed.token, bytes.get(range)?))
        })
    }

    /// Where what was sent so far ends, in bytes since the beginning.
    pub fn end(&self) -> u64 {
        self.appended
    }

    /// Where the command whose reply is next ends.
    pub fn front_end(&self) -> Option<u64> {
        self.owed.front()?.end
    }

    /// The command whose reply is next, if the pipeline keeps it. Not one whose bytes came piece by
    /// piece: those are not kept.
    pub fn front_request(&self) -> Option<&[u8]> {
        let base = self.appended - self.out.len() as u64;
        let end = self.owed.front()?.end?;
        let offset = |at: u64| usize::try_from(at.checked_sub(base)?).ok();
        let (start, end) = (offset(self.front)?, offset(end)?);
        self.out.pending().get(start..end).filter(|request| !request.is_empty())
    }

    // ---------------------------------------------------------------- commands

    /// The connection stands: sends the greeting that `write` makes, of up to `size` bytes. Its
    /// replies come first, one for each token that `write` returns. There may be a password in it,
    /// which is not kept.
    pub fn opened<I: IntoIterator<Item = T>>(
        &mut self,
        size: usize,
        write: impl FnOnce(&mut Vec<u8>) -> I,
    ) {
        debug_assert_eq!(self.phase, Phase::Connecting);
        self.phase = Phase::Greeting;
        let greeting = self.greeting.end_with_secret(size);
        let tokens = write(greeting);
        debug_assert!(greeting.len() <= size, "a greeting that grew has left its password behind");
        for (place, token) in tokens.into_iter().enumerate() {
            self.owed.insert(place, Owed { token, end: Some(0) });
            self.greeting_owed += 1;
        }
        self.invariants();
    }

    /// The greeting was answered to the owner's satisfaction: commands may leave.
    pub fn greeted(&mut self) {
        debug_assert_eq!(self.phase, Phase::Greeting);
        self.phase = Phase::Ready;
        self.invariants();
    }

    /// Appends one command: `write` its bytes, `token` gets its reply.
    pub fn send(&mut self, token: T, write: impl FnOnce(&mut Vec<u8>)) {
        self.append(write);
        self.owed.push_back(Owed { token, end: Some(self.appended) });
    }

    /// As [`Pipeline::send`], for a command of up to `size` bytes with a password in it, which is
    /// not kept once it has left.
    pub fn send_secret(&mut self, token: T, size: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let out = self.out.end_with_secret(size);
        let before = out.len();
        write(out);
        debug_assert!(out.len() - before <= size, "an outbox that grew has left its secret behind");
        self.appended += (out.len() - before) as u64;
        self.owed.push_back(Owed { token, end: Some(self.appended) });
    }

    /// Begins a command whose bytes come piece by piece, with [`Pipeline::send_more`]. Nothing else
    /// may be sent until [`Pipeline::send_end`].
    pub fn send_begin(&mut self, token: T) {
        self.owed.push_back(Owed { token, end: None });
    }

    /// More bytes of the command that was begun.
    pub fn send_more(&mut self, bytes: &[u8]) {
        debug_assert!(self.owed.back().is_some_and(|owed| owed.end.is_none()));
        self.append(|out| out.extend_from_slice(bytes));
    }

    /// The command that was begun is complete.
    pub fn send_end(&mut self) {
        let end = Some(self.appended);
        if let Some(owed) = self.owed.back_mut() {
            debug_assert!(owed.end.is_none());
            owed.end = end;
        }
    }

    fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let out = self.out.end();
        let before = out.len();
        write(out);
        self.appended += (out.len() - before) as u64;
    }

    // ---------------------------------------------------------------- bytes out

    /// What is to be written now, in two pieces.
    pub fn output(&self) -> [&[u8]; 2] {
        match self.phase {
            Phase::Connecting => [&[], &[]],
            Phase::Greeting => [self.greeting.pending(), &[]],
            Phase::Ready => [self.greeting.pending(), &self.out.pending()[self.kept..]],
        }
    }

    /// Whether [`Pipeline::output`] has anything.
    pub fn has_output(&self) -> bool {
        self.output().iter().any(|piece| !piece.is_empty())
    }

    /// `count` bytes of [`Pipeline::output`] were written.
    pub fn wrote(&mut self, count: usize) {
        let greeting = count.min(self.greeting.len());
        self.greeting.wrote(greeting);
        let rest = (count - greeting).min(self.backlog());
        self.written += rest as u64;
        self.kept += rest;
        let grows = self.owed.front().is_some_and(|owed| owed.end.is_none());
        if !self.keeps || grows {
            self.let_go(self.kept);
        }
        self.invariants();
    }

    /// The first bytes that are kept need be kept no longer.
    fn let_go(&mut self, count: usize) {
        self.out.wrote(count);
        self.kept -= count;
    }

    // ---------------------------------------------------------------- bytes in

    /// Where to read the shard's bytes to.
    pub fn space(&mut self) -> &mut [u8] {
        if self.intake.capacity() == 0 {
            self.intake = Intake::with_space(limits::LINK_READ_BYTES);
        }
        let least = if self.intake.is_full() && self.intake.capacity() < self.read_max {
            self.read_max - self.intake.len()
        } else {
            limits::LINK_READ_BYTES / 4
        };
        self.intake.space(least)
    }

    /// `count` bytes of the space were filled: now call [`Pipeline::next_piece`] until it has none.
    pub fn filled(&mut self, count: usize) {
        self.intake.filled(count);
    }

    /// The next piece of a reply. Its bytes stay until [`Pipeline::done`], which must come before
    /// the next call.
    pub fn next_piece(&mut self) -> Result<Option<Piece<T>>, Desync> {
        let unseen = &self.intake.bytes()[self.scanned..];
        if unseen.is_empty() && self.scanned == 0 {
            return Ok(None);
        }
        let (end, last) = match self.scanner.scan(unseen) {
            Scan::Done { used } => (self.scanned + used, true),
            Scan::More { used } => {
                self.scanned += used;
                let line = self.intake.len() - self.scanned;
                if line > limits::LINK_READ_BYTES && line > self.line_bytes_max() {
                    return Err(Desync);
                }
                let hold = if self.streaming { 1 } else { limits::REPLY_STREAM_BYTES };
                if self.scanned < hold {
                    return Ok(None);
                }
                (self.scanned, false)
            }
            Scan::Invalid => return Err(Desync),
        };
        let begin = &self.intake.bytes()[..end];
        if !self.streaming {
            let next = self.owed.front().map(|owed| owed.token);
            self.is_unasked = self.unasked.is_some_and(|unasked| (unasked.is_one)(begin, next));
        }
        let unasked = self.unasked.filter(|_| self.is_unasked).map(|unasked| unasked.token);
        let Some(token) = unasked.or_else(|| self.owed.front().map(|owed| owed.token)) else {
            return Err(Desync);
        };
        let piece = Piece { token, range: 0..end, first: !self.streaming, last };
        self.streaming = !last;
        self.scanned = end;
        Ok(Some(piece))
    }

    /// How long the line may be that is next. One in a reply has no business to be long, but one
    /// that answers nothing may quote any command: MONITOR's do.
    fn line_bytes_max(&self) -> usize {
        let begin = self.intake.bytes();
        let next = self.owed.front().map(|owed| owed.token);
        match self.unasked {
            Some(unasked) if !self.streaming && (unasked.is_one)(begin, next) => {
                limits::MONITOR_LINE_BYTES_MAX
            }
            _ => limits::LINK_READ_BYTES,
        }
    }

    /// The next reply, if it is all there, of the usual kind ([`whole_reply`]), and nothing else
    /// could come in its place: whose it is, and its bytes. When it has been dealt with, call
    /// [`Pipeline::took_whole`]; when several have, [`Pipeline::let_go_answered`] once.
    pub fn next_whole(&self) -> Option<(T, &[u8])> {
        if self.streaming || self.scanned > 0 || self.unasked.is_some() {
            return None;
        }
        debug_assert!(!self.scanner.in_reply());
        let bytes = self.intake.bytes();
        let length = whole_reply(bytes)?;
        Some((self.owed.front()?.token, &bytes[..length]))
    }

    /// The reply of [`Pipeline::next_whole`], of this length, has been dealt with; its bytes go.
    pub fn took_whole(&mut self, length: usize) {
        self.intake.consume(length);
        self.answered();
    }

    /// The commands that have been answered need be kept no longer.
    pub fn let_go_answered(&mut self) {
        let base = self.appended - self.out.len() as u64;
        let answered = usize::try_from(self.front.saturating_sub(base)).unwrap_or(usize::MAX);
        self.let_go(answered.min(self.kept));
        self.invariants();
    }

    /// The first of those that wait for a reply has got it.
    fn answered(&mut self) {
        if let Some(end) = self.owed.pop_front().and_then(|answered| answered.end) {
            self.front = self.front.max(end);
        }
        self.greeting_owed = self.greeting_owed.saturating_sub(1);
    }

    /// The bytes of a piece.
    pub fn bytes(&self, piece: &Piece<T>) -> &[u8] {
        &self.intake.bytes()[piece.range.clone()]
    }

    /// The piece has been dealt with; its bytes go.
    pub fn done(&mut self, piece: &Piece<T>) {
        self.intake.consume(piece.range.end);
        self.scanned = 0;
        if piece.last && !self.is_unasked {
            self.answered();
            self.let_go_answered();
        }
        self.invariants();
    }

    // ---------------------------------------------------------------- the end of a connection

    /// The connection is dead. Returns whose replies will never come, in wire order, and what may
    /// be said of each. Commands of which nothing had left stay, and leave by the next connection,
    /// for which the pipeline is then ready to be [`Pipeline::opened`].
    pub fn broken(&mut self) -> Vec<(T, Fate)> {
        let mut fates = Vec::new();
        let mut kept = VecDeque::new();
        let mut start = self.front;
        // Where the bytes of the commands that stay begin in the stream.
        let mut base = self.appended;
        for owed in self.owed.drain(..).skip(self.greeting_owed) {
            let end = owed.end.unwrap_or(self.appended);
            match owed.end {
                Some(end) if end <= self.written => fates.push((owed.token, Fate::Unknown)),
                Some(_) if start >= self.written => {
                    base = base.min(start);
                    kept.push_back(owed);
                }
                _ => fates.push((owed.token, Fate::Unfinished)),
            }
            start = end;
        }
        for owed in &mut kept {
            owed.end = owed.end.map(|end| end - base);
        }
        let unsent = self.appended - base;
        let mut out = Outbox::default();
        let bytes = &self.out.pending()[self.out.len() - unsent as usize..];
        if self.out.has_secret() {
            out.end_with_secret(bytes.len()).extend_from_slice(bytes);
        } else {
            out.end().extend_from_slice(bytes);
        }
        let (unasked, keeps, read_max) = (self.unasked, self.keeps, self.read_max);
        let (owed, appended) = (kept, unsent);
        *self = Self { owed, appended, out, unasked, keeps, read_max, ..Self::default() };
        self.invariants();
        fates
    }

    /// Takes out all commands that have not left whole, and forgets their bytes.
    pub fn drop_unsent(&mut self) -> Vec<T> {
        debug_assert_eq!(self.phase, Phase::Connecting);
        let tokens = self.owed.drain(..).map(|owed| owed.token).collect();
        *self = Self { keeps: self.keeps, read_max: self.read_max, ..Self::default() };
        tokens
    }

    fn invariants(&self) {
        debug_assert!(self.written <= self.appended);
        debug_assert_eq!(self.appended - self.written, self.backlog() as u64);
        debug_assert!(self.kept <= self.out.len());
        debug_assert!(self.keeps || self.kept == 0);
        debug_assert!(self.greeting_owed <= self.owed.len());
        debug_assert!(self.scanned <= self.intake.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready() -> Pipeline<u32> {
        let mut pipeline = Pipeline::default();
        pipeline.opened(64, |out| {
            out.extend_from_slice(b"HI");
            [100]
        });
        pipeline
    }

    fn feed(pipeline: &mut Pipeline<u32>, bytes: &[u8]) -> Vec<(u32, String, bool)> {
        let mut got = Vec::new();
        for chunk in bytes.chunks(1024) {
            pipeline.space()[..chunk.len()].copy_from_slice(chunk);
            pipeline.filled(chunk.len());
            while let Some(piece) = pipeline.next_piece().unwrap() {
                let text = String::from_utf8_lossy(pipeline.bytes(&piece)).into_owned();
                got.push((piece.token, text, piece.last));
                pipeline.done(&piece);
            }
        }
        got
    }

    #[test]
    fn commands_wait_for_the_greeting_and_replies_come_in_wire_order() {
        let mut pipeline = Pipeline::default();
        pipeline.send(1, |out| out.extend_from_slice(b"one"));
        assert!(!pipeline.has_output());
        pipeline.opened(64, |out| {
            out.extend_from_slice(b"HI");
            [100]
        });
        assert_eq!(pipeline.output(), [b"HI".as_slice(), b""]);
        pipeline.send(2, |out| out.extend_from_slice(b"two"));
        pipeline.wrote(2);
        assert_eq!(feed(&mut pipeline, b"+hello\r\n"), [(100, "+hello\r\n".to_owned(), true)]);
        pipeline.greeted();
        assert_eq!(pipeline.output(), [b"".as_slice(), b"onetwo"]);
        pipeline.wrote(6);
        assert_eq!(
            feed(&mut pipeline, b":1\r\n$1\r\nx\r\n"),
            [(1, ":1\r\n".to_owned(), true), (2, "$1\r\nx\r\n".to_owned(), true)]
        );
        assert_eq!(pipeline.owed(), 0);
    }

    #[test]
    fn a_large_reply_comes_in_pieces_and_no_byte_twice() {
        let mut pipeline = ready();
        pipeline.wrote(2);
        feed(&mut pipeline, b"+hello\r\n");
        pipeline.greeted();
        pipeline.send(7, |out| out.push(b'x'));
        pipeline.wrote(1);
        let body = "y".repeat(10 * limits::REPLY_STREAM_BYTES);
        let reply = format!("*2\r\n${}\r\n{body}\r\n:5\r\n", body.len());
        let got = feed(&mut pipeline, reply.as_bytes());
        assert!(got.len() > 5);
        assert!(got.iter().map(|(_, text, _)| text.as_str()).collect::<String>() == reply);
        assert!(got.iter().all(|(token, ..)| *token == 7));
        assert_eq!(got.iter().filter(|(.., last)| *last).count(), 1);
        assert!(pipeline.intake.capacity() <= 4 * limits::LINK_READ_BYTES);
    }

    #[test]
    fn what_had_left_is_unknown_and_what_had_not_leaves_again() {
        let mut pipeline = ready();
        pipeline.wrote(2);
        feed(&mut pipeline, b"+hello\r\n");
        pipeline.greeted();
        for token in 1..=4 {
            pipeline.send(token, |out| out.extend_from_slice(&[b'0' + token as u8; 3]));
        }
        pipeline.wrote(4);
        assert_eq!(pipeline.broken(), [(1, Fate::Unknown), (2, Fate::Unfinished)]);
        assert_eq!(pipeline.owed(), 2);
        pipeline.opened(0, |_| []);
        pipeline.greeted();
        assert_eq!(pipeline.output(), [b"".as_slice(), b"333444"]);
        pipeline.wrote(6);
        assert_eq!(feed(&mut pipeline, b":3\r\n:4\r\n").len(), 2);
    }

    #[test]
    fn what_has_been_answered_before_decides_nothing_about_what_has_not_left() {
        let mut pipeline = ready();
        pipeline.wrote(2);
        feed(&mut pipeline, b"+hello\r\n");
        pipeline.greeted();
        pipeline.send(1, |out| out.extend_from_slice(b"one"));
        pipeline.wrote(3);
        feed(&mut pipeline, b":1\r\n");
        pipeline.send(2, |out| out.extend_from_slice(b"two"));
        assert_eq!(pipeline.broken(), [], "nothing of it had left");
        assert_eq!(pipeline.drop_unsent(), [2]);
    }

    #[test]
    fn what_is_kept_can_be_had_until_it_is_answered() {
        let mut pipeline = Pipeline::default().keeping();
        pipeline.opened(0, |_| []);
        pipeline.greeted();
        for token in 1..=3 {
            pipeline.send(token, |out| out.extend_from_slice(&[b'0' + token as u8; 3]));
        }
        assert_eq!(pipeline.output(), [b"".as_slice(), b"111222333"]);
        pipeline.wrote(7);
        assert_eq!((pipeline.output(), pipeline.backlog()), ([b"".as_slice(), b"33"], 2));
        assert_eq!(pipeline.front_request(), Some(b"111".as_slice()));
        let all: Vec<_> = pipeline.requests().collect();
        assert_eq!(all, [(1, b"111".as_slice()), (2, b"222"), (3, b"333")]);
        feed(&mut pipeline, b":1\r\n");
        assert_eq!((pipeline.front_request(), pipeline.kept()), (Some(b"222".as_slice()), 4));
        assert_eq!(pipeline.broken(), [(2, Fate::Unknown), (3, Fate::Unfinished)]);
        pipeline.opened(0, |_| []);
        pipeline.greeted();
        pipeline.send_begin(4);
        pipeline.send_more(b"44");
        pipeline.wrote(2);
        assert_eq!(pipeline.kept(), 0, "it may be larger than memory");
        pipeline.send_more(b"4");
        pipeline.send_end();
        pipeline.wrote(1);
        assert_eq!(pipeline.front_request(), None, "its begin is gone");
        pipeline.send(5, |out| out.extend_from_slice(b"555"));
        pipeline.wrote(3);
        feed(&mut pipeline, b":4\r\n");
        assert_eq!(pipeline.front_request(), Some(b"555".as_slice()));
        feed(&mut pipeline, b":5\r\n");
        assert_eq!((pipeline.front_request(), pipeline.kept()), (None, 0));
    }

    #[test]
    fn a_connection_that_dies_while_greeting_loses_nothing() {
        let mut pipeline = ready();
        pipeline.send(1, |out| out.extend_from_slice(b"one"));
        pipeline.wrote(1);
        assert_eq!(pipeline.broken(), []);
        assert_eq!(pipeline.drop_unsent(), [1]);
        assert_eq!(pipeline.owed(), 0);
    }

    #[test]
    fn frames_that_answer_nothing_come_between_replies() {
        let mut pipeline = Pipeline::with_unasked(|begin, _| begin.starts_with(b"*2"), 9);
        pipeline.opened(0, |_| []);
        pipeline.greeted();
        let got = feed(&mut pipeline, b"*2\r\n:1\r\n:2\r\n");
        assert_eq!(got, [(9, "*2\r\n:1\r\n:2\r\n".to_owned(), true)]);
        pipeline.send(1, |out| out.push(b'x'));
        pipeline.send(2, |out| out.push(b'y'));
        pipeline.wrote(2);
        let body = "z".repeat(3 * limits::REPLY_STREAM_BYTES);
        let long = format!("*2\r\n:1\r\n${}\r\n{body}\r\n", body.len());
        let got = feed(&mut pipeline, format!("+a\r\n{long}+b\r\n").as_bytes());
        let tokens: Vec<u32> = got.iter().map(|(token, ..)| *token).collect();
        assert_eq!((tokens[0], tokens[tokens.len() - 1]), (1, 2));
        assert!(tokens.len() > 3 && tokens[1..tokens.len() - 1].iter().all(|token| *token == 9));
        assert_eq!(pipeline.owed(), 0);
    }

    #[test]
    fn only_what_answers_nothing_may_be_a_long_line() {
        let line = format!("+1{}\r\n", "x".repeat(3 * limits::LINK_READ_BYTES));
        let mut pipeline = Pipeline::with_unasked(|begin, _| begin.starts_with(b"+1"), 9);
        pipeline.opened(0, |_| []);
        pipeline.greeted();
        let got = feed(&mut pipeline, line.as_bytes());
        assert_eq!(got, [(9, line.clone(), true)]);
        pipeline.expect_unasked(|_, _| false, 9);
        pipeline.send(1, |out| out.push(b'x'));
        let reply = &line.as_bytes()[..2 * limits::LINK_READ_BYTES];
        for chunk in reply.chunks(1024) {
            pipeline.space()[..chunk.len()].copy_from_slice(chunk);
            pipeline.filled(chunk.len());
        }
        assert_eq!(pipeline.next_piece(), Err(Desync));
    }

    #[test]
    fn only_what_many_share_grows_when_a_read_has_filled_it() {
        let fill = |pipeline: &mut Pipeline<u32>| {
            let space = pipeline.space().len();
            pipeline.filled(space);
            pipeline.intake.consume(space);
            space
        };
        let (few, many) = (limits::LINK_READ_BYTES, limits::SHARED_LINK_READ_BYTES);
        let (mut pinned, mut shared) = (Pipeline::default().keeping(), Pipeline::shared());
        assert_eq!([(); 3].map(|()| fill(&mut pinned)), [few, few, few]);
        // Also what takes its place when its connection is lost.
        for _ in 0..2 {
            assert_eq!([(); 3].map(|()| fill(&mut shared)), [few, many, many]);
            shared.broken();
        }
        shared.space();
        shared.filled(few / 2);
        assert_eq!(shared.space().len(), few / 2);
    }

    #[test]
    fn an_unasked_reply_ends_the_connection() {
        let mut pipeline = ready();
        pipeline.wrote(2);
        feed(&mut pipeline, b"+hello\r\n");
        pipeline.greeted();
        pipeline.space()[..5].copy_from_slice(b"+hm\r\n");
        pipeline.filled(5);
        assert_eq!(pipeline.next_piece(), Err(Desync));
    }
}
