//! Lineage events: what a pipeline and a catalog tell, judged by the official schemas.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use mlops_core::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use mlops_core::catalog::openlineage::{
    CallbackSink, ColumnLineage, DataQualityAssertions, Dataset as Told, DatasetEvent, Event, EventSink, EventType,
    FileSink, InputDataset, InputMetrics, InputStatistics, Lifecycle, LifecycleStateChange, Origin, Recorder, RunId,
    TransformationType, assertions, tell_catalog, tell_entry,
};
use mlops_core::catalog::{Catalog, CatalogExt, Entry, MemoryCatalog, Readers, Revision};
use mlops_core::clean::{Chain, FittedTransform, FittedTransformExt, Impute, Strategy, Transform};
use mlops_core::dataset::Provenance;
use mlops_core::pipeline::{Artifact, FnStep, Pipeline, Retry, RunOptions};
use mlops_core::privacy::{Action, Detector, Policy};
use mlops_core::profile::{ProfileOptions, Profiler};
use mlops_core::schema::{Role, Sensitivity};
use mlops_core::source::SourceInfo;
use mlops_core::validate::{RowCount, Suite};
use mlops_core::{Clock, Dataset, Digest, Error, EventTime, ManualClock, Name, Result, Schema};
use proptest::prelude::*;
use serde_json::{Value, json};

/// The official schemas, or none where the shared data is not at hand.
fn schemas() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let shared = std::env::var_os("MLOPS_SHARED_DIR").map_or_else(beside, PathBuf::from);
    let found = shared.join("schemas/openlineage");
    if found.is_dir() {
        return Some(found);
    }
    eprintln!("SKIPPED: {} is not there; set MLOPS_SHARED_DIR to judge events by the schemas", found.display());
    None
}

/// The schemas of events and of facets, the latter by the name of their file.
struct Judge {
    event: jsonschema::Validator,
    facets: BTreeMap<String, (String, jsonschema::Validator)>,
}

impl Judge {
    fn new(folder: &Path) -> Self {
        let read = |path: &Path| -> Value { serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap() };
        let core = read(&folder.join("OpenLineage.json"));
        let mut files: Vec<PathBuf> =
            fs::read_dir(folder.join("facets")).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        let all: Vec<(PathBuf, Value)> = files.into_iter().map(|path| (path.clone(), read(&path))).collect();
        let mut registry = jsonschema::Registry::new().add(core["$id"].as_str().unwrap(), &core).unwrap();
        for (_, schema) in &all {
            registry = registry.add(schema["$id"].as_str().unwrap(), schema).unwrap();
        }
        let registry = registry.prepare().unwrap();
        let options = || {
            jsonschema::options()
                .with_draft(jsonschema::Draft::Draft202012)
                .with_registry(&registry)
                .should_validate_formats(true)
        };
        let facet = |(path, schema): &(PathBuf, Value)| {
            let file = path.file_name().unwrap().to_str().unwrap().to_owned();
            (file, (schema["$id"].as_str().unwrap().to_owned(), options().build(schema).unwrap()))
        };
        Self { event: options().build(&core).unwrap(), facets: all.iter().map(facet).collect() }
    }

    /// What is wrong with `event`.
    fn faults(&self, event: &Value) -> Vec<String> {
        let mut faults: Vec<String> = self.event.iter_errors(event).map(|error| error.to_string()).collect();
        let mut holders = vec![&event["run"]["facets"], &event["job"]["facets"], &event["dataset"]["facets"]];
        for dataset in ["inputs", "outputs"].iter().flat_map(|side| event[side].as_array().into_iter().flatten()) {
            holders.extend([&dataset["facets"], &dataset["inputFacets"], &dataset["outputFacets"]]);
        }
        for (name, facet) in holders.into_iter().filter_map(Value::as_object).flatten() {
            let url = facet["_schemaURL"].as_str().unwrap();
            let (id, fragment) = url.split_once('#').unwrap();
            let (official, validator) = &self.facets[id.rsplit('/').next().unwrap()];
            if id != official || !fragment.starts_with("/$defs/") {
                faults.push(format!("{name}: {url} is not {official}"));
            }
            faults.extend(validator.iter_errors(&json!({name: facet})).map(|error| format!("{name}: {error}")));
        }
        faults
    }
}

/// Checks events against the schemas, and the order of events of each run.
#[track_caller]
fn judge(events: &[Event]) {
    let values: Vec<Value> = events.iter().map(|event| serde_json::to_value(event).unwrap()).collect();
    for (event, value) in events.iter().zip(&values) {
        assert_eq!(serde_json::from_value::<Event>(value.clone()).unwrap(), *event, "events survive their text");
    }
    in_order(events);
    let Some(folder) = schemas() else { return };
    let judge = Judge::new(&folder);
    for value in &values {
        assert_eq!(judge.faults(value), [""; 0], "{value:#}");
    }
}

/// Checks the order of the events of each run.
#[track_caller]
fn in_order(events: &[Event]) {
    let mut runs: BTreeMap<RunId, Vec<(EventType, EventTime, &str)>> = BTreeMap::new();
    for event in events {
        if let Event::Run(event) = event {
            let told = (event.event_type, event.event_time, event.job.name.as_str());
            runs.entry(event.run.run_id).or_default().push(told);
        }
    }
    for told in runs.values() {
        assert_eq!(told[0].0, EventType::Start, "a run starts: {told:?}");
        assert_eq!(told.iter().filter(|one| one.0 == EventType::Start).count(), 1, "a run starts once: {told:?}");
        assert_eq!(told.iter().filter(|one| one.0.is_last()).count(), 1, "a run ends once: {told:?}");
        assert!(told.iter().all(|one| one.2 == told[0].2) && told.is_sorted_by_key(|one| one.1), "{told:?}");
    }
}

fn origin() -> Origin {
    let origin = Origin::builder("shop").producer("https://git.example/shop/v1");
    origin.source_code("git", "https://git.example/shop", "v1").build().unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A sink that keeps what it was told.
fn keeping() -> (Arc<dyn EventSink>, Arc<Mutex<Vec<Event>>>) {
    let told: Arc<Mutex<Vec<Event>>> = Arc::default();
    let keep = told.clone();
    let sink = CallbackSink::new(move |event: &Event| {
        keep.lock().unwrap().push(event.clone());
        Ok(())
    });
    (Arc::new(sink), told)
}

/// A clock that goes back by a second at every look.
#[derive(Debug)]
struct Backwards(ManualClock);

impl Clock for Backwards {
    fn now(&self) -> EventTime {
        let now = self.0.now();
        self.0.set(now.minus(std::time::Duration::from_secs(1)));
        now
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(Backwards(ManualClock::at(EventTime::from_secs(1_704_067_200))))
}

/// Job and type of each event.
fn told_types(events: &[Event]) -> Vec<(String, EventType)> {
    let told = events.iter().filter_map(|event| match event {
        Event::Run(event) => Some((event.job.name.clone(), event.event_type)),
        _ => None,
    });
    told.collect()
}

fn expected(types: &[(&str, EventType)]) -> Vec<(String, EventType)> {
    types.iter().map(|(job, event_type)| ((*job).to_owned(), *event_type)).collect()
}

fn customers() -> Dataset {
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef, false),
        ("phone", Arc::new(StringArray::from(vec![Some("0912345678"), None, Some("0987654321")])), true),
        ("age", Arc::new(Float64Array::from(vec![Some(20.0), None, Some(40.0)])), true),
    ])
    .unwrap();
    let schema = Schema::new(batch.schema())
        .and_then(|schema| schema.with_role("id", Role::Key))
        .and_then(|schema| schema.with_sensitivity("phone", Sensitivity::Personal))
        .and_then(|schema| schema.with_unit("age", "years"));
    Dataset::held(schema.unwrap(), [batch]).unwrap()
}

/// `load` → `count`, and `load` → `broken`, which fails at every try.
fn pipeline(broken: bool) -> Pipeline {
    let load = FnStep::new("load", "v1", |_, _| Ok(Artifact::from(customers()))).unwrap();
    let count = FnStep::new("count", "v1", |inputs, _| Ok(json!(inputs.get("load")?.as_dataset()?.num_rows()?).into()));
    let fails = move |_: &mlops_core::pipeline::Inputs, _: &mlops_core::pipeline::StepContext| {
        if broken { Err(Error::external("warehouse", "gone")) } else { Ok(json!(1).into()) }
    };
    let broken = FnStep::new("broken", "v1", fails).unwrap();
    let steps = Pipeline::builder("daily").step(load, &[]).step(count.unwrap(), &["load"]);
    steps.step(broken, &["load"]).build().unwrap()
}

fn options(recorder: &Recorder) -> RunOptions {
    let retry = Retry::new(2, std::time::Duration::from_millis(1), std::time::Duration::from_millis(1)).unwrap();
    RunOptions::default().retry(retry).sleeper(|_| {}).on_event(recorder.listener())
}

#[test]
fn a_run_tells_of_every_step_once_and_of_its_own_end() {
    use EventType::{Complete, Start};
    let (sink, told) = keeping();
    let mut warehouse = Told::named(&origin(), "warehouse");
    warehouse.name = "crm.customers".to_owned();
    let ids = Mutex::new(0_u8);
    let next = move |at| {
        *ids.lock().unwrap() += 1;
        RunId::v7(at, [*ids.lock().unwrap(); 10])
    };
    let recorder = Recorder::builder(origin(), sink, clock())
        .run_ids(next)
        .nominal_time(EventTime::EPOCH, Some(EventTime::from_secs(86_400)))
        .reads("load", warehouse)
        .writes("count", Told::named(&origin(), "customers.count"))
        .start(&pipeline(false))
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let run = pipeline(false).run(folder.path(), &options(&recorder)).unwrap();
    recorder.finish(run.report()).unwrap();
    let events = std::mem::take(&mut *told.lock().unwrap());
    judge(&events);
    let types = [
        ("daily", Start),
        ("daily.load", Start),
        ("daily.load", Complete),
        ("daily.count", Start),
        ("daily.count", Complete),
        ("daily.broken", Start),
        ("daily.broken", Complete),
        ("daily", Complete),
    ];
    assert_eq!(told_types(&events), expected(&types));
    let value = |index: usize| serde_json::to_value(&events[index]).unwrap();
    let loaded = run.report().step("load").unwrap().output.clone().unwrap();
    assert_eq!(value(2)["inputs"][0]["name"], "crm.customers");
    assert_eq!(value(2)["outputs"][0]["facets"]["version"]["datasetVersion"], loaded.digest.to_string());
    assert_eq!(value(3)["inputs"][0]["name"], "daily.load");
    assert_eq!(value(3)["run"]["facets"]["parent"]["run"]["runId"], value(0)["run"]["runId"]);
    assert_eq!(value(3)["run"]["facets"]["nominalTime"]["nominalEndTime"], "1970-01-02T00:00:00.000000Z");
    assert_eq!(value(7)["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"], 3);
    let counted = run.report().step("count").unwrap().output.clone().unwrap();
    assert_eq!(value(4)["outputs"][0]["name"], "customers.count");
    assert_eq!(value(7)["outputs"][1]["facets"]["version"]["datasetVersion"], counted.content.to_string());
    assert_eq!(value(7)["outputs"][0]["outputFacets"]["outputStatistics"]["size"], loaded.bytes);

    // What is there already does not run: nothing is told of it but the run.
    let (sink, told) = keeping();
    let recorder = Recorder::builder(origin(), sink, clock()).start(&pipeline(false)).unwrap();
    let run = pipeline(false).run(folder.path(), &options(&recorder)).unwrap();
    recorder.finish(run.report()).unwrap();
    let events = std::mem::take(&mut *told.lock().unwrap());
    judge(&events);
    assert_eq!(told_types(&events), expected(&[("daily", Start), ("daily", Complete)]));
}

#[test]
fn a_step_that_fails_tells_why_and_so_does_its_run() {
    use EventType::{Complete, Fail, Running, Start};
    let (sink, told) = keeping();
    let recorder = Recorder::builder(origin(), sink, clock()).start(&pipeline(true)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let run = pipeline(true).run(folder.path(), &options(&recorder)).unwrap();
    recorder.finish(run.report()).unwrap();
    let events = std::mem::take(&mut *told.lock().unwrap());
    judge(&events);
    let types = [
        ("daily", Start),
        ("daily.load", Start),
        ("daily.load", Complete),
        ("daily.count", Start),
        ("daily.count", Complete),
        ("daily.broken", Start),
        ("daily.broken", Running),
        ("daily.broken", Fail),
        ("daily", Fail),
    ];
    assert_eq!(told_types(&events), expected(&types));
    let message = |index: usize| serde_json::to_value(&events[index]).unwrap()["run"]["facets"]["errorMessage"].clone();
    assert_eq!(message(6)["message"], "warehouse: gone");
    assert_eq!(message(8)["message"], "broken: warehouse: gone");
    assert_eq!(message(8)["programmingLanguage"], "Rust");
}

#[test]
fn runs_that_are_stopped_dropped_or_refused_end_once_too() {
    use EventType::{Abort, Fail, Start};
    let (sink, told) = keeping();
    let recorder =
        |sink: &Arc<dyn EventSink>| Recorder::builder(origin(), sink.clone(), clock()).start(&pipeline(false)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let stopped = recorder(&sink);
    let run = pipeline(false).run(folder.path(), &options(&stopped).cancelled(|| true)).unwrap();
    stopped.finish(run.report()).unwrap();

    let dropped = recorder(&sink);
    let listener = dropped.listener();
    listener(&mlops_core::pipeline::RunEvent::Started { step: name("load"), attempt: 1 });
    drop(dropped);
    listener(&mlops_core::pipeline::RunEvent::Started { step: name("count"), attempt: 1 });

    let refused = recorder(&sink);
    fs::write(folder.path().join("file"), "").unwrap();
    let error = pipeline(false).run(folder.path().join("file/below"), &options(&refused)).unwrap_err();
    refused.fail(&error).unwrap();

    let events = std::mem::take(&mut *told.lock().unwrap());
    judge(&events);
    let types = [
        ("daily", Start),
        ("daily", Abort),
        ("daily", Start),
        ("daily.load", Start),
        ("daily.load", Abort),
        ("daily", Abort),
        ("daily", Start),
        ("daily", Fail),
    ];
    assert_eq!(told_types(&events), expected(&types));
}

proptest! {
    #[test]
    fn every_run_starts_once_and_ends_once_whatever_its_pipeline_says(
        events in proptest::collection::vec((0_usize..3, 0_u8..7), 0..40),
        dropped in any::<bool>(),
    ) {
        use mlops_core::pipeline::{RunEvent as Said, RunReport, Skip};
        let (sink, told) = keeping();
        let recorder = Recorder::builder(origin(), sink, clock()).start(&pipeline(false)).unwrap();
        let listener = recorder.listener();
        let (digest, took_us) = (Digest::of("a"), 1);
        for (step, what) in events {
            let step = name(["load", "count", "broken"][step]);
            let error = if what == 4 { format!("cancelled in {step}") } else { "gone".to_owned() };
            listener(&match what {
                0 => Said::Started { step, attempt: 1 },
                1 => Said::Retrying { step, attempt: 1, wait_us: 1, error },
                2 => Said::Finished { step, digest, took_us },
                3 | 4 => Said::Failed { step, error },
                5 => Said::Cached { step, digest },
                _ => Said::Skipped { step, because: Skip::Cancelled },
            });
        }
        if dropped {
            drop(recorder);
        } else {
            let (pipeline, started) = (name("daily"), EventTime::EPOCH);
            recorder.finish(&RunReport { pipeline, started, took_us, steps: Vec::new() }).unwrap();
        }
        in_order(&std::mem::take(&mut *told.lock().unwrap()));
    }
}

#[test]
fn a_sink_that_fails_does_not_disturb_the_run_and_is_told_at_its_end() {
    let sink = Arc::new(CallbackSink::new(|_: &Event| Err(Error::external("lineage server", "gone"))));
    let recorder = Recorder::builder(origin(), sink, clock()).start(&pipeline(false)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let run = pipeline(false).run(folder.path(), &options(&recorder)).unwrap();
    assert!(run.report().succeeded());
    let refused = recorder.finish(run.report());
    assert!(matches!(refused, Err(Error::External { system: "lineage server", .. })), "{refused:?}");
    let (sink, _) = keeping();
    let unknown = Recorder::builder(origin(), sink, clock()).reads("no", Told::named(&origin(), "x"));
    assert!(matches!(unknown.start(&pipeline(false)), Err(Error::NotFound { kind: "step", .. })));
}

#[test]
fn what_a_catalog_remembers_is_told_by_its_content_and_again_the_same() {
    let catalog = MemoryCatalog::new();
    let at = EventTime::from_secs(1_704_067_200);
    let mut profiler = Profiler::new(&customers().to_batch().unwrap().schema(), &ProfileOptions::default()).unwrap();
    profiler.update(&customers().to_batch().unwrap()).unwrap();
    let raw = Entry::of(name("raw"), "crm", &customers(), at).unwrap();
    let raw = raw.with_profile(&profiler.finish(), at).unwrap().with_description("one row per customer, \u{1f4de}");
    let raw = raw.with_source(SourceInfo::new("csv", "/kho/dữ liệu/a b%?#.csv"));
    catalog.register(&raw).unwrap();
    let provenance = Provenance {
        parents: vec![raw.digest, Digest::of("never registered")],
        operation: name("dedup"),
        parameters: json!({"keys": ["id"], "keep": {"greatest": "at"}, "held": 3, "api_key": "x"}),
        code_version: "1.4.0".to_owned(),
        at,
    };
    let two = customers().to_batch().unwrap().slice(0, 2);
    let two = Dataset::held(customers().schema().clone(), [two]).unwrap().with_provenance(provenance);
    let made = Entry::of(name("clean"), "crm", &two, at).unwrap();
    let made = made.with_source(SourceInfo::new("parquet", "s3://user:pass@bucket/a/b.parquet"));
    let events = tell_entry(&catalog, &made, &origin()).unwrap();
    assert_eq!(events, tell_entry(&catalog, &made, &origin()).unwrap());
    let mut all = events.clone();
    all.extend(tell_entry(&catalog, &raw, &origin()).unwrap());
    judge(&all);
    catalog.register(&made).unwrap();
    let (sink, told) = keeping();
    assert_eq!(tell_catalog(&catalog, &origin(), sink.as_ref()).unwrap(), 3);
    assert_eq!(told.lock().unwrap()[..2], events, "`clean` comes before `raw`");

    let end = serde_json::to_value(&events[1]).unwrap();
    assert_eq!(end["eventType"], "COMPLETE");
    let told = |key: &str, value: &str| json!({"key": key, "value": value});
    let parameters = [
        told("api_key", "[redacted]"),
        told("held", "3"),
        told("keep.greatest", "at"),
        told("keys", "[\"id\"]"),
        told("code_version", "1.4.0"),
    ];
    assert_eq!(end["run"]["facets"]["executionParameters"]["parameters"], json!(parameters));
    assert_eq!(end["inputs"][0]["name"], "raw");
    assert_eq!(end["inputs"][1]["name"], Digest::of("never registered").to_string());
    assert_eq!(end["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"], 2);
    let facets = &end["outputs"][0]["facets"];
    assert_eq!(facets["dataSource"]["uri"], "s3://user:%5Bredacted%5D@bucket/a/b.parquet");
    assert_eq!(facets["storage"]["storageLayer"], "s3");
    assert_eq!(facets["schema"]["fields"][0]["description"], "key");
    assert_eq!(facets["schema"]["fields"][1]["description"], "personal");
    assert_eq!(facets["schema"]["fields"][2]["description"], "in years");
    let facets = &end["inputs"][0]["facets"];
    assert_eq!(facets["dataSource"]["uri"], "file:///kho/d%E1%BB%AF%20li%E1%BB%87u/a%20b%25%3F%23.csv");
    let age = &facets["dataQualityMetrics"]["columnMetrics"]["age"];
    assert_eq!(
        (&age["nullCount"], &age["count"], &age["min"], &age["max"]),
        (&json!(1), &json!(2), &json!(20.0), &json!(40.0))
    );
    assert_eq!(facets["dataQualityMetrics"]["columnMetrics"]["phone"]["min"], Value::Null);
}

#[test]
fn a_stranger_is_told_name_and_owner_only() {
    let catalog = MemoryCatalog::new();
    let entry = Entry::of(name("salaries"), "hr", &customers(), EventTime::EPOCH).unwrap();
    catalog.register(&entry.with_readers(Readers::only(["hr"]))).unwrap();
    let seen = catalog.look_as(&name("salaries"), "mina").unwrap();
    let event = DatasetEvent::new(&origin(), EventTime::EPOCH, Told::seen(&origin(), &seen)).into();
    judge(std::slice::from_ref(&event));
    let value = serde_json::to_value(&event).unwrap();
    assert_eq!(value["dataset"]["facets"].as_object().unwrap().keys().collect::<Vec<_>>(), ["ownership"]);
}

/// Data sets with every facet that nothing tells by itself.
#[test]
fn every_facet_fits_its_schema() {
    let mut dataset = Told::named(&origin(), "customers");
    let lifecycle = LifecycleStateChange { lifecycle_state_change: Lifecycle::Overwrite };
    dataset.facets.lifecycle_state_change = Some(origin().facet(lifecycle));
    let lineage = ColumnLineage::by_name(&dataset, customers().schema(), customers().schema());
    dataset.facets.column_lineage = Some(origin().facet(lineage));
    let suite = Suite::new().rule("rows", RowCount::at_least(10)).unwrap();
    let report = suite.run(&customers()).unwrap();
    let mut input = InputDataset::from(dataset.clone());
    input.input_facets.data_quality_assertions = Some(origin().facet(assertions(&report)));
    input.input_facets.input_statistics = Some(origin().facet(InputStatistics { row_count: Some(3), size: None }));
    input.input_facets.data_quality_metrics = Some(origin().facet(InputMetrics::default()));
    let found: &DataQualityAssertions = &input.input_facets.data_quality_assertions.as_ref().unwrap().body;
    assert_eq!((found.assertions[0].success, found.assertions[0].severity.as_deref()), (false, Some("error")));

    let (sink, told) = keeping();
    drop(Recorder::builder(origin(), sink, clock()).start(&pipeline(false)).unwrap());
    let mut events = std::mem::take(&mut *told.lock().unwrap());
    for event in &mut events {
        if let Event::Run(event) = event {
            event.inputs.push(input.clone());
            event.outputs.push(dataset.clone().into());
        }
    }
    judge(&events);
}

#[test]
fn what_does_not_fit_the_schemas_is_noticed_by_our_judge() {
    let Some(folder) = schemas() else { return };
    let judge = Judge::new(&folder);
    let good = serde_json::to_value(Event::from(DatasetEvent::new(
        &origin(),
        EventTime::EPOCH,
        Told::seen(&origin(), &mlops_core::catalog::Seen::Sealed { name: name("a"), owner: "b".to_owned() }),
    )))
    .unwrap();
    assert_eq!(judge.faults(&good), [""; 0]);
    let mut spoilt = good.clone();
    spoilt["eventTime"] = json!("yesterday");
    assert!(!judge.faults(&spoilt).is_empty());
    let mut spoilt = good.clone();
    spoilt["dataset"]["facets"]["ownership"]["owners"] = json!([{"type": "OWNER"}]);
    assert!(!judge.faults(&spoilt).is_empty());
    let mut spoilt = good;
    spoilt["dataset"]["facets"]["ownership"]["_schemaURL"] =
        json!("https://openlineage.io/spec/facets/0-9-9/OwnershipDatasetFacet.json#/$defs/OwnershipDatasetFacet");
    assert!(!judge.faults(&spoilt).is_empty());
}

#[test]
fn columns_are_followed_through_cleaning() {
    let data = customers();
    let input = Told::named(&origin(), "raw");
    let impute = Impute::builder().fill("age", Strategy::Median).indicator(true).build().unwrap();
    let rename =
        serde_json::from_value(json!({"select": {"rename": {"age": "age_years"}, "drop": [{"columns": ["phone"]}]}}));
    let rename: mlops_core::clean::Recipe = rename.unwrap_or_else(|error| panic!("{error}"));
    let chain = Chain::builder().then(impute).then(rename).build().unwrap();
    let fitted: Arc<dyn FittedTransform> = chain.fit(&data).unwrap().into();
    let changes = fitted.changes_of(&data).unwrap();
    let to = fitted.output_schema(data.schema()).unwrap();
    let lineage = ColumnLineage::cleaned(&input, data.schema(), &to, &changes);
    assert_eq!(lineage.fields.keys().collect::<Vec<_>>(), ["age_missing", "age_years", "id"]);
    let done = |column: &str| {
        let field = &lineage.fields[column].input_fields[0];
        (field.field.as_str(), field.transformations.iter().map(|t| t.description.as_str()).collect::<Vec<_>>())
    };
    assert_eq!(done("id"), ("id", vec![""]));
    assert_eq!(lineage.fields["id"].input_fields[0].transformations[0].subtype, "IDENTITY");
    assert_eq!(done("age_years"), ("age", vec!["impute: imputed"]));
    assert_eq!(done("age_missing").0, "age");
    assert!(lineage.dataset.is_empty());
}

#[test]
fn columns_that_had_rows_dropped_are_told_as_filters() {
    let mut step = mlops_core::clean::StepChanges::new("outliers");
    step.count("age", mlops_core::clean::Change::RowDropped, 2);
    let changes = mlops_core::clean::Changes { steps: vec![step] };
    let input = Told::named(&origin(), "raw");
    let lineage = ColumnLineage::cleaned(&input, customers().schema(), customers().schema(), &changes);
    let filter = &lineage.dataset[0];
    assert_eq!((filter.field.as_str(), filter.transformations[0].subtype.as_str()), ("age", "FILTER"));
    assert_eq!(filter.transformations[0].kind, TransformationType::Indirect);
    assert_eq!(lineage.fields["age"].input_fields[0].transformations[0].subtype, "IDENTITY");
}

#[test]
fn masked_columns_say_so() {
    let data = customers();
    let detector = Detector::builder().today(2026).build().unwrap();
    let policy = Policy::builder().column("phone", Action::Mask { keep_last: 2 }).column("age", Action::Keep);
    let plan = policy.build().unwrap().plan(&detector, &data.to_batch().unwrap()).unwrap();
    let input = Told::named(&origin(), "raw");
    let lineage = ColumnLineage::masked(&input, data.schema(), data.schema(), &plan);
    let done = |column: &str| lineage.fields[column].input_fields[0].transformations[0].clone();
    assert_eq!((done("phone").masking, done("phone").description.as_str()), (true, "mask"));
    assert_eq!((done("age").masking, done("age").subtype.as_str()), (false, "IDENTITY"));
    let mut dataset = Told::named(&origin(), "masked");
    dataset.facets.column_lineage = Some(origin().facet(lineage));
    judge(&[DatasetEvent::new(&origin(), EventTime::EPOCH, dataset).into()]);
}

#[test]
fn a_file_holds_whole_lines_whatever_was_cut_off_and_by_however_many_writers() {
    let folder = tempfile::tempdir().unwrap();
    let sink = FileSink::new(folder.path().join("lineage.jsonl"));
    let event: Event = DatasetEvent::new(&origin(), EventTime::EPOCH, Told::named(&origin(), "a")).into();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..5).for_each(|_| sink.emit(&event).unwrap()));
        }
    });
    let whole = fs::read(sink.path()).unwrap();
    let line = whole.len() / 20;
    for cut in [1, 5, line / 2, line - 1] {
        fs::write(sink.path(), &whole[..line + cut]).unwrap();
        sink.emit(&event).unwrap();
        assert_eq!(fs::read(sink.path()).unwrap(), whole[..2 * line], "cut at {cut}");
    }
    let lines = fs::read_to_string(sink.path()).unwrap();
    assert!(lines.lines().all(|line| serde_json::from_str::<Event>(line).unwrap() == event));

    for other in ["thesis without end", "thesis\n", "{\"eventTime\": 1}\nthesis"] {
        fs::write(sink.path(), other).unwrap();
        assert!(matches!(sink.emit(&event), Err(Error::InvalidData { .. })), "{other}");
        assert_eq!(fs::read_to_string(sink.path()).unwrap(), other);
    }
    let nowhere = FileSink::new(folder.path().join("no/such/folder"));
    assert!(matches!(nowhere.emit(&event), Err(Error::Io { .. })));
}

#[test]
fn times_that_the_wire_cannot_hold_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let sink = FileSink::new(folder.path().join("lineage.jsonl"));
    for time in
        [EventTime::MIN, EventTime::MAX, EventTime::from_secs(253_402_300_800), EventTime::from_secs(-62_167_219_201)]
    {
        let event: Event = DatasetEvent::new(&origin(), time, Told::named(&origin(), "a")).into();
        let error = sink.emit(&event).unwrap_err();
        assert!(matches!(&error, Error::InvalidData { what, .. } if what == "lineage event"), "{error}");
    }
    assert!(!sink.path().exists());
    for time in [EventTime::from_secs(253_402_300_799), EventTime::from_secs(-62_167_219_200)] {
        judge(&[DatasetEvent::new(&origin(), time, Told::named(&origin(), "a")).into()]);
    }
}

/// Somebody's catalog that fails.
#[test]
fn a_catalog_that_fails_is_no_missing_parent() {
    #[derive(Debug)]
    struct Broken;
    impl Catalog for Broken {
        fn put(&self, _: &Entry, _: Revision) -> Result<Revision> {
            Err(Error::external("catalog", "gone"))
        }
        fn get(&self, _: &Name) -> Result<(Entry, Revision)> {
            Err(Error::external("catalog", "gone"))
        }
        fn history(&self, _: &Name) -> Result<Vec<Entry>> {
            Err(Error::external("catalog", "gone"))
        }
        fn list(&self) -> Result<Vec<Name>> {
            Err(Error::external("catalog", "gone"))
        }
        fn by_digest(&self, _: &Digest) -> Result<Entry> {
            Err(Error::external("catalog", "gone"))
        }
    }
    let made = Provenance::of(&[&customers()], name("x"), EventTime::EPOCH).unwrap();
    let entry = Entry::of(name("a"), "b", &customers().with_provenance(made), EventTime::EPOCH).unwrap();
    assert!(matches!(tell_entry(&Broken, &entry, &origin()), Err(Error::External { .. })));
}
