//! What pictures are drawn with: an SVG file, colors, and text.

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// A part of a picture.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// Whether it could be drawn.
pub type Drawn = Result<(), Box<dyn Error>>;

/// Of text and axes.
pub const INK: RGBColor = RGBColor(40, 40, 48);
/// Of what is behind everything.
pub const FAINT: RGBColor = RGBColor(226, 228, 233);
pub const GREY: RGBColor = RGBColor(130, 134, 144);
pub const BLUE: RGBColor = RGBColor(52, 110, 190);
pub const ORANGE: RGBColor = RGBColor(222, 135, 30);
pub const VIOLET: RGBColor = RGBColor(126, 82, 170);
pub const GREEN: RGBColor = RGBColor(44, 140, 90);
pub const RED: RGBColor = RGBColor(200, 50, 50);

/// An empty picture of this size in pixels, to be drawn on by `draw`.
///
/// # Errors
/// If the file can't be written.
pub fn sheet(
    path: &Path,
    size: (u32, u32),
    draw: impl FnOnce(&Area<'_>) -> Drawn,
) -> Result<(), String> {
    let drawn = || -> Drawn {
        let area = SVGBackend::new(path, size).into_drawing_area();
        area.fill(&WHITE)?;
        draw(&area)?;
        area.present()?;
        Ok(())
    };
    drawn().map_err(|error| format!("{}: {error}", path.display()))
}

/// Text of this size in pixels, and where its place is in it.
pub fn font(size: i32, horizontal: HPos, vertical: VPos) -> TextStyle<'static> {
    let font = ("DejaVu Sans, Helvetica, Arial, sans-serif", size).into_font();
    font.color(&INK).pos(Pos::new(horizontal, vertical))
}
