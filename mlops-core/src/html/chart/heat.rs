//! A matrix as coloured cells.

use std::fmt::{self, Write};

use super::WIDTH;
use crate::html::Escaped;

/// A matrix with names, and how it is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Heat<'a> {
    /// Names of the rows.
    pub rows: &'a [&'a str],
    /// Names below the columns; none are told where it is empty.
    pub columns: &'a [&'a str],
    /// Whether each cell is told when it is pointed at; a hundred bytes for each.
    pub is_told: bool,
}

/// Strengths that are told apart where cells are not told.
const LEVELS: usize = 10;
/// Characters of a name that are shown.
const NAME_CHARS: usize = 18;
/// Room for the names of rows.
const NAMES: f64 = 100.0;
/// Room for the names of columns, written upwards.
const BELOW: f64 = 78.0;

/// One cell for each value of `cell(row, column)`, in `−1..=1`: blue above 0, red below, the stronger the further; a cell
/// without a value is left out.
///
/// # Errors
/// None: writing to a string cannot fail.
pub fn heat(
    heat: &Heat<'_>,
    columns: usize,
    cell: impl Fn(usize, usize) -> Option<f64>,
    out: &mut String,
) -> fmt::Result {
    let (rows, step) = (heat.rows.len(), (WIDTH - NAMES) / columns.max(1) as f64);
    let tall = if heat.columns.is_empty() { step.min(16.0) } else { step.min(26.0) };
    let below = if heat.columns.is_empty() { 4.0 } else { BELOW };
    write!(out, "<svg viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\">", tall * rows as f64 + below)?;
    let size = (tall * 0.75).clamp(3.0, 10.0);
    for (row, name) in heat.rows.iter().enumerate() {
        let (x, y) = (NAMES - 5.0, tall * (row as f64 + 0.7));
        write!(
            out,
            "<text x=\"{x}\" y=\"{y:.1}\" style=\"font-size:{size:.1}px\" text-anchor=\"end\">{}</text>",
            Name(name)
        )?;
    }
    let place = |row: usize, column: usize| (NAMES + step * column as f64, tall * row as f64, step - 0.6, tall - 0.6);
    let value = |row: usize, column: usize| cell(row, column).filter(|value| value.is_finite());
    if heat.is_told {
        for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
            if let Some(value) = value(row, column) {
                write_cell(heat, (row, column), place(row, column), value, out)?;
            }
        }
    } else {
        write_levels((rows, columns), value, place, out)?;
    }
    for (column, name) in heat.columns.iter().enumerate() {
        let (x, y) = (NAMES + step * (column as f64 + 0.5) + size / 3.0, tall * rows as f64 + 5.0);
        write!(
            out,
            "<text transform=\"translate({x:.1} {y:.1})rotate(-90)\" style=\"font-size:{size:.1}px\" text-anchor=\"end\">{}</text>",
            Name(name)
        )?;
    }
    out.write_str("</svg>")
}

fn write_cell(
    heat: &Heat<'_>,
    (row, column): (usize, usize),
    (x, y, width, height): (f64, f64, f64, f64),
    value: f64,
    out: &mut String,
) -> fmt::Result {
    let class = if value < 0.0 { "c1" } else { "c0" };
    let strength = value.abs().min(1.0);
    write!(
        out,
        "<rect class=\"{class}\" opacity=\"{strength:.2}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\""
    )?;
    match (heat.is_told, heat.columns.get(column)) {
        (true, Some(name)) => {
            write!(out, "><title>{}, {}: {value:.3}</title></rect>", Escaped(heat.rows[row]), Escaped(name))
        }
        (true, None) => write!(out, "><title>{}: {value:.3}</title></rect>", Escaped(heat.rows[row])),
        (false, _) => out.write_str("/>"),
    }
}

/// Cells of about the same strength as one shape: a fifth of the bytes of cells that are told.
fn write_levels(
    (rows, columns): (usize, usize),
    value: impl Fn(usize, usize) -> Option<f64>,
    place: impl Fn(usize, usize) -> (f64, f64, f64, f64),
    out: &mut String,
) -> fmt::Result {
    let mut shapes = vec![String::new(); 2 * LEVELS + 1];
    for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
        let Some(value) = value(row, column) else { continue };
        let level = (value.clamp(-1.0, 1.0) * LEVELS as f64).round() as i64;
        let (x, y, width, height) = place(row, column);
        let shape = &mut shapes[(level + LEVELS as i64) as usize];
        write!(shape, "M{x:.1} {y:.1}h{width:.1}v{height:.1}h-{width:.1}z")?;
    }
    for (place, shape) in shapes.iter().enumerate().filter(|(_, shape)| !shape.is_empty()) {
        let class = if place < LEVELS { "c1" } else { "c0" };
        // The weakest is still seen.
        let strength = (place.abs_diff(LEVELS) as f64 / LEVELS as f64).max(0.05);
        write!(out, "<path class=\"{class}\" opacity=\"{strength:.2}\" d=\"{shape}\"/>")?;
    }
    Ok(())
}

/// A name, cut where it is long.
struct Name<'a>(&'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut = self.0.char_indices().nth(NAME_CHARS).map_or(self.0.len(), |(place, _)| place);
        let rest = if cut < self.0.len() { "…" } else { "" };
        write!(f, "{}{rest}", Escaped(&self.0[..cut]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strength_and_sign_of_a_cell_are_its_colour() {
        let names = ["<a>", "a very long name of a column"];
        let mut out = String::new();
        let cells = [[Some(1.0), Some(-0.25)], [None, Some(f64::NAN)]];
        let told = Heat { rows: &names, columns: &names, is_told: true };
        heat(&told, 2, |row, column| cells[row][column], &mut out).unwrap();
        assert_eq!(out.matches("<rect").count(), 2);
        assert!(
            out.contains("class=\"c0\" opacity=\"1.00\"") && out.contains("class=\"c1\" opacity=\"0.25\""),
            "{out}"
        );
        assert!(out.contains("<title>&lt;a&gt;, a very long name of a column: -0.250</title>"));
        assert!(out.contains(">a very long name o…</text>"));
    }

    #[test]
    fn cells_that_are_not_told_are_one_shape_for_each_strength() {
        let mut out = String::new();
        let plain = Heat { rows: &["a", "b"], columns: &[], is_told: false };
        let cells = [[Some(0.52), Some(0.48), Some(-1.0)], [None, Some(0.0), Some(f64::NAN)]];
        heat(&plain, 3, |row, column| cells[row][column], &mut out).unwrap();
        assert_eq!(
            (out.matches("<path").count(), out.matches('M').count(), out.matches("<rect").count()),
            (3, 4, 0),
            "{out}"
        );
        assert!(out.contains("class=\"c1\" opacity=\"1.00\"") && out.contains("class=\"c0\" opacity=\"0.50\""));
    }
}
