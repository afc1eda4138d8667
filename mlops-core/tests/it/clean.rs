//! Every transform passes the kit of transforms, and cleaning runs as steps of a pipeline.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mlops_core::arrow::array::{
    ArrayRef, BooleanArray, DictionaryArray, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use mlops_core::arrow::datatypes::Int32Type;
use mlops_core::clean::{
    Action, Bin, Bins, Cast, CastTo, Chain, Change, Changes, Clean, Correlation, DatePart, Dates, DatesBuilder, Dedup,
    Distribution, Encode, Encoding, Fence, FillForward, Impute, IsolationForest, Keep, Method, Nan, NearDedup, Nearest,
    Neighbours, Outliers, Pick, Prune, Recipe, Scale, Select, Shingles, Smooth, Stays, Strategy, Text, TextPart,
    Transform, TransformState, Unknown, Unreadable, restore,
};
use mlops_core::pipeline::{Artifact, Given, Inputs, Pipeline, RunOptions, Step, StepContext};
use mlops_core::schema::{Role, Sensitivity};
use mlops_core::{Dataset, Error, Name, testkit};

/// A fixed sequence that looks random (SplitMix64).
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// All kinds of columns, with gaps, NaN, infinities and repeated rows.
fn table(rows: u64) -> Dataset {
    let each = || (0..rows).map(|row| mix(row % (rows * 3 / 4 + 1)));
    let spend = |r: u64| match r % 11 {
        0 => None,
        1 => Some(f64::NAN),
        2 => Some(f64::INFINITY),
        3 => Some((r % 10_000_000) as f64),
        _ => Some((r % 1000) as f64 / 7.0),
    };
    let plans = ["basic", "plus", "gold"];
    let plan = |r: u64| (!r.is_multiple_of(5)).then(|| plans[(r % 3) as usize]);
    let columns: [(&str, ArrayRef, bool); 8] = [
        ("id", Arc::new(each().map(|r| (r % 40) as i64).collect::<Int64Array>()), true),
        ("at", Arc::new(each().map(|r| Some((r >> 40) as i64)).collect::<TimestampMicrosecondArray>()), true),
        ("age", Arc::new(each().map(|r| (r % 9 != 0).then_some((r % 80) as i32)).collect::<Int32Array>()), true),
        ("spend", Arc::new(each().map(spend).collect::<Float64Array>()), true),
        ("small", Arc::new(each().map(|r| Some((r % 100) as f32 / 3.0)).collect::<Float32Array>()), true),
        ("plan", Arc::new(each().map(plan).collect::<DictionaryArray<Int32Type>>()), true),
        (
            "note",
            Arc::new(each().map(|r| (r % 4 != 0).then(|| format!("note {}", r % 6))).collect::<StringArray>()),
            true,
        ),
        ("active", Arc::new(each().map(|r| (r % 6 != 0).then_some(r % 2 == 0)).collect::<BooleanArray>()), true),
    ];
    let rows = Dataset::from_batches([RecordBatch::try_from_iter_with_nullable(columns).unwrap()]).unwrap();
    let schema = rows.schema().with_role("id", Role::Key).and_then(|s| s.with_role("spend", Role::Feature));
    let schema = schema.and_then(|s| s.with_sensitivity("note", Sensitivity::Personal)).unwrap();
    rows.with_schema(schema.with_unit("spend", "VND").unwrap()).unwrap()
}

fn kit<T: Transform>(make: impl Fn() -> T) {
    testkit::transform(make, restore, &table(150));
}

fn impute() -> Impute {
    Impute::builder()
        .fill(Pick::Numbers, Strategy::Mean)
        .fill("spend", Strategy::Median)
        .fill(["plan", "active"], Strategy::MostFrequent)
        .fill("note", Strategy::constant("none"))
        .indicator(true)
        .build()
        .unwrap()
}

fn outliers(action: Action) -> Outliers {
    Outliers::builder()
        .fence("spend", Fence::iqr(), action)
        .fence("age", Fence::Quantiles { low: 0.05, high: 0.95 }, action)
        .fence("small", Fence::modified_z_score(), action)
        .build()
        .unwrap()
}

fn scale() -> Scale {
    Scale::builder()
        .standard("age")
        .robust("spend")
        .method("small", Method::MinMax { low: -1.0, high: 1.0 })
        .build()
        .unwrap()
}

#[test]
fn impute_keeps_the_contract() {
    kit(impute);
    kit(|| Impute::builder().fill("spend", Strategy::Mean).nan(Nan::Value).build().unwrap());
}

#[test]
fn nearest_keeps_the_contract() {
    kit(|| Nearest::builder(["age", "spend", "small"]).neighbours(3).indicator(true).build().unwrap());
    kit(|| Nearest::builder(Role::Feature).donors_max(20).weights(Neighbours::Distance).build().unwrap());
}

/// The rows of `table`, one second apart.
fn ordered() -> Dataset {
    let rows = table(150);
    let at: TimestampMicrosecondArray = (0..150).map(|second| Some(second * 1_000_000)).collect();
    let batch = rows.to_batch().unwrap();
    let mut columns = batch.columns().to_vec();
    columns[1] = Arc::new(at);
    let batch = RecordBatch::try_new(batch.schema(), columns).unwrap();
    let rows = Dataset::from_batches([batch]).unwrap();
    rows.with_schema(rows.schema().with_role("at", Role::EventTime).unwrap()).unwrap()
}

#[test]
fn fill_forward_keeps_the_contract() {
    let fill = || FillForward::builder(["age", "small", "plan", "active"]).indicator(true).build().unwrap();
    testkit::transform(fill, restore, &ordered());
    let rows = || Chain::builder().then(FillForward::builder("age").by("plan").build().unwrap()).build().unwrap();
    testkit::transform(rows, restore, &ordered());
}

#[test]
fn outliers_keep_the_contract() {
    for action in [Action::Clip, Action::Null, Action::Flag, Action::DropRow] {
        kit(|| outliers(action));
    }
    kit(|| Outliers::builder().fence(Pick::Numbers, Fence::z_score(), Action::Clip).build().unwrap());
}

#[test]
fn isolation_forest_keeps_the_contract() {
    kit(|| IsolationForest::builder(["age", "spend"]).trees(10).rows(32).score(true).build().unwrap());
    kit(|| {
        let forest = IsolationForest::builder(Pick::Numbers).trees(5).contamination(0.1).action(Action::DropRow);
        forest.build().unwrap()
    });
}

#[test]
fn near_dedup_keeps_the_contract() {
    kit(|| NearDedup::builder(["note", "plan"]).shingles(Shingles::Chars(3)).threshold(0.6).build().unwrap());
    kit(|| NearDedup::builder("note").flag(true).build().unwrap());
}

#[test]
fn prune_keeps_the_contract() {
    let prune = || Prune::builder().label("active").duplicates(true).relevance_min(0.001).leakage_min(0.9);
    kit(|| prune().correlated(Correlation::Spearman, 0.9).stays(Stays::Relevant).drop_leaking(true).build().unwrap());
    kit(|| Prune::builder().correlated(Correlation::Pearson, 0.0).build().unwrap());
}

#[test]
fn dedup_keeps_the_contract() {
    kit(|| Dedup::builder().build().unwrap());
    kit(|| Dedup::builder().keys("id").build().unwrap());
    kit(|| Dedup::builder().keys(["id", "plan"]).keep(Keep::Last).held_bytes_max(0).build().unwrap());
    kit(|| Dedup::builder().keys("id").keep(Keep::Greatest("at".to_owned())).build().unwrap());
}

#[test]
fn select_keeps_the_contract() {
    kit(|| Select::builder().drop(Pick::Sensitivity(Sensitivity::Personal)).build().unwrap());
    kit(|| Select::builder().drop_constant(true).missing_max(0.1).first(["plan"]).rename("id", "key").build().unwrap());
}

#[test]
fn scale_keeps_the_contract() {
    kit(scale);
    kit(|| Scale::builder().max_abs(Role::Feature).build().unwrap());
}

#[test]
fn curved_scales_keep_the_contract() {
    let normal = Method::Quantile { quantiles: 20, output: Distribution::Normal };
    kit(|| Scale::builder().power("age").quantile("spend").method("small", normal).build().unwrap());
}

#[test]
fn encode_keeps_the_contract() {
    let encode = |unknown| {
        let encode = Encode::builder().label("active").unknown(unknown);
        let encode = encode.column("plan", Encoding::OneHot { drop_first: false });
        let encode = encode.column("id", Encoding::Target { smooth: Smooth::Auto });
        encode.column("age", Encoding::Ordinal).column("note", Encoding::Hash { columns: 4 })
    };
    kit(|| encode(Unknown::Missing).build().unwrap());
    kit(|| encode(Unknown::Other).rows_min(3).categories_max(20).null_category(true).build().unwrap());
    kit(|| {
        let evidence = Encoding::WeightOfEvidence { regularization: 1.0 };
        let encode = Encode::builder().label("active").column("plan", evidence).column("id", Encoding::Frequency);
        encode.build().unwrap()
    });
}

#[test]
fn bin_keeps_the_contract() {
    kit(|| {
        let bin = Bin::builder().column("age", Bins::Width(4)).column("spend", Bins::Quantile(5)).label("id");
        bin.column("small", Bins::Supervised(4)).build().unwrap()
    });
}

#[test]
fn dates_keep_the_contract() {
    let parts = [DatePart::Year, DatePart::HourCycle, DatePart::IsWeekend, DatePart::DaysSince];
    kit(|| parts.into_iter().fold(Dates::builder("at"), DatesBuilder::part).offset_minutes(420).build().unwrap());
}

#[test]
fn texts_keep_the_contract() {
    kit(|| Text::builder("note").part(TextPart::Chars).part(TextPart::Bag { columns: 3 }).build().unwrap());
    kit(|| {
        let text = Text::builder("plan").part(TextPart::TfIdf { words_max: 2 }).part(TextPart::Words);
        text.keep_source(true).build().unwrap()
    });
}

#[test]
fn cast_keeps_the_contract() {
    kit(|| {
        let cast = Cast::builder().column(["age", "small"], CastTo::Float).column("at", CastTo::Int);
        let cast = cast.column(["plan", "active"], CastTo::Text).column("spend", CastTo::Int);
        cast.unreadable(Unreadable::Null).build().unwrap()
    });
}

#[test]
fn chains_keep_the_contract() {
    kit(|| Chain::builder().then(outliers(Action::Null)).then(impute()).then(scale()).build().unwrap());
    kit(|| {
        let dedup = Dedup::builder().keys("id").keep(Keep::Last).build().unwrap();
        Chain::builder().then(dedup).then(outliers(Action::DropRow)).then(impute()).build().unwrap()
    });
    kit(|| Recipe::Chain(vec![impute().into(), Recipe::Chain(vec![scale().into()])]));
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

#[test]
fn cleaning_keeps_the_contract_of_steps() {
    let inputs = Inputs::new([(name("rows"), table(150).into())]);
    testkit::repeatable_step(|| Clean::fit(name("fit"), impute(), name("rows")).unwrap(), &inputs);
    let state = impute().fit(&table(150)).unwrap().state().unwrap();
    let state = Artifact::Json(serde_json::to_value(state).unwrap());
    let inputs = Inputs::new([(name("rows"), table(150).into()), (name("fit"), state)]);
    testkit::repeatable_step(|| Clean::apply(name("clean"), name("fit"), name("rows")), &inputs);
    testkit::repeatable_step(|| Clean::report(name("report"), name("fit"), name("rows")), &inputs);
}

#[test]
fn what_was_learned_on_one_table_is_applied_to_another() {
    let dir = tempfile::tempdir().unwrap();
    let pipeline = || {
        let fit = Clean::fit(name("fit"), impute(), name("train")).unwrap();
        let clean = Clean::apply(name("clean"), name("fit"), name("test"));
        let report = Clean::report(name("report"), name("fit"), name("test"));
        Pipeline::builder("clean")
            .step(Given::new("train", table(150)).unwrap(), &[])
            .step(Given::new("test", table(60)).unwrap(), &[])
            .step(fit, &["train"])
            .step(clean, &["fit", "test"])
            .step(report, &["fit", "test"])
            .build()
            .unwrap()
    };
    let run = pipeline().run(dir.path(), &RunOptions::default()).unwrap().ok().unwrap();
    let state: TransformState =
        serde_json::from_value(run.artifact("fit").unwrap().as_json().unwrap().clone()).unwrap();
    assert_eq!(state, impute().fit(&table(150)).unwrap().state().unwrap());
    let report = run.artifact("report").unwrap().as_json().unwrap().clone();
    let changes: Changes = serde_json::from_value(report).unwrap();
    assert_eq!((changes.rows_in(), changes.rows_out()), (60, 60));
    assert!(changes.cells("spend", Change::Imputed) > 0);
    let artifact = run.artifact("clean").unwrap();
    let clean = artifact.as_dataset().unwrap();
    assert_eq!(clean.schema().unit("spend").unwrap(), Some("VND"));
    let made = &clean.provenance().unwrap().parameters["made"];
    assert_eq!(
        (&made["operation"], &made["parameters"]["settings"]),
        (&"impute".into(), &impute().settings().unwrap())
    );
    assert_eq!(clean.to_batch().unwrap()["spend"].null_count(), 0);
}

#[test]
fn a_run_that_is_to_stop_stops_and_a_foreign_input_is_named() {
    let state = impute().fit(&table(20)).unwrap().state().unwrap();
    let state = Artifact::Json(serde_json::to_value(state).unwrap());
    let inputs = Inputs::new([(name("rows"), table(20).into()), (name("fit"), state)]);
    let stopping = StepContext { cancelled: Arc::new(|| true), ..StepContext::default() };
    let report = Clean::report(name("report"), name("fit"), name("rows"));
    let stopped = report.run(&inputs, &stopping);
    assert!(matches!(stopped, Err(Error::Cancelled { .. })));
    // The host changes its mind once the fit has begun.
    let asked = AtomicU64::new(0);
    let later = StepContext {
        cancelled: Arc::new(move || asked.fetch_add(1, Ordering::Relaxed) > 0),
        ..StepContext::default()
    };
    let stopped = Clean::fit(name("fit"), impute(), name("rows")).unwrap().run(&inputs, &later);
    assert!(matches!(stopped, Err(Error::Cancelled { .. })), "{stopped:?}");
    // Or when the rows rest between two stages: the input alone is looked at two times.
    let asked = AtomicU64::new(0);
    let later = StepContext {
        cancelled: Arc::new(move || asked.fetch_add(1, Ordering::Relaxed) > 5),
        ..StepContext::default()
    };
    let scale = Scale::builder().standard("spend").build().unwrap();
    let chain = Chain::builder().then(impute()).then(scale).build().unwrap();
    let stopped = Clean::fit(name("fit"), chain, name("rows")).unwrap().run(&inputs, &later);
    assert!(matches!(&stopped, Err(Error::Cancelled { stage }) if stage == "fit"), "{stopped:?}");
    let foreign = Inputs::new([(name("rows"), table(20).into()), (name("fit"), serde_json::json!([1]).into())]);
    let refused = report.run(&foreign, &StepContext::default()).unwrap_err();
    assert!(matches!(&refused, Error::InvalidData { what, .. } if what.contains("`fit`")), "{refused}");
}

#[test]
fn training_rows_are_encoded_without_their_own_label_as_a_step() {
    let dir = tempfile::tempdir().unwrap();
    let rows = RecordBatch::try_from_iter([
        ("city", Arc::new(StringArray::from(vec!["hue", "hue", "hue", "hue"])) as ArrayRef),
        ("churned", Arc::new(Int64Array::from(vec![1, 0, 1, 1]))),
    ]);
    let rows = Dataset::from_batches([rows.unwrap()]).unwrap();
    let encode = || {
        let encode = Encode::builder().column("city", Encoding::Target { smooth: Smooth::Rows(0.0) });
        encode.label("churned").build().unwrap()
    };
    let step = Clean::out_of_fold(name("train"), encode(), 2, name("rows")).unwrap();
    assert_eq!(step.inputs(), ["rows"]);
    let pipeline = Pipeline::builder("p").step(Given::new("rows", rows).unwrap(), &[]).step(step, &["rows"]);
    let run = pipeline.build().unwrap().run(dir.path(), &RunOptions::default()).unwrap().ok().unwrap();
    let train = run.artifact("train").unwrap();
    let train = train.as_dataset().unwrap();
    // Rows 0 and 2 see the labels of rows 1 and 3, and the other way round.
    let expected = Float64Array::from(vec![0.5, 1.0, 0.5, 1.0]);
    assert_eq!(train.to_batch().unwrap()["city"].as_ref(), &expected as &dyn mlops_core::arrow::array::Array);
    let made = &train.provenance().unwrap().parameters["made"];
    assert_eq!((&made["operation"], &made["parameters"]["folds"]), (&"out_of_fold".into(), &2.into()));
    assert!(matches!(
        Clean::out_of_fold(name("train"), encode(), 1, name("rows")),
        Err(Error::Invalid { setting: "folds", .. })
    ));
}
