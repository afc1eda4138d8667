//! Pictures as SVG: lines over days, and bars.

use std::fmt::Write;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 56.0;
const BOTTOM: f64 = 28.0;
const TOP: f64 = 12.0;
const RIGHT: f64 = 12.0;

/// A named line; a point that is no number is a gap.
pub(super) struct Line<'a> {
    pub(super) name: &'a str,
    pub(super) class: &'a str,
    pub(super) points: Vec<(f64, f64)>,
}

/// Lines over one axis of days, with marks where something happened.
pub(super) fn lines(lines: &[Line<'_>], marks: &[(f64, String)], low: Option<f64>) -> String {
    let all = || lines.iter().flat_map(|line| &line.points).filter(|(x, y)| x.is_finite() && y.is_finite());
    let bound = |pick: fn(&(f64, f64)) -> f64, fold: fn(f64, f64) -> f64, start: f64| all().map(pick).fold(start, fold);
    let (x_low, x_high) = (bound(|p| p.0, f64::min, f64::INFINITY), bound(|p| p.0, f64::max, f64::NEG_INFINITY));
    let (y_min, y_max) = (bound(|p| p.1, f64::min, f64::INFINITY), bound(|p| p.1, f64::max, f64::NEG_INFINITY));
    if !x_low.is_finite() || !y_min.is_finite() {
        return "<p class=\"note\">nothing to draw</p>".to_owned();
    }
    let y_low = low.unwrap_or(y_min - 0.1 * (y_max - y_min));
    let y_high = if y_max > y_low { y_max + 0.05 * (y_max - y_low) } else { y_low + 1.0 };
    let x_high = if x_high > x_low { x_high } else { x_low + 1.0 };
    let x = |value: f64| LEFT + (value - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - (value - y_low) / (y_high - y_low) * (HEIGHT - BOTTOM - TOP);
    let mut out = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">");
    for step in 0..=4 {
        let value = y_low + (y_high - y_low) * f64::from(step) / 4.0;
        let (at, right) = (y(value), WIDTH - RIGHT);
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            at + 3.5,
            number(value)
        );
    }
    for (at, what) in marks {
        let _ = write!(
            out,
            "<line class=\"mark\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{TOP}\" y2=\"{1:.1}\"/><text x=\"{2:.1}\" y=\"{3:.1}\">{what}</text>",
            x(*at),
            HEIGHT - BOTTOM,
            x(*at) + 4.0,
            TOP + 8.0
        );
    }
    for line in lines {
        let points = line.points.iter().filter(|(_, value)| value.is_finite());
        let path: Vec<String> = points.clone().map(|(at, value)| format!("{:.1},{:.1}", x(*at), y(*value))).collect();
        let _ = write!(
            out,
            "<polyline class=\"{}\" points=\"{}\"><title>{}</title></polyline>",
            line.class,
            path.join(" "),
            line.name
        );
        for (at, value) in points {
            let _ = write!(
                out,
                "<circle class=\"{}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.5\"><title>{}, day {at}: {}</title></circle>",
                line.class,
                x(*at),
                y(*value),
                line.name,
                number(*value)
            );
        }
    }
    let days = [(x_low, "start"), (f64::midpoint(x_low, x_high).round(), "middle"), (x_high, "end")];
    for (day, anchor) in days {
        let _ = write!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">day {day:.0}</text>",
            x(day),
            HEIGHT - 10.0
        );
    }
    out.push_str("</svg><p class=\"legend\">");
    for line in lines {
        let _ = write!(out, "<span class=\"{}\">{}</span> ", line.class, line.name);
    }
    out.push_str("</p>");
    out
}

/// Horizontal bars, longest first as given.
pub(super) fn bars(rows: &[(String, f64)], unit: &str) -> String {
    let most = rows.iter().map(|(_, value)| *value).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let mut out = String::from("<table class=\"bars\">");
    for (name, value) in rows {
        let _ = write!(
            out,
            "<tr><td>{name}</td><td><div style=\"width:{:.1}%\"></div></td><td>{value:.1}{unit}</td></tr>",
            100.0 * value / most,
        );
    }
    out.push_str("</table>");
    out
}

/// Three significant digits.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1_000.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_survive_gaps_and_flat_data() {
        let flat = Line { name: "flat", class: "a", points: vec![(1.0, 2.0), (2.0, f64::NAN), (3.0, 2.0)] };
        let drawn = lines(&[flat], &[(2.0, "turn".to_owned())], None);
        assert!(!drawn.contains("NaN") && !drawn.contains("inf") && drawn.contains("turn"), "{drawn}");
        let empty = Line { name: "none", class: "a", points: vec![] };
        assert!(lines(&[empty], &[], None).contains("nothing to draw"));
    }
}
