//! Scenarios of the room `command`, on the recorded `COMMAND` replies of stock servers.

#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod scenario;

use std::fmt::Write as _;

use scenario::{escape, request, words};
use weir::command::{CommandTable, TableError};
use weir::resp::{Parsed, Parser, Request};

const VALKEY: &[u8] = include_bytes!("data/command-valkey.resp");
const REDIS: &[u8] = include_bytes!("data/command-redis.resp");

#[test]
fn scenarios() {
    let valkey = CommandTable::from_reply(VALKEY).unwrap();
    let redis = CommandTable::from_reply(REDIS).unwrap();
    scenario::run("command", |input| {
        let lines = input.lines().map(|line| match line.split_once(": ").unwrap() {
            ("keys", line) => keys(&redis, line),
            ("check", line) => check(&redis, line),
            ("head", line) => head(&redis, line),
            ("spec", name) => match redis.named(name).or(valkey.named(name)) {
                Some(spec) => format!(
                    "{} arity {} {:?} {:?} {:?}/{:?}{}",
                    spec.name,
                    spec.arity,
                    spec.flags,
                    spec.key_rule,
                    spec.request_policy,
                    spec.response_policy,
                    if spec.may_write() { " may write" } else { "" }
                ),
                None => "none".to_owned(),
            },
            (other, _) => panic!("{other}?"),
        });
        lines.collect::<Vec<_>>().join("\n")
    });
}

/// The parsed request that these words make.
fn with_request<T>(line: &str, then: impl FnOnce(&Request<'_>) -> T) -> T {
    let bytes = request(&words(line));
    let mut parser = Parser::default();
    assert!(matches!(parser.parse(&bytes), Parsed::Complete { .. }), "{line}");
    then(&Request { bytes: &bytes, args: parser.args() })
}

/// What a server would say to COMMAND GETKEYS.
fn keys(table: &CommandTable, line: &str) -> String {
    with_request(line, |request| {
        let spec = table.spec(table.check(request).unwrap());
        let mut keys = Vec::new();
        spec.keys(request, &mut keys);
        let names: Vec<String> = keys.iter().map(|&at| escape(request.arg(at))).collect();
        if names.is_empty() { "-".to_owned() } else { names.join(" ") }
    })
}

fn check(table: &CommandTable, line: &str) -> String {
    with_request(line, |request| match table.check(request) {
        Ok(id) => table.spec(id).name.to_string(),
        Err(error) => {
            let (mut text, mut reply) = (Vec::new(), Vec::new());
            error.write_text(table, request, &mut text);
            weir::resp::write::error_bytes(&mut reply, &text);
            escape(&reply)
        }
    })
}

/// From how many arguments on all keys are certain: `head: <total> <words>`.
fn head(table: &CommandTable, line: &str) -> String {
    let (total, line) = line.split_once(' ').unwrap();
    let total = total.parse().unwrap();
    let mut answer = String::new();
    let all = words(line);
    for count in 1..=all.len() {
        let bytes = request(&all[..count]);
        let mut parser = Parser::default();
        assert!(matches!(parser.parse(&bytes), Parsed::Complete { .. }));
        let head = Request { bytes: &bytes, args: parser.args() };
        if let Ok(id) = table.check_head(&head, total)
            && table.spec(id).keys_before(&head, total)
        {
            write!(answer, "{count} ").unwrap();
        }
    }
    if answer.is_empty() { "never".to_owned() } else { answer.trim_end().to_owned() }
}

#[test]
fn what_a_shard_has_more_is_added_once() {
    let mut table = CommandTable::from_reply(VALKEY).unwrap();
    let before = table.specs().len();
    let redis = CommandTable::from_reply(REDIS).unwrap();
    let added = table.merge_in(&redis).unwrap();
    assert_eq!(table.specs().len(), before + added);
    assert_eq!(table.merge_in(&redis), Ok(0));
    // Of both, of redis only, of a redis module, of valkey only, a subcommand of valkey only.
    for name in ["get", "config|get", "hgetex", "vadd", "script|show", "client|capa"] {
        assert!(table.named(name).is_some(), "{name}");
    }
}

#[test]
fn every_name_is_found_in_any_case_and_no_other() {
    for reply in [VALKEY, REDIS] {
        let table = CommandTable::from_reply(reply).unwrap();
        for spec in table.specs() {
            for name in [spec.name.to_lowercase(), spec.name.to_uppercase()] {
                assert_eq!(table.named(&name), Some(spec));
                assert_eq!(table.named(&name[1..]).filter(|other| *other == spec), None);
            }
        }
        assert!(table.named("").is_none());
        assert!(table.named("get|x").is_none());
        assert!(table.named("config|").is_none());
    }
}

#[test]
fn a_reply_that_describes_no_commands_is_refused() {
    let error = |reply: &[u8]| CommandTable::from_reply(reply).unwrap_err();
    assert_eq!(error(b""), TableError::NotAReply);
    assert_eq!(error(&VALKEY[..VALKEY.len() - 1]), TableError::NotAReply);
    assert_eq!(error(b"*0\r\n+x\r\n"), TableError::NotAReply);
    assert_eq!(error(b"-NOPERM x\r\n"), TableError::NotCommands("NOPERM x".to_owned()));
    assert_eq!(
        error(b"*1\r\n*2\r\n$3\r\nget\r\n:2\r\n"),
        TableError::BadCommand { which: "get".to_owned() }
    );
    assert_eq!(error(b"*1\r\n:1\r\n"), TableError::BadCommand { which: "command 0".to_owned() });
    assert!(CommandTable::from_reply(b"*0\r\n").unwrap().specs().is_empty());
}

/// Any byte of the reply may be another one: a table or an error, never a panic.
#[test]
fn a_damaged_reply_does_no_harm() {
    let mut random = scenario::Random::new(1);
    for _ in 0..300 {
        let mut reply = VALKEY.to_vec();
        for _ in 0..3 {
            let at = random.below(reply.len());
            reply[at] = *random.pick(b"0123456789-*:$+\r\nax");
        }
        if let Ok(table) = CommandTable::from_reply(&reply) {
            let mut keys = Vec::new();
            with_request("eval s 2 a b", |request| {
                for spec in table.specs() {
                    spec.keys(request, &mut keys);
                    spec.keys_before(request, 9);
                    assert!(keys.iter().all(|&at| at < request.len()));
                }
            });
        }
    }
}
