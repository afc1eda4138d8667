//! Bars beside each other.

use std::fmt::{self, Write};

use super::WIDTH;
use crate::html::Escaped;

/// Bars of two shares per bin, the first behind the second; `ends` are told below the first and the last bin.
///
/// * `shares`: of any unit, at least 0; the tallest fills the picture.
/// * `class`: of the second bars, such as `c0`; the first ones have `then`.
/// * `tell`: what is said of a bin when it is pointed at.
///
/// # Errors
/// None: writing to a string cannot fail.
pub fn paired_bars(
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

/// One bar per named value, such as the groups of an attribute, in parts of the greatest; `shown` writes a value beside
/// its bar, and "too few" stands where there is none.
///
/// # Errors
/// None: writing to a string cannot fail.
pub fn named_bars(
    bars: &[(&str, Option<f64>)],
    class: &str,
    shown: impl Fn(f64) -> String,
    out: &mut String,
) -> fmt::Result {
    const ROW: f64 = 18.0;
    const NAMES: f64 = 110.0;
    let values = bars.iter().filter_map(|bar| bar.1).filter(|value| value.is_finite());
    let most = values.fold(0.0_f64, f64::max).max(f64::MIN_POSITIVE);
    write!(out, "<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\">", ROW * bars.len() as f64)?;
    for (row, (name, value)) in bars.iter().enumerate() {
        let value = value.filter(|value| value.is_finite());
        let y = ROW * row as f64;
        let (x, base) = (NAMES - 8.0, y + 12.5);
        let cut: String = name.chars().take(18).collect();
        let (cut, name) = (Escaped(&cut), Escaped(name));
        write!(out, "<text x=\"{x}\" y=\"{base}\" text-anchor=\"end\">{cut}<title>{name}</title></text>")?;
        let width = value.map_or(0.0, |value| (WIDTH - NAMES - 60.0) * value.max(0.0) / most);
        let (top, tall) = (y + 3.0, ROW - 6.0);
        write!(
            out,
            "<rect class=\"{class}\" x=\"{NAMES}\" y=\"{top}\" width=\"{width:.1}\" height=\"{tall}\" rx=\"2\"/>"
        )?;
        let told = value.map_or_else(|| "too few".to_owned(), &shown);
        let x = NAMES + width + 6.0;
        write!(out, "<text x=\"{x:.1}\" y=\"{base}\">{}</text>", Escaped(&told))?;
    }
    out.write_str("</svg>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_bar_fills_the_picture_and_the_least_is_seen() {
        let mut out = String::new();
        paired_bars(&[(1.0, 0.0), (0.0, 1e-9)], ("<a", "b"), "c0", |bin| format!("bin {bin}"), &mut out).unwrap();
        assert!(out.contains("y=\"0.0\" width=\"174.8\" height=\"80.0\"") && out.contains("height=\"1.0\""), "{out}");
        assert!(out.contains("&lt;a") && out.contains("<title>bin 1</title>"));
    }

    #[test]
    fn a_value_that_is_not_known_has_no_bar() {
        let mut out = String::new();
        let bars = [("half & half", Some(2.0)), ("all", Some(4.0)), ("none", None), ("nan", Some(f64::NAN))];
        named_bars(&bars, "c0", |value| format!("{value} %"), &mut out).unwrap();
        assert!(
            out.contains("width=\"105.0\"") && out.contains("width=\"210.0\"") && out.contains("half &amp; half"),
            "{out}"
        );
        assert_eq!((out.matches("too few").count(), out.matches("width=\"0.0\"").count()), (2, 2));
    }
}
