//! The tests that may come out otherwise with Weir, each with the reason.
//!
//! ```text
//! # A comment.
//! [any number of shards]               what holds for whom: see `Where`
//!
//! because the endpoint keeps no data   why, possibly over several lines,
//!   of its own                         for all that follows up to the next reason
//! unit/other                           in which unit
//!   fails    DEBUG RELOAD works        a test, by the name that the suite gives it
//!   varies   RANDOMKEY against *       ... or, with a star at its end, all that begin so
//!   omitted  SHUTDOWN in a script      ... or one that isn't even run
//! ```
//!
//! A test that is listed as failing and doesn't is an error: the list says what is true, or
//! nothing.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use crate::bed::Way;

/// What is expected of a listed test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// It is run, and fails.
    Fails,
    /// It is run, and fails now and then.
    Varies,
    /// It isn't run, because it would end the run or spoil the tests behind it.
    Omitted,
}

/// For whom a section of the list holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Where {
    /// The endpoint of any number of shards, and the host's own port.
    Served,
    Endpoint,
    /// The endpoint of more than one shard.
    Several,
    Host,
    Idle,
}

impl Where {
    fn read(title: &str) -> Option<Where> {
        match title {
            "[endpoint and host port]" => Some(Where::Served),
            "[any number of shards]" => Some(Where::Endpoint),
            "[several shards]" => Some(Where::Several),
            "[host port]" => Some(Where::Host),
            "[idle]" => Some(Where::Idle),
            _ => None,
        }
    }

    fn holds(self, way: Way) -> bool {
        match self {
            Where::Served => way != Way::Idle,
            Where::Endpoint => matches!(way, Way::Endpoint(_)),
            Where::Several => matches!(way, Way::Endpoint(2..)),
            Where::Host => way == Way::Host,
            Where::Idle => way == Way::Idle,
        }
    }
}

/// One line of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Skip {
    /// The number of its line, to point to.
    pub(crate) line: usize,
    pub(crate) unit: String,
    pub(crate) expect: Expect,
    name: String,
    place: Where,
}

impl Skip {
    /// Whether it speaks of this test.
    pub(crate) fn names(&self, test: &str) -> bool {
        // Some names end with a blank, which is not seen in a list.
        let test = test.trim_end();
        match self.name.strip_suffix('*') {
            Some(begin) => self.name == test || test.starts_with(begin),
            None => self.name == test,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

/// The whole list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Skips(Vec<Skip>);

impl Skips {
    pub(crate) fn load(path: &Path) -> io::Result<Skips> {
        let named = |text: String| io::Error::other(format!("{}: {text}", path.display()));
        let text = fs::read_to_string(path).map_err(|error| named(error.to_string()))?;
        Skips::read(&text).map_err(named)
    }

    /// # Errors
    /// With the number of the line, if it is no such list: also if an entry has no reason, or is
    /// there twice.
    pub(crate) fn read(text: &str) -> Result<Skips, String> {
        let mut skips = Vec::new();
        let mut seen = BTreeSet::new();
        let (mut place, mut reason, mut unit) = (None, false, None::<&str>);
        for (at, line) in text.lines().enumerate() {
            let at = at + 1;
            let wrong = |what: &str| Err(format!("line {at}: {what}: {line}"));
            let words = line.trim_end();
            if words.trim_start().is_empty() || words.starts_with('#') {
                continue;
            }
            if words.starts_with('[') {
                match Where::read(words) {
                    None => return wrong("no such section"),
                    known => (place, reason, unit) = (known, false, None),
                }
                continue;
            }
            match (words.starts_with(' '), unit) {
                // More of the reason.
                (true, None) if reason => {}
                (true, None) => return wrong("nothing that this could belong to"),
                (true, Some(unit)) => {
                    let (word, name) = words.trim_start().split_once(' ').unwrap_or_default();
                    let expect = match word {
                        "fails" => Expect::Fails,
                        "varies" => Expect::Varies,
                        "omitted" => Expect::Omitted,
                        _ => return wrong("neither 'fails', 'varies' nor 'omitted'"),
                    };
                    let Some(place) = place else { return wrong("no section has begun") };
                    let name = name.trim_start().to_owned();
                    if !seen.insert((place, unit, name.clone())) {
                        return wrong("it is there twice");
                    }
                    skips.push(Skip { line: at, unit: unit.into(), expect, name, place });
                }
                (false, _) if words.starts_with("because ") => (reason, unit) = (true, None),
                (false, _) if place.is_none() => return wrong("no section has begun"),
                (false, _) if !reason => return wrong("no reason was given"),
                (false, _) => unit = Some(words),
            }
        }
        Ok(Skips(skips))
    }

    /// What is said of a unit, when it is played this way.
    pub(crate) fn of(&self, unit: &str, way: Way) -> Vec<&Skip> {
        self.0.iter().filter(|skip| skip.unit == unit && skip.place.holds(way)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "\
# Comment.
[any number of shards]
because it is so,
  really
unit/a
  fails    one  test
  varies   two *
[several shards]
because of that
unit/a
  omitted  three
[endpoint and host port]
because of this
unit/b
  fails    four
[host port]
because of this too
unit/b
  fails    five
";

    #[test]
    fn a_list_is_what_it_looks_like() {
        let skips = Skips::read(LIST).unwrap();
        let told = |way| -> Vec<(usize, Expect, String)> {
            let of = skips.of("unit/a", way).into_iter();
            of.map(|skip| (skip.line, skip.expect, skip.name.clone())).collect()
        };
        let one = (6, Expect::Fails, "one  test".to_owned());
        let two = (7, Expect::Varies, "two *".to_owned());
        let three = (11, Expect::Omitted, "three".to_owned());
        assert_eq!(told(Way::Endpoint(1)), [one.clone(), two.clone()]);
        assert_eq!(told(Way::Endpoint(3)), [one, two, three]);
        assert!(told(Way::Host).is_empty() && told(Way::Idle).is_empty());
    }

    #[test]
    fn a_section_holds_for_whom_it_names() {
        let skips = Skips::read(LIST).unwrap();
        let told =
            |way| -> Vec<&str> { skips.of("unit/b", way).iter().map(|s| s.name()).collect() };
        assert_eq!(told(Way::Endpoint(1)), ["four"]);
        assert_eq!(told(Way::Endpoint(3)), ["four"]);
        assert_eq!(told(Way::Host), ["four", "five"]);
        assert!(told(Way::Idle).is_empty());
    }

    #[test]
    fn a_star_stands_for_any_end() {
        let skips = Skips::read(LIST).unwrap();
        let two = skips.of("unit/a", Way::Endpoint(1))[1];
        assert!(two.names("two more") && two.names("two *") && !two.names("twofold"));
    }

    #[test]
    fn what_is_no_list_is_refused_by_line() {
        for (text, problem) in [
            ("unit/a\n", "line 1: no section"),
            ("[some shards]\n", "line 1: no such section"),
            ("[several shards]\nunit/a\n", "line 2: no reason"),
            ("[several shards]\n  fails x\n", "line 2: nothing"),
            ("[several shards]\nbecause\nunit/a\n", "line 2: no reason"),
            ("[several shards]\nbecause x\nunit/a\n  x y\n", "line 4: neither"),
            ("[several shards]\nbecause x\nunit/a\n  fails y\n  varies y\n", "line 5: it is there"),
        ] {
            let error = Skips::read(text).unwrap_err();
            assert!(error.starts_with(problem), "{text:?}: {error}");
        }
    }
}
