//! What came of it all, as tables.

use std::collections::{BTreeMap, HashSet};
use std::io;

use crate::bed::Bed;
use crate::faults::Mark;
use crate::ledger::{self, Book, Clock, Element, Micros, Side, Told};
use crate::watch::Seen;

/// How long after a switch writes are looked at, unless the next fault begins earlier.
const AFTER_SWITCH: Micros = 2_000_000;

/// Looks for every element on the servers, and marks those that are not there.
///
/// # Errors
/// If a server doesn't answer.
pub(crate) fn look(bed: &Bed, books: &mut [Book]) -> io::Result<()> {
    for book in books {
        let mut there: HashSet<(u8, usize)> = HashSet::new();
        for (shard, tag) in bed.tags().iter().enumerate() {
            let members = bed.members(shard, &book.key(tag))?;
            there.extend(members.iter().filter_map(|m| Some((shard as u8, m.parse().ok()?))));
        }
        for (number, element) in book.elements.iter_mut().enumerate() {
            element.lost = !there.contains(&(element.shard, number));
        }
    }
    Ok(())
}

/// How long one side couldn't write after a switch.
#[derive(Clone, Debug)]
pub(crate) struct Gap {
    pub(crate) side: Side,
    /// What had happened, ...
    pub(crate) name: String,
    /// ... and when the engine switched then.
    pub(crate) at: Micros,
    /// The longest time without a write from the switch on.
    pub(crate) after: Micros,
    /// The same from the fault on, so with the time that the engine took to switch.
    pub(crate) whole: Micros,
}

/// For each switch and side, the longest time without a successful write.
///
/// A write that was answered as done but isn't there in the end was none.
pub(crate) fn gaps(books: &[Book], switches: &[Seen], marks: &[Mark], sides: &[Side]) -> Vec<Gap> {
    let mut gaps = Vec::new();
    // Nobody tries to write any more.
    let over = books.iter().flat_map(|book| &book.elements).map(|element| element.sent).max();
    let over = over.unwrap_or_default();
    for &side in sides {
        let mut writes: BTreeMap<usize, Vec<Micros>> = BTreeMap::new();
        let done = |e: &Element| (!e.lost).then_some(usize::from(e.shard)).zip(e.written);
        for (shard, at) in ledger::elements(books, side).filter_map(done) {
            writes.entry(shard).or_default().push(at);
        }
        writes.values_mut().for_each(|times| times.sort_unstable());
        for seen in switches {
            let Some(times) = writes.get(&seen.shard) else { continue };
            // A switch that no fault explains has happened while the servers came together.
            let mark = marks.iter().rfind(|mark| mark.from <= seen.at);
            let next = marks.iter().find(|mark| mark.from > seen.at);
            let end = next.map_or(over, |next| next.from).min(seen.at + AFTER_SWITCH).max(seen.at);
            let after = longest(times, seen.at, end);
            let begin = mark.map_or(seen.at, |mark| mark.from);
            let whole = longest(times, begin, end);
            let name = mark.map_or_else(String::new, |mark| mark.name.clone());
            gaps.push(Gap { side, name, at: seen.at, after, whole });
        }
    }
    gaps
}

/// The longest time in which nothing happened, of that between these two moments.
fn longest(times: &[Micros], from: Micros, to: Micros) -> Micros {
    let first = times.partition_point(|&at| at < from);
    let last = times.partition_point(|&at| at < to);
    let ends = times[first..last].iter().copied().chain([to]);
    let starts = [from].into_iter().chain(times[first..last].iter().copied());
    starts.zip(ends).map(|(start, end)| end - start).max().unwrap_or(0)
}

/// What makes a run a failure, in words.
pub(crate) fn failures(books: &[Book], may_close: bool) -> Vec<String> {
    let mut failures = Vec::new();
    let count =
        |of: fn(&&Element) -> bool| ledger::elements(books, Side::Endpoint).filter(of).count();
    let lost = count(|e| e.told.is_promise() && e.lost);
    if lost > 0 {
        failures.push(format!("{lost} elements that all replicas had acknowledged are lost"));
    }
    let found = count(|e| e.told == Told::NotDone && !e.lost);
    if found > 0 {
        failures.push(format!("{found} elements are there that were said not to be written"));
    }
    let closed: usize = ledger::of(books, Side::Endpoint).map(|book| book.closed).sum();
    if closed > 0 && !may_close {
        failures.push(format!("{closed} connections of the endpoint's clients were closed"));
    }
    let given_up: usize = ledger::of(books, Side::Endpoint).map(|book| book.given_up).sum();
    if given_up > 0 {
        failures.push(format!("{given_up} times the endpoint sent no reply"));
    }
    failures
}

/// Prints what each side was told, and what became of it.
pub(crate) fn print_told(books: &[Book], sides: &[Side]) {
    println!("\n{:<44} {}", "", columns(sides, |side| side.name().into()));
    let row = |name: &str, of: &dyn Fn(&Element) -> bool| {
        let count = |side| ledger::elements(books, side).filter(|element| of(element)).count();
        println!("{name:<44} {}", columns(sides, |side| count(side).to_string()));
    };
    row("elements", &|_| true);
    for told in Told::EACH {
        row(&format!("  {}", told.text()), &|e| e.told == told);
        match told {
            Told::All => {
                row("    of these lost", &|e| e.told == told && e.lost);
                row("      WAIT was on another connection", &|e| {
                    e.told == told && e.lost && e.elsewhere
                });
            }
            Told::NotDone => row("    of these there", &|e| e.told == told && !e.lost),
            _ => row("    of these lost", &|e| e.told == told && e.lost),
        }
    }
    let sum = |side, of: fn(&Book) -> usize| ledger::of(books, side).map(of).sum::<usize>();
    let counted = |of: fn(&Book) -> usize| columns(sides, |side| sum(side, of).to_string());
    println!("{:<44} {}", "connections closed by the other side", counted(|book| book.closed));
    println!("{:<44} {}", "connections given up, without a reply", counted(|book| book.given_up));
    let mut codes: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (column, &side) in sides.iter().enumerate() {
        for (code, number) in ledger::of(books, side).flat_map(|book| &book.errors) {
            codes.entry(code).or_insert_with(|| vec![0; sides.len()])[column] += number;
        }
    }
    for (code, numbers) in codes {
        let numbers: String = numbers.iter().map(|number| format!("{number:>14}")).collect();
        println!("{:<44} {numbers}", format!("errors that begin with {code}"));
    }
}

fn columns(sides: &[Side], text: impl Fn(Side) -> String) -> String {
    sides.iter().map(|&side| format!("{:>14}", text(side))).collect()
}

/// Prints how long writes failed after each kind of fault, and in all.
pub(crate) fn print_gaps(gaps: &[Gap], sides: &[Side]) {
    if gaps.is_empty() {
        println!("\nThere was no failover.");
        return;
    }
    println!(
        "\nLongest time without a successful write on the shard, in ms: from the engine's own switch\n\
         on, and from the fault on, so with the time that it took to switch (whole).\n"
    );
    let head = |side: Side| format!("{:>38}", side.name());
    println!("{:<38}{}", "", sides.iter().map(|&side| head(side)).collect::<String>());
    let head = format!("{:>16}{:>22}", "median     max", "whole median     max");
    println!("{:<34}{:>4}{}", "", "n", head.repeat(sides.len()));
    let mut names: Vec<&str> = gaps.iter().map(|gap| gap.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names.into_iter().map(Some).chain([None]) {
        let of = |side| {
            let of = move |gap: &&Gap| gap.side == side && name.is_none_or(|name| gap.name == name);
            gaps.iter().filter(of).collect::<Vec<_>>()
        };
        let mut line = format!("{:<34}{:>4}", name.unwrap_or("all"), of(sides[0]).len());
        for &side in sides {
            let (median, max) = median_and_max(of(side).iter().map(|gap| gap.after));
            let (whole, whole_max) = median_and_max(of(side).iter().map(|gap| gap.whole));
            line.push_str(&format!("{median:>8.1}{max:>8.1}{whole:>14.1}{whole_max:>8.1}"));
        }
        println!("{line}");
    }
}

/// Prints when writes through the endpoint failed longest after a switch.
pub(crate) fn print_longest(gaps: &[Gap], clock: Clock) {
    const NAMED: usize = 3;
    let mut gaps: Vec<&Gap> = gaps.iter().filter(|gap| gap.side == Side::Endpoint).collect();
    gaps.sort_by_key(|gap| std::cmp::Reverse(gap.after));
    if !gaps.is_empty() {
        println!("\nThe longest through the endpoint:");
    }
    for gap in gaps.into_iter().take(NAMED) {
        let (after, at) = (gap.after as f64 / 1e3, gap.at as f64 / 1e6);
        let day = clock.time_of_day(gap.at);
        println!("{after:>8.1} ms  {}, switched at {at:.1} s ({day} UTC)", gap.name);
    }
}

fn median_and_max(times: impl Iterator<Item = Micros>) -> (f64, f64) {
    let mut times: Vec<f64> = times.map(|time| time as f64 / 1e3).collect();
    times.sort_by(f64::total_cmp);
    let at = |place: usize| times.get(place).copied().unwrap_or(f64::NAN);
    (at(times.len() / 2), at(times.len().saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(told: Told, written: Micros, lost: bool) -> Element {
        Element {
            shard: 0,
            told,
            elsewhere: false,
            lost,
            sent: written,
            written: Some(written),
            ended: written,
        }
    }

    fn book(side: Side, elements: Vec<Element>) -> Book {
        let mut book = Book::new(side, 0);
        book.elements = elements;
        book
    }

    #[test]
    fn a_lost_promise_is_a_failure_of_the_endpoint_alone() {
        let elements = || vec![element(Told::All, 1, true), element(Told::Later, 2, true)];
        let failures = |side| failures(&[book(side, elements())], false);
        let text = "2 elements that all replicas had acknowledged are lost";
        assert_eq!(failures(Side::Endpoint), [text]);
        assert!(failures(Side::Bare).is_empty());
        let unasked = vec![element(Told::Unasked, 1, true), element(Told::Fewer, 1, true)];
        assert!(super::failures(&[book(Side::Endpoint, unasked)], false).is_empty());
        let denied = vec![element(Told::NotDone, 1, false)];
        assert_eq!(super::failures(&[book(Side::Endpoint, denied)], false).len(), 1);
    }

    #[test]
    fn a_gap_ends_with_a_write_that_stays() {
        let ms = |time: Micros| time * 1000;
        let writes = [(90, false), (130, true), (150, false)];
        let writes = writes.map(|(at, lost)| element(Told::Unasked, ms(at), lost));
        let more = (150..1000).map(|at| element(Told::Unasked, ms(at), false));
        let books = [book(Side::Endpoint, writes.into_iter().chain(more).collect())];
        let switch = Seen { at: ms(100), shard: 0, to: String::new() };
        let mark = |at| Mark {
            name: "primary killed".into(),
            shard: Some(0),
            from: ms(at),
            to: ms(at),
            settled: ms(at),
        };
        let gaps = gaps(&books, &[switch], &[mark(80), mark(900)], &[Side::Endpoint]);
        assert_eq!((gaps[0].after, gaps[0].whole), (ms(50), ms(60)));
        assert_eq!(longest(&[], 3, 7), 4);
    }
}
