//! A database, an endpoint before it, and the two ways to its first primary.

use std::time::Duration;

use lab::client::{Client, Value};
use lab::cluster::{Plan, Shards};
use lab::host::{self, Host};
use lab::process::Proc;
use lab::servers::Server;
use weir::shards::HashSlot;

/// Long enough for an answer that would come by itself to have come.
pub(crate) const SILENCE: Duration = Duration::from_millis(200);

/// Dropping it ends all of its servers.
pub(crate) struct Stage {
    pub(crate) host: Host,
    pub(crate) shards: Shards,
}

impl Stage {
    /// A database, and an endpoint that has reached every shard of it.
    #[track_caller]
    pub(crate) fn of(server: &Server, shards: Plan) -> Stage {
        Stage::with(server, shards, |host| host)
    }

    /// The same, with more settings for the host.
    #[track_caller]
    pub(crate) fn with(
        server: &Server,
        shards: Plan,
        more: impl FnOnce(host::Plan) -> host::Plan,
    ) -> Stage {
        let shards = shards.start();
        let host = more(Host::of(server).upstream(shards.upstream())).start();
        let stage = Stage { host, shards };
        lab::eventually("all shards are up", || {
            (0..stage.shards.len()).all(|shard| stage.said_of(shard, "state") == "up")
        });
        stage
    }

    /// A new client of the first primary itself.
    #[track_caller]
    pub(crate) fn bare(&self) -> Client {
        self.shards.primary(0).client()
    }

    /// A new client of the endpoint.
    #[track_caller]
    pub(crate) fn via(&self) -> Client {
        self.host.client()
    }

    /// A number of `INFO weir`.
    #[track_caller]
    pub(crate) fn count(&self, field: &str) -> i64 {
        self.host.info_weir().int(&format!("weir_{field}"))
    }

    /// What `INFO weir` says of a shard.
    #[track_caller]
    pub(crate) fn said_of(&self, shard: usize, part: &str) -> String {
        let info = self.host.info_weir();
        let said = info.part(&format!("weir_shard{shard}"), part);
        said.unwrap_or_else(|| panic!("nothing about shard {shard} in:\n{}", info.0)).to_owned()
    }

    /// Waits until so many clients are inside WAIT or WAITAOF.
    #[track_caller]
    pub(crate) fn await_waiters(&self, count: i64) {
        lab::eventually("as many clients wait as should", || {
            self.count("blocked_clients") == count
        });
    }

    /// Plays the same commands on a bare client and on one of the endpoint, both new.
    ///
    /// A number at a deadline depends on how busy the machine is, on both ways. So where one is
    /// lower than the primary's all is played again, a few times. One that is higher is never
    /// excused.
    ///
    /// # Panics
    /// If a reply differs.
    #[track_caller]
    pub(crate) fn same(&self, script: &[&str]) -> Vec<Value> {
        const GAMES: usize = 4;
        for game in 1..=GAMES {
            let (mut bare, mut via) = (self.bare(), self.via());
            let stock: Vec<Value> = script.iter().map(|line| bare.command(line)).collect();
            let ours: Vec<Value> = script.iter().map(|line| via.command(line)).collect();
            let excused = game < GAMES
                && ours.iter().zip(&stock).all(|(ours, stock)| is_no_higher(ours, stock));
            if ours == stock || !excused {
                assert_eq!(ours, stock, "{script:?}");
                return stock;
            }
            println!("{script:?}: {ours:?}, and {stock:?} on the primary: once more");
        }
        unreachable!("the last game is not excused")
    }

    /// The same for a script that ends in a question which isn't answered before something happens.
    #[track_caller]
    pub(crate) fn same_after(&self, script: &[&str], happens: impl FnOnce()) -> Value {
        let (question, before) = script.split_last().expect("a script has an end");
        let words: Vec<&str> = question.split(' ').collect();
        let (mut bare, mut via) = (self.bare(), self.via());
        for client in [&mut bare, &mut via] {
            for line in before {
                client.command(line);
            }
            client.send(&words);
        }
        assert!(bare.is_silent(SILENCE), "{script:?}");
        assert!(via.is_silent(SILENCE), "{script:?}");
        happens();
        let stock = bare.read();
        assert_eq!(via.read(), stock, "{script:?}");
        stock
    }

    /// Another replica of a shard; it is online when this returns.
    #[track_caller]
    pub(crate) fn attach_replica(&self, shard: usize, lines: &[&str]) -> Proc {
        let primary = self.shards.primary(shard);
        let of = format!("replicaof 127.0.0.1 {}", primary.port());
        let replica = Proc::start(primary.server(), &[lines, &[&of]].concat());
        lab::eventually("the new replica is online", || {
            replica.info("replication").get("master_link_status") == Some("up")
        });
        replica
    }
}

impl Drop for Stage {
    /// What the host has to say about a failure.
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the end of the host's log:\n{}", self.host.log_end());
        }
    }
}

/// A key that this shard of so many owns.
pub(crate) fn key_of(shard: usize, shards: usize) -> String {
    let owner = |key: &str| usize::from(HashSlot::of(key.as_bytes()).number()) * shards / 16_384;
    let mut keys = (0..).map(|number| format!("key:{number}"));
    keys.find(|key| owner(key) == shard).expect("every shard owns some")
}

/// Whether each number is at most the primary's, and all else is the same.
fn is_no_higher(ours: &Value, stock: &Value) -> bool {
    match (ours, stock) {
        (Value::Int(ours), Value::Int(stock)) => ours <= stock,
        (Value::Array(ours), Value::Array(stock)) => {
            ours.len() == stock.len() && ours.iter().zip(stock).all(|(a, b)| is_no_higher(a, b))
        }
        (ours, stock) => ours == stock,
    }
}

/// Asks a new client again and again, until the numbers at its deadline are those that they are on
/// a machine which isn't too busy.
///
/// # Panics
/// If one of them is ever higher, or they never come.
#[track_caller]
pub(crate) fn at_deadline(expected: &[i64], mut ask: impl FnMut() -> Value) {
    let mut told = Vec::new();
    for _ in 0..6 {
        told = match ask() {
            Value::Int(count) => vec![count],
            reply => reply.ints(),
        };
        if told == expected {
            return;
        }
        let higher = told.iter().zip(expected).any(|(told, expected)| told > expected);
        assert!(!higher, "{told:?} is more than {expected:?}");
    }
    panic!("{told:?}, and not {expected:?}");
}
