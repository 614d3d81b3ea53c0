//! CLIENT TRACKING.

use std::collections::BTreeSet;
use std::time::Duration;

use lab::client::{Client, Value, bulk, ok};
use lab::servers;

use super::{Database, assert_same, pair, resp3};

/// What one client that tracks is told, by others' replies and by its own.
const TRANSCRIPT: &str = r"
CLIENT TRACKINGINFO
CLIENT GETREDIR
GET k
SET k 1
CLIENT TRACKING ON
CLIENT TRACKINGINFO
CLIENT GETREDIR
GET k
SET k 2
SET k 3
CLIENT CACHING YES
CLIENT CACHING NO
CLIENT CACHING X
CLIENT TRACKING ON BCAST
CLIENT TRACKING ON OPTIN OPTOUT
CLIENT TRACKING ON OPTIN
GET k
SET k 1
CLIENT CACHING YES
CLIENT TRACKINGINFO
GET k
GET j
SET k 1
SET j 1
CLIENT CACHING YES
MULTI
GET k
GET k
EXEC
SET k 2
CLIENT CACHING YES
MGET k {k}j
MSET {k}j 1 k 2
CLIENT CACHING NO
CLIENT TRACKING ON OPTOUT
CLIENT TRACKING OFF
CLIENT TRACKING ON OPTOUT
CLIENT CACHING NO
CLIENT TRACKINGINFO
GET k
GET j
SET k 1
SET j 1
CLIENT TRACKING OFF
CLIENT TRACKING ON BCAST OPTIN
CLIENT TRACKING ON PREFIX a
CLIENT TRACKING ON BCAST PREFIX a PREFIX ab
CLIENT TRACKINGINFO
CLIENT TRACKING ON BCAST PREFIX b PREFIX a
CLIENT TRACKING ON BCAST PREFIX ab
CLIENT TRACKING ON BCAST PREFIX c
CLIENT TRACKINGINFO
SET a1 1
SET b1 1
SET x1 1
CLIENT TRACKING ON BCAST PREFIX c
CLIENT TRACKING ON BCAST NOLOOP PREFIX d
SET a1 1
CLIENT TRACKING MAYBE
CLIENT TRACKING ON FOO
CLIENT TRACKING ON PREFIX
CLIENT TRACKING OFF FOO
CLIENT TRACKING OFF
CLIENT TRACKINGINFO
CLIENT CACHING YES
CLIENT TRACKING
CLIENT TRACKING ON NOLOOP
MGET k j a1 a2 a3
SET k 3
CLIENT TRACKING ON
MGET k j a1
SELECT 1
GET k
SET k 0
SELECT 0
SET j 1
WATCH a1
MULTI
SET a1 7
EXEC
RESET
CLIENT TRACKINGINFO
GET k
SET k 4
";

#[test]
fn a_client_that_tracks_is_told_what_a_stock_server_tells() {
    for server in servers::both() {
        for shards in [1, 3] {
            let (stock, database) = pair(&server, shards);
            assert_same(TRANSCRIPT, &mut stock.client(), &mut database.client());
            assert_same(TRANSCRIPT, &mut resp3(stock.client()), &mut database.client3());
        }
    }
}

fn key(number: usize) -> String {
    format!("key:{number}")
}

/// The keys in the next invalidations, until so many have come.
fn invalidated(client: &mut Client, count: usize) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    while keys.len() < count {
        let Value::Push(push) = client.read() else { panic!("not a push") };
        assert_eq!(push[0], bulk("invalidate"));
        keys.extend(push[1].items().iter().map(Value::text));
    }
    assert!(client.is_silent(Duration::from_millis(50)));
    keys
}

#[test]
fn the_writes_of_others_are_told_once_for_each_read() {
    for server in servers::both() {
        let database = Database::with(&server, 3, &["weir.threads 2"], &[]);
        let (mut reader, mut writer) = (database.client3(), database.client());
        assert_eq!(reader.command("CLIENT TRACKING ON"), ok());
        let keys: Vec<String> = (0..12).map(key).collect();
        for key in &keys {
            assert!(reader.call(&["GET", key]).is_nil());
        }
        for _ in 0..2 {
            for number in 0..20 {
                assert_eq!(writer.call(&["SET", &key(number), "v"]), ok());
            }
        }
        assert_eq!(invalidated(&mut reader, 12), keys.into_iter().collect());
        // Whoever tracks no more is told no more, and leaves nothing on the shards.
        assert_eq!(reader.command("GET key:1"), bulk("v"));
        assert_eq!(reader.command("CLIENT TRACKING OFF"), ok());
        assert_eq!(writer.command("SET key:1 w"), ok());
        assert!(reader.is_silent(Duration::from_millis(50)));
        for shard in database.shards.iter() {
            lab::eventually("nobody tracks", || {
                shard.primary.info("clients").int("tracking_clients") == 0
            });
        }
    }
}

#[test]
fn prefixes_are_told_of_on_all_shards_without_a_read() {
    for server in servers::both() {
        let database = Database::start(&server, 3);
        let (mut reader, mut writer) = (database.client3(), database.client());
        assert_eq!(reader.command("CLIENT TRACKING ON BCAST PREFIX key:"), ok());
        for number in 0..12 {
            assert_eq!(writer.call(&["SET", &key(number), "v"]), ok());
            assert_eq!(writer.call(&["SET", &format!("other:{number}"), "v"]), ok());
        }
        assert_eq!(invalidated(&mut reader, 12), (0..12).map(key).collect());
    }
}

#[test]
fn when_a_shard_is_lost_everything_is_to_be_forgotten() {
    for server in servers::both() {
        for options in ["", " BCAST"] {
            let database = Database::start(&server, 2);
            let (mut reader, mut writer) = (database.client3(), database.client());
            assert_eq!(reader.command(&format!("CLIENT TRACKING ON{options}")), ok());
            for number in 0..8 {
                let _ = reader.call(&["GET", &key(number)]);
            }
            database.shards.primary(0).restart();
            assert_eq!(reader.read(), Value::Push(vec![bulk("invalidate"), Value::Null]));
            // Whoever is told of all keys is told again without doing anything; whoever is told of
            // what it has read has read nothing since.
            let told = lab::within(Duration::from_secs(20), || {
                for number in (0..8).filter(|_| options.is_empty()) {
                    let _ = reader.call(&["GET", &key(number)]);
                }
                for number in 0..8 {
                    let _ = writer.call(&["SET", &key(number), "v"]);
                }
                let mut keys = BTreeSet::new();
                while !reader.is_silent(Duration::from_millis(50)) {
                    if let Value::Push(push) = reader.read()
                        && !push[1].is_nil()
                    {
                        keys.extend(push[1].items().iter().map(Value::text));
                    }
                }
                (keys.len() == 8).then_some(())
            });
            assert!(told.is_some(), "{options}: not told of both shards again");
        }
    }
}

#[test]
fn redirection_is_refused_with_a_reason() {
    for server in servers::both() {
        let database = Database::start(&server, 1);
        let told = database.client().command("CLIENT TRACKING ON REDIRECT 1");
        assert!(told.error_text().unwrap().contains("REDIRECT is not supported"), "{told:?}");
    }
}
