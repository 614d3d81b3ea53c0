//! WAIT and WAITAOF, as another module asks them.

use std::ffi::{CString, c_void};
use std::ptr;

use super::header::{WEIR_ALL, WEIR_MAJORITY, WeirAcks, WeirAcksCallback};
use super::reply::GONE;
use crate::resp::{Element, Elements, write};

const IN_TRANSACTION: &str =
    "ERR inside a transaction WAIT is said by `submit`, and answered by EXEC";

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Question {
    Wait { replicas: i64, timeout_ms: i64 },
    WaitAof { local: i64, replicas: i64, timeout_ms: i64 },
}

impl Question {
    /// None if it makes no sense.
    pub(super) fn request(self) -> Option<Vec<u8>> {
        let words: Vec<String> = match self {
            Self::Wait { replicas, timeout_ms } => {
                vec![name("WAIT", replicas), how_many(replicas)?, natural(timeout_ms)?]
            }
            Self::WaitAof { local, replicas, timeout_ms } => vec![
                name("WAITAOF", replicas),
                natural(local)?,
                how_many(replicas)?,
                natural(timeout_ms)?,
            ],
        };
        let mut request = Vec::new();
        write::request(&mut request, &words);
        Some(request)
    }

    /// The local and the replicas' count in the reply to it, or an error.
    fn read(self, reply: &[u8]) -> Result<(i64, i64), CString> {
        let mut elements = Elements::of(reply);
        let mut next = || elements.next();
        let error = |text: &[u8]| CString::new(text).unwrap_or_default();
        match (self, next()) {
            (_, Some(Element::Error(text))) => Err(error(text)),
            (Self::Wait { .. }, Some(Element::Int(replicas))) => Ok((0, replicas)),
            (Self::WaitAof { .. }, Some(Element::Array(2))) => match (next(), next()) {
                (Some(Element::Int(local)), Some(Element::Int(replicas))) => Ok((local, replicas)),
                _ => Err(GONE.to_owned()),
            },
            _ => Err(error(IN_TRANSACTION.as_bytes())),
        }
    }
}

/// Weir's own commands know more than numbers.
fn name(stock: &str, replicas: i64) -> String {
    if replicas < 0 { format!("WEIR.{stock}") } else { stock.to_owned() }
}

fn natural(number: i64) -> Option<String> {
    (number >= 0).then(|| number.to_string())
}

/// A number of replicas, or what stands for one.
fn how_many(replicas: i64) -> Option<String> {
    match i32::try_from(replicas) {
        Ok(WEIR_ALL) => Some("ALL".to_owned()),
        Ok(WEIR_MAJORITY) => Some("MAJORITY".to_owned()),
        _ => natural(replicas),
    }
}

/// Tells what came of the question; none if nothing will.
///
/// # Safety
/// `callback` may be called with `data` on this thread.
pub(super) unsafe fn tell(
    question: Question,
    reply: Option<&[u8]>,
    callback: WeirAcksCallback,
    data: *mut c_void,
) {
    let Some(callback) = callback else { return };
    let read = reply.map_or_else(|| Err(GONE.to_owned()), |reply| question.read(reply));
    let acks = match &read {
        Ok((local, replicas)) => {
            WeirAcks { error: ptr::null(), local: *local, replicas: *replicas }
        }
        Err(error) => WeirAcks { error: error.as_ptr(), local: 0, replicas: 0 },
    };
    // SAFETY: as the caller promises; what is shown lives until the call returns.
    unsafe { callback(data, &raw const acks) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_and_questions_said() {
        let wait = Question::Wait { replicas: 2, timeout_ms: 100 };
        assert_eq!(wait.request().unwrap(), b"*3\r\n$4\r\nWAIT\r\n$1\r\n2\r\n$3\r\n100\r\n");
        assert_eq!(wait.read(b":2\r\n"), Ok((0, 2)));
        assert_eq!(wait.read(b"-UNBLOCKED x\r\n"), Err(c"UNBLOCKED x".to_owned()));
        assert!(wait.read(b"+QUEUED\r\n").unwrap_err().to_bytes().starts_with(b"ERR inside"));
        let aof = Question::WaitAof { local: 1, replicas: 0, timeout_ms: 0 };
        assert_eq!(aof.read(b"*2\r\n:1\r\n:3\r\n"), Ok((1, 3)));
        let all = Question::Wait { replicas: -1, timeout_ms: 5 };
        assert_eq!(all.request().unwrap(), b"*3\r\n$9\r\nWEIR.WAIT\r\n$3\r\nALL\r\n$1\r\n5\r\n");
        assert!(Question::Wait { replicas: -3, timeout_ms: 0 }.request().is_none());
        assert!(Question::Wait { replicas: 1, timeout_ms: -1 }.request().is_none());
    }
}
