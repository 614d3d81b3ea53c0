//! Connections between an engine and its peers: bytes in flight, in order, cut wherever it hurts.
//!
//! ```text
//!   engine --write--> [ flying: (when, bytes) ... ] --arrive--> [ arrived ] --read--> client or node
//!   engine <--read--- [ arrived ] <--arrive-- [ flying ... ] <--write---
//! ```

use std::collections::VecDeque;

use weir::ids::{LinkId, SessionId};

use super::world::{Happening, World};

pub type WireNo = usize;

/// The engine's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    Session(SessionId),
    Link(LinkId),
}

/// The other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Far {
    Client(usize),
    Node(usize),
    Sentinel(usize),
}

/// A direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    ToEngine,
    ToFar,
}

/// What is in flight.
#[derive(Debug)]
enum Piece {
    Bytes(Vec<u8>),
    /// The sender sends no more.
    End,
    /// The connection is dead in both directions.
    Reset,
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub struct Lane {
    flying: VecDeque<(u64, Piece)>,
    last_at: u64,
    /// Bytes that the receiver's kernel has and that weren't read.
    pub arrived: Vec<u8>,
    /// Nothing follows what has arrived.
    pub ended: bool,
    /// The connection is gone; what has arrived may still be read.
    pub reset: bool,
}

impl Lane {
    fn len(&self) -> usize {
        let flying = self.flying.iter().map(|(_, piece)| match piece {
            Piece::Bytes(bytes) => bytes.len(),
            Piece::End | Piece::Reset => 0,
        });
        self.arrived.len() + flying.sum::<usize>()
    }
}

/// One connection.
#[derive(Debug)]
pub struct Wire {
    pub worker: usize,
    pub who: Who,
    pub far: Far,
    pub to_engine: Lane,
    pub to_far: Lane,
    /// What the kernels hold in one direction before a writer gets a short write.
    pub room: usize,
    /// The far end has closed, or was closed.
    pub dead: bool,
}

impl Wire {
    pub fn new(worker: usize, who: Who, far: Far, room: usize) -> Self {
        let (to_engine, to_far) = (Lane::default(), Lane::default());
        Self { worker, who, far, to_engine, to_far, room, dead: false }
    }

    pub fn lane(&mut self, way: Way) -> &mut Lane {
        match way {
            Way::ToEngine => &mut self.to_engine,
            Way::ToFar => &mut self.to_far,
        }
    }

    /// How much the engine may write now.
    pub fn room_left(&self) -> usize {
        self.room.saturating_sub(self.to_far.len())
    }
}

impl World {
    /// Sends bytes, in pieces that arrive in order, each in its own time.
    pub fn send(&mut self, wire: WireNo, way: Way, mut bytes: &[u8]) {
        if self.wires[wire].dead {
            return;
        }
        while !bytes.is_empty() {
            let take = if bytes.len() > 1 && self.rng.percent(self.plan.splitting) {
                1 + self.rng.index(bytes.len())
            } else {
                bytes.len()
            };
            self.fly(wire, way, Piece::Bytes(bytes[..take].to_vec()));
            bytes = &bytes[take..];
        }
    }

    /// Tells the other side that nothing follows.
    pub fn send_end(&mut self, wire: WireNo, way: Way) {
        self.fly(wire, way, Piece::End);
    }

    fn fly(&mut self, wire: WireNo, way: Way, piece: Piece) {
        let at = self.now + self.latency();
        let lane = self.wires[wire].lane(way);
        lane.last_at = lane.last_at.max(at);
        let at = lane.last_at;
        lane.flying.push_back((at, piece));
        self.agenda.add(at, Happening::Arrive { wire, way });
    }

    /// How long something is under way.
    pub fn latency(&mut self) -> u64 {
        let usual = self.rng.between(20, self.plan.latency_max);
        if self.plan.stalls && self.rng.one_in(200) && !self.healed {
            return usual + self.rng.between(1_000, super::plan::STALL_MAX);
        }
        usual
    }

    /// What was due has arrived.
    pub fn arrive(&mut self, wire: WireNo, way: Way) {
        let now = self.now;
        let lane = self.wires[wire].lane(way);
        while lane.flying.front().is_some_and(|(at, _)| *at <= now) {
            match lane.flying.pop_front() {
                Some((_, Piece::Bytes(bytes))) => lane.arrived.extend_from_slice(&bytes),
                Some((_, Piece::End)) => lane.ended = true,
                Some((_, Piece::Reset)) => {
                    lane.ended = true;
                    lane.reset = true;
                }
                None => {}
            }
        }
        self.tell_receiver(wire, way);
    }

    fn tell_receiver(&mut self, wire: WireNo, way: Way) {
        let Wire { worker, who, far, .. } = self.wires[wire];
        match (way, far) {
            (Way::ToEngine, _) => self.wake_worker(worker, super::worker::Input::Ready(who)),
            (Way::ToFar, Far::Client(client)) => self.client_readable(client, wire),
            (Way::ToFar, Far::Node(node)) => self.node_readable(node, wire),
            (Way::ToFar, Far::Sentinel(sentinel)) => self.sentinel_readable(sentinel, wire),
        }
    }

    /// The connection dies now: of what is in flight, a part of each direction still arrives, cut
    /// at any byte; the engine notices after it has read that.
    pub fn cut(&mut self, wire: WireNo) {
        if self.wires[wire].dead {
            return;
        }
        for way in [Way::ToFar, Way::ToEngine] {
            let mut bytes = Vec::new();
            for (_, piece) in std::mem::take(&mut self.wires[wire].lane(way).flying) {
                if let Piece::Bytes(more) = piece {
                    bytes.extend(more);
                }
            }
            let part = self.rng.index(bytes.len() + 1);
            self.wires[wire].lane(way).arrived.extend_from_slice(&bytes[..part]);
        }
        // What the other side's kernel has, its process reads; its replies go nowhere.
        self.wires[wire].dead = true;
        self.tell_receiver(wire, Way::ToFar);
        self.fly(wire, Way::ToEngine, Piece::Reset);
        self.lay_dead(wire);
    }

    /// The far end closes: what it has sent still arrives.
    pub fn far_closes(&mut self, wire: WireNo) {
        if !self.wires[wire].dead {
            self.fly(wire, Way::ToEngine, Piece::End);
            self.lay_dead(wire);
        }
    }

    /// The engine closes: what it has sent still arrives, or a part of it.
    pub fn engine_closes(&mut self, wire: WireNo) {
        if self.wires[wire].dead {
            return;
        }
        let mut bytes = Vec::new();
        for (_, piece) in std::mem::take(&mut self.wires[wire].to_far.flying) {
            if let Piece::Bytes(more) = piece {
                bytes.extend(more);
            }
        }
        let part = if self.rng.percent(50) { bytes.len() } else { self.rng.index(bytes.len() + 1) };
        self.wires[wire].to_far.arrived.extend_from_slice(&bytes[..part]);
        self.wires[wire].dead = true;
        self.tell_receiver(wire, Way::ToFar);
        self.lay_dead(wire);
    }

    fn lay_dead(&mut self, wire: WireNo) {
        self.wires[wire].dead = true;
        match self.wires[wire].far {
            Far::Node(node) => self.node_disconnected(node, wire),
            Far::Client(client) => self.client_disconnected(client, wire),
            Far::Sentinel(sentinel) => self.sentinel_disconnected(sentinel, wire),
        }
    }
}
