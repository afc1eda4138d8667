//! What an expression can compute.

use serde::{Deserialize, Serialize};

macro_rules! functions {
    ($($(#[doc = $doc:literal])+ $variant:ident $name:literal $least:literal..$most:literal),* $(,)?) => {
        /// An operation, by the name that stands in stored trees and, where it is no operator, before the brackets in text.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum Function {
            $($(#[doc = $doc])+ #[serde(rename = $name)] $variant),*
        }

        impl Function {
            /// All functions.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// Least and greatest number of arguments.
            pub fn arity(self) -> (usize, usize) {
                match self { $(Self::$variant => ($least, $most)),* }
            }
        }
    };
}

functions! {
    /// `a and b and …`: false where one is false, else null where one is null.
    And "and" 2..10_000,
    /// `a or b or …`: true where one is true, else null where one is null.
    Or "or" 2..10_000,
    /// `not a`.
    Not "not" 1..1,
    /// `a = b`.
    Eq "eq" 2..2,
    /// `a != b`.
    NotEq "not_eq" 2..2,
    /// `a < b`. Text is ordered by its bytes; booleans have no order.
    Lt "lt" 2..2,
    /// `a <= b`.
    LtEq "lt_eq" 2..2,
    /// `a > b`.
    Gt "gt" 2..2,
    /// `a >= b`.
    GtEq "gt_eq" 2..2,
    /// `a + b + …` of integers (null on overflow) or floats.
    Add "add" 2..10_000,
    /// `a - b`.
    Subtract "subtract" 2..2,
    /// `a * b * …`.
    Multiply "multiply" 2..10_000,
    /// `a / b`, always a float; null where `b` is 0.
    Divide "divide" 2..2,
    /// `a % b` with the sign of `a`; null where `b` is 0.
    Remainder "remainder" 2..2,
    /// `-a`.
    Negate "negate" 1..1,
    /// `a is null`, never null itself.
    IsNull "is_null" 1..1,
    /// `a between b and c`, both ends inclusive: `a >= b and a <= c`.
    Between "between" 3..3,
    /// `a in (b, c, …)` over constants, none of them null.
    In "in" 2..10_000,
    /// `coalesce(a, b, …)`: the first that is not null.
    Coalesce "coalesce" 1..10_000,
    /// `if(c, a, b)` or `case when c then a … else b end`: the value behind the first condition that is true.
    Case "case" 3..10_000,
    /// `length(text)` in Unicode scalar values.
    Length "length" 1..1,
    /// `lower(text)` by Unicode.
    Lower "lower" 1..1,
    /// `upper(text)` by Unicode.
    Upper "upper" 1..1,
    /// `trim(text)`: without white space at both ends.
    Trim "trim" 1..1,
    /// `contains(text, part)`.
    Contains "contains" 2..2,
    /// `starts_with(text, part)`.
    StartsWith "starts_with" 2..2,
    /// `ends_with(text, part)`.
    EndsWith "ends_with" 2..2,
    /// `matches(text, 'regex')`, from end to end; the syntax of the `regex` crate, at most 4096 bytes.
    Matches "matches" 2..2,
    /// `concat(text, text, …)`.
    Concat "concat" 1..10_000,
    /// `substring(text, start, count)`: `count` Unicode scalar values from number `start` on, the first being 1; fewer where
    /// the text ends, null where `start` is below 1 or `count` below 0.
    Substring "substring" 3..3,
    /// `replace(text, part, other)`: every `part`, from left to right, by `other`; an empty `part` is nowhere.
    Replace "replace" 3..3,
    /// `year(time)` in UTC, as the others.
    Year "year" 1..1,
    /// `month(time)`, 1 to 12.
    Month "month" 1..1,
    /// `day(time)` of the month, 1 to 31.
    Day "day" 1..1,
    /// `weekday(time)`, 1 for Monday to 7 for Sunday (ISO 8601).
    Weekday "weekday" 1..1,
    /// `hour(time)`, 0 to 23.
    Hour "hour" 1..1,
    /// `minute(time)`, 0 to 59.
    Minute "minute" 1..1,
    /// `second(time)`, 0 to 59.
    Second "second" 1..1,
    /// `seconds_between(later, earlier)` as a float, negative where the first is before the second.
    SecondsBetween "seconds_between" 2..2,
    /// `add_seconds(time, seconds)`, to the microsecond below.
    AddSeconds "add_seconds" 2..2,
    /// `now()`: the instant that the caller gave.
    Now "now" 0..0,
    /// `abs(a)`.
    Abs "abs" 1..1,
    /// `floor(a)`; an integer stays as it is.
    Floor "floor" 1..1,
    /// `ceil(a)`.
    Ceil "ceil" 1..1,
    /// `round(a)`, halves away from zero.
    Round "round" 1..1,
    /// `sqrt(a)`, null below 0.
    Sqrt "sqrt" 1..1,
    /// `ln(a)`, null at and below 0.
    Ln "ln" 1..1,
    /// `exp(a)`.
    Exp "exp" 1..1,
    /// `min(a, b, …)` of numbers or times in one row; NaN where one is NaN.
    Min "min" 1..10_000,
    /// `max(a, b, …)`.
    Max "max" 1..10_000,
    /// `pow(a, b)` as a float; null where it would not be a number.
    Pow "pow" 2..2,
    /// `is_nan(a)`.
    IsNan "is_nan" 1..1,
    /// `null_if(a, b)`: null where `a = b`, else `a`.
    NullIf "null_if" 2..2,
    /// `bucket(a, b1, b2, …)`: how many of the constants `b1 < b2 < …` are at or below `a`, so 0 below `b1`; null for NaN.
    Bucket "bucket" 2..10_000,
    /// `geo_distance(latitude, longitude, latitude, longitude)` of two places in degrees: metres along the great circle of a
    /// sphere of radius 6 371 008.8 m (the mean of IUGG), by the haversine formula; up to 0.6 % off the ellipsoid. Null where a
    /// latitude is beyond ±90 or a longitude beyond ±180.
    GeoDistance "geo_distance" 4..4,
    /// `int(a)` of a number (cut towards zero), a boolean, a text, or the microseconds of a time.
    Int "int" 1..1,
    /// `float(a)` of a number, a boolean or a text.
    Float "float" 1..1,
    /// `text(a)` of anything.
    Text "text" 1..1,
    /// `bool(a)` of a number (whether it is not 0) or of the texts `true` and `false`.
    Bool "bool" 1..1,
    /// `time(a)` of a text as in RFC 3339, or of microseconds since 1970.
    Time "time" 1..1,
}

impl Function {
    /// The function that text calls `name`; `if` is [`Case`](Self::Case).
    pub(super) fn named(name: &str) -> Option<Self> {
        if name == "if" {
            return Some(Self::Case);
        }
        Self::ALL.iter().copied().find(|function| function.name() == name)
    }

    /// How it stands between its arguments, and how strongly it binds.
    pub(super) fn infix(self) -> Option<(&'static str, u8)> {
        Some(match self {
            Self::Or => ("or", 1),
            Self::And => ("and", 2),
            Self::Eq => ("=", 4),
            Self::NotEq => ("!=", 4),
            Self::Lt => ("<", 4),
            Self::LtEq => ("<=", 4),
            Self::Gt => (">", 4),
            Self::GtEq => (">=", 4),
            Self::Add => ("+", 5),
            Self::Subtract => ("-", 5),
            Self::Multiply => ("*", 6),
            Self::Divide => ("/", 6),
            Self::Remainder => ("%", 6),
            _ => return None,
        })
    }

    /// The function whose name is most like `name`, for advice.
    pub(super) fn like(name: &str) -> Option<&'static str> {
        let distance = |function: &Self| (edits(name, function.name()), function.name());
        Self::ALL.iter().map(distance).min().filter(|(edits, _)| *edits <= 2).map(|(_, name)| name)
    }
}

/// Levenshtein distance of two short names.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut above_left = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = above_left + usize::from(x != *y);
            above_left = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(above_left + 1);
        }
    }
    row[b.len()]
}
