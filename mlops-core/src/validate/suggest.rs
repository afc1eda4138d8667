//! Suites from what a table looked like.

use std::collections::BTreeSet;

use arrow::datatypes::DataType;

use super::ratio::{more_in_fresh, outside_of_range};
use super::{Mostly, NullRatio, OneOf, Pattern, Range, RowCount, Rule, Severity, Suite, TextLength, Unique};
use crate::expr::whole;
use crate::profile::{ColumnKind, ColumnProfile, Profile};
use crate::source::Scalar;
use crate::{Error, Name, Result};

/// Fewest rows from which anything is concluded.
const ROWS_MIN: u64 = 50;

/// Most rows of a fresh table that shares are worked out for; with more the same share is a little wide.
const FRESH_ROWS_MAX: u64 = 10_000_000;

/// Fewest times that each value of a closed list was seen.
const SEEN_MIN: u64 = 5;

/// Texts of so many bytes are held in part.
const HELD_BYTES: usize = 128;

/// Texts of known forms, by name. The first that all known values match is taken.
const FORMS: [(&str, &str); 6] = [
    ("uuid", "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
    ("email", r"[^@\s]+@[^@\s]+\.[^@\s]+"),
    ("url", r"https?://[^\s]+"),
    ("date", "[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\\.[0-9]+)?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?"),
    ("ipv4", "([0-9]{1,3}\\.){3}[0-9]{1,3}"),
    ("digits", "[0-9]+"),
];

/// How rules are drawn from a profile.
#[derive(Clone, PartialEq, Debug)]
pub struct SuggestOptions {
    false_alarms: f64,
    rows: Option<u64>,
    set_values_max: usize,
    row_count_tolerance: f64,
}

impl Default for SuggestOptions {
    fn default() -> Self {
        Self { false_alarms: 0.01, rows: None, set_values_max: 50, row_count_tolerance: 0.5 }
    }
}

impl SuggestOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Greatest probability that a fresh table of the same distribution fails, over all rules that judge shares, within
    /// 1e-6..=0.5. Default 0.01.
    pub fn false_alarms(mut self, probability: f64) -> Self {
        self.false_alarms = probability;
        self
    }

    /// Rows of the tables that will be checked. Default: as many as were profiled.
    pub fn rows(mut self, rows: u64) -> Self {
        self.rows = Some(rows);
        self
    }

    /// Most values of a closed list. Default 50.
    pub fn set_values_max(mut self, values: usize) -> Self {
        self.set_values_max = values;
        self
    }

    /// By which share the number of rows may differ, within 0..=1. Default 0.5.
    pub fn row_count_tolerance(mut self, share: f64) -> Self {
        self.row_count_tolerance = share;
        self
    }
}

/// Rules that the table behind `profile` passes, and that a fresh table of the same distribution fails by chance with a
/// probability of at most [`SuggestOptions::false_alarms`].
///
/// Given n profiled and m fresh rows, with the probability shared out evenly among the rules of the first three kinds:
/// * **Nulls**: the greatest number of nulls that Fisher's exact test does not tell from the profile's.
/// * **Ranges** of numbers and of text lengths: of fresh values, the number outside of the profile's least and greatest is
///   beta-binomial(m, 2, n − 1) whatever the distribution (with ties: less); so many may lie outside.
/// * **Lists** of texts, where the profile counts all values exactly and saw each of them 5 times: as many rows of other
///   values as one unseen value explains. This one is no proof: a table that keeps growing new rare values fails more often.
/// * **Form** (UUID, e-mail, URL, date, IPv4, digits) where all values that the profile shows have it, and **uniqueness** of
///   integers and texts where the estimate of different values allows it: both warnings, since a profile does not prove them.
/// * **Row count** within the tolerance.
///
/// By simulation with heavy tails, ties, gaps and a closed list (400 profiled and 300 fresh rows, ten rules), 4.3 % of fresh
/// tables fail at a level of 10 %.
///
/// Times have no range, since they move on. Of sensitive columns only nulls, lengths and uniqueness are suggested.
/// Below 50 rows nothing but the row count is. Ids are `COLUMN_KIND`.
///
/// # Errors
/// [`Error::Invalid`] for options outside of their domain.
///
/// # Source
/// Fisher, *Statistical Methods for Research Workers*, 1925; Wilks, *Ann. Math. Statist.* 12 (1941), for the share that lies
/// between order statistics.
///
/// # Examples
/// ```
/// use std::sync::Arc;
///
/// use mlops_core::arrow::array::{Float64Array, RecordBatch};
/// use mlops_core::profile::{ProfileOptions, Profiler};
/// use mlops_core::validate::{Severity, SuggestOptions, suggest};
/// use mlops_core::Dataset;
///
/// let batch = RecordBatch::try_from_iter([("price", Arc::new(Float64Array::from_iter_values((0..100).map(f64::from))) as _)])?;
/// let mut profiler = Profiler::new(&batch.schema(), &ProfileOptions::builder().build()?)?;
/// profiler.update(&batch)?;
/// let suite = suggest(profiler.profile(), &SuggestOptions::new())?;
/// assert!(suite.ids().any(|id| id.as_str() == "price_range"));
/// assert!(suite.run(&Dataset::from_batches([batch])?)?.passed(Severity::Warning));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn suggest(profile: &Profile, options: &SuggestOptions) -> Result<Suite> {
    check(options)?;
    let rows = profile.rows();
    let mut drafts = Vec::new();
    if rows >= ROWS_MIN {
        profile.columns().iter().for_each(|column| draft(column, options, &mut drafts));
    }
    let judged = drafts.iter().filter(|draft| draft.limit.is_some()).count().max(1);
    let alpha = options.false_alarms / judged as f64;
    let fresh = options.rows.unwrap_or(rows).clamp(1, FRESH_ROWS_MAX);
    let mut ids = BTreeSet::new();
    let count = options.rows.unwrap_or(rows) as f64;
    let tolerance = options.row_count_tolerance;
    let count =
        RowCount::between((count * (1.0 - tolerance)).floor() as u64, (count * (1.0 + tolerance)).ceil() as u64);
    let mut suite = Suite::new().rule(id("row", "count", &mut ids)?, count)?;
    for draft in drafts {
        let id = id(&draft.column, draft.kind, &mut ids)?;
        suite = suite.rule_at(draft.severity, id, draft.rule(fresh, alpha))?;
    }
    Ok(suite)
}

fn check(options: &SuggestOptions) -> Result<()> {
    if !(1e-6..=0.5).contains(&options.false_alarms) {
        return Err(Error::invalid("false_alarms", options.false_alarms, "a probability within 1e-6..=0.5"));
    }
    if options.rows == Some(0) {
        return Err(Error::invalid("rows", 0, "at least 1"));
    }
    if !(0.0..=1.0).contains(&options.row_count_tolerance) {
        return Err(Error::invalid("row_count_tolerance", options.row_count_tolerance, "a share within 0..=1"));
    }
    Ok(())
}

/// A rule in the making.
struct Draft {
    column: String,
    kind: &'static str,
    severity: Severity,
    rule: Rule,
    limit: Option<Limit>,
}

/// How many fresh rows may break it.
enum Limit {
    /// So many of the profiled rows did.
    Nulls { nulls: u64, rows: u64 },
    /// What lies outside of the profile's least and greatest of so many.
    Outside { rows: u64 },
    /// What one value explains that was not among so many.
    Unseen { rows: u64 },
}

impl Draft {
    fn rule(self, fresh: u64, alpha: f64) -> Rule {
        let allowed = match self.limit {
            None => 0,
            Some(Limit::Nulls { nulls, rows }) => more_in_fresh(nulls, rows, fresh, alpha),
            Some(Limit::Outside { rows }) => outside_of_range(rows, fresh, alpha),
            Some(Limit::Unseen { rows }) => more_in_fresh(0, rows, fresh, alpha),
        };
        let share = allowed as f64 / fresh as f64;
        match self.rule {
            rule if allowed == 0 => rule,
            Rule::NullRatio(rule) => rule.max(share.min(1.0)).into(),
            rule => Mostly::of(rule, (1.0 - share).max(0.0)).into(),
        }
    }
}

fn draft(column: &ColumnProfile, options: &SuggestOptions, drafts: &mut Vec<Draft>) {
    let name = column.name().to_owned();
    let (rows, nulls) = (column.rows(), column.nulls());
    let present = rows - nulls;
    let mut push = |kind, severity, rule: Option<Rule>, limit| {
        if let Some(rule) = rule {
            drafts.push(Draft { column: name.clone(), kind, severity, rule, limit });
        }
    };
    let nulls = Some(Limit::Nulls { nulls, rows });
    push("nulls", Severity::Error, Some(NullRatio::of(column.name()).into()), nulls);
    if present < ROWS_MIN {
        return;
    }
    push("range", Severity::Error, range(column), Some(Limit::Outside { rows: present }));
    push("length", Severity::Error, length(column), Some(Limit::Outside { rows: present }));
    let list = list(column, options.set_values_max);
    let closed = list.is_some();
    push("values", Severity::Error, list, Some(Limit::Unseen { rows: present }));
    if !closed {
        push("form", Severity::Warning, form(column), None);
    }
    push("unique", Severity::Warning, unique(column, present), None);
}

fn is_integer(column: &ColumnProfile) -> bool {
    column.data_type().parse::<DataType>().is_ok_and(|data_type| data_type.is_integer())
}

fn range(column: &ColumnProfile) -> Option<Rule> {
    let moments = column.moments().filter(|_| column.kind() == ColumnKind::Number)?;
    let exact = |value: f64| value.abs() < 9_007_199_254_740_992.0;
    let bound = |value: f64| {
        if is_integer(column) && exact(value) {
            return Some(Scalar::Int(value as i64));
        }
        value.is_finite().then_some(Scalar::Float(value))
    };
    let infinite = moments.positive_infinite() + moments.negative_infinite() > 0;
    let (low, high) = (bound(moments.min()?)?, bound(moments.max()?)?);
    let rule = Range::of(column.name()).at_least(low).at_most(high);
    // What is not finite stands outside of the least and greatest that moments know.
    (!infinite).then(|| if moments.nan() > 0 { rule.allow_nan() } else { rule }.into())
}

fn length(column: &ColumnProfile) -> Option<Rule> {
    let lengths = column.lengths()?;
    let narrow = |length: Option<u64>| length.and_then(|length| u32::try_from(length).ok());
    Some(TextLength::between(column.name(), narrow(lengths.min())?, narrow(lengths.max())?).into())
}

fn list(column: &ColumnProfile, most: usize) -> Option<Rule> {
    let frequent = column.frequent().filter(|frequent| frequent.is_exact() && frequent.held() <= most)?;
    let values = frequent.top(most);
    let seen = values.iter().all(|item| item.count.value >= SEEN_MIN && item.value.len() < HELD_BYTES);
    (seen && !values.is_empty()).then(|| OneOf::of(column.name(), values.into_iter().map(|item| item.value)).into())
}

fn form(column: &ColumnProfile) -> Option<Rule> {
    if column.kind() != ColumnKind::Text || column.is_hidden() {
        return None;
    }
    let mut values: Vec<String> =
        column.top_values(64).into_iter().map(|item| item.value).filter(|text| text.len() < HELD_BYTES).collect();
    // The least and the greatest are cut to 256 bytes, and say nothing about the end of a longer text.
    values.extend([column.min_text(), column.max_text()].into_iter().flatten().filter(|text| text.len() < 256));
    let fits = |pattern: &str| whole(pattern).is_ok_and(|regex| values.iter().all(|value| regex.is_match(value)));
    let (_, pattern) = FORMS.into_iter().find(|(_, pattern)| !values.is_empty() && fits(pattern))?;
    Some(Pattern::of(column.name(), pattern).into())
}

fn unique(column: &ColumnProfile, present: u64) -> Option<Rule> {
    let distinct = column.distinct()?;
    let kind = column.kind() == ColumnKind::Text || is_integer(column);
    (kind && distinct.high >= present).then(|| Unique::of([column.name()]).into())
}

/// A name of its own for a rule.
fn id(column: &str, kind: &str, taken: &mut BTreeSet<String>) -> Result<Name> {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    let short: String = column.chars().take(80).map(plain).collect();
    let short = short.trim_start_matches('_');
    let base = if short.is_empty() { format!("column_{kind}") } else { format!("{short}_{kind}") };
    let mut name = base.clone();
    for number in 2_u32.. {
        if taken.insert(name.clone()) {
            break;
        }
        name = format!("{base}_{number}");
    }
    Name::new(name)
}
