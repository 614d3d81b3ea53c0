//! Panels side by side, in each a curve for each way, and a legend beside them.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::sheet::{self, Area, Drawn, FAINT, INK, Scale, font, short};
use crate::ways::Way;

pub(crate) struct Curve {
    pub(crate) way: Way,
    /// The number of the step, and the value there.
    pub(crate) points: Vec<(usize, f64)>,
}

pub(crate) struct Panel {
    pub(crate) title: String,
    /// What stands below the axis, at equal distances.
    pub(crate) steps: [&'static str; 3],
    pub(crate) curves: Vec<Curve>,
}

/// A whole plot.
pub(crate) struct Curves<'a> {
    pub(crate) title: &'a str,
    pub(crate) x: &'a str,
    /// The unit.
    pub(crate) y: &'a str,
    pub(crate) panels: &'a [Panel],
    /// Below the legend.
    pub(crate) note: Option<&'a str>,
}

/// All sizes are in pixels.
const TOP: i32 = 86;
const LEFT: i32 = 70;
const PANEL: i32 = 380;
/// From one panel to the next.
const APART: i32 = PANEL + 70;
const HEIGHT: i32 = 360;
const BOTTOM: i32 = 56;
const LEGEND: i32 = 230;
const LEGEND_LINE: i32 = 24;

impl Curves<'_> {
    /// Draws it; says whether there was anything to draw.
    ///
    /// # Errors
    /// If the file can't be written.
    pub(crate) fn draw(&self, path: &Path) -> Result<bool, String> {
        let curves = || self.panels.iter().flat_map(|panel| &panel.curves);
        let values = curves().flat_map(|curve| &curve.points).map(|(_, value)| *value);
        // One scale for all panels, so that they can be compared.
        let Some(scale) = Scale::of(values, (TOP + HEIGHT, TOP)) else { return Ok(false) };
        let mut ways: Vec<Way> = Vec::new();
        for curve in curves() {
            if !ways.contains(&curve.way) {
                ways.push(curve.way);
            }
        }
        let panels = self.panels.len() as i32;
        let right = LEFT + APART * panels;
        let size = ((right + LEGEND) as u32, (TOP + HEIGHT + BOTTOM) as u32);
        sheet::sheet(path, size, |area| {
            area.draw_text(self.title, &font(19, HPos::Left, VPos::Top), (16, 14))?;
            for (at, panel) in self.panels.iter().enumerate() {
                self.panel(area, LEFT + APART * at as i32, panel, &scale, &ways)?;
            }
            self.legend(area, right - 40, &ways)
        })?;
        Ok(true)
    }

    fn panel(
        &self,
        area: &Area<'_>,
        left: i32,
        panel: &Panel,
        scale: &Scale,
        ways: &[Way],
    ) -> Drawn {
        let bottom = TOP + HEIGHT;
        area.draw_text(&panel.title, &font(15, HPos::Left, VPos::Bottom), (left, TOP - 8))?;
        let unit = font(13, HPos::Right, VPos::Bottom);
        area.draw_text(self.y, &unit, (left + PANEL, TOP - 8))?;
        for mark in scale.marks() {
            let y = scale.place(mark);
            sheet::line(area, vec![(left, y), (left + PANEL, y)], FAINT)?;
            let style = font(13, HPos::Right, VPos::Center);
            area.draw_text(&short(mark), &style, (left - 8, y))?;
        }
        let x = |step: usize| left + PANEL * (2 * step as i32 + 1) / (2 * panel.steps.len() as i32);
        for (at, step) in panel.steps.iter().enumerate() {
            sheet::line(area, vec![(x(at), bottom), (x(at), bottom + 5)], INK)?;
            area.draw_text(step, &font(13, HPos::Center, VPos::Top), (x(at), bottom + 9))?;
        }
        let middle = (left + PANEL / 2, bottom + 30);
        area.draw_text(self.x, &font(13, HPos::Center, VPos::Top), middle)?;
        sheet::line(area, vec![(left, TOP), (left, bottom), (left + PANEL, bottom)], INK)?;
        let colors = sheet::colors(ways);
        // The endpoint is drawn last, above the others.
        let last = |curve: &&Curve| curve.way == Way::Endpoint;
        let (above, below): (Vec<&Curve>, Vec<&Curve>) = panel.curves.iter().partition(last);
        for curve in below.into_iter().chain(above) {
            let at = ways.iter().position(|way| *way == curve.way).unwrap_or(0);
            let points: Vec<(i32, i32)> =
                curve.points.iter().map(|(at, value)| (x(*at), scale.place(*value))).collect();
            for point in &points {
                area.draw(&Circle::new(*point, 4, colors[at].filled()))?;
            }
            sheet::line(area, points, colors[at].stroke_width(2))?;
        }
        Ok(())
    }

    fn legend(&self, area: &Area<'_>, left: i32, ways: &[Way]) -> Drawn {
        let colors = sheet::colors(ways);
        let mut y = TOP + 8;
        for (way, color) in ways.iter().zip(colors) {
            sheet::line(area, vec![(left, y), (left + 26, y)], color.stroke_width(2))?;
            area.draw(&Circle::new((left + 13, y), 4, color.filled()))?;
            let style = font(14, HPos::Left, VPos::Center);
            area.draw_text(way.name(), &style, (left + 36, y))?;
            y += LEGEND_LINE;
        }
        if let Some(note) = self.note {
            area.draw_text(note, &font(12, HPos::Left, VPos::Center), (left, y + 6))?;
        }
        Ok(())
    }
}
