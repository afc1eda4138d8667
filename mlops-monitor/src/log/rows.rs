//! Answered requests as rows: one per candidate.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Float64Array, Float64Builder, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    UInt32Array, new_null_array,
};
use arrow::compute::{concat, take};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use mlops_core::rank::{RequestId, Served};
use mlops_core::schema::{Role, Sensitivity};
use mlops_core::{Error, EventTime, Name, Result, Schema};

use super::read::fit;
use super::{DEGRADED, EVENT_TIME, POSITION, REQUEST_ID, SCORE, TOOK_US, score_column, version_column};

/// The columns of a log, and how they are taken from an answer.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) schema: Schema,
    key: Field,
    objectives: Vec<Name>,
    features: Vec<Field>,
    context: Vec<Field>,
}

/// Rows of some requests, and what did not fit.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) batch: Option<RecordBatch>,
    /// Requests without rows because their key, or their number of scores, is not what it should be.
    pub(super) refused: u64,
    /// Columns of one request that were missing or of another type; null was written.
    pub(super) unfit: u64,
}

impl Layout {
    pub(super) fn new(key: Field, objectives: Vec<Name>, features: Vec<Field>, context: Vec<Field>) -> Result<Self> {
        let nullable = |fields: Vec<Field>| fields.into_iter().map(|f| f.with_nullable(true)).collect::<Vec<_>>();
        let (key, features, context) = (key.with_nullable(false), nullable(features), nullable(context));
        let mut fields = vec![
            Field::new(REQUEST_ID, DataType::Utf8, false),
            Field::new(EVENT_TIME, EventTime::data_type(), false),
            key.clone(),
            Field::new(POSITION, DataType::UInt32, false),
            Field::new(SCORE, DataType::Float64, false),
        ];
        for objective in &objectives {
            fields.push(Field::new(score_column(objective.as_str()), DataType::Float64, true));
            fields.push(Field::new(version_column(objective.as_str()), DataType::Utf8, true));
        }
        fields.push(Field::new(TOOK_US, DataType::Int64, false));
        fields.push(Field::new(DEGRADED, DataType::Utf8, true));
        fields.extend(features.iter().chain(&context).cloned());
        let mut schema = Schema::new(ArrowSchema::new(fields))?
            .with_role(REQUEST_ID, Role::Key)?
            .with_role(EVENT_TIME, Role::EventTime)?
            .with_role(key.name(), Role::Key)?;
        for feature in &features {
            schema = schema.with_role(feature.name(), Role::Feature)?;
        }
        for column in schema.names() {
            if schema.sensitivity(column)? >= Sensitivity::Secret {
                return Err(Error::invalid("log column", column, "a column that may leave its store"));
            }
        }
        Ok(Self { schema, key, objectives, features, context })
    }

    /// Rows of `served`, in order, best candidate first.
    pub(super) fn rows(&self, served: &[Arc<Served>]) -> Result<Rows> {
        let mut rows = Rows::default();
        let mut taken = Vec::with_capacity(served.len());
        for request in served {
            let key = fit(request.slate.keys(), self.key.data_type());
            match key.filter(|_| request.scores.len() == request.slate.len()) {
                None => rows.refused += 1,
                Some(_) if request.slate.is_empty() => {}
                Some(key) => taken.push((request.as_ref(), key)),
            }
        }
        if !taken.is_empty() {
            rows.batch = Some(self.batch(&taken, &mut rows.unfit)?);
        }
        Ok(rows)
    }

    fn batch(&self, taken: &[(&Served, ArrayRef)], unfit: &mut u64) -> Result<RecordBatch> {
        let owner = UInt32Array::from_iter_values(
            taken.iter().enumerate().flat_map(|(i, (served, _))| std::iter::repeat_n(i as u32, served.slate.len())),
        );
        // One value per request, repeated for its candidates.
        let spread = |array: &dyn Array| take(array, &owner, None);
        let served = || taken.iter().map(|(served, _)| *served);
        let ids = StringArray::from_iter_values(served().map(|s| s.query.id()).map(|id: RequestId| id.to_string()));
        let times = TimestampMicrosecondArray::from_iter_values(served().map(|s| s.query.at().as_micros()));
        let positions = UInt32Array::from_iter_values(served().flat_map(|s| 0..s.slate.len() as u32));
        let scores = Float64Array::from_iter_values(served().flat_map(|s| s.scores.iter().copied()));
        let keys: Vec<&dyn Array> = taken.iter().map(|(_, key)| key.as_ref()).collect();
        let mut columns: Vec<ArrayRef> = vec![
            spread(&ids)?,
            spread(&times.with_timezone("UTC"))?,
            concat(&keys)?,
            Arc::new(positions),
            Arc::new(scores),
        ];
        for objective in &self.objectives {
            columns.push(Arc::new(objective_scores(taken, objective)));
            let version = |s: &Served| s.versions.iter().find(|(n, _)| n == objective).map(|(_, v)| v.clone());
            let versions: StringArray = served().map(|s| version(s).filter(|v| !v.is_empty())).collect();
            columns.push(spread(&versions)?);
        }
        let took = |s: &Served| i64::try_from(s.took.as_micros()).unwrap_or(i64::MAX);
        columns.push(spread(&Int64Array::from_iter_values(served().map(took)))?);
        let degraded: StringArray = served().map(degraded).collect();
        columns.push(spread(&degraded)?);
        for field in &self.features {
            let parts = served().map(|s| pick(s.slate.rows(), field, unfit)).collect::<Vec<_>>();
            columns.push(concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<_>>())?);
        }
        for field in &self.context {
            let parts = served().map(|s| pick(s.query.context(), field, unfit)).collect::<Vec<_>>();
            columns.push(spread(&concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<_>>())?)?);
        }
        Ok(RecordBatch::try_new(self.schema.arrow().clone(), columns)?)
    }
}

/// A column of `rows` as `field` says, or nulls where it is not there.
fn pick(rows: &RecordBatch, field: &Field, unfit: &mut u64) -> ArrayRef {
    let found = rows.column_by_name(field.name()).and_then(|array| fit(array, field.data_type()));
    found.unwrap_or_else(|| {
        *unfit += 1;
        new_null_array(field.data_type(), rows.num_rows())
    })
}

fn objective_scores(taken: &[(&Served, ArrayRef)], objective: &Name) -> Float64Array {
    let mut scores = Float64Builder::new();
    for (served, _) in taken {
        match served.slate.objective(objective.as_str()) {
            Some(known) => scores.append_slice(known),
            None => scores.append_nulls(served.slate.len()),
        }
    }
    scores.finish()
}

fn degraded(served: &Served) -> Option<String> {
    let names: Vec<&str> = served.degraded.iter().map(Name::as_str).collect();
    (!names.is_empty()).then(|| names.join(","))
}
