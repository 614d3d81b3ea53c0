//! Rounds, and CLIENT UNBLOCK, of which a server dies that has postponed what it is to end.

use std::time::Duration;

use crate::desk::Desk;

const TICK: Duration = Duration::from_millis(5);

/// A client has written, and waits for 10 ms. Returns the place of its round's link, on which the
/// barrier and the question were sent.
fn waiting() -> (Desk, usize) {
    let mut desk = Desk::new();
    let (control, sent) = desk.find_sent("COMMAND").unwrap();
    assert!(sent.contains("INFO"), "{sent}");
    desk.reply(control, b"*0\r\n");
    desk.report(control);
    desk.ask(b"SET a 1\r\n");
    desk.open_all();
    let (shared, _) = desk.find_sent("SET").unwrap();
    desk.reply(shared, b"+OK\r\n");
    assert_eq!(desk.told(), "+OK\r\n");
    desk.granting = true;
    desk.ask(b"WAIT 1 10\r\n");
    desk.open_all();
    desk.granting = false;
    let (tracker, sent) = desk.find_sent("SPUBLISH").unwrap();
    assert!(sent.contains("WAIT"), "{sent}");
    (desk, tracker)
}

/// Whether CLIENT UNBLOCK is said within so many ticks, to the control link.
fn unblocks_within(desk: &mut Desk, ticks: u32) -> bool {
    (0..ticks).any(|_| {
        desk.pass(TICK);
        desk.find_sent("UNBLOCK").is_some()
    })
}

#[test]
fn a_barrier_that_is_not_answered_is_not_unblocked() {
    let (mut desk, tracker) = waiting();
    assert!(!unblocks_within(&mut desk, 4), "it may be postponed");
    desk.reply(tracker, b":0\r\n");
    assert!(unblocks_within(&mut desk, 4), "the question is never postponed alone");
}

#[test]
fn no_round_begins_while_the_last_one_may_yet_be_unblocked() {
    let (mut desk, tracker) = waiting();
    desk.reply(tracker, b":0\r\n");
    assert!(unblocks_within(&mut desk, 4));
    // The replica has answered by itself, and CLIENT UNBLOCK is still on its way.
    desk.reply(tracker, b":1\r\n");
    desk.report(tracker);
    assert_eq!(desk.told(), ":1\r\n");
    desk.ask(b"SET a 2\r\nWAIT 1 0\r\n");
    let (shared, _) = desk.find_sent("SET").unwrap();
    desk.reply(shared, b"+OK\r\n");
    assert_eq!(desk.find_sent("SPUBLISH"), None, "its barrier may be postponed");
    desk.reply(0, b":0\r\n");
    let (place, sent) = desk.find_sent("SPUBLISH").unwrap();
    assert_eq!(place, tracker, "{sent}");
}
