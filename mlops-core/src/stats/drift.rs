//! Has a column changed? A verdict that neither chance nor one outlier decides.
//!
//! A column is [`Verdict::Drifted`] only when the effect is large enough to matter *and* larger than chance would
//! make it (adjusted for the number of columns) *and* there are enough rows on both sides; over several windows,
//! [`Persistence`] asks for more than one of them. What a distance hides is told beside it: [`Signals`].
//!
//! * From two profiles, without the data: [`compare_profiles`].
//! * From two data sets, one pass over each in bounded memory: [`drift_of`].
//! * Exactly, from rows in memory: [`compare_batches`], and [`compare_samples`] for one column.
//!
//! The effect sizes are in [`DriftMethod`].

use std::collections::{BTreeSet, HashMap};

use arrow::array::{ArrayRef, RecordBatch};
use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

pub(super) mod categories;
mod effect;
pub(super) mod numbers;
mod persistence;
mod robust;
mod rule;
mod signals;

pub use persistence::{Persisted, Persistence};
pub use rule::{DriftMethod, DriftRule, DriftRuleBuilder, Verdict};
pub use signals::{CategoryShare, Signals};

use self::effect::{Column, Effect};
use super::correction::benjamini_hochberg;
use crate::profile::{ColumnKind, ColumnProfile, Profile, ProfileOptions, ProfileOptionsBuilder, Profiler};
use crate::source::ScanRequest;
use crate::{Dataset, Error, Result};

/// What the comparison of one column finds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnDrift {
    /// Name of the column.
    pub column: String,
    /// How the difference was measured.
    pub method: DriftMethod,
    /// The measured difference, dimensionless, at least 0.
    pub effect: f64,
    /// Mean effect when nothing has changed, with so many rows.
    pub expected_by_chance: f64,
    /// Probability of an effect at least this large when nothing has changed.
    pub p_value: f64,
    /// `p_value` adjusted for the number of columns compared (Benjamini-Hochberg).
    pub q_value: f64,
    /// The conclusion.
    pub verdict: Verdict,
    /// Rows of the reference, nulls included.
    pub n_reference: u64,
    /// Rows of the current data, nulls included.
    pub n_current: u64,
    /// Where the effect lies with 95 % confidence, for [`DriftMethod::Robust`].
    #[serde(default)]
    pub interval: Option<EffectInterval>,
    /// What changed beside the effect; never part of the verdict.
    #[serde(default)]
    pub signals: Signals,
}

/// Bounds of an effect with 95 % confidence.
///
/// Asymptotic: the distance is a difference of two means (of the function that its optimal plan integrates), so its error is
/// normal with their variances; the errors of sketches are added. Where nothing has changed the estimate lies above
/// 0 by [`ColumnDrift::expected_by_chance`], and so does the interval.
///
/// # Source
/// del Barrio, Giné, Matrán, *Central limit theorems for the Wasserstein distance between the empirical and the true
/// distributions*, Ann. Probab. 27, 1999.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EffectInterval {
    /// Lower bound, at least 0.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

impl ColumnDrift {
    fn new(column: &str, rule: &DriftRule, (n, m): (u64, u64), found: Effect, signals: Signals) -> Self {
        let mut drift = Self {
            column: column.to_owned(),
            method: rule.method(),
            effect: found.size,
            expected_by_chance: found.expected_by_chance,
            p_value: found.p_value,
            q_value: found.p_value,
            verdict: Verdict::Inconclusive,
            n_reference: n,
            n_current: m,
            interval: found.interval,
            signals,
        };
        if n.min(m) > 0 && rule.is_enough(found.rows) {
            drift.verdict = rule.judge(drift.effect, drift.q_value);
        }
        drift
    }

    /// Of a column that one side lacks.
    fn alone(column: &str, rule: &DriftRule, rows: (u64, u64)) -> Self {
        Self::new(column, rule, rows, Effect::NONE, Signals::default())
    }

    fn between(name: &str, reference: &Column<'_>, current: &Column<'_>, rule: &DriftRule) -> Result<Self> {
        let rows = (reference.rows(), current.rows());
        let measured = rows.0 > 0 && rows.1 > 0;
        let found = if measured { effect::measure(reference, current, rule)? } else { Effect::NONE };
        Ok(Self::new(name, rule, rows, found, signals::between(reference, current)))
    }
}

/// Compares one column of two profiles.
///
/// Of hidden columns and of kinds that are only counted, the share of nulls is compared ([`DriftMethod::Robust`] has no
/// verdict on them). The `q_value` equals the `p_value`: for several columns use [`compare_profiles`].
///
/// # Errors
/// [`Error::Schema`] when the kinds differ.
pub fn compare(reference: &ColumnProfile, current: &ColumnProfile, rule: &DriftRule) -> Result<ColumnDrift> {
    if reference.kind() != current.kind() {
        return Err(Error::schema(reference.name(), reference.data_type(), current.data_type()));
    }
    ColumnDrift::between(reference.name(), &Column::of_profile(reference), &Column::of_profile(current), rule)
}

/// Compares one column of two samples exactly: `reference` and `current` are its pieces, of one type each.
///
/// As [`compare`], with every value instead of sketches: the error of the ranks is 0. `O(n log n)`, and some 24 bytes of
/// memory per number. Booleans and texts are counted; of other types the nulls are. Times are compared as numbers.
///
/// # Errors
/// [`Error::Schema`] when the kinds of the pieces differ, within a side or between both.
///
/// # Examples
/// ```
/// use std::sync::Arc;
///
/// use mlops_core::arrow::array::{ArrayRef, Float64Array};
/// use mlops_core::stats::drift::{DriftMethod, DriftRule, Verdict, compare_samples};
///
/// let numbers = |shift: f64| Arc::new(Float64Array::from_iter_values((0..1000).map(|i| f64::from(i) / 100.0 + shift)));
/// let rule = DriftRule::builder().method(DriftMethod::Robust).build()?;
/// let found = compare_samples("price", &[numbers(0.0) as ArrayRef], &[numbers(1.0) as ArrayRef], &rule)?;
/// assert_eq!(found.verdict, Verdict::Drifted);
/// // By one in units of the interquartile range of 4.995 over 1.349, less what was moved beyond the reference's end.
/// assert!((found.effect - 0.95 * 1.349 / 4.995).abs() < 0.001);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn compare_samples(
    column: &str,
    reference: &[ArrayRef],
    current: &[ArrayRef],
    rule: &DriftRule,
) -> Result<ColumnDrift> {
    let mut types = reference.iter().chain(current).map(|piece| piece.data_type());
    if let Some(first) = types.next() {
        let kind = ColumnKind::of(first);
        if let Some(other) = types.find(|other| ColumnKind::of(other) != kind) {
            return Err(Error::schema(column, first, other));
        }
    }
    ColumnDrift::between(column, &Column::of_pieces(reference)?, &Column::of_pieces(current)?, rule)
}

/// Compares all columns of two profiles, in the order of the reference, then of the columns that only `current` has.
///
/// Times are left out, for event times always move on; so are the columns that the rule excepts. A column that one side
/// lacks is [`Verdict::Inconclusive`], with 0 rows there. The p-values are adjusted over all columns with
/// enough rows, so that at most `significance` of the alarms are false on average, however many columns there are.
///
/// # Errors
/// [`Error::Schema`] when a column's kinds differ.
///
/// # Source
/// Benjamini, Hochberg, *Controlling the false discovery rate*, J. R. Stat. Soc. B 57, 1995.
pub fn compare_profiles(reference: &Profile, current: &Profile, rule: &DriftRule) -> Result<Vec<ColumnDrift>> {
    fn sides(profile: &Profile) -> Vec<(&str, ColumnKind, &ColumnProfile)> {
        profile.columns().iter().map(|column| (column.name(), column.kind(), column)).collect()
    }
    let rows = |column: &&ColumnProfile| column.rows();
    compare_all(&sides(reference), &sides(current), rule, rows, |_, a, b| compare(a, b, rule))
}

/// Compares all columns of two tables in memory exactly, as [`compare_profiles`] does from profiles.
///
/// One column is sorted at a time: the memory on top of the batches is that of [`compare_samples`].
///
/// # Errors
/// [`Error::Schema`] when a column's kinds differ, or the batches of one side do not have the same columns.
pub fn compare_batches(
    reference: &[RecordBatch],
    current: &[RecordBatch],
    rule: &DriftRule,
) -> Result<Vec<ColumnDrift>> {
    let (old, new) = (pieces(reference)?, pieces(current)?);
    let rows = |pieces: &Vec<ArrayRef>| pieces.iter().map(|piece| piece.len() as u64).sum();
    compare_all(&old, &new, rule, rows, |name, a, b| compare_samples(name, a, b, rule))
}

type Pieces<'a> = (&'a str, ColumnKind, Vec<ArrayRef>);

fn pieces(batches: &[RecordBatch]) -> Result<Vec<Pieces<'_>>> {
    let Some(first) = batches.first() else { return Ok(Vec::new()) };
    let names = |batch: &RecordBatch| batch.schema_ref().fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>();
    let expected = names(first);
    if let Some(other) = batches.iter().find(|batch| names(batch) != expected) {
        return Err(Error::schema("*", format_args!("the columns {expected:?}"), format_args!("{:?}", names(other))));
    }
    let mut columns = Vec::with_capacity(expected.len());
    for (place, field) in first.schema_ref().fields().iter().enumerate() {
        let pieces = batches.iter().map(|batch| batch.column(place).clone()).collect();
        columns.push((field.name().as_str(), ColumnKind::of(field.data_type()), pieces));
    }
    Ok(columns)
}

/// Compares two data sets, one pass over each, in memory that does not depend on the number of rows.
///
/// Both are profiled (only the columns that are compared are read) and the profiles compared, as [`compare_profiles`] does. Of
/// columns that the schema of either side hides, only the share of nulls is compared.
///
/// # Errors
/// What reading says; [`Error::Schema`] when a column's kinds differ.
///
/// # Examples
/// ```
/// use std::sync::Arc;
///
/// use mlops_core::Dataset;
/// use mlops_core::arrow::array::{Int64Array, RecordBatch};
/// use mlops_core::stats::drift::{DriftRule, Verdict, drift_of};
///
/// let table = |modulus: i64| {
///     let values = Arc::new(Int64Array::from_iter_values((0..5_000).map(|i| i % modulus)));
///     Dataset::from_batches([RecordBatch::try_from_iter([("age", values as _)])?])
/// };
/// let drifts = drift_of(&table(80)?, &table(40)?, &DriftRule::default())?;
/// assert_eq!(drifts[0].verdict, Verdict::Drifted);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn drift_of(reference: &Dataset, current: &Dataset, rule: &DriftRule) -> Result<Vec<ColumnDrift>> {
    let hidden: BTreeSet<&str> = reference.schema().hidden().into_iter().chain(current.schema().hidden()).collect();
    compare_profiles(&profile_of(reference, &hidden, rule)?, &profile_of(current, &hidden, rule)?, rule)
}

fn profile_of(dataset: &Dataset, hidden: &BTreeSet<&str>, rule: &DriftRule) -> Result<Profile> {
    let fields = dataset.schema().arrow().fields().iter();
    let compared = fields.filter(|field| is_compared(field.name(), ColumnKind::of(field.data_type()), rule));
    let names: Vec<&str> = compared.map(|field| field.name().as_str()).collect();
    let options = hidden.iter().copied().fold(ProfileOptions::builder(), ProfileOptionsBuilder::hide).build()?;
    let mut profiler = Profiler::new(dataset.schema().project(&names)?.arrow(), &options)?;
    for batch in dataset.scan(&ScanRequest::all().columns(names))? {
        profiler.update(&batch?)?;
    }
    Ok(profiler.finish())
}

fn is_compared(column: &str, kind: ColumnKind, rule: &DriftRule) -> bool {
    kind != ColumnKind::Time && !rule.is_excepted(column)
}

fn compare_all<T>(
    reference: &[(&str, ColumnKind, T)],
    current: &[(&str, ColumnKind, T)],
    rule: &DriftRule,
    rows: impl Fn(&T) -> u64,
    compare: impl Fn(&str, &T, &T) -> Result<ColumnDrift>,
) -> Result<Vec<ColumnDrift>> {
    let (old, new) = (places(reference), places(current));
    let mut drifts = Vec::new();
    for (name, _, column) in reference.iter().filter(|(name, kind, _)| is_compared(name, *kind, rule)) {
        drifts.push(match new.get(*name) {
            Some(&place) => compare(name, column, &current[place].2)?,
            None => ColumnDrift::alone(name, rule, (rows(column), 0)),
        });
    }
    let is_new = |name: &str| !old.contains_key(name);
    for (name, _, column) in current.iter().filter(|(name, kind, _)| is_compared(name, *kind, rule) && is_new(name)) {
        drifts.push(ColumnDrift::alone(name, rule, (0, rows(column))));
    }
    adjust(&mut drifts, rule)?;
    Ok(drifts)
}

fn places<'a, T>(side: &[(&'a str, ColumnKind, T)]) -> HashMap<&'a str, usize, FixedState> {
    side.iter().enumerate().map(|(place, column)| (column.0, place)).collect()
}

/// Adjusts the p-values of the columns that were tested, and draws the verdicts anew.
fn adjust(drifts: &mut [ColumnDrift], rule: &DriftRule) -> Result<()> {
    let mut tested: Vec<&mut ColumnDrift> =
        drifts.iter_mut().filter(|drift| drift.verdict != Verdict::Inconclusive).collect();
    let p_values: Vec<f64> = tested.iter().map(|drift| drift.p_value).collect();
    for (drift, q_value) in tested.iter_mut().zip(benjamini_hochberg(&p_values)?) {
        drift.q_value = q_value;
        drift.verdict = rule.judge(drift.effect, drift.q_value);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
