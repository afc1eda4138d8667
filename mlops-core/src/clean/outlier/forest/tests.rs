use arrow::array::{AsArray, Int64Array, StringArray};

use super::super::super::fixture::{clean, column, data, floats, near, pass};
use super::super::super::restore;
use super::*;

/// 200 points in a unit square, and three that are not.
fn points() -> Dataset {
    let in_square = |i: i64, step: i64, of: i64| (i * step % of) as f64 / of as f64 - 0.5;
    let x = (0..200).map(|i| in_square(i, 7919, 101)).chain([4.0, -3.0, 0.0]);
    let y = (0..200).map(|i| in_square(i, 104_729, 97)).chain([4.0, 5.0, 2.0]);
    data([("x", column(Float64Array::from_iter_values(x))), ("y", column(Float64Array::from_iter_values(y)))])
}

fn forest() -> IsolationForestBuilder {
    IsolationForest::builder(["x", "y"])
}

#[test]
fn scores_are_near_those_of_scikit_learn() {
    // scikit-learn 1.9.1: mean of −score_samples over IsolationForest(n_estimators=100, random_state=0..10). Its own runs differ
    // by about 0.02 from that mean.
    let expected = [(200, 0.8648533282707564), (201, 0.8663239123325631), (202, 0.7317042354781604)];
    let typical =
        [(0, 0.5816897557288001), (1, 0.41378785556737296), (2, 0.4305998980465704), (3, 0.48767322960150244)];
    let mut means = vec![0.0; 203];
    for seed in 0..10 {
        let forest = forest().score(true).seed(seed).build().unwrap();
        for (mean, score) in means.iter_mut().zip(floats(&clean(&forest, &points()).0, SCORE)) {
            *mean += score.unwrap() / 10.0;
        }
    }
    for (row, score) in expected.into_iter().chain(typical) {
        assert!((means[row] - score).abs() < 0.015, "row {row}: {} is not {score}", means[row]);
    }
    let average = means[..200].iter().sum::<f64>() / 200.0;
    assert!((average - 0.44685706822916244).abs() < 0.005, "{average}");
    assert!(means[..200].iter().all(|mean| *mean < means[202]), "the three are farther out than all others");
}

#[test]
fn the_share_that_was_asked_for_is_flagged_or_dropped() {
    let share = 3.0 / 203.0;
    let flagging = forest().contamination(share).build().unwrap();
    let (treated, changes) = clean(&flagging, &points());
    let flags = treated[FLAG].as_boolean();
    assert_eq!((200..203).map(|row| flags.value(row)).collect::<Vec<_>>(), [true; 3]);
    assert_eq!((flags.true_count(), changes.cells(FLAG, Change::Flagged)), (3, 3));
    let dropping = forest().contamination(share).action(Action::DropRow).build().unwrap();
    let (treated, changes) = clean(&dropping, &points());
    assert_eq!((treated.num_rows(), treated.num_columns(), changes.rows_dropped()), (200, 2, 3));
}

#[test]
fn a_seed_gives_the_same_trees_and_gaps_have_scores() {
    let state = |seed| forest().seed(seed).build().unwrap().fit(&points()).unwrap().state().unwrap();
    assert_eq!(state(1), state(1));
    assert_ne!(state(1), state(2));
    let gaps = data([
        ("x", column(Float64Array::from(vec![None, Some(f64::NAN), Some(f64::INFINITY)]))),
        ("y", column(Float64Array::from(vec![None, Some(0.0), Some(0.0)]))),
    ]);
    let fitted = forest().score(true).build().unwrap().fit(&points()).unwrap();
    let scores = floats(&pass(fitted.as_ref(), &gaps).0, SCORE);
    assert!(scores.iter().flatten().all(|score| (0.0..=1.0).contains(score)), "{scores:?}");
    assert!(scores[2] > scores[0], "an infinity is far out");
}

#[test]
fn mean_depths_are_those_of_the_paper() {
    near(&[Some(mean_depth(1)), Some(mean_depth(2))], &[Some(0.0), Some(1.0)]);
    // c(256) = 2 (ln 255 + 0.5772156649015329) − 2 · 255 / 256.
    near(&[Some(mean_depth(256))], &[Some(10.244770920119917)]);
}

#[test]
fn what_cannot_be_grown_or_walked_is_refused() {
    let one = data([("x", column(Int64Array::from(vec![1]))), ("y", column(Int64Array::from(vec![1])))]);
    let text = data([("x", column(StringArray::from(vec!["a"]))), ("y", column(StringArray::from(vec!["a"])))]);
    for table in [one, text] {
        assert!(matches!(forest().build().unwrap().fit(&table), Err(Error::Schema { column, .. }) if column == "x"));
    }
    assert!(forest().trees(0).build().is_err() && forest().rows(1).build().is_err());
    assert!(forest().contamination(0.6).build().is_err() && forest().action(Action::Clip).build().is_err());
    let mut state = forest().trees(1).build().unwrap().fit(&points()).unwrap().state().unwrap();
    state.body["trees"][0]["nodes"][0]["cut"]["low"] = serde_json::json!(0);
    assert!(restore(&state).unwrap().begin(points().schema()).is_err(), "a walk that would not end");
}
