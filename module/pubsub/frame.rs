//! The frames that subscribers get.
//!
//! Wires speak RESP2, whatever the listeners speak: a message differs between the versions in its
//! first byte only, `*` or `>`.

use super::Kind;
use crate::resp::{Version, parse_int, write};

const CHANNEL: &[u8] = b"*3\r\n$7\r\nmessage\r\n";
const PATTERN: &[u8] = b"*4\r\n$8\r\npmessage\r\n";
const SHARD_CHANNEL: &[u8] = b"*3\r\n$8\r\nsmessage\r\n";

fn kind_of(frame: &[u8]) -> Option<(Kind, &[u8])> {
    let heads =
        [(Kind::Channel, CHANNEL), (Kind::Pattern, PATTERN), (Kind::ShardChannel, SHARD_CHANNEL)];
    heads.into_iter().find_map(|(kind, head)| Some((kind, frame.strip_prefix(head)?)))
}

/// Whether a frame that begins with these bytes is a message, which answers no question.
pub fn is_message(begin: &[u8]) -> bool {
    kind_of(begin).is_some()
}

/// Whether a frame that begins with these bytes says that a shard channel is subscribed no more: in
/// reply to SUNSUBSCRIBE, or because its slot is another shard's now. Source: redis `pubsub.c`,
/// `removeChannelsInSlot`.
pub fn is_farewell(begin: &[u8]) -> bool {
    begin.starts_with(b"*3\r\n$12\r\nsunsubscribe\r\n")
}

/// What a message is for: a topic's kind and name. None if it is no message, or its name has not
/// come whole.
pub fn topic_of(frame: &[u8]) -> Option<(Kind, &[u8])> {
    let (kind, rest) = kind_of(frame)?;
    let rest = rest.strip_prefix(b"$")?;
    let end = memchr::memchr(b'\r', rest)?;
    let length = usize::try_from(parse_int(&rest[..end])?).ok()?;
    let begin = end.checked_add(2)?;
    Some((kind, rest.get(begin..begin.checked_add(length)?)?))
}

/// Appends a message that came in RESP2 for a listener of any version.
pub fn deliver(out: &mut Vec<u8>, version: Version, frame: &[u8]) {
    out.push(first_byte(version));
    out.extend_from_slice(&frame[1..]);
}

/// Appends the confirmation of a subscription or of its end. `count` is how many the client has
/// then; no name stands for a client that unsubscribes from all and has none. Source: redis
/// `pubsub.c`, `addReplyPubsubSubscribed` and kin.
pub fn confirm(out: &mut Vec<u8>, version: Version, word: &str, name: Option<&[u8]>, count: usize) {
    out.push(first_byte(version));
    out.extend_from_slice(b"3\r\n");
    write::bulk(out, word.as_bytes());
    match (name, version) {
        (Some(name), _) => write::bulk(out, name),
        (None, Version::Resp2) => write::nil(out),
        (None, Version::Resp3) => out.extend_from_slice(b"_\r\n"),
    }
    write::int(out, i64::try_from(count).unwrap_or(i64::MAX));
}

fn first_byte(version: Version) -> u8 {
    match version {
        Version::Resp2 => b'*',
        Version::Resp3 => b'>',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_its_topic() {
        let message = b"*3\r\n$7\r\nmessage\r\n$2\r\nab\r\n$1\r\nx\r\n";
        assert_eq!(topic_of(message), Some((Kind::Channel, b"ab".as_slice())));
        let message = b"*4\r\n$8\r\npmessage\r\n$2\r\na*\r\n$2\r\nab\r\n$1\r\nx\r\n";
        assert_eq!(topic_of(message), Some((Kind::Pattern, b"a*".as_slice())));
        let message = b"*3\r\n$8\r\nsmessage\r\n$0\r\n\r\n$1\r\nx\r\n";
        assert_eq!(topic_of(message), Some((Kind::ShardChannel, b"".as_slice())));
        assert!(is_farewell(b"*3\r\n$12\r\nsunsubscribe\r\n$1\r\na\r\n:0\r\n"));
        assert!(!is_farewell(message));
    }

    #[test]
    fn what_answers_a_question_is_no_message() {
        for reply in ["*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n", "+PONG\r\n", "-ERR no\r\n", ""]
        {
            assert!(!is_message(reply.as_bytes()), "{reply:?}");
            assert_eq!(topic_of(reply.as_bytes()), None, "{reply:?}");
        }
    }

    #[test]
    fn any_begin_of_a_message_is_understood_or_not_yet() {
        let message = b"*3\r\n$7\r\nmessage\r\n$2\r\nab\r\n$1\r\nx\r\n";
        for cut in 0..message.len() {
            let topic = topic_of(&message[..cut]);
            assert!(topic.is_none() || topic == Some((Kind::Channel, b"ab".as_slice())));
        }
        for length in ["-1", "99999999999999999999", "18446744073709551615", "x", ""] {
            let broken = format!("*3\r\n$7\r\nmessage\r\n${length}\r\nab\r\n");
            assert_eq!(topic_of(broken.as_bytes()), None, "{length}");
        }
    }

    #[test]
    fn versions_differ_in_what_a_frame_begins_with() {
        let frame = |version| {
            let mut out = Vec::new();
            deliver(&mut out, version, b"*3\r\n...");
            confirm(&mut out, version, "unsubscribe", None, 0);
            confirm(&mut out, version, "subscribe", Some(b"a"), 2);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            frame(Version::Resp2),
            "*3\r\n...*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n\
             *3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:2\r\n"
        );
        assert_eq!(
            frame(Version::Resp3),
            ">3\r\n...>3\r\n$11\r\nunsubscribe\r\n_\r\n:0\r\n\
             >3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:2\r\n"
        );
    }
}
