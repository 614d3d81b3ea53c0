//! What is published on the shards is heard on the host's port.

use std::time::Duration;

use lab::client::{Client, bulk};
use lab::servers::{self, Flavor};

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
        let told = third.command("SET k 1");
        if told == lab::client::ok() {
            assert_eq!(third.command("GET k"), bulk("1"));
        } else {
            // Valkey 9.1 lets no module make such a client wait.
            assert_eq!(server.flavor, Flavor::Valkey);
            assert!(told.error_text().unwrap().contains("listens to channels"), "{told:?}");
        }
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

/// Who subscribes while the shards don't answer costs the host one short wait, and not one each.
#[test]
fn shards_that_do_not_answer_hold_up_the_host_once() {
    let server = &servers::both()[0];
    let database = Database::start(server, 1, 0, &[]);
    let mut listens = database.port();
    listens.command("SUBSCRIBE news");
    database.shards.primary(0).stop();
    let mut many = vec!["SSUBSCRIBE".to_owned()];
    many.extend((0..500).map(|number| format!("c{number}")));
    let begun = std::time::Instant::now();
    for round in 0..20 {
        let mut client = database.port();
        client.send(&many);
        client.send(&["SSUBSCRIBE", &format!("d{round}")]);
        assert_eq!(database.port().command("PING").text(), "PONG");
    }
    // One wait of 100 ms; one for each channel would be nearly a minute.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    database.shards.primary(0).cont();
    let mut says = database.endpoint();
    listens.command("SSUBSCRIBE c7");
    super::until("what was subscribed to meanwhile is heard", || {
        says.command("SPUBLISH c7 late").int();
        !listens.is_silent(Duration::from_millis(20))
    });
    assert_eq!(message(&mut listens), ["smessage", "c7", "late"]);
}

#[test]
fn an_ear_that_is_killed_is_replaced_with_all_that_it_heard() {
    for server in servers::both() {
        let database = Database::start(&server, 1, 0, &[]);
        let (mut early, mut late) = (database.port(), database.port());
        early.command("SSUBSCRIBE a");
        early.command("SUBSCRIBE b");
        let list = database.endpoint().command("CLIENT LIST").text();
        let ear = list.lines().find(|line| line.contains(" addr=host:0 ")).unwrap();
        let id = ear.strip_prefix("id=").unwrap().split(' ').next().unwrap().to_owned();
        assert_eq!(database.endpoint().call(&["CLIENT", "KILL", "ID", &id]).int(), 1);
        // Whoever subscribes next brings another, which hears for those from before too.
        super::until("another is there", || {
            late.command("SUBSCRIBE c");
            let list = database.endpoint().command("CLIENT LIST").text();
            list.contains(" addr=host:0 ")
        });
        let mut says = database.endpoint();
        for (line, heard) in
            [("SPUBLISH a 1", ["smessage", "a", "1"]), ("PUBLISH b 2", ["message", "b", "2"])]
        {
            says.command(line);
            assert_eq!(message(&mut early), heard);
        }
    }
}
