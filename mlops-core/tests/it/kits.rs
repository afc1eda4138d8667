//! The kits pass what keeps its contract and name what does not.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use mlops_core::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch};
use mlops_core::arrow::datatypes::Float64Type;
use mlops_core::clean::{Changes, FittedTransform, Pass, Scope as Treats, StepChanges, Transform, TransformState};
use mlops_core::model::{Model, Signature};
use mlops_core::validate::{Check, CheckRun, Finding, Scope, Severity};
use mlops_core::{Dataset, Error, Name, Result, Schema, testkit};

/// How an implementation below is broken.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Flaw {
    None,
    SeesBatches,
    ForgetsRows,
    QuotesValues,
    LosesState,
    TakesAnything,
    Miscounts,
}

fn table() -> RecordBatch {
    let values =
        Float64Array::from(vec![Some(1.0), Some(2.5), None, Some(-4.0), Some(0.125), Some(1e9), Some(7.0), None]);
    RecordBatch::try_from_iter_with_nullable([
        ("x", Arc::new(values) as ArrayRef, true),
        ("y", Arc::new(Int64Array::from_iter_values(0..8)), true),
    ])
    .unwrap()
}

fn data() -> Dataset {
    Dataset::from_batches([table()]).unwrap()
}

fn x_of(batch: &RecordBatch) -> Result<&Float64Array> {
    let array = batch.column_by_name("x").ok_or_else(|| Error::not_found("column", "x"))?;
    array.as_primitive_opt().ok_or_else(|| Error::schema("x", "Float64", array.data_type()))
}

/// What the kit said.
#[track_caller]
pub(crate) fn refused(kit: impl FnOnce(), sentence: &str) {
    let panic = catch_unwind(AssertUnwindSafe(kit)).expect_err("the kit must refuse this");
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|t| (*t).to_owned())).unwrap_or_default();
    assert!(text.contains(sentence), "{text}");
}

#[derive(Debug)]
struct Small(Name, Flaw);

impl Check for Small {
    fn id(&self) -> &Name {
        &self.0
    }

    fn severity(&self) -> Severity {
        Severity::Error
    }

    fn scope(&self) -> Scope {
        Scope::Row
    }

    fn columns(&self) -> Vec<&str> {
        vec!["x"]
    }

    fn begin(&self, schema: &Schema) -> Result<Box<dyn CheckRun>> {
        schema.field("x")?;
        Ok(Box::new(SmallRun { id: self.0.clone(), flaw: self.1, rows: 0, failed: 0, worst: String::new() }))
    }
}

struct SmallRun {
    id: Name,
    flaw: Flaw,
    rows: u64,
    failed: u64,
    worst: String,
}

impl CheckRun for SmallRun {
    fn update(&mut self, batch: &RecordBatch) -> Result<Option<BooleanArray>> {
        let values = x_of(batch)?;
        let marks: Vec<bool> = match self.flaw {
            Flaw::SeesBatches => (0..values.len()).map(|row| row > 2).collect(),
            _ => values.iter().map(|v| v.is_some_and(|v| v > 100.0)).collect(),
        };
        self.rows += values.len() as u64;
        self.failed += marks.iter().filter(|mark| **mark).count() as u64;
        for value in values.iter().flatten().filter(|v| *v > 100.0) {
            self.worst = value.to_string();
        }
        Ok(Some(marks.into()))
    }

    fn finish(self: Box<Self>) -> Result<Finding> {
        Ok(Finding {
            check: self.id,
            demand: "small".to_owned(),
            severity: Severity::Error,
            passed: self.failed == 0,
            rows: if self.flaw == Flaw::ForgetsRows { 0 } else { self.rows },
            failed_rows: self.failed,
            observed: None,
            measures: std::collections::BTreeMap::new(),
            detail: if self.flaw == Flaw::QuotesValues { format!("{}.0", self.worst) } else { String::new() },
        })
    }
}

#[test]
fn the_kit_of_checks_tells_what_is_broken() {
    let good = Dataset::from_batches([table().slice(0, 3)]).unwrap();
    let kit = |flaw| {
        let good = good.clone();
        move || testkit::check(|| Small(Name::new("small").unwrap(), flaw), &good, &data())
    };
    kit(Flaw::None)();
    refused(kit(Flaw::SeesBatches), "do not depend on how rows are cut");
    refused(kit(Flaw::ForgetsRows), "counts the rows that it saw");
    refused(kit(Flaw::QuotesValues), "is not quoted");
}

/// Takes the mean from `x`.
#[derive(Debug, Clone, Copy)]
struct Center(Flaw);

#[derive(Debug, Clone, Copy)]
struct Centered(Flaw, f64);

impl Transform for Center {
    fn settings(&self) -> Result<serde_json::Value> {
        Ok(serde_json::json!({ "center": "x" }))
    }

    fn fit(&self, data: &Dataset) -> Result<Box<dyn FittedTransform>> {
        let (mut sum, mut count) = (0.0, 0.0);
        for batch in data.batches()? {
            for value in x_of(&batch?)?.iter().flatten() {
                sum += value;
                count += 1.0;
            }
            count += if self.0 == Flaw::SeesBatches { 1.0 } else { 0.0 };
        }
        Ok(Box::new(Centered(self.0, sum / count)))
    }
}

impl FittedTransform for Centered {
    fn scope(&self) -> Treats {
        Treats::Row
    }

    fn output_schema(&self, input: &Schema) -> Result<Schema> {
        input.project(&["x"])
    }

    fn begin(&self, input: &Schema) -> Result<Box<dyn Pass>> {
        self.output_schema(input)?;
        Ok(Box::new(Centering(*self, StepChanges::new("center"))))
    }

    fn state(&self) -> Result<TransformState> {
        let (settings, body) = (Center(self.0).settings()?, serde_json::json!({ "mean": self.1 }));
        Ok(TransformState { kind: "center".to_owned(), format: 1, settings, body })
    }
}

struct Centering(Centered, StepChanges);

impl Pass for Centering {
    fn apply(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let Centered(flaw, mean) = self.0;
        let shift = if flaw == Flaw::ForgetsRows { batch.num_rows() as f64 } else { mean };
        self.1.rows_in += batch.num_rows() as u64;
        self.1.rows_out += if flaw == Flaw::Miscounts { 1 } else { batch.num_rows() as u64 };
        let values: Float64Array = x_of(batch)?.iter().map(|v| v.map(|v| v - shift)).collect();
        Ok(RecordBatch::try_from_iter_with_nullable([("x", Arc::new(values) as ArrayRef, true)])?)
    }

    fn drain(&mut self) -> Result<Option<RecordBatch>> {
        Ok(None)
    }

    fn changes(&self) -> Changes {
        self.1.clone().into()
    }
}

fn restore(flaw: Flaw, state: &TransformState) -> Result<Box<dyn FittedTransform>> {
    let mean = state.body.get("mean").and_then(serde_json::Value::as_f64);
    let fits = state.kind == "center" && state.format == 1;
    match mean.filter(|_| fits) {
        Some(mean) => Ok(Box::new(Centered(flaw, if flaw == Flaw::LosesState { mean + 1.0 } else { mean }))),
        None if flaw == Flaw::TakesAnything => Ok(Box::new(Centered(flaw, 0.0))),
        None => Err(Error::invalid_data("state", "not of `center`")),
    }
}

#[test]
fn the_kit_of_transforms_tells_what_is_broken() {
    let kit = |flaw| move || testkit::transform(|| Center(flaw), |state| restore(flaw, state), &data());
    kit(Flaw::None)();
    refused(kit(Flaw::SeesBatches), "a fit does not depend on how rows are cut");
    refused(kit(Flaw::ForgetsRows), "the output does not depend on how rows are cut");
    refused(kit(Flaw::LosesState), "what was restored has the same state");
    refused(kit(Flaw::TakesAnything), "a state of another kind is refused");
    refused(kit(Flaw::Miscounts), "changes count the rows that came in and went out");
}

/// `a · x + b · y`, 0 for a null.
#[derive(Debug, Clone)]
struct Linear(Flaw, Signature, [f64; 2]);

impl Linear {
    fn new(flaw: Flaw, weights: [f64; 2]) -> Self {
        let schema = Schema::new(table().schema()).unwrap();
        Self(flaw, Signature::new(&schema, &["x", "y"], "score").unwrap(), weights)
    }
}

impl Model for Linear {
    fn signature(&self) -> &Signature {
        &self.1
    }

    fn flavor(&self) -> &'static str {
        "linear"
    }

    fn predict(&self, features: &RecordBatch) -> Result<ArrayRef> {
        let inputs = self.1.select(features)?;
        let wide = mlops_core::arrow::compute::cast(&inputs[1], &mlops_core::arrow::datatypes::DataType::Float64)?;
        let (x, y) = (inputs[0].as_primitive::<Float64Type>(), wide.as_primitive::<Float64Type>());
        let value = |row: usize| {
            let rest = if self.0 == Flaw::SeesBatches { row as f64 } else { 0.0 };
            let x = if x.is_null(row) { 0.0 } else { x.value(row) };
            self.2[0] * x + self.2[1] * y.value(row) + rest
        };
        Ok(Arc::new(Float64Array::from_iter_values((0..x.len()).map(value))))
    }

    fn explain(&self, features: &RecordBatch) -> Result<Option<RecordBatch>> {
        let zero = || Arc::new(Float64Array::from(vec![0.0; features.num_rows()])) as ArrayRef;
        let last = if self.0 == Flaw::QuotesValues { "rest" } else { "bias" };
        Ok(Some(RecordBatch::try_from_iter([("x", zero()), ("y", zero()), (last, zero())])?))
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let bytes = self.2.iter().flat_map(|weight| weight.to_le_bytes());
        Ok(b"LIN1".iter().copied().chain(bytes).collect())
    }
}

fn read(flaw: Flaw, bytes: &[u8]) -> Result<Box<dyn Model>> {
    let refuse = || Error::invalid_data("linear model", "not 20 bytes that begin with LIN1");
    let body = bytes.strip_prefix(b"LIN1").ok_or_else(refuse)?;
    let weight = |at: usize| body.get(at..at + 8).and_then(|b| b.try_into().ok()).map(f64::from_le_bytes);
    let weights = match (weight(0), weight(8)) {
        (Some(a), Some(b)) => [a, b],
        (Some(a), None) if flaw == Flaw::TakesAnything => [a, 0.0],
        _ => return Err(refuse()),
    };
    let weights = if flaw == Flaw::LosesState { [weights[0], weights[1] + 1.0] } else { weights };
    Ok(Box::new(Linear::new(flaw, weights)))
}

#[test]
fn the_kit_of_models_tells_what_is_broken() {
    let kit = |flaw| move || testkit::model(&Linear::new(flaw, [0.5, -2.0]), |bytes| read(flaw, bytes), &table());
    kit(Flaw::None)();
    refused(kit(Flaw::SeesBatches), "a row alone gets the same output as in a table");
    refused(kit(Flaw::QuotesValues), "then `bias`");
    refused(kit(Flaw::LosesState), "what was rebuilt has the same bytes");
    refused(kit(Flaw::TakesAnything), "are refused");
}
