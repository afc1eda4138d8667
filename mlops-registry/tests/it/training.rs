//! The kit on every trainer, and the way from training to a served version.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

#[cfg(feature = "linfa")]
use mlops_core::arrow::array::Array;
use mlops_core::arrow::array::{ArrayRef, Float64Array, RecordBatch};
use mlops_core::{Dataset, EventTime, Name};
use mlops_registry::SqliteStore;
use mlops_registry::artifact::{ArtifactStore, ArtifactStoreExt, MemoryArtifacts};
use mlops_registry::flavor::Flavors;
use mlops_registry::gbdt::{GbdtParams, Objective};
use mlops_registry::serve::ServedModel;
use mlops_registry::testkit::{Faults, FlakyTrainer, trainer};
use mlops_registry::train::{GbdtTrainer, TrainData, Trained, Trainer};
use mlops_registry::version::{Evidence, Gate, NewModel, Promotion, PromotionRequest, Registry, Rule};

pub(crate) fn gbdt(objective: Objective) -> GbdtTrainer {
    GbdtTrainer::new(GbdtParams::builder(objective).rounds(20).build().unwrap())
}

#[test]
fn boosted_trees_keep_the_contract() {
    trainer(|| gbdt(Objective::Binary), None);
    trainer(|| gbdt(Objective::Regression), None);
    trainer(|| gbdt(Objective::LambdaRank), Some("query"));
    trainer(|| FlakyTrainer::new(gbdt(Objective::Binary), Faults::default()), None);
}

#[cfg(feature = "linfa")]
#[test]
fn the_linfa_trainers_keep_the_contract() {
    use mlops_registry::train::linfa::{DecisionTreeTrainer, ElasticNetTrainer, LogisticTrainer};
    trainer(|| LogisticTrainer::builder().build().unwrap(), None);
    trainer(|| ElasticNetTrainer::builder().penalty(0.01).build().unwrap(), None);
    trainer(|| DecisionTreeTrainer::builder().build().unwrap(), None);
}

#[cfg(feature = "linfa")]
#[test]
fn logistic_speaks_of_label_one_in_either_majority() {
    use mlops_registry::train::linfa::LogisticTrainer;
    for cut in [0.2, 0.8] {
        let x: Vec<f64> = (0..500).map(|i| f64::from(i) / 500.0).collect();
        let y = x.iter().map(|x| f64::from(*x > cut)).collect();
        let trained = train(&LogisticTrainer::builder().build().unwrap(), x, y);
        let at = |x| score(&trained, x);
        assert!(at(0.99) > 0.5 && at(0.01) < 0.5, "cut {cut}: {} {}", at(0.99), at(0.01));
    }
}

fn train(trainer: &dyn Trainer, x: Vec<f64>, y: Vec<f64>) -> Trained {
    let column = |values| Arc::new(Float64Array::from(values)) as ArrayRef;
    let rows = RecordBatch::try_from_iter([("x", column(x)), ("y", column(y))]).unwrap();
    let rows = Dataset::from_batches([rows]).unwrap();
    let data = TrainData::builder(rows).features(["x"]).label("y").build().unwrap();
    trainer.train(&data, &mut |_| ControlFlow::Continue(())).unwrap()
}

pub(crate) fn one(name: &str, x: f64) -> RecordBatch {
    RecordBatch::try_from_iter([(name, Arc::new(Float64Array::from(vec![x])) as ArrayRef)]).unwrap()
}

#[cfg(feature = "linfa")]
fn score(trained: &Trained, x: f64) -> f64 {
    let scores = trained.model.predict(&one("x", x)).unwrap();
    scores.as_any().downcast_ref::<Float64Array>().unwrap().value(0)
}

pub(crate) fn step_model(cut: f64) -> Trained {
    let x: Vec<f64> = (0..200).map(f64::from).collect();
    let y = x.iter().map(|x| f64::from(*x > cut)).collect();
    train(&gbdt(Objective::Binary), x, y)
}

pub(crate) struct World {
    pub(crate) registry: Registry,
    pub(crate) artifacts: Arc<MemoryArtifacts>,
    pub(crate) model: Name,
    pub(crate) alias: Name,
    pub(crate) gate: Gate,
}

impl World {
    pub(crate) fn new() -> Self {
        let store = SqliteStore::open(tempfile::tempdir().unwrap().keep().join("registry.db")).unwrap();
        let artifacts = Arc::new(MemoryArtifacts::new());
        Self {
            registry: Registry::new(Arc::new(store), artifacts.clone(), Flavors::all()),
            artifacts,
            model: Name::new("offers").unwrap(),
            alias: Name::new("production").unwrap(),
            gate: Gate::new().demand("quality", Rule::NotLower { metric: "auc".into(), tolerance: 0.0 }).unwrap(),
        }
    }

    pub(crate) fn register(&self, trained: &Trained, auc: f64) -> u32 {
        let new = NewModel {
            name: self.model.clone(),
            model: trained.model.as_ref(),
            run: None,
            trained_on: vec![],
            metrics: [("auc".to_owned(), auc)].into(),
            files: BTreeMap::new(),
            tags: BTreeMap::new(),
            by: "test".into(),
            at: EventTime::EPOCH,
        };
        self.registry.register(new).unwrap().number
    }

    pub(crate) fn promote(&self, number: u32) -> mlops_registry::Result<Promotion> {
        self.promote_by(number, None)
    }

    fn promote_by(&self, candidate: u32, evidence: Option<Evidence>) -> mlops_registry::Result<Promotion> {
        let (model, alias, gate) = (self.model.clone(), self.alias.clone(), self.gate.clone());
        let request =
            PromotionRequest { model, alias, candidate, gate, evidence, by: "test".into(), at: EventTime::EPOCH };
        self.registry.promote(&request)
    }
}

#[test]
fn a_worse_version_is_refused_and_the_better_one_serves_on() {
    let world = World::new();
    let (good, bad) = (world.register(&step_model(50.0), 0.9), world.register(&step_model(60.0), 0.8));
    assert!(world.promote(good).unwrap().promoted());
    assert!(matches!(world.promote(bad).unwrap(), Promotion::Refused { stays: Some(1), refused: 2, .. }));
    assert!(world.promote(good).unwrap().promoted(), "promoting what serves already changes nothing");
    let loaded = world.registry.load_alias(&world.model, &world.alias).unwrap();
    assert_eq!(loaded.version.number, good);
    assert_eq!(world.registry.versions().history(&world.model, &world.alias).unwrap().len(), 1);
}

#[test]
fn fresh_evidence_counts_for_more_than_what_was_true_at_registration() {
    let world = World::new();
    let (old, new) = (world.register(&step_model(50.0), 0.9), world.register(&step_model(60.0), 0.8));
    assert!(world.promote(old).unwrap().promoted());
    let auc = |value: f64| BTreeMap::from([("auc".to_owned(), value)]);
    let evidence = Evidence { candidate: auc(0.8), champion: Some(auc(0.6)) };
    assert!(world.promote_by(new, Some(evidence)).unwrap().promoted(), "the champion has fallen below the candidate");
}

#[test]
fn a_version_with_a_missing_artifact_is_never_promoted() {
    let world = World::new();
    let number = world.register(&step_model(50.0), 0.9);
    let version = world.registry.versions().version(&world.model, number).unwrap();
    let manifest = world.artifacts.manifest(&version.made.manifest).unwrap();
    world.artifacts.remove(&manifest.entry("model").unwrap().digest).unwrap();
    assert!(world.promote(number).is_err());
    assert_eq!(world.registry.versions().alias(&world.model, &world.alias).unwrap(), None);
}

#[test]
fn a_model_whose_signature_does_not_match_the_features_is_named() {
    let error = step_model(50.0).model.predict(&one("z", 1.0)).unwrap_err().to_string();
    assert!(error.contains("`x`"), "{error}");
}

#[test]
fn a_swap_to_a_model_with_unknown_inputs_is_refused_and_the_old_one_stays() {
    let world = World::new();
    let first = world.register(&step_model(50.0), 0.9);
    let served = ServedModel::new(Name::new("click").unwrap(), world.registry.load(&world.model, first).unwrap());
    let column = |values: Vec<f64>| Arc::new(Float64Array::from(values)) as ArrayRef;
    let x: Vec<f64> = (0..200).map(f64::from).collect();
    let y = x.iter().map(|x| f64::from(*x > 9.0)).collect();
    let rows = RecordBatch::try_from_iter([("other", column(x)), ("y", column(y))]).unwrap();
    let data =
        TrainData::builder(Dataset::from_batches([rows]).unwrap()).features(["other"]).label("y").build().unwrap();
    let other = gbdt(Objective::Binary).train(&data, &mut |_| ControlFlow::Continue(())).unwrap();
    let second = world.register(&other, 0.95);
    let error = served.swap(world.registry.load(&world.model, second).unwrap()).unwrap_err().to_string();
    assert!(error.contains("`other`"), "{error}");
    assert_eq!(served.current().version.number, first);
    let third = world.register(&step_model(70.0), 0.95);
    let before = served.swap(world.registry.load(&world.model, third).unwrap()).unwrap();
    assert_eq!((before.version.number, served.current().version.number), (first, third));
}
