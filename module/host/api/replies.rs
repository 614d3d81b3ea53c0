//! A reply of the shards, said again by the server's functions.

use std::ffi::{CString, c_int, c_long, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use redis_module::raw;

use super::super::shim;
use super::{Ctx, OK};
use crate::resp::{Element, Elements};

impl Ctx<'_> {
    /// Says the reply in `bytes`, which is in the RESP version that the client speaks, or in RESP2.
    pub(in crate::host) fn reply(self, bytes: &[u8]) -> c_int {
        let mut elements = Elements::of(bytes);
        for element in elements.by_ref() {
            self.reply_element(element);
        }
        debug_assert!(elements.rest().is_empty(), "the scanner has found its end");
        OK
    }

    fn reply_element(self, element: Element<'_>) {
        let ctx = self.raw;
        // SAFETY: the context is the running callback's; the server copies what it is shown.
        unsafe {
            match element {
                Element::Simple(text) => {
                    server!(RedisModule_ReplyWithSimpleString)(ctx, line(text).as_ptr())
                }
                Element::Error(text) => {
                    server!(RedisModule_ReplyWithError)(ctx, line(text).as_ptr())
                }
                Element::Int(number) => server!(RedisModule_ReplyWithLongLong)(ctx, number),
                Element::Bulk(bytes) => {
                    let text = bytes.as_ptr().cast();
                    server!(RedisModule_ReplyWithStringBuffer)(ctx, text, bytes.len())
                }
                Element::Nil => server!(RedisModule_ReplyWithNull)(ctx),
                Element::NilArray => server!(RedisModule_ReplyWithNullArray)(ctx),
                Element::Bool(truth) => server!(RedisModule_ReplyWithBool)(ctx, truth.into()),
                Element::Double(number, text) => reply_double(ctx, number, text),
                Element::BigNumber(digits) => {
                    let text = digits.as_ptr().cast();
                    server!(RedisModule_ReplyWithBigNumber)(ctx, text, digits.len())
                }
                Element::Verbatim(format, text) => {
                    server!(RedisModule_ReplyWithVerbatimStringType)(
                        ctx,
                        text.as_ptr().cast(),
                        text.len(),
                        line(format).as_ptr(),
                    )
                }
                Element::Array(count) => server!(RedisModule_ReplyWithArray)(ctx, long(count)),
                Element::Set(count) => server!(RedisModule_ReplyWithSet)(ctx, long(count)),
                Element::Map(count) => server!(RedisModule_ReplyWithMap)(ctx, long(count)),
                Element::Attribute(count) => {
                    server!(RedisModule_ReplyWithAttribute)(ctx, long(count))
                }
            }
        };
    }
}

/// The server's function `ReplyWithLongDouble`, if it has that.
static LONG_DOUBLE: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// Finds what the crate redis-module doesn't. Main thread, at load.
pub(super) fn init() {
    let mut function: *mut c_void = ptr::null_mut();
    // SAFETY: the crate has found this one; the other's address is written there if it exists.
    unsafe {
        if let Some(get) = raw::RedisModule_GetApi {
            get(c"RedisModule_ReplyWithLongDouble".as_ptr(), (&raw mut function).cast());
        }
    }
    LONG_DOUBLE.store(function, Ordering::Relaxed);
}

/// Servers write most numbers with the fewest digits that tell them, and some (GEOPOS) with
/// seventeen behind the point: these have a function of their own. Source: redis `networking.c`,
/// `addReplyDouble` and `addReplyHumanLongDouble`.
///
/// # Safety
/// The context is the running callback's.
unsafe fn reply_double(ctx: *mut raw::RedisModuleCtx, number: f64, text: &str) -> c_int {
    let long = LONG_DOUBLE.load(Ordering::Relaxed);
    let shortest = !number.is_finite() || text.contains('e') || text == number.to_string();
    // SAFETY: as the caller promises; the function is the one that the shim wants.
    unsafe {
        if shortest || long.is_null() {
            server!(RedisModule_ReplyWithDouble)(ctx, number)
        } else {
            shim::weir_reply_long_double(long, ctx, line(text.as_bytes()).as_ptr())
        }
    }
}

/// A line as a C string. A NUL, which the server's own lines never have, would end it early.
fn line(text: &[u8]) -> CString {
    let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
    CString::new(&text[..end]).unwrap_or_default()
}

fn long(count: usize) -> c_long {
    c_long::try_from(count).unwrap_or(c_long::MAX)
}
