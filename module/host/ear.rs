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
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, PoisonError};

use super::api::{self, LoopBell, Passing};
use super::guard::guard;
use super::guests::LOCAL;
use super::log;
use super::voice::{self, Voice};
use crate::engine::{Level, Peer};
use crate::limits;
use crate::os::clock;
use crate::resp::{Element, Elements, write};
use crate::settings::Settings;
use crate::worker::{Farewell, Fleet, Promise};

/// See the module's picture. Main thread.
pub(super) struct Ear {
    voice: Voice,
    /// Somebody has killed the session, or a shard has refused to be listened to.
    deaf: Arc<AtomicBool>,
    /// Something was subscribed to, or refused.
    settled: Receiver<()>,
    settle: Sender<()>,
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
        let mut was_late = ear.as_mut().is_some_and(Self::is_late);
        if ear.as_ref().is_none_or(|ear| ear.deaf.load(Ordering::Relaxed)) {
            let before = ear.take().map(|ear| ear.shard_channels).unwrap_or_default();
            *ear = Self::open(fleet, settings, before);
            was_late = false;
        }
        let Some(ear) = ear else {
            return;
        };
        if command.arg(0).is_some_and(|name| name.eq_ignore_ascii_case(b"ssubscribe")) {
            ear.listen_to_shard_channels(command);
        }
        // Else whoever subscribes again and again would keep the host from serving anybody.
        if !was_late {
            ear.await_settled();
        }
    }

    /// A new one, that listens to everything and to these shard channels.
    fn open(fleet: &Fleet, settings: &Settings, shard_channels: HashSet<Vec<u8>>) -> Option<Self> {
        let inbox = Arc::new(Inbox::default());
        let bell = match LoopBell::hang(Some(rung), Arc::as_ptr(&inbox).cast_mut().cast()) {
            Ok(bell) => bell,
            Err(why) => {
                let text = format!("channels of the shards can't be listened to here: {why}");
                log::line(Level::Warning, &text);
                return None;
            }
        };
        let (settle, settled) = channel();
        let peer = Peer { address: LOCAL.to_owned(), local: LOCAL.to_owned(), fd: -1 };
        let deaf = Arc::new(AtomicBool::new(false));
        let (into, tell, ring) = (Arc::clone(&inbox), settle.clone(), bell.ringer());
        let hears = Hears(Arc::clone(&deaf));
        let hear = move |push: &[u8]| {
            let _hears = &hears;
            hear(push, &into, &tell, || ring.ring());
        };
        let handle = fleet.entrance().enter(peer, Some(Box::new(hear)), Farewell::Cut);
        let mut ear = Self {
            voice: Voice::new(handle, voice::login(settings)),
            deaf,
            settled,
            settle,
            missing: 0,
            shard_channels,
            _bell: bell,
            _inbox: inbox,
        };
        ear.subscribe(&[b"PSUBSCRIBE", b"*"]);
        for channel in ear.shard_channels.clone() {
            ear.subscribe(&[b"SSUBSCRIBE", &channel]);
        }
        Some(ear)
    }

    fn listen_to_shard_channels(&mut self, command: Passing<'_>) {
        for channel in (1..).map_while(|at| command.arg(at)) {
            if self.shard_channels.contains(channel) {
                continue;
            }
            if self.shard_channels.len() == limits::EAR_SHARD_CHANNELS_MAX {
                return log::line(
                    Level::Warning,
                    "no more shard channels can be heard on this port",
                );
            }
            self.shard_channels.insert(channel.to_vec());
            self.subscribe(&[b"SSUBSCRIBE", channel]);
        }
    }

    fn subscribe(&mut self, words: &[&[u8]]) {
        let mut request = Vec::new();
        write::request(&mut request, words);
        // It is confirmed by a push, which is no reply. If there is one, it is a refusal, and the
        // one to this.
        write::request(&mut request, &["PING"]);
        let (deaf, settle) = (Arc::clone(&self.deaf), self.settle.clone());
        let promise = Promise::new(move |reply| {
            if reply.as_deref() == Some(b"+PONG\r\n") {
                return;
            }
            if let Some(refusal) = reply {
                let why = String::from_utf8_lossy(&refusal).trim_end().to_owned();
                log::line(Level::Warning, &format!("a channel can't be listened to: {why}"));
            }
            deaf.store(true, Ordering::Relaxed);
            // Nobody waits for it any more if the ear was closed.
            let _ = settle.send(());
        });
        self.voice.say(request, true, promise);
        self.missing += 1;
    }

    /// Whether the shards still owe a word from before.
    fn is_late(&mut self) -> bool {
        while self.missing > 0 && self.settled.try_recv().is_ok() {
            self.missing -= 1;
        }
        self.missing > 0
    }

    /// So that a client which has seen its subscription confirmed misses nothing. The host serves
    /// nobody meanwhile.
    fn await_settled(&mut self) {
        let until = clock::now() + limits::EAR_WAIT_MAX;
        while self.missing > 0 {
            if self.settled.recv_timeout(until.since(clock::now())).is_err() {
                return log::line(Level::Notice, "the shards are slow to confirm a subscription");
            }
            self.missing -= 1;
        }
    }
}

/// The worker's end of an ear, which goes with the session.
struct Hears(Arc<AtomicBool>);

impl Drop for Hears {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
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
