//! Counts of bins as one shape: a picture of a kilobyte, however many columns a page has.

use std::fmt::{self, Write};

use super::WIDTH;
use crate::html::Escaped;

/// What the first and the last bin are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tails {
    /// Bins as all others.
    Bins,
    /// All that lies below and above: drawn in another colour, and outside of what `ends` tell.
    Open,
}

/// Bars of `counts` without room between them; `ends` are told below the first and the last one.
///
/// # Errors
/// None: writing to a string cannot fail.
///
/// # Examples
/// ```
/// use mlops_core::html::chart::{Tails, histogram};
/// let mut out = String::new();
/// histogram(&[1, 4, 2], ("0", "3"), Tails::Bins, &mut out)?;
/// assert!(out.starts_with("<svg") && out.contains(">3</text>"));
/// # Ok::<(), std::fmt::Error>(())
/// ```
pub fn histogram(counts: &[u64], ends: (&str, &str), tails: Tails, out: &mut String) -> fmt::Result {
    const TALL: f64 = 90.0;
    let most = counts.iter().copied().max().unwrap_or(0).max(1) as f64;
    let step = WIDTH / counts.len().max(1) as f64;
    let is_tail = |bin: usize| tails == Tails::Open && (bin == 0 || bin + 1 == counts.len());
    write!(out, "<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\">", TALL + 14.0)?;
    for (class, tail) in [("c0", false), ("c2", true)] {
        let bins = counts.iter().enumerate().filter(|&(bin, &count)| count > 0 && is_tail(bin) == tail);
        let mut shape = String::new();
        for (bin, &count) in bins {
            // A row that is there is seen, however few they are.
            let height = (TALL * count as f64 / most).max(1.0);
            write!(shape, "M{:.1} {TALL}v-{height:.1}h{:.1}V{TALL}z", step * bin as f64, step - 0.8)?;
        }
        if !shape.is_empty() {
            write!(out, "<path class=\"{class}\" d=\"{shape}\"/>")?;
        }
    }
    let (y, inset) = (TALL + 11.0, if tails == Tails::Open { step } else { 0.0 });
    write!(out, "<text x=\"{inset:.1}\" y=\"{y}\">{}</text>", Escaped(ends.0))?;
    write!(out, "<text x=\"{:.1}\" y=\"{y}\" text-anchor=\"end\">{}</text></svg>", WIDTH - inset, Escaped(ends.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stand_in_proportion_and_tails_apart() {
        let mut out = String::new();
        histogram(&[1, 10, 0, 5], ("<", ">"), Tails::Open, &mut out).unwrap();
        assert!(out.contains("<path class=\"c0\" d=\"M95.0 90v-90.0h94.2V90z\"/>"), "{out}");
        assert!(out.contains("<path class=\"c2\" d=\"M0.0 90v-9.0h94.2V90zM285.0 90v-45.0h94.2V90z\"/>"), "{out}");
        assert!(out.contains(">&lt;</text>") && out.contains("x=\"95.0\" y=\"101\""));
        let mut empty = String::new();
        histogram(&[], ("", ""), Tails::Bins, &mut empty).unwrap();
        assert!(!empty.contains("<path") && empty.ends_with("</svg>"));
    }
}
