//! Scenarios of the room `merge`, and the property that it exists for: a request that was split
//! over shards has the answer of one server.

#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod scenario;

use std::collections::HashMap;
use std::sync::Arc;

use scenario::{Random, escape, words};
use weir::command::{CommandTable, How, Merge};
use weir::ids::ShardId;
use weir::merge::{Merger, scan};
use weir::resp::{Parsed, Parser, Request, Version, write};
use weir::route::{Plan, Router, Scratch, write_part};
use weir::shards::{ShardMap, Upstream};

fn map_of(shards: u16) -> ShardMap {
    ShardMap::even((0..shards).map(|n| format!("h:{}", n + 1).parse().unwrap()).collect()).unwrap()
}

#[test]
fn scenarios() {
    let mut merger = Merger::default();
    scenario::run("merge", |input| {
        let lines = input.lines().map(|line| {
            let words = words(line);
            let mut out = Vec::new();
            match words.split_first().unwrap() {
                (ask, [shard, shards, reply]) if ask == b"scan" => {
                    let number = |word: &[u8]| std::str::from_utf8(word).unwrap().parse().unwrap();
                    scan(reply, ShardId(number(shard)), &map_of(number(shards)), &mut out);
                }
                (how, rest) => {
                    let (may_write, rest) = match rest.split_first().unwrap() {
                        (first, rest) if first == b"write" => (true, rest),
                        _ => (false, rest),
                    };
                    let (order, parts) = match rest.split_first().unwrap() {
                        (first, rest) if how == b"ByKey" => (first.as_slice(), rest),
                        _ => (&b""[..], rest),
                    };
                    let order: Vec<u16> =
                        order.iter().map(|digit| u16::from(digit - b'0')).collect();
                    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
                    merger.merge(
                        Merge { how: how_named(how), may_write },
                        &order,
                        &parts,
                        &mut out,
                    );
                }
            }
            escape(&out)
        });
        lines.collect::<Vec<_>>().join("\n")
    });
}

const ALL: [How; 13] = [
    How::Sum,
    How::Min,
    How::Max,
    How::And,
    How::Or,
    How::OneSucceeded,
    How::AllSucceeded,
    How::Concat,
    How::ByKey,
    How::RandomKey,
    How::Newest(2),
    How::Digest,
    How::DataSettings,
];

fn how_named(name: &[u8]) -> How {
    ALL.into_iter().find(|how| format!("{how:?}").as_bytes() == name).unwrap()
}

/// A server with strings and a few commands, and the version in which it speaks.
struct Server {
    strings: HashMap<Vec<u8>, Vec<u8>>,
    version: Version,
}

impl Server {
    fn new(version: Version) -> Self {
        Self { strings: HashMap::new(), version }
    }

    fn answer(&mut self, words: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        let (name, args) = words.split_first().unwrap();
        match std::str::from_utf8(name).unwrap() {
            "mget" => {
                write::array(&mut out, args.len());
                for key in args {
                    match self.strings.get(key) {
                        Some(value) => write::bulk(&mut out, value),
                        None => write::null(&mut out, self.version),
                    }
                }
            }
            "mset" => {
                for pair in args.chunks(2) {
                    self.strings.insert(pair[0].clone(), pair[1].clone());
                }
                write::simple(&mut out, "OK");
            }
            "del" | "unlink" => {
                let gone = args.iter().filter(|key| self.strings.remove(*key).is_some()).count();
                write::int(&mut out, gone as i64);
            }
            "exists" | "touch" => {
                let there = args.iter().filter(|key| self.strings.contains_key(*key)).count();
                write::int(&mut out, there as i64);
            }
            "dbsize" => write::int(&mut out, self.strings.len() as i64),
            "keys" => {
                write::array(&mut out, self.strings.len());
                self.strings.keys().for_each(|key| write::bulk(&mut out, key));
            }
            other => panic!("{other}?"),
        }
        out
    }
}

/// What a client of the endpoint gets if these are the shards.
fn through_shards(
    router: &Router,
    shards: &mut [Server],
    (scratch, merger): (&mut Scratch, &mut Merger),
    words: &[Vec<u8>],
) -> Vec<u8> {
    let bytes = scenario::request(words);
    let mut parser = Parser::default();
    assert!(matches!(parser.parse(&bytes), Parsed::Complete { .. }));
    let request = Request { bytes: &bytes, args: parser.args() };
    let mut out = Vec::new();
    match router.plan(&request, scratch) {
        Plan::One { shard, .. } => return shards[shard.index()].answer(words),
        Plan::All { merge, .. } => {
            let replies: Vec<_> = shards.iter_mut().map(|shard| shard.answer(words)).collect();
            let replies: Vec<_> = replies.iter().map(Vec::as_slice).collect();
            merger.merge(merge, &[], &replies, &mut out);
        }
        Plan::Split { parts, order, merge, .. } => {
            let replies: Vec<_> = parts
                .iter()
                .map(|(shard, args)| {
                    let mut bytes = Vec::new();
                    write_part(&mut bytes, &request, args);
                    let mut parser = Parser::default();
                    assert_eq!(parser.parse(&bytes), Parsed::Complete { len: bytes.len() });
                    let part = Request { bytes: &bytes, args: parser.args() };
                    let words: Vec<_> = (0..part.len()).map(|at| part.arg(at).to_vec()).collect();
                    shards[shard.index()].answer(&words)
                })
                .collect();
            let replies: Vec<_> = replies.iter().map(Vec::as_slice).collect();
            merger.merge(merge, order, &replies, &mut out);
        }
        other => panic!("{other:?}"),
    }
    out
}

#[test]
fn split_then_merged_is_what_one_server_says() {
    let table = include_bytes!("data/command-valkey.resp");
    let table = Arc::new(CommandTable::from_reply(table).unwrap());
    let (mut scratch, mut merger) = (Scratch::default(), Merger::default());
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let count = 1 + random.below(6);
        let hosts: Vec<_> = (0..count).map(|n| format!("s:{}", n + 1)).collect();
        let upstream = Upstream::parse(&format!("static://{}", hosts.join(","))).unwrap();
        let router = Router::new(table.clone(), Arc::new(upstream.into_map()));
        let version = *random.pick(&[Version::Resp2, Version::Resp3]);
        let mut one = Server::new(version);
        let mut shards: Vec<Server> = (0..count).map(|_| Server::new(version)).collect();
        for _ in 0..60 {
            let words = random_words(&mut random);
            let mut wanted = one.answer(&words);
            let memory = (&mut scratch, &mut merger);
            let mut got = through_shards(&router, &mut shards, memory, &words);
            if words[0] == b"keys" {
                // In no order: compared as a bag of lines.
                let sorted = |reply: &[u8]| {
                    let mut lines: Vec<_> = reply.split(|&byte| byte == b'\n').collect();
                    lines.sort_unstable();
                    lines.concat()
                };
                (wanted, got) = (sorted(&wanted), sorted(&got));
            }
            assert_eq!(escape(&got), escape(&wanted), "seed {seed}: {words:?}");
        }
    }
}

fn random_words(random: &mut Random) -> Vec<Vec<u8>> {
    let names = ["mget", "mset", "mset", "del", "unlink", "exists", "touch", "dbsize", "keys"];
    let name = *random.pick(&names);
    let mut words = vec![name.as_bytes().to_vec()];
    if name == "keys" {
        words.push(b"*".to_vec());
    }
    if matches!(name, "dbsize" | "keys") {
        return words;
    }
    for _ in 0..1 + random.below(8) {
        words.push(format!("key{}", random.below(25)).into_bytes());
        if name == "mset" {
            let value = b"\r\n$-1*"[random.below(6)];
            words.push(vec![value; random.below(5)]);
        }
    }
    words
}

/// Whatever complete replies come, what goes out is one complete reply.
#[test]
fn odd_replies_still_make_one_reply() {
    let replies: [&[u8]; 21] = [
        b"+OK\r\n",
        b"-ERR x\r\n",
        b":1\r\n",
        b"$-1\r\n",
        b"$2\r\n\r\n\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"*2\r\n:1\r\n:0\r\n",
        b"*2\r\n$4\r\nsave\r\n$-1\r\n",
        b"*1\r\n*2\r\n$1\r\na\r\n:7\r\n",
        b"*3\r\n:1\r\n-ERR in\r\n:2\r\n",
        b"*2\r\n$1\r\n5\r\n*0\r\n",
        b"_\r\n",
        b"#t\r\n",
        b",1.5\r\n",
        b"!7\r\nERR\r\nx.\r\n",
        b"=7\r\ntxt:abc\r\n",
        b"%1\r\n$4\r\nsave\r\n_\r\n",
        b"~2\r\n:1\r\n#f\r\n",
        b"%1\r\n|1\r\n:1\r\n:1\r\n$4\r\nsave\r\n*1\r\n_\r\n",
        b"|1\r\n+k\r\n+v\r\n*1\r\n:1\r\n",
    ];
    let mut random = Random::new(4);
    let mut merger = Merger::default();
    let map = map_of(3);
    for turn in 0..20_000 {
        let parts: Vec<&[u8]> = (0..1 + random.below(4)).map(|_| *random.pick(&replies)).collect();
        let order: Vec<u16> = (0..random.below(5)).map(|_| random.below(5) as u16).collect();
        let mut out = Vec::new();
        let merge = Merge { how: ALL[turn % ALL.len()], may_write: turn % 2 == 0 };
        merger.merge(merge, &order, &parts, &mut out);
        let whole =
            |bytes: &[u8]| weir::resp::Value::parse(bytes).is_some_and(|(_, n)| n == bytes.len());
        assert!(whole(&out), "{merge:?} {order:?} {parts:?}: {}", escape(&out));
        out.clear();
        scan(parts[0], ShardId(0), &map, &mut out);
        assert!(whole(&out), "{parts:?}: {}", escape(&out));
    }
}
