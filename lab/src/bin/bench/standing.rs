//! The endpoint's processor time against the best of others.
//!
//! Others are who was measured in the same run, and who was measured once on another machine. The
//! latter's figures are scaled by what the same work cost the primary itself there and costs it
//! here, round by round: a machine that is twice as fast is so for both, about. Who is measured
//! here needs no figures from elsewhere.

use crate::results::{BETWEEN, PRIMARY, Results, median, ratio};
use crate::rows::{Bed, Row, Work};
use crate::table::{Table, digits, times};
use crate::ways::Way;

/// Microseconds per command: of two cores, 50 clients where the row says nothing else, one shard,
/// medians of three rounds.
struct Reference {
    row: &'static str,
    /// Of the proxies in `PROXIES`.
    proxies: [f64; 3],
    /// Of a primary that nothing stands before.
    direct: f64,
}

/// Each begins with the name that it has when it is measured.
const PROXIES: [&str; 3] = ["nutcracker 0.5", "predixy 7.0", "haproxy (plain TCP)"];

const fn reference(row: &'static str, proxies: [f64; 3], direct: f64) -> Reference {
    Reference { row, proxies, direct }
}

const REFERENCES: [Reference; 8] = [
    reference("set-p1", [11.5, 9.9, 14.2], 9.1),
    reference("get-p1", [13.5, 10.4, 16.0], 9.2),
    reference("set-p16", [2.8, 1.16, 1.13], 1.8),
    reference("get-p16", [2.9, 1.22, 1.15], 1.6),
    reference("get-c1-p100", [2.3, 1.04, 0.62], 1.6),
    reference("get-1k", [11.2, 9.8, 15.1], 9.7),
    reference("get-16k", [19.0, 18.0, 25.5], 18.8),
    reference("mget-10", [17.5, 11.4, 19.0], 17.5),
];

/// Somebody to be better than.
struct Other {
    name: String,
    /// Microseconds per command, in each round.
    each: Vec<f64>,
}

/// What the endpoint's time is to be of the best of others', at most.
fn goal(pipeline: u32) -> f64 {
    if pipeline == 1 { 0.8 } else { 0.5 }
}

fn others(results: &Results, row: &Row) -> Vec<Other> {
    let measured = results
        .ways()
        .filter(|way| way.is_other())
        .map(|way| Other { name: way.name().to_owned(), each: results.each(row, way, BETWEEN) });
    let mut others: Vec<Other> = measured.filter(|other| !other.each.is_empty()).collect();
    let Some(reference) = REFERENCES.iter().find(|reference| reference.row == row.name) else {
        return others;
    };
    let direct = results.each(row, Way::Direct, PRIMARY);
    for (name, time) in PROXIES.iter().zip(reference.proxies) {
        if !others.iter().any(|other| name.split(' ').next() == Some(&other.name)) {
            let each = direct.iter().map(|now| time * now / reference.direct).collect();
            others.push(Other { name: format!("{name}, reference"), each });
        }
    }
    others
}

/// The one with the smallest median.
fn best(others: Vec<Other>) -> Option<(Other, f64)> {
    let with_median = others.into_iter().filter_map(|other| {
        let median = median(other.each.clone())?;
        Some((other, median))
    });
    with_median.min_by(|(_, one), (_, two)| one.total_cmp(two))
}

/// The table.
pub(crate) fn table(results: &Results, rows: &[&Row]) -> Table {
    let columns = [
        "best of others",
        "its us",
        "endpoint us",
        "endpoint / best",
        "goal",
        "reached",
        "floor / best",
    ];
    let title = "Against the best of others: the proxy's processor time, microseconds per command";
    let mut table = Table::new(title, &["work"], columns.map(str::to_owned).to_vec());
    for row in rows.iter().filter(|row| row.bed == Bed::Plain) {
        let Work::Commands { pipeline, .. } = row.work else { continue };
        let endpoint = results.each(row, Way::Endpoint, BETWEEN);
        let Some((other, time)) = best(others(results, row)) else { continue };
        let Some(share) = ratio(&endpoint, &other.each) else { continue };
        let floor = ratio(&results.each(row, Way::Floor, BETWEEN), &other.each);
        let goal = goal(pipeline);
        let cells = [
            Some(other.name),
            Some(digits(time)),
            median(endpoint).map(digits),
            Some(times(share)),
            Some(format!("{goal:.1} x")),
            Some(if share <= goal { "yes" } else { "no" }.to_owned()),
            floor.map(times),
        ];
        table.line(vec![row.text.to_owned()], cells.to_vec());
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::load;
    use crate::rows::ROWS;
    use crate::ways::Peer;

    #[test]
    fn references_are_of_rows_that_there_are() {
        for reference in &REFERENCES {
            assert!(ROWS.iter().any(|row| row.name == reference.row), "{}", reference.row);
        }
    }

    #[test]
    fn the_best_is_found_among_measured_and_scaled_ones() {
        let row = ROWS.iter().find(|row| row.name == "set-p1").expect("there is one");
        let mut results = Results::default();
        results.add(row, Way::Endpoint, load(1.0, 4.0, 1.0));
        // Without a direct way there is nothing to scale references by.
        results.add(row, Way::Nutcracker, load(1.0, 8.0, 1.0));
        assert_eq!(best(others(&results, row)).expect("one").0.name, "nutcracker");
        // This machine takes half of the reference's time: the best reference is 9.9 / 2.
        results.add(row, Way::Direct, load(1.0, 0.0, 4.55));
        let (other, time) = best(others(&results, row)).expect("several");
        assert_eq!(other.name, "predixy 7.0, reference");
        assert!((time - 4.95).abs() < 1e-9);
        results.add(row, Way::Floor, load(1.0, 2.0, 1.0));
        let text = table(&results, &[row]).markdown();
        assert!(text.contains("0.81 x |") && text.contains("0.8 x |      no |"), "{text}");
        assert!(text.contains("0.40 x |"), "{text}");
    }

    #[test]
    fn who_is_measured_needs_no_reference() {
        let row = ROWS.iter().find(|row| row.name == "set-p16").expect("there is one");
        let peer = Peer::read_all("haproxy=127.0.0.1:1:1").expect("it is one").remove(0);
        let haproxy = Way::Peer(Box::leak(Box::new(peer)));
        let mut results = Results::default();
        results.add(row, Way::Direct, load(1.0, 0.0, 1.8));
        let names = |results: &Results| -> Vec<String> {
            others(results, row).into_iter().map(|other| other.name).collect()
        };
        assert_eq!(
            names(&results),
            [
                "nutcracker 0.5, reference",
                "predixy 7.0, reference",
                "haproxy (plain TCP), reference"
            ]
        );
        results.add(row, haproxy, load(1.0, 1.5, 1.0));
        results.add(row, Way::Nutcracker, load(1.0, 4.5, 1.0));
        assert_eq!(names(&results), ["haproxy", "nutcracker", "predixy 7.0, reference"]);
    }
}
