//! What a fake server does with each command: the few that clients send here, and all that Weir
//! asks.

use std::sync::OnceLock;

use weir::resp::Version;

use super::ledger::Effect;
use super::node::{Blocked, Role, What, stored};
use super::plan::Plant;
use super::redirect::keys_in;
use super::resp;
use super::transactions::{Transaction, is_step};
use super::wire::WireNo;
use super::world::{Happening, World};

/// The reply to COMMAND of a real server.
pub static WHOLE_TABLE: &[u8] = include_bytes!("../data/command-redis.resp");

/// The commands that clients send here.
const USED: &[&str] = &[
    "get", "set", "del", "mget", "mset", "incr", "append", "exists", "ping", "rpush", "lrange",
    "blpop", "blmove", "multi", "exec", "discard", "watch", "unwatch",
];

/// Commands that change data.
const WRITES: &[&str] =
    &["SET", "DEL", "MSET", "INCR", "APPEND", "FUNCTION", "RPUSH", "BLPOP", "BLMOVE"];

/// Commands that a server executes while it loads its data.
const ALWAYS: &[&str] = &[
    "INFO", "CLIENT", "AUTH", "COMMAND", "ECHO", "HELLO", "SELECT", "MULTI", "EXEC", "DISCARD",
    "WATCH", "UNWATCH",
];

/// The entries of the recorded reply that are used here: parsing all of it in every world costs
/// more than all the rest.
pub fn small_table() -> &'static [u8] {
    static TABLE: OnceLock<Vec<u8>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let begin = WHOLE_TABLE.windows(2).position(|pair| pair == b"\r\n").expect("a header") + 2;
        let (mut at, mut count, mut entries) = (begin, 0, Vec::new());
        while at < WHOLE_TABLE.len() {
            let (_, len) = resp::read_reply(&WHOLE_TABLE[at..]).expect("RESP").expect("whole");
            let entry = &WHOLE_TABLE[at..at + len];
            at += len;
            let head = String::from_utf8_lossy(&entry[..entry.len().min(32)]).into_owned();
            if USED.iter().any(|name| head.contains(&format!("\r\n{name}\r\n"))) {
                entries.extend_from_slice(entry);
                count += 1;
            }
        }
        assert_eq!(count, USED.len(), "every command is in the recorded reply");
        let mut table = format!("*{count}\r\n").into_bytes();
        table.extend(entries);
        table
    })
}

const OK: &[u8] = b"+OK\r\n";

/// What a server says of a database that it doesn't have.
pub const DB_OUT_OF_RANGE: &str = "ERR DB index is out of range";

impl World {
    /// Executes one command and answers it.
    pub fn execute(&mut self, node: usize, wire: WireNo, request: &[Vec<u8>]) {
        self.execute_late(node, wire);
        let reply = match self.is_late(node, wire, request) {
            true => OK.to_vec(),
            false => self.run(node, wire, request),
        };
        let id = self.nodes[node].conns.get(&wire).map_or(0, |conn| conn.id);
        let (asked, replied) = (show(request), show_reply(&reply));
        self.line(|| format!("node {node} conn {id}: {asked} -> {replied}"));
        let reply = self.swapped(node, wire, request, reply);
        self.reply(wire, &reply);
        self.serve_popping(node);
    }

    fn run(&mut self, node: usize, wire: WireNo, request: &[Vec<u8>]) -> Vec<u8> {
        let name = String::from_utf8_lossy(&request[0]).to_ascii_uppercase();
        let transaction = &self.nodes[node].conns[&wire].transaction;
        let names = match name.as_str() {
            "EXEC" => transaction.queued().iter().map(|queued| &queued[0]).collect(),
            _ => vec![&request[0]],
        };
        let names =
            names.into_iter().map(|name| String::from_utf8_lossy(name).to_ascii_uppercase());
        let refusal = names.filter_map(|name| self.refusal(node, &name)).next();
        if let Some(text) = self.redirection(node, wire, &name, request) {
            if let Some(conn) = self.nodes[node].conns.get_mut(&wire) {
                match name.as_str() {
                    "EXEC" => conn.transaction = Transaction::default(),
                    _ => conn.transaction.abort(),
                }
            }
            return format!("-{text}\r\n").into_bytes();
        }
        let transaction = self.nodes[node].conns.get_mut(&wire).map(|conn| &mut conn.transaction);
        let Some(transaction) = transaction else {
            return Vec::new();
        };
        match refusal {
            Some(text) if name == "EXEC" => {
                *transaction = Transaction::default();
                format!("-EXECABORT Transaction discarded because of: {text}\r\n").into_bytes()
            }
            Some(text) => {
                transaction.abort();
                format!("-{text}\r\n").into_bytes()
            }
            None if is_step(&name) => self.step(node, wire, &name, request),
            None if transaction.is_open() => {
                transaction.queue(request);
                b"+QUEUED\r\n".to_vec()
            }
            None => self.perform(node, wire, &name, request),
        }
    }

    /// What a server says of a command that it can't execute as it is now.
    fn refusal(&self, node: usize, name: &str) -> Option<&'static str> {
        let server = &self.nodes[node];
        let writes = WRITES.contains(&name);
        if self.now < server.loading_until && !ALWAYS.contains(&name) {
            Some("LOADING Redis is loading the dataset in memory")
        } else if writes && server.role == Role::Replica {
            Some("READONLY You can't write against a read only replica.")
        } else if writes && server.oom && !["DEL", "BLPOP"].contains(&name) {
            Some("OOM command not allowed when used memory > 'maxmemory'.")
        } else {
            None
        }
    }

    /// Executes one command, by itself or as a part of a transaction.
    pub fn perform(
        &mut self,
        node: usize,
        wire: WireNo,
        name: &str,
        request: &[Vec<u8>],
    ) -> Vec<u8> {
        match name {
            "INFO" => self.info(node, wire),
            "HELLO" => self.hello(node, wire, request),
            "SELECT" => self.select(node, wire, request),
            "COMMAND" if self.plan.whole_command_table => WHOLE_TABLE.to_vec(),
            "COMMAND" => small_table().to_vec(),
            "CLIENT" => self.client_subcommand(node, wire, request),
            "SPUBLISH" => self.spublish(node, wire),
            "FUNCTION" => {
                let moved =
                    self.plan.plant != Some(Plant::SkippedBarrier) && self.feed_empty_write(node);
                self.note_offset(node, wire, moved);
                OK.to_vec()
            }
            "WAIT" | "WAITAOF" => self.wait_command(node, wire, name, request),
            "AUTH" => OK.to_vec(),
            "PING" => b"+PONG\r\n".to_vec(),
            "TIME" => b"*2\r\n$10\r\n1700000000\r\n$1\r\n0\r\n".to_vec(),
            "ECHO" => {
                let mut reply = Vec::new();
                resp::bulk(&mut reply, &request[1]);
                reply
            }
            "UNWATCH" => self.unwatch(node, wire),
            "CLUSTER" => self.cluster_nodes(node),
            "ASKING" | "READONLY" => {
                if let Some(conn) = self.nodes[node].conns.get_mut(&wire) {
                    conn.asking |= name == "ASKING";
                    conn.readonly |= name == "READONLY";
                }
                OK.to_vec()
            }
            _ => self.data_command(node, wire, name, request),
        }
    }

    fn hello(&mut self, node: usize, wire: WireNo, request: &[Vec<u8>]) -> Vec<u8> {
        let Some(conn) = self.nodes[node].conns.get_mut(&wire) else {
            return Vec::new();
        };
        match request.get(1).map(Vec::as_slice) {
            Some(b"3") => conn.resp = Version::Resp3,
            Some(_) => conn.resp = Version::Resp2,
            None => {}
        }
        let header: &[u8] = match conn.resp {
            Version::Resp2 => b"*2\r\n",
            Version::Resp3 => b"%1\r\n",
        };
        [header, b"$6\r\nserver\r\n$5\r\nredis\r\n"].concat()
    }

    fn select(&mut self, node: usize, wire: WireNo, request: &[Vec<u8>]) -> Vec<u8> {
        if request.len() != 2 {
            return b"-ERR wrong number of arguments for 'select' command\r\n".to_vec();
        }
        let db: usize = String::from_utf8_lossy(&request[1]).parse().expect("a number");
        if db >= self.plan.databases {
            return format!("-{DB_OUT_OF_RANGE}\r\n").into_bytes();
        }
        if let Some(conn) = self.nodes[node].conns.get_mut(&wire) {
            conn.db = db;
        }
        OK.to_vec()
    }

    /// The connection's own offset follows the server's where its command has moved that.
    pub fn note_offset(&mut self, node: usize, wire: WireNo, moved: bool) {
        let offset = self.nodes[node].offset;
        if let (true, Some(conn)) = (moved, self.nodes[node].conns.get_mut(&wire)) {
            conn.woff = offset;
        }
    }

    fn spublish(&mut self, node: usize, wire: WireNo) -> Vec<u8> {
        let server = &self.nodes[node];
        let moves = server.role == Role::Primary && server.backlog && !self.plan.cluster;
        match self.plan.plant {
            Some(Plant::SkippedBarrier) => {}
            Some(Plant::EarlyMark) if moves => {
                // The offset of a while ago: as if the barrier had left before the writes.
                // After a restart offsets begin anew.
                let shard = self.nodes[node].shard;
                let before = self.shards[shard].barrier_before.min(self.nodes[node].offset);
                self.feed(node, What::Barrier, 31);
                self.shards[shard].barrier_before = self.nodes[node].offset;
                if let Some(conn) = self.nodes[node].conns.get_mut(&wire) {
                    conn.woff = before;
                }
            }
            _ => {
                let moved = moves && self.feed(node, What::Barrier, 31);
                self.note_offset(node, wire, moved);
            }
        }
        b":0\r\n".to_vec()
    }

    fn client_subcommand(&mut self, node: usize, wire: WireNo, request: &[Vec<u8>]) -> Vec<u8> {
        let sub = String::from_utf8_lossy(&request[1]).to_ascii_uppercase();
        let mut reply = Vec::new();
        match sub.as_str() {
            "ID" => resp::int(&mut reply, self.nodes[node].conns[&wire].id),
            "UNBLOCK" => {
                let id: i64 = String::from_utf8_lossy(&request[2]).parse().expect("an id");
                let conns = self.nodes[node].conns.iter();
                let target = conns.filter(|(_, conn)| conn.id == id).map(|(&wire, _)| wire).next();
                let error = request.get(3).is_some_and(|how| how == b"ERROR");
                let done = target.is_some_and(|target| {
                    self.unblock(node, target) || self.unblock_popping(node, target, error)
                });
                resp::int(&mut reply, i64::from(done));
            }
            _ => reply.extend_from_slice(OK),
        }
        reply
    }

    fn wait_command(
        &mut self,
        node: usize,
        wire: WireNo,
        name: &str,
        request: &[Vec<u8>],
    ) -> Vec<u8> {
        if self.nodes[node].role == Role::Replica {
            return format!(
                "-ERR {name} cannot be used with replica instances. Please also note that writes \
                 to replicas are just local and are not propagated.\r\n"
            )
            .into_bytes();
        }
        let number =
            |at: usize| -> i64 { String::from_utf8_lossy(&request[at]).parse().expect("a number") };
        let blocked = if name == "WAIT" {
            assert_eq!(number(2), 0, "deadlines live in the proxy");
            Blocked::Wait { replicas: number(1) }
        } else {
            assert_eq!(number(3), 0, "deadlines live in the proxy");
            Blocked::WaitAof { local: number(1), replicas: number(2) }
        };
        if matches!(blocked, Blocked::WaitAof { local: 1, .. }) && self.nodes[node].aof.is_none() {
            return b"-ERR WAITAOF cannot be used when numlocal is set but appendonly is \
                disabled.\r\n"
                .to_vec();
        }
        let woff = self.nodes[node].conns[&wire].woff;
        let (local, replicas) = self.acknowledged(node, woff, blocked);
        let content = match blocked {
            Blocked::Wait { replicas: least } => replicas >= least,
            Blocked::WaitAof { local: own, replicas: least } => local >= own && replicas >= least,
        };
        if content {
            return self.count_reply(node, woff, blocked);
        }
        if let Some(conn) = self.nodes[node].conns.get_mut(&wire) {
            conn.blocked = Some(blocked);
        }
        self.nodes[node].asking = true;
        Vec::new()
    }

    /// The keys of a command as they are stored; all must be of this server's shard.
    fn stored_keys(
        &mut self,
        node: usize,
        db: usize,
        name: &str,
        request: &[Vec<u8>],
    ) -> Vec<Vec<u8>> {
        let keys = keys_in(name, request);
        for key in &keys {
            let right = resp::shard_of(key, self.plan.shards);
            if right != self.nodes[node].shard && !self.is_cluster() {
                let key = String::from_utf8_lossy(key);
                self.violation(format!("{name} {key}: sent to the wrong shard, not {right}"));
            }
        }
        keys.into_iter().map(|key| stored(key, db)).collect()
    }

    fn data_command(
        &mut self,
        node: usize,
        wire: WireNo,
        name: &str,
        request: &[Vec<u8>],
    ) -> Vec<u8> {
        let (mut reply, mut moved) = (Vec::new(), false);
        let conn = &self.nodes[node].conns[&wire];
        let (version, db) = (conn.resp, conn.db);
        let keys = self.stored_keys(node, db, name, request);
        match name {
            "SET" => {
                moved = self.write(node, wire, &keys[0], Effect::Set(request[2].clone()));
                reply.extend_from_slice(OK);
            }
            "MSET" => {
                for (key, value) in keys.iter().zip(request[2..].iter().step_by(2)) {
                    moved |= self.write(node, wire, key, Effect::Set(value.clone()));
                }
                reply.extend_from_slice(OK);
            }
            "DEL" => {
                let mut count = 0;
                for key in &keys {
                    if self.nodes[node].data.contains_key(key) {
                        moved |= self.write(node, wire, key, Effect::Del);
                        count += 1;
                    }
                }
                resp::int(&mut reply, count);
            }
            "EXISTS" => {
                let data = &self.nodes[node].data;
                let count = keys.iter().filter(|key| data.contains_key(*key)).count();
                resp::int(&mut reply, count as i64);
            }
            "GET" => resp::value(&mut reply, version, self.nodes[node].data.get(&keys[0])),
            "MGET" => {
                reply.extend_from_slice(format!("*{}\r\n", keys.len()).as_bytes());
                for key in &keys {
                    resp::value(&mut reply, version, self.nodes[node].data.get(key));
                }
            }
            "INCR" => {
                let now = self.nodes[node].data.get(&keys[0]);
                let text = now.map(|now| String::from_utf8_lossy(now).into_owned());
                let next = text.map_or(0, |text| text.parse::<i64>().expect("a counter")) + 1;
                moved =
                    self.write(node, wire, &keys[0], Effect::Set(next.to_string().into_bytes()));
                resp::int(&mut reply, next);
            }
            "APPEND" => {
                let mut value = self.nodes[node].data.get(&keys[0]).cloned().unwrap_or_default();
                value.extend_from_slice(&request[2]);
                let len = value.len() as i64;
                moved = self.write(node, wire, &keys[0], Effect::Set(value));
                resp::int(&mut reply, len);
            }
            "RPUSH" => return self.push(node, wire, &keys[0], &request[2]),
            "LRANGE" => return self.range(node, &keys[0]),
            "BLPOP" | "BLMOVE" => return self.pop_command(node, wire, name, request),
            _ => self.violation(format!("{name}: no client sends this, so why does Weir")),
        }
        self.note_offset(node, wire, moved);
        reply
    }

    /// INFO, with the fields that Weir needs and a few that it passes over.
    fn info(&self, node: usize, wire: WireNo) -> Vec<u8> {
        let server = &self.nodes[node];
        let (mut run_id, mut replid, mut role) =
            (server.run_id.clone(), server.replid.clone(), server.role);
        if self.plan.plant == Some(Plant::OldHistory) {
            let shard = &self.shards[server.shard];
            (run_id, replid, role) =
                (shard.first_run.clone(), shard.first_id.clone(), Role::Primary);
        }
        let (replid2, second) = match &server.replid2 {
            Some((id, _)) if self.plan.plant == Some(Plant::FalseProof) => {
                (id.clone(), i64::MAX.to_string())
            }
            Some((id, second)) => (id.clone(), second.to_string()),
            None => ("0".repeat(40), "-1".to_owned()),
        };
        let mut text = format!(
            "# Server\r\nredis_version:8.0.6\r\nrun_id:{run_id}\r\n\r\n# Persistence\r\n\
             loading:{}\r\naof_enabled:{}\r\n\r\n# Replication\r\nrole:{}\r\n",
            u8::from(self.now < server.loading_until),
            u8::from(server.aof.is_some()),
            if role == Role::Primary { "master" } else { "slave" },
        );
        let replicas = self.replicas_of(node);
        text.push_str(&format!("connected_slaves:{}\r\n", replicas.len()));
        for (place, (number, online, ack)) in replicas.iter().enumerate() {
            let state = if *online { "online" } else { "wait_bgsave" };
            text.push_str(&format!(
                "slave{place}:ip=10.0.0.{number},port=6379,state={state},offset={ack},lag=0\r\n"
            ));
        }
        text.push_str(&format!(
            "master_replid:{replid}\r\nmaster_replid2:{replid2}\r\nmaster_repl_offset:{}\r\n\
             second_repl_offset:{second}\r\nrepl_backlog_active:{}\r\n\r\n# Cluster\r\n\
             cluster_enabled:{}\r\n",
            server.offset,
            u8::from(server.backlog),
            u8::from(self.plan.cluster),
        ));
        let mut reply = Vec::new();
        resp::text(&mut reply, server.conns[&wire].resp, text.as_bytes());
        reply
    }

    /// Keeps a write for later, where that is planted.
    fn is_late(&mut self, node: usize, wire: WireNo, request: &[Vec<u8>]) -> bool {
        let open = self.nodes[node].conns[&wire].transaction.is_open();
        let late = self.plan.plant == Some(Plant::Overtaken)
            && request[0] == b"SET"
            && !open
            && self.refusal(node, "SET").is_none()
            && self.rng.one_in(10);
        if late {
            self.late.insert(wire, request.to_vec());
            let life = self.nodes[node].life;
            self.agenda.add(self.now + 50_000, Happening::Late { node, life, wire });
        }
        late
    }

    /// Executes what was kept for later.
    pub fn execute_late(&mut self, node: usize, wire: WireNo) {
        if let Some(request) = self.late.remove(&wire)
            && self.nodes[node].conns.contains_key(&wire)
        {
            self.run(node, wire, &request);
        }
    }

    /// Holds a data reply back until the next one has left, where that is planted.
    fn swapped(
        &mut self,
        node: usize,
        wire: WireNo,
        request: &[Vec<u8>],
        mut reply: Vec<u8>,
    ) -> Vec<u8> {
        let data = matches!(request[0].to_ascii_uppercase().as_slice(), b"GET" | b"MGET" | b"SET");
        if let Some(held) = self.held_reply.remove(&wire) {
            reply.extend(held);
        } else if self.plan.plant == Some(Plant::SwappedReplies) && data && self.rng.one_in(20) {
            self.held_reply.insert(wire, reply);
            let life = self.nodes[node].life;
            self.agenda.add(self.now + 50_000, Happening::Unswap { node, life, wire });
            return Vec::new();
        }
        reply
    }
}

fn show(request: &[Vec<u8>]) -> String {
    let args = request.iter().map(|arg| String::from_utf8_lossy(&arg[..arg.len().min(24)]));
    args.collect::<Vec<_>>().join(" ")
}

fn show_reply(reply: &[u8]) -> String {
    if reply.is_empty() {
        return "(blocked)".to_owned();
    }
    String::from_utf8_lossy(&reply[..reply.len().min(40)]).replace("\r\n", " ")
}
