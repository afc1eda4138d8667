//! What is striking about a table.

use std::fmt;

use serde::Serialize;

use super::{ColumnKind, ColumnProfile, Personal, Profile, Semantic};
use crate::stats::Moments;

/// Something that a person should look at before the table is used.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Alert {
    /// The column; none where it is about whole rows.
    pub column: Option<String>,
    /// What it is.
    pub kind: AlertKind,
}

/// What can be striking. Shares are of all rows, in `0..=1`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AlertKind {
    /// A detector found personal data.
    Personal(Personal),
    /// Texts are e-mail addresses.
    Emails,
    /// All rows lack a value.
    Empty,
    /// A share of at least 20 % is null or NaN.
    Missing(f64),
    /// A share of at least 5 % is texts of blanks only.
    Blank(f64),
    /// All present values are one.
    Constant,
    /// One value has a share of at least 95 %.
    Imbalanced(f64),
    /// Positive or negative infinities, and how many.
    Infinite(u64),
    /// More different texts than a category has, though they repeat; the estimate of their number.
    ManyValues(u64),
    /// Skewness beyond ±2.
    Skewed(f64),
    /// A share of at least 50 % is zero.
    Zeros(f64),
    /// Texts that are numbers or dates.
    Untyped(Semantic),
    /// Rows that are copies of an earlier one, and their share.
    Copies(f64),
    /// A column that another one tells nearly exactly: the other, and the strength (0.95 or more).
    Redundant(String, f64),
    /// No value stands twice.
    Unique,
}

impl AlertKind {
    /// How urgent, least first: 0 wants eyes, 1 wants care, 2 is good to know.
    pub fn rank(&self) -> u8 {
        match self {
            Self::Personal(_) | Self::Emails | Self::Empty | Self::Infinite(_) | Self::Copies(_) => 0,
            Self::Missing(share) if *share >= 0.5 => 0,
            Self::Unique | Self::Zeros(_) | Self::Skewed(_) | Self::ManyValues(_) => 2,
            _ => 1,
        }
    }
}

impl fmt::Display for AlertKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| 100.0 * share;
        match self {
            Self::Personal(personal) => {
                write!(f, "possible personal data: {} ({:.0} % sure)", personal.kind, percent(personal.confidence))
            }
            Self::Emails => f.write_str("possible personal data: e-mail addresses"),
            Self::Empty => f.write_str("no values"),
            Self::Missing(share) => write!(f, "{:.1} % missing", percent(*share)),
            Self::Blank(share) => write!(f, "{:.1} % blank", percent(*share)),
            Self::Constant => f.write_str("constant"),
            Self::Imbalanced(share) => write!(f, "one value in {:.1} % of rows", percent(*share)),
            Self::Infinite(count) => write!(f, "{count} infinite"),
            Self::ManyValues(count) => write!(f, "high cardinality: about {count} values"),
            Self::Skewed(skew) => write!(f, "skewed ({skew:.1})"),
            Self::Zeros(share) => write!(f, "{:.1} % zeros", percent(*share)),
            Self::Untyped(semantic) => write!(f, "texts that are {semantic}s"),
            Self::Copies(share) => write!(f, "{:.2} % of rows are copies", percent(*share)),
            Self::Redundant(other, strength) => write!(f, "told by `{other}` ({strength:.3})"),
            Self::Unique => f.write_str("unique"),
        }
    }
}

const MISSING: f64 = 0.2;
const BLANK: f64 = 0.05;
const IMBALANCED: f64 = 0.95;
const ZEROS: f64 = 0.5;
const SKEW: f64 = 2.0;
const REDUNDANT: f64 = 0.95;
const MANY: u64 = 1000;

pub(crate) fn of(profile: &Profile) -> Vec<Alert> {
    let mut alerts: Vec<Alert> = Vec::new();
    let rows = profile.rows().max(1) as f64;
    for column in profile.columns() {
        let alert = |kind| Alert { column: Some(column.name().to_owned()), kind };
        alerts.extend(of_column(column).into_iter().map(alert));
    }
    if let Some(relations) = profile.relations() {
        let copies = relations.duplicates();
        if copies.low > 0 {
            alerts.push(Alert { column: None, kind: AlertKind::Copies(copies.value as f64 / rows) });
        }
        for (place, strengths) in relations.strengths().iter().enumerate() {
            // Each pair once, at the later column.
            let best = strengths[..place].iter().enumerate().filter_map(|(other, s)| s.map(|s| (other, s)));
            let best = best.max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()));
            if let Some((other, strength)) = best.filter(|best| best.1.abs() >= REDUNDANT) {
                let kind = AlertKind::Redundant(relations.columns()[other].name.clone(), strength);
                alerts.push(Alert { column: Some(relations.columns()[place].name.clone()), kind });
            }
        }
    }
    alerts.sort_by_key(|alert| alert.kind.rank());
    alerts
}

fn of_column(column: &ColumnProfile) -> Vec<AlertKind> {
    let mut found = Vec::new();
    if column.rows() == 0 {
        return found;
    }
    let share = |count: u64| count as f64 / column.rows() as f64;
    let semantic = column.meaning().map(|meaning| meaning.semantic);
    if let Some(personal) = column.personal() {
        found.push(AlertKind::Personal(personal));
    } else if semantic == Some(Semantic::Email) {
        found.push(AlertKind::Emails);
    }
    let missing = column.nulls() + column.nan();
    if missing == column.rows() {
        found.push(AlertKind::Empty);
        return found;
    }
    let at_least = |value: f64, least: f64, kind: fn(f64) -> AlertKind| (value >= least).then(|| kind(value));
    found.extend(at_least(share(missing), MISSING, AlertKind::Missing));
    let blank = column.characters().map_or(0, |characters| characters.blank);
    found.extend(at_least(share(blank), BLANK, AlertKind::Blank));
    let distinct = column.distinct();
    if distinct.is_some_and(|distinct| distinct.high == 1) {
        found.push(AlertKind::Constant);
        return found;
    }
    if let Some(top) = column.top_values(1).first() {
        found.extend(at_least(share(top.count.low), IMBALANCED, AlertKind::Imbalanced));
    }
    found.extend(of_values(column, semantic));
    found
}

fn of_values(column: &ColumnProfile, semantic: Option<Semantic>) -> Vec<AlertKind> {
    let mut found = Vec::new();
    if let Some(semantic @ (Semantic::Number | Semantic::Date)) = semantic {
        found.push(AlertKind::Untyped(semantic));
    }
    if let Some(moments) = column.moments().filter(|_| column.kind() == ColumnKind::Number) {
        let infinite = moments.positive_infinite() + moments.negative_infinite();
        found.extend((infinite > 0).then_some(AlertKind::Infinite(infinite)));
        if matches!(semantic, Some(Semantic::Measure)) {
            found.extend(Moments::skew(moments).filter(|skew| skew.abs() > SKEW).map(AlertKind::Skewed));
        }
        let zeros = column.zeros().unwrap_or(0) as f64 / column.rows() as f64;
        found.extend((zeros >= ZEROS && semantic != Some(Semantic::Boolean)).then_some(AlertKind::Zeros(zeros)));
    }
    let is_key = column.looks_unique() == Some(true) && column.rows() > 1 && semantic != Some(Semantic::Measure);
    let many = column.distinct().filter(|distinct| distinct.low > MANY && column.kind() == ColumnKind::Text);
    match many {
        _ if is_key => found.push(AlertKind::Unique),
        Some(distinct) if semantic != Some(Semantic::FreeText) => found.push(AlertKind::ManyValues(distinct.value)),
        _ => {}
    }
    found
}
