use super::*;
use crate::schema::{Role, Sensitivity};
use crate::source::{Comparison, Predicate};
use arrow::array::{DictionaryArray, Float64Array, Int64Array, ListArray, StringArray, StringViewArray, StructArray};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema as ArrowSchema};
use proptest::prelude::*;

fn ints(columns: &[(&str, &[i64])]) -> RecordBatch {
    let arrays = columns.iter().map(|(name, values)| (*name, Arc::new(Int64Array::from(values.to_vec())) as _));
    RecordBatch::try_from_iter(arrays).unwrap()
}

fn batch(ids: Vec<Option<i64>>, texts: Vec<Option<String>>) -> RecordBatch {
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(
        ids.iter().map(|id| id.map(|n| (0..n.rem_euclid(3)).map(Some).collect::<Vec<_>>())),
    );
    let floats: Float64Array = ids.iter().map(|id| id.map(|n| n as f64 / 3.0)).collect();
    let inner = StructArray::from(vec![(
        Arc::new(Field::new("x", DataType::Float64, true)),
        Arc::new(floats.clone()) as arrow::array::ArrayRef,
    )]);
    RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(Int64Array::from(ids)) as arrow::array::ArrayRef, true),
        ("float", Arc::new(floats), true),
        ("text", Arc::new(StringArray::from(texts)), true),
        ("list", Arc::new(lists), true),
        ("struct", Arc::new(inner), true),
    ])
    .unwrap()
}

proptest! {
    #[test]
    fn the_digest_does_not_depend_on_how_rows_are_cut(
        rows in proptest::collection::vec((proptest::option::of(-50_i64..50), proptest::option::of("[a-zé]{0,6}")), 1..40),
        cuts in proptest::collection::vec(0_usize..40, 0..4),
    ) {
        let (ids, texts) = rows.into_iter().unzip();
        let whole = batch(ids, texts);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(whole.num_rows())).collect();
        cuts.extend([0, whole.num_rows()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|w| whole.slice(w[0], w[1] - w[0]));
        let cut = Dataset::from_batches(pieces).unwrap();
        prop_assert_eq!(cut.digest().unwrap(), Dataset::from_batches([whole]).unwrap().digest().unwrap());
    }
}

#[test]
fn a_changed_moved_or_nulled_cell_changes_the_digest() {
    let digest = |ids, texts: Vec<Option<&str>>| {
        let texts = texts.into_iter().map(|t| t.map(str::to_owned)).collect();
        Dataset::from_batches([batch(ids, texts)]).unwrap().digest().unwrap()
    };
    let base = digest(vec![Some(1), Some(2)], vec![Some("ab"), Some("c")]);
    assert_ne!(base, digest(vec![Some(2), Some(1)], vec![Some("ab"), Some("c")]));
    assert_ne!(base, digest(vec![Some(1), Some(2)], vec![Some("a"), Some("bc")]));
    assert_ne!(base, digest(vec![Some(1), None], vec![Some("ab"), Some("c")]));
    assert_ne!(digest(vec![Some(0), None], vec![None, None]), digest(vec![None, Some(0)], vec![None, None]));
}

#[test]
fn string_layouts_of_the_same_text_have_one_digest() {
    let plain = RecordBatch::try_from_iter([("t", Arc::new(StringArray::from(vec!["a", "bc"])) as _)]).unwrap();
    let view = RecordBatch::try_from_iter([("t", Arc::new(StringViewArray::from(vec!["a", "bc"])) as _)]).unwrap();
    let digest = |b| Dataset::from_batches([b]).unwrap().digest().unwrap();
    assert_eq!(digest(plain), digest(view));
}

#[test]
fn dictionaries_have_the_digest_of_their_values_however_they_are_cut() {
    let texts = [Some("a"), None, Some("b"), None, None, Some("a")];
    let dictionary: DictionaryArray<Int32Type> = texts.into_iter().collect();
    let table = |array| RecordBatch::try_from_iter_with_nullable([("t", array, true)]).unwrap();
    let encoded = table(Arc::new(dictionary) as arrow::array::ArrayRef);
    let plain = table(Arc::new(StringArray::from(texts.to_vec())));
    let digest = |batches: Vec<RecordBatch>| Dataset::from_batches(batches).unwrap().digest().unwrap();
    let expected = digest(vec![plain]);
    assert_eq!(digest(vec![encoded.clone()]), expected);
    assert_eq!(digest(vec![encoded.slice(0, 2), encoded.slice(2, 2), encoded.slice(4, 2)]), expected);
}

#[test]
fn a_scan_filters_projects_limits_and_cuts() {
    let data = Dataset::from_batches([ints(&[("a", &[1, 2, 3, 4, 5]), ("b", &[5, 4, 3, 2, 1])])]).unwrap();
    let request =
        ScanRequest::all().columns(["b"]).filter(Predicate::new("a", Comparison::Gt, 1)).limit(3).batch_rows(2);
    let batches: Vec<_> = data.scan(&request).unwrap().collect::<Result<_>>().unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [2, 1]);
    let expected = ints(&[("b", &[4, 3, 2])]);
    assert_eq!(concat_batches(&batches[0].schema(), &batches).unwrap().column(0), expected.column(0));
    assert!(matches!(data.scan(&ScanRequest::all().columns(["z"])), Err(Error::NotFound { .. })));
    let wrong = ScanRequest::all().filter(Predicate::new("a", Comparison::Eq, "text"));
    assert!(matches!(data.scan(&wrong), Err(Error::Schema { .. })));
}

#[test]
fn annotations_are_laid_over_a_data_set() {
    let data = Dataset::from_batches([ints(&[("a", &[1])])]).unwrap();
    let schema =
        data.schema().with_role("a", Role::Key).and_then(|s| s.with_sensitivity("a", Sensitivity::Secret)).unwrap();
    let annotated = data.with_schema(schema.clone()).unwrap();
    assert_eq!(annotated.to_batch().unwrap().schema_ref(), schema.arrow());
    assert_ne!(annotated.digest().unwrap(), data.digest().unwrap());
}

#[test]
fn batches_that_differ_are_refused_and_none_is_too() {
    let int = ints(&[("a", &[1])]);
    let text = RecordBatch::try_from_iter([("a", Arc::new(StringArray::from(vec!["x"])) as _)]).unwrap();
    assert!(matches!(Dataset::from_batches([int, text]), Err(Error::Schema { .. })));
    assert!(matches!(Dataset::from_batches([]), Err(Error::Invalid { .. })));
    let schema = Schema::new(ArrowSchema::empty()).unwrap();
    assert_eq!(Dataset::empty(schema).num_rows().unwrap(), 0);
}

#[test]
fn parameters_beyond_their_bound_are_told_by_their_digest() {
    let data = Dataset::empty(Schema::new(ArrowSchema::empty()).unwrap());
    let made = |bytes: usize| {
        let made = Provenance::of(&[&data], crate::Name::new("load").unwrap(), crate::EventTime::EPOCH).unwrap();
        made.with_parameters(&serde_json::json!({ "columns": "x".repeat(bytes) })).unwrap()
    };
    assert_eq!(made(1_000).parameters["columns"].as_str().unwrap().len(), 1_000);
    let long = made(PARAMETERS_BYTES_MAX);
    assert_eq!(long.parameters["bytes"], PARAMETERS_BYTES_MAX + 14);
    assert_ne!(long.parameters["digest"], made(PARAMETERS_BYTES_MAX + 1).parameters["digest"]);
    assert_eq!(long.clone().redacted(), long);
}
