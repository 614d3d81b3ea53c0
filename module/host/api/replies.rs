//! A reply of the shards, said again by the server's functions.

use std::ffi::{CString, c_int, c_long};

use super::{Ctx, OK};
use crate::resp::{Element, Elements};

impl Ctx<'_> {
    /// Says the reply in `bytes`, which is in the RESP version that the client speaks, or in RESP2.
    pub(in crate::host) fn reply(self, bytes: &[u8]) -> c_int {
        let mut elements = Elements::of(bytes);
        for element in elements.by_ref() {
            self.reply_element(element);
        }
        debug_assert!(elements.is_done(), "the scanner has found its end");
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
                Element::Double(number) => server!(RedisModule_ReplyWithDouble)(ctx, number),
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

/// A line as a C string. A NUL, which the server's own lines never have, would end it early.
fn line(text: &[u8]) -> CString {
    let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
    CString::new(&text[..end]).unwrap_or_default()
}

fn long(count: usize) -> c_long {
    c_long::try_from(count).unwrap_or(c_long::MAX)
}
