//! What one client does to another: nothing.

use std::time::Duration;

use lab::client::{bulk, encode, ok};
use lab::{procfs, servers};

use super::Database;

#[test]
fn who_leaves_takes_nothing_along() {
    for server in servers::both() {
        // One worker, so that all share the same connections.
        let database = Database::with(&server, 3, &["weir.threads 1"], &[]);
        let mut client = database.client();
        let value = vec![b'x'; 200_000];
        for key in ["a", "b", "c", "d"] {
            assert_eq!(client.call(&[b"SET".as_slice(), key.as_bytes(), &value]), ok());
        }
        for round in 0..50 {
            // Gone while its replies are on their way, in whole, in parts, and in the middle.
            for line in [
                "MGET a b c d\r\nGET a\r\nINCR n\r\nMGET d c b a\r\n",
                "MULTI\r\nGET a\r\nEXEC\r\n",
                "WATCH a\r\nGET b\r\n",
                "BLPOP nothing 0\r\n",
                "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$100\r\nhalf",
                "SUBSCRIBE x\r\n",
                "UNSUBSCRIBE x\r\n",
            ] {
                let mut other = database.client();
                other.send_raw(line.as_bytes());
                if round % 2 == 0 {
                    other.end();
                }
            }
            let number = format!("own:{round}");
            assert_eq!(client.call(&["SET", &number, &number]), ok());
            assert_eq!(client.call(&["GET", &number]), bulk(&number));
            let both = client.call(&["MGET", &number, "missing", "own:0"]);
            assert_eq!(both.items()[0], bulk(&number));
            assert!(both.items()[1].is_nil());
            assert_eq!(both.items()[2], bulk("own:0"));
        }
    }
}

#[test]
fn half_a_request_holds_up_nobody() {
    for server in servers::both() {
        let database = Database::with(&server, 2, &["weir.threads 1"], &[]);
        let mut halves = Vec::new();
        for request in [
            encode(&["SET", "a", "value"]),
            encode(&["MGET", "a", "b", "c"]),
            encode(&["MSET", "a", "1", "b", "2"]),
            encode(&[b"SET".as_slice(), b"large", &[b'x'; 3_000_000]]),
            b"PING".to_vec(),
        ] {
            let mut half = database.client();
            half.send_raw(&request[..request.len() - 3]);
            halves.push((half, request));
        }
        let mut client = database.client();
        for number in 0..200 {
            let key = format!("key:{number}");
            assert_eq!(client.call(&["SET", &key, "v"]), ok());
            assert_eq!(client.call(&["GET", &key]), bulk("v"));
        }
        for (mut half, request) in halves.into_iter().take(4) {
            half.send_raw(&request[request.len() - 3..]);
            assert!(half.read().error_text().is_none());
        }
    }
}

#[test]
fn a_shard_that_has_no_room_costs_no_cpu() {
    for server in servers::both() {
        let database = Database::with(&server, 2, &["weir.failover-timeout 200"], &[]);
        let mut client = database.client();
        assert_eq!(client.command("MSET a 1 b 2 c 3"), ok());
        // From now on nobody else gets in, and those who are in are thrown out.
        let mut direct = database.shards.primary(1).client();
        assert_eq!(direct.command("CONFIG SET maxclients 1"), ok());
        let _ = direct.command("CLIENT KILL TYPE normal SKIPME yes");
        lab::eventually("it is refused", || database.host.log().contains("max number of clients"));
        let before = procfs::cpu_time(database.host.pid());
        let mut errors = 0;
        for _ in 0..20 {
            errors += usize::from(client.command("MGET a b c").is_error("CLUSTERDOWN"));
            lab::pause(Duration::from_millis(100));
        }
        let used = procfs::cpu_time(database.host.pid()) - before;
        assert!(used < Duration::from_millis(700), "{used:?} in two seconds");
        assert!(errors > 10, "{errors}");
        assert_eq!(direct.command("CONFIG SET maxclients 1000"), ok());
        lab::eventually("it is back", || !client.command("MGET a b c").is_error("CLUSTERDOWN"));
    }
}

#[test]
fn what_is_dumped_is_restored_to_the_byte() {
    for server in servers::both() {
        let database = Database::start(&server, 3);
        let mut client = database.client();
        let value: Vec<u8> =
            (0..5_000_000u32).map(|n| n.wrapping_mul(2_654_435_761) as u8).collect();
        assert_eq!(client.call(&[b"SET".as_slice(), b"large", &value]), ok());
        let dump = client.command("DUMP large");
        for key in ["x", "y", "z"] {
            assert_eq!(client.call(&[b"RESTORE", key.as_bytes(), b"0", dump.bytes()]), ok());
            assert_eq!(client.call(&["GET", key]).bytes(), value);
        }
        assert!(client.command("MEMORY USAGE x").int() > 5_000_000);
        assert_eq!(client.command("OBJECT ENCODING x"), bulk("raw"));
        let told = client.command("MIGRATE 127.0.0.1 1 x 0 100").error_text().unwrap();
        assert!(told.contains("take keys away from the shard"), "{told}");
    }
}
