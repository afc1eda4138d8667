//! The contracts of [`Transform`] and [`FittedTransform`].

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;

use super::cuts::{cuts, names_a_column, schema, singles, whole, without};
use crate::clean::{Changes, Effects, FittedTransform, Scope, Transform, TransformState};
use crate::{Dataset, Result};

/// Checks the contracts of [`Transform`] and of what it fits: on transforms made by `make`, all with the same settings,
/// fitted on `data` (a small table), and read back from their states by `restore`.
///
/// # Panics
/// With the sentence that does not hold.
pub fn transform<T: Transform>(
    make: impl Fn() -> T,
    restore: impl Fn(&TransformState) -> Result<Box<dyn FittedTransform>>,
    data: &Dataset,
) {
    let before = data.digest().expect("the data of a kit can be read");
    let settings = || make().settings().expect("settings have a JSON form");
    assert_eq!(settings(), settings(), "transforms of the same settings say so");
    let fitted = make().fit(data).expect("the transform fits the data of the kit");
    assert_eq!(data.digest().expect("still readable"), before, "fitting does not change the data");
    fits_are_equal_whatever_the_batches(&make(), fitted.as_ref(), data);
    a_study_is_the_fit_and_says_what_it_touches(&make, fitted.as_ref(), data);
    every_pass_keeps_to_its_schema(fitted.as_ref(), data);
    passes_do_not_depend_on_cuts(fitted.as_ref(), data);
    if fitted.scope() == Scope::Row {
        a_row_alone_is_treated_like_in_a_table(fitted.as_ref(), data);
    }
    assert_eq!(state(fitted.as_ref()).settings, settings(), "the state of what was fitted tells the settings");
    a_state_restores_the_same_transform(fitted.as_ref(), &restore, data);
    a_foreign_state_is_refused(fitted.as_ref(), &restore);
    a_missing_column_is_named(&make(), fitted.as_ref(), data);
}

/// One pass over `batches`, put together again.
fn pass(fitted: &dyn FittedTransform, batches: &[RecordBatch]) -> RecordBatch {
    pass_and_changes(fitted, batches).0
}

fn pass_and_changes(fitted: &dyn FittedTransform, batches: &[RecordBatch]) -> (RecordBatch, Changes) {
    let input = schema(&batches[0]);
    let output = fitted.output_schema(&input).expect("the data that it was fitted on have an output schema");
    let mut pass = fitted.begin(&input).expect("a pass begins on the data that it was fitted on");
    let mut treated = Vec::with_capacity(batches.len());
    for batch in batches {
        treated.push(pass.apply(batch).expect("a batch of the schema is treated"));
    }
    let applied = treated.len();
    while let Some(batch) = pass.drain().expect("what was held back can be handed on") {
        treated.push(batch);
    }
    for batch in &treated {
        assert_eq!(batch.schema_ref(), output.arrow(), "every batch has exactly the output schema");
    }
    if fitted.scope() == Scope::Row {
        assert_eq!(treated.len(), applied, "what treats single rows holds nothing back");
    }
    let treated = concat_batches(output.arrow(), &treated).expect("batches of one schema concatenate");
    let changes = pass.changes();
    let rows_in: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let counted = (changes.rows_in(), changes.rows_out());
    assert_eq!(
        counted,
        (rows_in as u64, treated.num_rows() as u64),
        "changes count the rows that came in and went out"
    );
    (treated, changes)
}

fn state(fitted: &dyn FittedTransform) -> TransformState {
    fitted.state().expect("a fitted transform has a state")
}

fn fits_are_equal_whatever_the_batches(made: &dyn Transform, fitted: &dyn FittedTransform, data: &Dataset) {
    let expected = state(fitted);
    let again = made.fit(data).expect("it fits twice");
    assert_eq!(state(again.as_ref()), expected, "fitting twice gives equal states");
    for cut in cuts(&whole(data)) {
        let recut = Dataset::held(data.schema().clone(), cut).expect("the same rows");
        let again = made.fit(&recut).expect("it fits the same rows");
        assert_eq!(state(again.as_ref()), expected, "a fit does not depend on how rows are cut");
    }
}

/// What a chain takes on trust when it lets stages learn from one reading.
fn a_study_is_the_fit_and_says_what_it_touches<T: Transform>(
    make: &impl Fn() -> T,
    fitted: &dyn FittedTransform,
    data: &Dataset,
) {
    let study = || make().study(data.schema()).expect("what can be fitted can be studied");
    let Some(told) = study() else { return };
    let (effects, batch) = (Effects::of(&told), whole(data));
    for cut in cuts(&batch) {
        let mut study = study().expect("a transform answers the same");
        let mut learn = |batch: &RecordBatch| study.update(data.schema(), batch).expect("it learns like a fit");
        cut.iter().for_each(&mut learn);
        let learned = study.finish(&make()).expect("it learns like a fit");
        assert_eq!(state(learned.as_ref()), state(fitted), "a study learns what a fit learns");
    }
    for name in data.schema().names().filter(|name| !told.looks_at(name)) {
        let lacking = Dataset::from_batches([without(&batch, name)]).expect("some columns");
        let lacking = lacking.with_schema(data.schema().project(&names_but(data, name)).expect("known columns"));
        let again =
            make().fit(&lacking.expect("the same columns")).expect("columns that a study does not name do not matter");
        assert_eq!(state(again.as_ref()), state(fitted), "columns that a study does not name teach nothing");
    }
    let treated = pass(fitted, std::slice::from_ref(&batch));
    let output = treated.schema();
    let mut places = Vec::new();
    for (place, field) in batch.schema().fields().iter().enumerate().filter(|(_, field)| effects.keeps(field.name())) {
        let (now, kept) = output.column_with_name(field.name()).expect("columns that are not changed stay");
        assert_eq!(kept.data_type(), field.data_type(), "columns that are not changed keep their type");
        places.push(now);
        if effects.keeps_rows() {
            let column = |batch: &RecordBatch, at| batch.project(&[at]).expect("a column");
            same(&column(&treated, now), &column(&batch, place), "columns that are not changed keep their values");
        }
    }
    assert!(places.is_sorted(), "columns that stay keep their order");
    if effects.keeps_rows() {
        assert_eq!(treated.num_rows(), batch.num_rows(), "rows are dropped only where that was said");
    }
    if effects.keeps_shape() {
        let names = |batch: &RecordBatch| batch.schema().fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>();
        assert_eq!(names(&treated), names(&batch), "columns come and go only where that was said");
    }
}

fn names_but<'d>(data: &'d Dataset, name: &str) -> Vec<&'d str> {
    data.schema().names().filter(|other| *other != name).collect()
}

fn every_pass_keeps_to_its_schema(fitted: &dyn FittedTransform, data: &Dataset) {
    let batch = whole(data);
    let treated = pass(fitted, std::slice::from_ref(&batch));
    assert!(treated.num_rows() <= batch.num_rows(), "no rows are made up");
    assert_eq!(pass(fitted, &[batch.slice(0, 0)]).num_rows(), 0, "an empty batch stays empty");
}

fn passes_do_not_depend_on_cuts(fitted: &dyn FittedTransform, data: &Dataset) {
    let batch = whole(data);
    let (expected, changes) = pass_and_changes(fitted, std::slice::from_ref(&batch));
    for cut in cuts(&batch) {
        let (treated, counted) = pass_and_changes(fitted, &cut);
        same(&treated, &expected, "the output does not depend on how rows are cut");
        assert_eq!(counted, changes, "changes do not depend on how rows are cut");
    }
}

fn a_row_alone_is_treated_like_in_a_table(fitted: &dyn FittedTransform, data: &Dataset) {
    let batch = whole(data);
    let expected = pass(fitted, std::slice::from_ref(&batch));
    let alone: Vec<_> = singles(&batch).map(|row| pass(fitted, &[row])).collect();
    let together = concat_batches(&expected.schema(), &alone).expect("batches of one schema concatenate");
    same(&together, &expected, "a row alone gives the same output as in a table");
}

fn a_state_restores_the_same_transform(
    fitted: &dyn FittedTransform,
    restore: &impl Fn(&TransformState) -> Result<Box<dyn FittedTransform>>,
    data: &Dataset,
) {
    let written = serde_json::to_string(&state(fitted)).expect("a state has a JSON form");
    let read: TransformState = serde_json::from_str(&written).expect("a state is read back");
    assert_eq!(read, state(fitted), "a state survives JSON, bit for bit");
    let restored = restore(&read).expect("a state restores");
    assert_eq!(state(restored.as_ref()), read, "what was restored has the same state");
    assert_eq!(restored.scope(), fitted.scope(), "what was restored has the same scope");
    let batch = [whole(data)];
    same(&pass(restored.as_ref(), &batch), &pass(fitted, &batch), "what was restored gives the same output");
}

fn a_foreign_state_is_refused(
    fitted: &dyn FittedTransform,
    restore: &impl Fn(&TransformState) -> Result<Box<dyn FittedTransform>>,
) {
    let good = state(fitted);
    let kind = TransformState { kind: "testkit_unknown".to_owned(), ..good.clone() };
    assert!(restore(&kind).is_err(), "a state of another kind is refused");
    let format = TransformState { format: u32::MAX, ..good.clone() };
    assert!(restore(&format).is_err(), "a state of an unknown layout is refused");
    let body = TransformState { body: serde_json::json!("testkit"), ..good };
    assert!(restore(&body).is_err(), "a state with a body of another shape is refused");
}

fn a_missing_column_is_named(made: &dyn Transform, fitted: &dyn FittedTransform, data: &Dataset) {
    let batch = whole(data);
    for name in data.schema().names() {
        let lacking = without(&batch, name);
        let input = schema(&lacking);
        match (fitted.output_schema(&input), fitted.begin(&input)) {
            (Ok(_), Ok(_)) => {}
            (Err(announced), Err(begun)) => {
                assert!(names_a_column(&announced) && names_a_column(&begun), "a missing column is named: {begun}");
            }
            _ => panic!("`output_schema` and `begin` agree on a table without `{name}`"),
        }
        let fit = Dataset::from_batches([lacking]).and_then(|lacking| made.fit(&lacking));
        if let Err(error) = fit {
            assert!(names_a_column(&error), "a missing column is named: {error}");
        }
    }
}

/// Equal bit for bit: NaN equals itself, and what lies under a null does not count.
fn same(found: &RecordBatch, expected: &RecordBatch, law: &str) {
    let digest = |batch: &RecordBatch| Dataset::from_batches([batch.clone()]).and_then(|data| data.digest());
    assert_eq!(found.num_rows(), expected.num_rows(), "{law}");
    assert_eq!(digest(found).expect("readable"), digest(expected).expect("readable"), "{law}");
}
