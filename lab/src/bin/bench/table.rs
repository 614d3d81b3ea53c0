//! Tables in Markdown, and figures as text.

use std::fmt::Write as _;

/// A table: what its lines are called, and a figure or none in each column.
pub(crate) struct Table {
    title: String,
    labels: Vec<&'static str>,
    columns: Vec<String>,
    lines: Vec<(Vec<String>, Vec<Option<String>>)>,
}

impl Table {
    pub(crate) fn new(
        title: impl Into<String>,
        labels: &[&'static str],
        columns: Vec<String>,
    ) -> Table {
        Table { title: title.into(), labels: labels.to_vec(), columns, lines: Vec::new() }
    }

    /// Adds a line, unless there is nothing in it.
    pub(crate) fn line(&mut self, labels: Vec<String>, cells: Vec<Option<String>>) {
        if cells.iter().any(Option::is_some) {
            self.lines.push((labels, cells));
        }
    }

    /// As text, which is empty if the table is. What wasn't measured is a dash; a column of these
    /// is left out.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        if self.lines.is_empty() {
            return text;
        }
        let there = |column: &usize| self.lines.iter().any(|(_, cells)| cells[*column].is_some());
        let columns: Vec<usize> = (0..self.columns.len()).filter(there).collect();
        let cell = |cell: &Option<String>| cell.clone().unwrap_or_else(|| "-".into());
        let lines: Vec<Vec<String>> = self
            .lines
            .iter()
            .map(|(labels, cells)| {
                let cells = columns.iter().map(|column| cell(&cells[*column]));
                labels.iter().cloned().chain(cells).collect()
            })
            .collect();
        let labels = self.labels.iter().map(|label| (*label).to_owned());
        let head: Vec<String> =
            labels.chain(columns.iter().map(|at| self.columns[*at].clone())).collect();
        let widths: Vec<usize> = (0..head.len())
            .map(|at| {
                let all = lines.iter().chain([&head]).filter_map(|line| line.get(at));
                all.map(|text| text.chars().count()).max().unwrap_or(0).max(3)
            })
            .collect();
        let mut write = |line: &[String]| {
            text.push('|');
            for (at, (cell, width)) in line.iter().zip(&widths).enumerate() {
                let _ = match at < self.labels.len() {
                    true => write!(text, " {cell:<width$} |"),
                    false => write!(text, " {cell:>width$} |"),
                };
            }
            text.push('\n');
        };
        write(&head);
        let rule = |(at, width): (usize, &usize)| match at < self.labels.len() {
            true => "-".repeat(*width),
            false => "-".repeat(width - 1) + ":",
        };
        write(&widths.iter().enumerate().map(rule).collect::<Vec<_>>());
        lines.iter().for_each(|line| write(line));
        format!("## {}\n\n{text}\n", self.title)
    }
}

/// A ratio.
pub(crate) fn times(ratio: f64) -> String {
    match ratio {
        ..0.01 => format!("{ratio:.4} x"),
        ..10.0 => format!("{ratio:.2} x"),
        _ => format!("{ratio:.0} x"),
    }
}

/// As many digits as can be trusted, about.
pub(crate) fn digits(figure: f64) -> String {
    match figure {
        ..10.0 => format!("{figure:.2}"),
        ..100.0 => format!("{figure:.1}"),
        _ => format!("{figure:.0}"),
    }
}

/// Milliseconds, to a microsecond.
pub(crate) fn milliseconds(figure: f64) -> String {
    if figure < 1.0 { format!("{figure:.3}") } else { digits(figure) }
}

/// As many digits, with a `k` or an `M` behind large ones.
pub(crate) fn thousands(figure: f64) -> String {
    match figure {
        ..1_000.0 => digits(figure),
        ..1_000_000.0 => format!("{:.1} k", figure / 1e3),
        _ => format!("{:.2} M", figure / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_what_can_be_trusted() {
        assert_eq!(digits(1.234), "1.23");
        assert_eq!(digits(12.34), "12.3");
        assert_eq!([milliseconds(0.0674), milliseconds(1.234)], ["0.067", "1.23"]);
        assert_eq!(thousands(123_456.0), "123.5 k");
        assert_eq!(thousands(1_234_567.0), "1.23 M");
        assert_eq!(times(0.0021), "0.0021 x");
    }

    #[test]
    fn a_table_has_what_was_measured() {
        let mut table =
            Table::new("Speed", &["work"], ["direct", "via", "never"].map(str::to_owned).to_vec());
        table.line(vec!["nothing".into()], vec![None, None, None]);
        assert_eq!(table.markdown(), "");
        table.line(vec!["SET".into()], vec![Some("1.5".into()), None, None]);
        table.line(vec!["GET".into()], vec![Some("2.5".into()), Some("3".into()), None]);
        let text = "## Speed\n\n| work | direct | via |\n| ---- | -----: | --: |\n\
                    | SET  |    1.5 |   - |\n| GET  |    2.5 |   3 |\n\n";
        assert_eq!(table.markdown(), text);
    }
}
