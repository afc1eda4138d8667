//! Has a column changed? A verdict from two profiles alone, that neither chance nor one outlier decides.
//!
//! A column is [`Verdict::Drifted`] only when the effect is large enough to matter *and* larger than chance would
//! make it (adjusted for the number of columns) *and* there are enough rows on both sides.
//! Entry point: [`compare_profiles`]; the effect sizes are in [`DriftMethod`].

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

mod effect;

use crate::profile::{ColumnKind, ColumnProfile, Profile};
use crate::{Error, Result};

/// How the difference of two columns is measured.
///
/// Numbers are compared by ranks, so that how far an outlier lies away does not matter. Nulls (with NaN) are a value
/// of their own, infinities lie at the ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftMethod {
    /// Population stability index. Numbers: bins between the type-7 quantiles of the reference (inner edges only, unique,
    /// `[a, b)`, open ends), or one bin per value where the reference has at most 64 different ones. Booleans: two bins.
    /// Texts: one bin for each of the reference's 63 most frequent values and one for all others. p-value: χ² with bins − 1
    /// degrees of freedom on `PSI / (1/n + 1/m)`.
    Psi,
    /// Numbers: Kolmogorov-Smirnov statistic of both quantile sketches; the p-value is that of the statistic less the sketches'
    /// error. Booleans and texts, which have no order: total variation distance over the bins of [`DriftMethod::Psi`], with the
    /// p-value of the χ² test.
    Ks,
}

impl DriftMethod {
    /// The effect from which on a column counts as changed unless the rule says otherwise: 0.1 for both.
    pub fn default_threshold(self) -> f64 {
        match self {
            Self::Psi | Self::Ks => 0.1,
        }
    }
}

/// What a comparison concludes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The effect is below the threshold, or chance explains it.
    Stable,
    /// The effect is at or above the threshold, and chance does not explain it.
    Drifted,
    /// Too few rows on one side, or the column is missing there.
    Inconclusive,
}

/// When a column counts as drifted; made by [`DriftRule::builder`].
///
/// # Examples
/// ```
/// use mlops_core::stats::DriftRule;
///
/// let rule = DriftRule::builder().bins(20).threshold(0.2).build()?;
/// assert!(DriftRule::builder().bins(1).build().is_err());
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "DriftRuleBuilder", into = "DriftRuleBuilder")]
pub struct DriftRule {
    method: DriftMethod,
    bins: usize,
    threshold: f64,
    significance: f64,
    rows_min: u64,
    except: BTreeSet<String>,
}

impl Default for DriftRule {
    /// PSI over 10 bins, threshold 0.1, significance 0.05, at least 100 rows.
    fn default() -> Self {
        Self {
            method: DriftMethod::Psi,
            bins: 10,
            threshold: DriftMethod::Psi.default_threshold(),
            significance: 0.05,
            rows_min: 100,
            except: BTreeSet::new(),
        }
    }
}

impl DriftRule {
    /// Starts from the defaults.
    pub fn builder() -> DriftRuleBuilder {
        DriftRuleBuilder::default()
    }

    /// How the difference is measured.
    pub fn method(&self) -> DriftMethod {
        self.method
    }

    /// Quantile bins of numbers.
    pub fn bins(&self) -> usize {
        self.bins
    }

    /// Effect from which on a column counts as changed.
    pub fn threshold(&self) -> f64 {
        self.threshold
    }

    /// Greatest adjusted p-value that still counts as beyond chance.
    pub fn significance(&self) -> f64 {
        self.significance
    }

    /// Rows below which there is no verdict.
    pub fn rows_min(&self) -> u64 {
        self.rows_min
    }

    /// Whether `column` is left out.
    pub fn is_excepted(&self, column: &str) -> bool {
        self.except.contains(column)
    }

    fn verdict(&self, drift: &ColumnDrift) -> Verdict {
        if drift.n_reference.min(drift.n_current) < self.rows_min.max(1) {
            Verdict::Inconclusive
        } else if drift.effect >= self.threshold && drift.q_value <= self.significance {
            Verdict::Drifted
        } else {
            Verdict::Stable
        }
    }
}

/// Builder of [`DriftRule`], and its form in files (every field may be left out).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DriftRuleBuilder {
    method: Option<DriftMethod>,
    bins: Option<usize>,
    threshold: Option<f64>,
    significance: Option<f64>,
    rows_min: Option<u64>,
    except: BTreeSet<String>,
}

impl DriftRuleBuilder {
    /// How the difference is measured. Default [`DriftMethod::Psi`].
    pub fn method(mut self, method: DriftMethod) -> Self {
        self.method = Some(method);
        self
    }

    /// Quantile bins of numbers for PSI. Default 10.
    pub fn bins(mut self, bins: usize) -> Self {
        self.bins = Some(bins);
        self
    }

    /// Effect from which on a column counts as changed, dimensionless. Default: [`DriftMethod::default_threshold`].
    pub fn threshold(mut self, threshold: f64) -> Self {
        self.threshold = Some(threshold);
        self
    }

    /// Share of false alarms among the alarms that chance may cause (Benjamini-Hochberg). Default 0.05.
    pub fn significance(mut self, significance: f64) -> Self {
        self.significance = Some(significance);
        self
    }

    /// Rows on either side below which the verdict is [`Verdict::Inconclusive`]. Default 100.
    pub fn rows_min(mut self, rows: u64) -> Self {
        self.rows_min = Some(rows);
        self
    }

    /// Leaves `column` out, such as a key that only grows. Default: none.
    pub fn except(mut self, column: impl Into<String>) -> Self {
        self.except.insert(column.into());
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `bins` is outside `2..=1024`, `threshold` is not above 0, or `significance` is not in `(0, 1)`.
    pub fn build(self) -> Result<DriftRule> {
        let default = DriftRule::default();
        let method = self.method.unwrap_or(default.method);
        let rule = DriftRule {
            method,
            bins: self.bins.unwrap_or(default.bins),
            threshold: self.threshold.unwrap_or(method.default_threshold()),
            significance: self.significance.unwrap_or(default.significance),
            rows_min: self.rows_min.unwrap_or(default.rows_min),
            except: self.except,
        };
        if !(2..=1024).contains(&rule.bins) {
            return Err(Error::invalid("bins", rule.bins, "in 2..=1024"));
        }
        if !(rule.threshold > 0.0 && rule.threshold.is_finite()) {
            return Err(Error::invalid("threshold", rule.threshold, "above 0"));
        }
        if !(rule.significance > 0.0 && rule.significance < 1.0) {
            return Err(Error::invalid("significance", rule.significance, "between 0 and 1"));
        }
        Ok(rule)
    }
}

impl TryFrom<DriftRuleBuilder> for DriftRule {
    type Error = Error;

    fn try_from(builder: DriftRuleBuilder) -> Result<Self> {
        builder.build()
    }
}

impl From<DriftRule> for DriftRuleBuilder {
    fn from(rule: DriftRule) -> Self {
        Self {
            method: Some(rule.method),
            bins: Some(rule.bins),
            threshold: Some(rule.threshold),
            significance: Some(rule.significance),
            rows_min: Some(rule.rows_min),
            except: rule.except,
        }
    }
}

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
}

impl ColumnDrift {
    fn new(column: &str, rule: &DriftRule, n: u64, m: u64, found: effect::Effect) -> Self {
        let mut drift = Self {
            column: column.to_owned(),
            method: rule.method,
            effect: found.size,
            expected_by_chance: found.expected_by_chance,
            p_value: found.p_value,
            q_value: found.p_value,
            verdict: Verdict::Inconclusive,
            n_reference: n,
            n_current: m,
        };
        drift.verdict = rule.verdict(&drift);
        drift
    }
}

/// Compares one column of two profiles.
///
/// Of hidden columns and of kinds that are only counted, the share of nulls is compared. The `q_value` equals the
/// `p_value`: for several columns use [`compare_profiles`].
///
/// # Errors
/// [`Error::Schema`] when the kinds differ.
pub fn compare(reference: &ColumnProfile, current: &ColumnProfile, rule: &DriftRule) -> Result<ColumnDrift> {
    if reference.kind() != current.kind() {
        return Err(Error::schema(reference.name(), reference.data_type(), current.data_type()));
    }
    let (n, m) = (reference.rows(), current.rows());
    let found = if n == 0 || m == 0 { effect::Effect::NONE } else { effect::measure(reference, current, rule)? };
    Ok(ColumnDrift::new(reference.name(), rule, n, m, found))
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
    let is_compared = |column: &&ColumnProfile| column.kind() != ColumnKind::Time && !rule.is_excepted(column.name());
    let others: std::collections::HashMap<&str, &ColumnProfile, foldhash::fast::FixedState> =
        current.columns().iter().map(|column| (column.name(), column)).collect();
    let mut drifts = Vec::new();
    let mut known = BTreeSet::new();
    for column in reference.columns().iter().filter(is_compared) {
        known.insert(column.name());
        drifts.push(match others.get(column.name()) {
            Some(other) => compare(column, other, rule)?,
            None => ColumnDrift::new(column.name(), rule, column.rows(), 0, effect::Effect::NONE),
        });
    }
    let is_new = |column: &&ColumnProfile| !known.contains(column.name()) && reference.column(column.name()).is_none();
    for column in current.columns().iter().filter(is_compared).filter(is_new) {
        drifts.push(ColumnDrift::new(column.name(), rule, 0, column.rows(), effect::Effect::NONE));
    }
    adjust(&mut drifts, rule);
    Ok(drifts)
}

fn adjust(drifts: &mut [ColumnDrift], rule: &DriftRule) {
    let mut tested: Vec<&mut ColumnDrift> =
        drifts.iter_mut().filter(|drift| drift.verdict != Verdict::Inconclusive).collect();
    tested.sort_by(|a, b| b.p_value.total_cmp(&a.p_value));
    let count = tested.len() as f64;
    let mut least = 1.0_f64;
    for (place, drift) in tested.iter_mut().enumerate() {
        let rank = count - place as f64;
        least = least.min(drift.p_value * count / rank);
        drift.q_value = least;
        drift.verdict = rule.verdict(drift);
    }
}

#[cfg(test)]
mod tests;
