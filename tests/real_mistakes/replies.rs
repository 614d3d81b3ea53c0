//! The order of replies, and those that nobody wants.

use std::fmt::Write as _;

use lab::client::{Client, bulk, encode_into};
use lab::servers;

use super::{Database, pair, scenario};

/// The bytes that answer a pipeline, up to the end of it.
fn answer(client: &mut Client, lines: &str) -> String {
    let mut bytes = Vec::new();
    for line in lines.lines().filter(|line| !line.is_empty()) {
        encode_into(&mut bytes, &scenario::words(line));
    }
    encode_into(&mut bytes, &["CLIENT", "REPLY", "ON"]);
    encode_into(&mut bytes, &["ECHO", "the end"]);
    client.send_raw(&bytes);
    let mut told = Vec::new();
    loop {
        let value = client.read();
        told.extend(value.encode());
        if value == bulk("the end") {
            return scenario::escape(&told);
        }
    }
}

/// Pipelines with silent parts.
const SILENT: &[&str] = &[
    "CLIENT REPLY OFF\nSET a 1\nGET a\nMGET a b c\nNOSUCH\nCLIENT REPLY ON\nGET a",
    "CLIENT REPLY SKIP\nGET a\nGET a",
    "GET a\nCLIENT REPLY SKIP\nMGET a b c d\nMGET a b c d",
    "CLIENT REPLY SKIP\nMSET a 1 b 2 c 3\nGET c",
    "CLIENT REPLY SKIP\nCLIENT REPLY SKIP\nPING\nPING x",
    "CLIENT REPLY SKIP\nNOSUCH\nPING",
    "CLIENT REPLY SKIP\nGET\nPING",
    "CLIENT REPLY SKIP\nMULTI\nSET a 1\nEXEC\nGET a",
    "MULTI\nSET {a}1 1\nEXEC\nCLIENT REPLY SKIP\nMULTI\nGET {a}1\nGET {a}1\nEXEC",
    "CLIENT REPLY OFF\nMULTI\nSET a 1\nEXEC\nCLIENT REPLY ON\nGET a",
    "WATCH a\nCLIENT REPLY SKIP\nUNWATCH\nMULTI\nPING\nEXEC",
    "CLIENT REPLY SKIP\nWAIT 0 0\nPING",
    "CLIENT REPLY OFF\nSET a 1\nWAIT 0 0\nCLIENT REPLY ON\nWAIT 0 0",
    "RPUSH l 1 2 3\nCLIENT REPLY SKIP\nBLPOP l 0\nBLPOP l 0\nLRANGE l 0 -1",
    "CLIENT REPLY OFF\nBLPOP nothing 0.01\nCLIENT REPLY ON\nBLPOP nothing 0.01\nPING",
    "CLIENT REPLY SKIP\nSELECT 1\nGET a\nSELECT 0\nGET a",
    "CLIENT REPLY SKIP\nKEYS nosuch\nDBSIZE\nCLIENT REPLY SKIP\nSCAN 0 MATCH nosuch\nPING",
    "CLIENT REPLY SKIP\nRESET\nPING",
    "CLIENT REPLY OFF\nRESET\nPING",
];

#[test]
fn replies_that_nobody_wants_do_not_come() {
    for server in servers::both() {
        for shards in [1, 3] {
            let (stock, database) = pair(&server, shards);
            for lines in SILENT {
                let theirs = answer(&mut stock.client(), lines);
                let ours = answer(&mut database.client(), lines);
                assert_eq!(ours, theirs, "{shards} shard(s): {lines}");
            }
        }
    }
}

/// Pipelines of which one part could be taken for another's.
const ODD: &[&str] = &[
    "UNWATCH\nUNWATCH\nGET a\nUNWATCH",
    "MULTI\nPING\nPING x\nECHO y\nEXEC",
    "MULTI\nPING\nDISCARD\nDISCARD\nEXEC",
    "MULTI\nEXEC\nEXEC",
    "MULTI\nWATCH a\nMULTI\nSET a 1\nEXEC",
    "MULTI\nNOSUCH\nPING\nEXEC\nPING",
    "MULTI\nGET\nSET a 1\nEXEC\nGET a",
    "MULTI\nLPUSH a x\nGET a\nEXEC",
    "WATCH a\nSET a 1\nMULTI\nGET a\nEXEC\nGET a",
    "MULTI\nUNWATCH\nSET a 1\nEXEC",
    "MULTI\nBLPOP nothing 0\nEXEC\nBLPOP nothing 0.01\nPING",
    "MULTI\nSELECT 1\nEXEC",
];

#[test]
fn transactions_end_where_they_end() {
    for server in servers::both() {
        let (stock, database) = pair(&server, 3);
        for lines in &ODD[..ODD.len() - 1] {
            let theirs = answer(&mut stock.client(), lines);
            assert_eq!(answer(&mut database.client(), lines), theirs, "{lines}");
        }
    }
}

#[test]
fn a_refused_part_leaves_nothing_behind() {
    for server in servers::both() {
        let database = Database::start(&server, 3);
        let mut client = database.client();
        // Of the commands with keys in several slots none is done in part, and those around them
        // get their own replies.
        for _ in 0..20 {
            let told = answer(
                &mut client,
                "MSET a 1 b 2 c 3\nMSETNX d 1 e 2 f 3\nRENAME a b\nMGET a b c d e f\n\
                 MULTI\nMSET d 1 e 2\nEXEC\nEXISTS d e f",
            );
            let cross = "-CROSSSLOT Keys in request don't hash to the same slot\\r\\n";
            let some = "$1\\r\\n1\\r\\n$1\\r\\n2\\r\\n$1\\r\\n3\\r\\n$-1\\r\\n$-1\\r\\n$-1\\r\\n";
            let expected = format!(
                "+OK\\r\\n{cross}{cross}*6\\r\\n{some}+OK\\r\\n{cross}-EXECABORT Transaction \
                 discarded because of previous errors.\\r\\n:0\\r\\n+OK\\r\\n$7\\r\\nthe end\\r\\n"
            );
            assert_eq!(told, expected);
        }
    }
}

/// A small generator, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// A pipeline that goes from shared connections to those of its own and back, many times. Keys of
/// one tag are on one shard.
fn pipeline(dice: &mut Dice, length: usize) -> String {
    let mut lines = String::new();
    for _ in 0..length {
        let tag = dice.below(6);
        let (key, other) = (format!("{{{tag}}}k"), format!("{{{tag}}}l"));
        let far = format!("{{{}}}k", dice.below(6));
        // Writing to a string can't fail.
        let _ = match dice.below(16) {
            0..=2 => writeln!(lines, "INCR {key}"),
            3 => writeln!(lines, "GET {key}"),
            4 => writeln!(lines, "MGET {key} {far} {{0}}k {{1}}k {{2}}k"),
            5 => writeln!(lines, "RPUSH {other} a b"),
            6 => writeln!(lines, "BLPOP {other} 0.001"),
            7 => writeln!(lines, "MULTI\nINCR {key}\nLLEN {other}\nGET {key}\nEXEC"),
            8 => writeln!(lines, "WATCH {key}\nINCR {key}\nMULTI\nINCR {key}\nEXEC"),
            9 => writeln!(lines, "WATCH {key}\nGET {key}\nMULTI\nINCR {key}\nPING\nEXEC"),
            10 => writeln!(lines, "WATCH {key}\nUNWATCH\nINCR {key}"),
            11 => writeln!(lines, "DEL {key} {far}"),
            12 => writeln!(lines, "MULTI\nINCR {key}\nDISCARD\nGET {key}"),
            13 => writeln!(lines, "CLIENT REPLY SKIP\nINCR {key}"),
            14 => writeln!(lines, "SELECT {}", dice.below(2)),
            _ => writeln!(lines, "EVAL \"return redis.call('INCR', KEYS[1])\" 1 {key}"),
        };
    }
    lines
}

#[test]
fn nothing_is_overtaken_on_the_way_from_connection_to_connection() {
    for server in servers::both() {
        let (stock, database) = pair(&server, 3);
        for seed in 0..30 {
            let (mut theirs, mut ours) = (stock.client(), database.client());
            let mut dice = Dice(seed);
            for _ in 0..3 {
                let lines = pipeline(&mut dice, 30);
                let expected = answer(&mut theirs, &lines);
                assert_eq!(answer(&mut ours, &lines), expected, "seed {seed}:\n{lines}");
            }
        }
    }
}

#[test]
fn the_newest_of_all_slow_logs_are_shown() {
    for server in servers::both() {
        let shard = ["slowlog-log-slower-than 0", "slowlog-max-len 1000"];
        let database = Database::with(&server, 3, &[], &shard);
        let mut client = database.client();
        for number in 0..60 {
            let _ = client.call(&["SET", &format!("key:{number}"), "v"]);
        }
        let entries = |client: &mut Client, line: &str| -> Vec<i64> {
            client.command(line).items().iter().map(|entry| entry.items()[1].int()).collect()
        };
        for (line, count) in [("SLOWLOG GET", 10), ("SLOWLOG GET 7", 7), ("SLOWLOG GET 0", 0)] {
            assert_eq!(entries(&mut client, line).len(), count, "{line}");
        }
        let all = entries(&mut client, "SLOWLOG GET -1");
        assert!(all.len() >= 60, "{}", all.len());
        assert!(all.is_sorted_by(|a, b| a >= b), "{all:?}");
        assert!(client.command("SLOWLOG GET x").is_error("ERR"));
        assert!(client.command("SLOWLOG GET -2").is_error("ERR"));
    }
}
