//! What counts as drift: methods, verdicts, and the rule that leads from one to the other.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How the difference of two columns is measured.
///
/// How far an outlier lies away does not matter to any of them; infinities lie at the ends. To [`DriftMethod::Psi`] and
/// [`DriftMethod::Ks`] nulls (with NaN) are a value of their own; [`DriftMethod::Robust`] compares what is present and tells
/// the share of nulls beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftMethod {
    /// Population stability index. Numbers: bins between the type-7 quantiles of the reference (inner edges only, unique,
    /// `[a, b)`, open ends), or one bin per value where the reference has at most 64 different ones. Booleans: two bins.
    /// Texts: one bin for each of the reference's 63 most frequent values with at least 5 rows, and one for all others. p-value: χ² with bins − 1
    /// degrees of freedom on `PSI / (1/n + 1/m)`.
    Psi,
    /// Numbers: Kolmogorov-Smirnov statistic of both quantile sketches; the p-value is that of the statistic less the sketches'
    /// error. Booleans and texts, which have no order: total variation distance over the bins of [`DriftMethod::Psi`], with the
    /// p-value of the χ² test.
    Ks,
    /// Numbers: by how many robust standard deviations the values have moved on average. This is the Wasserstein distance of
    /// order 1 of the present values, both sides winsorised at the 0.1 % and 99.9 % quantiles of the reference, over
    /// `IQR / 1.349` of the reference: for a normal column that only shifts, the shift in standard deviations. Where the
    /// quartiles are equal the winsorised standard deviation takes the place of the IQR, and where that is 0 too the effect
    /// is the change of the share of that one value. p-value: Kolmogorov-Smirnov on the present values, as for
    /// [`DriftMethod::Ks`].
    /// Booleans and texts: total variation distance over the bins of [`DriftMethod::Psi`] without nulls, with the p-value of the
    /// χ² test; rows of new categories count as any other rows do. Of hidden columns and kinds that are only counted there
    /// is no verdict.
    ///
    /// It needs [`rows_min`](DriftRuleBuilder::rows_min) present values on both sides, and has an [`interval`](super::ColumnDrift::interval).
    Robust,
}

impl DriftMethod {
    /// The effect from which on a column counts as changed unless the rule says otherwise: 0.1 for PSI and KS, 0.05 for the
    /// robust effect.
    pub fn default_threshold(self) -> f64 {
        match self {
            Self::Psi | Self::Ks => 0.1,
            Self::Robust => 0.05,
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

    pub(super) fn is_enough(&self, rows: (u64, u64)) -> bool {
        rows.0.min(rows.1) >= self.rows_min.max(1)
    }

    /// The verdict on a column with enough rows.
    pub(super) fn judge(&self, effect: f64, q_value: f64) -> Verdict {
        if effect >= self.threshold && q_value <= self.significance { Verdict::Drifted } else { Verdict::Stable }
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
