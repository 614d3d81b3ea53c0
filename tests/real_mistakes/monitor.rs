//! MONITOR.

use std::time::Duration;

use lab::client::{Value, ok, simple};
use lab::servers;

use super::{Database, assert_same, pair};

#[test]
fn every_command_of_every_shard_is_shown_and_nothing_of_weir() {
    for server in servers::both() {
        let database = Database::with(&server, 3, &["weir.threads 2"], &[]);
        let (mut monitor, mut client) = (database.client(), database.client());
        assert_eq!(monitor.command("MONITOR"), ok());
        for number in 0..12 {
            assert_eq!(client.call(&["SET", &format!("key:{number}"), "v w"]), ok());
        }
        assert_eq!(client.command("WAIT 0 0"), Value::Int(0));
        let mut shown: Vec<String> = (0..12).map(|_| monitor.read().text()).collect();
        shown.sort_by_key(|line| line.split("key:").nth(1).map(str::to_owned));
        for line in shown {
            assert!(line.contains(" [0 127.0.0.1:") && line.contains("] \"SET\" \"key:"), "{line}");
            assert!(line.ends_with("\"v w\""), "{line}");
        }
        assert!(monitor.is_silent(Duration::from_millis(1500)), "{:?}", monitor.read());
        assert_eq!(monitor.command("RESET"), simple("RESET"));
        assert_eq!(client.command("SET a 1"), ok());
        assert!(monitor.is_silent(Duration::from_millis(50)));
        assert_eq!(monitor.command("GET a"), Value::Bulk(b"1".to_vec()));
    }
}

#[test]
fn who_monitors_is_no_ordinary_client() {
    for server in servers::both() {
        let (stock, database) = pair(&server, 3);
        // What the endpoint answers itself isn't shown: no shard executes it.
        let lines = "MONITOR\nGET a\nSET a 1\nEVAL x 0\nMONITOR x\nRESET\nGET a";
        assert_same(lines, &mut stock.client(), &mut database.client());
    }
}

#[test]
fn who_does_not_read_is_closed_and_holds_up_nobody() {
    for server in servers::both() {
        let database = Database::start(&server, 2);
        let (mut monitor, mut client) = (database.client(), database.client());
        assert_eq!(monitor.command("MONITOR"), ok());
        let value = vec![b'x'; 500_000];
        for _ in 0..150 {
            assert_eq!(client.call(&[b"SET".as_slice(), b"a", &value]), ok());
        }
        lab::eventually("it is closed", || {
            database.host.log().contains("takes its messages too slowly")
        });
        for shard in database.shards.iter() {
            lab::eventually("its connections too", || {
                let list = shard.primary.client().command("CLIENT LIST").text();
                !list.contains("cmd=monitor")
            });
        }
        assert_eq!(client.command("SET a 1"), ok());
    }
}
