//! The host's clients as guests of the fleet: a session of the engine for each that asks for data.
//!
//! ```text
//!   a client's first command for the shards --> Guest, on one of the workers
//!   the client goes, or says RESET ----------> the guest leaves, with its transaction and its marks
//! ```
//!
//! All of it is the main thread's.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::api::{self, Connection, ServerString};
use super::log;
use super::roads::Bracket;
use crate::engine::{Level, Peer};
use crate::resp::write;
use crate::settings::Settings;
use crate::worker::{Fleet, GuestHandle, Promise};

/// The name of the user that every connection begins as.
pub(super) const DEFAULT_USER: &[u8] = b"default";

/// What a guest's session is called in the engine's lists: there is no port that it came to.
pub(super) const LOCAL: &str = "host:0";

/// One of the host's clients.
pub(super) struct Guest {
    handle: Arc<GuestHandle>,
    /// The engine's id of it; 0 until the engine has told.
    session: Arc<AtomicU64>,
    /// It has said MULTI. Until it ends that, all that it says belongs to its transaction.
    pub(super) in_multi: bool,
    /// It waits for a reply.
    pub(super) waits: bool,
    /// Whether its user is the default one; none if that must be asked.
    pub(super) is_default: Option<bool>,
    /// Which RESP its session speaks.
    resp3: bool,
    /// It has not said anything yet; then it logs in.
    login: Option<Vec<u8>>,
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

    /// The client has gone, or begins anew.
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
        let handle = fleet.enter(Peer { address, local, fd: -1 }, None);
        let session = Arc::new(AtomicU64::new(0));
        let login = login(settings);
        if login.is_none() {
            ask_session(&handle, &session);
        }
        Self {
            handle: Arc::new(handle),
            session,
            in_multi: false,
            waits: false,
            is_default: None,
            resp3: false,
            login,
        }
    }

    /// The engine's id of its session, if it is known.
    pub(super) fn session(&self) -> Option<u64> {
        Some(self.session.load(Ordering::Relaxed)).filter(|id| *id != 0)
    }

    /// Says `request`, whose reply is to be in the version that the client speaks.
    pub(super) fn say(&mut self, request: Vec<u8>, resp3: bool, promise: Promise) {
        self.waits = true;
        let (mut requests, mut mute) = (request, 0);
        if resp3 != self.resp3 {
            self.resp3 = resp3;
            let mut both = Vec::with_capacity(requests.len() + 32);
            write::request(&mut both, &["HELLO", if resp3 { "3" } else { "2" }]);
            both.append(&mut requests);
            (requests, mute) = (both, 1);
        }
        let Some(login) = self.login.take() else {
            return self.handle.say(requests, mute, promise);
        };
        // Nothing is said as another user than the one that was asked for.
        let (handle, session) = (Arc::clone(&self.handle), Arc::clone(&self.session));
        let let_in = move |reply: Option<Vec<u8>>| match reply {
            Some(reply) if reply.starts_with(b"-") => {
                let why = String::from_utf8_lossy(&reply[1..]).trim_end().to_owned();
                let text = format!("weir.intercept-user can't log in to the shards: {why}");
                log::line(Level::Warning, &text);
                promise.keep(reply);
            }
            Some(_) => {
                ask_session(&handle, &session);
                handle.say(requests, mute, promise);
            }
            None => drop(promise),
        };
        self.handle.say(login, 0, Promise::new(let_in));
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

/// Asks the engine what it calls a guest's session.
fn ask_session(handle: &GuestHandle, session: &Arc<AtomicU64>) {
    let told = Arc::clone(session);
    let mut request = Vec::new();
    write::request(&mut request, &["CLIENT", "ID"]);
    let promise = Promise::new(move |reply| {
        let digits = reply.as_deref().and_then(|reply| reply.strip_prefix(b":"));
        let id = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        told.store(id.and_then(|id| id.trim_end().parse().ok()).unwrap_or(0), Ordering::Relaxed);
    });
    handle.say(request, 0, promise);
}

/// How guests log in to the shards, if they do.
pub(super) fn login(settings: &Settings) -> Option<Vec<u8>> {
    let (user, password) = (&settings.intercept_user, &settings.intercept_password);
    if password.is_empty() {
        return None;
    }
    let mut login = Vec::new();
    if user.is_empty() {
        write::request(&mut login, &["AUTH", password]);
    } else {
        write::request(&mut login, &["AUTH", user, password]);
    }
    Some(login)
}

/// Whether this is the user that every connection begins as.
pub(super) fn is_default(user: &ServerString) -> bool {
    user.bytes() == DEFAULT_USER
}
