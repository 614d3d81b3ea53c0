//! What was measured, as plots (SVG).
//!
//! ```text
//!   throughput.svg     commands per second by the pipelines' depth: a panel for SET, one for GET
//!   cpu.svg            processor time per command, likewise
//!   acknowledged.svg   acknowledged writes per second by the number of clients
//!   latency.svg        percentiles: a line for each row of work and way
//!   mixed.svg          the same for one client beside another one's load
//! ```
//!
//! All scales are logarithmic: what is compared are ratios, and they span three decades.

mod curves; // panels with a curve for each way
mod sheet; //  what all plots are drawn with
mod spans; //  percentiles, a line for each row and way

use std::fs;
use std::io;
use std::path::Path;

use crate::results::{BETWEEN, Figure, MAX, MEDIAN, P99, P999, PRIMARY, RATE, Results};
use crate::rows::{Bed, Row};
use crate::ways::Way;

use curves::{Curve, Curves, Panel};
use spans::{Line, Spans};

/// One of the plots.
pub(crate) struct Picture {
    pub(crate) file: &'static str,
    pub(crate) title: &'static str,
    draw: fn(&Path, &str, &Results, &[&Row]) -> Result<bool, String>,
}

static PICTURES: [Picture; 5] = [
    Picture {
        file: "throughput.svg",
        title: "Commands per second by the pipelines' depth, 50 clients",
        draw: throughput,
    },
    Picture {
        file: "cpu.svg",
        title: "Processor time of the proxy per command by the pipelines' depth, 50 clients",
        draw: processor_time,
    },
    Picture { file: "latency.svg", title: "Latency of commands", draw: latency },
    Picture {
        file: "mixed.svg",
        title: "Latency of one client's GETs beside another one's load",
        draw: mixed,
    },
    Picture {
        file: "acknowledged.svg",
        title: "Writes that a replica has acknowledged (SET then WAIT 1), per second",
        draw: acknowledged,
    },
];

/// Draws those for which there is enough to draw, and says of each whether there was.
///
/// # Errors
/// If a file can't be written.
pub(crate) fn draw_all(
    folder: &Path,
    results: &Results,
    rows: &[&Row],
) -> io::Result<Vec<(&'static Picture, bool)>> {
    let one = |picture: &'static Picture| {
        let path = folder.join(picture.file);
        let failed = |error: String| io::Error::other(format!("{}: {error}", path.display()));
        let drawn = (picture.draw)(&path, picture.title, results, rows).map_err(failed)?;
        // One of an earlier run would be taken for this one's.
        if !drawn && path.exists() {
            fs::remove_file(&path).map_err(|error| failed(error.to_string()))?;
        }
        Ok((picture, drawn))
    };
    PICTURES.iter().map(one).collect()
}

/// Rows of one command that differ in one thing: the row's name, and where it is on the axis.
type Steps = [(&'static str, &'static str); 3];

const SET: Steps = [("set-p1", "1"), ("set-p16", "16"), ("set-p100", "100")];
const GET: Steps = [("get-p1", "1"), ("get-p16", "16"), ("get-p100", "100")];
const WAIT: Steps = [("wait-c1", "1"), ("wait-c50", "50"), ("wait-c500", "500")];

/// The curve of each way by these rows, as far as there are two points of it.
fn panel(
    title: &str,
    steps: &Steps,
    results: &Results,
    rows: &[&Row],
    figure: impl Fn(Way) -> Option<Figure>,
) -> Panel {
    let curves = results.ways().filter_map(|way| {
        let figure = figure(way)?;
        let points = steps.iter().enumerate().filter_map(|(at, (name, _))| {
            let row = rows.iter().find(|row| row.name == *name)?;
            Some((at, results.figure(row, way, figure).filter(|value| *value > 0.0)?))
        });
        Some(Curve { way, points: points.collect() })
    });
    let curves = curves.filter(|curve| curve.points.len() > 1).collect();
    Panel { title: title.to_owned(), steps: steps.map(|(_, step)| step), curves }
}

fn throughput(path: &Path, title: &str, results: &Results, rows: &[&Row]) -> Result<bool, String> {
    // What answers by itself has no throughput to compare.
    let figure = |way: Way| (way != Way::Floor).then_some(RATE);
    let panels = [("SET", &SET), ("GET", &GET)]
        .map(|(name, steps)| panel(name, steps, results, rows, figure));
    Curves { title, x: "commands in a pipeline", y: "per second", panels: &panels, note: None }
        .draw(path)
}

fn processor_time(
    path: &Path,
    title: &str,
    results: &Results,
    rows: &[&Row],
) -> Result<bool, String> {
    let figure = |way: Way| Some(if way == Way::Direct { PRIMARY } else { BETWEEN });
    let panels = [("SET", &SET), ("GET", &GET)]
        .map(|(name, steps)| panel(name, steps, results, rows, figure));
    let note = Some("direct: the primary's own");
    Curves { title, x: "commands in a pipeline", y: "microseconds", panels: &panels, note }
        .draw(path)
}

fn acknowledged(
    path: &Path,
    title: &str,
    results: &Results,
    rows: &[&Row],
) -> Result<bool, String> {
    let panels = [panel("SET then WAIT 1", &WAIT, results, rows, |_| Some(RATE))];
    Curves { title, x: "clients", y: "per second", panels: &panels, note: None }.draw(path)
}

fn latency(path: &Path, title: &str, results: &Results, rows: &[&Row]) -> Result<bool, String> {
    let loads = rows.iter().filter(|row| row.work.is_load());
    spans(path, title, results, loads, &[("p50", MEDIAN), ("p99", P99)])
}

fn mixed(path: &Path, title: &str, results: &Results, rows: &[&Row]) -> Result<bool, String> {
    let marks = [("p50", MEDIAN), ("p99", P99), ("p99.9", P999), ("max", MAX)];
    spans(path, title, results, rows.iter().filter(|row| row.bed == Bed::Mixed), &marks)
}

fn spans<'a>(
    path: &Path,
    title: &str,
    results: &Results,
    rows: impl Iterator<Item = &'a &'a Row>,
    marks: &[(&str, Figure)],
) -> Result<bool, String> {
    let mut groups = Vec::new();
    for row in rows {
        let lines = results.ways().filter(|way| *way != Way::Floor).filter_map(|way| {
            let values = marks.iter().map(|(_, figure)| results.figure(row, way, *figure));
            let values: Vec<Option<f64>> = values.collect();
            values.iter().any(Option::is_some).then_some(Line { way, values })
        });
        let lines: Vec<Line> = lines.collect();
        if !lines.is_empty() {
            groups.push((row.text, lines));
        }
    }
    let names: Vec<&str> = marks.iter().map(|(name, _)| *name).collect();
    Spans { title, groups: &groups, marks: &names }.draw(path)
}
