//! Which columns have drifted away from a reference, and have stayed away.

use std::collections::{BTreeMap, BTreeSet};

use mlops_core::profile::Profile;
use mlops_core::stats::drift::{DriftRuleBuilder, Persisted, Persistence};
use mlops_core::stats::{ColumnDrift, DriftRule, Verdict};
use mlops_core::{Error, EventTime, Result, Window};
use serde::{Deserialize, Serialize};

use crate::format::FormatOne;

/// Compares windows with a reference profile, such as that of the training data.
///
/// A single window is judged by core's statistics ([`Profile::compare`]): effect size, chance and number of rows. A column
/// counts as drifted only when it was so in at least `k` of its last `m` windows that had enough rows; a window
/// without enough rows is not counted for or against. Windows may come late or twice: the verdict of a window
/// looks at the windows that start no later, and a window that is judged again replaces its first judgement.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use mlops_core::arrow::array::{Float64Array, RecordBatch};
/// use mlops_core::profile::{Profile, ProfileOptions, Profiler};
/// use mlops_core::{EventTime, Window};
/// use mlops_monitor::DriftMonitor;
///
/// let profile = |shift: f64| -> mlops_core::Result<Profile> {
///     let prices = Float64Array::from_iter_values((0..1000).map(|i| f64::from(i) + shift));
///     let batch = RecordBatch::try_from_iter([("price", Arc::new(prices) as _)])?;
///     let mut profiler = Profiler::new(&batch.schema(), &ProfileOptions::default())?;
///     profiler.update(&batch)?;
///     Ok(profiler.finish())
/// };
/// let mut monitor = DriftMonitor::builder(profile(0.0)?).persistence(1, 1).build()?;
/// let hour = Window::new(EventTime::from_secs(0), EventTime::from_secs(3600))?;
/// assert_eq!(monitor.judge(hour, &profile(400.0)?)?.drifted(), ["price"]);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct DriftMonitor {
    reference: Profile,
    /// As it was given.
    rule: DriftRule,
    /// Without the columns of the reference that nobody chose.
    narrowed: DriftRule,
    persistence: Persistence,
    chosen: Option<BTreeSet<String>>,
    history: BTreeMap<String, BTreeMap<EventTime, bool>>,
}

/// Builder of [`DriftMonitor`].
#[derive(Debug, Clone)]
pub struct DriftMonitorBuilder {
    reference: Profile,
    rule: DriftRule,
    hits_min: usize,
    windows: usize,
    columns: Option<Vec<String>>,
}

/// How one column of a window stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnVerdict {
    /// The comparison of this window alone.
    pub now: ColumnDrift,
    /// The conclusion over the last windows.
    pub verdict: Verdict,
    /// Windows in which the column had drifted, among those looked at.
    pub hits: usize,
    /// Windows looked at: the last with enough rows, at most `m`.
    pub windows: usize,
}

/// How the columns of one window stand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DriftReport {
    format: FormatOne,
    /// The stretch of event time.
    pub window: Window,
    /// Rows of the window.
    pub rows: u64,
    /// All compared columns, in the order of the reference.
    pub columns: Vec<ColumnVerdict>,
    /// Drifted columns over columns with a verdict; 0 where none has one.
    pub share: f64,
}

impl DriftReport {
    pub(crate) fn new(window: Window, rows: u64, columns: Vec<ColumnVerdict>) -> Self {
        let of = |verdict: Verdict| columns.iter().filter(|c| c.verdict == verdict).count();
        let judged = columns.len() - of(Verdict::Inconclusive);
        let share = if judged == 0 { 0.0 } else { of(Verdict::Drifted) as f64 / judged as f64 };
        Self { format: FormatOne, window, rows, columns, share }
    }

    /// Names of the drifted columns, in the order of the reference.
    pub fn drifted(&self) -> Vec<&str> {
        let drifted = self.columns.iter().filter(|c| c.verdict == Verdict::Drifted);
        drifted.map(|c| c.now.column.as_str()).collect()
    }

    /// Number of columns with `verdict`.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.columns.iter().filter(|c| c.verdict == verdict).count()
    }
}

impl DriftMonitorBuilder {
    /// When a window counts as drifted. Default: [`DriftRule::default`].
    pub fn rule(mut self, rule: DriftRule) -> Self {
        self.rule = rule;
        self
    }

    /// Columns that are compared. Default: all of the reference but times and those that the rule excepts.
    pub fn columns(mut self, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.columns = Some(columns.into_iter().map(Into::into).collect());
        self
    }

    /// A column has drifted when it had in `hits_min` of its last `windows` windows. Default: 2 of 3.
    pub fn persistence(mut self, hits_min: usize, windows: usize) -> Self {
        (self.hits_min, self.windows) = (hits_min, windows);
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] when not `1 ≤ hits_min ≤ windows ≤ 1000`, [`Error::NotFound`] when a column is not in the reference.
    pub fn build(self) -> Result<DriftMonitor> {
        let persistence = Persistence::new(self.hits_min, self.windows)?;
        let chosen: Option<BTreeSet<String>> = self.columns.map(|columns| columns.into_iter().collect());
        let narrowed = narrowed(&self.rule, chosen.as_ref(), &self.reference)?;
        Ok(DriftMonitor {
            reference: self.reference,
            rule: self.rule,
            narrowed,
            persistence,
            chosen,
            history: BTreeMap::new(),
        })
    }
}

impl DriftMonitor {
    /// Compares with `reference`.
    pub fn builder(reference: Profile) -> DriftMonitorBuilder {
        DriftMonitorBuilder { reference, rule: DriftRule::default(), hits_min: 2, windows: 3, columns: None }
    }

    /// What windows are compared with.
    pub fn reference(&self) -> &Profile {
        &self.reference
    }

    /// Compares with another reference from now on, such as that of a new model's training data; forgets past windows.
    ///
    /// # Errors
    /// [`Error::NotFound`] when a chosen column is not in it; nothing changes then.
    pub fn set_reference(&mut self, reference: Profile) -> Result<()> {
        self.narrowed = narrowed(&self.rule, self.chosen.as_ref(), &reference)?;
        self.reference = reference;
        self.history.clear();
        Ok(())
    }

    /// Judges the columns of a window.
    ///
    /// # Errors
    /// [`Error::Schema`] when a column is of another kind than in the reference.
    pub fn judge(&mut self, window: Window, current: &Profile) -> Result<DriftReport> {
        let is_chosen = |drift: &ColumnDrift| self.chosen.as_ref().is_none_or(|chosen| chosen.contains(&drift.column));
        let drifts = self.reference.compare(current, &self.narrowed)?;
        let chosen: Vec<ColumnDrift> = drifts.into_iter().filter(is_chosen).collect();
        let columns = chosen.into_iter().map(|now| self.with_history(window, now)).collect();
        Ok(DriftReport::new(window, current.rows(), columns))
    }

    fn with_history(&mut self, window: Window, now: ColumnDrift) -> ColumnVerdict {
        // Columns that the reference lacks have no verdict, so that new names cannot fill the memory.
        if now.verdict == Verdict::Inconclusive && !self.history.contains_key(&now.column) {
            return ColumnVerdict { now, verdict: Verdict::Inconclusive, hits: 0, windows: 0 };
        }
        let history = self.history.entry(now.column.clone()).or_default();
        if now.verdict == Verdict::Inconclusive {
            history.remove(&window.start);
        } else {
            history.insert(window.start, now.verdict == Verdict::Drifted);
        }
        // Twice as many as are looked at, so that a window that is judged again still sees those before it.
        while history.len() > 2 * self.persistence.windows() {
            history.pop_first();
        }
        let verdict = |hit: bool| if hit { Verdict::Drifted } else { Verdict::Stable };
        let known = history.range(..=window.start).map(|(_, &hit)| verdict(hit));
        let without = (now.verdict == Verdict::Inconclusive).then_some(Verdict::Inconclusive);
        let Persisted { verdict, hits, windows } = self.persistence.judge(known.chain(without));
        ColumnVerdict { now, verdict, hits, windows }
    }
}

/// `rule` without the columns of `reference` that were not chosen. They are left out before the p-values are adjusted: a
/// column nobody asked for must not weigh on the others.
fn narrowed(rule: &DriftRule, chosen: Option<&BTreeSet<String>>, reference: &Profile) -> Result<DriftRule> {
    let Some(chosen) = chosen else { return Ok(rule.clone()) };
    if let Some(missing) = chosen.iter().find(|column| reference.column(column).is_none()) {
        return Err(Error::not_found("reference column", missing));
    }
    let others = reference.columns().iter().filter(|column| !chosen.contains(column.name()));
    others.fold(DriftRuleBuilder::from(rule.clone()), |rule, column| rule.except(column.name())).build()
}

#[cfg(test)]
mod tests;
