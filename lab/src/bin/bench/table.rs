//! What was measured, as tables: medians of the rounds, and ratios.
//!
//! A ratio is taken within a round, in which the two were measured one right after the other, and
//! the median is of these ratios: what else the machine does changes from minute to minute and hits
//! both alike.

use std::collections::HashMap;

use crate::bed::Way;
use crate::load::Served;
use crate::rows::Row;

/// One run of a row by one way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) served: Served,
    /// Microseconds of processor time per command, of what stands between.
    pub(crate) between_us: f64,
    /// The same of the primary.
    pub(crate) primary_us: f64,
}

type Figure = fn(&Sample) -> f64;

const RATE: Figure = |sample| sample.served.per_second;
const MEDIAN: Figure = |sample| sample.served.median_ms;
const P99: Figure = |sample| sample.served.p99_ms;
const BETWEEN: Figure = |sample| sample.between_us;
const PRIMARY: Figure = |sample| sample.primary_us;

/// All samples: of a row and a way, one per round.
#[derive(Debug, Default)]
pub(crate) struct Results(HashMap<(&'static str, Way), Vec<Sample>>);

/// One column: its heading, and its cell in a row.
type Column<'a> = (&'a str, &'a dyn Fn(&Row) -> Option<String>);

impl Results {
    pub(crate) fn add(&mut self, row: &Row, way: Way, sample: Sample) {
        self.0.entry((row.name, way)).or_default().push(sample);
    }

    fn samples(&self, row: &Row, way: Way) -> &[Sample] {
        self.0.get(&(row.name, way)).map_or(&[], Vec::as_slice)
    }

    fn figure(&self, row: &Row, way: Way, figure: Figure) -> Option<f64> {
        median(self.samples(row, way).iter().map(figure).collect())
    }

    fn ratio(&self, row: &Row, (way, to): (Way, Way), figure: Figure) -> Option<f64> {
        let pairs = self.samples(row, way).iter().zip(self.samples(row, to));
        median(pairs.map(|(sample, base)| figure(sample) / figure(base)).collect())
    }

    /// Prints all that can be said of these rows.
    pub(crate) fn print(&self, rows: &[&Row]) {
        let per_second = |row: &Row| self.figure(row, Way::Direct, RATE).map(thousands);
        let figure = |way, of| move |row: &Row| self.figure(row, way, of).map(digits);
        let ratio = |way, to, of| move |row: &Row| self.ratio(row, (way, to), of).map(times);
        use Way::{Before, Direct, Endpoint, HostPort, Nutcracker};
        print_table(
            "Commands per second, against direct",
            rows,
            &[
                ("direct, per s", &per_second),
                ("endpoint", &ratio(Endpoint, Direct, RATE)),
                ("nutcracker", &ratio(Nutcracker, Direct, RATE)),
            ],
        );
        print_table(
            "Latency: milliseconds direct, and the others against it",
            rows,
            &[
                ("direct p50", &figure(Direct, MEDIAN)),
                ("endpoint", &ratio(Endpoint, Direct, MEDIAN)),
                ("nutcracker", &ratio(Nutcracker, Direct, MEDIAN)),
                ("direct p99", &figure(Direct, P99)),
                ("endpoint", &ratio(Endpoint, Direct, P99)),
                ("nutcracker", &ratio(Nutcracker, Direct, P99)),
            ],
        );
        print_table(
            "The proxy's own processor time, microseconds per command",
            rows,
            &[
                ("endpoint", &figure(Endpoint, BETWEEN)),
                ("nutcracker", &figure(Nutcracker, BETWEEN)),
                ("endpoint / nutcracker", &ratio(Endpoint, Nutcracker, BETWEEN)),
            ],
        );
        print_table(
            "The primary's processor time: microseconds per command direct, and with a proxy \
             against it",
            rows,
            &[
                ("direct", &figure(Direct, PRIMARY)),
                ("endpoint", &ratio(Endpoint, Direct, PRIMARY)),
                ("nutcracker", &ratio(Nutcracker, Direct, PRIMARY)),
            ],
        );
        print_table(
            "The host's own port, against direct and against the endpoint's",
            rows,
            &[
                ("per s / direct", &ratio(HostPort, Direct, RATE)),
                ("/ endpoint", &ratio(HostPort, Endpoint, RATE)),
                ("p50 / direct", &ratio(HostPort, Direct, MEDIAN)),
                ("/ endpoint", &ratio(HostPort, Endpoint, MEDIAN)),
                ("proxy, us", &figure(HostPort, BETWEEN)),
                ("/ endpoint", &ratio(HostPort, Endpoint, BETWEEN)),
            ],
        );
        print_table(
            "The endpoint against another build of it (before)",
            rows,
            &[
                ("per s", &ratio(Endpoint, Before, RATE)),
                ("p50", &ratio(Endpoint, Before, MEDIAN)),
                ("before, us", &figure(Before, BETWEEN)),
                ("proxy us", &ratio(Endpoint, Before, BETWEEN)),
                ("primary us", &ratio(Endpoint, Before, PRIMARY)),
            ],
        );
    }
}

/// Prints a table in Markdown, or nothing if there is nothing in it. What wasn't measured is a
/// dash.
fn print_table(title: &str, rows: &[&Row], columns: &[Column<'_>]) {
    let cells: Vec<Vec<Option<String>>> =
        rows.iter().map(|row| columns.iter().map(|(_, cell)| cell(row)).collect()).collect();
    if cells.iter().flatten().all(Option::is_none) {
        return;
    }
    let first = rows.iter().map(|row| row.text.len()).max().unwrap_or(0);
    let width = |column: usize| columns[column].0.len().max(8);
    println!("\n{title}\n");
    print!("| {:first$} |", "work");
    for (column, (heading, _)) in columns.iter().enumerate() {
        print!(" {heading:>width$} |", width = width(column));
    }
    print!("\n|{}|", "-".repeat(first + 2));
    for column in 0..columns.len() {
        print!("{}:|", "-".repeat(width(column) + 1));
    }
    println!();
    for (row, cells) in
        rows.iter().zip(&cells).filter(|(_, cells)| cells.iter().any(Option::is_some))
    {
        print!("| {:first$} |", row.text);
        for (column, cell) in cells.iter().enumerate() {
            let cell = cell.as_deref().unwrap_or("-");
            print!(" {cell:>width$} |", width = width(column));
        }
        println!();
    }
}

/// The middle one, or the mean of the two in the middle; none of none, nor of what is no number.
fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let (lower, upper) = (figures.len().checked_sub(1)? / 2, figures.len() / 2);
    Some((figures[lower] + figures[upper]) / 2.0).filter(|figure| figure.is_finite())
}

fn times(ratio: f64) -> String {
    match ratio {
        ..0.01 => format!("{ratio:.4} x"),
        ..10.0 => format!("{ratio:.2} x"),
        _ => format!("{ratio:.0} x"),
    }
}

fn digits(figure: f64) -> String {
    match figure {
        ..10.0 => format!("{figure:.2}"),
        ..100.0 => format!("{figure:.1}"),
        _ => format!("{figure:.0}"),
    }
}

fn thousands(figure: f64) -> String {
    match figure {
        ..1_000.0 => digits(figure),
        _ => format!("{:.1} k", figure / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(vec![f64::NAN]), None);
    }

    #[test]
    fn figures_keep_what_can_be_trusted() {
        assert_eq!(digits(1.234), "1.23");
        assert_eq!(digits(12.34), "12.3");
        assert_eq!(thousands(123_456.0), "123.5 k");
        assert_eq!(times(0.0021), "0.0021 x");
    }
}
