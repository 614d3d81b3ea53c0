//! Redis Sentinel: processes that watch shards, and promote a replica when a primary is gone.
//!
//! The shards are [`Shards`] as ever, each under a name: "master-a" the first, "master-b" the
//! second. Who is the primary then changes; `shard.primary` remains the one that was it at the
//! start, so ask [`Sentinels::primary_of`] and look it up by [`Shards::at`].
//!
//! Sentinels take their time: ten seconds until they look again, eight until a former primary is
//! made a replica. Here they are told to be quicker (`SENTINEL DEBUG`), which a Sentinel forgets
//! when it is started again: use [`Sentinels::restart`].

use std::io;
use std::ops::Index;
use std::time::Duration;

use crate::client::{Client, Value};
use crate::cluster::Shards;
use crate::network::{Network, Place};
use crate::process::Proc;
use crate::servers::Server;

/// What Sentinels do every few seconds, in milliseconds here. They connect no more often than they
/// say PING, so that must be shorter than `down_after`; and promote no replica of whom they have
/// had no news for five times as long, which come once a second when it matters.
const QUICK: [&str; 8] =
    ["INFO-PERIOD", "300", "PUBLISH-PERIOD", "200", "PING-PERIOD", "300", "ASK-PERIOD", "100"];

/// Sentinels to be: see [`Sentinels::of`].
#[derive(Clone, Debug)]
pub struct Plan {
    server: Server,
    count: usize,
    down_after: Duration,
    failover_timeout: Duration,
    network: Option<Network>,
}

impl Plan {
    /// How many; three if nothing is said. More than half of them must agree on a failover.
    #[must_use]
    pub fn count(mut self, count: usize) -> Plan {
        self.count = count;
        self
    }

    /// After how long a primary that doesn't answer is taken for dead; half a second if nothing is
    /// said.
    #[must_use]
    pub fn down_after(mut self, time: Duration) -> Plan {
        self.down_after = time;
        self
    }

    /// How long a failover may take before another one is tried; two seconds if nothing is said.
    #[must_use]
    pub fn failover_timeout(mut self, time: Duration) -> Plan {
        self.failover_timeout = time;
        self
    }

    /// Each Sentinel gets a place of its own on this network.
    #[must_use]
    pub fn network(mut self, network: &Network) -> Plan {
        self.network = Some(network.clone());
        self
    }

    /// Starts them, and waits until they know these shards and one another.
    ///
    /// # Panics
    /// If that takes longer than twenty seconds.
    #[track_caller]
    pub fn start(self, shards: &Shards) -> Sentinels {
        let quorum = self.count / 2 + 1;
        let names: Vec<String> = (0..shards.len()).map(name).collect();
        let mut lines = Vec::new();
        for (name, shard) in names.iter().zip(shards.iter()) {
            let (ip, port) = (shard.primary.place().ip(), shard.primary.port());
            let down_after = self.down_after.as_millis();
            lines.push(format!("sentinel monitor {name} {ip} {port} {quorum}"));
            lines.push(format!("sentinel down-after-milliseconds {name} {down_after}"));
            let timeout = self.failover_timeout.as_millis();
            lines.push(format!("sentinel failover-timeout {name} {timeout}"));
            lines.push(format!("sentinel parallel-syncs {name} {}", shard.replicas.len().max(1)));
        }
        let place = || self.network.as_ref().map_or_else(Place::local, Network::place);
        let start = || {
            let plan = Proc::of(&self.server).lines(&lines).argument("--sentinel");
            plan.place(place()).start()
        };
        let sentinels = Sentinels { sentinels: (0..self.count).map(|_| start()).collect(), names };
        sentinels.sentinels.iter().for_each(hurry);
        sentinels.wait_settled(shards);
        sentinels
    }
}

/// The name under which the Sentinels know the shard of this number.
fn name(shard: usize) -> String {
    format!("master-{}", char::from(b'a' + (shard % 26) as u8))
}

/// Tells a Sentinel that was just started not to take its time.
#[track_caller]
fn hurry(sentinel: &Proc) {
    let told = sentinel.client().call(&[&["SENTINEL", "DEBUG"], &QUICK[..]].concat());
    assert_eq!(told.error_text(), None, "SENTINEL DEBUG was refused");
}

/// Running Sentinels. Dropping this ends them.
#[derive(Debug)]
pub struct Sentinels {
    sentinels: Vec<Proc>,
    names: Vec<String>,
}

impl Sentinels {
    /// The plan of three Sentinels of this server's kind.
    pub fn of(server: &Server) -> Plan {
        Plan {
            server: server.clone(),
            count: 3,
            down_after: Duration::from_millis(500),
            failover_timeout: Duration::from_secs(2),
            network: None,
        }
    }

    /// What `weir.upstream` is to be for the shards that they watch.
    pub fn upstream(&self) -> String {
        let addresses: Vec<String> = self.iter().map(Proc::address).collect();
        format!("sentinel://{}/{}", addresses.join(","), self.names.join(","))
    }

    /// The names of the shards, in their order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Proc> {
        self.sentinels.iter()
    }

    pub fn len(&self) -> usize {
        self.sentinels.len()
    }

    pub fn is_empty(&self) -> bool {
        self.sentinels.is_empty()
    }

    /// The address of a shard's primary, as the first Sentinel says that answers.
    pub fn primary_of(&self, name: &str) -> Option<String> {
        self.iter().find_map(|sentinel| primary_by(sentinel, name))
    }

    /// `SENTINEL FAILOVER`: the first Sentinel that will promotes one of the replicas, whatever the
    /// primary thinks of it. This returns before it has.
    ///
    /// # Errors
    /// Why the last Sentinel that was asked won't.
    pub fn failover(&self, name: &str) -> io::Result<()> {
        let mut refusal = io::Error::other("there is no Sentinel");
        for sentinel in self.iter() {
            refusal = match sentinel.ask(&["SENTINEL", "FAILOVER", name]) {
                Ok(reply) => match reply.error_text() {
                    None => return Ok(()),
                    Some(text) => io::Error::other(text),
                },
                Err(error) => error,
            };
        }
        Err(refusal)
    }

    /// Starts a Sentinel that was killed.
    ///
    /// # Panics
    /// If it doesn't answer within half a minute.
    #[track_caller]
    pub fn restart(&self, sentinel: usize) {
        self.sentinels[sentinel].restart();
        hurry(&self.sentinels[sentinel]);
    }

    /// What is still missing until all Sentinels know one another, and of each shard the same
    /// primary with all its replicas, which is what the servers say as well. `None`: nothing is.
    pub fn unsettled(&self, shards: &Shards) -> Option<String> {
        self.names.iter().zip(shards.iter()).find_map(|(name, shard)| {
            let primary = match self.primary_of(name) {
                Some(primary) => primary,
                None => return Some(format!("nobody knows the primary of {name}")),
            };
            let seen = self.iter().find_map(|sentinel| {
                let seen = self.seen_by(sentinel, name, shard.replicas.len());
                (seen.as_ref() != Some(&primary))
                    .then(|| format!("{} doesn't see {name} whole", sentinel.address()))
            });
            seen.or_else(|| shard.unsettled(&primary))
        })
    }

    /// Waits until [`Sentinels::unsettled`] finds nothing.
    ///
    /// # Panics
    /// If that takes longer than twenty seconds.
    #[track_caller]
    pub fn wait_settled(&self, shards: &Shards) {
        crate::settles("Sentinels", Duration::from_secs(20), || self.unsettled(shards));
    }

    /// The address of the primary, if this Sentinel finds nothing wrong with the shard.
    fn seen_by(&self, sentinel: &Proc, name: &str, replicas: usize) -> Option<String> {
        let Ok(seen @ Value::Array(_)) = sentinel.ask(&["SENTINEL", "MASTER", name]) else {
            return None;
        };
        let is = |field: &str, value: usize| seen.field(field).text() == value.to_string();
        let whole = seen.field("flags").text() == "master"
            && is("num-slaves", replicas)
            && is("num-other-sentinels", self.len() - 1);
        let Ok(Value::Array(known)) = sentinel.ask(&["SENTINEL", "REPLICAS", name]) else {
            return None;
        };
        let up = known.iter().all(|replica| replica.field("flags").text() == "slave");
        (whole && up).then(|| format!("{}:{}", seen.field("ip").text(), seen.field("port").text()))
    }
}

impl Index<usize> for Sentinels {
    type Output = Proc;

    fn index(&self, sentinel: usize) -> &Proc {
        &self.sentinels[sentinel]
    }
}

fn primary_by(sentinel: &Proc, name: &str) -> Option<String> {
    let reply = sentinel.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", name]).ok()?;
    let Value::Array(pair) = reply else { return None };
    Some(format!("{}:{}", pair.first()?.text(), pair.get(1)?.text()))
}

/// A subscription to what one Sentinel publishes of failovers.
#[derive(Debug)]
pub struct Switches(Client);

/// A primary was replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    pub name: String,
    pub from: String,
    pub to: String,
}

impl Switches {
    /// Subscribes to `+switch-master`.
    ///
    /// # Errors
    /// If the Sentinel doesn't answer.
    pub fn of(sentinel: &Proc) -> io::Result<Switches> {
        let mut client = Client::try_connect_soon(&sentinel.address(), Duration::from_secs(1))?;
        client.try_call(&["SUBSCRIBE", "+switch-master"])?;
        Ok(Switches(client))
    }

    /// The next one that comes within this time.
    ///
    /// # Errors
    /// If the Sentinel is gone.
    pub fn next(&mut self, time: Duration) -> io::Result<Option<Switch>> {
        if self.0.is_silent(time) {
            return Ok(None);
        }
        let message = self.0.try_read()?;
        let text = message.items().get(2).map(Value::text).unwrap_or_default();
        let words: Vec<&str> = text.split(' ').collect();
        let [name, from, from_port, to, to_port] = words[..] else {
            return Err(io::Error::other(format!("not a +switch-master: {text}")));
        };
        let (from, to) = (format!("{from}:{from_port}"), format!("{to}:{to_port}"));
        Ok(Some(Switch { name: name.into(), from, to }))
    }
}
