//! Commands that a shard has refused, and what their session says behind them.

use std::time::Duration;

use crate::desk::Desk;

const READONLY: &str = "-READONLY You can't write against a read only replica.\r\n";

/// The key `a` has the slot 15495: the second shard's.
const MOVED: &str = "-MOVED 15495 10.0.0.1:6379\r\n";

#[test]
fn what_a_demoted_shard_refuses_in_a_transaction_is_not_executed_after_it() {
    let mut desk = Desk::new();
    desk.ask(b"MULTI\r\nSET a 1\r\nDISCARD\r\n");
    desk.open_all();
    let (pin, _) = desk.find_sent("MULTI").unwrap();
    desk.reply(pin, format!("+OK\r\n{READONLY}+OK\r\n").as_bytes());
    assert_eq!(desk.told(), format!("+OK\r\n{READONLY}+OK\r\n"));
    desk.pass(Duration::from_millis(50));
    let why = "it would be executed, and the client has thrown it away";
    assert_eq!(desk.find_sent("SET"), None, "{why}");
}

/// A shard with a shared link, and the place of that.
fn with_shared() -> (Desk, usize) {
    let mut desk = Desk::new();
    desk.ask(b"GET b\r\n");
    desk.open_all();
    let (shared, _) = desk.find_sent("GET").unwrap();
    desk.reply(shared, b"$-1\r\n");
    assert_eq!(desk.told(), "$-1\r\n");
    (desk, shared)
}

#[test]
fn a_read_behind_a_refused_write_reads_what_that_writes() {
    let (mut desk, shared) = with_shared();
    desk.ask(b"SET a 1\r\nGET a\r\n");
    desk.sent(shared);
    desk.reply(shared, format!("{READONLY}$-1\r\n").as_bytes());
    assert_eq!(desk.told(), "", "it is a primary again soon");
    desk.pass(Duration::from_millis(50));
    let again = desk.sent(shared);
    assert!(again.find("SET").unwrap() < again.find("GET").unwrap(), "{again}");
    desk.reply(shared, b"+OK\r\n$1\r\n1\r\n");
    assert_eq!(desk.told(), "+OK\r\n$1\r\n1\r\n");
}

#[test]
fn a_refused_write_is_not_executed_behind_a_later_one() {
    let (mut desk, shared) = with_shared();
    desk.ask(b"SET a 1\r\nGET a\r\nSET a 2\r\n");
    desk.sent(shared);
    desk.reply(shared, format!("{READONLY}$-1\r\n+OK\r\n").as_bytes());
    assert_eq!(desk.told(), format!("{READONLY}$-1\r\n+OK\r\n"));
    desk.pass(Duration::from_millis(50));
    assert_eq!(desk.find_sent("SET"), None);
}

#[test]
fn who_reads_what_it_watches_while_that_moves_gets_it_and_may_not_write() {
    let mut desk = Desk::of_cluster();
    desk.ask(b"WATCH a\r\n");
    desk.open_all();
    let (pin, _) = desk.find_sent("WATCH").unwrap();
    desk.reply(pin, b"+OK\r\n");
    assert_eq!(desk.told(), "+OK\r\n");
    desk.ask(b"GET a\r\n");
    assert!(desk.sent(pin).contains("GET"));
    desk.reply(pin, MOVED.as_bytes());
    desk.open_all();
    let (there, _) = desk.find_sent("GET").unwrap();
    assert_ne!(there, pin);
    desk.reply(there, b"$1\r\n1\r\n");
    assert_eq!(desk.told(), "$1\r\n1\r\n");
    desk.ask(b"MULTI\r\nSET a 2\r\nEXEC\r\n");
    assert_eq!(desk.told(), "+OK\r\n+QUEUED\r\n*-1\r\n", "it may have changed there");
    // Else the next client on this connection would watch it too.
    let (unwatched, sent) = desk.find_sent("UNWATCH").unwrap();
    assert_eq!(unwatched, pin, "{sent}");
}

#[test]
fn a_read_between_watch_and_multi_is_answered_with_what_it_has_read() {
    let mut desk = Desk::of_cluster();
    desk.ask(b"WATCH a\r\nGET a\r\nMULTI\r\nSET a 2\r\n");
    desk.open_all();
    let (pin, _) = desk.find_sent("WATCH").unwrap();
    let moved = format!("+OK\r\n{MOVED}+OK\r\n{MOVED}");
    desk.reply(pin, moved.as_bytes());
    desk.open_all();
    let (there, _) = desk.find_sent("GET").unwrap();
    desk.reply(there, b"$1\r\n1\r\n");
    assert_eq!(desk.told(), "+OK\r\n$1\r\n1\r\n+OK\r\n+QUEUED\r\n");
    desk.ask(b"EXEC\r\n");
    assert_eq!(desk.told(), "*-1\r\n");
    assert_eq!(desk.find_sent("EXEC"), None);
}
