//! What all plots are drawn with besides: the color of each way, and a logarithmic scale.

use lab::sheet::{BLUE, GREEN, GREY, ORANGE, VIOLET};
use plotters::prelude::*;

use crate::ways::Way;

pub(crate) use lab::sheet::{Area, Drawn, FAINT, INK, font, sheet};

const SKY: RGBColor = RGBColor(90, 180, 220);
/// Of other people's proxies, in the order in which they are named.
const OF_PEERS: [RGBColor; 4] =
    [RGBColor(200, 50, 50), RGBColor(150, 100, 50), RGBColor(220, 90, 160), RGBColor(110, 120, 20)];

/// What a letter takes of a text of this size, as there is no font to ask.
const LETTER: f64 = 0.56;

/// The color of each way, in their order.
pub(crate) fn colors(ways: &[Way]) -> Vec<RGBColor> {
    let mut peers = OF_PEERS.iter().cycle();
    let one = |way: &Way| match way {
        Way::Direct => GREY,
        Way::Nutcracker => ORANGE,
        Way::Endpoint => BLUE,
        Way::Threads2 => SKY,
        Way::HostPort => VIOLET,
        Way::Before => BLACK,
        Way::Floor => GREEN,
        Way::Peer(_) => *peers.next().unwrap_or(&BLACK),
    };
    ways.iter().map(one).collect()
}

/// How wide a text of this size is, about.
pub(crate) fn width(text: &str, size: i32) -> i32 {
    (text.chars().count() as f64 * f64::from(size) * LETTER) as i32
}

pub(crate) fn line(
    area: &Area<'_>,
    points: Vec<(i32, i32)>,
    style: impl Into<ShapeStyle>,
) -> Drawn {
    area.draw(&PathElement::new(points, style))?;
    Ok(())
}

/// Values, from the first to the last pixel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// The logarithms of the ends.
    from: f64,
    to: f64,
    pixels: (i32, i32),
}

impl Scale {
    /// One on which all of these values have a place; none if there are none.
    pub(crate) fn of(values: impl Iterator<Item = f64>, pixels: (i32, i32)) -> Option<Scale> {
        let (mut from, mut to) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| *value > 0.0).map(f64::log10) {
            from = from.min(value);
            to = to.max(value);
        }
        // Some room at both ends, and enough of it for two marks if the values are close together.
        let room = ((to - from) * 0.06).max(0.06).max((0.5 - (to - from)) / 2.0);
        (from <= to).then_some(Scale { from: from - room, to: to + room, pixels })
    }

    pub(crate) fn place(&self, value: f64) -> i32 {
        let share = (value.log10() - self.from) / (self.to - self.from);
        let (first, last) = self.pixels;
        first + (share * f64::from(last - first)).round() as i32
    }

    /// Round values, few enough to be told apart.
    pub(crate) fn marks(&self) -> Vec<f64> {
        let steps: &[f64] = match self.to - self.from {
            ..2.2 => &[1.0, 2.0, 5.0],
            ..3.5 => &[1.0, 3.0],
            _ => &[1.0],
        };
        let decades = self.from.floor() as i32..=self.to.floor() as i32;
        let all =
            decades.flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade)));
        all.filter(|mark| (self.from..=self.to).contains(&mark.log10())).collect()
    }
}

/// A mark as text: 0.05, 2, 5000, 50 k, 1 M.
pub(crate) fn short(value: f64) -> String {
    let (value, unit) = match value {
        ..1e4 => (value, ""),
        ..1e6 => (value / 1e3, " k"),
        _ => (value / 1e6, " M"),
    };
    // Without what reckoning has left over.
    let value = (value * 1e6).round() / 1e6;
    format!("{value}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_has_its_values_inside_and_round_marks() {
        let scale = Scale::of([0.9, 30.0].into_iter(), (100, 0)).expect("there are values");
        assert!(scale.place(30.0) > 0 && scale.place(0.9) < 100);
        assert!(scale.place(30.0) < scale.place(0.9));
        assert_eq!(scale.marks(), [1.0, 2.0, 5.0, 10.0, 20.0]);
        assert!(Scale::of(std::iter::empty(), (0, 1)).is_none());
        let one = Scale::of([5.0].into_iter(), (0, 100)).expect("there is one");
        assert!(!one.marks().is_empty());
    }

    #[test]
    fn marks_are_short() {
        let texts = [0.05, 2.0, 5_000.0, 50_000.0, 1e6].map(short);
        assert_eq!(texts, ["0.05", "2", "5000", "50 k", "1 M"]);
    }
}
