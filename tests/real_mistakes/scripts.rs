//! A script that never ends.

use lab::client::{Client, Value, ok};
use lab::servers;

use super::Database;

const ENDLESS: &str = "#!lua name=lib\nredis.register_function('f', function() while true do end \
                       end)";

/// Says it until a shard is busy, and it takes effect.
fn kill(client: &mut Client, line: &str) {
    lab::eventually(line, || client.command(line) == ok());
}

#[test]
fn it_is_killed_through_the_endpoint() {
    for server in servers::both() {
        for shards in [1, 3] {
            let database = Database::with(&server, shards, &[], &["busy-reply-threshold 50"]);
            let (mut endless, mut other) = (database.client(), database.client());
            let mut killer = database.client();
            assert!(killer.command("SCRIPT KILL").is_error("NOTBUSY"));
            assert!(killer.command("FUNCTION KILL").is_error("NOTBUSY"));
            endless.send(&["EVAL", "while true do end", "1", "key"]);
            // Behind it on the same connection to its shard.
            other.send(&["GET", "key"]);
            kill(&mut killer, "SCRIPT KILL");
            let told = endless.read().error_text().unwrap();
            assert!(told.contains("Script killed by user with SCRIPT KILL"), "{told}");
            assert!(other.read().is_nil());

            assert_eq!(killer.call(&["FUNCTION", "LOAD", ENDLESS]).text(), "lib");
            endless.send(&["FCALL", "f", "1", "key"]);
            other.send(&["GET", "key"]);
            lab::eventually("FUNCTION STATS tells what runs", || {
                matches!(killer.command("FUNCTION STATS").field("running_script"),
                    running if !running.is_nil() && running.field("name").text() == "f")
            });
            kill(&mut killer, "FUNCTION KILL");
            assert!(endless.read().error_text().unwrap().contains("killed by user"));
            assert!(other.read().is_nil());
            assert!(killer.command("FUNCTION STATS").field("running_script").is_nil());
            assert_eq!(endless.command("SET key 1"), ok());
            let list = |shard: usize| {
                database.shards.primary(shard).client().command("CLIENT LIST").text()
            };
            for shard in 0..shards {
                lab::eventually("no connection is left over", || {
                    !list(shard).contains("name=weir-beside")
                });
            }
        }
    }
}

#[test]
fn a_busy_shard_is_not_taken_for_lost() {
    for server in servers::both() {
        let database = Database::with(&server, 2, &[], &["busy-reply-threshold 50"]);
        let (mut endless, mut killer) = (database.client(), database.client());
        endless.send(&["EVAL", "while true do end", "1", "key"]);
        // Longer than several polls.
        lab::pause(std::time::Duration::from_secs(3));
        assert!(!database.host.log().contains("is down"), "{}", database.host.log());
        kill(&mut killer, "SCRIPT KILL");
        assert!(matches!(endless.read(), Value::Error(_)));
    }
}
