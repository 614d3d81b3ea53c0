//! Values of 200 MB, slow readers, and clients that stop in the middle.

use std::io::Write;
use std::thread;
use std::time::Duration;

use lab::client::{Client, Value, bulk, error, ok};
use lab::{procfs, servers};

use super::{Database, key_on};

const MB: usize = 1024 * 1024;
const LARGE: usize = 200 * MB;
/// How much the host's memory may grow by, whatever the size of a value.
const GROWTH_MAX: u64 = 32 * 1024 * 1024;
const LONG: Duration = Duration::from_secs(60);

/// The bytes that large values repeat. Their number is odd, so that no piece of a value looks like
/// the piece before it.
fn pattern() -> Vec<u8> {
    (0..=250).cycle().take(MB / 251 * 251).collect()
}

/// Sends a request whose last argument is `len` bytes of the pattern.
fn send_large(to: &mut impl Write, words: &[&str], len: usize) {
    let mut head = format!("*{}\r\n", words.len() + 1).into_bytes();
    for word in words {
        head.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    head.extend_from_slice(format!("${len}\r\n").as_bytes());
    to.write_all(&head).unwrap();
    let pattern = pattern();
    let mut left = len;
    while left > 0 {
        let piece = left.min(pattern.len());
        to.write_all(&pattern[..piece]).unwrap();
        left -= piece;
    }
    to.write_all(b"\r\n").unwrap();
}

/// Sends a large request and reads its reply.
fn call_large(client: &mut Client, words: &[&str], len: usize) -> Value {
    let mut writer = client.split();
    send_large(&mut writer, words, len);
    client.read()
}

#[track_caller]
fn assert_pattern(value: &[u8], len: usize) {
    assert_eq!(value.len(), len);
    let pattern = pattern();
    let wrong = value.chunks(pattern.len()).position(|piece| *piece != pattern[..piece.len()]);
    assert_eq!(wrong, None, "the number of the first megabyte that is wrong");
}

#[test]
fn a_value_of_200_mb_goes_through_without_being_held() {
    for server in servers::both() {
        let database = Database::start(&server, 2);
        let pid = database.host.pid();
        let mut client = database.client().patience(LONG);
        client.command("PING");
        let before = procfs::resident_bytes(pid);
        let check = |what: &str| {
            let grown = procfs::resident_bytes_peak(pid).saturating_sub(before);
            assert!(grown < GROWTH_MAX, "{what}: the host has grown by {grown} bytes");
        };

        let key = key_on(1, 0);
        assert_eq!(call_large(&mut client, &["SET", &key], LARGE), ok());
        check("SET");
        assert_pattern(client.call(&["GET", &key]).bytes(), LARGE);
        check("GET");
        assert_eq!(client.call(&["STRLEN", &key]).int(), LARGE as i64);

        assert_eq!(call_large(&mut client, &["APPEND", &key], LARGE).int(), 2 * LARGE as i64);
        assert_eq!(client.call(&["DEL", &key]).int(), 1);
        assert_eq!(
            call_large(&mut client, &["SETRANGE", &key, "10"], LARGE).int(),
            10 + LARGE as i64
        );
        assert_eq!(client.call(&["GETRANGE", &key, "9", "13"]), bulk([0, 0, 1, 2, 3]));
        assert_eq!(client.call(&["DEL", &key]).int(), 1);
        assert_eq!(call_large(&mut client, &["HSET", &key, "field"], LARGE).int(), 1);
        check("HSET");
        assert_pattern(client.call(&["HGET", &key, "field"]).bytes(), LARGE);
        check("HGET");
    }
}

#[test]
fn a_large_value_keeps_its_place_among_other_commands() {
    for server in servers::both() {
        let database = Database::start(&server, 2);
        let (here, there) = (key_on(0, 0), key_on(1, 0));
        let mut client = database.client().patience(LONG);
        let mut writer = client.split();
        let size = 20 * MB;
        thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..3 {
                    let small = round.to_string();
                    writer.write_all(&lab::client::encode(&["SET", &here, &small])).unwrap();
                    send_large(&mut writer, &["SET", &there], size + round);
                    writer.write_all(b"PING\r\n").unwrap();
                    writer.write_all(&lab::client::encode(&["STRLEN", &there])).unwrap();
                    writer.write_all(&lab::client::encode(&["GET", &there])).unwrap();
                    writer.write_all(&lab::client::encode(&["GET", &here])).unwrap();
                    // It is the wrong type only after the whole of it was read.
                    send_large(&mut writer, &["HSET", &there, "f"], size);
                    send_large(&mut writer, &["NOSUCH", &there], 2 * MB);
                }
            });
            for round in 0..3 {
                assert_eq!(client.read(), ok());
                assert_eq!(client.read(), ok());
                assert_eq!(client.read().text(), "PONG");
                assert_eq!(client.read().int(), (size + round) as i64);
                assert_pattern(client.read().bytes(), size + round);
                assert_eq!(client.read(), bulk(round.to_string()));
                assert!(client.read().is_error("WRONGTYPE"));
                assert!(client.read().error_text().unwrap().starts_with("ERR unknown command"));
            }
        });
        assert!(client.is_silent(Duration::from_millis(10)));
    }
}

#[test]
fn a_client_that_stops_in_the_middle_holds_up_nobody() {
    for server in servers::both() {
        let database = Database::start(&server, 2);
        let key = key_on(0, 0);
        let mut halfway: Vec<Client> = (0..4).map(|_| database.client()).collect();
        for client in &mut halfway {
            client.send_raw(format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n", key.len()).as_bytes());
            client.send_raw(format!("${LARGE}\r\n").as_bytes());
            client.send_raw(&vec![b'x'; 3 * MB]);
        }
        let mut other = database.client();
        for number in 0..100 {
            let value = number.to_string();
            assert_eq!(other.call(&["SET", &key, &value]), ok());
            assert_eq!(other.call(&["GET", &key]), bulk(value));
        }
        assert!(halfway[0].is_silent(Duration::from_millis(10)));
        drop(halfway);
        assert_eq!(other.call(&["GET", &key]), bulk("99"), "half a SET is no SET");
        let clients = || {
            let list = database.shards.primary(0).client().command("CLIENT LIST").text();
            list.lines().filter(|line| line.contains("name=weir-pinned")).count()
        };
        lab::eventually("the shard has been rid of them", || clients() == 0);
    }
}

#[test]
fn a_client_that_reads_nothing_holds_up_nobody_for_long() {
    for server in servers::both() {
        let database = Database::with(&server, 2, &["weir.client-stall-timeout 200"]);
        let key = key_on(0, 0);
        let mut other = database.client();
        assert_eq!(call_large(&mut other, &["SET", &key], LARGE), ok());
        let before = procfs::resident_bytes(database.host.pid());

        let mut deaf = database.client();
        deaf.send(&["GET", &key]);
        lab::pause(Duration::from_millis(50));
        // Nobody waits behind it yet, so it may take its time.
        assert_eq!(other.call(&["SET", &key_on(1, 0), "v"]), ok());
        for _ in 0..10 {
            assert_eq!(other.call(&["STRLEN", &key]).int(), LARGE as i64);
        }
        let grown = procfs::resident_bytes_peak(database.host.pid()).saturating_sub(before);
        assert!(grown < GROWTH_MAX, "the host has grown by {grown} bytes");
        assert!(database.host.log().contains("takes nothing of a large reply"));
        assert!(deaf.try_read().is_err(), "it was closed in the middle of its reply");
    }
}

#[test]
fn a_slow_reader_gets_all_of_it() {
    for server in servers::both() {
        let database = Database::start(&server, 2);
        let key = key_on(0, 0);
        let size = 60 * MB;
        let mut client = database.client().patience(LONG);
        assert_eq!(call_large(&mut client, &["SET", &key], size), ok());
        let before = procfs::resident_bytes(database.host.pid());
        client.send(&["GET", &key]);
        client.send(&["PING"]);
        let slow = client.read_slowly(MB, Duration::from_millis(10));
        assert_pattern(slow.bytes(), size);
        assert_eq!(client.read().text(), "PONG");
        let grown = procfs::resident_bytes_peak(database.host.pid()).saturating_sub(before);
        assert!(grown < GROWTH_MAX, "the host has grown by {grown} bytes");
    }
}

#[test]
fn what_must_be_held_whole_is_bounded_and_the_connection_stays() {
    for server in servers::both() {
        let database = Database::with(&server, 2, &["weir.request-max 8mb"]);
        let (here, there) = (key_on(0, 0), key_on(1, 0));
        let mut client = database.client();
        let before = procfs::resident_bytes(database.host.pid());

        assert_eq!(call_large(&mut client, &["MSET", &here, "v", &there], 4 * MB), ok());
        assert_eq!(client.call(&["STRLEN", &there]).int(), 4 * MB as i64);

        let text = "ERR request is larger than 8388608 bytes (weir.request-max) and of a kind that \
                    must be held whole; it was not executed";
        for size in [8 * MB, 100 * MB] {
            let reply = call_large(&mut client, &["MSET", &here, "new", &there], size);
            assert_eq!(reply, error(text));
            assert_eq!(client.call(&["GET", &here]), bulk("v"));
        }
        // Many small ones are a large request as well.
        let mut words = vec!["MSET".to_owned()];
        for number in 0..20_000 {
            words.extend([format!("key{number}"), "x".repeat(500)]);
        }
        assert_eq!(client.call(&words), error(text));
        assert_eq!(client.call(&["EXISTS", "key0", "key1", "key19999"]).int(), 0);
        assert_eq!(client.command("PING").text(), "PONG");
        let grown = procfs::resident_bytes_peak(database.host.pid()).saturating_sub(before);
        assert!(grown < GROWTH_MAX, "the host has grown by {grown} bytes");
    }
}

#[test]
fn no_argument_is_larger_than_512_mb() {
    for server in servers::both() {
        let database = Database::start(&server, 2);
        let mut client = database.client();
        client.send_raw(b"PING\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870913\r\n");
        assert_eq!(client.read().text(), "PONG");
        assert_eq!(client.read(), error("ERR Protocol error: invalid bulk length"));
        client.assert_closed();
    }
}

#[test]
fn large_replies_of_several_shards_at_once_are_all_right() {
    for server in servers::both() {
        let database = Database::start(&server, 2);
        let size = 30 * MB;
        let keys = [key_on(0, 0), key_on(1, 0)];
        let mut client = database.client().patience(LONG);
        for key in &keys {
            assert_eq!(call_large(&mut client, &["SET", key], size), ok());
        }
        // The second comes while the first is on its way.
        let gets: Vec<Vec<&str>> = keys.iter().map(|key| vec!["GET", key]).collect();
        for reply in client.pipeline(&[gets.clone(), gets].concat()) {
            assert_pattern(reply.bytes(), size);
        }
        for reply in client.call(&["MGET", &keys[0], &keys[1]]).items() {
            assert_pattern(reply.bytes(), size);
        }
        // Many clients, some of whom leave before they have got all.
        thread::scope(|scope| {
            for number in 0..6 {
                let (database, keys) = (&database, &keys);
                scope.spawn(move || {
                    let mut client = database.client().patience(LONG);
                    client.send(&["GET", &keys[number % 2]]);
                    if number < 4 {
                        assert_pattern(client.read().bytes(), size);
                    }
                });
            }
        });
        assert_eq!(client.call(&["STRLEN", &keys[0]]).int(), size as i64);
    }
}

#[test]
fn a_shard_that_dies_in_the_middle_costs_the_request_and_no_connection() {
    for server in servers::both() {
        let database = Database::with(&server, 2, &["weir.failover-timeout 5000"]);
        let key = key_on(0, 0);
        let mut client = database.client();
        assert_eq!(client.call(&["SET", &key, "before"]), ok());
        let head = format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${LARGE}\r\n", key.len());
        let mut writer = client.split();
        writer.write_all(head.as_bytes()).unwrap();
        writer.write_all(&vec![b'x'; LARGE / 2]).unwrap();
        database.shards.primary(0).kill9();
        database.shards.primary(0).restart();
        // The rest of it is no longer of any use, and must not be taken for requests.
        writer.write_all(&vec![b'x'; LARGE - LARGE / 2]).unwrap();
        writer.write_all(b"\r\nPING\r\n").unwrap();
        let text = client.read().error_text().unwrap();
        assert!(text.contains("not executed"), "{text}");
        assert_eq!(client.read().text(), "PONG");
        assert!(client.call(&["GET", &key]).is_nil(), "it restarted empty");

        // In the middle of a reply: half a value can't be taken back, so this client is closed.
        assert_eq!(call_large(&mut client, &["SET", &key], LARGE), ok());
        let mut other = database.client();
        other.send(&["GET", &key]);
        assert!(!other.is_silent(Duration::from_secs(10)), "its reply has begun");
        client.send(&["STRLEN", &key]);
        database.shards.primary(0).kill9();
        let torn = other.try_read();
        assert!(torn.is_err(), "{torn:?}");
        let text = client.read().error_text().unwrap();
        assert!(text.contains("outcome is unknown"), "{text}");
        database.shards.primary(0).restart();
        assert_eq!(client.call(&["SET", &key, "after"]), ok());
    }
}
