//! What the rooms `command` and `shards` say, against what real servers say to the same requests.

#![cfg(feature = "host")]
#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod scenario;

use lab::client::{Client, Value, bulk};
use lab::process::Proc;
use lab::servers;
use scenario::{Random, escape};
use weir::command::{CommandTable, KeyRule, Spec};
use weir::resp::{Parsed, Parser, Request, write};
use weir::shards::HashSlot;

const NO_LINES: [&str; 0] = [];

/// The server's own table, not the recorded one: whatever version is installed must be understood.
fn table_of(client: &mut Client) -> CommandTable {
    CommandTable::from_reply(&client.call(&["COMMAND"]).encode()).unwrap()
}

fn with_request<T>(words: &[Vec<u8>], then: impl FnOnce(&Request<'_>) -> T) -> T {
    let bytes = scenario::request(words);
    let mut parser = Parser::default();
    assert!(matches!(parser.parse(&bytes), Parsed::Complete { .. }));
    then(&Request { bytes: &bytes, args: parser.args() })
}

/// The name of a command and some arguments, enough for its arity.
fn some_request(
    spec: &Spec,
    random: &mut Random,
    arg: impl Fn(&mut Random) -> Vec<u8>,
) -> Vec<Vec<u8>> {
    let mut words: Vec<Vec<u8>> = spec.name.split('|').map(|word| word.into()).collect();
    let least = usize::try_from(spec.arity.unsigned_abs()).unwrap();
    let more = if spec.arity < 0 { random.below(6) } else { 0 };
    while words.len() < least + more {
        words.push(arg(random));
    }
    words
}

#[test]
fn keys_are_found_where_a_server_finds_them() {
    let args = [
        "a",
        "b",
        "c",
        "",
        "0",
        "1",
        "2",
        "3",
        "-1",
        "streams",
        "store",
        "storedist",
        "keys",
        "by",
        "get",
        "limit",
        "auth",
        "auth2",
        "group",
        "count",
        "block",
    ];
    for server in servers::both() {
        let proc = Proc::start(&server, &NO_LINES);
        let mut client = proc.client();
        let table = table_of(&mut client);
        let mut random = Random::new(11);
        let mut with_keys = 0;
        for _ in 0..20_000 {
            let spec = random.pick(table.specs());
            let words = some_request(spec, &mut random, |r| (*r.pick(&args)).into());
            let keys = with_request(&words, |request| {
                let spec = table.spec(table.check(request).ok()?);
                let mut keys = Vec::new();
                spec.keys(request, &mut keys);
                comparable(spec, &words, &keys).then_some(keys)
            });
            let Some(keys) = keys else { continue };
            let ours: Vec<Value> = keys.iter().map(|&at| bulk(&words[at])).collect();
            let mut ask = vec![b"COMMAND".to_vec(), b"GETKEYS".to_vec()];
            ask.extend_from_slice(&words);
            match client.call(&ask) {
                Value::Array(theirs) => assert_eq!(ours, theirs, "{words:?}"),
                // Where one spec of several doesn't fit, a server gives no keys at all; a
                // destination in front of a wrong number of keys is all that we find then.
                Value::Error(_) => assert!(ours.len() <= 1, "{words:?}: {ours:?}"),
                other => panic!("{words:?}: {other:?}"),
            }
            with_keys += usize::from(!ours.is_empty());
        }
        assert!(with_keys > 5_000, "{with_keys}");
    }
}

/// Whether a server's COMMAND GETKEYS means what we mean. It doesn't give channels; and it reads
/// some requests otherwise than the commands themselves, which refuse them.
fn comparable(spec: &Spec, words: &[Vec<u8>], keys: &[usize]) -> bool {
    let is = |word: &&Vec<u8>, name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    match spec.key_rule {
        _ if spec.key_specs.iter().any(|key| key.not_key) => false,
        // Only the last of several STOREs counts, and SORT_RO has none.
        KeyRule::Sort if &*spec.name == "sort_ro" => keys.len() < 2,
        KeyRule::Sort => words.iter().filter(|word| is(word, "store")).count() < 2,
        // KEYS with nothing behind it.
        KeyRule::Migrate => !keys.is_empty(),
        _ => true,
    }
}

#[test]
fn wrong_requests_get_the_words_of_a_server() {
    // No zero byte: a server compares names up to it, but only where the (seeded) hashes of the two
    // names meet, so its answer differs from run to run.
    let odd: [&[u8]; 9] =
        [b"", b"a", b"get x", b"foo\r\n", b"\xff'\"", &[b'y'; 140], &[b'z'; 64], b"help", b"\n"];
    for server in servers::both() {
        let proc = Proc::start(&server, &NO_LINES);
        let mut client = proc.client();
        let table = table_of(&mut client);
        let mut random = Random::new(12);
        let mut wrong = 0;
        for _ in 0..20_000 {
            let spec = random.pick(table.specs());
            let mut words = some_request(spec, &mut random, |r| r.pick(&odd).to_vec());
            if random.below(2) == 0 {
                let at = random.below(words.len().min(2));
                words[at] = random.pick(&odd).to_vec();
            }
            words.truncate(1 + random.below(words.len()));
            let ours = with_request(&words, |request| {
                let error = table.check(request).err()?;
                let (mut text, mut reply) = (Vec::new(), Vec::new());
                error.write_text(&table, request, &mut text);
                write::error_bytes(&mut reply, &text);
                Some(reply)
            });
            // A sound request is not sent: it might be SHUTDOWN.
            let Some(ours) = ours else { continue };
            assert_eq!(escape(&ours), escape(&client.call(&words).encode()), "{words:?}");
            wrong += 1;
        }
        assert!(wrong > 5_000, "{wrong}");
    }
}

#[test]
fn keys_have_the_slots_of_a_cluster() {
    for server in servers::both() {
        let proc = Proc::start(&server, &["cluster-enabled yes"]);
        let mut client = proc.client();
        let mut random = Random::new(13);
        for _ in 0..2_000 {
            let length = random.below(12);
            let key: Vec<u8> = (0..length).map(|_| *random.pick(b"{}ab\0\xff{}")).collect();
            let slot = client.call(&[b"CLUSTER", b"KEYSLOT".as_slice(), &key]).int();
            assert_eq!(i64::from(HashSlot::of(&key).number()), slot, "{}", escape(&key));
        }
    }
}
