//! Scenarios of the room `shards`.

#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod scenario;

use weir::shards::{Address, HashSlot, Upstream};

#[test]
fn scenarios() {
    scenario::run("shards", |input| {
        let answers: Vec<String> = input.lines().map(answer).collect();
        answers.join("\n")
    });
}

fn answer(line: &str) -> String {
    let (ask, rest) = line.split_once(' ').unwrap_or((line, ""));
    match ask {
        "slot" => HashSlot::of(&scenario::words(rest)[0]).to_string(),
        "address" => match rest.parse::<Address>() {
            Ok(address) => format!("{address:?} {address}"),
            Err(error) => format!("error: {error}"),
        },
        "upstream" => match Upstream::parse(rest) {
            Ok(upstream) => {
                let map = upstream.into_map();
                let lines = map.shards().map(|(id, shard)| {
                    let master = shard.master.as_deref().map(str::to_owned);
                    let address = shard.address.as_ref().map(ToString::to_string);
                    let name = address.or(master).unwrap_or_else(|| "?".to_owned());
                    format!("{id}: {name} {}", shard.slots_text())
                });
                lines.collect::<Vec<_>>().join("\n")
            }
            Err(error) => format!("error: {error}"),
        },
        "follow" => {
            let (before, after) = rest.split_once(' ').unwrap();
            let parse = |text| Upstream::parse(text).unwrap();
            match parse(after).may_follow(&parse(before)) {
                Ok(()) => "yes".to_owned(),
                Err(why) => format!("no: {why}"),
            }
        }
        other => panic!("{other}?"),
    }
}
