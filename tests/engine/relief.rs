//! Large replies, and who need not wait behind them.

use weir::engine::{Event, Peer};
use weir::ids::{SessionId, Slab};
use weir::limits;

use super::desk::Desk;

const GET_LARGE: &[u8] = b"*2\r\n$3\r\nGET\r\n$5\r\nlarge\r\n";
const GET: &[u8] = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n";
const HEADER: &str = "$60000\r\n";

/// Two clients more than the desk has, of which nothing is said to anybody.
fn others(desk: &mut Desk) -> [SessionId; 2] {
    let mut ids = Slab::<SessionId, ()>::default();
    ids.insert(());
    [(); 2].map(|()| {
        let session = ids.insert(());
        let peer = Peer { address: "other".into(), local: "weir".into(), fd: 0 };
        desk.tell(Event::Accepted { session, peer });
        session
    })
}

fn say(desk: &mut Desk, session: SessionId, bytes: &[u8]) {
    desk.engine.session_space(session).unwrap()[..bytes.len()].copy_from_slice(bytes);
    desk.tell(Event::SessionRead { session, bytes: bytes.len() });
}

/// So many bytes of a large value come on a link, a few at a time.
fn large(desk: &mut Desk, link: usize, bytes: usize) {
    for at in (0..bytes).step_by(4096) {
        desk.reply(link, &vec![b'x'; 4096.min(bytes - at)]);
    }
}

/// The desk's client has asked for a large value, another one for a small one behind it, and the
/// begin of the large one is here. Link 1 is the one on which it comes.
fn behind_a_large_reply() -> (Desk, [SessionId; 2]) {
    let mut desk = Desk::new();
    desk.ask(GET);
    desk.open_next();
    desk.greet(1);
    desk.sent(1);
    desk.reply(1, b"$-1\r\n");
    let others = others(&mut desk);
    desk.ask(GET_LARGE);
    say(&mut desk, others[0], GET);
    assert_eq!(desk.sent(1).matches("GET").count(), 2);
    desk.reply(1, HEADER.as_bytes());
    large(&mut desk, 1, limits::REPLY_STREAM_BYTES);
    (desk, others)
}

/// The same, and the other link, 2, is there.
fn with_a_relief() -> (Desk, [SessionId; 2]) {
    let (mut desk, others) = behind_a_large_reply();
    desk.open_next();
    desk.greet(2);
    (desk, others)
}

#[test]
fn what_is_said_while_a_large_reply_comes_goes_by_another_link() {
    let (mut desk, [waiting, fresh]) = behind_a_large_reply();
    // Until the other link is ready all goes on as without it.
    say(&mut desk, fresh, GET);
    assert_eq!(desk.sent(1).matches("GET").count(), 1);
    desk.open_next();
    desk.greet(2);
    // Who is owed something by the first stays there.
    say(&mut desk, waiting, GET);
    say(&mut desk, fresh, GET);
    assert_eq!((desk.sent(1).matches("GET").count(), desk.sent(2)), (2, String::new()));
    // All is answered on the first; from then on they go by the second.
    large(&mut desk, 1, 60_000 - limits::REPLY_STREAM_BYTES);
    desk.reply(1, b"\r\n");
    desk.reply(1, &b"$-1\r\n".repeat(4));
    for session in [desk.client, waiting, fresh] {
        say(&mut desk, session, GET);
    }
    assert_eq!((desk.sent(1), desk.sent(2).matches("GET").count()), (String::new(), 3));
    desk.reply(2, &b"$-1\r\n".repeat(3));
    assert!(desk.told().ends_with("$-1\r\n"));
}

#[test]
fn links_change_places_as_often_as_large_replies_begin_and_no_third_is_opened() {
    let (mut desk, [waiting, _]) = with_a_relief();
    large(&mut desk, 1, 60_000 - limits::REPLY_STREAM_BYTES);
    desk.reply(1, b"\r\n$-1\r\n");
    for link in [2, 1, 2] {
        desk.ask(GET_LARGE);
        assert_eq!(desk.sent(link).matches("GET").count(), 1);
        desk.reply(link, HEADER.as_bytes());
        large(&mut desk, link, 60_000);
        // The other has taken over, for everybody who is owed nothing.
        say(&mut desk, waiting, GET);
        assert_eq!(
            (desk.sent(link), desk.sent(3 - link).matches("GET").count()),
            (String::new(), 1)
        );
        desk.reply(3 - link, b"$-1\r\n");
        desk.reply(link, b"\r\n");
    }
    assert!(desk.asked.is_empty());
}

#[test]
fn the_first_that_is_free_again_takes_over() {
    let (mut desk, [waiting, fresh]) = with_a_relief();
    // The second begins a large reply, too: nobody is there to relieve it.
    say(&mut desk, fresh, GET_LARGE);
    assert_eq!(desk.sent(2).matches("GET").count(), 1);
    desk.reply(2, HEADER.as_bytes());
    large(&mut desk, 2, limits::REPLY_STREAM_BYTES);
    large(&mut desk, 1, 60_000 - limits::REPLY_STREAM_BYTES);
    desk.reply(1, b"\r\n$-1\r\n");
    say(&mut desk, waiting, GET);
    assert_eq!((desk.sent(1).matches("GET").count(), desk.sent(2)), (1, String::new()));
}

#[test]
fn what_has_not_left_by_the_former_link_when_it_dies_goes_by_the_other() {
    let (mut desk, [waiting, fresh]) = with_a_relief();
    say(&mut desk, waiting, GET);
    let link = desk.links[1];
    desk.tell(Event::LinkFailed { link, reason: "it closed the connection".into() });
    assert_eq!(desk.sent(2).matches("GET").count(), 1, "it had not left");
    assert_eq!(desk.closing, Some(false), "the begin of its reply has no end");
    say(&mut desk, fresh, GET);
    assert_eq!(desk.sent(2).matches("GET").count(), 1);
}

#[test]
fn a_relief_that_is_refused_changes_nothing() {
    let (mut desk, [_, fresh]) = behind_a_large_reply();
    desk.open_next();
    let link = desk.links[2];
    desk.tell(Event::LinkFailed { link, reason: "it closed the connection".into() });
    say(&mut desk, fresh, GET);
    assert_eq!(desk.sent(1).matches("GET").count(), 1);
    assert_eq!(desk.closing, None);
}
