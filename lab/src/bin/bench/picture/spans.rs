//! Percentiles: for each row of work a line for each way, from the smallest to the largest.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::sheet::{self, Area, Drawn, FAINT, INK, Scale, font, short};
use crate::ways::Way;

/// One way, and its value for each mark.
pub(crate) struct Line {
    pub(crate) way: Way,
    pub(crate) values: Vec<Option<f64>>,
}

/// A whole plot.
pub(crate) struct Spans<'a> {
    pub(crate) title: &'a str,
    /// Rows of work, each with its name.
    pub(crate) groups: &'a [(&'a str, Vec<Line>)],
    /// What the values are called: four at most.
    pub(crate) marks: &'a [&'a str],
}

/// All sizes are in pixels.
const TOP: i32 = 110;
const LEFT: i32 = 300;
const WIDTH: i32 = 760;
const RIGHT: i32 = 30;
const BOTTOM: i32 = 60;
/// Of a way's line, and between two rows of work.
const LINE: i32 = 13;
const GAP: i32 = 12;
const TEXT: i32 = 13;

impl Spans<'_> {
    /// Draws it; says whether there was anything to draw.
    ///
    /// # Errors
    /// If the file can't be written.
    pub(crate) fn draw(&self, path: &Path) -> Result<bool, String> {
        let lines = || self.groups.iter().flat_map(|(_, lines)| lines);
        let values = lines().flat_map(|line| line.values.iter().flatten().copied());
        let Some(scale) = Scale::of(values, (LEFT, LEFT + WIDTH)) else { return Ok(false) };
        let mut ways: Vec<Way> = Vec::new();
        for line in lines() {
            if !ways.contains(&line.way) {
                ways.push(line.way);
            }
        }
        let height = LINE * lines().count() as i32 + GAP * self.groups.len() as i32;
        let size = ((LEFT + WIDTH + RIGHT) as u32, (TOP + height + BOTTOM) as u32);
        sheet::sheet(path, size, |area| {
            area.draw_text(self.title, &font(19, HPos::Left, VPos::Top), (16, 14))?;
            self.legend(area, &ways)?;
            axis(area, &scale, TOP + height)?;
            let colors = sheet::colors(&ways);
            let mut y = TOP + GAP;
            for (at, (name, lines)) in self.groups.iter().enumerate() {
                if at > 0 {
                    let between = y - GAP / 2;
                    sheet::line(area, vec![(16, between), (LEFT + WIDTH, between)], FAINT)?;
                }
                let middle = y + LINE * lines.len() as i32 / 2;
                let style = font(TEXT, HPos::Right, VPos::Center);
                area.draw_text(name, &style, (LEFT - 12, middle))?;
                for line in lines {
                    let at = ways.iter().position(|way| *way == line.way).unwrap_or(0);
                    span(area, y + LINE / 2, line, &scale, colors[at])?;
                    y += LINE;
                }
                y += GAP;
            }
            Ok(())
        })?;
        Ok(true)
    }

    /// Colors are ways, shapes are percentiles.
    fn legend(&self, area: &Area<'_>, ways: &[Way]) -> Drawn {
        let style = font(TEXT, HPos::Left, VPos::Center);
        let mut x = 22;
        for (way, color) in ways.iter().zip(sheet::colors(ways)) {
            let square = [(x, 52), (x + 12, 64)];
            area.draw(&Rectangle::new(square, color.filled()))?;
            area.draw_text(way.name(), &style, (x + 18, 58))?;
            x += 18 + sheet::width(way.name(), TEXT) + 24;
        }
        let mut x = 28;
        for (at, name) in self.marks.iter().enumerate() {
            mark(area, at, (x, 84), INK)?;
            area.draw_text(name, &style, (x + 12, 84))?;
            x += 12 + sheet::width(name, TEXT) + 30;
        }
        Ok(())
    }
}

fn axis(area: &Area<'_>, scale: &Scale, bottom: i32) -> Drawn {
    for value in scale.marks() {
        let x = scale.place(value);
        sheet::line(area, vec![(x, TOP), (x, bottom)], FAINT)?;
        let style = font(TEXT, HPos::Center, VPos::Top);
        area.draw_text(&short(value), &style, (x, bottom + 8))?;
    }
    sheet::line(area, vec![(LEFT, bottom), (LEFT + WIDTH, bottom)], INK)?;
    let unit = (LEFT + WIDTH / 2, bottom + 32);
    area.draw_text("milliseconds", &font(TEXT, HPos::Center, VPos::Top), unit)?;
    Ok(())
}

fn span(area: &Area<'_>, y: i32, line: &Line, scale: &Scale, color: RGBColor) -> Drawn {
    let places = line.values.iter().map(|value| value.map(|value| scale.place(value)));
    let places: Vec<Option<i32>> = places.collect();
    let there = || places.iter().flatten().copied();
    if let (Some(from), Some(to)) = (there().min(), there().max()) {
        sheet::line(area, vec![(from, y), (to, y)], color.stroke_width(2))?;
    }
    for (at, x) in places.iter().enumerate() {
        if let Some(x) = x {
            mark(area, at, (*x, y), color)?;
        }
    }
    Ok(())
}

/// A disk, a ring, a triangle, an upright line.
fn mark(area: &Area<'_>, at: usize, (x, y): (i32, i32), color: RGBColor) -> Drawn {
    match at {
        0 => area.draw(&Circle::new((x, y), 4, color.filled()))?,
        1 => {
            area.draw(&Circle::new((x, y), 4, WHITE.filled()))?;
            area.draw(&Circle::new((x, y), 4, color.stroke_width(2)))?;
        }
        2 => {
            area.draw(&Polygon::new([(x - 5, y + 4), (x + 5, y + 4), (x, y - 5)], color.filled()))?
        }
        _ => area.draw(&Rectangle::new([(x - 1, y - 7), (x + 1, y + 7)], color.filled()))?,
    }
    Ok(())
}
