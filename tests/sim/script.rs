//! What clients ask that takes several requests: transactions, and commands that wait, between
//! ordinary ones and without waiting for any reply.
//!
//! ```text
//!   SET d .. | WATCH d | HELLO 3 | MULTI | SET d .. | INCR m | EXEC | GET d | BLPOP l .. | GET d
//!     shared   its own connection ------------------------->   shared  its own       shared
//! ```

use super::client::{Ask, Kind};
use super::world::World;

impl World {
    /// Writes a few requests that belong together.
    pub fn next_script(&mut self, client: usize, bytes: &mut Vec<u8>) {
        match self.rng.below(4) {
            0 => self.some_pops(client, bytes),
            1 => {
                self.some_transaction(client, bytes);
                self.some_pops(client, bytes);
            }
            _ => self.some_transaction(client, bytes),
        }
        self.ask_plain(client, bytes);
    }

    /// A key whose slot all keys of a client's transactions have.
    fn tagged(&mut self, client: usize, kind: Kind) -> Vec<u8> {
        let letters: &[&str] = match kind {
            Kind::Plain => &["d", "e"],
            Kind::Counter => &["m"],
            Kind::Text => &["s"],
            Kind::List => &["l", "r"],
            Kind::Queue => &["q"],
        };
        format!("{{c{client}}}:{}", self.rng.pick(letters)).into_bytes()
    }

    /// A plain command about a key that transactions use too.
    fn plain(&mut self, client: usize) -> Ask {
        let key = self.tagged(client, Kind::Plain);
        match self.rng.below(9) {
            0..4 => Ask::Set { key, value: self.value(client) },
            4..6 => Ask::Get { keys: vec![key], many: false },
            6 => Ask::Get { keys: vec![key, self.tagged(client, Kind::Plain)], many: true },
            7 => Ask::Del { keys: vec![key] },
            _ => Ask::Incr { key: self.tagged(client, Kind::Counter) },
        }
    }

    fn ask_plain(&mut self, client: usize, bytes: &mut Vec<u8>) {
        let ask = self.plain(client);
        self.ask(client, ask, bytes);
    }

    fn some_transaction(&mut self, client: usize, bytes: &mut Vec<u8>) {
        if self.rng.percent(50) {
            self.ask_plain(client, bytes);
        }
        if self.rng.percent(50) {
            let keys = (0..self.rng.between(1, 2)).map(|_| self.tagged(client, Kind::Plain));
            let keys = keys.collect();
            self.ask(client, Ask::Watch { keys }, bytes);
            if self.rng.percent(30) {
                self.ask_plain(client, bytes);
            }
            if self.rng.one_in(10) {
                self.ask(client, Ask::Unwatch, bytes);
            }
        }
        if self.rng.percent(self.plan.moving_percent * 2) {
            let ask = self.some_move();
            self.ask(client, ask, bytes);
        }
        self.ask(client, Ask::Multi, bytes);
        for _ in 0..self.rng.below(5) {
            let ask = self.some_part(client);
            self.ask(client, Ask::Queued(Box::new(ask)), bytes);
        }
        let end = match self.rng.below(20) {
            0 | 1 => Ask::Discard,
            2 => Ask::Reset,
            _ => Ask::Exec,
        };
        self.ask(client, end, bytes);
    }

    /// One command of a transaction.
    fn some_part(&mut self, client: usize) -> Ask {
        match self.rng.below(24) {
            0 => Ask::Ping,
            1 => Ask::Echo(self.value(client)),
            2 => Ask::Id,
            3 => Ask::Wait { replicas: 1, timeout: 1_000 },
            4 => Ask::WaitAof { local: 0, replicas: 1, timeout: 1_000 },
            5 => self.some_pop(client),
            6 => self.some_push(client),
            7 => Ask::Range { key: self.tagged(client, Kind::List) },
            8 => Ask::Get { keys: vec![self.any_key(client)], many: false },
            9 if self.rng.one_in(3) => {
                let request = vec![b"GET".to_vec()];
                Ask::Wrong { request, error: "ERR wrong number of arguments for 'get' command" }
            }
            _ => self.plain(client),
        }
    }

    fn some_push(&mut self, client: usize) -> Ask {
        let key = self.tagged(client, Kind::List);
        self.clients[client].serial += 1;
        let element = format!("v{client}.{}", self.clients[client].serial).into_bytes();
        Ask::Push { key, element }
    }

    fn some_pop(&mut self, client: usize) -> Ask {
        // In milliseconds; some longer than a shard may be silent.
        let timeout = self.rng.pick(&[1, 10, 100, 1_500, 3_500]);
        let from = self.tagged(client, Kind::List);
        match self.rng.below(4) {
            0 => Ask::Move { from, to: self.tagged(client, Kind::List), timeout },
            1 => Ask::Pop { keys: vec![from, self.tagged(client, Kind::List)], timeout },
            _ => Ask::Pop { keys: vec![from], timeout },
        }
    }

    fn some_pops(&mut self, client: usize, bytes: &mut Vec<u8>) {
        for _ in 0..self.rng.below(3) {
            let ask = self.some_push(client);
            self.ask(client, ask, bytes);
        }
        let ask = match self.rng.below(3) {
            0 => {
                let timeout = self.rng.pick(&[10, 300, 2_000]);
                Ask::Pop { keys: vec![self.tagged(client, Kind::Queue)], timeout }
            }
            _ => self.some_pop(client),
        };
        self.ask(client, ask, bytes);
        self.ask_plain(client, bytes);
        // Something for whoever waits for it.
        let other = self.rng.index(self.clients.len());
        self.clients[client].serial += 1;
        let element = format!("v{client}.{}", self.clients[client].serial).into_bytes();
        let key = self.tagged(other, Kind::Queue);
        self.ask(client, Ask::Push { key, element }, bytes);
    }
}
