//! One metric with its series.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use mlops_core::EventTime;

use super::Number;
use super::labels::{Escaped, Labels, check_family};
use crate::{Error, Result};

/// Series that one family may have; those that come later are left out and counted.
pub const SERIES_MAX: usize = 1_000;

/// Buckets that one histogram may have.
const BUCKETS_MAX: usize = 256;

/// What a family's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
    /// Facts in labels.
    Info,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }
}

/// A histogram's counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Buckets {
    bounds: Vec<f64>,
    counts: Vec<u64>,
    sum: f64,
}

impl Buckets {
    /// Counts per bucket, not cumulated: `counts[i]` of the values above the bound before and at most `bounds[i]`, and one
    /// more count of those above all bounds. `sum` is that of all values.
    ///
    /// # Errors
    /// [`Error::Exposition`] when the bounds are not finite and strictly increasing, or more than 256; when there is not one count
    /// more than bounds; or when the sum is NaN or below 0.
    pub fn new(bounds: Vec<f64>, counts: Vec<u64>, sum: f64) -> Result<Self> {
        let refuse = |reason: &str| Err(Error::exposition("histogram", reason));
        if bounds.len() > BUCKETS_MAX {
            return refuse("a histogram has at most 256 bounds");
        }
        if bounds.iter().any(|bound| !bound.is_finite()) || bounds.windows(2).any(|pair| pair[0] >= pair[1]) {
            return refuse("bounds are finite and strictly increasing");
        }
        if counts.len() != bounds.len() + 1 {
            return refuse("there is one count more than bounds");
        }
        if sum.is_nan() || sum < 0.0 {
            return refuse("the sum is a number of at least 0");
        }
        Ok(Self { bounds, counts, sum })
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Number(Number),
    Buckets(Buckets),
}

#[derive(Clone, Debug, PartialEq)]
struct Sample {
    value: Value,
    at: Option<EventTime>,
}

/// One metric: a name, what it means, and its series.
///
/// # Examples
/// ```
/// use mlops_monitor::export::openmetrics::{Exposition, Family, Labels};
///
/// let mut orders = Family::counter("shop_orders", "Orders that came in.")?;
/// orders.set(&Labels::new([("channel", "app")])?, 3_u64)?;
/// let mut page = Exposition::new();
/// page.add(orders)?;
/// assert!(page.to_text().contains("shop_orders_total{channel=\"app\"} 3\n"));
/// # Ok::<(), mlops_monitor::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    name: String,
    kind: Kind,
    unit: Option<String>,
    help: String,
    series: BTreeMap<Labels, Sample>,
    left_out: u64,
}

impl Family {
    /// A count since the process began. The samples are called `name_total`.
    ///
    /// # Errors
    /// [`Error::Exposition`] when the name is not `[a-zA-Z][a-zA-Z0-9_]*`, or ends in what the format adds by itself, such as
    /// `_total`.
    pub fn counter(name: impl Into<String>, help: impl Into<String>) -> Result<Self> {
        Self::new(Kind::Counter, name.into(), help.into())
    }

    /// A value that goes up and down.
    ///
    /// # Errors
    /// As [`counter`](Self::counter).
    pub fn gauge(name: impl Into<String>, help: impl Into<String>) -> Result<Self> {
        Self::new(Kind::Gauge, name.into(), help.into())
    }

    /// Counts by size.
    ///
    /// # Errors
    /// As [`counter`](Self::counter).
    pub fn histogram(name: impl Into<String>, help: impl Into<String>) -> Result<Self> {
        Self::new(Kind::Histogram, name.into(), help.into())
    }

    /// Facts that stand in labels, such as a version. The samples are called `name_info` and are 1.
    ///
    /// # Errors
    /// As [`counter`](Self::counter).
    pub fn info(name: impl Into<String>, help: impl Into<String>) -> Result<Self> {
        Self::new(Kind::Info, name.into(), help.into())
    }

    fn new(kind: Kind, name: String, help: String) -> Result<Self> {
        check_family(&name)?;
        Ok(Self { name, kind, unit: None, help, series: BTreeMap::new(), left_out: 0 })
    }

    /// What the values are measured in, such as `seconds`: the name must end in it.
    ///
    /// # Errors
    /// [`Error::Exposition`] when the name does not end in `_unit`, or the family is an info.
    pub fn unit(mut self, unit: &str) -> Result<Self> {
        if unit.is_empty() || self.name.strip_suffix(unit).is_none_or(|stem| !stem.ends_with('_')) {
            return Err(self.refuse(format_args!("the name does not end in its unit `_{}`", unit.escape_default())));
        }
        if self.kind == Kind::Info {
            return Err(self.refuse("an info has no unit"));
        }
        self.unit = Some(unit.to_owned());
        Ok(self)
    }

    /// The value of one series of a counter or gauge.
    ///
    /// # Errors
    /// [`Error::Exposition`] when the family is neither, the series is there already, or a counter is NaN or below 0.
    pub fn set(&mut self, labels: &Labels, value: impl Into<Number>) -> Result<()> {
        self.put(labels, Value::Number(value.into()), None)
    }

    /// As [`set`](Self::set), with the time that the value is of. Scrapers take their own time otherwise, which is right for
    /// everything that is measured now.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn set_at(&mut self, labels: &Labels, value: impl Into<Number>, at: EventTime) -> Result<()> {
        self.put(labels, Value::Number(value.into()), Some(at))
    }

    /// The counts of one series of a histogram.
    ///
    /// # Errors
    /// [`Error::Exposition`] when the family is not a histogram, or the series is there already.
    pub fn set_buckets(&mut self, labels: &Labels, buckets: Buckets) -> Result<()> {
        self.put(labels, Value::Buckets(buckets), None)
    }

    /// One set of facts of an info.
    ///
    /// # Errors
    /// [`Error::Exposition`] when the family is not an info, there is no label, or the series is there already.
    pub fn state(&mut self, facts: &Labels) -> Result<()> {
        if self.kind != Kind::Info || facts.is_empty() {
            return Err(self.refuse("facts are labels of an info, at least one"));
        }
        self.insert(facts, Sample { value: Value::Number(Number::Whole(1)), at: None })
    }

    /// The name, without what the format adds to it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the values are.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Number of series.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether there is no series.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Series beyond [`SERIES_MAX`].
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    fn put(&mut self, labels: &Labels, value: Value, at: Option<EventTime>) -> Result<()> {
        match (self.kind, &value) {
            (Kind::Counter, Value::Number(number)) if !number.is_count() => {
                return Err(self.refuse(format_args!("a counter is at least 0, not {number}")));
            }
            (Kind::Counter | Kind::Gauge, Value::Number(_)) | (Kind::Histogram, Value::Buckets(_)) => {}
            (kind, _) => return Err(self.refuse(format_args!("this is no value of a {}", kind.name()))),
        }
        self.insert(labels, Sample { value, at })
    }

    fn insert(&mut self, labels: &Labels, sample: Sample) -> Result<()> {
        if self.series.contains_key(labels) {
            return Err(self.refuse(format_args!("the series {labels} comes twice")));
        }
        if self.series.len() >= SERIES_MAX {
            self.left_out += 1;
            return Ok(());
        }
        self.series.insert(labels.clone(), sample);
        Ok(())
    }

    /// Adds the series of `other`, which has the same name; nothing is added on an error.
    pub(super) fn merge(&mut self, other: Self) -> Result<()> {
        if (self.kind, &self.unit, &self.help) != (other.kind, &other.unit, &other.help) {
            return Err(self.refuse("two families of this name differ in type, unit or help"));
        }
        if let Some(twice) = other.series.keys().find(|labels| self.series.contains_key(*labels)) {
            return Err(self.refuse(format_args!("the series {twice} comes twice")));
        }
        self.left_out += other.left_out;
        other.series.into_iter().try_for_each(|(labels, sample)| self.insert(&labels, sample))
    }

    fn refuse(&self, reason: impl fmt::Display) -> Error {
        Error::exposition(&self.name, reason)
    }

    /// Descriptor and samples, series in the order of their labels.
    pub(super) fn write(&self, out: &mut String) -> fmt::Result {
        let name = &self.name;
        writeln!(out, "# TYPE {name} {}", self.kind.name())?;
        if let Some(unit) = &self.unit {
            writeln!(out, "# UNIT {name} {unit}")?;
        }
        if !self.help.is_empty() {
            writeln!(out, "# HELP {name} {}", Escaped(&self.help))?;
        }
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        for (labels, Sample { value, at }) in &self.series {
            match value {
                Value::Number(number) => {
                    write!(out, "{name}{suffix}{labels} {number}")?;
                    end(*at, out)?;
                }
                Value::Buckets(buckets) => buckets.write(name, labels, *at, out)?,
            }
        }
        Ok(())
    }
}

impl Buckets {
    fn write(&self, name: &str, labels: &Labels, at: Option<EventTime>, out: &mut String) -> fmt::Result {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let mut seen: u64 = 0;
        for (bound, count) in bounds.zip(&self.counts) {
            seen = seen.saturating_add(*count);
            write!(out, "{name}_bucket")?;
            labels.write_with_bound(&Number::Real(bound).to_string(), out)?;
            write!(out, " {seen}")?;
            end(at, out)?;
        }
        write!(out, "{name}_count{labels} {seen}")?;
        end(at, out)?;
        write!(out, "{name}_sum{labels} {}", Number::Real(self.sum))?;
        end(at, out)
    }
}

/// The time in seconds, to the microsecond, and the end of the line.
fn end(at: Option<EventTime>, out: &mut String) -> fmt::Result {
    if let Some(at) = at {
        let micros = at.as_micros();
        let (sign, size) = (if micros < 0 { "-" } else { "" }, micros.unsigned_abs());
        write!(out, " {sign}{}", size / 1_000_000)?;
        if size % 1_000_000 != 0 {
            write!(out, ".{:06}", size % 1_000_000)?;
        }
    }
    out.write_char('\n')
}
