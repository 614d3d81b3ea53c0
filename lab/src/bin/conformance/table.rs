//! What came of it all, as a table.

use std::collections::BTreeMap;

use crate::bed::Way;
use crate::judge::Verdict;

/// All verdicts: of a unit, and the way in which it was played.
pub(crate) type Verdicts = BTreeMap<(String, Way), Verdict>;

/// Prints a line per unit, and for each way how many tests passed on the bare server, passed that
/// way, are listed, and failed.
pub(crate) fn print(verdicts: &Verdicts, ways: &[Way]) {
    let mut units: Vec<&str> = verdicts.keys().map(|(unit, _)| unit.as_str()).collect();
    units.dedup();
    let width = units.iter().map(|unit| unit.len()).max().unwrap_or(0).max("total".len());
    print!("\n{:width$}", "");
    for way in ways {
        print!("  |  {way:<31}");
    }
    print!("\n{:width$}", "unit");
    for _ in ways {
        print!("  |  {:>6} {:>8} {:>8} {:>6}", "bare", "passed", "skipped", "failed");
    }
    println!();
    let mut totals = vec![[0; 4]; ways.len()];
    for unit in units {
        print!("{unit:width$}");
        for (way, total) in ways.iter().zip(&mut totals) {
            let verdict = verdicts.get(&(unit.to_owned(), *way));
            let cells = verdict.map(|verdict| {
                [verdict.bare, verdict.passed, verdict.skipped, verdict.problems.len()]
            });
            print_cells(cells);
            for (sum, cell) in total.iter_mut().zip(cells.unwrap_or_default()) {
                *sum += cell;
            }
        }
        println!();
    }
    print!("{:width$}", "total");
    for total in totals {
        print_cells(Some(total));
    }
    println!("\n");
}

fn print_cells(cells: Option<[usize; 4]>) {
    let Some([bare, passed, skipped, failed]) = cells else {
        print!("  |  {:31}", "");
        return;
    };
    print!("  |  {bare:>6} {passed:>8} {skipped:>8} {failed:>6}");
}
