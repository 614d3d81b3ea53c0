//! A writer: adds one element after another, asks about each, and notes what it is told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lab::client::Value;

use crate::ledger::{Book, Clock, Element, Told};
use crate::roads::{Lost, Road};

/// How long WAIT may take.
const WAIT_MS: &str = "300";
/// A writer's rest between two elements: what is to be seen is faults, not speed.
const PACE: Duration = Duration::from_millis(2);

/// What a writer asks after each write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    Wait,
    WaitAof,
    /// Nothing: it is there to see when writes succeed, and is never held up by a WAIT.
    None,
}

/// What all writers know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task<'a> {
    pub(crate) clock: Clock,
    pub(crate) ended: &'a AtomicBool,
    /// A hash tag for each shard.
    pub(crate) tags: &'a [String],
    /// How many a shard has.
    pub(crate) replicas: usize,
}

impl Task<'_> {
    /// Writes to these shards in turn until the run has ended.
    pub(crate) fn run(
        self,
        mut road: impl Road,
        shards: &[usize],
        question: Question,
        mut book: Book,
    ) -> Book {
        while !self.ended.load(Ordering::Relaxed) {
            let shard = shards[book.elements.len() % shards.len()];
            let before = road.connection(shard);
            let element = self.add(&mut road, shard, question, &mut book);
            if road.connection(shard) != before {
                book.begin_anew();
            }
            book.note(element);
            lab::pause(PACE);
        }
        book.closed = road.closed();
        book
    }

    fn add(
        self,
        road: &mut impl Road,
        shard: usize,
        question: Question,
        book: &mut Book,
    ) -> Element {
        let sent = self.clock.now();
        let (key, member) = (book.key(&self.tags[shard]), book.elements.len().to_string());
        let write = road.call(shard, &["SADD", &key, &member]);
        let replied = self.clock.now();
        let mut element = Element {
            shard: shard as u8,
            told: Told::Unasked,
            elsewhere: false,
            lost: false,
            sent,
            written: None,
            ended: replied,
        };
        match write {
            Ok(Value::Int(_)) => element.written = Some(replied),
            Ok(other) => {
                let text = other.error_text().unwrap_or_default();
                book.note_error(&text);
                // The endpoint says of each error whether the outcome is unknown.
                let unknown = text.contains("unknown");
                element.told = if unknown { Told::Unknown } else { Told::NotDone };
                return element;
            }
            Err(lost) => {
                book.given_up += usize::from(lost == Lost::Late);
                element.told = if lost == Lost::Unsent { Told::NotDone } else { Told::Unknown };
                return element;
            }
        }
        if question != Question::None {
            let before = road.connection(shard);
            element.told = self.ask(road, shard, question, book);
            element.elsewhere = road.connection(shard) != before;
            element.ended = self.clock.now();
        }
        element
    }

    fn ask(self, road: &mut impl Road, shard: usize, question: Question, book: &mut Book) -> Told {
        let all = self.replicas.to_string();
        let reply = match question {
            Question::Wait => road.call(shard, &["WAIT", &all, WAIT_MS]),
            _ => road.call(shard, &["WAITAOF", "1", &all, WAIT_MS]),
        };
        let all = self.replicas as i64;
        match reply {
            Ok(Value::Int(count)) if count >= all => Told::All,
            Ok(Value::Array(counts)) if counts.len() == 2 => {
                let full = counts[0].int() >= 1 && counts[1].int() >= all;
                if full { Told::All } else { Told::Fewer }
            }
            Ok(Value::Int(_)) => Told::Fewer,
            Ok(other) => {
                book.note_error(&other.error_text().unwrap_or_default());
                if other.is_error("UNBLOCKED") { Told::Unblocked } else { Told::Error }
            }
            Err(lost) => {
                book.given_up += usize::from(lost == Lost::Late);
                Told::Error
            }
        }
    }
}
