//! The host's clients as guests of the fleet: a session of the engine for each that asks for data.
//!
//! ```text
//!   a client's first command for the shards --> Guest, on one of the workers
//!   the client goes -------------------------> the guest leaves, with its transaction and its marks
//! ```
//!
//! All of it is the main thread's.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::api::{self, Connection, ServerString};
use super::roads::Bracket;
use super::voice::{self, Voice};
use crate::engine::Peer;
use crate::resp::write;
use crate::settings::Settings;
use crate::worker::{Farewell, Fleet, Promise};

/// The name of the user that every connection begins as.
pub(super) const DEFAULT_USER: &[u8] = b"default";

/// What a guest's session is called in the engine's lists: there is no port that it came to.
pub(super) const LOCAL: &str = "host:0";

/// What stands for the id of a session whose user has no right to know.
const UNTOLD: u64 = u64::MAX;

/// One of the host's clients.
pub(super) struct Guest {
    voice: Voice,
    /// The engine's id of it; 0 until the engine has told, [`UNTOLD`] if it won't.
    session: Arc<AtomicU64>,
    /// It has said MULTI. Until it ends that, all that it says belongs to its transaction.
    pub(super) in_multi: bool,
    /// It waits for a reply.
    pub(super) waits: bool,
    /// Whether its user is the default one; none if that must be asked.
    pub(super) is_default: Option<bool>,
}

/// All of them.
#[derive(Default)]
pub(super) struct Guests {
    by_client: HashMap<u64, Guest>,
    /// Commands of modules that the host has loaded: those stay with it.
    pub(super) kept: HashSet<Vec<u8>>,
}

impl Guests {
    pub(super) fn get_mut(&mut self, client: u64) -> Option<&mut Guest> {
        self.by_client.get_mut(&client)
    }

    /// The guest that this connection is, and becomes if it isn't yet.
    pub(super) fn enter(
        &mut self,
        client: u64,
        fleet: &Fleet,
        settings: &Settings,
    ) -> Option<&mut Guest> {
        match self.by_client.entry(client) {
            Entry::Occupied(known) => Some(known.into_mut()),
            Entry::Vacant(place) => {
                Some(place.insert(Guest::enter(&api::connection(client)?, fleet, settings)))
            }
        }
    }

    /// The client has said RESET. Its marks stay: a stock server's WAIT is about writes from before
    /// it, too.
    pub(super) fn reset(&mut self, client: u64, settings: &Settings) {
        if let Some(guest) = self.by_client.get_mut(&client) {
            guest.voice.reset(voice::login(settings));
            (guest.in_multi, guest.is_default) = (false, None);
        }
    }

    /// The client has gone.
    pub(super) fn leave(&mut self, client: u64) {
        self.by_client.remove(&client);
    }

    /// The client may be another user from now on.
    pub(super) fn user_may_change(&mut self, client: u64) {
        if let Some(guest) = self.by_client.get_mut(&client) {
            guest.is_default = None;
        }
    }

    /// Whether a command stays with the host because a module of the host has it.
    pub(super) fn keeps(&self, name: &[u8]) -> bool {
        !self.kept.is_empty() && self.kept.contains(&name.to_ascii_lowercase())
    }
}

impl Guest {
    fn enter(connection: &Connection, fleet: &Fleet, settings: &Settings) -> Self {
        let (address, local) = (connection.address.clone(), LOCAL.to_owned());
        let handle =
            fleet.entrance().enter(Peer { address, local, fd: -1 }, None, Farewell::HangUp);
        let voice = Voice::new(handle, voice::login(settings));
        let session = Arc::new(AtomicU64::new(0));
        Self { voice, session, in_multi: false, waits: false, is_default: None }
    }

    /// Asks the engine what it calls the session.
    fn ask_session(&self, resp3: bool) {
        let told = Arc::clone(&self.session);
        let mut request = Vec::new();
        write::request(&mut request, &["CLIENT", "ID"]);
        let promise = Promise::new(move |reply| {
            let reply = reply.as_deref().unwrap_or_default();
            // Who may not ask need not ask again.
            let untold = if reply.starts_with(b"-NOPERM") { UNTOLD } else { 0 };
            let digits = reply.strip_prefix(b":").and_then(|it| std::str::from_utf8(it).ok());
            let id = digits.and_then(|digits| digits.trim_end().parse().ok());
            told.store(id.unwrap_or(untold), Ordering::Relaxed);
        });
        self.voice.say(request, resp3, promise);
    }

    /// The engine's id of its session, if it is known.
    pub(super) fn session(&self) -> Option<u64> {
        Some(self.session.load(Ordering::Relaxed)).filter(|id| ![0, UNTOLD].contains(id))
    }

    /// Says `request`, whose reply is to be in the version that the client speaks.
    pub(super) fn say(&mut self, request: Vec<u8>, resp3: bool, promise: Promise) {
        self.waits = true;
        // Inside a transaction the question would be a part of it.
        if self.session.load(Ordering::Relaxed) == 0 && !self.in_multi {
            self.ask_session(resp3);
        }
        self.voice.say(request, resp3, promise);
    }

    /// A reply has come, to a command of this kind.
    pub(super) fn answered(&mut self, bracket: Bracket, reply: &[u8]) {
        self.waits = false;
        match bracket {
            Bracket::None => {}
            Bracket::Opens => self.in_multi |= reply == b"+OK\r\n",
            Bracket::Closes => self.in_multi = false,
        }
    }
}

/// Whether this is the user that every connection begins as.
pub(super) fn is_default(user: &ServerString) -> bool {
    user.bytes() == DEFAULT_USER
}
