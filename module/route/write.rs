//! The requests that differ from what the client sent.

use crate::resp::{Request, write};

/// Appends the part of `request` that has the given arguments, in that order.
pub fn write_part(out: &mut Vec<u8>, request: &Request<'_>, args: &[u32]) {
    write::array(out, args.len());
    for &at in args {
        write::bulk(out, request.arg(at as usize));
    }
}

/// Appends a SCAN `request` with a shard's own cursor.
pub fn write_scan(out: &mut Vec<u8>, request: &Request<'_>, cursor: u64) {
    write::array(out, request.len());
    for at in 0..request.len() {
        match at {
            1 => write::bulk(out, cursor.to_string().as_bytes()),
            _ => write::bulk(out, request.arg(at)),
        }
    }
}
