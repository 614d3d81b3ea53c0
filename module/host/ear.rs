//! What is published on the shards is published on the host too, once anybody has subscribed there.
//!
//! ```text
//!   SUBSCRIBE, PSUBSCRIBE on the host's port --> stays there; the first opens the ear
//!   the ear: a guest that has said PSUBSCRIBE *
//!        message --worker's thread--> inbox --bell in the host's event loop--> published here
//!   SSUBSCRIBE --> the ear says it too, for shard channels have no patterns
//! ```
//!
//! A module can't send a client what the client didn't ask for, but it can publish. Each message
//! comes to the ear once, whatever the host's clients have subscribed to, so none gets it twice.

use std::collections::HashSet;
use std::ffi::{c_int, c_void};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, PoisonError, Weak};

use super::api::{self, LoopBell, Passing};
use super::guard::guard;
use super::guests::LOCAL;
use super::log;
use super::voice::login;
use crate::engine::{Level, Peer};
use crate::limits;
use crate::os::clock;
use crate::resp::{Element, Elements, write};
use crate::settings::Settings;
use crate::worker::{Farewell, Fleet, GuestHandle, Promise};

/// See the module's picture. Main thread.
pub(super) struct Ear {
    handle: GuestHandle,
    /// The worker's end of it: gone if somebody has killed the session.
    hears: Weak<()>,
    /// Something was subscribed to.
    confirmed: Receiver<()>,
    /// How often that has yet to be said.
    missing: usize,
    shard_channels: HashSet<Vec<u8>>,
    /// Before the inbox, of which the event loop has the address.
    _bell: LoopBell,
    _inbox: Arc<Inbox>,
}

#[expect(
    clippy::disallowed_types,
    reason = "workers put messages there, the main thread takes them"
)]
#[derive(Default)]
struct Inbox(std::sync::Mutex<Vec<Message>>);

#[derive(Debug, PartialEq, Eq)]
struct Message {
    to_shard_channel: bool,
    channel: Vec<u8>,
    text: Vec<u8>,
}

/// What the shards say to who listens.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Confirmation,
    Message(Message),
    Other,
}

impl Ear {
    /// A client of the host is about to subscribe: has what is published on the shards published
    /// here, from now on. Waits a moment for the shards' word, the first time.
    pub(super) fn listen(
        ear: &mut Option<Self>,
        command: Passing<'_>,
        fleet: &Fleet,
        settings: &Settings,
    ) {
        if ear.as_ref().is_none_or(|ear| ear.hears.strong_count() == 0) {
            *ear = Self::open(fleet, settings);
        }
        let shard_channels =
            command.arg(0).is_some_and(|name| name.eq_ignore_ascii_case(b"ssubscribe"));
        if let Some(ear) = ear.as_mut().filter(|_| shard_channels) {
            ear.listen_to_shard_channels(command);
        }
    }

    fn open(fleet: &Fleet, settings: &Settings) -> Option<Self> {
        let inbox = Arc::new(Inbox::default());
        let bell = match LoopBell::hang(Some(rung), Arc::as_ptr(&inbox).cast_mut().cast()) {
            Ok(bell) => bell,
            Err(why) => {
                let text = format!("channels of the shards can't be listened to here: {why}");
                log::line(Level::Warning, &text);
                return None;
            }
        };
        let (tell, confirmed) = channel();
        let peer = Peer { address: LOCAL.to_owned(), local: LOCAL.to_owned(), fd: -1 };
        let alive = Arc::new(());
        let hears = Arc::downgrade(&alive);
        let (into, ring) = (Arc::clone(&inbox), bell.ringer());
        let hear = move |push: &[u8]| {
            let _alive = &alive;
            hear(push, &into, &tell, || ring.ring());
        };
        let handle = fleet.entrance().enter(peer, Some(Box::new(hear)), Farewell::Cut);
        let (mut requests, mut mute) = (Vec::new(), 0);
        if let Some(login) = login(settings) {
            (requests, mute) = (login, 1);
        }
        write::request(&mut requests, &["HELLO", "3"]);
        // This has no reply of its own: it is confirmed by a push.
        write::request(&mut requests, &["PSUBSCRIBE", "*"]);
        handle.say(requests, mute, Promise::new(|_| {}));
        let mut ear = Self {
            handle,
            hears,
            confirmed,
            missing: 1,
            shard_channels: HashSet::new(),
            _bell: bell,
            _inbox: inbox,
        };
        ear.await_confirmations();
        Some(ear)
    }

    fn listen_to_shard_channels(&mut self, command: Passing<'_>) {
        let was_late = self.is_late();
        for channel in (1..).map_while(|at| command.arg(at)) {
            if self.shard_channels.contains(channel) {
                continue;
            }
            if self.shard_channels.len() == limits::EAR_SHARD_CHANNELS_MAX {
                log::line(Level::Warning, "too many shard channels are listened to on this port");
                break;
            }
            self.shard_channels.insert(channel.to_vec());
            let mut request = Vec::new();
            write::request(&mut request, &[b"SSUBSCRIBE", channel]);
            // Behind it, so that there is a reply.
            write::request(&mut request, &["PING"]);
            self.handle.say(request, 0, Promise::new(|_| {}));
            self.missing += 1;
        }
        if !was_late {
            self.await_confirmations();
        }
    }

    /// Whether the shards owe a confirmation from before: then nobody waits for another, or whoever
    /// subscribes again and again would keep the host from serving anybody.
    fn is_late(&mut self) -> bool {
        while self.missing > 0 && self.confirmed.try_recv().is_ok() {
            self.missing -= 1;
        }
        self.missing > 0
    }

    /// So that a client which has seen its subscription confirmed misses nothing. The host serves
    /// nobody meanwhile.
    fn await_confirmations(&mut self) {
        let until = clock::now() + limits::EAR_WAIT_MAX;
        while self.missing > 0 {
            if self.confirmed.recv_timeout(until.since(clock::now())).is_err() {
                return log::line(Level::Notice, "the shards are slow to confirm a subscription");
            }
            self.missing -= 1;
        }
    }
}

/// A push has come. On a worker's thread.
fn hear(push: &[u8], inbox: &Inbox, tell: &Sender<()>, ring: impl FnOnce()) {
    match read(push) {
        Heard::Message(message) => {
            let mut messages = inbox.0.lock().unwrap_or_else(PoisonError::into_inner);
            messages.push(message);
            if messages.len() == 1 {
                ring();
            }
        }
        Heard::Confirmation => {
            // Nobody waits for it any more if the ear was closed.
            let _ = tell.send(());
        }
        Heard::Other => {}
    }
}

fn read(push: &[u8]) -> Heard {
    let words: Vec<&[u8]> = Elements::of(push)
        .filter_map(|element| match element {
            Element::Bulk(word) => Some(word),
            _ => None,
        })
        .collect();
    match words.as_slice() {
        [b"psubscribe" | b"ssubscribe", _] => Heard::Confirmation,
        [b"pmessage", _, channel, text] => Heard::Message(Message {
            to_shard_channel: false,
            channel: channel.to_vec(),
            text: text.to_vec(),
        }),
        [b"smessage", channel, text] => Heard::Message(Message {
            to_shard_channel: true,
            channel: channel.to_vec(),
            text: text.to_vec(),
        }),
        _ => Heard::Other,
    }
}

/// The event loop's call when there are messages.
unsafe extern "C" fn rung(fd: c_int, inbox: *mut c_void, _: c_int) {
    let body = || {
        LoopBell::silence(fd);
        // SAFETY: the ear keeps the inbox for as long as its bell hangs in the event loop.
        let Some(inbox) = (unsafe { inbox.cast::<Inbox>().as_ref() }) else { return };
        let messages = std::mem::take(&mut *inbox.0.lock().unwrap_or_else(PoisonError::into_inner));
        for message in messages {
            api::publish(message.to_shard_channel, &message.channel, &message.text);
        }
    };
    guard("channels", body, || ());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushes_are_told_apart() {
        let message = |to_shard_channel| {
            let (channel, text) = (b"c".to_vec(), b"x".to_vec());
            Heard::Message(Message { to_shard_channel, channel, text })
        };
        for (push, heard) in [
            (">3\r\n$10\r\npsubscribe\r\n$1\r\n*\r\n:1\r\n", Heard::Confirmation),
            (">3\r\n$10\r\nssubscribe\r\n$1\r\nc\r\n:1\r\n", Heard::Confirmation),
            (">4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\nc\r\n$1\r\nx\r\n", message(false)),
            (">3\r\n$8\r\nsmessage\r\n$1\r\nc\r\n$1\r\nx\r\n", message(true)),
            (">2\r\n$10\r\ninvalidate\r\n_\r\n", Heard::Other),
        ] {
            assert_eq!(read(push.as_bytes()), heard, "{push:?}");
        }
    }

    #[test]
    fn only_the_first_message_of_many_rings() {
        let (tell, _told) = channel();
        let (inbox, rings) = (Inbox::default(), std::cell::Cell::new(0));
        let push = b">3\r\n$8\r\nsmessage\r\n$1\r\nc\r\n$1\r\nx\r\n";
        for _ in 0..3 {
            hear(push, &inbox, &tell, || rings.set(rings.get() + 1));
        }
        assert_eq!((inbox.0.lock().unwrap().len(), rings.get()), (3, 1));
    }
}
