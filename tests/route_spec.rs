//! Scenarios of the room `route`, on the recorded `COMMAND` replies of stock servers, and what must
//! hold for every command and every request.

#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod scenario;

use std::sync::Arc;

use scenario::{escape, request, words};
use weir::command::CommandTable;
use weir::resp::{Parsed, Parser, Request};
use weir::route::{Plan, Router, Scratch, write_part, write_scan};
use weir::shards::{ShardMap, Upstream};

const VALKEY: &[u8] = include_bytes!("data/command-valkey.resp");
const REDIS: &[u8] = include_bytes!("data/command-redis.resp");

fn table(reply: &[u8]) -> Arc<CommandTable> {
    Arc::new(CommandTable::from_reply(reply).unwrap())
}

fn shards(count: usize) -> Arc<ShardMap> {
    let addresses: Vec<String> = (0..count).map(|n| format!("s:{}", n + 1)).collect();
    let text = format!("static://{}", addresses.join(","));
    Arc::new(Upstream::parse(&text).unwrap().into_map())
}

/// The parsed request of these words, whole or only the first ones of it.
fn with_request<T>(words: &[Vec<u8>], then: impl FnOnce(&Request<'_>) -> T) -> T {
    let bytes = request(words);
    let mut parser = Parser::default();
    assert!(matches!(parser.parse(&bytes), Parsed::Complete { .. }));
    then(&Request { bytes: &bytes, args: parser.args() })
}

fn tell(plan: &Plan<'_>, request: &Request<'_>) -> String {
    match plan {
        Plan::One { shard, spec } => {
            format!("shard {shard}{}", if spec.may_write() { " (may write)" } else { "" })
        }
        Plan::Split { parts, order, merge, .. } => {
            let parts = parts.iter().map(|(shard, args)| {
                let mut bytes = Vec::new();
                write_part(&mut bytes, request, args);
                let words: Vec<_> = args.iter().map(|&at| request.arg(at as usize)).collect();
                assert_eq!(bytes, scenario::request(&words));
                let words: Vec<String> = words.into_iter().map(escape).collect();
                format!("shard {shard}: {}", words.join(" "))
            });
            let parts = parts.collect::<Vec<_>>().join(" | ");
            format!("{parts} | order {order:?} {:?}", merge.how)
        }
        Plan::All { merge, .. } => format!("all {:?}", merge.how),
        Plan::Beside { merge, .. } => format!("all {:?}, beside everything else", merge.how),
        Plan::Scan { shard, cursor, .. } => {
            let mut bytes = Vec::new();
            write_scan(&mut bytes, request, *cursor);
            format!("shard {shard}: {}", escape(&bytes))
        }
        Plan::Blocking { shard, .. } => format!("shard {shard}, may wait"),
        Plan::Transaction { step, .. } => format!("transaction {step:?}"),
        Plan::Publish { shard, sharded: true, .. } => format!("publish on shard {shard} only"),
        Plan::Publish { shard, .. } => format!("publish on shard {shard}"),
        Plan::Local { local, .. } => format!("local {local:?}"),
        Plan::Error(text) => format!("error {}", escape(text)),
    }
}

#[test]
fn scenarios() {
    let table = table(REDIS);
    let mut scratch = Scratch::default();
    scenario::run("route", |input| {
        let mut router = Router::new(table.clone(), shards(3));
        let mut answers = Vec::new();
        for line in input.lines() {
            if let Some(count) = line.strip_prefix("shards: ") {
                router = Router::new(table.clone(), shards(count.parse().unwrap()));
            } else if let Some(line) = line.strip_prefix("head: ") {
                let (total, line) = line.split_once(' ').unwrap();
                answers.push(with_request(&words(line), |head| {
                    match router.plan_head(head, total.parse().unwrap(), &mut scratch) {
                        Some(head) => format!("shard {}", head.shard),
                        None => "not known yet".to_owned(),
                    }
                }));
            } else if let Some(reply) = line.strip_prefix("decisions: ") {
                answers.push(decisions(if reply == "redis" { REDIS } else { VALKEY }));
            } else {
                answers.push(with_request(&words(line), |request| {
                    tell(&router.plan(request, &mut scratch), request)
                }));
            }
        }
        answers.join("\n")
    });
}

/// What becomes of the shortest request of each command: one line per decision.
fn decisions(reply: &[u8]) -> String {
    let table = table(reply);
    let router = Router::new(table.clone(), shards(3));
    let mut scratch = Scratch::default();
    let mut lines: Vec<(String, Vec<String>)> = Vec::new();
    let mut names: Vec<_> = table.specs().iter().map(|spec| spec.name.to_lowercase()).collect();
    names.sort();
    for name in names {
        let spec = table.named(&name).unwrap();
        let mut words: Vec<Vec<u8>> = name.split('|').map(|word| word.into()).collect();
        // All arguments are the same key, and a number where a command wants one: 1.
        words.resize(words.len().max(usize::try_from(spec.arity.abs()).unwrap()), b"1".to_vec());
        let told = with_request(&words, |request| match router.plan(request, &mut scratch) {
            Plan::One { spec, .. } if spec.key_specs.is_empty() => "the first shard".to_owned(),
            Plan::One { .. } => "the shard that has the keys".to_owned(),
            Plan::All { merge, .. } => format!("all shards: {:?}", merge.how),
            Plan::Beside { merge, .. } => {
                format!("all shards, beside everything else: {:?}", merge.how)
            }
            Plan::Scan { .. } => "one shard after the other".to_owned(),
            Plan::Blocking { .. } => "the shard that has the keys, and may wait there".to_owned(),
            Plan::Transaction { .. } => "the session's transaction".to_owned(),
            Plan::Publish { .. } => "the shard of the channel".to_owned(),
            Plan::Local { .. } => "the endpoint itself".to_owned(),
            Plan::Error(text) => escape(text).replace(&format!("'{}'", spec.name), "'..'"),
            Plan::Split { .. } => unreachable!("one key only"),
        });
        match lines.iter_mut().find(|(decision, _)| *decision == told) {
            Some((_, names)) => names.push(name),
            None => lines.push((told, vec![name])),
        }
    }
    lines.sort();
    let lines =
        lines.iter().map(|(decision, names)| format!("{decision}\n    {}", names.join(" ")));
    lines.collect::<Vec<_>>().join("\n")
}

/// The words of a random request: mostly sound, of few keys, over all commands.
fn random_request(table: &CommandTable, random: &mut scenario::Random) -> Vec<Vec<u8>> {
    let spec = random.pick(table.specs());
    let mut words: Vec<Vec<u8>> = spec.name.split('|').map(|word| word.into()).collect();
    let args =
        ["a", "b", "{a}1", "{b}2", "", "0", "1", "2", "-1", "streams", "store", "block", "keys"];
    let least = usize::try_from(spec.arity.abs()).unwrap();
    let extra = if spec.arity < 0 || random.below(10) == 0 { random.below(6) } else { 0 };
    while words.len() < least + extra {
        words.push(random.pick(&args).as_bytes().to_vec());
    }
    words
}

/// Shows random requests to `each`, over both servers' commands and one to several shards.
fn random_requests(seeds: [u64; 2], mut each: impl FnMut(&Router, &[Vec<u8>])) {
    for (seed, reply) in seeds.into_iter().zip([VALKEY, REDIS]) {
        let table = table(reply);
        let mut random = scenario::Random::new(seed);
        for count in [1, 2, 5] {
            let router = Router::new(table.clone(), shards(count));
            for _ in 0..2_000 {
                each(&router, &random_request(&table, &mut random));
            }
        }
    }
}

#[test]
fn what_is_certain_of_a_head_is_what_the_whole_request_gets() {
    let mut scratch = Scratch::default();
    let mut known = 0;
    random_requests([1, 2], |router, words| {
        let whole =
            with_request(words, |request| tell(&router.plan(request, &mut scratch), request));
        for cut in 1..=words.len() {
            with_request(&words[..cut], |head| {
                if let Some(head) = router.plan_head(head, words.len(), &mut scratch) {
                    known += 1;
                    assert!(whole.starts_with(&format!("shard {}", head.shard)), "{words:?}");
                }
            });
        }
    });
    assert!(known > 4_000, "{known}");
}

#[test]
fn what_one_key_tells_is_what_the_plan_says() {
    let mut scratch = Scratch::default();
    let mut told = 0;
    random_requests([4, 5], |router, words| {
        with_request(words, |request| {
            let Some((shard, spec)) = router.one_key(request) else { return };
            told += 1;
            match router.plan(request, &mut scratch) {
                Plan::One { shard: planned, spec: same } => {
                    assert_eq!((planned, same.id), (shard, spec.id), "{words:?}");
                }
                other => panic!("{words:?}: {}", tell(&other, request)),
            }
        });
    });
    assert!(told > 2_000, "{told}");
}

#[test]
fn a_split_gives_every_argument_to_whom_it_belongs_and_loses_none() {
    let table = table(REDIS);
    let mut random = scenario::Random::new(3);
    let mut scratch = Scratch::default();
    let routers: Vec<_> = (1..8).map(|count| Router::new(table.clone(), shards(count))).collect();
    for _ in 0..5_000 {
        let router = random.pick(&routers);
        let map = router.map();
        let (name, step) = *random.pick(&[("mget", 1), ("mset", 2), ("del", 1), ("exists", 1)]);
        let keys = 1 + random.below(9);
        let mut words = vec![name.as_bytes().to_vec()];
        for key in 0..keys * step {
            words.push(format!("k{}", random.below(20) * step + key % step).into_bytes());
        }
        with_request(&words, |request| match router.plan(request, &mut scratch) {
            Plan::One { shard, .. } => {
                for key in words[1..].iter().step_by(step) {
                    assert_eq!(map.shard_of_key(key), shard);
                }
            }
            Plan::Split { parts, order, .. } => {
                assert!(parts.len() > 1 && order.len() == keys);
                let mut next = vec![0; parts.len()];
                let parts: Vec<_> = parts.iter().collect();
                assert!(parts.is_sorted_by(|(a, _), (b, _)| a < b));
                // Taking from the parts by the order gives the request back.
                let mut back = vec![0];
                for &part in order {
                    let (shard, args) = parts[usize::from(part)];
                    let at = 1 + next[usize::from(part)] * step;
                    next[usize::from(part)] += 1;
                    back.extend_from_slice(&args[at..at + step]);
                    assert_eq!(map.shard_of_key(request.arg(args[at] as usize)), shard);
                }
                assert!(back.iter().copied().eq(0..words.len() as u32));
                let all: usize = parts.iter().map(|(_, args)| args.len()).sum();
                assert_eq!(all, keys * step + parts.len());
            }
            other => panic!("{other:?}"),
        });
    }
}

#[test]
fn a_scan_visits_every_shard_once_and_ends() {
    let table = table(VALKEY);
    let mut scratch = Scratch::default();
    for count in [2, 3, 17, 1024] {
        let router = Router::new(table.clone(), shards(count));
        let (mut cursor, mut visits) = (String::from("0"), Vec::new());
        loop {
            let words = words(&format!("scan {cursor} count 7"));
            cursor = with_request(&words, |request| match router.plan(request, &mut scratch) {
                Plan::Scan { shard, cursor: inner, .. } => {
                    // A shard with a cursor of 2^52 in the middle of its scan.
                    let next = if inner == 0 { 1u64 << 52 } else { 0 };
                    visits.push((shard.0, inner));
                    let reply = format!("*2\r\n${}\r\n{next}\r\n*0\r\n", next.to_string().len());
                    let mut out = Vec::new();
                    weir::merge::scan(reply.as_bytes(), shard, router.map(), &mut out);
                    let (value, _) = weir::resp::Value::parse(&out).unwrap();
                    let cursor = value.as_array().unwrap()[0].as_bytes().unwrap();
                    String::from_utf8(cursor.to_vec()).unwrap()
                }
                other => panic!("{other:?}"),
            });
            if cursor == "0" {
                break;
            }
        }
        let expected = (0..count).flat_map(|shard| [(shard as u16, 0), (shard as u16, 1 << 52)]);
        assert!(visits.into_iter().eq(expected));
    }
}
