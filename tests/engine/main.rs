//! One engine, spoken to directly: what simulated worlds have found, said as short as can be.
//!
//! The test is the worker, the clients and the shards at once: a link's bytes are answered by hand.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod desk;
mod refused;
mod relief;
mod rounds;

use std::time::Duration;

use weir::engine::{Event, Peer};
use weir::ids::{SessionId, Slab};
use weir::limits;
use weir::settings::Settings;

use desk::Desk;

#[test]
fn a_link_that_is_slow_to_greet_costs_no_turns() {
    let mut desk = Desk::without_shard();
    desk.ask(b"SET a 1\r\n");
    desk.open_next();
    desk.greet(0);
    desk.open_next();
    // Longer than failover-timeout, and the greeting is not answered.
    for _ in 0..10 {
        desk.pass(Duration::from_millis(50));
        let due = desk.engine.next_timeout().unwrap();
        assert!(due > desk.now, "a timer that is always due makes a worker spin");
    }
}

#[test]
fn a_client_that_sends_no_more_gets_the_replies_before_its_wait() {
    let mut desk = Desk::new();
    desk.ask(b"SET a 1\r\nWAIT 1 0\r\n");
    desk.open_next();
    desk.greet(1);
    let session = desk.client;
    desk.tell(Event::SessionEnded { session });
    desk.sent(1);
    // Who asks may WAIT, too.
    desk.reply(1, b"+OK\r\n:0\r\n");
    assert_eq!(desk.told(), "+OK\r\n");
    assert_eq!(desk.closing, Some(true), "the output leaves first");
}

#[test]
fn a_loss_that_is_told_to_nobody_is_told_again() {
    let mut desk = Desk::new();
    desk.ask(b"SET a 1\r\n");
    desk.open_next();
    desk.greet(1);
    desk.sent(1);
    desk.reply(1, b"+OK\r\n");
    assert_eq!(desk.told(), "+OK\r\n");
    // Another process answers at the shard's address: what was written may be lost.
    desk.run = 2;
    let link = desk.links[0];
    let reason = "it closed the connection".to_owned();
    desk.tell(Event::LinkFailed { link, reason });
    desk.links.retain(|other| *other != link);
    desk.pass(Duration::from_millis(1));
    desk.open_next();
    let control = desk.links.len() - 1;
    desk.greet(control);
    desk.granting = true;
    desk.ask(b"CLIENT REPLY OFF\r\nWAIT 0 0\r\nCLIENT REPLY ON\r\nWAIT 0 0\r\nPING\r\n");
    // The clients' own connection is made anew after a moment.
    desk.pass(Duration::from_millis(200));
    desk.open_next();
    let shared = desk.links.len() - 1;
    desk.greet(shared);
    let told = desk.told();
    assert!(told.starts_with("+OK\r\n-UNBLOCKED shard 0 "), "{told}");
}

#[test]
fn a_large_request_whose_link_never_stood_is_answered() {
    let mut desk = Desk::new();
    // So large that it is forwarded as it arrives, so small that all of it waits for its link.
    let value = "x".repeat(1024 * 1024);
    let mut rest = format!("*3\r\n$3\r\nSET\r\n$1\r\na\r\n${}\r\n", value.len());
    rest.push_str(&value);
    rest.push_str("\r\n");
    for chunk in rest.as_bytes().chunks(8 * 1024) {
        desk.ask(chunk);
    }
    // The last that was asked for is the request's own.
    let link = desk.asked.pop_back().unwrap();
    desk.tell(Event::LinkFailed { link, reason: "refused".to_owned() });
    let told = desk.told();
    assert!(told.starts_with("-IOERR ") && told.contains("not executed"), "{told}");
}

#[test]
fn a_shard_that_has_no_room_for_us_is_quoted_in_the_log() {
    let mut desk = Desk::without_shard();
    desk.open_next();
    desk.sent(0);
    desk.reply(0, b"-ERR max number of clients reached\r\n");
    let link = desk.links[0];
    desk.tell(Event::LinkFailed { link, reason: "Connection reset by peer".into() });
    assert!(desk.log.contains("it refuses us: ERR max number of clients reached"), "{}", desk.log);
    assert!(!desk.log.contains("reset"), "{}", desk.log);
}

#[test]
fn connections_for_many_who_wait_are_opened_a_few_at_a_time() {
    const FEW: usize = limits::PINS_OPENING_MAX;
    let mut desk = Desk::new();
    while !desk.asked.is_empty() {
        desk.open_next();
        desk.greet(desk.links.len() - 1);
    }
    let mut sessions = Slab::<SessionId, ()>::default();
    sessions.insert(());
    let mut others = Vec::new();
    for _ in 0..2 * FEW {
        let session = sessions.insert(());
        let peer = Peer { address: "client".into(), local: "weir".into(), fd: 0 };
        desk.tell(Event::Accepted { session, peer });
        desk.client = session;
        desk.ask(b"BLPOP a 0\r\n");
        others.push(session);
    }
    assert_eq!(desk.asked.len(), FEW);
    // One that is greeted makes room for the next, as does one that can't be opened, or that nobody
    // needs any more.
    desk.open_next();
    desk.greet(desk.links.len() - 1);
    assert_eq!(desk.asked.len(), FEW);
    let link = desk.asked.pop_front().unwrap();
    desk.tell(Event::LinkFailed { link, reason: "no".into() });
    assert_eq!(desk.asked.len(), FEW);
    desk.asked.pop_front();
    desk.tell(Event::SessionClosed { session: others[2] });
    assert_eq!(desk.asked.len(), FEW);
    // Whose turn has not come needs none if it goes.
    for session in others.split_off(FEW + 3) {
        desk.tell(Event::SessionClosed { session });
    }
    for _ in 0..FEW {
        desk.open_next();
        desk.greet(desk.links.len() - 1);
    }
    assert_eq!(desk.asked.len(), 0);
}

#[test]
fn a_shard_that_never_answers_a_greeting_is_given_up() {
    let mut desk = Desk::without_shard();
    desk.open_next();
    desk.pass(Settings::default().shard_timeout + Duration::from_millis(1));
    assert!(desk.links.is_empty());
    assert!(desk.log.contains("it has not answered for 15000 ms"), "{}", desk.log);
}

const LARGE: &[u8] = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$2000000\r\nxxx";

#[test]
fn a_large_request_waits_for_its_shard() {
    let mut desk = Desk::without_shard();
    desk.ask(LARGE);
    desk.pass(Duration::from_millis(50));
    desk.open_next();
    desk.greet(0);
    // One link for everybody, one for this request.
    for place in [1, 2] {
        desk.open_next();
        desk.greet(place);
    }
    assert_eq!(desk.sent(2).as_bytes(), LARGE);
    assert_eq!(desk.told(), "");
}

#[test]
fn a_large_request_does_not_wait_for_ever() {
    let mut desk = Desk::without_shard();
    desk.ask(LARGE);
    desk.pass(Duration::from_millis(101));
    let told = desk.told();
    assert!(told.starts_with("-CLUSTERDOWN shard 0 "), "{told}");
}

/// A client is owed a small reply by one shard, and behind it more than can be held by the other,
/// on whose link somebody else's command waits too.
fn crowded() -> Desk {
    let mut desk = Desk::over("static://10.0.0.1:6379,10.0.0.2:6379");
    for place in 0..4 {
        // Two control links, then one for everybody to each shard.
        desk.open_next();
        desk.greet(place);
    }
    // "foo" is the second shard's, "bar" the first's.
    desk.ask(b"GET foo\r\nGET bar\r\nGET bar\r\nGET bar\r\nGET bar\r\n");
    desk.sent(2);
    desk.sent(3);
    let value = format!("$15000\r\n{}\r\n", "x".repeat(15_000));
    desk.reply(2, value.as_bytes());
    desk.reply(2, value.as_bytes());
    assert!(desk.unread.is_empty());
    desk.reply(2, value.as_bytes());
    assert_eq!(desk.unread, [desk.links[2]]);
    desk
}

#[test]
fn replies_that_come_too_early_stop_their_link_and_none_is_lost() {
    let mut desk = crowded();
    desk.reply(3, b"$3\r\none\r\n");
    assert!(desk.unread.is_empty());
    let told = desk.told();
    assert_eq!((told.matches("$15000").count(), told.contains("-ERR")), (3, false));
}

#[test]
fn replies_that_come_too_early_stop_nobody_for_long() {
    let mut desk = crowded();
    desk.pass(Settings::default().client_stall_timeout + Duration::from_millis(1));
    assert!(desk.unread.is_empty());
    // What can't be held is an error; what could is still there.
    desk.reply(3, b"$3\r\none\r\n");
    let told = desk.told();
    assert_eq!(told.matches("$15000").count(), 2, "{}", told.len());
    assert_eq!(told.matches("-ERR reply is too large").count(), 1);
}

// ------------------------------------------------------------------------------------ users

/// A desk whose lanes' rights are asked for and not answered yet; link 1 is the default user's.
fn at_the_door() -> Desk {
    let mut desk = Desk::new();
    desk.open_next();
    desk.greet(1);
    desk
}

/// The door, once a client has knocked: its place among the links.
fn door(desk: &mut Desk) -> usize {
    desk.open_next();
    let place = desk.links.len() - 1;
    desk.greet(place);
    place
}

fn auth(user: &str, password: &str) -> String {
    let (name, word) = (user.len(), password.len());
    format!("*3\r\n$4\r\nAUTH\r\n${name}\r\n{user}\r\n${word}\r\n{password}\r\n")
}

const RESET: &str = "*1\r\n$5\r\nRESET\r\n";

#[test]
fn a_login_waits_for_all_before_it_and_all_behind_it_waits_for_the_login() {
    let mut desk = at_the_door();
    desk.ask(b"GET before\r\nAUTH ann sesam\r\nGET behind\r\n");
    assert!(desk.sent(1).ends_with("before\r\n"));
    assert!(desk.asked.is_empty(), "the shard is not asked yet");
    desk.reply(1, b"$3\r\none\r\n");
    let door = door(&mut desk);
    assert_eq!(desk.sent(door), auth("ann", "sesam") + RESET);
    desk.reply(door, b"+OK\r\n+RESET\r\n");
    assert_eq!(desk.told(), "$3\r\none\r\n+OK\r\n");
    assert_eq!(desk.sent(1), "", "what is behind is for another user's connection");
    desk.open_next();
    let anns = desk.links.len() - 1;
    desk.greet(anns);
    desk.reply(anns, b"+OK\r\n*0\r\n");
    assert!(desk.sent(anns).ends_with("behind\r\n"));
    desk.reply(anns, b"$3\r\ntwo\r\n");
    // RESET makes it the default user again, behind what it has said before.
    desk.ask(b"GET last\r\nRESET\r\nGET again\r\n");
    assert!(desk.sent(anns).ends_with("last\r\n"));
    desk.reply(anns, b"$-1\r\n");
    assert!(desk.sent(1).ends_with("again\r\n"));
    assert_eq!(desk.told(), "$3\r\ntwo\r\n$-1\r\n+RESET\r\n");
}

#[test]
fn a_wrong_password_changes_nothing_and_is_answered_as_the_shard_says() {
    let mut desk = at_the_door();
    desk.ask(b"AUTH ann wrong\r\nGET a\r\n");
    let door = door(&mut desk);
    desk.sent(door);
    let links = desk.links.len();
    desk.reply(door, b"-WRONGPASS invalid\r\n+RESET\r\n");
    assert_eq!(desk.told(), "-WRONGPASS invalid\r\n");
    assert!(desk.sent(1).ends_with("GET\r\n$1\r\na\r\n"), "the old user's connection serves on");
    assert_eq!((desk.links.len(), desk.asked.len()), (links, 0), "no lane, no link");
}

#[test]
fn words_that_would_cost_the_door_its_life_are_wrong_passwords() {
    let mut desk = at_the_door();
    let long = "x".repeat(16 * 1024 + 1);
    for piece in auth("ann", &long).as_bytes().chunks(4096) {
        desk.ask(piece);
    }
    assert!(desk.told().starts_with("-WRONGPASS "));
    assert!(desk.asked.is_empty());
}

#[test]
fn a_client_that_goes_while_it_logs_in_leaves_the_door_in_order() {
    let mut desk = at_the_door();
    desk.ask(b"AUTH ann sesam\r\n");
    let door = door(&mut desk);
    desk.sent(door);
    let session = desk.client;
    desk.tell(Event::SessionClosed { session });
    // Another client, in the same place.
    let mut slab = Slab::<SessionId, ()>::default();
    let old = slab.insert(());
    slab.remove(old);
    desk.client = slab.insert(());
    let peer = Peer { address: "another".into(), local: "weir".into(), fd: 0 };
    desk.tell(Event::Accepted { session: desk.client, peer });
    desk.reply(door, b"+OK\r\n");
    desk.ask(b"AUTH bob mellon\r\n");
    assert_eq!(desk.sent(door), "", "it is not free before it is left");
    assert_eq!(desk.asked.len(), 1, "another is opened");
    let other = self::door(&mut desk);
    assert_eq!(desk.sent(other), auth("bob", "mellon") + RESET);
    desk.reply(door, b"+RESET\r\n");
    assert_eq!(desk.told(), "", "that was for who has gone");
    desk.reply(other, b"-WRONGPASS no\r\n+RESET\r\n");
    assert_eq!(desk.told(), "-WRONGPASS no\r\n");
}

#[test]
fn a_crowd_goes_in_by_a_few_doors() {
    let mut desk = at_the_door();
    let mut slab = Slab::<SessionId, ()>::default();
    let crowd: Vec<SessionId> = (0..21).map(|_| slab.insert(())).skip(1).collect();
    for &session in &crowd {
        let peer = Peer { address: "crowd".into(), local: "weir".into(), fd: 0 };
        desk.tell(Event::Accepted { session, peer });
        desk.client = session;
        desk.ask(b"AUTH ann wrong\r\n");
    }
    let doors: Vec<usize> = (0..desk.asked.len()).map(|_| door(&mut desk)).collect();
    assert_eq!(doors.len(), 8);
    desk.told();
    // One of them is lost with who was at it; the others let in all the rest.
    let link = desk.links[doors[7]];
    desk.tell(Event::LinkFailed { link, reason: "cut".into() });
    for _ in 0..4 {
        for door in &doors[..7] {
            if desk.sent(*door).is_empty() {
                continue;
            }
            desk.reply(*door, b"-WRONGPASS no\r\n+RESET\r\n");
        }
    }
    let told = desk.told();
    assert_eq!((told.matches("-WRONGPASS no\r\n").count(), told.matches("-").count()), (19, 20));
}

#[test]
fn hello_with_auth_does_all_or_nothing() {
    let mut desk = at_the_door();
    desk.ask(b"HELLO 3 AUTH ann wrong SETNAME me\r\n");
    let door = door(&mut desk);
    assert_eq!(desk.sent(door), auth("ann", "wrong") + RESET);
    desk.reply(door, b"-WRONGPASS no\r\n+RESET\r\n");
    assert_eq!(desk.told(), "-WRONGPASS no\r\n");
    desk.granting = true;
    desk.ask(b"CLIENT GETNAME\r\n");
    assert_eq!(desk.told(), "$-1\r\n", "no name, and RESP2");
    desk.granting = false;
    desk.ask(b"HELLO 3 AUTH ann sesam SETNAME me\r\n");
    desk.sent(door);
    desk.reply(door, b"+OK\r\n+RESET\r\n");
    let told = desk.told();
    assert!(told.starts_with("%7\r\n$6\r\nserver\r\n"), "{told}");
}

#[test]
fn a_login_that_the_shards_take_no_more_ends_its_sessions() {
    let mut desk = at_the_door();
    desk.ask(b"AUTH ann sesam\r\n");
    let door = door(&mut desk);
    desk.sent(door);
    desk.reply(door, b"+OK\r\n+RESET\r\n");
    assert_eq!(desk.told(), "+OK\r\n");
    desk.ask(b"GET a\r\nGET b\r\n");
    desk.open_next();
    let anns = desk.links.len() - 1;
    desk.greet(anns);
    // A stock server that refuses AUTH behind other commands says nothing; HELLO is answered.
    desk.reply(anns, b"*0\r\n");
    let told = desk.told();
    assert_eq!(told.matches("-WRONGPASS invalid username-password pair").count(), 2, "{told}");
    assert_eq!(desk.closing, Some(true));
}

#[test]
fn what_the_endpoint_answers_is_asked_about_once_for_all() {
    let mut desk = at_the_door();
    desk.ask(b"PING\r\nPING\r\nECHO x\r\n");
    assert_eq!(desk.sent(1), "*1\r\n$4\r\nPING\r\n");
    assert_eq!(desk.told(), "");
    desk.reply(1, b"+PONG\r\n");
    assert_eq!(desk.told(), "+PONG\r\n+PONG\r\n");
    desk.sent(1);
    desk.reply(1, b"-NOPERM not you\r\n");
    assert_eq!(desk.told(), "-NOPERM not you\r\n");
    desk.ask(b"ECHO x\r\nPING\r\n");
    assert_eq!(desk.told(), "-NOPERM not you\r\n+PONG\r\n");
    // What is in use is asked again before it is too old; what was refused only if wanted.
    desk.pass(Duration::from_millis(600));
    assert_eq!(desk.sent(1), "*1\r\n$4\r\nPING\r\n");
    desk.ask(b"PING\r\n");
    assert_eq!(desk.told(), "+PONG\r\n");
    desk.reply(1, b"-NOPERM no more\r\n");
    desk.ask(b"PING\r\n");
    assert_eq!(desk.told(), "-NOPERM no more\r\n");
}

#[test]
fn a_shard_that_is_silent_stops_nobody_whose_rights_were_known() {
    let mut desk = at_the_door();
    desk.ask(b"PING\r\n");
    desk.sent(1);
    desk.reply(1, b"+PONG\r\n");
    desk.told();
    // Nobody answers any more.
    for _ in 0..30 {
        desk.pass(Duration::from_millis(100));
    }
    desk.ask(b"PING\r\n");
    assert_eq!(desk.told(), "+PONG\r\n");
}

#[test]
fn without_any_shard_one_may_ask_about_oneself_only() {
    let mut desk = Desk::without_shard();
    desk.ask(b"PING\r\nCLIENT LIST\r\n");
    assert_eq!(desk.told(), "", "a shard may come back within failover-timeout");
    desk.pass(Duration::from_millis(101));
    let told = desk.told();
    assert!(told.starts_with("+PONG\r\n-CLUSTERDOWN shard 0 "), "{told}");
}

#[test]
fn a_login_waits_for_its_shard_and_not_for_ever() {
    let mut desk = Desk::without_shard();
    desk.ask(b"AUTH ann sesam\r\n");
    desk.pass(Duration::from_millis(50));
    assert_eq!(desk.told(), "");
    desk.pass(Duration::from_millis(51));
    let told = desk.told();
    assert!(told.starts_with("-CLUSTERDOWN shard 0 "), "{told}");
}

/// A client of RESP3 that tracks, and has read a key; its pin is the last link.
fn tracking() -> Desk {
    let mut desk = at_the_door();
    desk.granting = true;
    desk.ask(b"HELLO 3\r\n");
    desk.granting = false;
    desk.told();
    desk.ask(b"CLIENT TRACKING ON NOLOOP\r\nGET a\r\n");
    pin(&mut desk, "NOLOOP\r\n", b"+OK\r\n");
    assert_eq!(desk.told(), "+OK\r\n");
    let last = desk.links.len() - 1;
    assert!(desk.sent(last).ends_with("GET\r\n$1\r\na\r\n"), "on the same connection");
    desk
}

/// A pin is made, is asked for what ends so, and answers.
fn pin(desk: &mut Desk, asked: &str, reply: &[u8]) {
    desk.open_next();
    let pin = desk.links.len() - 1;
    desk.greet(pin);
    desk.reply(pin, b"%0\r\n");
    let sent = desk.sent(pin);
    assert!(sent.ends_with(asked), "{sent}");
    desk.reply(pin, reply);
}

const FORGET_A: &str = ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n";
const FORGET_ALL: &str = ">2\r\n$10\r\ninvalidate\r\n_\r\n";

#[test]
fn an_invalidation_has_its_place_among_the_replies() {
    let mut desk = tracking();
    let pin = desk.links.len() - 1;
    let told = format!("$1\r\n1\r\n{FORGET_A}");
    // It comes in two pieces, the first with the reply.
    desk.reply(pin, &told.as_bytes()[..20]);
    assert_eq!(desk.told(), "$1\r\n1\r\n");
    desk.reply(pin, &told.as_bytes()[20..]);
    assert_eq!(desk.told(), FORGET_A);
    // Nothing is asked, and something is told.
    desk.reply(pin, FORGET_A.as_bytes());
    assert_eq!(desk.told(), FORGET_A);
    // It comes between the reply to one request and that to another.
    desk.ask(b"GET a\r\nGET b\r\n");
    desk.sent(pin);
    desk.reply(pin, format!("$1\r\n1\r\n{FORGET_A}$1\r\n2\r\n").as_bytes());
    assert_eq!(desk.told(), format!("$1\r\n1\r\n{FORGET_A}$1\r\n2\r\n"));
}

#[test]
fn who_loses_the_connection_that_tracks_forgets_all_and_tracks_anew() {
    let mut desk = tracking();
    let link = desk.links[desk.links.len() - 1];
    desk.links.retain(|other| *other != link);
    desk.tell(Event::LinkFailed { link, reason: "cut".into() });
    let told = desk.told();
    assert!(told.starts_with("-IOERR ") && told.ends_with(FORGET_ALL), "{told}");
    // What is read next is read by a connection that is told to track first.
    desk.ask(b"GET a\r\n");
    pin(&mut desk, "NOLOOP\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n", b"+OK\r\n$1\r\n2\r\n");
    assert_eq!(desk.told(), "$1\r\n2\r\n");
}

/// Seed 2015 of the simulation: that nobody could say in time was remembered for the next.
#[test]
fn others_wait_behind_a_bounded_part_of_a_long_pipeline() {
    let mut desk = Desk::new();
    desk.ask(b"GET a\r\n");
    desk.open_next();
    desk.greet(1);
    desk.sent(1);
    desk.reply(1, b"$-1\r\n");
    let short = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n";
    let long = short.repeat(limits::SESSION_READ_BYTES / short.len());
    assert!(long.len() / short.len() > limits::SESSION_SEATS_MAX + 100);
    desk.ask(&long);
    let sent = desk.sent(1).matches("GET").count();
    assert_eq!(sent, limits::SESSION_SEATS_MAX + 1, "the one beyond it stops the client");
    // Half is answered: it goes on, and no further than before.
    desk.reply(1, &b"$-1\r\n".repeat(sent / 2));
    assert_eq!(desk.sent(1), "");
    desk.reply(1, b"$-1\r\n$-1\r\n");
    let more = desk.sent(1).matches("GET").count();
    assert!((1..=sent / 2 + 2).contains(&more), "{more} more");
}

#[test]
fn a_right_that_nobody_could_be_asked_for_is_asked_for_anew() {
    let mut desk = Desk::without_shard();
    desk.pass(Duration::from_millis(200));
    desk.ask(b"WAIT 0 0\r\n");
    assert!(desk.told().starts_with("-CLUSTERDOWN shard 0 "));
    desk.open_next();
    desk.greet(0);
    // As long as a client waits at most until a shard has first said what it may do.
    desk.pass(limits::RIGHT_FIRST_MAX);
    desk.ask(b"WAIT 0 0\r\n");
    assert_eq!(desk.told(), "", "it waits for the shard's word");
    desk.granting = true;
    desk.open_all();
    desk.granting = false;
    assert_eq!(desk.told(), "", "and then for a count");
    assert!(desk.find_sent("WAIT").is_some_and(|(_, sent)| sent.contains("INFO")));
}
