//! The time line, as SVG: what happened, and below for each side what its clients saw of it.
//!
//! ```text
//!   faults        one row for each kind, a bar as long as one lasted, in its shard's color
//!   throughput    writes, and those that all replicas acknowledged
//!   answers       one row for each other answer, a bar where there were any
//!   latency       of writes, and of writes with their WAIT, if all replicas acknowledged
//! ```

use std::error::Error;
use std::path::Path;

use lab::sheet::{Area, BLUE, Drawn, FAINT, GREEN, GREY, ORANGE, RED, VIOLET, font, sheet};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use crate::faults::Mark;
use crate::ledger::{self, Book, Element, Micros, Side, Told};
use crate::options::Options;
use crate::watch::Seen;

/// All sizes are in pixels.
const WIDTH: u32 = 1400;
const TITLE_HEIGHT: u32 = 64;
const HEAD_HEIGHT: u32 = 26;
const PLOT_HEIGHT: u32 = 130;
const ROW_HEIGHT: u32 = 18;
const LEFT: u32 = 230;
const RIGHT: u32 = 20;
const AXIS_HEIGHT: u32 = 34;

/// The picture has about so many points in time.
const POINTS: u64 = 400;
const POINT_MIN: Micros = 100_000;
/// Latencies are drawn from a tenth of a millisecond to ten seconds.
const LATENCY: std::ops::Range<f64> = 0.1..10_000.0;

/// One for each shard, and the last one for what is about none.
const OF_SHARDS: [RGBColor; 4] = [BLUE, ORANGE, VIOLET, GREY];

/// Rows of answers other than the full one.
const ANSWERS: [(&str, RGBColor); 6] = [
    ("a smaller number", ORANGE),
    ("-UNBLOCKED", VIOLET),
    ("outcome unknown", RED),
    ("not executed", GREY),
    ("WAIT failed otherwise", GREY),
    ("acknowledged by all, and lost", BLACK),
];

/// The row of an element, if it is in one.
fn row(element: &Element) -> Option<usize> {
    match element.told {
        Told::Later if element.lost => Some(5),
        Told::Fewer | Told::Later => Some(0),
        Told::Unblocked => Some(1),
        Told::Unknown => Some(2),
        Told::NotDone => Some(3),
        Told::Error => Some(4),
        Told::All => element.lost.then_some(5),
        Told::Unasked => None,
    }
}

/// Draws it.
///
/// # Errors
/// If the file can't be written.
pub(crate) fn draw(
    path: &Path,
    books: &[Book],
    marks: &[Mark],
    switches: &[Seen],
    options: &Options,
) -> Result<(), String> {
    let rows = fault_rows(marks);
    let faults_height = HEAD_HEIGHT + ROW_HEIGHT * rows.len().max(1) as u32;
    let answers_height = HEAD_HEIGHT + ROW_HEIGHT * ANSWERS.len() as u32;
    let side_height = 2 * (HEAD_HEIGHT + PLOT_HEIGHT) + answers_height + AXIS_HEIGHT;
    let height = TITLE_HEIGHT + faults_height + side_height * options.sides.len() as u32;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    }
    sheet(path, (WIDTH, height), |root| {
        let ends = books.iter().flat_map(|book| book.elements.last());
        let end = ends.map(|element| element.ended).max().unwrap_or(0).max(1);
        let line = Line { end, width: (end / POINTS).max(POINT_MIN), switches };
        let (title, rest) = root.split_vertically(TITLE_HEIGHT);
        title_of(&title, marks, switches, options)?;
        let (top, mut rest) = rest.split_vertically(faults_height);
        line.faults(&top, &rows, marks)?;
        for &side in &options.sides {
            let (top, below) = rest.split_vertically(side_height);
            line.side(&top, books, side, answers_height)?;
            rest = below;
        }
        Ok(())
    })
}

/// The names of all that happened, each once, in the order in which they first did.
fn fault_rows(marks: &[Mark]) -> Vec<&str> {
    let mut rows: Vec<&str> = Vec::new();
    for mark in marks {
        if !rows.contains(&mark.name.as_str()) {
            rows.push(&mark.name);
        }
    }
    rows
}

fn title_of(area: &Area<'_>, marks: &[Mark], switches: &[Seen], options: &Options) -> Drawn {
    let text = format!(
        "Weir: {} faults, {} failovers; {}, {}, seed {}",
        marks.len(),
        switches.len(),
        options.kind.name(),
        options.flavor,
        options.seed
    );
    area.draw_text(&text, &font(20, HPos::Left, VPos::Top), (16, 14))?;
    let key = "upright lines: the engine has switched to another primary";
    area.draw_text(key, &font(13, HPos::Left, VPos::Top), (16, 42))?;
    let shards = 1 + marks.iter().filter_map(|mark| mark.shard).max().unwrap_or(0);
    let mut names: Vec<(String, RGBColor)> =
        (0..shards).map(|shard| (format!("shard {shard}"), of_shard(Some(shard)))).collect();
    names.push(("no shard".into(), of_shard(None)));
    legend(area, 42, &names)
}

fn of_shard(shard: Option<usize>) -> RGBColor {
    let none = OF_SHARDS.len() - 1;
    OF_SHARDS[shard.map_or(none, |shard| shard % none)]
}

/// Names with their colors, from the right edge to the left.
fn legend(area: &Area<'_>, y: i32, names: &[(String, RGBColor)]) -> Drawn {
    /// What a letter takes, as there is no font to ask.
    const LETTER: i32 = 8;
    let mut x = (WIDTH - RIGHT) as i32;
    for (name, color) in names.iter().rev() {
        x -= name.chars().count() as i32 * LETTER + 26;
        area.draw(&Rectangle::new([(x, y + 1), (x + 12, y + 12)], color.filled()))?;
        area.draw_text(name, &font(13, HPos::Left, VPos::Top), (x + 17, y))?;
    }
    Ok(())
}

/// Time, from left to right.
struct Line<'a> {
    end: Micros,
    /// Of one point.
    width: Micros,
    switches: &'a [Seen],
}

type Chart<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

impl Line<'_> {
    fn seconds(&self, at: Micros) -> f64 {
        at as f64 / 1e6
    }

    /// The point of a moment.
    fn point(&self, at: Micros) -> usize {
        (at.min(self.end) / self.width) as usize
    }

    fn points(&self) -> usize {
        self.point(self.end) + 1
    }

    fn faults(&self, area: &Area<'_>, rows: &[&str], marks: &[Mark]) -> Drawn {
        let (head, body) = area.split_vertically(HEAD_HEIGHT);
        head.draw_text("faults", &font(15, HPos::Left, VPos::Top), (16, 6))?;
        let mut chart = self.rows(&body, rows)?;
        chart.draw_series(marks.iter().filter_map(|mark| {
            let row = rows.iter().position(|name| *name == mark.name)? as f64;
            // What lasts for a moment is to be seen as well.
            let to = mark.to.max(mark.from + self.end / 400);
            let (from, to) = (self.seconds(mark.from), self.seconds(to));
            let corners = [(from, row + 0.15), (to, row + 0.85)];
            Some(Rectangle::new(corners, of_shard(mark.shard).filled()))
        }))?;
        Ok(())
    }

    fn side(&self, area: &Area<'_>, books: &[Book], side: Side, answers_height: u32) -> Drawn {
        let (area, axis) = area.split_vertically(2 * (HEAD_HEIGHT + PLOT_HEIGHT) + answers_height);
        let (top, rest) = area.split_vertically(HEAD_HEIGHT + PLOT_HEIGHT);
        self.throughput(&top, books, side)?;
        let (top, rest) = rest.split_vertically(answers_height);
        self.answers(&top, books, side)?;
        self.latency(&rest, books, side)?;
        self.axis(&axis)
    }

    fn throughput(&self, area: &Area<'_>, books: &[Book], side: Side) -> Drawn {
        let (head, body) = area.split_vertically(HEAD_HEIGHT);
        let title = format!("{}: a second", side.name());
        head.draw_text(&title, &font(15, HPos::Left, VPos::Top), (16, 6))?;
        let names = [("writes".into(), BLUE), ("acknowledged by all replicas".into(), GREEN)];
        legend(&head, 8, &names)?;
        let (mut writes, mut full) = (vec![0.0; self.points()], vec![0.0; self.points()]);
        let one = 1e6 / self.width as f64;
        for element in ledger::elements(books, side) {
            if let Some(at) = element.written {
                writes[self.point(at)] += one;
            }
            if element.told == Told::All {
                full[self.point(element.ended)] += one;
            }
        }
        let top = writes.iter().copied().fold(1.0, f64::max) * 1.05;
        let mut chart = self.chart(&body, 0.0..top)?;
        let mesh = |value: &f64| format!("{value:.0}");
        self.mesh(&mut chart, 4, &mesh)?;
        for (values, color) in [(&writes, BLUE), (&full, GREEN)] {
            chart.draw_series(LineSeries::new(self.middles(values), color.stroke_width(2)))?;
        }
        Ok(())
    }

    fn answers(&self, area: &Area<'_>, books: &[Book], side: Side) -> Drawn {
        let (head, body) = area.split_vertically(HEAD_HEIGHT);
        let title = format!("{}: other answers", side.name());
        head.draw_text(&title, &font(15, HPos::Left, VPos::Top), (16, 6))?;
        let names: Vec<&str> = ANSWERS.iter().map(|(name, _)| *name).collect();
        let mut counts = vec![vec![0_usize; self.points()]; ANSWERS.len()];
        for element in ledger::elements(books, side) {
            if let Some(row) = row(element) {
                counts[row][self.point(element.ended)] += 1;
            }
        }
        let mut chart = self.rows(&body, &names)?;
        for (row, counts) in counts.iter().enumerate() {
            let there = counts.iter().enumerate().filter(|(_, count)| **count > 0);
            chart.draw_series(there.map(|(point, _)| {
                let from = self.seconds(point as Micros * self.width);
                let to = self.seconds((point as Micros + 1) * self.width);
                let corners = [(from, row as f64 + 0.15), (to, row as f64 + 0.85)];
                Rectangle::new(corners, ANSWERS[row].1.filled())
            }))?;
        }
        Ok(())
    }

    fn latency(&self, area: &Area<'_>, books: &[Book], side: Side) -> Drawn {
        let (head, body) = area.split_vertically(HEAD_HEIGHT);
        let title = format!("{}: latency", side.name());
        head.draw_text(&title, &font(15, HPos::Left, VPos::Top), (16, 6))?;
        let lines = [
            ("write, half", BLUE.mix(0.45), false, 0.5),
            ("write, 99 of 100", BLUE.mix(1.0), false, 0.99),
            ("acknowledged, half", GREEN.mix(0.45), true, 0.5),
            ("acknowledged, 99 of 100", GREEN.mix(1.0), true, 0.99),
        ];
        let names = lines.map(|(name, color, ..)| (name.to_owned(), blend(color)));
        legend(&head, 8, &names)?;
        let mut times = [vec![Vec::new(); self.points()], vec![Vec::new(); self.points()]];
        for element in ledger::elements(books, side) {
            if let Some(at) = element.written {
                times[0][self.point(at)].push(at - element.sent);
            }
            if element.told == Told::All {
                times[1][self.point(element.ended)].push(element.ended - element.sent);
            }
        }
        times.iter_mut().flatten().for_each(|times| times.sort_unstable());
        // The decimal logarithm, drawn on an ordinary axis.
        let mut chart = self.chart(&body, LATENCY.start.log10()..LATENCY.end.log10())?;
        let mesh = |value: &f64| match *value {
            value if value < 0.0 => format!("{:.1} ms", 10_f64.powf(value)),
            value if value < 3.0 => format!("{:.0} ms", 10_f64.powf(value)),
            value => format!("{:.0} s", 10_f64.powf(value - 3.0)),
        };
        self.mesh(&mut chart, 6, &mesh)?;
        for (_, color, acknowledged, share) in lines {
            let times = &times[usize::from(acknowledged)];
            // Where there is nothing there is no line.
            let pieces = times.split(|times| times.is_empty()).scan(0, |from, piece| {
                let start = *from;
                *from += piece.len() + 1;
                Some((start, piece))
            });
            for (start, piece) in pieces.filter(|(_, piece)| !piece.is_empty()) {
                let value = |times: &Vec<Micros>| {
                    let at = ((times.len() as f64 * share) as usize).min(times.len() - 1);
                    (times[at].max(1) as f64 / 1e3).clamp(LATENCY.start, LATENCY.end).log10()
                };
                let values: Vec<f64> = piece.iter().map(value).collect();
                let points = self
                    .middles(&values)
                    .map(|(x, y)| (x + self.seconds(start as Micros * self.width), y));
                chart.draw_series(LineSeries::new(points, color.stroke_width(2)))?;
            }
        }
        Ok(())
    }

    /// Values with the middle of their time.
    fn middles<'a>(&self, values: &'a [f64]) -> impl Iterator<Item = (f64, f64)> + 'a {
        let width = self.width as f64 / 1e6;
        values.iter().enumerate().map(move |(at, value)| ((at as f64 + 0.5) * width, *value))
    }

    fn chart<'a>(
        &self,
        area: &Area<'a>,
        values: std::ops::Range<f64>,
    ) -> Result<Chart<'a>, Box<dyn Error>> {
        let mut builder = ChartBuilder::on(area);
        builder.margin_right(RIGHT).set_label_area_size(LabelAreaPosition::Left, LEFT);
        let mut chart = builder.build_cartesian_2d(0.0..self.seconds(self.end), values.clone())?;
        chart.draw_series(self.switches.iter().map(|seen| {
            let at = self.seconds(seen.at);
            let style = of_shard(Some(seen.shard)).mix(0.5).stroke_width(1);
            let ends = [(at, values.start), (at, values.end)];
            PathElement::new(ends, style)
        }))?;
        Ok(chart)
    }

    fn mesh(&self, chart: &mut Chart<'_>, lines: usize, text: &dyn Fn(&f64) -> String) -> Drawn {
        chart
            .configure_mesh()
            .x_labels(12)
            .y_labels(lines)
            .y_max_light_lines(1)
            .x_max_light_lines(1)
            .bold_line_style(FAINT)
            .light_line_style(TRANSPARENT)
            .axis_style(GREY)
            .y_label_formatter(text)
            .label_style(font(13, HPos::Right, VPos::Top))
            .draw()?;
        Ok(())
    }

    /// A chart of named rows, from the top down.
    fn rows<'a>(&self, area: &Area<'a>, names: &[&str]) -> Result<Chart<'a>, Box<dyn Error>> {
        // Upside down, as rows are counted from above.
        let chart = self.chart(area, names.len().max(1) as f64..0.0)?;
        for (row, name) in names.iter().enumerate() {
            let y = (row as u32 * ROW_HEIGHT) as i32;
            area.draw_text(name, &font(13, HPos::Right, VPos::Top), (LEFT as i32 - 10, y + 2))?;
            let ends = [(LEFT as i32, y), ((WIDTH - RIGHT) as i32, y)];
            area.draw(&PathElement::new(ends, FAINT))?;
        }
        Ok(chart)
    }

    fn axis(&self, area: &Area<'_>) -> Drawn {
        let seconds = self.seconds(self.end);
        let steps = [1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0];
        let step = steps.into_iter().find(|step| seconds / step <= 16.0).unwrap_or(1200.0);
        let wide = f64::from(WIDTH - LEFT - RIGHT);
        let mut at = 0.0;
        while at <= seconds {
            let x = LEFT as i32 + (at / seconds * wide) as i32;
            area.draw(&PathElement::new([(x, 0), (x, 5)], GREY))?;
            area.draw_text(&format!("{at:.0} s"), &font(13, HPos::Center, VPos::Top), (x, 8))?;
            at += step;
        }
        Ok(())
    }
}

/// A color as it looks on white.
fn blend(color: RGBAColor) -> RGBColor {
    let on_white = |part: u8| (f64::from(part) * color.3 + 255.0 * (1.0 - color.3)) as u8;
    RGBColor(on_white(color.0), on_white(color.1), on_white(color.2))
}
