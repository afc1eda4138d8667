use std::ops::ControlFlow;

use mlops_core::Error as Core;
use proptest::prelude::*;

use super::random::SplitMix64;
use super::*;
use crate::Error;
use crate::forest::{Forest, Link};

fn names(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("f{at}")).collect()
}

fn matrix(columns: &[&[f64]], labels: &[f64]) -> TrainingMatrix {
    let columns: Vec<Vec<f64>> = columns.iter().map(|column| column.to_vec()).collect();
    TrainingMatrix::new(names(columns.len()), columns, labels.to_vec()).unwrap()
}

/// Settings under which a handful of rows can be split.
fn small(objective: Objective) -> GbdtParamsBuilder {
    GbdtParams::builder(objective).rows_leaf_min(1).hessian_leaf_min(0.0)
}

fn run(settings: GbdtParamsBuilder, matrix: &TrainingMatrix) -> Result<Trained, Error> {
    train(&settings.build()?, matrix, None, &mut |_| ControlFlow::Continue(()))
}

fn forest(settings: GbdtParamsBuilder, matrix: &TrainingMatrix) -> Forest {
    run(settings, matrix).unwrap().forest
}

fn scores(forest: &Forest, matrix: &TrainingMatrix) -> Vec<f64> {
    let columns: Vec<&[f64]> = matrix.columns().iter().map(Vec::as_slice).collect();
    let mut scores = vec![0.0; matrix.rows()];
    forest.raw_scores(&columns, &mut scores).unwrap();
    scores
}

/// Uniform in `0..1`, in steps of a millionth.
fn uniform(random: &mut SplitMix64) -> f64 {
    f64::from(random.choose(1, 1_000)[0]) / 1e3 + f64::from(random.choose(1, 1_000)[0]) / 1e6
}

fn noise(rows: usize, columns: usize, seed: u64) -> Vec<Vec<f64>> {
    let mut random = SplitMix64::new(seed);
    (0..columns).map(|_| (0..rows).map(|_| uniform(&mut random)).collect()).collect()
}

#[track_caller]
fn assert_close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= tolerance, "{at}: {found} for {expected}");
    }
}

#[test]
fn one_stump_has_the_gain_and_values_of_a_hand_calculation() {
    let data = matrix(&[&[1.0, 2.0, 3.0, 4.0]], &[0.0, 0.0, 6.0, 10.0]);
    let model = forest(small(Objective::Regression).rounds(1).leaves_max(2).learning_rate(0.5).lambda_l2(2.0), &data);
    let tree = &model.trees()[0];
    // Mean 4; residuals s - y = 4, 4, -2, -6. Cut after 2: G = 8 and -8, H + λ = 4 each: 64/4 + 64/4 - 0/6 = 32.
    // Cut after 1: 16/3 + 16/5 = 8.53; after 3: 36/5 + 36/3 = 19.2. Values -0.5 · ±8 / 4 = ∓1.
    assert_eq!(model.base_score(), 4.0);
    assert_eq!((tree.threshold[0], tree.gain[0]), (2.5, 32.0));
    assert_eq!((&tree.leaf_value[..], &tree.leaf_cover[..]), (&[-1.0, 1.0][..], &[2.0, 2.0][..]));
    assert_eq!(scores(&model, &data), [3.0, 3.0, 5.0, 5.0]);
}

#[test]
fn weights_count_like_repeated_rows() {
    let data = matrix(&[&[1.0, 2.0]], &[0.0, 3.0]).with_weights(vec![1.0, 2.0]).unwrap();
    let model = forest(small(Objective::Regression).rounds(1).learning_rate(1.0), &data);
    // Mean (0 + 2·3) / 3 = 2, then each leaf is exact.
    assert_eq!(model.base_score(), 2.0);
    assert_eq!(model.trees()[0].leaf_value, [-2.0, 1.0]);
}

#[test]
fn regression_and_binary_agree_with_lightgbm() {
    let nan = f64::NAN;
    let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, nan, nan, 7.0, 8.0];
    let z = [0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0];
    let y = [1.0, 1.5, 1.2, 4.0, 4.2, 3.9, 4.4, 4.1, 0.5, 0.7];
    let settings =
        |objective| GbdtParams::builder(objective).leaves_max(4).learning_rate(0.3).rows_leaf_min(2).lambda_l2(0.5);
    // LightGBM 4.7.0: num_leaves=4 learning_rate=0.3 min_data_in_leaf=2 min_data_in_bin=1 lambda_l2=0.5, two rounds.
    let (a, b, c) = (1.959_918_389, 3.289_586_768, 1.726_319_999);
    let data = matrix(&[&x, &z], &y);
    let model = forest(settings(Objective::Regression).rounds(2), &data);
    assert_close(&scores(&model, &data), &[a, a, a, b, b, b, b, b, c, c], 1e-6);
    // The same with objective=binary, three rounds, raw scores.
    let (d, e) = (-0.530_066_322, 1.370_170_452);
    let labels: Vec<f64> = y.iter().enumerate().map(|(at, &y)| f64::from(y > 2.0 || at == 2)).collect();
    let data = matrix(&[&x, &z], &labels);
    let model = forest(settings(Objective::Binary).rounds(3), &data);
    assert_close(&scores(&model, &data), &[d, d, e, e, e, e, e, e, d, d], 1e-6);
    assert_eq!(model.link(), Link::Logistic { slope: 1.0 });
}

#[track_caller]
fn check_ranking(normalise: bool, truncation: u32, expected: [[f64; 8]; 3]) {
    let column: Vec<f64> = (0..8).map(f64::from).collect();
    let data = matrix(&[&column], &[2.0, 0.0, 1.0, 0.0, 3.0, 1.0, 1.0, 0.0]).with_groups(vec![5, 3]).unwrap();
    for (rounds, expected) in (1..).zip(expected) {
        let settings = small(Objective::LambdaRank).leaves_max(8).learning_rate(0.5).lambda_l2(0.25);
        let settings = settings.rank_normalise(normalise).rank_truncation(truncation).rounds(rounds);
        // LightGBM looks the sigmoid up in a table and keeps gradients in 32 bits.
        assert_close(&scores(&forest(settings, &data), &data), &expected, 2e-4);
    }
}

/// Expected scores after one, two and three rounds: LightGBM 4.7.0, objective=lambdarank num_leaves=8 learning_rate=0.5
/// min_data_in_leaf=1 min_sum_hessian_in_leaf=0 min_data_in_bin=1 lambda_l2=0.25, and the two settings in the name.
#[test]
fn ranking_agrees_with_lightgbm_with_norm_and_truncation_30() {
    check_ranking(
        true,
        30,
        [
            [0.087367, -0.400865, -0.400865, -0.400865, 0.505818, 0.505818, 0.505818, -0.320567],
            [0.066174, -0.809959, -0.096302, -0.763731, 0.945841, 0.945841, 0.945841, -0.559523],
            [0.171820, -1.128568, -0.414910, -1.082340, 1.250965, 1.250965, 1.250965, -0.665315],
        ],
    );
}

#[test]
fn ranking_agrees_with_lightgbm_with_norm_and_truncation_2() {
    check_ranking(
        true,
        2,
        [
            [0.091203, -0.382053, -0.382053, -0.382053, 0.487607, 0.487607, 0.487607, -0.320567],
            [0.060903, -0.804328, -0.804328, -0.804328, 0.972098, 0.972098, 0.972098, -0.564895],
            [0.072089, -1.042668, -1.042668, -1.042668, 1.245779, 1.245779, 1.245779, -0.666739],
        ],
    );
}

#[test]
fn ranking_agrees_with_lightgbm_without_norm() {
    check_ranking(
        false,
        30,
        [
            [0.087008, -0.399283, -0.399283, -0.399283, 0.483151, 0.483151, 0.483151, -0.278943],
            [0.084893, -0.778974, -0.778974, -0.778974, 0.915932, 0.915932, 0.915932, -0.463257],
            [0.085637, -1.040321, -1.040321, -1.040321, 1.225451, 1.225451, 1.225451, -0.587893],
        ],
    );
}

#[test]
fn a_function_of_two_features_together_is_learned() {
    let columns = noise(400, 2, 7);
    let labels: Vec<f64> = (0..400).map(|at| f64::from((columns[0][at] > 0.5) != (columns[1][at] > 0.5))).collect();
    let data = TrainingMatrix::new(names(2), columns, labels).unwrap();
    let model = forest(GbdtParams::builder(Objective::Binary).rows_leaf_min(5).rounds(60), &data);
    let scores = scores(&model, &data);
    let right = scores.iter().zip(data.labels()).filter(|&(&raw, &label)| (raw > 0.0) == (label > 0.5)).count();
    assert!(right >= 396, "{right} of 400");
}

#[test]
fn missing_values_go_where_the_loss_falls() {
    let nan = f64::NAN;
    let column = [1.0, 2.0, 3.0, 4.0, nan, nan];
    let settings = || small(Objective::Regression).rounds(1).leaves_max(2).learning_rate(1.0);
    for (label, left) in [(0.0, true), (8.0, false)] {
        let model = forest(settings(), &matrix(&[&column], &[0.0, 0.0, 8.0, 8.0, label, label]));
        assert_eq!((model.trees()[0].threshold[0], model.trees()[0].default_left[0]), (2.5, left));
        assert!((model.raw_score(&[nan]).unwrap() - label).abs() < 1e-12);
    }
}

#[test]
fn missing_against_known_is_a_split_of_its_own() {
    let column = [5.0, 5.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    let data = matrix(&[&column], &[1.0, 1.0, 3.0, 1.0, 1.0]);
    let model = forest(small(Objective::Regression).rounds(1).leaves_max(2).learning_rate(1.0), &data);
    let tree = &model.trees()[0];
    assert_eq!((tree.threshold[0], tree.default_left[0]), (f64::INFINITY, false));
    assert_close(&scores(&model, &data), data.labels(), 1e-12);
    assert_eq!(Forest::from_json(model.to_json().unwrap().as_bytes()).unwrap(), model);
}

#[test]
fn a_missing_value_that_training_never_saw_goes_with_the_majority() {
    let data = matrix(&[&[1.0, 2.0, 3.0, 4.0, 5.0]], &[0.0, 9.0, 9.0, 9.0, 9.0]);
    let model = forest(small(Objective::Regression).rounds(1).leaves_max(2).learning_rate(1.0), &data);
    assert!((model.raw_score(&[f64::NAN]).unwrap() - 9.0).abs() < 1e-12);
}

#[test]
fn infinities_are_extreme_values() {
    let column = [f64::NEG_INFINITY, 0.0, 1.0, f64::INFINITY];
    let data = matrix(&[&column], &[-5.0, 0.0, 0.0, 5.0]);
    let model = forest(small(Objective::Regression).rounds(1).learning_rate(1.0), &data);
    assert_close(&scores(&model, &data), data.labels(), 1e-12);
    assert_eq!(model.raw_score(&[f64::MAX]).unwrap(), model.raw_score(&[f64::INFINITY]).unwrap());
}

fn wavy(rows: usize, seed: u64) -> TrainingMatrix {
    let mut columns = noise(rows, 4, seed);
    let labels = (0..rows).map(|at| (6.0 * columns[0][at]).sin() + columns[1][at] * columns[2][at]).collect();
    for at in (0..rows).step_by(7) {
        columns[3][at] = f64::NAN;
    }
    TrainingMatrix::new(names(4), columns, labels).unwrap()
}

#[test]
fn the_training_loss_never_rises() {
    let data = wavy(500, 3);
    let binary: Vec<f64> = data.labels().iter().map(|&label| f64::from(label > 0.3)).collect();
    let binary = TrainingMatrix::new(names(4), data.columns().to_vec(), binary).unwrap();
    for (objective, data) in [(Objective::Regression, &data), (Objective::Binary, &binary)] {
        let report = run(GbdtParams::builder(objective).rounds(40).train_metric(true), data).unwrap().report;
        let losses: Vec<f64> = report.rounds.iter().map(|round| round.train_metric.unwrap()).collect();
        assert!(losses.len() == 40 && losses.is_sorted_by(|a, b| a > b), "{losses:?}");
        assert!(losses[39] < losses[0] / 3.0, "{losses:?}");
    }
}

#[test]
fn the_watched_metric_is_that_of_the_served_scores() {
    let (data, valid) = (wavy(300, 3), wavy(120, 4));
    let settings = GbdtParams::builder(Objective::Regression).rounds(9).row_fraction(0.6).feature_fraction(0.5);
    let params = settings.train_metric(true).build().unwrap();
    let trained = train(&params, &data, Some(&valid), &mut |_| ControlFlow::Continue(())).unwrap();
    let last = trained.report.rounds[8];
    for (matrix, metric) in [(&data, last.train_metric), (&valid, last.valid_metric)] {
        let scores = scores(&trained.forest, matrix);
        let squares = scores.iter().zip(matrix.labels()).map(|(score, label)| (score - label).powi(2));
        // Scores are equal to the bit, so their metric is too.
        assert_eq!(metric, Some((squares.sum::<f64>() / matrix.rows() as f64).sqrt()));
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_one_another_forest() {
    let data = wavy(400, 5);
    let json = |seed| {
        let settings = GbdtParams::builder(Objective::Regression).rounds(12).row_fraction(0.7).feature_fraction(0.5);
        forest(settings.bin_sample_rows(150).seed(seed), &data).to_json().unwrap()
    };
    assert_eq!(json(1), json(1));
    assert_ne!(json(1), json(2));
}

#[test]
fn early_stopping_keeps_the_trees_up_to_the_best_round() {
    let (data, valid) = (wavy(80, 5), wavy(200, 6));
    let settings = small(Objective::Regression).rounds(400).learning_rate(0.5).early_stopping_rounds(5);
    let mut rounds = 0;
    let mut count = |_: &RoundReport| {
        rounds += 1;
        ControlFlow::Continue(())
    };
    let Trained { forest, report } = train(&settings.build().unwrap(), &data, Some(&valid), &mut count).unwrap();
    assert_eq!((report.stopped, report.metric), (Stopped::Early, Metric::Rmse));
    assert_eq!(forest.trees().len(), report.best_round as usize);
    assert_eq!(report.rounds.len(), report.best_round as usize + 5);
    assert_eq!(report.rounds.len(), rounds);
    let best = report.rounds.iter().map(|round| round.valid_metric.unwrap()).fold(f64::INFINITY, f64::min);
    assert_eq!(report.rounds[report.best_round as usize - 1].valid_metric, Some(best));
}

#[test]
fn a_caller_can_cancel() {
    let data = wavy(100, 5);
    let params = GbdtParams::builder(Objective::Regression).build().unwrap();
    let mut stop =
        |report: &RoundReport| if report.round == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let error = train(&params, &data, None, &mut stop).unwrap_err();
    assert!(matches!(&error, Error::Core(Core::Cancelled { stage }) if stage == "round 3 of training"), "{error:?}");
}

#[test]
fn ranking_beats_random_order_by_far() {
    let (queries, size) = (120_usize, 12_usize);
    let rows = queries * size;
    let make = |seed| {
        let columns = noise(rows, 5, seed);
        let labels = (0..rows).map(|row| {
            let taste = columns[0][row] + columns[1][row] * columns[2][row];
            (taste * 2.2).floor().min(3.0)
        });
        let labels = labels.collect();
        TrainingMatrix::new(names(5), columns, labels).unwrap().with_groups(vec![size as u32; queries]).unwrap()
    };
    let (data, valid) = (make(1), make(2));
    let params = GbdtParams::builder(Objective::LambdaRank).rounds(40).ndcg_at(5).train_metric(true).build().unwrap();
    let trained = train(&params, &data, Some(&valid), &mut |_| ControlFlow::Continue(())).unwrap();
    let random = loss_of_random_order(&valid);
    let last = trained.report.rounds[39];
    assert!(random < 0.6, "{random}");
    assert!(last.valid_metric.unwrap() > 0.93, "{last:?}");
    assert!(last.train_metric.unwrap() > trained.report.rounds[0].train_metric.unwrap());
}

/// NDCG@5 of scores that know nothing.
fn loss_of_random_order(matrix: &TrainingMatrix) -> f64 {
    let scores = &noise(matrix.rows(), 1, 99)[0];
    super::lambdarank::Ndcg::new(matrix, 5).mean(matrix, scores)
}

#[test]
fn ndcg_is_that_of_a_hand_calculation() {
    let data = matrix(&[&[0.0; 5]], &[1.0, 0.0, 2.0, 0.0, 0.0]).with_groups(vec![3, 2]).unwrap();
    let mut ndcg = super::lambdarank::Ndcg::new(&data, 2);
    // First query by score: grades 0, 2, 1: (0 + 3 / log2 3) / (3 + 1 / log2 3); the second has nothing relevant: 1.
    let discount = 1.0 / 3_f64.log2();
    let expected = f64::midpoint(3.0 * discount / (3.0 + discount), 1.0);
    assert!((ndcg.mean(&data, &[0.1, 0.9, 0.5, 0.0, 0.0]) - expected).abs() < 1e-15);
    // Equal scores keep their order: grades 1, 0, (2).
    assert!((ndcg.mean(&data, &[0.0, -0.0, 0.0, 1.0, 2.0]) - f64::midpoint(1.0 / (3.0 + discount), 1.0)).abs() < 1e-15);
}

#[test]
fn where_nothing_can_be_learned_the_forest_is_a_constant() {
    let constant = [
        (Objective::Regression, matrix(&[&[1.0]], &[7.0]), 7.0),
        (Objective::Regression, matrix(&[], &[1.0, 3.0]), 2.0),
        (Objective::Regression, matrix(&[&[2.0; 60]], &[0.1; 60]), 0.1),
        (Objective::Regression, matrix(&[&[f64::NAN; 60]], &[5.0; 60]), 5.0),
        (Objective::Binary, matrix(&[&[1.0, 2.0]], &[1.0, 1.0]), (1e15_f64 - 1.0).ln()),
    ];
    for (objective, data, expected) in constant {
        let Trained { forest, report } = run(GbdtParams::builder(objective), &data).unwrap();
        assert!((forest.base_score() - expected).abs() < 0.1 * expected, "{} for {expected}", forest.base_score());
        assert!(forest.trees().is_empty());
        assert_eq!((report.stopped, report.best_round), (Stopped::Exhausted, 0));
    }
    let one = matrix(&[&[1.0]], &[2.0]).with_groups(vec![1]).unwrap();
    assert!(forest(small(Objective::LambdaRank), &one).trees().is_empty());
    // Constant labels leave nothing to split, even where the mean is not exact.
    let column: Vec<f64> = (0..1_000).map(f64::from).collect();
    assert!(forest(GbdtParams::builder(Objective::Regression), &matrix(&[&column], &[0.1; 1_000])).trees().is_empty());
}

#[track_caller]
fn check_refused(expected: &str, result: Result<Trained, Error>) {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Core(Core::InvalidData { .. } | Core::Invalid { .. })), "{error:?}");
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn labels_that_do_not_suit_the_objective_are_refused() {
    let data = |label: f64| matrix(&[&[1.0, 2.0]], &[0.0, label]);
    let ranked = |label: f64| data(label).with_groups(vec![2]).unwrap();
    check_refused("label 0.5 of row 1 is not 0 or 1", run(small(Objective::Binary), &data(0.5)));
    check_refused("sizes of the queries", run(small(Objective::LambdaRank), &data(1.0)));
    check_refused("label 1.5 of row 1", run(small(Objective::LambdaRank), &ranked(1.5)));
    check_refused("label -1 of row 1", run(small(Objective::LambdaRank), &ranked(-1.0)));
    check_refused("from 0 to 4", run(small(Objective::LambdaRank).grade_max(4), &ranked(5.0)));
    check_refused("early_stopping_rounds", run(small(Objective::Regression).early_stopping_rounds(3), &data(1.0)));
}

#[test]
fn validation_rows_with_other_columns_are_refused() {
    let data = matrix(&[&[1.0, 2.0]], &[0.0, 1.0]);
    let other = TrainingMatrix::new(vec!["g".into()], vec![vec![1.0]], vec![1.0]).unwrap();
    let params = small(Objective::Regression).build().unwrap();
    let result = train(&params, &data, Some(&other), &mut |_| ControlFlow::Continue(()));
    check_refused("not those of the training matrix", result);
}

#[test]
fn a_matrix_whose_parts_do_not_fit_is_refused() {
    let new = |names: &[&str], columns: &[&[f64]], labels: &[f64]| {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        TrainingMatrix::new(names, columns.iter().map(|column| column.to_vec()).collect(), labels.to_vec())
    };
    let cases = [
        ("no rows", new(&["a"], &[&[]], &[])),
        ("1 names for 2 columns", new(&["a"], &[&[1.0], &[1.0]], &[1.0])),
        ("column `a` has 1 values for 2 labels", new(&["a"], &[&[1.0]], &[1.0, 2.0])),
        ("label NaN of row 1", new(&["a"], &[&[1.0, 2.0]], &[1.0, f64::NAN])),
        ("label inf of row 0", new(&["a"], &[&[1.0, 2.0]], &[f64::INFINITY, 0.0])),
        ("twice", new(&["a", "a"], &[&[1.0], &[1.0]], &[1.0])),
    ];
    let whole = || new(&["a"], &[&[1.0, 2.0]], &[1.0, 0.0]).unwrap();
    let parts = [
        ("1 weights for 2 rows", whole().with_weights(vec![1.0])),
        ("weight -1 of row 1", whole().with_weights(vec![1.0, -1.0])),
        ("weight NaN of row 0", whole().with_weights(vec![f64::NAN, 1.0])),
        ("all weights are 0", whole().with_weights(vec![0.0, 0.0])),
        ("query 1 has no rows", whole().with_groups(vec![2, 0])),
        ("queries of 3 rows", whole().with_groups(vec![1, 2])),
        ("queries of 8589934590 rows", whole().with_groups(vec![u32::MAX, u32::MAX])),
    ];
    for (expected, result) in cases.into_iter().chain(parts) {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(expected), "{error} for {expected}");
    }
}

#[test]
fn settings_outside_of_their_domain_are_refused() {
    let with =
        |change: fn(GbdtParamsBuilder) -> GbdtParamsBuilder| change(GbdtParams::builder(Objective::Binary)).build();
    let cases = [
        ("rounds", with(|b| b.rounds(0))),
        ("learning_rate", with(|b| b.learning_rate(f64::NAN))),
        ("learning_rate", with(|b| b.learning_rate(0.0))),
        ("leaves_max", with(|b| b.leaves_max(1))),
        ("leaves_max", with(|b| b.leaves_max(60_000).rounds(1_000))),
        ("depth_max", with(|b| b.depth_max(0))),
        ("rows_leaf_min", with(|b| b.rows_leaf_min(0))),
        ("hessian_leaf_min", with(|b| b.hessian_leaf_min(-1.0))),
        ("lambda_l2", with(|b| b.lambda_l2(f64::INFINITY))),
        ("gain_min", with(|b| b.gain_min(-0.1))),
        ("feature_fraction", with(|b| b.feature_fraction(1.1))),
        ("row_fraction", with(|b| b.row_fraction(0.0))),
        ("bins_max", with(|b| b.bins_max(256))),
        ("early_stopping_rounds", with(|b| b.early_stopping_rounds(0))),
        ("rank_truncation", with(|b| b.rank_truncation(0))),
        ("grade_max", with(|b| b.grade_max(32))),
        ("sigmoid", with(|b| b.sigmoid(0.0))),
    ];
    for (expected, result) in cases {
        let error = result.unwrap_err();
        assert!(matches!(&error, Error::Core(Core::Invalid { setting, .. }) if *setting == expected), "{error:?}");
    }
}

#[test]
fn settings_come_back_from_json() {
    let params = GbdtParams::builder(Objective::LambdaRank).rounds(7).depth_max(4).build().unwrap();
    let json = serde_json::to_string(&params).unwrap();
    assert_eq!(serde_json::from_str::<GbdtParams>(&json).unwrap(), params);
    let params: GbdtParams = serde_json::from_str(r#"{"objective":"binary","rounds":5}"#).unwrap();
    assert_eq!(params, GbdtParams::builder(Objective::Binary).rounds(5).build().unwrap());
    assert!(serde_json::from_str::<GbdtParams>(r#"{"rounds":0}"#).is_err());
    assert!(serde_json::from_str::<GbdtParams>(r#"{"num_leaves":31}"#).is_err());
}

#[test]
fn depth_and_leaves_keep_their_bounds() {
    let data = wavy(600, 8);
    let deep = forest(small(Objective::Regression).rounds(5).leaves_max(9), &data);
    assert!(deep.trees().iter().all(|tree| tree.leaves() == 9));
    let flat = forest(small(Objective::Regression).rounds(5).depth_max(2), &data);
    assert!(flat.trees().iter().all(|tree| tree.leaves() == 4));
    let wide = forest(GbdtParams::builder(Objective::Regression).rounds(5).rows_leaf_min(40), &data);
    assert!(wide.trees().iter().flat_map(|tree| &tree.leaf_cover).all(|&rows| rows >= 40.0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn extreme_values_and_labels_never_panic(
        rows in prop::collection::vec((any::<f64>(), any::<f64>(), -1e60_f64..1e60, 0_u32..4, 0.0_f64..1e30), 1..40),
        seed: u64,
    ) {
        let columns = vec![rows.iter().map(|row| row.0).collect(), rows.iter().map(|row| row.1).collect()];
        let make = |label: &dyn Fn(usize) -> f64| {
            TrainingMatrix::new(names(2), columns.clone(), (0..rows.len()).map(label).collect()).unwrap()
        };
        let groups = vec![rows.len() as u32];
        let matrices = [
            (Objective::Regression, make(&|at| rows[at].2)),
            (Objective::Binary, make(&|at| f64::from(rows[at].3 % 2))),
            (Objective::LambdaRank, make(&|at| f64::from(rows[at].3 * 10)).with_groups(groups).unwrap()),
        ];
        for (objective, matrix) in matrices {
            let weights: Vec<f64> = rows.iter().map(|row| row.4 + 1e-9).collect();
            for matrix in [matrix.clone(), matrix.with_weights(weights).unwrap()] {
                let settings = small(objective).rounds(6).learning_rate(1.0).row_fraction(0.8).seed(seed);
                let model = forest(settings, &matrix);
                prop_assert!(scores(&model, &matrix).iter().all(|score| score.is_finite()));
            }
        }
    }
}
