//! MULTI and WATCH as a fake server has them: all of it belongs to a connection.

use weir::resp::Version;

use super::node::{Conn, Node, stored};
use super::wire::WireNo;
use super::world::World;

/// What a connection has between WATCH or MULTI and EXEC.
#[derive(Debug, Default)]
pub struct Transaction {
    /// What was queued since MULTI; none before it.
    queue: Option<Vec<Vec<Vec<u8>>>>,
    /// A command was refused since MULTI.
    aborted: bool,
    /// By stored name.
    watched: Vec<Vec<u8>>,
    /// A watched key was changed.
    changed: bool,
    /// EXEC runs: nothing blocks.
    pub executing: bool,
}

impl Transaction {
    pub fn is_open(&self) -> bool {
        self.queue.is_some()
    }

    /// A command was refused before it could be queued.
    pub fn abort(&mut self) {
        self.aborted |= self.is_open();
    }

    /// What EXEC would run.
    pub fn queued(&self) -> &[Vec<Vec<u8>>] {
        self.queue.as_deref().unwrap_or_default()
    }

    pub fn queue(&mut self, request: &[Vec<u8>]) {
        if let Some(queue) = &mut self.queue {
            queue.push(request.to_vec());
        }
    }
}

impl Node {
    /// A key has got another value.
    pub fn touch_watched(&mut self, key: &[u8]) {
        for conn in self.conns.values_mut() {
            let transaction = &mut conn.transaction;
            transaction.changed |= transaction.watched.iter().any(|watched| watched == key);
        }
    }

    /// All data was replaced. Source: redis `multi.c`, `touchAllWatchedKeysInDb`.
    pub fn touch_all_watched(&mut self, there: impl Fn(&[u8]) -> bool) {
        for conn in self.conns.values_mut() {
            let transaction = &mut conn.transaction;
            transaction.changed |= transaction.watched.iter().any(|key| there(key));
        }
    }
}

/// Whether the command is one that is never queued.
pub fn is_step(name: &str) -> bool {
    ["MULTI", "EXEC", "DISCARD", "WATCH"].contains(&name)
}

impl World {
    fn conn(&mut self, node: usize, wire: WireNo) -> &mut Conn {
        self.nodes[node].conns.get_mut(&wire).expect("its command is executed")
    }

    /// MULTI, EXEC, DISCARD, WATCH.
    pub fn step(&mut self, node: usize, wire: WireNo, name: &str, request: &[Vec<u8>]) -> Vec<u8> {
        let conn = self.conn(node, wire);
        let (transaction, db) = (&mut conn.transaction, conn.db);
        let text: &[u8] = match (name, transaction.is_open()) {
            ("MULTI", true) => b"-ERR MULTI calls can not be nested\r\n",
            ("MULTI", false) => {
                transaction.queue = Some(Vec::new());
                transaction.aborted = false;
                b"+OK\r\n"
            }
            ("DISCARD", false) => b"-ERR DISCARD without MULTI\r\n",
            ("DISCARD", true) => {
                *transaction = Transaction::default();
                b"+OK\r\n"
            }
            ("WATCH", true) => b"-ERR WATCH inside MULTI is not allowed\r\n",
            ("WATCH", false) => {
                transaction.watched.extend(request[1..].iter().map(|key| stored(key, db)));
                b"+OK\r\n"
            }
            (_, false) => b"-ERR EXEC without MULTI\r\n",
            (_, true) => return self.exec(node, wire),
        };
        text.to_vec()
    }

    fn exec(&mut self, node: usize, wire: WireNo) -> Vec<u8> {
        let conn = self.conn(node, wire);
        let version = conn.resp;
        let transaction = std::mem::take(&mut conn.transaction);
        if transaction.aborted {
            return b"-EXECABORT Transaction discarded because of previous errors.\r\n".to_vec();
        }
        if transaction.changed {
            return null_array(version).to_vec();
        }
        conn.transaction.executing = true;
        let queue = transaction.queue.unwrap_or_default();
        let mut reply = format!("*{}\r\n", queue.len()).into_bytes();
        for request in queue {
            let name = String::from_utf8_lossy(&request[0]).to_ascii_uppercase();
            reply.extend(self.perform(node, wire, &name, &request));
        }
        self.conn(node, wire).transaction.executing = false;
        reply
    }

    pub fn unwatch(&mut self, node: usize, wire: WireNo) -> Vec<u8> {
        let transaction = &mut self.conn(node, wire).transaction;
        transaction.watched.clear();
        transaction.changed = false;
        b"+OK\r\n".to_vec()
    }
}

/// Nothing, in place of an array.
pub fn null_array(version: Version) -> &'static [u8] {
    match version {
        Version::Resp2 => b"*-1\r\n",
        Version::Resp3 => b"_\r\n",
    }
}
