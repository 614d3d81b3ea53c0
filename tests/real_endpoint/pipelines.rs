//! Many clients with deep pipelines over two shards: every reply is the right one, in the right
//! place.
//!
//! Each client has keys of its own, so what it must read is known to the byte before it is sent.
//! Its commands go to both shards, to several at once, and to none; some are wrong.

use std::collections::HashMap;
use std::thread;

use lab::client::encode_into;
use lab::servers;

use super::Database;
use super::scenario::{Random, escape};

/// Commands of all clients together, on each flavor of server; `WEIR_TEST_COMMANDS` says another
/// number.
const COMMANDS: usize = 100_000;
const CLIENTS: usize = 50;
/// Commands that a client sends before it reads.
const BURST_MAX: usize = 400;

/// One client's keys, as it must find them.
struct Model {
    client: usize,
    random: Random,
    strings: HashMap<usize, Vec<u8>>,
    counters: HashMap<usize, i64>,
}

impl Model {
    fn new(client: usize) -> Model {
        let random = Random::new(client as u64 + 1);
        Model { client, random, strings: HashMap::new(), counters: HashMap::new() }
    }

    fn key(&self, number: usize) -> String {
        format!("client{}:key{number}", self.client)
    }

    fn counter(&self, number: usize) -> String {
        format!("client{}:counter{number}", self.client)
    }

    /// Any bytes, mostly few of them.
    fn value(&mut self) -> Vec<u8> {
        let len = match self.random.below(50) {
            0 => self.random.below(20_000),
            _ => self.random.below(40),
        };
        (0..len).map(|_| self.random.below(256) as u8).collect()
    }

    /// Some keys, none of them twice.
    fn several(&mut self) -> Vec<usize> {
        let mut numbers: Vec<usize> = (0..8).filter(|_| self.random.below(2) == 0).collect();
        if numbers.is_empty() {
            numbers.push(0);
        }
        numbers
    }

    /// Appends a command and the reply that it must get.
    fn next(&mut self, request: &mut Vec<u8>, reply: &mut Vec<u8>) {
        let number = self.random.below(8);
        let key = self.key(number);
        match self.random.below(12) {
            0..=2 => {
                let value = self.value();
                encode_into(request, &[b"SET", key.as_bytes(), &value]);
                self.strings.insert(number, value);
                reply.extend_from_slice(b"+OK\r\n");
            }
            3..=5 => {
                encode_into(request, &["GET", &key]);
                bulk(reply, self.strings.get(&number));
            }
            6 => {
                encode_into(request, &["INCR", &self.counter(number)]);
                let count = self.counters.entry(number).or_default();
                *count += 1;
                int(reply, *count);
            }
            7 => {
                let numbers = self.several();
                let mut words = vec!["MGET".to_owned()];
                words.extend(numbers.iter().map(|&number| self.key(number)));
                encode_into(request, &words);
                reply.extend_from_slice(format!("*{}\r\n", numbers.len()).as_bytes());
                for number in numbers {
                    bulk(reply, self.strings.get(&number));
                }
            }
            8 => {
                let mut words = vec![b"MSET".to_vec()];
                for number in self.several() {
                    let value = self.value();
                    words.push(self.key(number).into_bytes());
                    words.push(value.clone());
                    self.strings.insert(number, value);
                }
                encode_into(request, &words);
                reply.extend_from_slice(b"+OK\r\n");
            }
            9 => {
                let numbers = self.several();
                let mut words = vec!["DEL".to_owned()];
                words.extend(numbers.iter().map(|&number| self.key(number)));
                encode_into(request, &words);
                int(reply, numbers.iter().filter_map(|n| self.strings.remove(n)).count() as i64);
            }
            10 => {
                let value = self.value();
                encode_into(request, &[b"ECHO".as_slice(), &value]);
                bulk(reply, Some(&value));
            }
            _ => self.next_wrong(number, request, reply),
        }
    }

    /// A command that gets an error: from the endpoint or from a shard.
    fn next_wrong(&mut self, number: usize, request: &mut Vec<u8>, reply: &mut Vec<u8>) {
        match self.random.below(4) {
            0 => {
                request.extend_from_slice(b"NOSUCH 'an inline request'\r\n");
                reply.extend_from_slice(
                    b"-ERR unknown command 'NOSUCH', with args beginning with: \
                      'an inline request' \r\n",
                );
            }
            1 => {
                encode_into(request, &["GET"]);
                reply.extend_from_slice(b"-ERR wrong number of arguments for 'get' command\r\n");
            }
            2 => {
                encode_into(request, &["SUNION", "a", "b"]);
                reply.extend_from_slice(
                    b"-CROSSSLOT Keys in request don't hash to the same slot\r\n",
                );
            }
            _ => {
                encode_into(request, &["INCRBY", &self.counter(number), "many"]);
                reply.extend_from_slice(b"-ERR value is not an integer or out of range\r\n");
            }
        }
    }
}

fn bulk(reply: &mut Vec<u8>, value: Option<&Vec<u8>>) {
    let Some(value) = value else {
        return reply.extend_from_slice(b"$-1\r\n");
    };
    reply.extend_from_slice(format!("${}\r\n", value.len()).as_bytes());
    reply.extend_from_slice(value);
    reply.extend_from_slice(b"\r\n");
}

fn int(reply: &mut Vec<u8>, number: i64) {
    reply.extend_from_slice(format!(":{number}\r\n").as_bytes());
}

/// One client's share: burst after burst, each read to its end.
fn play(database: &Database, client: usize, commands: usize) {
    let mut model = Model::new(client);
    let mut connection = database.client().patience(std::time::Duration::from_secs(60));
    let mut left = commands;
    while left > 0 {
        let burst = left.min(1 + model.random.below(BURST_MAX));
        left -= burst;
        let (mut request, mut expected) = (Vec::new(), Vec::new());
        let mut ends = Vec::with_capacity(burst);
        for _ in 0..burst {
            model.next(&mut request, &mut expected);
            ends.push(expected.len());
        }
        let replies = connection.pipeline_raw(&request, burst);
        let mut start = 0;
        for (at, (reply, end)) in replies.iter().zip(ends).enumerate() {
            let (got, wanted) = (reply.encode(), &expected[start..end]);
            assert!(
                got == wanted,
                "client {client}, command {at} of {burst}: {} instead of {}",
                escape(&got[..got.len().min(200)]),
                escape(&wanted[..wanted.len().min(200)])
            );
            start = end;
        }
    }
    assert!(connection.is_silent(std::time::Duration::from_millis(1)), "a reply too many");
}

#[test]
fn every_reply_of_fifty_clients_is_right_and_in_order() {
    let commands = std::env::var("WEIR_TEST_COMMANDS").ok().and_then(|text| text.parse().ok());
    let commands: usize = commands.unwrap_or(COMMANDS);
    for (server, threads) in servers::both().into_iter().zip(["weir.threads 1", "weir.threads 2"]) {
        let database = Database::with(&server, 2, &[threads]);
        thread::scope(|scope| {
            for client in 0..CLIENTS {
                let database = &database;
                scope.spawn(move || play(database, client, commands / CLIENTS));
            }
        });
        for shard in database.shards.iter() {
            assert!(shard.primary.client().command("DBSIZE").int() > 0);
        }
    }
}

/// As many client libraries do it: all is sent before the first reply is read.
#[test]
fn a_pipeline_may_be_sent_whole_before_it_is_read() {
    const SETS: usize = 200_000;
    const GETS: usize = 20_000;
    for server in servers::both() {
        let database = Database::start(&server, 2);
        let mut client = database.client().patience(std::time::Duration::from_secs(60));
        let value = "x".repeat(1000);
        let mut bytes = Vec::new();
        for number in 0..SETS {
            encode_into(&mut bytes, &["SET", &format!("key:{}", number % 100), &value]);
        }
        for number in 0..GETS {
            encode_into(&mut bytes, &["GET", &format!("key:{}", number % 100)]);
        }
        client.send_raw(&bytes);
        for _ in 0..SETS {
            assert_eq!(client.read(), lab::client::ok());
        }
        for _ in 0..GETS {
            assert_eq!(client.read().bytes(), value.as_bytes());
        }
    }
}
