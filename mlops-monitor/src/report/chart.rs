//! Inline pictures: lines over time, bars beside each other.

use std::fmt::{self, Write};

use mlops_core::EventTime;
use mlops_core::html::{Escaped, short};

use super::stamp;

/// Series of one picture of lines; each has a colour of its own in the style.
pub(super) const LINES_MAX: usize = 3;

const WIDTH: f64 = 380.0;
const HEIGHT: f64 = 140.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 18.0;

/// One line: a value per time, none where it is not known.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub(super) name: &'a str,
    pub(super) values: Vec<Option<f64>>,
}

/// Lines over the same times.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    /// Ends of the windows, oldest first.
    pub(super) times: Vec<EventTime>,
    pub(super) series: Vec<Line<'a>>,
    /// A value to hold, and where what is too bad begins: from there on downwards or upwards.
    pub(super) aim: Option<Aim>,
    /// Whether the picture begins at 0.
    pub(super) from_zero: bool,
    pub(super) shown: fn(f64) -> String,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Aim {
    pub(super) value: f64,
    pub(super) limit: f64,
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
        let (first, last) = (chart.times.first()?, chart.times.last()?);
        Some(Self { low, high, step, first: first.as_micros() as f64, last: last.as_micros() as f64 })
    }

    fn x(&self, at: EventTime) -> f64 {
        let span = self.last - self.first;
        let share = if span > 0.0 { (at.as_micros() as f64 - self.first) / span } else { 0.5 };
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
    /// Nothing where no value is known.
    pub(super) fn write(&self, out: &mut String) -> fmt::Result {
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
        let ends = [(self.times.first(), LEFT, "start"), (self.times.last(), right, "end")];
        let told = if self.times.len() > 1 { &ends[..] } else { &ends[1..] };
        for (at, x, anchor) in told {
            if let Some(at) = at {
                let (y, text) = (HEIGHT - 4.0, stamp(**at));
                write!(out, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{}</text>", Escaped(&text))?;
            }
        }
        Ok(())
    }

    /// A path with a gap where a value is missing, and a dot on each value.
    fn write_line(&self, place: usize, line: &Line<'_>, scale: &Scale, out: &mut String) -> fmt::Result {
        let known = |value: &Option<f64>| value.filter(|value| value.is_finite());
        let points: Vec<(EventTime, Option<f64>)> =
            self.times.iter().copied().zip(line.values.iter().map(known)).collect();
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
                Escaped(&stamp(at))
            )?;
        }
        Ok(())
    }
}

/// What the colours mean.
pub(super) fn legend<'a>(names: impl IntoIterator<Item = (&'a str, &'a str)>, out: &mut String) -> fmt::Result {
    out.write_str("<p class=\"legend\">")?;
    for (class, name) in names {
        write!(out, "<i class=\"{class}\"></i>{}", Escaped(name))?;
    }
    out.write_str("</p>")
}

/// Bars of two shares per bin, the first behind the second; `ends` are told below the first and the last bin.
pub(super) fn paired_bars(
    shares: &[(f64, f64)],
    ends: (&str, &str),
    class: &str,
    tell: impl Fn(usize) -> String,
    out: &mut String,
) -> fmt::Result {
    const TALL: f64 = 80.0;
    let most = shares.iter().fold(0.0_f64, |most, both| most.max(both.0).max(both.1)).max(f64::MIN_POSITIVE);
    let step = WIDTH / shares.len().max(1) as f64;
    write!(out, "<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\">", TALL + 16.0)?;
    for (bin, (then, now)) in shares.iter().enumerate() {
        let x = step * bin as f64;
        write!(out, "<g><title>{}</title>", Escaped(&tell(bin)))?;
        for (share, class, inset) in [(then, "then", 0.04), (now, class, 0.22)] {
            // A row that is there is seen, however few they are.
            let height = if *share > 0.0 { (TALL * share / most).max(1.0) } else { 0.0 };
            let (x, y, width) = (x + step * inset, TALL - height, step * (1.0 - 2.0 * inset));
            write!(
                out,
                "<rect class=\"{class} over\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
            )?;
        }
        out.write_str("</g>")?;
    }
    let y = TALL + 12.0;
    write!(out, "<text x=\"0\" y=\"{y}\">{}</text>", Escaped(ends.0))?;
    write!(out, "<text x=\"{WIDTH}\" y=\"{y}\" text-anchor=\"end\">{}</text></svg>", Escaped(ends.1))
}

/// One bar per named share, such as the groups of an attribute, in parts of the greatest.
pub(super) fn named_bars(bars: &[(&str, Option<f64>)], class: &str, out: &mut String) -> fmt::Result {
    const ROW: f64 = 18.0;
    const NAMES: f64 = 110.0;
    let most = bars.iter().filter_map(|bar| bar.1).fold(0.0_f64, f64::max).max(f64::MIN_POSITIVE);
    write!(out, "<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\">", ROW * bars.len() as f64)?;
    for (row, (name, share)) in bars.iter().enumerate() {
        let y = ROW * row as f64;
        let (x, base) = (NAMES - 8.0, y + 12.5);
        let cut: String = name.chars().take(18).collect();
        let (cut, name) = (Escaped(&cut), Escaped(name));
        write!(out, "<text x=\"{x}\" y=\"{base}\" text-anchor=\"end\">{cut}<title>{name}</title></text>")?;
        let width = share.map_or(0.0, |share| (WIDTH - NAMES - 60.0) * share / most);
        let (top, tall) = (y + 3.0, ROW - 6.0);
        write!(
            out,
            "<rect class=\"{class}\" x=\"{NAMES}\" y=\"{top}\" width=\"{width:.1}\" height=\"{tall}\" rx=\"2\"/>"
        )?;
        let told = share.map_or_else(|| "too few".to_owned(), short);
        let x = NAMES + width + 6.0;
        write!(out, "<text x=\"{x:.1}\" y=\"{base}\">{told}</text>")?;
    }
    out.write_str("</svg>")
}
