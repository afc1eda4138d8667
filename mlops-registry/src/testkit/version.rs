//! Kit of [`ModelRegistry`].

use mlops_core::model::{Input, Signature, ValueType};
use mlops_core::{Digest, EventTime, Name};

use crate::artifact::Sha256;
use crate::version::{AliasMove, ModelRegistry, NewVersion};

/// Checks the contract of [`ModelRegistry`] on fresh registries made by `make`.
///
/// # Panics
/// When the contract does not hold.
pub fn model_registry<S: ModelRegistry>(make: impl Fn() -> S) {
    numbers_versions_without_gaps(&make());
    registers_the_same_thing_once(&make());
    moves_an_alias_by_compare_and_set(&make());
    never_points_nowhere(&make());
    lets_one_of_many_movers_win(&make());
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a plain name")
}

fn new_version(model: &str, content: &str) -> NewVersion {
    let input = Input { name: "x".to_owned(), value_type: ValueType::Float, nullable: true };
    NewVersion {
        model: name(model),
        manifest: Sha256::of(content.as_bytes()),
        flavor: "forest".to_owned(),
        signature: Signature { inputs: vec![input], output: "score".to_owned(), output_type: ValueType::Float },
        run: None,
        trained_on: vec![Digest::of("rows")],
        metrics: [("auc".to_owned(), 0.75)].into(),
        tags: [("stage".to_owned(), "test".to_owned())].into(),
        by: "kit".to_owned(),
        at: EventTime::from_secs(1),
    }
}

fn change(expected: Option<u32>, to: u32) -> AliasMove {
    let why = serde_json::json!({"reason": "kit"});
    AliasMove {
        model: name("m"),
        alias: name("production"),
        expected,
        to,
        by: "kit".to_owned(),
        why,
        at: EventTime::from_secs(2),
    }
}

fn numbers_versions_without_gaps(store: &dyn ModelRegistry) {
    let numbers = std::thread::scope(|scope| {
        let add = |content: String| store.add(&new_version("m", &content)).expect("a version is added").number;
        let writers: Vec<_> =
            (0..4).map(|w| scope.spawn(move || (0..5).map(|i| add(format!("{w}/{i}"))).collect::<Vec<_>>())).collect();
        writers.into_iter().flat_map(|w| w.join().expect("no writer fails")).collect::<Vec<u32>>()
    });
    let mut sorted = numbers;
    sorted.sort_unstable();
    assert_eq!(sorted, (1..=20).collect::<Vec<_>>(), "writers at once get 1 to 20");
    let kept = store.version(&name("m"), 20).expect("a version is found");
    assert_eq!(kept.number, 20);
    assert_eq!(store.versions(&name("m")).expect("versions").len(), 20);
    assert!(store.versions(&name("unknown")).expect("versions").is_empty());
    assert!(store.version(&name("m"), 21).is_err(), "an unknown version is not found");
    assert_eq!(store.models().expect("models"), [name("m")]);
}

fn registers_the_same_thing_once(store: &dyn ModelRegistry) {
    let first = store.add(&new_version("m", "a")).expect("a version is added");
    assert_eq!(first.made, new_version("m", "a"), "everything that was said is kept");
    let again = store.add(&new_version("m", "a")).expect("the same manifest and run again");
    assert_eq!(again, first, "a retry does not make a second version");
    assert_eq!(store.add(&new_version("other", "a")).expect("another model").number, 1);
}

fn moves_an_alias_by_compare_and_set(store: &dyn ModelRegistry) {
    for content in ["a", "b", "c"] {
        store.add(&new_version("m", content)).expect("a version is added");
    }
    let (model, alias) = (name("m"), name("production"));
    assert_eq!(store.alias(&model, &alias).expect("alias"), None);
    store.move_alias(&change(None, 1)).expect("the first move");
    store.move_alias(&change(Some(1), 2)).expect("a move from where it points");
    let error = store.move_alias(&change(Some(1), 3)).expect_err("a move from where it no longer points");
    assert!(matches!(error, crate::Error::Core(mlops_core::Error::Conflict { .. })), "{error}");
    assert_eq!(store.alias(&model, &alias).expect("alias"), Some(2), "a refused move changes nothing");
    let history = store.history(&model, &alias).expect("history");
    assert_eq!(history, [change(None, 1), change(Some(1), 2)], "every move and no refusal is remembered");
}

fn never_points_nowhere(store: &dyn ModelRegistry) {
    assert!(store.move_alias(&change(None, 1)).is_err(), "an alias does not point to a version that is not there");
    assert_eq!(store.alias(&name("m"), &name("production")).expect("alias"), None);
    assert!(store.history(&name("m"), &name("production")).expect("history").is_empty());
}

fn lets_one_of_many_movers_win(store: &dyn ModelRegistry) {
    for content in ["a", "b", "c", "d"] {
        store.add(&new_version("m", content)).expect("a version is added");
    }
    let won = std::thread::scope(|scope| {
        let movers: Vec<_> =
            (1..=4).map(|to| scope.spawn(move || store.move_alias(&change(None, to)).is_ok())).collect();
        movers.into_iter().map(|m| m.join().expect("no mover panics")).filter(|won| *won).count()
    });
    assert_eq!(won, 1, "of movers with one expectation one wins");
    assert_eq!(store.history(&name("m"), &name("production")).expect("history").len(), 1);
}
