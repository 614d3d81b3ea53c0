//! All that can be said of what was measured, as tables.

use crate::results::{
    BESIDE, BETWEEN, Figure, MAX, MEDIAN, P99, P999, PRIMARY, RATE, Results, SESSION_BYTES,
    SESSIONS,
};
use crate::rows::{Beside, Row, Work};
use crate::standing;
use crate::table::{Table, digits, milliseconds, thousands, times};
use crate::ways::Way;

use Way::{Before, Direct, Endpoint, Floor, HostPort, Threads2};

/// One column: its heading, and its cell in a row.
type Column<'a> = (String, Box<dyn Fn(&Row) -> Option<String> + 'a>);

/// See [`tables`].
struct Report<'a> {
    results: &'a Results,
    rows: &'a [&'a Row],
}

/// The tables of these rows, one below the other.
pub(crate) fn tables(results: &Results, rows: &[&Row]) -> String {
    let loads: Vec<&Row> = rows.iter().copied().filter(|row| row.work.is_load()).collect();
    let report = Report { results, rows: &loads };
    let proxies: Vec<Way> = proxies(results).collect();
    [
        report.rate(&proxies),
        report.latency(&proxies),
        report.between(&proxies),
        standing::table(results, rows),
        report.primary(&proxies),
        report.threads_2(),
        report.host_port(),
        report.before(),
        mixed(results, rows),
        memory(results, rows),
    ]
    .iter()
    .map(Table::markdown)
    .collect()
}

/// What is compared with the direct way: the endpoint, and everybody else's proxies.
fn proxies(results: &Results) -> impl Iterator<Item = Way> + '_ {
    let endpoint = results.ways().filter(|way| *way == Endpoint);
    endpoint.chain(results.ways().filter(|way| way.is_other()))
}

impl<'a> Report<'a> {
    fn figure(&self, heading: &str, way: Way, figure: Figure) -> Column<'a> {
        self.figure_as(digits, heading, way, figure)
    }

    fn figure_as(
        &self,
        text: fn(f64) -> String,
        heading: &str,
        way: Way,
        figure: Figure,
    ) -> Column<'a> {
        let results = self.results;
        let cell = move |row: &Row| results.figure(row, way, figure).map(text);
        (heading.to_owned(), Box::new(cell))
    }

    fn ratio(&self, heading: &str, ways: (Way, Way), figure: Figure) -> Column<'a> {
        let results = self.results;
        let cell = move |row: &Row| results.ratio(row, ways, figure).map(times);
        (heading.to_owned(), Box::new(cell))
    }

    /// A proxy's figure against the one without any.
    fn against<'b>(
        &'b self,
        proxies: &'b [Way],
        figure: Figure,
    ) -> impl Iterator<Item = Column<'a>> + 'b {
        proxies.iter().map(move |way| self.ratio(way.name(), (*way, Direct), figure))
    }

    fn table(&self, title: &str, columns: Vec<Column<'_>>) -> Table {
        let headings = columns.iter().map(|(heading, _)| heading.clone()).collect();
        let mut table = Table::new(title, &["work"], headings);
        for row in self.rows {
            let cells = columns.iter().map(|(_, cell)| cell(row)).collect();
            table.line(vec![row.text.to_owned()], cells);
        }
        table
    }

    fn rate(&self, proxies: &[Way]) -> Table {
        let mut columns = vec![self.figure_as(thousands, "direct, per s", Direct, RATE)];
        columns.extend(self.against(proxies, RATE));
        self.table("Commands per second, against direct", columns)
    }

    fn latency(&self, proxies: &[Way]) -> Table {
        let mut columns = vec![self.figure_as(milliseconds, "direct p50", Direct, MEDIAN)];
        columns.extend(self.against(proxies, MEDIAN));
        columns.push(self.figure_as(milliseconds, "direct p99", Direct, P99));
        columns.extend(self.against(proxies, P99));
        self.table("Latency: milliseconds direct, and the others against it", columns)
    }

    fn between(&self, proxies: &[Way]) -> Table {
        let mut columns: Vec<Column<'_>> =
            proxies.iter().map(|way| self.figure(way.name(), *way, BETWEEN)).collect();
        columns.push(self.figure("floor", Floor, BETWEEN));
        for to in proxies.iter().copied().filter(|way| *way != Endpoint).chain([Floor]) {
            columns.push(self.ratio(&format!("endpoint / {to}"), (Endpoint, to), BETWEEN));
        }
        self.table("The proxy's own processor time, microseconds per command", columns)
    }

    fn primary(&self, proxies: &[Way]) -> Table {
        let mut columns = vec![self.figure("direct", Direct, PRIMARY)];
        columns.extend(self.against(proxies, PRIMARY));
        let title = "The primary's processor time: microseconds per command direct, and with a \
                     proxy against it";
        self.table(title, columns)
    }

    fn threads_2(&self) -> Table {
        let results = self.results;
        let endpoint = move |row: &Row| {
            let there = results.figure(row, Threads2, BETWEEN);
            there.and_then(|_| results.figure(row, Endpoint, BETWEEN)).map(digits)
        };
        let columns: Vec<Column<'_>> = vec![
            self.ratio("per s / endpoint", (Threads2, Endpoint), RATE),
            self.ratio("p50 / endpoint", (Threads2, Endpoint), MEDIAN),
            ("endpoint, us".into(), Box::new(endpoint)),
            self.figure("threads-2, us", Threads2, BETWEEN),
            self.ratio("us / endpoint", (Threads2, Endpoint), BETWEEN),
        ];
        let title = "An endpoint of two threads against one of one: processor time per command, \
                     and what clients see";
        self.table(title, columns)
    }

    fn host_port(&self) -> Table {
        let columns = vec![
            self.ratio("per s / direct", (HostPort, Direct), RATE),
            self.ratio("/ endpoint", (HostPort, Endpoint), RATE),
            self.ratio("p50 / direct", (HostPort, Direct), MEDIAN),
            self.ratio("/ endpoint", (HostPort, Endpoint), MEDIAN),
            self.figure("proxy, us", HostPort, BETWEEN),
            self.ratio("/ endpoint", (HostPort, Endpoint), BETWEEN),
        ];
        self.table("The host's own port, against direct and against the endpoint's", columns)
    }

    fn before(&self) -> Table {
        let columns = vec![
            self.ratio("per s", (Endpoint, Before), RATE),
            self.ratio("p50", (Endpoint, Before), MEDIAN),
            self.figure("before, us", Before, BETWEEN),
            self.ratio("proxy us", (Endpoint, Before), BETWEEN),
            self.ratio("primary us", (Endpoint, Before), PRIMARY),
        ];
        self.table("The endpoint against another build of it (before)", columns)
    }
}

/// One line for each way: there are too many figures to stand side by side.
fn mixed(results: &Results, rows: &[&Row]) -> Table {
    let columns = ["p50", "p99", "p99.9", "max", "per s", "beside it, per s"];
    let title = "Latency beside another client's load, milliseconds";
    let mut table = Table::new(title, &["work", "by way of"], columns.map(str::to_owned).to_vec());
    for row in rows {
        let Work::Mixed(beside) = row.work else { continue };
        for way in results.ways() {
            let figure = |figure| results.figure(row, way, figure);
            let beside = figure(BESIDE).map(|rate| match beside {
                Beside::Large | Beside::LargeOfMany => format!("{} MB", digits(rate / 1e6)),
                _ => thousands(rate),
            });
            let mut cells: Vec<_> =
                [MEDIAN, P99, P999, MAX].map(|of| figure(of).map(milliseconds)).to_vec();
            cells.extend([figure(RATE).map(thousands), beside]);
            table.line(vec![row.text.to_owned(), way.name().to_owned()], cells);
        }
    }
    table
}

fn memory(results: &Results, rows: &[&Row]) -> Table {
    let rows: Vec<&&Row> =
        rows.iter().filter(|row| matches!(row.work, Work::Sessions(_))).collect();
    let ways: Vec<Way> = results
        .ways()
        .filter(|way| rows.iter().any(|row| results.figure(row, *way, SESSIONS).is_some()))
        .collect();
    let columns = ways.iter().map(|way| way.name().to_owned());
    let columns = std::iter::once("sessions".to_owned()).chain(columns).collect();
    let mut table = Table::new(
        "Resident memory of the process that clients are connected to, bytes per session",
        &["work"],
        columns,
    );
    for row in rows {
        let whole = |figure: f64| format!("{figure:.0}");
        let figure = |way, figure| results.figure(row, way, figure).map(whole);
        let mut cells = vec![ways.iter().find_map(|way| figure(*way, SESSIONS))];
        cells.extend(ways.iter().map(|way| figure(*way, SESSION_BYTES)));
        table.line(vec![row.text.to_owned()], cells);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Served;
    use crate::memory::Memory;
    use crate::results::Sample;
    use crate::results::tests::load;
    use crate::rows::ROWS;

    #[test]
    fn each_kind_of_row_has_its_table() {
        let row = |name: &str| ROWS.iter().find(|row| row.name == name).expect("such a row");
        let mut results = Results::default();
        results.add(row("set-p1"), Direct, load(1000.0, 0.0, 9.0));
        results.add(row("set-p1"), Endpoint, load(500.0, 6.0, 9.0));
        let Some(served) = load(100.0, 0.0, 0.0).served() else { panic!("it has served") };
        let served = Served { p999_ms: Some(2.5), ..served };
        let mixed = Sample::Mixed { served, beside: Some(3e8) };
        results.add(row("mixed-100m"), Endpoint, mixed);
        let memory = Memory { sessions: 10, bytes_per_session: 1234.4 };
        results.add(row("memory-idle"), Endpoint, Sample::Memory(memory));
        let text = tables(&results, &ROWS.iter().collect::<Vec<_>>());
        for part in [
            "| SET, 50 clients |         1.0 k |   0.50 x |",
            "| endpoint  | 1.00 | 2.00 |  2.50 | 3.00 |   100 |           300 MB |",
            "| idle sessions |       10 |     1234 |",
            "predixy 7.0, reference",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.contains("two threads"), "{text}");
    }
}
