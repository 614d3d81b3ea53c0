//! Elements put into an array.

use super::frame::{Elements, Kind};
use crate::resp::write;

/// Appends the array `reply` with more elements: each at its place in the array that comes of it,
/// in ascending order of places. A reply that is no array stays as it is.
pub fn insert(reply: &[u8], more: &[(usize, Vec<u8>)], out: &mut Vec<u8>) {
    let array = Elements::of(reply).filter(|elements| elements.kind() == Some(Kind::Array));
    let Some(mut elements) = array else {
        return out.extend_from_slice(reply);
    };
    let total = elements.count() + more.len();
    write::array(out, total);
    let mut more = more.iter().peekable();
    for place in 0..total {
        match more.next_if(|(at, _)| *at == place) {
            Some((_, element)) => out.extend_from_slice(element),
            None => out.extend_from_slice(elements.next().unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::insert;

    #[test]
    fn elements_go_to_their_places() {
        for (reply, more, expected) in [
            ("*0\r\n", vec![], "*0\r\n"),
            ("*0\r\n", vec![(0, ":1\r\n"), (1, ":2\r\n")], "*2\r\n:1\r\n:2\r\n"),
            ("*2\r\n+a\r\n*1\r\n+b\r\n", vec![(1, ":1\r\n")], "*3\r\n+a\r\n:1\r\n*1\r\n+b\r\n"),
            ("*1\r\n+a\r\n", vec![(0, ":1\r\n"), (2, ":2\r\n")], "*3\r\n:1\r\n+a\r\n:2\r\n"),
            ("-ERR\r\n", vec![(0, ":1\r\n")], "-ERR\r\n"),
            ("*-1\r\n", vec![(0, ":1\r\n")], "*-1\r\n"),
            ("_\r\n", vec![(0, ":1\r\n")], "_\r\n"),
        ] {
            let more: Vec<(usize, Vec<u8>)> =
                more.into_iter().map(|(at, text)| (at, text.as_bytes().to_vec())).collect();
            let mut out = Vec::new();
            insert(reply.as_bytes(), &more, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
