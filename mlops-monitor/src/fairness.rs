//! Whether groups get their share of what is shown, window by window.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use mlops_core::metrics::GroupRates;
use mlops_core::schema::Sensitivity;
use mlops_core::{Error, EventTime, Result, Schema, Window};
use serde::{Deserialize, Serialize};

use crate::format::FormatOne;
use crate::log::{self, EVENT_TIME, POSITION};
use crate::tumbling::Tumbling;
use crate::window::by_window;
use crate::{WindowCounters, WindowRule};

/// Groups that are told apart by default.
const GROUPS_MAX: usize = 64;

/// Rates of one group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupShare {
    /// The group; `group 1`, `group 2` … in the order of their values where the column's values must not be shown.
    pub group: String,
    /// Candidates of the group that were served.
    pub rows: u64,
    /// Share of them in the first `k` places; `None` for a group that is too small.
    pub selection_rate: Option<f64>,
    /// Mean of `1 / log₂(2 + position)`; `None` for a group that is too small.
    pub exposure: Option<f64>,
}

/// Whether the groups of a window are treated alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// Every ratio is at or above the smallest that is allowed.
    Even,
    /// A ratio is below it.
    Uneven,
    /// Fewer than two groups are large enough.
    Inconclusive,
}

/// The groups of one window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FairnessReport {
    format: FormatOne,
    /// The stretch of event time.
    pub window: Window,
    /// How often it was given out before.
    pub revision: u32,
    /// The column that tells groups apart.
    pub column: String,
    /// Groups, in the order of their values.
    pub groups: Vec<GroupShare>,
    /// Rows of no group: null, or beyond the number of groups that are told apart.
    pub ungrouped: u64,
    /// Smallest over greatest selection rate (demographic parity ratio), in `[0, 1]`, over groups that are large enough.
    pub selection_ratio: Option<f64>,
    /// Smallest over greatest mean exposure, in `[0, 1]`, over groups that are large enough.
    pub exposure_ratio: Option<f64>,
    /// The conclusion.
    pub balance: Balance,
}

/// Selection and exposure by group, from the rows of a prediction log.
///
/// A candidate is selected when it stands in the first `k` places of the answer. Exposure falls with the place as in
/// NDCG; groups are compared by its mean per candidate (demographic parity of exposure).
///
/// # Source
/// Singh, Joachims, *Fairness of exposure in rankings*, KDD 2018; names as in Fairlearn.
#[derive(Debug)]
pub struct FairnessMonitor {
    settings: FairnessMonitorBuilder,
    is_hidden: bool,
    open: Tumbling<Groups>,
}

/// Builder of [`FairnessMonitor`].
#[derive(Debug, Clone)]
pub struct FairnessMonitorBuilder {
    schema: Schema,
    column: String,
    rule: WindowRule,
    k: u32,
    rows_min: u64,
    ratio_min: f64,
    groups_max: usize,
}

#[derive(Debug, Clone)]
struct Groups {
    rates: GroupRates,
    exposure: BTreeMap<String, f64>,
    ungrouped: u64,
}

impl FairnessMonitorBuilder {
    /// Places that count as selected. Default 1.
    pub fn first(mut self, k: u32) -> Self {
        self.k = k;
        self
    }

    /// Rows below which a group has no rate. Default 100.
    pub fn rows_min(mut self, rows: u64) -> Self {
        self.rows_min = rows;
        self
    }

    /// Smallest ratio that is even. Default 0.8, the four-fifths rule.
    pub fn ratio_min(mut self, ratio: f64) -> Self {
        self.ratio_min = ratio;
        self
    }

    /// Groups that are told apart; rows of later ones are counted together. Default 64.
    pub fn groups_max(mut self, groups: usize) -> Self {
        self.groups_max = groups;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such column, [`Error::Invalid`] when a bound is outside of its domain.
    pub fn build(self) -> Result<FairnessMonitor> {
        if self.k == 0 {
            return Err(Error::invalid("places", 0, "at least 1"));
        }
        if !(self.ratio_min > 0.0 && self.ratio_min <= 1.0) {
            return Err(Error::invalid("smallest ratio", self.ratio_min, "in (0, 1]"));
        }
        if !(2..=1_000).contains(&self.groups_max) {
            return Err(Error::invalid("groups", self.groups_max, "in 2..=1000"));
        }
        GroupRates::new(self.rows_min)?;
        let is_hidden = self.schema.sensitivity(&self.column)? >= Sensitivity::Personal;
        Ok(FairnessMonitor { is_hidden, open: Tumbling::new(self.rule), settings: self })
    }
}

impl FairnessMonitor {
    /// Groups by `column` of rows of `schema`: a text, an integer or a boolean.
    pub fn builder(schema: &Schema, column: impl Into<String>, rule: WindowRule) -> FairnessMonitorBuilder {
        FairnessMonitorBuilder {
            schema: schema.clone(),
            column: column.into(),
            rule,
            k: 1,
            rows_min: 100,
            ratio_min: 0.8,
            groups_max: GROUPS_MAX,
        }
    }

    /// Adds rows of the log.
    ///
    /// # Errors
    /// [`Error::NotFound`] when a column is missing, [`Error::Schema`] when one has another type; nothing is added then.
    pub fn update(&mut self, rows: &RecordBatch, now: EventTime) -> Result<()> {
        self.open.observe_now(now);
        let times = log::times(rows, EVENT_TIME)?;
        let positions = log::integers(rows, POSITION)?;
        let groups = log::texts(rows, &self.settings.column)?;
        let fresh = Groups { rates: GroupRates::new(self.settings.rows_min)?, exposure: BTreeMap::new(), ungrouped: 0 };
        for (window, inside) in by_window(&mut self.open, &times) {
            let state = self.open.change(window, || fresh.clone());
            let mut malformed = 0;
            for row in inside {
                match (positions[row as usize].and_then(|p| u32::try_from(p).ok()), &groups[row as usize]) {
                    (None, _) => malformed += 1,
                    (Some(position), group) => state.add(group.as_deref(), position, &self.settings)?,
                }
            }
            self.open.counters.malformed += malformed;
        }
        Ok(())
    }

    /// Reports of windows that are due at `now` and changed since they were given out, oldest first.
    pub fn due(&mut self, now: EventTime) -> Vec<FairnessReport> {
        self.open.observe_now(now);
        let (settings, is_hidden) = (&self.settings, self.is_hidden);
        self.open.due(|window, revision, groups| groups.report(window, revision, settings, is_hidden))
    }

    /// Rows that no window took.
    pub fn counters(&self) -> WindowCounters {
        self.open.counters
    }
}

impl Groups {
    fn add(&mut self, group: Option<&str>, position: u32, settings: &FairnessMonitorBuilder) -> Result<()> {
        let Some(group) = group else {
            self.ungrouped += 1;
            return Ok(());
        };
        let is_known = self.exposure.contains_key(group);
        if !is_known && (self.exposure.len() >= settings.groups_max || group.len() > log::GROUP_BYTES_MAX) {
            self.ungrouped += 1;
            return Ok(());
        }
        self.rates.update(group, position < settings.k, None)?;
        let exposure = 1.0 / (2.0 + f64::from(position)).log2();
        match self.exposure.get_mut(group) {
            Some(sum) => *sum += exposure,
            None => {
                self.exposure.insert(group.to_owned(), exposure);
            }
        }
        Ok(())
    }

    fn report(&self, window: Window, revision: u32, settings: &FairnessMonitorBuilder, hidden: bool) -> FairnessReport {
        let share = |(place, (group, counts)): (usize, (&str, &mlops_core::metrics::GroupCounts))| GroupShare {
            group: if hidden { format!("group {}", place + 1) } else { group.to_owned() },
            rows: counts.rows,
            selection_rate: self.rates.selection_rate(group),
            exposure: (counts.rows >= settings.rows_min)
                .then(|| self.exposure.get(group).copied().unwrap_or(0.0) / counts.rows as f64),
        };
        let groups: Vec<GroupShare> = self.rates.groups().enumerate().map(share).collect();
        let selection_ratio = self.rates.demographic_parity_ratio();
        let exposures: Vec<f64> = groups.iter().filter_map(|group| group.exposure).collect();
        let exposure_ratio = (exposures.len() >= 2).then(|| {
            let least = exposures.iter().copied().fold(f64::INFINITY, f64::min);
            least / exposures.iter().copied().fold(0.0, f64::max)
        });
        let balance = match (selection_ratio, exposure_ratio) {
            (None, None) => Balance::Inconclusive,
            (a, b) if a.into_iter().chain(b).all(|ratio| ratio >= settings.ratio_min) => Balance::Even,
            _ => Balance::Uneven,
        };
        FairnessReport {
            format: FormatOne,
            window,
            revision,
            column: settings.column.clone(),
            groups,
            ungrouped: self.ungrouped,
            selection_ratio,
            exposure_ratio,
            balance,
        }
    }
}

#[cfg(test)]
mod tests;
