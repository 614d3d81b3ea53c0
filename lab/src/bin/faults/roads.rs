//! The two ways to the database: through the endpoint, and by a bare client library.
//!
//! The library is what an ordinary one is. It asks the Sentinels, or a node of the cluster, where
//! the primary of a shard is, and keeps a connection to it. When that fails, or the server says it
//! is no primary, it asks again, connects again, and sends the command again: WAIT too, which on
//! the new connection is about nothing.

use std::io;
use std::time::Duration;

use lab::client::{Client, Value};

/// How long the endpoint may take for a reply.
const ENDPOINT_PATIENCE: Duration = Duration::from_secs(10);
/// The library's limit for a connection, and for a reply.
const BARE_PATIENCE: Duration = Duration::from_secs(1);
/// How often the library sends a command, and how long it waits in between.
const TRIES: usize = 20;
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// There is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The other side has closed the connection.
    Closed,
    /// No reply came in time.
    Late,
    /// There was no connection, so nothing was sent.
    Unsent,
}

/// A way to the database.
pub(crate) trait Road {
    /// Sends a command about a shard, and returns what it is answered.
    fn call(&mut self, shard: usize, args: &[&str]) -> Result<Value, Lost>;

    /// Changes whenever the connection for a shard is another one.
    fn connection(&self, shard: usize) -> usize;

    /// How often the other side has closed a connection.
    fn closed(&self) -> usize;
}

/// A connection to the endpoint.
pub(crate) struct Endpoint {
    address: String,
    client: Option<Client>,
    connections: usize,
    closed: usize,
}

impl Endpoint {
    pub(crate) fn new(address: String) -> Endpoint {
        Endpoint { address, client: None, connections: 0, closed: 0 }
    }
}

impl Road for Endpoint {
    fn call(&mut self, _shard: usize, args: &[&str]) -> Result<Value, Lost> {
        if self.client.is_none() {
            let client = Client::try_connect_soon(&self.address, ENDPOINT_PATIENCE);
            let Ok(client) = client else {
                lab::pause(BETWEEN_TRIES);
                return Err(Lost::Unsent);
            };
            self.client = Some(client);
            self.connections += 1;
        }
        let Some(client) = &mut self.client else { return Err(Lost::Unsent) };
        client.try_call(args).map_err(|error| {
            self.client = None;
            let lost = lost(&error);
            self.closed += usize::from(lost == Lost::Closed);
            lost
        })
    }

    fn connection(&self, _shard: usize) -> usize {
        self.connections
    }

    fn closed(&self) -> usize {
        self.closed
    }
}

fn lost(error: &io::Error) -> Lost {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Lost::Late,
        _ => Lost::Closed,
    }
}

/// How the library finds a primary.
#[derive(Clone, Debug)]
pub(crate) enum Guide {
    /// It was told.
    Static(Vec<String>),
    Sentinel {
        sentinels: Vec<String>,
        names: Vec<String>,
    },
    /// A slot of each shard.
    Cluster {
        nodes: Vec<String>,
        slots: Vec<u16>,
    },
}

impl Guide {
    /// The primary of a shard, as the first says that answers, beginning with this one.
    fn primary(&self, shard: usize, first: usize) -> Option<String> {
        let ask = |who: &[String], args: &[&str]| {
            let (before, after) = who.split_at(first % who.len());
            after.iter().chain(before).find_map(|address| {
                let mut client = Client::try_connect_soon(address, BARE_PATIENCE / 4).ok()?;
                let reply = client.try_call(args).ok()?;
                matches!(reply, Value::Array(_)).then_some(reply)
            })
        };
        match self {
            Guide::Static(primaries) => primaries.get(shard).cloned(),
            Guide::Sentinel { sentinels, names } => {
                let found =
                    ask(sentinels, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", &names[shard]])?;
                address(found.items())
            }
            Guide::Cluster { nodes, slots } => {
                let found = ask(nodes, &["CLUSTER", "SLOTS"])?;
                let has = |range: &&Value| match range.items() {
                    [from, to, ..] => (from.int()..=to.int()).contains(&i64::from(slots[shard])),
                    _ => false,
                };
                address(found.items().iter().find(has)?.items().get(2)?.items())
            }
        }
    }
}

/// The address in an array that begins with IP and port.
fn address(items: &[Value]) -> Option<String> {
    let [ip, port, ..] = items else { return None };
    let port = match port {
        Value::Int(port) => port.to_string(),
        port => port.text(),
    };
    Some(format!("{}:{port}", ip.text()))
}

/// A client library's client.
pub(crate) struct Bare {
    guide: Guide,
    clients: Vec<Option<Client>>,
    connections: Vec<usize>,
    closed: usize,
}

impl Bare {
    pub(crate) fn new(guide: Guide, shards: usize) -> Bare {
        let clients = (0..shards).map(|_| None).collect();
        Bare { guide, clients, connections: vec![0; shards], closed: 0 }
    }

    /// Connects, unless there is a connection, to the primary or to where a server has sent us.
    fn client(&mut self, shard: usize, sent: Option<&str>) -> Option<&mut Client> {
        if self.clients[shard].is_none() {
            let found = || self.guide.primary(shard, self.connections[shard]);
            let address = sent.map(str::to_owned).or_else(found)?;
            self.connections[shard] += 1;
            self.clients[shard] = Client::try_connect_soon(&address, BARE_PATIENCE).ok();
        }
        self.clients[shard].as_mut()
    }
}

/// Errors after which a library looks for the primary again.
const ELSEWHERE: [&str; 6] =
    ["MOVED", "READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN"];

/// Where a MOVED or ASK says to go.
fn sent_to(reply: &Value) -> Option<String> {
    reply.error_text()?.split(' ').nth(2).map(str::to_owned)
}

/// Sends a command where an ASK says to, for this once.
fn ask(reply: &Value, args: &[&str]) -> Option<Value> {
    let mut client = Client::try_connect_soon(&sent_to(reply)?, BARE_PATIENCE).ok()?;
    client.try_call(&["ASKING"]).ok()?;
    let reply = client.try_call(args).ok()?;
    (!reply.is_error("TRYAGAIN")).then_some(reply)
}

impl Road for Bare {
    fn call(&mut self, shard: usize, args: &[&str]) -> Result<Value, Lost> {
        let mut last = Err(Lost::Unsent);
        let mut sent: Option<String> = None;
        for attempt in 0..TRIES {
            // Where a server says to go the library goes at once.
            if attempt > 0 && sent.is_none() {
                lab::pause(BETWEEN_TRIES);
            }
            let Some(client) = self.client(shard, sent.take().as_deref()) else { continue };
            match client.try_call(args) {
                Ok(reply) if reply.is_error("ASK") => {
                    if let Some(reply) = ask(&reply, args) {
                        return Ok(reply);
                    }
                    last = Ok(reply);
                }
                Ok(reply) if ELSEWHERE.iter().any(|code| reply.is_error(code)) => {
                    sent = reply.is_error("MOVED").then(|| sent_to(&reply)).flatten();
                    self.clients[shard] = None;
                    last = Ok(reply);
                }
                Ok(reply) => return Ok(reply),
                Err(error) => {
                    self.clients[shard] = None;
                    let lost = lost(&error);
                    self.closed += usize::from(lost == Lost::Closed);
                    last = Err(lost);
                }
            }
        }
        last
    }

    fn connection(&self, shard: usize) -> usize {
        self.connections[shard]
    }

    fn closed(&self) -> usize {
        self.closed
    }
}
