//! A session moves between the shared connection and one of its own, in one pipeline: its replies
//! keep their order, and it reads what it wrote.

use lab::client::{Client, Value, bulk, encode_into, ok, simple};
use lab::servers;

use super::Database;

/// One walk through all ways, for one key; the value that each command must give.
fn walk(key: &str, round: usize) -> Vec<(Vec<String>, Value)> {
    let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let (key, list) = (format!("{{{key}}}k"), format!("{{{key}}}l"));
    let value = |step: usize| format!("{round}:{step}");
    let set = |step: usize| (own(&["SET", &key, &value(step)]), ok());
    let get = |step: usize| (own(&["GET", &key]), bulk(value(step)));
    let queued = || simple("QUEUED");
    vec![
        set(1),
        get(1),
        (own(&["WATCH", &key]), ok()),
        get(1),
        (own(&["MULTI"]), ok()),
        (own(&["GET", &key]), queued()),
        (own(&["SET", &key, &value(2)]), queued()),
        (own(&["RPUSH", &list, &value(2)]), queued()),
        (own(&["EXEC"]), Value::Array(vec![bulk(value(1)), ok(), Value::Int(1)])),
        get(2),
        set(3),
        (own(&["BLPOP", &list, "0"]), Value::Array(vec![bulk(&list), bulk(value(2))])),
        get(3),
        set(4),
        get(4),
        (own(&["MULTI"]), ok()),
        (own(&["SET", &key, &value(5)]), queued()),
        (own(&["EXEC"]), Value::Array(vec![ok()])),
        get(5),
        (own(&["RPUSH", &list, "x"]), Value::Int(1)),
        (own(&["BLPOP", &list, "0"]), Value::Array(vec![bulk(&list), bulk("x")])),
        get(5),
    ]
}

fn walks(client: &mut Client, name: &str, rounds: usize) {
    for round in 0..rounds {
        // Keys of one round lie on different shards.
        let steps: Vec<(Vec<String>, Value)> =
            (0..4).flat_map(|key| walk(&format!("{name}:{key}"), round)).collect();
        let mut bytes = Vec::new();
        for (words, _) in &steps {
            encode_into(&mut bytes, words);
        }
        let replies = client.pipeline_raw(&bytes, steps.len());
        for ((words, expected), got) in steps.iter().zip(&replies) {
            assert_eq!(got, expected, "{name}, round {round}: {words:?}");
        }
    }
}

#[test]
fn a_pipeline_keeps_its_order_from_connection_to_connection() {
    for server in servers::both() {
        for shards in [1, 3] {
            let database = Database::start(&server, shards);
            std::thread::scope(|scope| {
                for number in 0..16 {
                    let mut client = database.client();
                    scope.spawn(move || walks(&mut client, &format!("client{number}"), 25));
                }
            });
        }
    }
}
