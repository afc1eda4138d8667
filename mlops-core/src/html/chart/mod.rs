//! Pictures inside of a page: SVG written into it, coloured by classes of [`STYLE`].
//!
//! Each picture takes plain numbers and writes to a string; names and labels are escaped here. A value that is not
//! finite is a gap. [`Lines`] over time, [`paired_bars`] and [`named_bars`] beside each other, [`histogram`], [`heat`].

mod bars;
mod heat;
mod histogram;
mod lines;

use std::fmt::{self, Write};

pub use bars::{named_bars, paired_bars};
pub use heat::{Heat, heat};
pub use histogram::{Tails, histogram};
pub use lines::{Aim, LINES_MAX, Line, Lines};

use super::Escaped;

/// Colours for light and dark screens, and the classes that pictures use. It goes before the style of the page, which
/// may use the variables `--ink`, `--soft`, `--line`, `--card`, `--back`, `--now`, `--then`, `--ok`, `--warn` and `--bad`.
pub const STYLE: &str = include_str!("style.css");

/// Width of a picture in its own units; the page stretches it.
const WIDTH: f64 = 380.0;

/// What the colours mean: pairs of a class and a name.
///
/// # Errors
/// None: writing to a string cannot fail.
pub fn legend<'a>(names: impl IntoIterator<Item = (&'a str, &'a str)>, out: &mut String) -> fmt::Result {
    out.write_str("<p class=\"legend\">")?;
    for (class, name) in names {
        write!(out, "<i class=\"{class}\"></i>{}", Escaped(name))?;
    }
    out.write_str("</p>")
}
