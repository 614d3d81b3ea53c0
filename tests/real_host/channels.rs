//! What is published on the shards is heard on the host's port.

use std::time::Duration;

use lab::client::{Client, bulk};
use lab::servers;

use super::Database;

fn message(client: &mut Client) -> Vec<String> {
    client.read().items().iter().map(lab::client::Value::text).collect()
}

#[test]
fn each_message_comes_once_to_each_who_listens() {
    for server in servers::both() {
        let database = Database::start(&server, 2, 0, &[]);
        let (mut channel, mut pattern, mut both) =
            (database.port(), database.port(), database.port());
        channel.command("SUBSCRIBE news");
        pattern.command("PSUBSCRIBE n*");
        both.command("SUBSCRIBE news");
        both.command("PSUBSCRIBE n*");
        for mut from in [database.port(), database.endpoint()] {
            assert!(from.command("PUBLISH news hello").int() >= 1);
            assert_eq!(message(&mut channel), ["message", "news", "hello"]);
            assert_eq!(message(&mut pattern), ["pmessage", "n*", "news", "hello"]);
            assert_eq!(message(&mut both), ["message", "news", "hello"]);
            assert_eq!(message(&mut both), ["pmessage", "n*", "news", "hello"]);
            from.command("PUBLISH other hello");
        }
        for client in [&mut channel, &mut pattern, &mut both] {
            assert!(client.is_silent(Duration::from_millis(50)));
        }
        // A client of RESP3 goes on to say what it likes.
        let mut third = database.port();
        third.command("HELLO 3");
        third.command("SUBSCRIBE mine");
        assert_eq!(third.command("SET k 1"), lab::client::ok());
        assert_eq!(third.command("GET k"), bulk("1"));
    }
}

#[test]
fn the_first_message_behind_the_first_subscription_is_not_missed() {
    let server = &servers::both()[0];
    for _ in 0..10 {
        let database = Database::start(server, 1, 0, &[]);
        let (mut listens, mut says) = (database.port(), database.endpoint());
        listens.command("SUBSCRIBE news");
        says.command("PUBLISH news first");
        assert_eq!(message(&mut listens), ["message", "news", "first"]);
    }
}

#[test]
fn shard_channels_are_heard_by_their_names() {
    for server in servers::both() {
        let database = Database::start(&server, 2, 0, &[]);
        let mut listens = database.port();
        listens.command("SSUBSCRIBE a");
        listens.command("SSUBSCRIBE b");
        for (mut from, name) in [(database.port(), "a"), (database.endpoint(), "b")] {
            from.call(&["SPUBLISH", name, "hello"]);
            assert_eq!(message(&mut listens), ["smessage", name, "hello"]);
        }
    }
}
