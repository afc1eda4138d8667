//! Model bytes that are cut, hostile or newer, and models that do not fit the features of a service.

use std::sync::Arc;

use mlops_core::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use mlops_core::model::{Input, Model, Signature, ValueType};
use mlops_core::rank::{FixedCandidates, RankPipeline, Scorer, TopK};
use mlops_core::{Dataset, Error as Core, EventTime, Name};
use mlops_registry::Error;
use mlops_registry::flavor::{Flavors, ForestModel, LinearModel};
use mlops_registry::forest::Link;
use mlops_registry::gbdt::Objective;
use mlops_registry::serve::ServedModel;
use mlops_registry::train::{TrainData, Trained, Trainer};
use mlops_registry::version::PromotionRequest;

use crate::training::{World, gbdt, one, step_model};

fn input(name: &str) -> Input {
    Input { name: name.to_owned(), value_type: ValueType::Float, nullable: true }
}

fn linear(names: &[&str], output: &str) -> LinearModel {
    let inputs = names.iter().map(|name| input(name)).collect();
    let signature = Signature { inputs, output: output.to_owned(), output_type: ValueType::Float };
    LinearModel::new(signature, vec![0.5; names.len()], 1.25, Link::Logistic { slope: 1.0 }).unwrap()
}

/// The bytes of one model of each flavor.
fn models() -> [(&'static str, Vec<u8>); 2] {
    [
        (ForestModel::FLAVOR, step_model(50.0).model.to_bytes().unwrap()),
        (LinearModel::FLAVOR, linear(&["x", "y"], "score").to_bytes().unwrap()),
    ]
}

#[test]
fn model_bytes_that_are_cut_anywhere_are_refused() {
    for (flavor, bytes) in models() {
        Flavors::all().read(flavor, &bytes).unwrap();
        // Every cut of the beginning and the end, and a spread of those in between.
        let step = (bytes.len() / 2_000).max(1);
        for length in (0..bytes.len()).filter(|at| at % step == 0 || *at < 300 || bytes.len() - at < 300) {
            let error = Flavors::all().read(flavor, &bytes[..length]).unwrap_err();
            assert!(matches!(&error, Error::Core(Core::InvalidData { .. })), "{flavor} cut to {length}: {error:?}");
        }
    }
}

#[test]
fn flipped_model_bytes_never_panic_and_what_is_still_a_model_predicts() {
    for (flavor, bytes) in models() {
        let mut refused = 0;
        let step = (bytes.len() / 1_500).max(1);
        for at in (0..bytes.len()).step_by(step) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 7);
            match Flavors::all().read(flavor, &damaged) {
                Err(Error::Format { .. } | Error::Core(Core::InvalidData { .. })) => refused += 1,
                Err(other) => panic!("{flavor}, flip at {at}: {other:?}"),
                Ok(model) => drop(model.predict(&one("x", 1.0))),
            }
        }
        assert!(refused > 100, "{flavor}: {refused} refused");
    }
}

/// `text` with one piece of it replaced, which must be there.
fn with(text: &str, from: &str, to: &str) -> Vec<u8> {
    assert!(text.contains(from), "no {from} in {text}");
    text.replacen(from, to, 1).into_bytes()
}

#[test]
fn hostile_numbers_in_models_are_refused_in_bounded_memory() {
    let linear = String::from_utf8(linear(&["x"], "score").to_bytes().unwrap()).unwrap();
    let forest = r#"{"format":1,"signature":{"inputs":[{"name":"x","value_type":"float","nullable":true}],"output":"score","output_type":"float"},
        "forest":{"format":1,"link":"identity","base_score":0.0,"features":["x"],"trees":[{"feature":[0],"threshold":[1.0],
        "default_left":[true],"left":[-1],"right":[-2],"gain":[0.0],"leaf_value":[1.0,2.0],"leaf_cover":[1.0,1.0]}]}}"#;
    Flavors::all().read("forest", forest.as_bytes()).unwrap();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("linear", with(&linear, "[0.5]", "[0.5,0.5]")),
        ("linear", with(&linear, "[0.5]", "[1e999]")),
        ("linear", with(&linear, "[0.5]", "[null]")),
        ("linear", with(&linear, "[0.5]", &deep)),
        ("linear", with(&linear, "\"slope\":1.0", "\"slope\":0.0")),
        ("linear", with(&linear, "\"slope\":1.0", "\"slope\":-1.0")),
        ("linear", with(&linear, "{\"format\"", "{\"loader\":\"os.system\",\"format\"")),
        ("forest", with(forest, "\"feature\":[0]", "\"feature\":[4294967295]")),
        ("forest", with(forest, "\"feature\":[0]", "\"feature\":[99999999999]")),
        ("forest", with(forest, "\"left\":[-1]", "\"left\":[0]")),
        ("forest", with(forest, "\"left\":[-1]", "\"left\":[2147483647]")),
        ("forest", with(forest, "\"left\":[-1]", "\"left\":[-2147483648]")),
        ("forest", with(forest, "\"right\":[-2]", "\"right\":[-1]")),
        ("forest", with(forest, "[1.0,2.0]", "[1.0]")),
        ("forest", with(forest, "[1.0,2.0]", "[1.0,1e308]")),
        ("forest", with(forest, "\"base_score\":0.0", "\"base_score\":1e300")),
        ("forest", with(forest, "\"features\":[\"x\"]", "\"features\":[\"y\"]")),
        ("forest", with(forest, "\"trees\":[", &format!("\"trees\":[{deep},"))),
    ];
    for (flavor, bytes) in cases {
        let error = Flavors::all().read(flavor, &bytes).unwrap_err();
        let shown: String = String::from_utf8_lossy(&bytes).chars().take(400).collect();
        assert!(matches!(&error, Error::Core(Core::InvalidData { .. })), "{shown}: {error:?}");
        assert!(error.to_string().len() < 1_000, "a message stays short");
    }
}

#[test]
fn a_model_of_a_newer_format_is_told_from_damage() {
    for (flavor, bytes) in models() {
        let text = String::from_utf8(bytes).unwrap();
        let newer = with(&text, "{\"format\":1,", "{\"format\":2,\"new_field\":{},");
        let error = Flavors::all().read(flavor, &newer).unwrap_err();
        assert!(matches!(&error, Error::Format { found: 2, known: 1, .. }), "{flavor}: {error:?}");
    }
}

fn trained(column: &str, objective: Objective) -> Trained {
    let float = |values: Vec<f64>| Arc::new(Float64Array::from(values)) as ArrayRef;
    let x: Vec<f64> = (0..200).map(f64::from).collect();
    let y = x.iter().map(|x| f64::from(*x > 9.0)).collect();
    let rows = RecordBatch::try_from_iter([(column, float(x)), ("y", float(y))]).unwrap();
    let data =
        TrainData::builder(Dataset::from_batches([rows]).unwrap()).features([column]).label("y").build().unwrap();
    gbdt(objective).train(&data, &mut |_| std::ops::ControlFlow::Continue(())).unwrap()
}

fn served(world: &World, number: u32) -> Arc<ServedModel> {
    let loaded = world.registry.load(&world.model, number).unwrap();
    Arc::new(ServedModel::new(Name::new("click").unwrap(), loaded))
}

/// Builds a pipeline whose candidates have these columns beside their key.
fn pipeline(served: Arc<dyn Scorer>, columns: Vec<(&str, ArrayRef)>) -> mlops_core::Result<RankPipeline> {
    let key = ("id", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef);
    let rows = RecordBatch::try_from_iter([key].into_iter().chain(columns)).unwrap();
    let source = FixedCandidates::new("offers", rows).unwrap();
    let builder = RankPipeline::builder("main").source(Arc::new(source), 10).scorer(served, 1.0);
    builder.selector(Arc::new(TopK::new("top").unwrap())).build()
}

#[test]
fn a_pipeline_whose_features_do_not_match_the_model_is_not_built() {
    let world = World::new();
    let served = served(&world, world.register(&step_model(50.0), 0.9));
    let floats = || Arc::new(Float64Array::from(vec![1.0, 2.0])) as ArrayRef;
    pipeline(served.clone(), vec![("x", floats())]).unwrap();
    let text = Arc::new(StringArray::from(vec!["a", "b"])) as ArrayRef;
    for columns in [vec![("z", floats())], vec![("x", text)], vec![]] {
        let error = pipeline(served.clone(), columns).unwrap_err();
        let Core::Stage { stage, source } = &error else { panic!("{error:?}") };
        assert_eq!(stage, "click", "the scorer is named");
        assert!(matches!(source.downcast_ref(), Some(Core::Schema { column, .. }) if column == "x"), "{error:?}");
    }
}

fn request(world: &World, candidate: u32) -> PromotionRequest {
    PromotionRequest {
        model: world.model.clone(),
        alias: world.alias.clone(),
        candidate,
        gate: world.gate.clone(),
        evidence: None,
        by: "test".to_owned(),
        at: EventTime::EPOCH,
    }
}

#[test]
fn a_promotion_to_a_model_that_the_service_cannot_feed_moves_neither_alias_nor_model() {
    let world = World::new();
    let first = world.register(&step_model(50.0), 0.9);
    assert!(world.promote(first).unwrap().promoted());
    let served = served(&world, first);
    let other_input = world.register(&trained("other", Objective::Binary), 0.95);
    let other_output = world.register(&trained("x", Objective::Regression), 0.95);
    for (number, column) in [(other_input, "other"), (other_output, "output of the model")] {
        let error = served.promote(&world.registry, &request(&world, number)).unwrap_err();
        assert!(matches!(&error, Error::Core(Core::Schema { column: named, .. }) if named == column), "{error:?}");
        assert_eq!(served.current().version.number, first);
        assert_eq!(world.registry.versions().alias(&world.model, &world.alias).unwrap(), Some(first));
    }
    let better = world.register(&step_model(60.0), 0.95);
    assert!(served.promote(&world.registry, &request(&world, better)).unwrap().promoted());
    assert_eq!(served.current().version.number, better);
    assert_eq!(world.registry.versions().alias(&world.model, &world.alias).unwrap(), Some(better));
    // A gate that refuses leaves both, too.
    let worse = world.register(&step_model(70.0), 0.1);
    assert!(!served.promote(&world.registry, &request(&world, worse)).unwrap().promoted());
    assert_eq!(served.current().version.number, better);
}

#[test]
fn a_service_that_was_swapped_to_fewer_inputs_can_go_back() {
    let world = World::new();
    let register = |model: LinearModel| {
        let trained = Trained { model: Box::new(model), metrics: [].into(), importance: vec![] };
        world.register(&trained, 0.9)
    };
    let (both, one) = (register(linear(&["x", "y"], "score")), register(linear(&["x"], "score")));
    let served = served(&world, both);
    served.swap(world.registry.load(&world.model, one).unwrap()).unwrap();
    served.swap(world.registry.load(&world.model, both).unwrap()).unwrap();
    assert_eq!(served.current().version.number, both);
}
