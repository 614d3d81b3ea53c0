//! What is no request, what is an odd one, and what isn't served.

use lab::client::{Client, encode_into, error};
use lab::process::Proc;
use lab::servers;

use super::Database;
use super::scenario::escape;

const NO_LINES: [&str; 0] = [];

/// All that comes back for these bytes, to the end of the connection, which they must bring about.
fn answer(client: &mut Client, bytes: &[u8]) -> String {
    client.send_raw(bytes);
    escape(&client.read_to_end())
}

#[test]
fn bytes_are_read_as_a_stock_server_reads_them() {
    let too_long = "x".repeat(70_000);
    let fine: &[&[u8]] = &[
        b"PING\r\n",
        b"PING\n",
        b"\r\n\r\n  \r\nPING\r\n",
        b"  SET   k   \"a \\x41\\n\"   \r\nGET k\r\n",
        b"SET k 'it''s'\r\n",
        b"set k 'single \\' quote'\r\nget k\r\n",
        b"*0\r\n*-1\r\nPING\r\n",
        b"*1\r\n$4\r\nPING\r\nPING\r\n*2\r\n$4\r\nECHO\r\n$0\r\n\r\n",
        b"*3\r\n$3\r\nSET\r\n$2\r\n\r\n\r\n$3\r\na\0b\r\n*2\r\n$3\r\nGET\r\n$2\r\n\r\n\r\n",
        b"GET\r\nNOSUCH\r\nLPUSH k\r\nPING\r\nGET k v w\r\nPING\r\n",
        b"*1\r\n$0\r\n\r\nPING\r\n",
    ];
    let broken: &[&[u8]] = &[
        b"SET k \"unbalanced\r\n",
        b"SET k \"glued\"together\r\n",
        b"*x\r\n",
        b"*\r\n",
        b"*2147483648\r\n",
        b"*1\r\nPING\r\n",
        b"*1\r\n:4\r\n",
        b"*1\r\n$x\r\n",
        b"*1\r\n$-1\r\n",
        b"*1\r\n$536870913\r\n",
        b"*2\r\n$4\r\nECHO\r\n$99999999999999999999\r\n",
        b"PING\r\nSET a 1\r\n*1\r\n$x\r\nPING\r\n",
        too_long.as_bytes(),
    ];
    for server in servers::both() {
        let stock = Proc::start(&server, &NO_LINES);
        let database = Database::start(&server, 2);
        let cases = fine.iter().map(|bytes| [bytes, &b"QUIT\r\nPING\r\n"[..]].concat());
        for bytes in cases.chain(broken.iter().map(|bytes| bytes.to_vec())) {
            let theirs = answer(&mut stock.client(), &bytes);
            let ours = answer(&mut database.client(), &bytes);
            assert_eq!(ours, theirs, "for {}", &escape(&bytes)[..bytes.len().min(100)]);
        }
        // Header lines without an end; a stock server says which.
        for head in ["*", "*1\r\n$"] {
            let bytes = format!("{head}{}", "1".repeat(70_000));
            let theirs = answer(&mut stock.client(), bytes.as_bytes());
            let ours = answer(&mut database.client(), bytes.as_bytes());
            assert_eq!(ours, theirs, "for {head}");
        }
    }
}

#[test]
fn a_request_may_come_in_any_pieces() {
    let bytes =
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nva\r\nl\r\nGET k\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
    for server in servers::both() {
        let database = Database::start(&server, 2);
        let mut client = database.client();
        for split in 1..bytes.len() {
            client.send_raw(&bytes[..split]);
            // Long enough for the pieces to be read one by one, mostly.
            lab::pause(std::time::Duration::from_millis(1));
            client.send_raw(&bytes[split..]);
            assert_eq!(
                [client.read(), client.read(), client.read()].map(|v| v.text()),
                ["OK", "va\r\nl", "va\r\nl"]
            );
        }
    }
}

#[test]
fn a_client_that_has_sent_its_last_byte_gets_its_replies() {
    for server in servers::both() {
        let stock = Proc::start(&server, &NO_LINES);
        let database = Database::start(&server, 2);
        let mut bytes = Vec::new();
        for number in 0..1_000 {
            encode_into(&mut bytes, &["SET", &format!("key:{number}"), "v"]);
            encode_into(&mut bytes, &["MGET", "key:1", &format!("key:{number}"), "none"]);
        }
        // The begin of another request, which will never be one.
        bytes.extend_from_slice(b"*2\r\n$3\r\nGET\r\n");
        let [theirs, ours] = [stock.client(), database.client()].map(|mut client| {
            client.send_raw(&bytes);
            client.end();
            client.read_to_end()
        });
        assert_eq!(escape(&ours), escape(&theirs));
        assert!(ours.len() > 10_000);
    }
}

#[test]
fn what_is_not_served_is_named() {
    let refused = [
        ("SHUTDOWN", "shutdown"),
        ("SYNC", "sync"),
        ("PSYNC ? -1", "psync"),
        ("REPLICAOF no one", "replicaof"),
        ("FAILOVER", "failover"),
        ("ROLE", "role"),
        ("CONFIG REWRITE", "config|rewrite"),
        ("MODULE UNLOAD weir", "module|unload"),
    ];
    for server in servers::both() {
        let database = Database::start(&server, 2);
        let mut client = database.client();
        for (line, name) in refused {
            let text = format!("ERR '{name}' is not supported by this endpoint");
            assert_eq!(client.command(line), error(&text), "{line}");
        }
        assert_eq!(client.command("PING").text(), "PONG", "the connection stays");
        for shard in database.shards.iter() {
            assert!(shard.primary.is_running());
        }
    }
}
