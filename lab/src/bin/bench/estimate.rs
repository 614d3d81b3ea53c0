//! How long it all will take, about.

use crate::options::Options;
use crate::rows::{Bed, Row, Work};

/// Seconds until the servers of a bed answer, and until they are gone.
const BED: f64 = 2.0;

/// Seconds of the whole run.
pub(crate) fn whole(options: &Options) -> f64 {
    let beds = Bed::EACH.into_iter().filter(|bed| !options.rows_of(*bed).is_empty()).count();
    let row = |row: &&Row| {
        let rounds = if row.bed == Bed::Memory { 1 } else { options.rounds };
        one(row, options.seconds) * (rounds * options.ways(row).len()) as f64
    };
    BED * beds as f64 + options.rows().iter().map(row).sum::<f64>()
}

/// Seconds of one measurement: what is measured, and what it takes before and after.
fn one(row: &Row, seconds: f64) -> f64 {
    let seconds = seconds.max(row.seconds_min);
    match row.work {
        Work::Commands { .. } | Work::Acknowledged { .. } => seconds + 0.3,
        Work::Paced(_) => seconds + 0.1,
        Work::Mixed(_) => seconds + 0.6,
        // Each has servers of its own.
        Work::Sessions(_) => BED + 2.0,
    }
}

/// As a person says it.
pub(crate) fn text(seconds: f64) -> String {
    match seconds {
        ..100.0 => format!("{seconds:.0} seconds"),
        _ => format!("{:.0} minutes", seconds / 60.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_all_that_is_asked_for_by_itself_is_short_enough() {
        let options = Options::read(std::iter::empty(), |_| None).expect("nothing is wrong");
        let minutes = whole(&options) / 60.0;
        assert!((5.0..15.0).contains(&minutes), "{minutes} minutes");
        assert_eq!(text(42.4), "42 seconds");
        assert_eq!(text(630.0), "10 minutes");
    }
}
