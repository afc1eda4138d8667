//! Lines over time.

use std::fmt::{self, Write};

use super::{WIDTH, legend};
use crate::html::{Escaped, short};

/// Series of one picture of lines; each has a colour of its own in the style.
pub const LINES_MAX: usize = 3;

const HEIGHT: f64 = 140.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 18.0;

/// One line: a value per place, none where it is not known.
#[derive(Debug, Clone)]
pub struct Line<'a> {
    /// What the legend and each dot call it.
    pub name: &'a str,
    /// As many as there are places.
    pub values: Vec<Option<f64>>,
}

/// Up to [`LINES_MAX`] lines over the same places, such as times.
///
/// # Examples
/// ```
/// use mlops_core::html::chart::{Line, Lines};
/// use mlops_core::html::short;
///
/// let lines = Lines {
///     places: vec![1.0, 2.0, 3.0],
///     series: vec![Line { name: "errors", values: vec![Some(4.0), None, Some(2.0)] }],
///     aim: None,
///     marks: Vec::new(),
///     from_zero: true,
///     shown: short,
///     told: |day| format!("day {day}"),
/// };
/// let mut out = String::new();
/// lines.write(&mut out)?;
/// assert!(out.contains("<title>errors 4 at day 1</title>"));
/// # Ok::<(), std::fmt::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Lines<'a> {
    /// Where values stand, in ascending order.
    pub places: Vec<f64>,
    /// The lines.
    pub series: Vec<Line<'a>>,
    /// A value to hold, and where what is too bad begins: from there on downwards or upwards.
    pub aim: Option<Aim>,
    /// Places where something happened, and what.
    pub marks: Vec<(f64, String)>,
    /// Whether the picture begins at 0.
    pub from_zero: bool,
    /// Writes a value.
    pub shown: fn(f64) -> String,
    /// Writes a place.
    pub told: fn(f64) -> String,
}

/// What a value should be.
#[derive(Debug, Clone, Copy)]
pub struct Aim {
    /// The value to hold.
    pub value: f64,
    /// Where what is too bad begins, below or above the value.
    pub limit: f64,
}

/// Where values stand in the picture.
struct Scale {
    low: f64,
    high: f64,
    step: f64,
    first: f64,
    last: f64,
}

impl Scale {
    fn of(chart: &Lines<'_>) -> Option<Self> {
        let aims = chart.aim.iter().flat_map(|aim| [aim.value, aim.limit]);
        let values = chart.series.iter().flat_map(|line| line.values.iter().copied().flatten());
        let zero = chart.from_zero.then_some(0.0);
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.chain(aims).chain(zero).filter(|value| value.is_finite()) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            return None;
        }
        let room = if high > low { (high - low) * 0.08 } else { high.abs().max(1.0) * 0.1 };
        let step = nice((high - low + 2.0 * room) / 4.0);
        let low = if chart.from_zero && low >= 0.0 { 0.0 } else { ((low - room) / step).floor() * step };
        let high = ((high + room * 0.5) / step).ceil() * step;
        let (first, last) = (*chart.places.first()?, *chart.places.last()?);
        Some(Self { low, high, step, first, last })
    }

    fn x(&self, at: f64) -> f64 {
        let span = self.last - self.first;
        let share = if span > 0.0 { (at - self.first) / span } else { 0.5 };
        LEFT + share * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        let share = (value.clamp(self.low, self.high) - self.low) / (self.high - self.low);
        TOP + (1.0 - share) * (HEIGHT - TOP - BOTTOM)
    }
}

/// 1, 2 or 5 times a power of ten, at least `size`.
fn nice(size: f64) -> f64 {
    if !(size.is_finite() && size > 0.0) {
        return 1.0;
    }
    let power = 10_f64.powf(size.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| *step >= size).unwrap_or(10.0 * power)
}

impl Lines<'_> {
    /// Writes the picture and, of several lines, a legend; "no values" where none is known.
    ///
    /// # Errors
    /// None: writing to a string cannot fail.
    pub fn write(&self, out: &mut String) -> fmt::Result {
        let Some(scale) = Scale::of(self) else { return out.write_str("<p class=\"note\">no values</p>") };
        write!(out, "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">")?;
        self.write_frame(&scale, out)?;
        for (place, line) in self.series.iter().take(LINES_MAX).enumerate() {
            self.write_line(place, line, &scale, out)?;
        }
        out.write_str("</svg>")?;
        if self.series.len() < 2 {
            return Ok(());
        }
        let names: Vec<(String, &str)> =
            self.series.iter().take(LINES_MAX).enumerate().map(|(i, line)| (format!("c{i}"), line.name)).collect();
        legend(names.iter().map(|(class, name)| (class.as_str(), *name)), out)
    }

    fn write_frame(&self, scale: &Scale, out: &mut String) -> fmt::Result {
        let right = WIDTH - RIGHT;
        let steps = ((scale.high - scale.low) / scale.step).round().clamp(1.0, 12.0) as u32;
        for step in 0..=steps {
            // From the step's number, so that no error adds up and 0 is 0.
            let value = (scale.low / scale.step + f64::from(step)).round() * scale.step;
            let y = scale.y(value);
            write!(out, "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\"/>")?;
            let (x, y, text) = (LEFT - 5.0, y + 3.5, (self.shown)(value));
            write!(out, "<text x=\"{x}\" y=\"{y:.1}\" text-anchor=\"end\">{}</text>", Escaped(&text))?;
        }
        if let Some(Aim { value, limit }) = self.aim {
            let (top, bottom) = if limit <= value { (scale.y(limit), HEIGHT - BOTTOM) } else { (TOP, scale.y(limit)) };
            let (width, height) = (right - LEFT, (bottom - top).max(0.0));
            write!(
                out,
                "<rect class=\"limit\" x=\"{LEFT}\" y=\"{top:.1}\" width=\"{width}\" height=\"{height:.1}\"/>"
            )?;
            let y = scale.y(value);
            write!(out, "<path class=\"aim\" d=\"M{LEFT} {y:.1}H{right}\"><title>{}</title></path>", short(value))?;
        }
        for (at, what) in &self.marks {
            let (x, bottom) = (scale.x(*at), HEIGHT - BOTTOM);
            write!(out, "<path class=\"mark\" d=\"M{x:.1} {TOP}V{bottom}\"/>")?;
            write!(out, "<text x=\"{:.1}\" y=\"{}\">{}</text>", x + 4.0, TOP + 8.0, Escaped(what))?;
        }
        let ends = [(self.places.first(), LEFT, "start"), (self.places.last(), right, "end")];
        let told = if self.places.len() > 1 { &ends[..] } else { &ends[1..] };
        for (at, x, anchor) in told {
            if let Some(at) = at {
                let (y, text) = (HEIGHT - 4.0, (self.told)(**at));
                write!(out, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{}</text>", Escaped(&text))?;
            }
        }
        Ok(())
    }

    /// A path with a gap where a value is missing, and a dot on each value.
    fn write_line(&self, place: usize, line: &Line<'_>, scale: &Scale, out: &mut String) -> fmt::Result {
        let known = |value: &Option<f64>| value.filter(|value| value.is_finite());
        let points: Vec<(f64, Option<f64>)> = self.places.iter().copied().zip(line.values.iter().map(known)).collect();
        write!(out, "<path class=\"l{place}\" d=\"")?;
        let mut pen = 'M';
        for (at, value) in &points {
            match value {
                Some(value) => {
                    write!(out, "{pen}{:.1} {:.1}", scale.x(*at), scale.y(*value))?;
                    pen = 'L';
                }
                None => pen = 'M',
            }
        }
        out.write_str("\"/>")?;
        let size = if points.len() > 60 { 1.2 } else { 2.4 };
        for (at, value) in points {
            let Some(value) = value else { continue };
            let (x, y, name, shown) = (scale.x(at), scale.y(value), Escaped(line.name), (self.shown)(value));
            write!(
                out,
                "<circle class=\"c{place}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{size}\"><title>{name} {} at {}</title></circle>",
                Escaped(&shown),
                Escaped(&(self.told)(at))
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(values: Vec<Option<f64>>) -> String {
        let lines = Lines {
            places: (0..values.len()).map(|place| place as f64).collect(),
            series: vec![Line { name: "a<b", values }],
            aim: Some(Aim { value: 2.0, limit: 1.0 }),
            marks: vec![(1.0, "turn".to_owned())],
            from_zero: false,
            shown: short,
            told: |place| format!("day {place}"),
        };
        let mut out = String::new();
        lines.write(&mut out).unwrap();
        out
    }

    #[test]
    fn a_gap_parts_the_line_and_flat_values_are_drawn() {
        let out = drawn(vec![Some(2.0), None, Some(f64::NAN), Some(2.0)]);
        assert_eq!((out.matches("<circle").count(), out.matches("day 3").count()), (2, 2));
        assert!(!out.contains("NaN") && !out.contains("inf") && out.contains(">turn</text>"), "{out}");
        let line = out.split("class=\"l0\" d=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        assert_eq!((line.matches('M').count(), line.matches('L').count()), (2, 0));
        assert!(out.contains("a&lt;b 2 at day 0"));
    }

    #[test]
    fn nothing_is_said_to_be_nothing() {
        let lines = Lines {
            places: vec![],
            series: vec![Line { name: "none", values: vec![] }],
            aim: None,
            marks: vec![],
            from_zero: true,
            shown: short,
            told: short,
        };
        let mut out = String::new();
        lines.write(&mut out).unwrap();
        assert!(out.contains("no values"));
    }

    #[test]
    fn steps_are_round() {
        assert_eq!([0.3, 1.0, 4.2, 70.0].map(nice), [0.5, 1.0, 5.0, 100.0]);
        assert_eq!([0.0, f64::NAN, f64::INFINITY].map(nice), [1.0; 3]);
    }
}
