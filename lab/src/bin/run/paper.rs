//! How it looks: plain text, the steps numbered, what was measured in the same column.

use std::time::Duration;

/// The column in which an answer's time stands.
const TIME_COLUMN: usize = 58;

/// Prints numbered steps.
#[derive(Debug, Default)]
pub(crate) struct Paper {
    step: usize,
}

impl Paper {
    /// The heading of a chapter.
    pub(crate) fn chapter(&self, title: &str) {
        println!("\n{title}\n");
    }

    /// What is done next.
    pub(crate) fn step(&mut self, text: &str) {
        self.step += 1;
        println!("  {:>2}. {text}", self.step);
    }

    /// What came of it.
    pub(crate) fn note(&self, text: &str) {
        println!("        {text}");
    }

    /// What came of it, and how long it took.
    pub(crate) fn answer(&self, text: &str, took: Duration) {
        let width = TIME_COLUMN;
        println!("        {text:<width$} {:>9}", time(took));
    }
}

/// A time as a person says it: 412 us, 1.31 ms, 1002 ms, 2.1 s.
pub(crate) fn time(time: Duration) -> String {
    let us = time.as_micros();
    match us {
        0..1_000 => format!("{us} us"),
        1_000..100_000 => format!("{:.2} ms", us as f64 / 1e3),
        100_000..2_000_000 => format!("{} ms", us / 1_000),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_three_figures_or_so() {
        let said = |us| time(Duration::from_micros(us));
        assert_eq!(said(412), "412 us");
        assert_eq!(said(1_312), "1.31 ms");
        assert_eq!(said(1_002_345), "1002 ms");
        assert_eq!(said(2_100_000), "2.1 s");
    }
}
