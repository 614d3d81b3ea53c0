//! One shard as one engine sees it: its links, its history, its acknowledgements.

use std::collections::VecDeque;

use crate::acks::ShardAcks;
use crate::ids::{LaneId, LinkId, Mirror, SessionId, ShardId, Time};
use crate::settings::Settings;
use crate::shards::Address;
use crate::topology::{History, Report};

use super::lanes::LaneLinks;
use super::readers::Readers;
use super::users::Doors;

/// How we stand with a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// Weir is about to connect, for the first time or after a loss.
    Connecting,
    /// Weir's own connection stands and the shard is a primary.
    Up,
    /// It can't be used, and why.
    Down(String),
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Shard {
    pub id: ShardId,
    /// Where its primary is; none if nobody has said so, or it is gone.
    pub address: Option<Address>,
    /// What Sentinels call it.
    pub master: Option<String>,
    pub slots: String,
    pub state: State,
    /// Since when it is not up.
    pub away_since: Time,
    /// Which unbroken history of the primary its links are in.
    pub history: Option<History>,
    /// How many histories there were.
    pub generation: u64,
    /// What the primary said last.
    pub report: Option<Report>,
    /// The most replicas that it has ever told of.
    pub most_replicas: u32,
    /// How many it should have, as those say who tell of the shards.
    pub told_replicas: u32,
    pub acks: ShardAcks,
    pub control: Option<LinkId>,
    pub doors: Doors,
    pub readers: Readers,
    pub lanes: Mirror<LaneId, LaneLinks>,
    /// Lanes with commands that wait for a shared link, each once.
    pub parking: Vec<LaneId>,
    pub trackers: Vec<(crate::acks::TrackerId, LinkId)>,
    /// Sessions whose next request waits for it to come back.
    pub awaiting: Vec<SessionId>,
    /// Links that one session has to itself, idle ones included.
    pub pinned: usize,
    /// How many of them are being opened...
    pub opening: usize,
    /// ... and which are when it is their turn; some of these are gone by then.
    pub to_open: VecDeque<LinkId>,
    /// When to connect again.
    pub retry_at: Time,
    /// When to ask how it is; or, while the control link is being made, until when it may take.
    pub poll_at: Time,
    /// Its COMMAND has been read.
    pub commands_known: bool,
}

impl Shard {
    pub(super) fn new(id: ShardId, shard: &crate::shards::Shard, now: Time) -> Self {
        Self {
            id,
            address: shard.address.clone(),
            master: shard.master.clone(),
            slots: shard.slots_text(),
            state: State::Connecting,
            away_since: now,
            history: None,
            generation: 0,
            report: None,
            most_replicas: 0,
            told_replicas: 0,
            acks: ShardAcks::new(),
            control: None,
            doors: Doors::default(),
            readers: Readers::default(),
            lanes: Mirror::default(),
            parking: Vec::new(),
            trackers: Vec::new(),
            awaiting: Vec::new(),
            pinned: 0,
            opening: 0,
            to_open: VecDeque::new(),
            retry_at: now,
            poll_at: now,
            commands_known: false,
        }
    }

    /// The connections of a lane.
    pub(super) fn lane(&mut self, id: LaneId, now: Time) -> &mut LaneLinks {
        if self.lanes.get(id).is_none() {
            self.lanes.insert(id, LaneLinks::new(now));
        }
        self.lanes.get_mut(id).expect("it was put there")
    }

    /// Commands of a lane wait for a shared link.
    pub(super) fn parks(&mut self, id: LaneId) {
        if !self.parking.contains(&id) {
            self.parking.push(id);
        }
    }

    /// As it is called in errors and in the log.
    /// How many replicas it should have; 0 if nobody knows.
    pub(super) fn replicas_due(&self, settings: &Settings) -> u32 {
        match settings.replicas {
            0 => self.most_replicas.max(self.told_replicas),
            number => number,
        }
    }

    pub(super) fn name(&self) -> String {
        match (&self.master, &self.address) {
            (None, Some(address)) => format!("shard {} ({address})", self.id),
            (Some(master), Some(address)) => format!("shard {} ({master}, {address})", self.id),
            (Some(master), None) => format!("shard {} ({master})", self.id),
            (None, None) => format!("shard {}", self.id),
        }
    }

    /// Whether it is no part of the database any more.
    pub(super) fn is_gone(&self) -> bool {
        self.address.is_none() && self.generation > 0
    }

    pub(super) fn is_up(&self) -> bool {
        self.state == State::Up
    }

    /// Why it can't be used.
    pub(super) fn why(&self) -> &str {
        match &self.state {
            State::Connecting if self.address.is_none() => "nobody has said where its primary is",
            State::Connecting => "no connection yet",
            State::Up => "its connection is being made",
            State::Down(why) => why,
        }
    }

    /// Until when a command that comes now may wait for it.
    pub(super) fn patience(&self, settings: &Settings) -> Time {
        self.away_since + settings.failover_timeout
    }

    /// When it has to be looked at next.
    pub(super) fn next_timeout(&self, settings: &Settings) -> Option<Time> {
        let control = match self.control {
            None if self.address.is_none() => None,
            None => Some(self.retry_at),
            Some(_) => Some(self.poll_at),
        };
        let parking = self.parking.iter().filter_map(|lane| self.lanes.get(*lane));
        let parked = parking
            .filter_map(|lane| {
                let given_up = lane.parked_since.map(|since| since + settings.failover_timeout);
                given_up.into_iter().chain(self.is_up().then_some(lane.retry_at)).min()
            })
            .min();
        let awaiting = (!self.awaiting.is_empty()).then(|| self.patience(settings));
        let readers = self.readers.next_timeout();
        [control, parked, awaiting, readers, self.acks.next_timeout()].into_iter().flatten().min()
    }
}
