//! Lists on a fake server, and who waits for their elements.
//!
//! A list is a value like any other, its elements joined by commas, so that the ledger, the log and
//! the replicas need not know.

use super::client::{owner_of, writer_of};
use super::ledger::Effect;
use super::node::stored;
use super::resp;
use super::transactions::null_array;
use super::wire::WireNo;
use super::world::{Happening, World};

/// What a connection waits for that waits for elements.
#[derive(Debug, Clone)]
pub struct Popping {
    /// Who has come first is served first.
    serial: u64,
    /// The lists, as the client calls them and as they are stored.
    from: Vec<(Vec<u8>, Vec<u8>)>,
    /// BLMOVE: where the element goes.
    to: Option<Vec<u8>>,
}

impl Popping {
    /// The first list, as it is stored.
    pub fn first(&self) -> Option<&Vec<u8>> {
        self.from.first().map(|(_, stored)| stored)
    }
}

/// The elements of a list.
pub fn elements(value: Option<&[u8]>) -> Vec<Vec<u8>> {
    let all = value.unwrap_or_default().split(|&byte| byte == b',');
    all.filter(|element| !element.is_empty()).map(<[u8]>::to_vec).collect()
}

/// The value that a list of these elements is.
pub fn joined(elements: &[Vec<u8>]) -> Option<Vec<u8>> {
    (!elements.is_empty()).then(|| elements.join(&b','))
}

impl World {
    fn list(&self, node: usize, key: &[u8]) -> Vec<Vec<u8>> {
        elements(self.nodes[node].data.get(key).map(Vec::as_slice))
    }

    fn set_list(&mut self, node: usize, wire: WireNo, owner: usize, key: &[u8], to: &[Vec<u8>]) {
        let effect = joined(to).map_or(Effect::Del, Effect::Set);
        let moved = self.write_by(node, wire, owner, key, effect);
        self.note_offset(node, wire, moved);
    }

    /// RPUSH of one element.
    pub fn push(&mut self, node: usize, wire: WireNo, key: &[u8], element: &[u8]) -> Vec<u8> {
        let owner = writer_of(element).unwrap_or_else(|| owner_of(key));
        self.must_not_be_denied(element);
        let mut list = self.list(node, key);
        list.push(element.to_vec());
        self.set_list(node, wire, owner, key, &list);
        let mut reply = Vec::new();
        resp::int(&mut reply, list.len() as i64);
        reply
    }

    /// LRANGE of all.
    pub fn range(&self, node: usize, key: &[u8]) -> Vec<u8> {
        resp::request(&self.list(node, key))
    }

    /// BLPOP and BLMOVE: the reply, or nothing if the connection waits now.
    pub fn pop_command(
        &mut self,
        node: usize,
        wire: WireNo,
        name: &str,
        request: &[Vec<u8>],
    ) -> Vec<u8> {
        let conn = &self.nodes[node].conns[&wire];
        let (db, version, executing) = (conn.db, conn.resp, conn.transaction.executing);
        let (keys, to) = match name {
            "BLMOVE" => (&request[1..2], Some(stored(&request[2], db))),
            _ => (&request[1..request.len() - 1], None),
        };
        let from = keys.iter().map(|key| (key.clone(), stored(key, db))).collect();
        self.pops += 1;
        let popping = Popping { serial: self.pops, from, to };
        if let Some(reply) = self.pop(node, wire, &popping) {
            return reply;
        }
        if executing {
            return null_array(version).to_vec();
        }
        let seconds = String::from_utf8_lossy(&request[request.len() - 1]).into_owned();
        let seconds: f64 = seconds.parse().expect("a time-out");
        assert!(seconds > 0.0, "no client waits for ever here");
        let until = self.now + (seconds * 1e6) as u64;
        let (life, serial) = (self.nodes[node].life, popping.serial);
        if let Some(conn) = self.nodes[node].conns.get_mut(&wire) {
            conn.popping = Some(popping);
        }
        self.agenda.add(until, Happening::PopsNoMore { node, life, wire, serial });
        Vec::new()
    }

    /// Takes the first element of the first list that has one, and tells of it.
    fn pop(&mut self, node: usize, wire: WireNo, popping: &Popping) -> Option<Vec<u8>> {
        let full = |(_, key): &&(Vec<u8>, Vec<u8>)| !self.list(node, key).is_empty();
        let (name, key) = popping.from.iter().find(full)?.clone();
        let owner = owner_of(&key);
        let mut list = self.list(node, &key);
        let element = list.remove(0);
        self.set_list(node, wire, owner, &key, &list);
        let mut reply = Vec::new();
        if let Some(to) = &popping.to {
            let mut list = self.list(node, to);
            list.push(element.clone());
            self.set_list(node, wire, owner, to, &list);
            resp::bulk(&mut reply, &element);
        } else {
            reply = resp::request(&[name, element]);
        }
        Some(reply)
    }

    /// Gives elements to those who wait for them, in the order in which they came.
    pub fn serve_popping(&mut self, node: usize) {
        loop {
            let conns = self.nodes[node].conns.iter();
            let mut waiting: Vec<(WireNo, Popping)> = conns
                .filter(|(_, conn)| !conn.gone)
                .filter_map(|(&wire, conn)| Some((wire, conn.popping.clone()?)))
                .collect();
            waiting.sort_by_key(|(_, popping)| popping.serial);
            let served = waiting.into_iter().find_map(|(wire, popping)| {
                self.pop(node, wire, &popping).map(|reply| (wire, reply))
            });
            let Some((wire, reply)) = served else {
                return;
            };
            self.stop_popping(node, wire, &reply);
        }
    }

    /// A connection that waits for elements is answered. Returns whether it did.
    pub fn stop_popping(&mut self, node: usize, wire: WireNo, reply: &[u8]) -> bool {
        let conn = self.nodes[node].conns.get_mut(&wire);
        let waited = conn.is_some_and(|conn| conn.popping.take().is_some());
        if waited {
            self.line(|| {
                let reply = String::from_utf8_lossy(reply).replace("\r\n", " ");
                format!("node {node}: a connection that waited is told {reply}")
            });
            self.reply(wire, reply);
        }
        waited
    }

    /// As CLIENT UNBLOCK has it.
    pub fn unblock_popping(&mut self, node: usize, wire: WireNo, error: bool) -> bool {
        let version = self.nodes[node].conns[&wire].resp;
        let reply: &[u8] = match error {
            true => b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n",
            false => null_array(version),
        };
        self.stop_popping(node, wire, reply)
    }

    /// The time of a command that waits is up.
    pub fn pops_no_more(&mut self, node: usize, life: u64, wire: WireNo, serial: u64) {
        if self.nodes[node].life != life {
            return;
        }
        if self.nodes[node].stopped {
            let later = self.now + 10_000;
            return self.agenda.add(later, Happening::PopsNoMore { node, life, wire, serial });
        }
        let conn = self.nodes[node].conns.get(&wire);
        let popping = conn.and_then(|conn| conn.popping.as_ref());
        if popping.is_some_and(|popping| popping.serial == serial) {
            self.unblock_popping(node, wire, false);
            self.node_works(node);
        }
    }
}
