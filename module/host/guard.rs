//! The edge that no panic crosses.
//!
//! A panic that reached the server's C code would abort the server, with all that it holds. So
//! every function that the server calls runs its body inside [`guard`]: a panic there is a bug of
//! ours, it is logged as one, and the server goes on.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};

use super::log;
use crate::engine::Level;

/// Runs a callback's body. When it panics: logs that, and returns what `otherwise` says.
///
/// A panic may leave what the body was changing half changed. That is accepted: the bodies change
/// one thing at a time, and the alternative is to take the server down.
pub(super) fn guard<R>(what: &str, body: impl FnOnce() -> R, otherwise: impl FnOnce() -> R) -> R {
    match panic::catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => result,
        Err(panic) => {
            let text = message(panic.as_ref());
            log::line(Level::Warning, &format!("a bug in {what}: panic: {text}; please report it"));
            otherwise()
        }
    }
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&str>() {
        text
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text
    } else {
        "(no text)"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_at_the_guard() {
        let caught = guard("a test", || panic!("on {}", "purpose"), || 7);
        assert_eq!(caught, 7);
        assert_eq!(guard("a test", || 1, || 7), 1);
    }

    #[test]
    fn a_panic_keeps_its_text() {
        assert_eq!(message(&"static"), "static");
        assert_eq!(message(&"owned".to_owned()), "owned");
        assert_eq!(message(&1), "(no text)");
    }
}
