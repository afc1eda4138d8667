//! Numbers as the format spells them.

use std::fmt;

/// The value of a sample: a count to the last unit, or a float.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A count.
    Whole(u64),
    /// Anything else; NaN and infinities are spelled `NaN`, `+Inf` and `-Inf`.
    Real(f64),
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<bool> for Number {
    fn from(value: bool) -> Self {
        Self::Whole(u64::from(value))
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl Number {
    /// Whether a counter may have this value.
    pub(super) fn is_count(self) -> bool {
        match self {
            Self::Whole(_) => true,
            Self::Real(value) => value >= 0.0,
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Whole(value) => write!(f, "{value}"),
            Self::Real(value) => write_real(value, f),
        }
    }
}

/// The shortest digits that read back as `value`, laid out as Go's `%g` does, for `le` is compared as text: from 1e-4 to
/// below 1e6 plain with at least one decimal, beyond with an exponent of at least two digits.
fn write_real(value: f64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if value.is_nan() {
        return f.write_str("NaN");
    }
    if value.is_infinite() {
        return f.write_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return write!(f, "{value:?}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    write!(f, "{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: f64, expected: &str) {
        let text = Number::Real(value).to_string();
        assert_eq!(text, expected);
        let readable = text.replace("+Inf", "inf").replace("-Inf", "-inf");
        let read: f64 = readable.parse().unwrap();
        assert!(read == value || read.is_nan() && value.is_nan(), "{text} reads back as {read}");
    }

    #[test]
    fn bounds_are_spelled_as_the_standard_lists_them() {
        // OpenMetrics 1.0, "Considerations: Canonical Numbers".
        let small = [0.0, 0.001, 0.002, 0.01, 0.1, 0.9, 0.95, 0.99, 0.999, 1.0, 1.7, 10.0];
        for (value, text) in
            small.into_iter().zip("0.0 0.001 0.002 0.01 0.1 0.9 0.95 0.99 0.999 1.0 1.7 10.0".split(' '))
        {
            check(value, text);
        }
        let powers = [1e-10, 1e-9, 1e-5, 1e-4, 1e-1, 1.0, 1e5, 1e6, 1e10];
        for (value, text) in powers.into_iter().zip("1e-10 1e-09 1e-05 0.0001 0.1 1.0 100000.0 1e+06 1e+10".split(' '))
        {
            check(value, text);
        }
    }

    #[test]
    fn every_float_has_a_spelling() {
        // Go 1.19: strconv.FormatFloat(x, 'g', -1, 64).
        check(f64::MAX, "1.7976931348623157e+308");
        check(f64::MIN_POSITIVE, "2.2250738585072014e-308");
        check(1_234_567.5, "1.2345675e+06");
        check(0.000_025, "2.5e-05");
        check(-0.0, "-0.0");
        check(-3.25, "-3.25");
        check(999_999.0, "999999.0");
        check(f64::NAN, "NaN");
        check(f64::INFINITY, "+Inf");
        check(f64::NEG_INFINITY, "-Inf");
    }

    #[test]
    fn counts_are_exact() {
        assert_eq!(Number::from(u64::MAX).to_string(), "18446744073709551615");
        assert_eq!(Number::from(true).to_string(), "1");
    }
}
