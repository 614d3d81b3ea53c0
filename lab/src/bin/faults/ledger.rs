//! What each writer was told of each element, and what became of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

/// Microseconds since the run began.
pub(crate) type Micros = u64;

/// The time of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Clock {
        Clock(Instant::now())
    }

    pub(crate) fn now(self) -> Micros {
        self.0.elapsed().as_micros() as Micros
    }

    /// As servers write it in their logs, in UTC.
    pub(crate) fn time_of_day(self, at: Micros) -> String {
        let then = SystemTime::now() - Duration::from_micros(self.now().saturating_sub(at));
        let millis = then.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let (seconds, millis) = (millis / 1000, millis % 1000);
        let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
        format!("{hours:02}:{minutes:02}:{:02}.{millis:03}", seconds % 60)
    }
}

/// By which way a writer reaches the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Endpoint,
    Bare,
}

impl Side {
    pub(crate) const EACH: [Side; 2] = [Side::Endpoint, Side::Bare];

    /// As in a heading.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Side::Endpoint => "endpoint",
            Side::Bare => "bare client",
        }
    }

    /// As in an option.
    pub(crate) const fn option(self) -> &'static str {
        match self {
            Side::Endpoint => "endpoint",
            Side::Bare => "bare",
        }
    }
}

/// What a writer was told of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Told {
    /// All replicas of the shard have it.
    All,
    /// A smaller number of them has; and later that all have everything of this writer's.
    Later,
    /// A smaller number of them has.
    Fewer,
    /// `-UNBLOCKED`.
    Unblocked,
    /// The connection was lost, or the error says so.
    Unknown,
    /// The write was answered by an error that says it was not executed.
    NotDone,
    /// The write was done, and WAIT was answered by another error, or by none.
    Error,
    /// The write was done, and nobody asked.
    Unasked,
}

impl Told {
    pub(crate) const EACH: [Told; 8] = [
        Told::All,
        Told::Later,
        Told::Fewer,
        Told::Unblocked,
        Told::Unknown,
        Told::NotDone,
        Told::Error,
        Told::Unasked,
    ];

    /// Whether such an element must be there in the end.
    pub(crate) const fn is_promise(self) -> bool {
        matches!(self, Told::All | Told::Later)
    }

    pub(crate) const fn text(self) -> &'static str {
        match self {
            Told::All => "acknowledged by all replicas",
            Told::Later => "a smaller number, and later all",
            Told::Fewer => "a smaller number",
            Told::Unblocked => "-UNBLOCKED",
            Told::Unknown => "outcome unknown",
            Told::NotDone => "not executed",
            Told::Error => "WAIT failed otherwise",
            Told::Unasked => "written, without WAIT",
        }
    }
}

/// One element, as its writer knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Element {
    pub(crate) shard: u8,
    pub(crate) told: Told,
    /// WAIT was answered on another connection than the write.
    pub(crate) elsewhere: bool,
    /// It is not there in the end.
    pub(crate) lost: bool,
    pub(crate) sent: Micros,
    /// When the write was answered as done.
    pub(crate) written: Option<Micros>,
    /// When the last answer about it came.
    pub(crate) ended: Micros,
}

/// All that one writer knows.
#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) side: Side,
    pub(crate) writer: usize,
    pub(crate) elements: Vec<Element>,
    /// How often its connection was closed by the other side.
    pub(crate) closed: usize,
    /// How often it gave up a connection because no reply came.
    pub(crate) given_up: usize,
    /// All errors, by their first word.
    pub(crate) errors: BTreeMap<String, usize>,
    /// Elements with a smaller number, which a later full one is about as well.
    open: Vec<usize>,
}

impl Book {
    pub(crate) fn new(side: Side, writer: usize) -> Book {
        Book {
            side,
            writer,
            elements: Vec::new(),
            closed: 0,
            given_up: 0,
            errors: BTreeMap::new(),
            open: Vec::new(),
        }
    }

    /// The set that the writer's elements of one shard are in. The tag decides the shard.
    pub(crate) fn key(&self, tag: &str) -> String {
        format!("{{{tag}}}:faults:{}:{}", self.side.option(), self.writer)
    }

    /// Writes down an element.
    ///
    /// The endpoint's counts are about all writes that the client made before. So a full count is
    /// about what was answered by a smaller number earlier, too, unless `-UNBLOCKED` came between.
    /// A client library's counts are about the last write.
    pub(crate) fn note(&mut self, element: Element) {
        let number = self.elements.len();
        self.elements.push(element);
        if self.side == Side::Bare {
            return;
        }
        match element.told {
            Told::All => {
                for earlier in self.open.drain(..) {
                    self.elements[earlier].told = Told::Later;
                }
            }
            Told::Unblocked => self.open.clear(),
            Told::Fewer | Told::Error => self.open.push(number),
            Told::Later | Told::Unknown | Told::NotDone | Told::Unasked => {}
        }
    }

    /// The connection is a new one, which knows nothing of earlier writes.
    pub(crate) fn begin_anew(&mut self) {
        self.open.clear();
    }

    /// Writes down an error's first word.
    pub(crate) fn note_error(&mut self, text: &str) {
        let code = text.split(' ').next().unwrap_or_default().to_owned();
        *self.errors.entry(code).or_default() += 1;
    }
}

/// All books of one side.
pub(crate) fn of(books: &[Book], side: Side) -> impl Iterator<Item = &Book> {
    books.iter().filter(move |book| book.side == side)
}

/// All elements of one side.
pub(crate) fn elements(books: &[Book], side: Side) -> impl Iterator<Item = &Element> {
    of(books, side).flat_map(|book| &book.elements)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(side: Side, answers: &[Told]) -> Vec<Told> {
        let mut book = Book::new(side, 0);
        for &told in answers {
            let written = Some(0);
            let element = Element {
                shard: 0,
                told,
                elsewhere: false,
                lost: false,
                sent: 0,
                written,
                ended: 0,
            };
            book.note(element);
        }
        book.elements.iter().map(|element| element.told).collect()
    }

    #[test]
    fn a_full_count_is_about_earlier_writes_of_the_endpoints_clients() {
        use Told::{All, Fewer, Later, Unblocked, Unknown};
        assert_eq!(told(Side::Endpoint, &[Fewer, Unknown, All]), [Later, Unknown, All]);
        assert_eq!(told(Side::Endpoint, &[Fewer, Unblocked, All]), [Fewer, Unblocked, All]);
        assert_eq!(told(Side::Bare, &[Fewer, All]), [Fewer, All]);
    }
}
