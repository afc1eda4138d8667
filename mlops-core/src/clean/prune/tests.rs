use arrow::array::{BooleanArray, Float64Array, Int64Array, StringArray};

use super::super::fixture::{clean, column, data, recut};
use super::super::learn::Random;
use super::*;

/// A label, a column that is made of it, two that go together, one that helps, one that is noise, and a copy.
fn table() -> Dataset {
    let mut random = Random::new(11);
    let mut next = |n: usize| (0..n).map(|_| random.unit()).collect::<Vec<f64>>();
    let (helps, noise) = (next(2000), next(2000));
    let label: Vec<i64> = helps.iter().zip(next(2000)).map(|(x, e)| i64::from(x + 0.3 * e > 0.6)).collect();
    let double: Vec<f64> = helps.iter().zip(next(2000)).map(|(x, e)| 2.0 * x + 0.01 * e).collect();
    let leaking: Vec<String> = label.iter().map(|label| format!("state {label}")).collect();
    let rows = data([
        ("noise", column(Float64Array::from(noise.clone()))),
        ("double", column(Float64Array::from(double))),
        ("helps", column(Float64Array::from(helps))),
        ("leaking", column(StringArray::from(leaking))),
        ("copy", column(Float64Array::from(noise))),
        ("churned", column(Int64Array::from(label))),
    ]);
    rows.with_schema(rows.schema().with_role("churned", Role::Label).unwrap()).unwrap()
}

fn findings(builder: PruneBuilder, data: &Dataset) -> Vec<(String, Finding, bool)> {
    let prune = builder.build().unwrap();
    let state = prune.fit(data).unwrap().state().unwrap();
    assert_eq!(prune.fit(&recut(data, 300)).unwrap().state().unwrap(), state);
    let fitted: FittedPrune = serde_json::from_value(state.body).unwrap();
    fitted.findings().map(|(name, finding, gone)| (name.to_owned(), finding.clone(), gone)).collect()
}

#[test]
fn copies_and_noise_go_and_a_leak_is_told() {
    let builder = Prune::builder().duplicates(true).relevance_min(0.01).leakage_min(0.99);
    let found = findings(builder.clone(), &table());
    let names: Vec<&str> = found.iter().map(|(name, _, _)| name.as_str()).collect();
    assert_eq!(names, ["noise", "leaking", "copy"]);
    assert!(matches!(found[0].1, Finding::Irrelevant { share } if share < 0.01));
    assert!(matches!(found[1].1, Finding::Leaking { strength } if strength > 0.99));
    assert_eq!(found[2].1, Finding::Duplicate { of: "noise".to_owned() });
    assert_eq!(found.iter().map(|(_, _, gone)| *gone).collect::<Vec<_>>(), [true, false, true]);
    let (treated, changes) = clean(&builder.drop_leaking(true).build().unwrap(), &table());
    let names: Vec<_> = treated.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["double", "helps", "churned"]);
    assert_eq!(changes.steps[0].columns_dropped.len(), 3);
}

#[test]
fn of_two_that_go_together_the_first_or_the_more_telling_stays() {
    for by in [Correlation::Pearson, Correlation::Spearman] {
        let found = findings(Prune::builder().correlated(by, 0.95), &table());
        assert_eq!((found[0].0.as_str(), found[1].0.as_str(), found.len()), ("helps", "copy", 2));
        assert!(
            matches!(&found[0].1, Finding::Correlated { with, coefficient } if with == "double" && *coefficient > 0.99)
        );
    }
    // The label is made of the second one, and the first one has less of it.
    let first = table();
    let batch = first.to_batch().unwrap();
    let coarse: Vec<f64> = batch["helps"]
        .as_primitive::<arrow::datatypes::Float64Type>()
        .values()
        .iter()
        .map(|x| (x * 4.0).round())
        .collect();
    let mut columns = batch.columns().to_vec();
    columns[1] = column(Float64Array::from(coarse));
    let rows = Dataset::from_batches([RecordBatch::try_new(batch.schema(), columns).unwrap()]).unwrap();
    let found = findings(Prune::builder().correlated(Correlation::Pearson, 0.9).stays(Stays::Relevant), &rows);
    assert_eq!(found[0].0, "double");
    assert!(matches!(&found[0].1, Finding::Correlated { with, .. } if with == "helps"));
}

#[test]
fn columns_that_differ_in_one_row_or_type_are_no_copies() {
    let rows = data([
        ("a", column(Int64Array::from(vec![Some(1), None, Some(3)]))),
        ("b", column(Int64Array::from(vec![Some(1), None, Some(4)]))),
        ("c", column(Float64Array::from(vec![Some(1.0), None, Some(3.0)]))),
        ("d", column(BooleanArray::from(vec![true, true, true]))),
        ("e", column(Int64Array::from(vec![Some(1), None, Some(3)]))),
    ]);
    let found = findings(Prune::builder().duplicates(true), &rows);
    assert_eq!(found, [("e".to_owned(), Finding::Duplicate { of: "a".to_owned() }, true)]);
}

#[test]
fn settings_and_labels_that_do_not_fit_are_refused() {
    assert!(Prune::builder().correlated(Correlation::Pearson, 1.5).build().is_err());
    assert!(Prune::builder().relevance_min(f64::NAN).build().is_err());
    let unlabelled = data([("a", column(Int64Array::from(vec![1])))]);
    assert!(Prune::builder().leakage_min(0.99).build().unwrap().fit(&unlabelled).is_err());
    assert!(matches!(
        Prune::builder().leakage_min(0.99).label("nope").build().unwrap().fit(&unlabelled),
        Err(Error::NotFound { .. })
    ));
    let empty = Dataset::empty(table().schema().clone());
    assert!(findings(Prune::builder().relevance_min(0.0).duplicates(false), &empty).is_empty());
}
