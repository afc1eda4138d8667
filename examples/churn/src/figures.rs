//! What the job found, for people and for programs.

use mlops_core::validate::{Report, Severity};
use mlops_core::{Dataset, Result};
use serde_json::{Map, Value, json};

use crate::contest::Entry;

/// What the alias gave when it was asked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reloaded {
    /// The version that it points to, if it points anywhere.
    pub(crate) version: Option<u32>,
    /// Whether it predicts what was measured; `None` for a version of an earlier job.
    pub(crate) is_equal: Option<bool>,
}

/// All figures by name.
///
/// | name | what |
/// |---|---|
/// | `rows`, `train_rows`, `judge_rows`, `features`, `positive_share` | sizes, and the share of churners among all rows |
/// | `validation_failed` | ids of checks that did not hold |
/// | `auc_decision_tree`, `auc_logistic`, `auc_gbdt` | AUC per trainer on the rows that judge |
/// | `models` | per trainer: version, run, every metric, greatest features, promoted or the reasons of the refusal |
/// | `promoted_version`, `promoted_algorithm` | where the alias points at the end; null for nowhere, or a version of an earlier job |
/// | `refused_versions` | versions of this job that the gate refused |
/// | `reload_equal` | whether the model behind the alias, loaded again, predicts the same bits; null when it was not made here |
/// | `data_digest` | digest of the features of the rows that were learned from |
/// | `wall_ms` | how long it took |
#[derive(Clone, Debug)]
pub struct Figures(Map<String, Value>);

impl Figures {
    pub(crate) fn new(
        report: &Report,
        learn: &Dataset,
        judge: &Dataset,
        entries: &[Entry],
        reloaded: Reloaded,
    ) -> Result<Self> {
        let labels = [crate::labels(learn)?, crate::labels(judge)?].concat();
        let failed: Vec<String> = report.failures(Severity::Info).map(|finding| finding.check.to_string()).collect();
        let promoted = entries.iter().find(|entry| Some(entry.version) == reloaded.version);
        let refused: Vec<u32> = entries.iter().filter(|e| !e.is_promoted()).map(|e| e.version).collect();
        let mut figures = Self(Map::new());
        figures.set("rows", report.rows);
        figures.set("train_rows", learn.num_rows()?);
        figures.set("judge_rows", judge.num_rows()?);
        figures.set("features", crate::FEATURES.len());
        figures.set("positive_share", labels.iter().sum::<f64>() / labels.len().max(1) as f64);
        figures.set("validation_failed", failed);
        for entry in entries {
            figures.set(&format!("auc_{}", entry.algorithm), entry.measured.metrics.get("auc").copied());
        }
        figures.set("models", entries.iter().map(described).collect::<Map<_, _>>());
        figures.set("promoted_version", reloaded.version);
        figures.set("promoted_algorithm", promoted.map(|entry| entry.algorithm));
        figures.set("refused_versions", refused);
        figures.set("reload_equal", reloaded.is_equal);
        figures.set("data_digest", learn.digest()?.to_string());
        Ok(figures)
    }

    pub(crate) fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// The figure called `name`; null when there is none.
    pub fn get(&self, name: &str) -> &Value {
        self.0.get(name).unwrap_or(&Value::Null)
    }

    /// All figures as one line of JSON.
    pub fn to_json(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }

    pub(crate) fn summary(&self, entries: &[Entry]) -> String {
        let version = self.get("promoted_version");
        match entries.iter().find(|entry| Some(u64::from(entry.version)) == version.as_u64()) {
            Some(entry) => format!(
                "production: version {version}, {}; loaded again, it predicts the same bits; looks most at {}",
                entry.algorithm,
                entry.top_features.join(", ")
            ),
            None if version.is_null() => "production: nothing, every model was refused".to_owned(),
            None => format!("production: version {version} of an earlier job stays"),
        }
    }
}

fn described(entry: &Entry) -> (String, Value) {
    let value = json!({
        "version": entry.version,
        "run": entry.run.as_str(),
        "metrics": entry.measured.metrics,
        "promoted": entry.is_promoted(),
        "refusals": entry.refusals,
        "top_features": entry.top_features,
    });
    (entry.algorithm.to_owned(), value)
}
