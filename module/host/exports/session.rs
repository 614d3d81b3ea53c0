//! A session of another module: a guest, and how much it is owed.

use std::ffi::{CStr, c_char};
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::module::Module;
use super::{Outcome, if_open};
use crate::engine::Peer;
use crate::limits;
use crate::resp::write;
use crate::worker::{Farewell, Promise};

use super::super::guests::LOCAL;
use super::super::roads;
use super::super::voice::Voice;

/// What is answered in place of a command that isn't said.
const REFUSED: &str =
    "ERR this command would change how or whether replies come, so a module's session can't say it";

/// Behind a `WeirSession`.
pub(super) struct Session {
    module: Arc<Module>,
    voice: Voice,
    owed: Arc<Owed>,
}

/// What a session is owed.
#[derive(Debug, Default)]
struct Owed {
    replies: AtomicUsize,
    bytes: AtomicUsize,
}

/// A request's share of it, until this is dropped.
struct Share {
    owed: Arc<Owed>,
    bytes: usize,
}

impl Owed {
    /// One more, with so many bytes, if there is room.
    fn take(self: &Arc<Self>, bytes: usize) -> Option<Share> {
        // Dropped again at once if it is too much.
        let share = Share { owed: Arc::clone(self), bytes };
        let replies = self.replies.fetch_add(1, Ordering::Relaxed);
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = replies < limits::MODULE_OWED_MAX
            && (replies == 0 || before + bytes <= limits::MODULE_OWED_BYTES_MAX);
        fits.then_some(share)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.owed.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.owed.replies.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Session {
    /// A new session, which its module keeps until it is closed; none if nobody is served.
    pub(super) fn open(module: &Arc<Module>) -> Option<*const Self> {
        let mut opened = None;
        if_open(|gate| {
            let (address, local) = (format!("{}:0", module.name), LOCAL.to_owned());
            let handle = gate.entrance.enter(Peer { address, local, fd: -1 }, None, Farewell::Cut);
            let session = Arc::new(Self {
                module: Arc::clone(module),
                voice: Voice::new(handle, gate.login.clone()),
                owed: Arc::default(),
            });
            opened = module.keep(&session).then_some(Arc::as_ptr(&session));
            Outcome::Ok
        });
        opened
    }

    pub(super) fn close(&self) {
        self.module.forget(self);
    }

    /// Says a request, and what is to be done with its reply, which is none if the session is gone.
    pub(super) fn say(
        &self,
        request: Vec<u8>,
        told: impl FnOnce(Option<Vec<u8>>) + Send + 'static,
    ) -> Outcome {
        if_open(|_| {
            let Some(share) = self.owed.take(request.len()) else { return Outcome::Full };
            let Some(due) = self.module.due() else { return Outcome::Gone };
            let promise = Promise::new(move |reply| {
                drop(share); // Who is told may say the next.
                told(reply);
                drop(due);
            });
            self.voice.say(request, true, promise);
            Outcome::Ok
        })
    }
}

/// The bytes of a C string; none if it is null.
///
/// # Safety
/// `text` is null, or ends with a NUL and is good for as long as the result is used.
pub(super) unsafe fn c_bytes<'a>(text: *const c_char) -> &'a [u8] {
    if text.is_null() {
        return b"";
    }
    // SAFETY: as the caller promises.
    unsafe { CStr::from_ptr(text) }.to_bytes()
}

/// A command, as C says it.
pub(super) struct Arguments<'call> {
    words: Vec<&'call [u8]>,
}

impl Arguments<'_> {
    /// None if there is no command.
    ///
    /// # Safety
    /// `argv` has `argc` pointers, each to as many bytes as `lengths` says, or to a C string if
    /// that is null; all are good for as long as the result is used.
    pub(super) unsafe fn new(
        argc: usize,
        argv: *const *const c_char,
        lengths: *const usize,
    ) -> Option<Self> {
        if argc == 0 || argv.is_null() {
            return None;
        }
        // SAFETY: as the caller promises.
        let pointers = unsafe { slice::from_raw_parts(argv, argc) };
        let word = |(at, &pointer): (usize, &*const c_char)| {
            if lengths.is_null() {
                // SAFETY: as the caller promises.
                return unsafe { c_bytes(pointer) };
            }
            // SAFETY: as the caller promises.
            match unsafe { *lengths.add(at) } {
                0 => b"".as_slice(),
                // SAFETY: as the caller promises.
                length => unsafe { slice::from_raw_parts(pointer.cast(), length) },
            }
        };
        Some(Self { words: pointers.iter().enumerate().map(word).collect() })
    }

    /// What is to be said, and what is to be answered in place of the reply to it.
    pub(super) fn request(&self) -> (Vec<u8>, Option<&'static str>) {
        let mut request = Vec::new();
        if roads::refusal(self.words[0], self.words.get(1).copied()).is_some() {
            write::request(&mut request, &[roads::ABORTS]);
            return (request, Some(REFUSED));
        }
        write::request(&mut request, &self.words);
        (request, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_taken_with_and_without_lengths() {
        let argv = [c"SET".as_ptr(), c"k".as_ptr(), c"a\xff".as_ptr()];
        // SAFETY: C strings, and no longer than those.
        let (with, without) = unsafe {
            let lengths = [3usize, 1, 1];
            let with = Arguments::new(3, argv.as_ptr(), lengths.as_ptr()).unwrap();
            (with.request(), Arguments::new(3, argv.as_ptr(), std::ptr::null()).unwrap().request())
        };
        assert_eq!(with, (b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\na\r\n".to_vec(), None));
        assert_eq!(without.0, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\na\xff\r\n");
        // SAFETY: there is nothing to be read.
        assert!(unsafe { Arguments::new(0, argv.as_ptr(), std::ptr::null()) }.is_none());
    }

    #[test]
    fn what_would_change_how_replies_come_is_not_said() {
        let command = |words: &[&'static str]| {
            Arguments { words: words.iter().map(|word| word.as_bytes()).collect() }.request().1
        };
        assert_eq!(command(&["subscribe", "c"]), Some(REFUSED));
        assert_eq!(command(&["CLIENT", "reply", "OFF"]), Some(REFUSED));
        assert_eq!(command(&["CLIENT", "LIST"]), None);
    }

    #[test]
    fn a_session_is_owed_a_bounded_number_of_replies_and_bytes() {
        let owed = Arc::new(Owed::default());
        let large = owed.take(limits::MODULE_OWED_BYTES_MAX * 2).expect("the only one");
        assert!(owed.take(1).is_none());
        drop(large);
        let shares: Vec<_> = (0..limits::MODULE_OWED_MAX).map_while(|_| owed.take(1)).collect();
        assert_eq!(shares.len(), limits::MODULE_OWED_MAX);
        assert!(owed.take(1).is_none());
        drop(shares);
        assert!(owed.take(1).is_some());
        assert_eq!(owed.replies.load(Ordering::Relaxed), 0);
        assert_eq!(owed.bytes.load(Ordering::Relaxed), 0);
    }
}
