//! What is computed of the events in a window.

use mlops_core::stats::{Distinct, FrequentItems, Histogram, Quantiles};
use serde::{Deserialize, Serialize};

use super::measure::Measure;
use super::value::Kind;
use crate::define::{Item, ValueType};
use crate::error::{Core, Result};

/// Most values that one list may have.
pub const LIST_MAX: u32 = 1_000;

/// What is computed of the values in a window.
///
/// Values count when they are present: not null and, for floats, finite, as in [`mlops_core::stats`]; the two zeros are one value.
/// Without a present value, counts are 0 and everything else is null. The order in which events arrive never changes a
/// result: of events at one instant, the one with the greater value is the later.
///
/// | op | of | gives |
/// |---|---|---|
/// | count | anything, or whole events | int64 |
/// | sum | numbers | int64 for whole numbers, held at the ends of its range; else float64, the exact sum rounded once |
/// | mean | numbers | float64, from the exact sum |
/// | variance, standard deviation | numbers | float64, from exact sums; null without more than `ddof` values, or where a square overflows |
/// | min, max, first, last | anything | the type of the column |
/// | first_n, last_n, last_n_distinct | anything | list; last ones begin with the latest |
/// | distinct, top_k | anything | int64; list, the most frequent first, of equals the smaller |
/// | distinct_sketch | anything | int64, see [`Distinct`] |
/// | quantiles | numbers | list of float64, one per share, see [`Quantiles`] |
/// | top_k_sketch | text | list of text, see [`FrequentItems`] |
/// | histogram | numbers | list of int64: below the first edge, each bin, above the last; see [`Histogram`] |
///
/// Booleans are read as 0 and 1. Variances, quantiles and histograms see whole numbers as the nearest double.
/// `distinct` and `top_k` hold every different value of a window; where those are many, take the sketches.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Op {
    /// How many present values, or events.
    Count,
    /// Sum.
    Sum,
    /// Mean.
    Mean,
    /// Variance with divisor `n − ddof`.
    Variance {
        /// 0 for that of the values themselves, 1 for that of what they are a sample of.
        ddof: u8,
    },
    /// Square root of the variance.
    StandardDeviation {
        /// As for the variance.
        ddof: u8,
    },
    /// Smallest.
    Min,
    /// Greatest.
    Max,
    /// Earliest.
    First,
    /// Latest.
    Last,
    /// The earliest `n`, earliest first.
    FirstN {
        /// 1 to 1000.
        n: u32,
    },
    /// The latest `n`, latest first.
    LastN {
        /// 1 to 1000.
        n: u32,
    },
    /// The `n` different values that occurred last, by their last occurrence, latest first.
    LastNDistinct {
        /// 1 to 1000.
        n: u32,
    },
    /// How many different values, exactly.
    Distinct,
    /// How many different values, from a sketch of bounded size.
    DistinctSketch {
        /// 8 to 16; 12 gives 1.6 % at 4 KiB.
        precision: u8,
    },
    /// The values below which these shares of all values lie, from a sketch of bounded size.
    Quantiles {
        /// Each in 0 to 1; 1 to 1000 of them.
        shares: Vec<f64>,
        /// Size of the sketch, at least 8; 200 gives a rank error of 1.3 % and is exact up to as many values.
        k: u16,
    },
    /// The `k` most frequent values, exactly.
    TopK {
        /// 1 to 1000.
        k: u32,
    },
    /// The `k` most frequent texts, from a sketch of bounded size.
    TopKSketch {
        /// 1 to 1000.
        k: u32,
        /// A power of two, 8 to 65536; exact up to three quarters as many different texts.
        capacity: u32,
    },
    /// Counts per bin.
    Histogram {
        /// 2 to 1000, finite and ascending.
        edges: Vec<f64>,
    },
}

impl Op {
    /// The word for it in names of features.
    pub(crate) fn word(&self) -> String {
        match self {
            Self::Count => "count".to_owned(),
            Self::Sum => "sum".to_owned(),
            Self::Mean => "mean".to_owned(),
            Self::Variance { .. } => "variance".to_owned(),
            Self::StandardDeviation { .. } => "std".to_owned(),
            Self::Min => "min".to_owned(),
            Self::Max => "max".to_owned(),
            Self::First => "first".to_owned(),
            Self::Last => "last".to_owned(),
            Self::FirstN { n } => format!("first{n}"),
            Self::LastN { n } => format!("last{n}"),
            Self::LastNDistinct { n } => format!("last{n}_distinct"),
            Self::Distinct => "distinct".to_owned(),
            Self::DistinctSketch { .. } => "distinct_sketch".to_owned(),
            Self::Quantiles { .. } => "quantiles".to_owned(),
            Self::TopK { k } => format!("top{k}"),
            Self::TopKSketch { k, .. } => format!("top{k}_sketch"),
            Self::Histogram { .. } => "histogram".to_owned(),
        }
    }

    /// Refuses parameters outside of their domains.
    pub(crate) fn check(&self) -> Result<()> {
        let in_list = |setting, n: u32| match n {
            1..=LIST_MAX => Ok(()),
            _ => Err(Core::invalid(setting, n, "in 1..=1000")),
        };
        match self {
            Self::Variance { ddof } | Self::StandardDeviation { ddof } if *ddof > 1 => {
                return Err(Core::invalid("ddof", ddof, "0 or 1").into());
            }
            Self::FirstN { n } | Self::LastN { n } | Self::LastNDistinct { n } => in_list("n", *n)?,
            Self::TopK { k } => in_list("k", *k)?,
            Self::TopKSketch { k, capacity } => {
                in_list("k", *k)?;
                FrequentItems::new(*capacity as usize)?;
            }
            Self::DistinctSketch { precision } => {
                Distinct::new(*precision)?;
            }
            Self::Quantiles { shares, k } => {
                Quantiles::new(*k)?.quantiles(shares)?;
                in_list("number of shares", shares.len() as u32)?;
            }
            Self::Histogram { edges } => {
                in_list("number of edges", edges.len() as u32)?;
                Histogram::new(edges.clone())?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Type of the feature that this makes of a column; `None` where it makes none.
    pub(crate) fn output(&self, column: Option<Kind>) -> Option<ValueType> {
        let Some(kind) = column else { return matches!(self, Self::Count).then_some(ValueType::Int64) };
        let number = matches!(kind, Kind::Int | Kind::Real);
        match self {
            Self::Count | Self::Distinct | Self::DistinctSketch { .. } => Some(ValueType::Int64),
            Self::Sum => number.then_some(kind.value_type()),
            Self::Mean | Self::Variance { .. } | Self::StandardDeviation { .. } => number.then_some(ValueType::Float64),
            Self::Min | Self::Max | Self::First | Self::Last => Some(kind.value_type()),
            Self::FirstN { .. } | Self::LastN { .. } | Self::LastNDistinct { .. } | Self::TopK { .. } => {
                Some(ValueType::List(kind.item()))
            }
            Self::Quantiles { .. } => number.then_some(ValueType::List(Item::Float64)),
            Self::TopKSketch { .. } => (kind == Kind::Text).then_some(ValueType::List(Item::Utf8)),
            Self::Histogram { .. } => number.then_some(ValueType::List(Item::Int64)),
        }
    }

    /// The partial aggregate that it is read from; several ops may share one.
    pub(crate) fn measure(&self, column: Option<Kind>) -> Measure {
        match self {
            Self::Count | Self::Sum | Self::Mean => match column {
                Some(Kind::Int) => Measure::Ints,
                Some(Kind::Real) => Measure::Reals,
                _ => Measure::Count,
            },
            Self::Variance { .. } | Self::StandardDeviation { .. } => Measure::Spread,
            Self::Min => Measure::Min,
            Self::Max => Measure::Max,
            Self::First => Measure::First(1),
            Self::Last => Measure::Last(1),
            Self::FirstN { n } => Measure::First(*n),
            Self::LastN { n } => Measure::Last(*n),
            Self::LastNDistinct { n } => Measure::Recent(*n),
            Self::Distinct | Self::TopK { .. } => Measure::Counts,
            Self::DistinctSketch { precision } => Measure::Sketch(*precision),
            Self::Quantiles { k, .. } => Measure::Quantiles(*k),
            Self::TopKSketch { capacity, .. } => Measure::Items(*capacity),
            Self::Histogram { edges } => Measure::Bins(edges.clone()),
        }
    }
}
