//! Columns that are distributed as they were.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Scope;
use super::given::{Given, Shared};
use super::kernel::{Column, Kernel, KernelRun, Verdict, measures, quoted};
use crate::profile::{ColumnKind, ColumnProfile, Profile, ProfileOptions, ProfileOptionsBuilder, Profiler};
use crate::stats::{ColumnDrift, DriftRule, Verdict as DriftVerdict};
use crate::{Error, Result, Schema};

/// Most drifted columns that are told one by one.
const TOLD_MAX: usize = 10;

/// No column has drifted from a reference profile.
///
/// * All columns of the reference but times and those that the [`DriftRule`] excepts; each must be there, of the same
///   kind. Columns that the reference does not know are not looked at.
/// * How far, and how far by chance: see [`DriftRule`] and [`DriftMethod`](crate::stats::DriftMethod). Nulls (with NaN) are
///   a value of their own, so that a change of their share is drift; [`Robust`](crate::stats::DriftMethod::Robust) tells them
///   beside its verdict instead. Of sensitive columns only the share of nulls is compared.
/// * A column without a verdict (too few rows on one side) does not fail, and is counted in the measures:
///   `compared`, `drifted`, `inconclusive`. `observed` is the greatest effect among those with a verdict.
/// * Memory: one [`Profiler`] over the columns compared, some tens of kilobytes each, whatever the number of rows.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drift {
    #[serde(serialize_with = "write_profile", deserialize_with = "read_profile")]
    reference: Arc<Profile>,
    #[serde(default)]
    rule: DriftRule,
}

fn write_profile<S: Serializer>(profile: &Arc<Profile>, serializer: S) -> Result<S::Ok, S::Error> {
    profile.as_ref().serialize(serializer)
}

fn read_profile<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Profile>, D::Error> {
    Profile::deserialize(deserializer).map(Arc::new)
}

impl PartialEq for Drift {
    fn eq(&self, other: &Self) -> bool {
        let same = || self.reference.to_bytes() == other.reference.to_bytes();
        self.rule == other.rule && (Arc::ptr_eq(&self.reference, &other.reference) || same())
    }
}

impl Drift {
    /// Columns are distributed as in `reference`, by the default [`DriftRule`].
    pub fn from_reference(reference: impl Into<Arc<Profile>>) -> Self {
        Self { reference: reference.into(), rule: DriftRule::default() }
    }

    /// When a column counts as drifted. Default: PSI of at least 0.1 that chance does not explain.
    pub fn rule(mut self, rule: DriftRule) -> Self {
        self.rule = rule;
        self
    }

    fn compared(&self) -> impl Iterator<Item = &ColumnProfile> {
        let is_compared =
            |column: &&ColumnProfile| column.kind() != ColumnKind::Time && !self.rule.is_excepted(column.name());
        self.reference.columns().iter().filter(is_compared)
    }

    pub(super) fn compile(&self) -> Result<Arc<dyn Kernel>> {
        if self.compared().next().is_none() {
            return Err(Error::invalid("reference", "no column", "a profile with a column that can be compared"));
        }
        Ok(Arc::new(self.clone()))
    }
}

impl Kernel for Drift {
    fn demand(&self) -> String {
        let (columns, method) = (self.compared().count(), self.rule.method());
        format!("{columns} columns have not drifted ({method:?} below {})", self.rule.threshold())
    }

    fn scope(&self) -> Scope {
        Scope::Table
    }

    fn columns(&self) -> Vec<&str> {
        self.compared().map(ColumnProfile::name).collect()
    }

    fn begin(&self, schema: &Schema, _given: &Given) -> Result<Box<dyn KernelRun>> {
        let mut columns = Vec::new();
        for reference in self.compared() {
            let column = Column::find(schema, reference.name())?;
            if ColumnKind::of(schema.field(reference.name())?.data_type()) != reference.kind() {
                return Err(column.unfit(&format!("the kind of {}", reference.data_type())));
            }
            columns.push(column);
        }
        let compared = schema.project(&Kernel::columns(self))?;
        let hide = ProfileOptionsBuilder::hide;
        let options = compared.hidden().into_iter().fold(ProfileOptions::builder(), hide).build()?;
        let profiler = Profiler::new(compared.arrow(), &options)?;
        Ok(Box::new(Run { rule: self.clone(), columns, schema: compared.arrow().clone(), profiler }))
    }
}

struct Run {
    rule: Drift,
    columns: Vec<Column>,
    schema: SchemaRef,
    profiler: Profiler,
}

impl KernelRun for Run {
    fn update(&mut self, batch: &Shared<'_>) -> Result<Option<BooleanBuffer>> {
        let arrays = self.columns.iter().map(|column| column.of(batch).cloned()).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let compared = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)?;
        self.profiler.update(&compared)?;
        Ok(None)
    }

    fn finish(self: Box<Self>) -> Result<Verdict> {
        let drifts = self.rule.reference.compare(self.profiler.profile(), &self.rule.rule)?;
        let count = |verdict| drifts.iter().filter(|drift| drift.verdict == verdict).count();
        let (drifted, inconclusive) = (count(DriftVerdict::Drifted), count(DriftVerdict::Inconclusive));
        let judged = drifts.iter().filter(|drift| drift.verdict != DriftVerdict::Inconclusive);
        Ok(Verdict {
            passed: drifted == 0,
            failed_rows: 0,
            observed: judged.map(|drift| drift.effect).max_by(f64::total_cmp),
            measures: measures([
                ("compared", drifts.len() as f64),
                ("drifted", drifted as f64),
                ("inconclusive", inconclusive as f64),
            ]),
            detail: detail(drifts, inconclusive),
        })
    }
}

/// The drifted columns, the farthest first, and how many have no verdict.
fn detail(drifts: Vec<ColumnDrift>, inconclusive: usize) -> String {
    let mut drifted: Vec<_> = drifts.into_iter().filter(|drift| drift.verdict == DriftVerdict::Drifted).collect();
    drifted.sort_by(|a, b| b.effect.total_cmp(&a.effect));
    let tell = |drift: &ColumnDrift| {
        let (column, effect, chance) = (quoted(&drift.column), drift.effect, drift.expected_by_chance);
        format!("{column} by {effect:.3} ({chance:.3} by chance, q = {:.1e})", drift.q_value)
    };
    let mut told: Vec<String> = drifted.iter().take(TOLD_MAX).map(tell).collect();
    if drifted.len() > TOLD_MAX {
        told.push(format!("and {} more", drifted.len() - TOLD_MAX));
    }
    if inconclusive > 0 {
        told.push(format!("too few rows for {inconclusive}"));
    }
    told.join("; ")
}
