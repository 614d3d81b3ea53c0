//! What a worker drives: the engine, or in tests something smaller with the same handles.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::{Engine, Event, Output};
use crate::ids::{LinkId, SessionId, Time, WorkerId};
use crate::settings::Settings;

/// The engine's handles, as `Engine` documents them. The worker is generic over them, so a call
/// costs what a call of the engine's own method costs.
pub trait Machine {
    /// Something has happened.
    fn handle(&mut self, event: Event, now: Time);
    /// Where to read a client's bytes to; none if the machine doesn't know the session any more.
    fn session_space(&mut self, id: SessionId) -> Option<&mut [u8]>;
    /// Where to read a shard's bytes to; none if the machine doesn't know the link any more.
    fn link_space(&mut self, id: LinkId) -> Option<&mut [u8]>;
    /// What is to be written to a client.
    fn session_output(&self, id: SessionId) -> &[u8];
    /// What is to be written to a shard, in two pieces.
    fn link_output(&self, id: LinkId) -> [&[u8]; 2];
    /// What to do next.
    #[must_use]
    fn poll_output(&mut self) -> Option<Output>;
    /// When [`Event::Timer`] is due.
    fn next_timeout(&self) -> Option<Time>;
}

impl Machine for Engine {
    fn handle(&mut self, event: Event, now: Time) {
        self.handle(event, now);
    }
    fn session_space(&mut self, id: SessionId) -> Option<&mut [u8]> {
        self.session_space(id)
    }
    fn link_space(&mut self, id: LinkId) -> Option<&mut [u8]> {
        self.link_space(id)
    }
    fn session_output(&self, id: SessionId) -> &[u8] {
        self.session_output(id)
    }
    fn link_output(&self, id: LinkId) -> [&[u8]; 2] {
        self.link_output(id)
    }
    fn poll_output(&mut self) -> Option<Output> {
        self.poll_output()
    }
    fn next_timeout(&self) -> Option<Time> {
        self.next_timeout()
    }
}

/// Where a machine finds itself, when its worker starts.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its worker.
    pub worker: WorkerId,
    /// How many workers there are.
    pub workers: u16,
    /// The settings to begin with.
    pub settings: Arc<Settings>,
    /// Unix time at [`Time::ZERO`].
    pub wall: Duration,
}
