//! Scenarios and properties of `merge::info`, some on the recorded INFO texts of stock servers.

#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod scenario;

use std::collections::BTreeMap;

use weir::merge::info::{Own, merge_info};

const REDIS: [&[u8]; 2] =
    [include_bytes!("data/info-redis-0.txt"), include_bytes!("data/info-redis-1.txt")];
const VALKEY: [&[u8]; 2] =
    [include_bytes!("data/info-valkey-0.txt"), include_bytes!("data/info-valkey-1.txt")];

/// Numbers that no recorded server has, so that they show where they come out.
fn own() -> Own {
    Own {
        tcp_port: 6399,
        process_id: 77_001,
        run_id: "e".repeat(40),
        wall_usec: 1_234_567_890_123_456,
        uptime_seconds: 200_000,
        connected_clients: 77_002,
        blocked_clients: 77_003,
        pubsub_clients: 77_011,
        pubsub_channels: 77_012,
        pubsub_patterns: 77_013,
        pubsubshard_channels: 77_014,
        maxclients: 77_004,
        total_connections_received: 77_005,
        rejected_connections: 77_006,
        total_commands_processed: 77_007,
        total_error_replies: 77_008,
        total_net_input_bytes: 77_009,
        total_net_output_bytes: 77_010,
        workers: 2,
    }
}

fn merged(texts: &[&[u8]]) -> String {
    let mut out = b"before".to_vec();
    merge_info(texts, &own(), &mut out);
    String::from_utf8_lossy(&out).strip_prefix("before").unwrap().to_owned()
}

/// An input is a table: a title in brackets, or a name and what each shard says, with bars between;
/// `-` is a shard that doesn't have the field. Or it is `recorded` and which texts.
#[test]
fn scenarios() {
    scenario::run("info", |input| {
        let texts = match input.strip_prefix("recorded ") {
            Some(names) => names.split(' ').map(recorded).collect(),
            None => table(input),
        };
        let texts: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
        let lines = merged(&texts).replace("\r\n", "\n");
        let lines = lines.lines().filter(|line| !line.is_empty());
        let lines = lines.map(|line| match line.strip_prefix("# ") {
            Some(title) => format!("[{title}]"),
            None => line.to_owned(),
        });
        lines.collect::<Vec<_>>().join("\n")
    });
}

fn recorded(name: &str) -> Vec<u8> {
    match name {
        "redis-0" => REDIS[0],
        "redis-1" => REDIS[1],
        "valkey-0" => VALKEY[0],
        "valkey-1" => VALKEY[1],
        other => panic!("{other}?"),
    }
    .to_vec()
}

fn table(input: &str) -> Vec<Vec<u8>> {
    let columns = input.lines().map(|line| line.split(" | ").count()).max().unwrap();
    let mut texts = vec![Vec::new(); columns];
    for line in input.lines() {
        if line.starts_with('[') {
            for (text, title) in texts.iter_mut().zip(line.split(" | ").cycle()) {
                let title = title.trim_matches(['[', ']']);
                if title != "-" {
                    text.extend_from_slice(format!("# {title}\r\n").as_bytes());
                }
            }
            continue;
        }
        let (name, values) = line.split_once(": ").unwrap();
        for (text, value) in texts.iter_mut().zip(values.split(" | ")) {
            if value != "-" {
                text.extend_from_slice(format!("{name}:{value}\r\n").as_bytes());
            }
        }
    }
    texts
}

/// Sections with their fields, in order.
fn fields(text: &str) -> Vec<(&str, Vec<&str>)> {
    let mut sections: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix("# ") {
            Some(title) => sections.push((title, Vec::new())),
            None => sections.last_mut().unwrap().1.push(line),
        }
    }
    sections
}

/// A client's view: one flat map.
fn map(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.split_once(':')).collect()
}

/// With one shard the endpoint says what that says, line by line, but for what is the endpoint's
/// own and for what isn't shown of any shard.
#[test]
fn one_shard_passes_as_it_is() {
    for text in REDIS.iter().chain(&VALKEY) {
        let merged = merged(&[text]);
        let (merged, text) = (fields(&merged), fields(std::str::from_utf8(text).unwrap()));
        assert_eq!(merged.len(), text.len() + 1, "and the endpoint's own section");
        for ((title, merged), (same_title, text)) in merged.iter().zip(&text) {
            assert_eq!(title, same_title);
            let mut rest = text.iter();
            for line in merged {
                let name = line.split(':').next().unwrap();
                let found = rest.find(|line| line.split(':').next() == Some(name)).unwrap();
                let own = ["77", "1234567890123456", "200000", "2", "6399", "eeee"];
                let is_own = own.iter().any(|own| line[name.len() + 1..].starts_with(own));
                assert!(line == found || is_own || *line == "evicted_clients:0", "{line} {found}");
            }
        }
    }
}

#[test]
fn what_clients_decide_by_is_there_and_what_misleads_them_is_not() {
    for texts in [&REDIS[..], &VALKEY[..], &[REDIS[0], VALKEY[1]][..]] {
        let merged = merged(texts);
        let map = map(&merged);
        for name in ["redis_version", "uptime_in_seconds", "os", "maxmemory_policy"] {
            assert!(map.contains_key(name), "{name}");
        }
        for (name, value) in [
            ("role", "master"),
            ("connected_slaves", "0"),
            ("aof_enabled", "0"),
            ("loading", "0"),
            ("cluster_enabled", "0"),
            ("tcp_port", "6399"),
            ("connected_clients", "77002"),
            ("uptime_in_days", "2"),
            ("weir_shards", "2"),
        ] {
            assert_eq!(map.get(name), Some(&value), "{name}");
        }
        for name in ["master_replid", "master_repl_offset", "slave0", "executable", "listener0"] {
            assert!(!map.contains_key(name), "{name}");
        }
    }
}

/// Three times the same shard: what is summed is three times as much, and the rest is the same.
#[test]
fn equal_shards_are_one_shard_of_their_sizes() {
    for text in [REDIS[0], VALKEY[0]] {
        let (one, three) = (merged(&[text]), merged(&[text, text, text]));
        let (one, three) = (map(&one), map(&three));
        assert_eq!(one.keys().collect::<Vec<_>>(), three.keys().collect::<Vec<_>>());
        for (name, value) in &one {
            let number = |value: &str| value.trim_end_matches('%').parse::<f64>().ok();
            let (Some(one), Some(three)) = (number(value), number(three[name])) else {
                continue;
            };
            let thrice = (3.0 * one - three).abs() < 1e-5;
            assert!(one == three || thrice, "{name}: {one}, {three}");
        }
    }
}

/// Any bytes may be other ones: text comes out that is INFO still, and no panic.
#[test]
fn damaged_texts_do_no_harm() {
    let mut random = scenario::Random::new(1);
    for round in 0..500 {
        let mut texts = Vec::new();
        for _ in 0..=random.below(3) {
            let mut text = random.pick(&[REDIS[0], REDIS[1], VALKEY[0], VALKEY[1]]).to_vec();
            for _ in 0..random.below(60) {
                let at = random.below(text.len());
                text[at] = *random.pick(b"0123456789-.%:,=#\r\n_a \0\xff");
            }
            if round % 5 == 0 {
                text.truncate(random.below(text.len()));
            }
            texts.push(text);
        }
        let texts: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
        let merged = merged(&texts);
        for line in merged.split_terminator("\r\n") {
            let fine = line.is_empty() || line.starts_with("# ") || line.contains(':');
            assert!(fine, "{line:?}");
        }
        let titles = merged.lines().filter(|line| line.starts_with("# ")).count();
        assert!(titles == 1 || merged.contains("# Weir\r\nweir_version:"), "{merged}");
    }
}

/// A hundred thousand fields, in another order by each shard: steps that took longer the more there
/// are would show.
#[test]
fn a_text_of_many_fields_takes_no_long_time() {
    let mut texts = [Vec::new(), Vec::new()];
    for number in 0..100_000 {
        texts[0].extend_from_slice(format!("x{number}:1\r\n").as_bytes());
        texts[1].extend_from_slice(format!("x{}:1\r\n", 150_000 - number).as_bytes());
    }
    let merged = merged(&[&texts[0], &texts[1]]);
    assert_eq!(merged.lines().count(), 150_001);
}

#[test]
fn nothing_in_nothing_out() {
    let own = "# Weir\r\nweir_version:0.1.0\r\nweir_workers:2\r\nweir_shards:";
    assert_eq!(merged(&[]), format!("{own}0\r\n"));
    assert_eq!(merged(&[b"", b""]), format!("{own}2\r\n"));
    assert_eq!(merged(&[b"# CPU\r\n", b""]), "# CPU\r\n");
    let empty = Own::default();
    let mut out = Vec::new();
    merge_info(
        &[b"# Server\r\nrun_id:1\r\nprocess_id:1\r\nserver_time_usec:1\r\n"],
        &empty,
        &mut out,
    );
    assert_eq!(out, b"# Server\r\n", "what the endpoint doesn't know, no shard knows for it");
}
