//! The two buffers of a connection.
//!
//! ```text
//!   Intake   [ consumed | bytes not yet understood | space to read into ]
//!                       ^start                     ^end                 ^len
//!   Outbox   [ written  | bytes to be written ]
//!                       ^sent                 ^len
//! ```
//!
//! Invariants: `0 <= start <= end <= len` and `0 <= sent <= len`.
//!
//! Passwords pass through both. What has held one is overwritten when it has done so, and nothing
//! that may hold one is given back to the allocator as it is.

use zeroize::Zeroize as _;

/// An outbox that was larger gives its memory back once it is empty.
const OUTBOX_KEPT_BYTES: usize = 512 * 1024;

/// An intake up to this size may hold a password when it grows, and is overwritten. A larger one
/// holds one large request, and what is read with its end.
const INTAKE_WIPED_BYTES: usize = 64 * 1024;

/// Bytes that came in and were not yet understood, with space behind them to read into.
#[derive(Debug, Default)]
pub struct Intake {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Intake {
    /// An intake that begins with `size` bytes of space.
    pub fn with_space(size: usize) -> Self {
        Self { bytes: vec![0; size], start: 0, end: 0 }
    }

    /// What has come in.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// How much has come in.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether all that came in has been consumed.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether the last read has filled all its space, though what came may have been consumed.
    pub fn is_full(&self) -> bool {
        self.end == self.bytes.len()
    }

    /// How many bytes of memory it has.
    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// Space to read into, at least `least` bytes. Moves what is there to the front, or grows, only
    /// if there is less.
    pub fn space(&mut self, least: usize) -> &mut [u8] {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
        if self.bytes.len() - self.end < least {
            if self.start > 0 {
                self.bytes.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            }
            if self.bytes.len() - self.end < least {
                // Doubling keeps the copies of a large request in proportion to its size.
                let size = (self.bytes.len() * 2).max(self.end + least);
                if self.bytes.len() <= INTAKE_WIPED_BYTES {
                    let mut grown = vec![0; size];
                    grown[..self.end].copy_from_slice(&self.bytes[..self.end]);
                    self.bytes.zeroize();
                    self.bytes = grown;
                } else {
                    self.bytes.resize(size, 0);
                }
            }
        }
        &mut self.bytes[self.end..]
    }

    /// `count` bytes of the space were filled.
    pub fn filled(&mut self, count: usize) {
        self.end = (self.end + count).min(self.bytes.len());
    }

    /// The first `count` bytes have been understood.
    pub fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
    }

    /// Overwrites all that is not [`Intake::bytes`]: what was consumed, and what moving has left
    /// behind.
    pub fn wipe(&mut self) {
        self.bytes[..self.start].zeroize();
        self.bytes[self.end..].zeroize();
    }
}

/// Bytes that are to go out.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
    /// There is a secret in it, until all of it has been written.
    secret: bool,
}

impl Outbox {
    /// An empty outbox that reuses `bytes`' memory.
    pub fn reusing(mut bytes: Vec<u8>) -> Self {
        bytes.clear();
        Self { bytes, sent: 0, secret: false }
    }

    /// What is still to be written.
    pub fn pending(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// How much is still to be written.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Whether all has been written.
    pub fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// How many bytes of memory it has.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Where to append.
    pub fn end(&mut self) -> &mut Vec<u8> {
        // A slow reader must not make the written part grow without end, but moving the rest to the
        // front at each write would copy it over and over: once the written half is the larger one,
        // each byte is moved at most once on average.
        if self.sent > 64 * 1024 && self.sent > self.bytes.len() / 2 {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        &mut self.bytes
    }

    /// Where to append up to `size` bytes with a secret among them. It is overwritten when it has
    /// been written; nor does it stay where the outbox was before it grew, or went.
    pub fn end_with_secret(&mut self, size: usize) -> &mut Vec<u8> {
        if self.bytes.capacity() - self.bytes.len() < size {
            let pending = self.len();
            let mut grown = Vec::with_capacity((2 * pending).max(pending + size));
            grown.extend_from_slice(self.pending());
            self.wipe();
            self.bytes = grown;
            self.sent = 0;
        }
        self.secret = true;
        &mut self.bytes
    }

    /// Whether there is a secret in it.
    pub fn has_secret(&self) -> bool {
        self.secret
    }

    /// Overwrites all of it, if there is a secret in it.
    fn wipe(&mut self) {
        if self.secret {
            self.bytes.zeroize();
        }
    }

    /// The first `count` pending bytes have been written.
    pub fn wrote(&mut self, count: usize) {
        self.sent = (self.sent + count).min(self.bytes.len());
        if self.sent == self.bytes.len() {
            self.sent = 0;
            self.wipe();
            self.secret = false;
            if self.bytes.capacity() > OUTBOX_KEPT_BYTES {
                self.bytes = Vec::new();
            } else {
                self.bytes.clear();
            }
        }
    }

    /// Gives the memory back for reuse; what was pending is lost.
    pub fn into_memory(mut self) -> Vec<u8> {
        self.wipe();
        std::mem::take(&mut self.bytes)
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.wipe();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intake_keeps_what_is_not_consumed() {
        let mut intake = Intake::with_space(4);
        intake.space(1)[..3].copy_from_slice(b"abc");
        intake.filled(3);
        intake.consume(2);
        assert_eq!(intake.bytes(), b"c");
        intake.space(10)[..2].copy_from_slice(b"de");
        intake.filled(2);
        assert_eq!(intake.bytes(), b"cde");
        intake.consume(3);
        assert!(intake.is_empty());
    }

    #[test]
    fn an_intake_keeps_no_secret_that_was_understood() {
        let mut intake = Intake::with_space(8);
        intake.space(1)[..8].copy_from_slice(b"xxsesam-");
        intake.filled(8);
        intake.consume(2);
        // It moves to the front, and grows.
        intake.space(20)[..4].copy_from_slice(b"next");
        intake.filled(4);
        intake.consume(6);
        intake.wipe();
        assert_eq!(intake.bytes(), b"next");
        let end = intake.end;
        intake.bytes[intake.start..end].fill(0);
        assert!(intake.bytes.iter().all(|&byte| byte == 0));
    }

    #[test]
    fn an_outbox_has_a_secret_until_all_is_written() {
        let mut outbox = Outbox::default();
        for secret in ["sesam", "mellon"] {
            outbox.end_with_secret(6).extend_from_slice(secret.as_bytes());
        }
        assert_eq!(outbox.pending(), b"sesammellon");
        outbox.wrote(5);
        assert_eq!((outbox.pending(), outbox.has_secret()), (b"mellon".as_slice(), true));
        outbox.wrote(6);
        assert_eq!((outbox.pending(), outbox.has_secret()), (b"".as_slice(), false));
    }

    #[test]
    fn an_outbox_gives_each_byte_once() {
        let (mut outbox, mut got, mut put) = (Outbox::default(), Vec::new(), Vec::new());
        for turn in 0u32..4000 {
            let piece = turn.to_le_bytes().repeat(16);
            put.extend_from_slice(&piece);
            outbox.end().extend_from_slice(&piece);
            let count = (turn as usize * 7) % 96;
            let count = count.min(outbox.len());
            got.extend_from_slice(&outbox.pending()[..count]);
            outbox.wrote(count);
        }
        got.extend_from_slice(outbox.pending());
        assert!(got == put);
        assert!(outbox.capacity() < put.len());
    }
}
