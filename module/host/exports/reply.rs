//! A reply as a tree of `WeirReply`.
//!
//! ```text
//!   *2 $1 a %1 +k :5     nodes   [ array | a | map | k | 5 ]
//!                        places  [ ->a ->map | ->k ->5 ]      what `elements` points to
//! ```

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;

use super::header::{
    WEIR_REPLY_ARRAY, WEIR_REPLY_BIG_NUMBER, WEIR_REPLY_BOOL, WEIR_REPLY_DOUBLE, WEIR_REPLY_ERROR,
    WEIR_REPLY_GONE, WEIR_REPLY_INTEGER, WEIR_REPLY_MAP, WEIR_REPLY_NULL, WEIR_REPLY_SET,
    WEIR_REPLY_STATUS, WEIR_REPLY_STRING, WEIR_REPLY_VERBATIM, WeirReply, WeirReplyCallback,
};
use crate::resp::{Element, Elements, write};

/// What is told in place of a reply that won't come.
pub(super) const GONE: &CStr = c"IOERR the session is gone, so this command's outcome is unknown";

/// An error of ours as a reply.
pub(super) fn error(text: &str) -> Vec<u8> {
    let mut reply = Vec::new();
    write::error(&mut reply, text);
    reply
}

/// Tells a reply, or that there is none.
///
/// # Safety
/// `callback` may be called with `data` on this thread.
pub(super) unsafe fn tell(reply: Option<Vec<u8>>, callback: WeirReplyCallback, data: *mut c_void) {
    let Some(callback) = callback else { return };
    // The scanner has found the reply's end, so there always is a tree.
    let tree = reply.and_then(Tree::of);
    let gone =
        WeirReply { text: GONE.as_ptr(), length: GONE.count_bytes(), ..of_kind(WEIR_REPLY_GONE) };
    let root = tree.as_ref().map_or(&raw const gone, Tree::root);
    // SAFETY: as the caller promises; what is shown lives until the call returns.
    unsafe { callback(data, root) };
}

/// A reply, with all that its nodes point to.
struct Tree {
    /// The bytes as they came.
    raw: Vec<u8>,
    /// The same, but that a NUL is behind each text.
    texts: Vec<u8>,
    /// In the order of the wire; never empty.
    nodes: Vec<WeirReply>,
    /// What aggregates point to, each to a row of its own.
    places: Vec<*const WeirReply>,
}

/// An aggregate whose elements are still to come.
struct Open {
    /// So many.
    left: usize,
    /// Where the next one is pointed to; none if they are part of an attribute.
    next: Option<usize>,
}

impl Tree {
    /// None if these bytes are no reply, or more than one.
    fn of(raw: Vec<u8>) -> Option<Self> {
        let mut elements = Elements::of(&raw);
        let most = elements.clone().count();
        let mut texts = raw.clone();
        let copy = texts.as_mut_ptr();
        let mut nodes: Vec<WeirReply> = Vec::with_capacity(most);
        // For each place the node that it is to point to; for each aggregate its first place.
        let (mut points, mut firsts) = (Vec::<usize>::new(), Vec::new());
        let mut open: Vec<Open> = Vec::new();
        for element in elements.by_ref() {
            if open.is_empty() && !nodes.is_empty() {
                return None;
            }
            let attribute = matches!(element, Element::Attribute(_));
            let shown = !attribute && open.last().is_none_or(|open| open.next.is_some());
            if !attribute && let Some(open) = open.last_mut() {
                open.left -= 1;
                if let Some(next) = &mut open.next {
                    points[*next] = nodes.len();
                    *next += 1;
                }
            }
            let children = children(element)?;
            if children > most {
                return None;
            }
            let first = points.len();
            if shown {
                if children > 0 {
                    firsts.push((nodes.len(), first));
                    points.resize(first + children, 0);
                }
                // SAFETY: a copy of these bytes, of which the element is a part.
                nodes.push(unsafe { node(element, children, &raw, copy) });
            }
            if children > 0 {
                open.push(Open { left: children, next: shown.then_some(first) });
            }
            while open.last().is_some_and(|open| open.left == 0) {
                open.pop();
            }
        }
        if nodes.is_empty() || !open.is_empty() || !elements.rest().is_empty() {
            return None;
        }
        let mut tree = Self { raw, texts, nodes, places: Vec::new() };
        tree.point(&points, &firsts);
        Some(tree)
    }

    /// Sets what could not be known before all of it was there.
    fn point(&mut self, points: &[usize], firsts: &[(usize, usize)]) {
        let base = self.nodes.as_mut_ptr();
        // SAFETY: each is the index of a node.
        self.places = points.iter().map(|&at| unsafe { base.add(at) }.cast_const()).collect();
        for &(aggregate, first) in firsts {
            // SAFETY: the index of a node, which nobody else looks at now.
            unsafe { (*base.add(aggregate)).elements = self.places[first..].as_ptr() };
        }
        // SAFETY: there is a first node.
        unsafe {
            (*base).raw = self.raw.as_ptr().cast();
            (*base).raw_length = self.raw.len();
        }
        debug_assert!(self.texts.len() == self.raw.len(), "a copy of it");
    }

    fn root(&self) -> *const WeirReply {
        self.nodes.as_ptr()
    }
}

/// How many elements follow that belong to this one.
fn children(element: Element<'_>) -> Option<usize> {
    match element {
        Element::Array(count) | Element::Set(count) => Some(count),
        Element::Map(pairs) | Element::Attribute(pairs) => pairs.checked_mul(2),
        _ => Some(0),
    }
}

fn of_kind(kind: u32) -> WeirReply {
    WeirReply {
        kind: kind as c_int,
        format: [0; 4],
        integer: 0,
        number: 0.0,
        text: ptr::null(),
        length: 0,
        elements: ptr::null(),
        count: 0,
        raw: ptr::null(),
        raw_length: 0,
    }
}

/// An element without what it holds.
///
/// # Safety
/// The element is a part of `raw`, and `copy` a copy of that.
unsafe fn node(element: Element<'_>, count: usize, raw: &[u8], copy: *mut u8) -> WeirReply {
    let text = |kind, text: &[u8]| {
        let at = text.as_ptr().addr() - raw.as_ptr().addr();
        debug_assert!(at + text.len() < raw.len(), "behind each text is the end of its line");
        // SAFETY: as the caller promises.
        let there = unsafe {
            *copy.add(at + text.len()) = 0;
            copy.add(at).cast_const().cast::<c_char>()
        };
        WeirReply { text: there, length: text.len(), ..of_kind(kind) }
    };
    match element {
        Element::Simple(status) => text(WEIR_REPLY_STATUS, status),
        Element::Error(error) => text(WEIR_REPLY_ERROR, error),
        Element::Bulk(bytes) => text(WEIR_REPLY_STRING, bytes),
        Element::BigNumber(digits) => text(WEIR_REPLY_BIG_NUMBER, digits),
        Element::Verbatim(format, bytes) => {
            let mut node = text(WEIR_REPLY_VERBATIM, bytes);
            for (place, &letter) in node.format.iter_mut().zip(format.iter().take(3)) {
                *place = letter as c_char;
            }
            node
        }
        Element::Int(integer) => WeirReply { integer, ..of_kind(WEIR_REPLY_INTEGER) },
        Element::Double(number, _) => WeirReply { number, ..of_kind(WEIR_REPLY_DOUBLE) },
        Element::Bool(truth) => WeirReply { integer: truth.into(), ..of_kind(WEIR_REPLY_BOOL) },
        Element::Nil | Element::NilArray => of_kind(WEIR_REPLY_NULL),
        Element::Array(_) => WeirReply { count, ..of_kind(WEIR_REPLY_ARRAY) },
        Element::Set(_) => WeirReply { count, ..of_kind(WEIR_REPLY_SET) },
        Element::Map(_) => WeirReply { count, ..of_kind(WEIR_REPLY_MAP) },
        // Never shown: what it tells of follows.
        Element::Attribute(_) => of_kind(WEIR_REPLY_NULL),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::slice;

    use super::*;

    /// As a C program would walk through it.
    fn show(node: &WeirReply, out: &mut String) {
        let kind = node.kind as u32;
        if !node.text.is_null() {
            // SAFETY: as the header says; no text here has a NUL inside.
            let text = unsafe { CStr::from_ptr(node.text) };
            assert_eq!(text.count_bytes(), node.length);
            write!(out, "{kind}:{} ", text.to_str().unwrap()).unwrap();
        } else if kind == WEIR_REPLY_DOUBLE {
            write!(out, "{kind}:{} ", node.number).unwrap();
        } else {
            write!(out, "{kind}:{} ", node.integer).unwrap();
        }
        if node.count > 0 {
            out.push_str("( ");
            // SAFETY: as the header says.
            for &child in unsafe { slice::from_raw_parts(node.elements, node.count) } {
                // SAFETY: as the header says.
                show(unsafe { &*child }, out);
            }
            out.push_str(") ");
        }
    }

    fn shown(bytes: &[u8]) -> Option<String> {
        let tree = Tree::of(bytes.to_vec())?;
        let mut out = String::new();
        // SAFETY: the tree lives.
        let root = unsafe { &*tree.root() };
        show(root, &mut out);
        // SAFETY: as the header says.
        let raw = unsafe { slice::from_raw_parts(root.raw.cast::<u8>(), root.raw_length) };
        assert_eq!(raw, bytes);
        Some(out.trim_end().to_owned())
    }

    #[test]
    fn a_tree_has_what_the_reply_has() {
        for (bytes, tree) in [
            (&b"$3\r\nabc\r\n"[..], "1:abc"),
            (b"$0\r\n\r\n", "1:"),
            (b"+OK\r\n", "2:OK"),
            (b"-ERR no\r\n", "3:ERR no"),
            (b"*0\r\n", "8:0"),
            (b"*-1\r\n", "6:0"),
            (b"*2\r\n$1\r\na\r\n%1\r\n+k\r\n:5\r\n", "8:0 ( 1:a 9:0 ( 2:k 4:5 ) )"),
            (b"*2\r\n*2\r\n:1\r\n*0\r\n~1\r\n#t\r\n", "8:0 ( 8:0 ( 4:1 8:0 ) 10:0 ( 7:1 ) )"),
            (b"*3\r\n,-1.5\r\n(77\r\n=5\r\ntxt:a\r\n", "8:0 ( 5:-1.5 11:77 12:a )"),
            // Attributes aren't shown, wherever they are.
            (b"|1\r\n+a\r\n*1\r\n:1\r\n:7\r\n", "4:7"),
            (b"*2\r\n|1\r\n+a\r\n:1\r\n:7\r\n:8\r\n", "8:0 ( 4:7 4:8 )"),
            (b"*1\r\n|0\r\n:8\r\n", "8:0 ( 4:8 )"),
        ] {
            assert_eq!(shown(bytes).as_deref(), Some(tree), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_is_no_whole_reply_has_no_tree() {
        for bytes in
            ["", "*1\r\n", ":1\r\n:2\r\n", "*9999999999\r\n:1\r\n", "hello\r\n", "$5\r\nab"]
        {
            assert_eq!(shown(bytes.as_bytes()), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_deep_tree_needs_no_deep_stack() {
        let mut bytes = b"*1\r\n".repeat(200_000);
        bytes.extend_from_slice(b":1\r\n");
        let tree = Tree::of(bytes).expect("a reply");
        assert_eq!(tree.nodes.len(), 200_001);
    }
}
