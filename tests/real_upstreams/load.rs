//! Clients at work while things happen.
//!
//! Some must not notice anything: not one error, and each reads what it has written. Others are
//! there when a primary is lost, and note which of their writes they were told are safe.

use std::fmt::Write as _;
use std::ops::Range;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use lab::client::{Client, Value, bulk, ok, simple};
use lab::host::Host;
use lab::servers;

use crate::stage::{key_in, keys_in};

/// The key whose presence ends the load of other programs.
const OVER: &str = "load:over";

/// What all clients of a load share.
#[derive(Debug, Default)]
pub(crate) struct Load {
    over: AtomicBool,
    rounds: AtomicU64,
}

/// Ends the load when it is dropped, so that a failure ends the test too.
pub(crate) struct Over<'a>(&'a Load, &'a Host);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Relaxed);
        if let Ok(mut client) = Client::try_connect(&self.1.endpoint()) {
            let _ = client.try_call(&["SET", OVER, "1"]);
        }
    }
}

impl Load {
    pub(crate) fn until_dropped<'a>(&'a self, host: &'a Host) -> Over<'a> {
        Over(self, host)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    pub(crate) fn rounds(&self) -> u64 {
        self.rounds.load(Relaxed)
    }

    /// Waits until it has done more.
    #[track_caller]
    pub(crate) fn await_more(&self, rounds: u64) {
        let before = self.rounds();
        lab::eventually("the load goes on", || self.rounds() > before + rounds);
    }

    /// One more round is done. Whether there is to be another.
    pub(crate) fn next(&self) -> bool {
        self.rounds.fetch_add(1, Relaxed);
        !self.is_over()
    }

    // ---------------------------------------------------------------- who must not notice

    /// Counts, and reads at once what it has counted: in a pipeline, and one by one.
    pub(crate) fn counts(&self, mut client: Client, name: &str, slots: Range<u16>) {
        let keys: Vec<String> = keys_in(slots, &format!("count:{name}")).take(200).collect();
        let strange = format!("elsewhere:{name}");
        assert_eq!(client.call(&["SET", &strange, "here"]), ok());
        let mut counted = 0_i64;
        for (turn, key) in (0..).zip(keys.iter().cycle()) {
            if turn % keys.len() == 0 {
                counted += 1;
            }
            let mate = format!("{{{key}}}:mate");
            let number = counted.to_string();
            let (incr, get) = (vec!["INCR", key], vec!["GET", key]);
            let set = vec!["MSET", &mate, &number, key, &number];
            let mget = vec!["MGET", &mate, key, &strange, "nothing"];
            let replies = client.pipeline(&[incr.clone(), get.clone(), set, mget]);
            let both = [bulk(&number), bulk(&number), bulk("here")];
            assert_eq!(replies[0], Value::Int(counted), "{key} in a pipeline");
            assert_eq!(replies[1], bulk(&number), "{key} in a pipeline");
            assert_eq!(replies[2], ok(), "{key}");
            assert_eq!(replies[3].items()[..3], both, "{key}");
            assert_eq!(client.call(&["SET", &mate, "x"]), ok());
            assert_eq!(client.call(&["GET", &mate]), bulk("x"));
            let script = "return redis.call('get', KEYS[1]) .. redis.call('get', KEYS[2])";
            let told = client.call(&["EVAL", script, "2", key, &mate]);
            assert_eq!(told, bulk(format!("{number}x")));
            assert_eq!(client.call(&["DEL", &mate, "nothing"]), Value::Int(1), "{mate}");
            if !self.next() {
                return;
            }
        }
    }

    /// Transactions: one that is sent as a whole, and one that reads what it watches.
    pub(crate) fn transactions(&self, mut client: Client, slots: Range<u16>) {
        let keys: Vec<String> = keys_in(slots, "transaction").take(200).collect();
        let mut counted = 0_i64;
        for (turn, key) in (0..).zip(keys.iter().cycle()) {
            if turn % keys.len() == 0 {
                counted += 2;
            }
            let mate = format!("{{{key}}}:mate");
            let (incr, both) = (vec!["INCR", key], vec!["MGET", key, &mate]);
            let set = vec!["SET", &mate, "x"];
            let whole = [vec!["MULTI"], incr.clone(), set, both.clone(), vec!["EXEC"]];
            let replies = client.pipeline(&whole);
            let done = replies[4].items();
            assert_eq!(done[0], Value::Int(counted - 1), "{key}: {replies:?}");
            let seen = bulk((counted - 1).to_string());
            assert_eq!(done[2].items(), [seen.clone(), bulk("x")], "{key}");
            // Whose slot moves meanwhile is told that what it watches has changed, as by a server.
            for tries in 1.. {
                assert_eq!(client.call(&["WATCH", key]), ok());
                assert_eq!(client.call(&["GET", key]), seen, "{key} is watched");
                let replies = client.pipeline(&[vec!["MULTI"], incr.clone(), vec!["EXEC"]]);
                assert_eq!(replies[..2], [ok(), simple("QUEUED")]);
                if !replies[2].is_nil() {
                    assert_eq!(replies[2].items(), [Value::Int(counted)], "{key}");
                    break;
                }
                assert!(tries < 5, "{key} changes all the time");
            }
            if !self.next() {
                return;
            }
        }
    }

    /// One client waits for elements that another one brings, in lists all over these slots.
    pub(crate) fn lists(&self, mut waits: Client, mut brings: Client, slots: Range<u16>) {
        let keys: Vec<String> = keys_in(slots, "list").take(200).collect();
        for (number, key) in (0_u64..).zip(keys.iter().cycle()) {
            let number = number.to_string();
            waits.send(&["BLPOP", key, "0"]);
            if self.rounds().is_multiple_of(3) {
                // It waits for sure; else it may, or finds the element there.
                waits.is_silent(std::time::Duration::from_millis(1));
            }
            assert_eq!(brings.call(&["RPUSH", key, &number]), Value::Int(1), "{key}");
            assert_eq!(waits.read(), Value::Array(vec![bulk(key), bulk(&number)]));
            if !self.next() {
                return;
            }
        }
    }

    /// redis-py, as an application uses it that knows of no cluster. Returns what it has to say.
    pub(crate) fn redis_py(&self, host: &Host) -> String {
        let python = servers::repository().join(".servers/clients/redis-py/bin/python");
        assert!(python.exists(), "no redis-py: run tests/setup/clients.sh");
        let output = Command::new("timeout")
            .args(["--kill-after=5", "60"])
            .arg(python)
            .arg("-B")
            .arg(servers::repository().join("tests/clients/redis-py/load.py"))
            .args(["127.0.0.1", &host.endpoint_port().to_string(), OVER])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
        let _ = write!(said, "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "redis-py: {}\n{said}", output.status);
        said
    }

    // ---------------------------------------------------------------- who is there at a loss

    /// Writes one key after the other, and asks about each.
    pub(crate) fn writes(&self, mut client: Client, name: &str, slots: Range<u16>) -> Told {
        let mut told = Told::default();
        let mut probe = key_in(slots.clone(), "probe");
        for key in keys_in(slots, name) {
            let set = vec!["SET", &key, &key];
            let replies = client.pipeline(&[set, vec!["WAIT", "1", "500"]]);
            match (&replies[0], &replies[1]) {
                (Value::Error(_), _) => told.note(&replies[0]),
                (_, Value::Int(count)) if *count >= 1 => told.held.push(key.clone()),
                (_, Value::Int(_)) => told.fewer += 1,
                (_, other) if other.is_error("UNBLOCKED") => told.unblocked += 1,
                (_, other) => panic!("WAIT: {other:?}"),
            }
            let read = client.call(&["GET", &probe]);
            match &read {
                Value::Error(_) => told.note(&read),
                _ => told.served += 1,
            }
            probe.clone_from(&key);
            if !self.next() {
                break;
            }
        }
        told
    }
}

/// What a client was told of its writes.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// The keys that a replica has.
    pub(crate) held: Vec<String>,
    pub(crate) served: u64,
    /// `IOERR`, whose outcome is unknown.
    pub(crate) unknown: u64,
    /// `IOERR`, cut off while it was sent: not executed.
    pub(crate) cut_off: u64,
    /// `CLUSTERDOWN`.
    pub(crate) not_sent: u64,
    pub(crate) unblocked: u64,
    pub(crate) fewer: u64,
}

impl Told {
    /// An error says whether the command may have happened.
    fn note(&mut self, reply: &Value) {
        let text = reply.error_text().expect("an error");
        if text.starts_with("IOERR ") && text.contains("outcome is unknown") {
            self.unknown += 1;
        } else if text.starts_with("IOERR ") && text.contains("not executed") {
            self.cut_off += 1;
        } else if text.starts_with("CLUSTERDOWN ") {
            self.not_sent += 1;
        } else {
            panic!("{text}");
        }
    }

    /// Adds up what several clients were told.
    pub(crate) fn sum(all: Vec<Told>) -> Told {
        all.into_iter().fold(Told::default(), |mut sum, told| {
            sum.held.extend(told.held);
            sum.served += told.served;
            sum.unknown += told.unknown;
            sum.cut_off += told.cut_off;
            sum.not_sent += told.not_sent;
            sum.unblocked += told.unblocked;
            sum.fewer += told.fewer;
            sum
        })
    }

    /// In one line.
    pub(crate) fn line(&self) -> String {
        format!(
            "{} held by a replica, {} by none, {} unknown to WAIT; {} reads; errors: {} of \
             unknown outcome, {} cut off, {} not sent",
            self.held.len(),
            self.fewer,
            self.unblocked,
            self.served,
            self.unknown,
            self.cut_off,
            self.not_sent
        )
    }

    /// Looks for all that a replica has.
    ///
    /// # Panics
    /// If something is missing.
    #[track_caller]
    pub(crate) fn look_for_all(&self, client: &mut Client) {
        for keys in self.held.chunks(500) {
            let gets: Vec<Vec<&str>> = keys.iter().map(|key| vec!["GET", key]).collect();
            for (key, reply) in keys.iter().zip(client.pipeline(&gets)) {
                assert_eq!(reply, bulk(key), "WAIT said that a replica has it");
            }
        }
    }
}
