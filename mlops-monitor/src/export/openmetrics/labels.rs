//! Names and labels that every scraper takes.

use std::collections::BTreeMap;
use std::fmt;

use mlops_core::{Digest, Name};

use crate::{Error, Result};

/// Labels that one series may have.
pub const LABELS_MAX: usize = 32;

/// Longest value of a label in bytes. A longer one is cut, and ends in digits of its digest, so that two stay two.
pub const LABEL_BYTES_MAX: usize = 256;

/// Hex digits of a digest that a value which was cut ends in.
const DIGITS: usize = 12;

/// Endings that the format gives to samples, or that would be taken for such.
const SUFFIXES: [&str; 8] = ["_total", "_created", "_bucket", "_count", "_sum", "_info", "_gcount", "_gsum"];

/// Names with what they say of a series, sorted by name.
///
/// # Examples
/// ```
/// use mlops_monitor::export::openmetrics::Labels;
///
/// let labels = Labels::new([("model", "offers"), ("version", "7")])?;
/// assert_eq!(labels.to_string(), r#"{model="offers",version="7"}"#);
/// assert!(Labels::new([("le", "1.0")]).is_err());
/// # Ok::<(), mlops_monitor::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// No labels.
    pub fn none() -> Self {
        Self::default()
    }

    /// Checks the names; values may be any text.
    ///
    /// # Errors
    /// As [`with`](Self::with).
    pub fn new<N: AsRef<str>, V: AsRef<str>>(labels: impl IntoIterator<Item = (N, V)>) -> Result<Self> {
        labels.into_iter().try_fold(Self::none(), |all, (name, value)| all.with(name, value))
    }

    /// The same labels and one more.
    ///
    /// # Errors
    /// [`Error::Exposition`] when the name is not `[a-zA-Z][a-zA-Z0-9_]*` (a leading `_` is reserved), is `le` or `quantile`, or is
    /// there already, and when there would be more than [`LABELS_MAX`] labels.
    pub fn with(&self, name: impl AsRef<str>, value: impl AsRef<str>) -> Result<Self> {
        let name = name.as_ref();
        let refuse = |reason: &str| Err(Error::exposition(format!("label `{}`", shown(name)), reason));
        if !is_plain(name) {
            return refuse("a label is [a-zA-Z][a-zA-Z0-9_]* of at most 128 bytes");
        }
        if matches!(name, "le" | "quantile") {
            return refuse("the format keeps this label for itself");
        }
        if self.0.len() >= LABELS_MAX {
            return refuse("a series has at most 32 labels");
        }
        let mut labels = self.0.clone();
        if labels.insert(name.to_owned(), cut(value.as_ref())).is_some() {
            return refuse("the label comes twice");
        }
        Ok(Self(labels))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// With `le` behind them, for a bucket.
    pub(super) fn write_with_bound(&self, bound: &str, out: &mut impl fmt::Write) -> fmt::Result {
        out.write_char('{')?;
        for (name, value) in &self.0 {
            write!(out, "{name}=\"{}\",", Escaped(value))?;
        }
        write!(out, "le=\"{bound}\"}}")
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, value)) in self.0.iter().enumerate() {
            write!(f, "{}{name}=\"{}\"", if place == 0 { '{' } else { ',' }, Escaped(value))?;
        }
        f.write_str(if self.is_empty() { "" } else { "}" })
    }
}

/// `name` by the rules of metrics and labels: `-` and `.` become `_`, and what does not begin with a letter gets an `x` before
/// it. Two names may become one: the page refuses a series that comes twice.
///
/// # Examples
/// ```
/// use mlops_core::Name;
/// use mlops_monitor::export::openmetrics::metric_name;
///
/// assert_eq!(metric_name(&Name::new("offers.click-rate")?), "offers_click_rate");
/// assert_eq!(metric_name(&Name::new("7days")?), "x7days");
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn metric_name(name: &Name) -> String {
    let mut made = name.as_str().replace(['-', '.'], "_");
    if !made.starts_with(|first: char| first.is_ascii_alphabetic()) {
        made.insert(0, 'x');
    }
    made
}

/// Checks the name of a family.
pub(super) fn check_family(name: &str) -> Result<()> {
    let refuse = |reason: String| Err(Error::exposition(shown(name), reason));
    if !is_plain(name) {
        // The format also has `:`, which is for recording rules.
        return refuse("a metric is [a-zA-Z][a-zA-Z0-9_]* of at most 128 bytes".to_owned());
    }
    match SUFFIXES.iter().find(|suffix| name.ends_with(*suffix)) {
        Some(suffix) => refuse(format!("the name of a family does not end in `{suffix}`")),
        None => Ok(()),
    }
}

fn is_plain(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.len() <= 128
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A refused name, short and without control characters.
fn shown(name: &str) -> String {
    name.chars().take(128).flat_map(char::escape_default).collect()
}

fn cut(value: &str) -> String {
    if value.len() <= LABEL_BYTES_MAX {
        return value.to_owned();
    }
    let mut end = LABEL_BYTES_MAX - DIGITS - 1;
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}~{}", &value[..end], Digest::of(value).short())
}

/// Text between quotes, or after `# HELP`.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        self.0.chars().try_for_each(|c| match c {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            other => f.write_char(other),
        })
    }
}
