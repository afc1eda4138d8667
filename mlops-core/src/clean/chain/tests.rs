use arrow::array::{AsArray, Float64Array, Int64Array, StringArray};
use arrow::datatypes::Float64Type;

use super::super::fixture::{batch, clean, column, data, floats, near, recut};
use super::super::{
    Action, Change, Dedup, Encode, Encoding, Fence, FittedTransformExt, Impute, Keep, Outliers, Pick, Recipe, Scale,
    Select, Strategy, TransformExt, restore, restore_rows, restore_with,
};
use super::*;
use crate::EventTime;
use crate::schema::Role;
use crate::source::{MemorySink, ScanRequest};

fn table() -> Dataset {
    let ids = vec![1, 2, 2, 3, 4, 5, 1];
    let x = vec![Some(1.0), Some(2.0), Some(2.0), None, Some(3.0), Some(1000.0), Some(1.5)];
    let rows = data([("id", column(Int64Array::from(ids))), ("x", column(Float64Array::from(x)))]);
    rows.with_schema(rows.schema().with_role("id", Role::Key).unwrap()).unwrap()
}

/// The last row of an id, outliers clipped, gaps filled, 0 to 1.
fn chain() -> Chain {
    Chain::builder()
        .then(Dedup::builder().keys("id").keep(Keep::Last).build().unwrap())
        .then(Outliers::builder().fence(Pick::Numbers, Fence::iqr(), Action::Clip).build().unwrap())
        .then(Impute::builder().fill("x", Strategy::Median).indicator(true).build().unwrap())
        .then(Scale::builder().min_max("x").build().unwrap())
        .build()
        .unwrap()
}

#[test]
fn each_stage_is_fitted_on_what_those_before_it_put_out() {
    // Rows left: 2, null, 3, 1000, 1.5. Quartiles of the four numbers by type 7: 1.875 and 252.25, fence to 627.8125;
    // median of 2, 3, 627.8125, 1.5: 2.5.
    let (treated, changes) = clean(&chain(), &table());
    let scaled = |v: f64| Some((v - 1.5) / 626.3125);
    near(&floats(&treated, "x"), &[scaled(2.0), scaled(2.5), scaled(3.0), Some(1.0), Some(0.0)]);
    assert_eq!(treated["x_missing"].as_boolean().true_count(), 1);
    assert_eq!((changes.rows_in(), changes.rows_out(), changes.rows_dropped()), (7, 5, 2));
    assert_eq!((changes.cells("x", Change::Clipped), changes.cells("x", Change::Imputed)), (1, 1));
    let steps: Vec<_> = changes.steps.iter().map(|step| step.step.as_str()).collect();
    assert_eq!(steps, ["dedup", "outliers", "impute", "scale"]);
    assert!(changes.to_string().contains("\"x\": 1 cells clipped"), "{changes}");
}

#[test]
fn a_lazy_data_set_gives_the_same_rows_at_every_scan() {
    let data = recut(&table(), 2);
    let fitted = chain().fit_shared(&data).unwrap();
    let lazy = fitted.apply(&data, EventTime::from_secs(5)).unwrap();
    assert!(!lazy.is_held());
    let (whole, _) = clean(&chain(), &table());
    let held = Dataset::from_batches([whole.clone()]).unwrap();
    assert_eq!(lazy.digest().unwrap(), held.digest().unwrap());
    assert_eq!(lazy.digest().unwrap(), lazy.hold().unwrap().digest().unwrap());
    let request = ScanRequest::all().columns(["x_missing"]).limit(2).batch_rows(1);
    let some: Vec<_> = lazy.scan(&request).unwrap().map(|batch| batch.unwrap().num_rows()).collect();
    assert_eq!(some, [1, 1]);
    let provenance = lazy.provenance().unwrap();
    assert_eq!(provenance.parents, [data.digest().unwrap()]);
    assert_eq!((provenance.operation.as_str(), provenance.at), ("chain", EventTime::from_secs(5)));
    assert_eq!(provenance.parameters["state"], fitted.digest().unwrap().to_string());
    assert_eq!(provenance.parameters["settings"], chain().settings().unwrap());
    assert_eq!(provenance.parameters["settings"]["chain"][3]["scale"]["rules"][0]["method"]["min_max"]["high"], 1.0);
    assert_eq!(
        (provenance.code_version.as_str(), &provenance.parameters["format"]),
        (env!("CARGO_PKG_VERSION"), &1.into())
    );
    let restored: Arc<dyn FittedTransform> = restore(&fitted.state().unwrap()).unwrap().into();
    assert_eq!(restored.apply(&data, EventTime::from_secs(5)).unwrap().provenance(), Some(provenance));
    assert_eq!(lazy.schema().role("id").unwrap(), Role::Key);
    assert_eq!(lazy.info().unwrap().format, "cleaned");
}

#[test]
fn rows_and_report_come_from_one_scan() {
    let data = table();
    let fitted = chain().fit_shared(&data).unwrap();
    let sink = MemorySink::new("clean");
    let (written, changes) = fitted.write_to(&data, &sink).unwrap();
    assert_eq!((written.rows, changes.rows_out()), (5, 5));
    assert_eq!(changes, fitted.changes_of(&data).unwrap());
    let lazy = fitted.apply(&data, EventTime::EPOCH).unwrap();
    assert_eq!(sink.dataset().unwrap().digest().unwrap(), lazy.digest().unwrap());
}

#[test]
fn a_request_goes_through_the_stages_of_rows_only() {
    let data = table();
    let fitted = chain().fit_chain(&data).unwrap();
    let request =
        batch([("id", column(Int64Array::from(vec![1, 1]))), ("x", column(Float64Array::from(vec![None, Some(2.0)])))]);
    assert!(matches!(fitted.apply_batch(&request), Err(Error::Invalid { setting: "scope", .. })));
    let rows = fitted.rows_only();
    assert_eq!((rows.stages().len(), rows.scope()), (3, Scope::Row));
    let answer = rows.apply_batch(&request).unwrap();
    near(&floats(&answer, "x"), &[Some(1.0 / 626.3125), Some(0.5 / 626.3125)]);
    let restored = restore_rows(&fitted.state().unwrap()).unwrap();
    assert_eq!(restored.apply_batch(&request).unwrap(), answer);
    let nested = pack(KIND, &[fitted.state().unwrap()]).unwrap();
    assert_eq!(restore_rows(&nested).unwrap().apply_batch(&request).unwrap(), answer);
    let dedup = fitted.stages()[0].state().unwrap();
    assert!(restore_rows(&dedup).is_err());
}

#[test]
fn two_dedups_drain_one_after_another() {
    let last = |by: &str| Dedup::builder().keys(by).keep(Keep::Last).held_bytes_max(0).build().unwrap();
    let chain = Chain::builder().then(last("id")).then(last("x")).then(Select::builder().build().unwrap());
    let (treated, changes) = clean(&chain.build().unwrap(), &recut(&table(), 2));
    assert_eq!(treated["x"].as_primitive::<Float64Type>().len(), 5);
    assert_eq!(changes.steps.iter().map(|step| step.rows_out).collect::<Vec<_>>(), [5, 5, 5]);
}

#[test]
fn a_failing_stage_is_named() {
    let scale = Scale::builder().standard("nope").build().unwrap();
    let chain = Chain::builder().then(Select::builder().build().unwrap()).then(scale).build().unwrap();
    let error = chain.fit(&table()).unwrap_err();
    assert!(matches!(&error, Error::Stage { stage, .. } if stage == "stage 2 of the chain"), "{error}");
    assert!(error.to_string().contains("`nope`"), "{error}");
    assert!(Chain::builder().build().is_err());
    let many = (0..=STAGES_MAX).fold(Chain::builder(), |chain, _| chain.then(Select::builder().build().unwrap()));
    assert!(many.build().is_err());
}

#[test]
fn settings_are_told_and_what_was_learned_is_not() {
    let rows = data([("city", column(StringArray::from(vec!["Huế", "Vinh", "Huế"])))]);
    let encode = Encode::builder().column("city", Encoding::OneHot { drop_first: false }).build().unwrap();
    let fitted = encode.fit_shared(&rows).unwrap();
    let text =
        serde_json::to_string(fitted.provenance(&rows, EventTime::EPOCH).unwrap().parameters.as_object().unwrap());
    let text = text.unwrap();
    assert!(text.contains("one_hot") && !text.contains("Vinh"), "{text}");
    let told = encode.fit_provenance(&rows, EventTime::EPOCH).unwrap();
    assert_eq!(told.parameters["settings"], encode.settings().unwrap());
    let mut old = fitted.state().unwrap();
    old.settings = serde_json::Value::Null;
    let json = serde_json::to_string(&old).unwrap();
    assert!(!json.contains("settings\""), "{json}");
    let old: TransformState = serde_json::from_str(&json).unwrap();
    assert_eq!(restore(&old).unwrap().state().unwrap(), old, "states of before they had settings are read");
}

#[test]
fn a_recipe_is_the_chain_that_it_describes() {
    let text = r#"{"chain": [
        {"dedup": {"keys": {"columns": ["id"]}, "keep": "last"}},
        {"outliers": {"rules": [{"columns": "numbers", "fence": {"iqr": {"k": 1.5}}, "action": "clip"}]}},
        {"impute": {"rules": [{"columns": {"columns": ["x"]}, "strategy": "median"}], "indicator": true}},
        {"scale": {"rules": [{"columns": {"columns": ["x"]}, "method": {"min_max": {"low": 0, "high": 1}}}]}}]}"#;
    let recipe: Recipe = serde_json::from_str(text).unwrap();
    let back: Recipe = serde_json::from_str(&serde_json::to_string(&recipe).unwrap()).unwrap();
    assert_eq!(back, recipe);
    assert_eq!(recipe.settings().unwrap(), chain().settings().unwrap());
    let state = |transform: &dyn Transform| transform.fit(&table()).unwrap().state().unwrap();
    assert_eq!(state(&recipe), state(&chain()));
    assert!(Recipe::Chain(Vec::new()).fit(&table()).is_err());
}

/// Leaves everything as it is.
#[derive(Clone, Debug)]
struct Nothing;

impl Transform for Nothing {
    fn fit(&self, _data: &Dataset) -> Result<Box<dyn FittedTransform>> {
        Ok(Box::new(self.clone()))
    }

    fn settings(&self) -> Result<serde_json::Value> {
        Ok(serde_json::json!("nothing"))
    }
}

impl FittedTransform for Nothing {
    fn scope(&self) -> Scope {
        Scope::Row
    }

    fn output_schema(&self, input: &Schema) -> Result<Schema> {
        Ok(input.clone())
    }

    fn begin(&self, _input: &Schema) -> Result<Box<dyn Pass>> {
        Ok(Box::new(self.clone()))
    }

    fn state(&self) -> Result<TransformState> {
        pack("nothing", &serde_json::Value::Null)
    }
}

impl Pass for Nothing {
    fn apply(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        Ok(batch.clone())
    }

    fn drain(&mut self) -> Result<Option<RecordBatch>> {
        Ok(None)
    }

    fn changes(&self) -> Changes {
        Changes::default()
    }
}

#[test]
fn a_host_restores_its_own_kinds() {
    let chain = Chain::builder().then(Nothing).then(Scale::builder().max_abs("x").build().unwrap()).build().unwrap();
    let state = chain.fit(&table()).unwrap().state().unwrap();
    let error = restore(&state).unwrap_err().to_string();
    assert!(error.contains("unknown kind \"nothing\""), "{error}");
    let custom = |_: &TransformState| Ok(Box::new(Nothing) as Box<dyn FittedTransform>);
    assert_eq!(restore_with(&state, &custom).unwrap().state().unwrap(), state);
}

/// Rows that count how often they are read.
#[derive(Debug)]
struct Counting(Dataset, Arc<std::sync::atomic::AtomicU64>);

impl crate::source::DataSource for Counting {
    fn info(&self) -> Result<crate::source::SourceInfo> {
        self.0.info()
    }

    fn schema(&self) -> Result<crate::Schema> {
        Ok(self.0.schema().clone())
    }

    fn scan(&self, request: &ScanRequest) -> Result<crate::source::BatchStream> {
        self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.0.scan(request)
    }
}

#[test]
fn a_fit_reads_its_source_once_and_spilled_rows_teach_the_same() {
    let expected = chain().fit(&table()).unwrap().state().unwrap();
    for bytes in [u64::MAX, 0] {
        let reads = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let data = Dataset::from_source(Arc::new(Counting(recut(&table(), 2), reads.clone()))).unwrap();
        let chain = Chain { held_bytes_max: bytes, ..chain() };
        assert_eq!(chain.fit(&data).unwrap().state().unwrap(), expected);
        assert_eq!(reads.load(std::sync::atomic::Ordering::Relaxed), 1);
    }
}

#[test]
fn rows_of_a_fit_are_those_that_the_fitted_chain_gives() {
    let data = recut(&table(), 3);
    let (fitted, rows) = chain().fit_apply(&data).unwrap();
    let again = fitted.apply(&data, EventTime::from_secs(5)).unwrap();
    assert_eq!(rows.digest().unwrap(), again.digest().unwrap());
    assert!(rows.provenance().is_none());
    assert_eq!(Some(&fitted.provenance(&data, EventTime::from_secs(5)).unwrap()), again.provenance());
    assert_eq!(fitted.state().unwrap(), chain().fit(&data).unwrap().state().unwrap());
}
