use proptest::prelude::*;

use super::*;

/// Sum in tree order over plain walks: what every kernel must reproduce to the bit.
fn plain(forest: &Forest, row: &[f64]) -> f64 {
    let mut sum = forest.base_score;
    for tree in &forest.trees {
        let mut child = if tree.splits() == 0 { !0 } else { 0 };
        while child >= 0 {
            child = tree.step(child as usize, row);
        }
        sum += tree.leaf_value[!child as usize];
    }
    sum
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("f{at}")).collect()
}

/// A small generator for shapes, so that proptest only has to shrink a seed and sizes.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// A value from a small set with collisions, zeros of both signs, infinities and missing values.
    fn value(&mut self) -> f64 {
        match self.below(40) {
            0 => f64::NAN,
            1 => f64::INFINITY,
            2 => f64::NEG_INFINITY,
            3 => -0.0,
            4 => f64::MAX,
            5 => 5e-324,
            at => (at as f64 - 20.0) / 4.0 + if self.below(3) == 0 { self.below(1000) as f64 / 997.0 } else { 0.0 },
        }
    }

    fn threshold(&mut self) -> f64 {
        let value = self.value();
        if value.is_nan() || value == f64::NEG_INFINITY { f64::INFINITY } else { value }
    }

    /// A random tree grown by splitting random leaves, as the trainer numbers them.
    fn tree(&mut self, leaves: usize, features: usize) -> Tree {
        let mut tree = Tree::constant(0.0, 0.0);
        let mut owners: Vec<Option<(usize, bool)>> = vec![None];
        for split in 0..leaves - 1 {
            let leaf = if self.below(4) == 0 { owners.len() - 1 } else { self.below(owners.len()) };
            match owners[leaf] {
                Some((parent, true)) => tree.left[parent] = split as i32,
                Some((parent, false)) => tree.right[parent] = split as i32,
                None => {}
            }
            tree.feature.push(self.below(features) as u32);
            tree.threshold.push(self.threshold());
            tree.default_left.push(self.below(2) == 0);
            tree.left.push(!(leaf as i32));
            tree.right.push(!(split as i32 + 1));
            tree.gain.push(self.below(9) as f64);
            owners[leaf] = Some((split, true));
            owners.push(Some((split, false)));
        }
        tree.leaf_value = (0..leaves).map(|_| self.below(1 << 30) as f64 / 7e7 - 7.0).collect();
        tree.leaf_cover = (0..leaves).map(|_| self.below(50) as f64).collect();
        tree
    }
}

fn random_forest(seed: u64, trees: usize, leaves: usize, features: usize) -> Forest {
    let mut dice = Dice(seed);
    let trees = (0..trees).map(|_| {
        let own = 1 + dice.below(leaves);
        dice.tree(own, features)
    });
    let trees: Vec<Tree> = trees.collect();
    Forest::new(names(features), trees, Link::Identity, 0.1).unwrap()
}

/// Every way of scoring gives the bits of the plain sum.
#[track_caller]
fn check_scores(forest: &Forest, rows: usize, seed: u64) {
    let mut dice = Dice(seed);
    let columns: Vec<Vec<f64>> = forest.features.iter().map(|_| (0..rows).map(|_| dice.value()).collect()).collect();
    let slices: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
    let mut scores = vec![f64::NAN; rows];
    forest.raw_scores(&slices, &mut scores).unwrap();
    for (at, score) in scores.iter().enumerate() {
        let row: Vec<f64> = columns.iter().map(|column| column[at]).collect();
        let expected = plain(forest, &row);
        assert_eq!(score.to_bits(), expected.to_bits(), "row {at} of the batch: {score} for {expected}");
        let single = forest.raw_score(&row).unwrap();
        assert_eq!(single.to_bits(), expected.to_bits(), "row {at} alone: {single} for {expected}");
        let reasons = forest.contributions(&row).unwrap();
        let sum = reasons.bias + reasons.by_feature.iter().sum::<f64>();
        assert!((sum - expected).abs() <= 1e-9 * (1.0 + expected.abs()), "{sum} for {expected}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn all_kernels_give_the_bits_of_a_plain_sum(
        seed: u64, trees in 0_usize..90, leaves in 1_usize..80, features in 1_usize..12, rows in 0_usize..60,
    ) {
        check_scores(&random_forest(seed, trees, leaves, features), rows, seed ^ 1);
    }

    #[test]
    fn deep_forests_give_the_bits_of_a_plain_sum(seed: u64, trees in 1_usize..12, rows in 0_usize..40) {
        check_scores(&random_forest(seed, trees, 900, 4), rows, seed ^ 1);
    }

    #[test]
    fn json_gives_an_equal_forest(seed: u64, trees in 0_usize..6, leaves in 1_usize..40) {
        let forest = random_forest(seed, trees, leaves, 3);
        let json = forest.to_json().unwrap();
        let again = Forest::from_json(json.as_bytes()).unwrap();
        prop_assert_eq!(again.to_json().unwrap(), json);
        prop_assert_eq!(again, forest);
    }

    #[test]
    fn damaged_json_never_panics(seed: u64, at: prop::sample::Index, byte: u8) {
        let mut json = random_forest(seed, 3, 9, 3).to_json().unwrap().into_bytes();
        let at = at.index(json.len());
        json[at] = byte;
        if let Ok(forest) = Forest::from_json(&json) {
            let _ = forest.raw_score(&vec![0.5; forest.features().len()]);
        }
    }
}

#[test]
fn more_thresholds_than_a_byte_can_rank_are_exact() {
    let stumps = (0..700).map(|at| Tree {
        feature: vec![0],
        threshold: vec![f64::from(at)],
        default_left: vec![at % 2 == 0],
        left: vec![!0],
        right: vec![!1],
        gain: vec![1.0],
        leaf_value: vec![0.0, 1.0],
        leaf_cover: vec![1.0, 1.0],
    });
    let forest = Forest::new(names(1), stumps.collect(), Link::Identity, 0.0).unwrap();
    let column: Vec<f64> = (0..720).map(|at| f64::from(at) - 10.0).chain([f64::NAN, f64::INFINITY]).collect();
    let mut scores = vec![0.0; column.len()];
    forest.raw_scores(&[&column], &mut scores).unwrap();
    for (value, score) in column.iter().zip(&scores) {
        // 700 thresholds 0..699: value v is above ⌈v⌉ of them; half of the splits send a missing value right.
        let expected = if value.is_nan() { 350.0 } else { value.clamp(0.0, 700.0) };
        assert_eq!(*score, expected, "value {value}");
        assert_eq!(forest.raw_score(&[*value]).unwrap(), expected);
    }
}

fn stump() -> Tree {
    Tree {
        feature: vec![0],
        threshold: vec![0.5],
        default_left: vec![true],
        left: vec![!0],
        right: vec![!1],
        gain: vec![3.0],
        leaf_value: vec![-1.0, 2.0],
        leaf_cover: vec![3.0, 1.0],
    }
}

/// Splits 0 and 1 with three leaves; the root's right child is split 1.
fn two_splits() -> Tree {
    Tree {
        feature: vec![0, 1],
        threshold: vec![0.5, 7.0],
        default_left: vec![true, false],
        left: vec![!0, !1],
        right: vec![1, !2],
        gain: vec![3.0, 1.0],
        leaf_value: vec![-1.0, 2.0, 4.0],
        leaf_cover: vec![2.0, 1.0, 1.0],
    }
}

#[test]
fn contributions_follow_the_means_along_the_path() {
    let forest = Forest::new(names(2), vec![two_splits()], Link::Identity, 0.25).unwrap();
    let found = forest.contributions(&[1.0, 9.0]).unwrap();
    // Root mean (2·-1 + 2 + 4) / 4 = 1; right child (2 + 4) / 2 = 3; leaf 4.
    assert_eq!(found, Contributions { bias: 1.25, by_feature: vec![2.0, 1.0] });
}

#[test]
fn importance_counts_splits_and_gain_per_feature() {
    let forest = Forest::new(names(3), vec![two_splits(), stump()], Link::Identity, 0.0).unwrap();
    let found: Vec<(u64, f64)> = forest.importance().iter().map(|entry| (entry.splits, entry.gain)).collect();
    assert_eq!(found, [(2, 6.0), (1, 1.0), (0, 0.0)]);
}

#[test]
fn the_logistic_link_is_a_probability() {
    assert_eq!(Link::Logistic { slope: 2.0 }.apply(0.0), 0.5);
    // 1 / (1 + e^-1)
    assert!((Link::Logistic { slope: 2.0 }.apply(0.5) - 0.731_058_578_630_004_9).abs() < 1e-15);
    assert_eq!(Link::Logistic { slope: 1.0 }.apply(-1e6), 0.0);
    assert_eq!(Link::Logistic { slope: 1.0 }.apply(1e6), 1.0);
}

#[test]
fn a_forest_without_trees_is_its_base_score() {
    let forest = Forest::new(names(2), vec![], Link::Identity, 0.75).unwrap();
    assert_eq!(forest.raw_score(&[1.0, f64::NAN]).unwrap(), 0.75);
    let mut scores = [0.0; 20];
    forest.raw_scores(&[&[0.0; 20], &[1.0; 20]], &mut scores).unwrap();
    assert_eq!(scores, [0.75; 20]);
    let mut none: [f64; 0] = [];
    forest.raw_scores(&[&[], &[]], &mut none).unwrap();
}

#[test]
fn a_forest_without_features_is_a_constant() {
    let forest = Forest::new(vec![], vec![Tree::constant(1.5, 4.0)], Link::Identity, 0.5).unwrap();
    assert_eq!(forest.raw_score(&[]).unwrap(), 2.0);
    let mut scores = [0.0; 33];
    forest.raw_scores(&[], &mut scores).unwrap();
    assert_eq!(scores, [2.0; 33]);
}

#[test]
fn rows_of_another_width_are_refused() {
    let forest = Forest::new(names(1), vec![stump()], Link::Identity, 0.0).unwrap();
    assert!(matches!(forest.raw_score(&[]), Err(crate::Error::Core(Core::Invalid { setting: "row", .. }))));
    assert!(forest.contributions(&[1.0, 2.0]).is_err());
    let mut out = [9.0; 2];
    assert!(forest.raw_scores(&[], &mut out).is_err());
    assert!(forest.raw_scores(&[&[1.0]], &mut out).is_err());
    assert_eq!(out, [9.0; 2]);
}

/// A change to a sound tree of two splits that must be refused.
#[track_caller]
fn check_refused(expected: &str, change: impl FnOnce(&mut Tree)) {
    let mut tree = two_splits();
    change(&mut tree);
    let error = Forest::new(names(2), vec![stump(), tree], Link::Identity, 0.0).unwrap_err();
    assert!(matches!(error, crate::Error::Core(Core::InvalidData { .. })), "{error:?}");
    let text = error.to_string();
    assert!(text.starts_with("tree 1 of the forest: ") && text.contains(expected), "{text}");
}

#[test]
fn a_child_that_does_not_exist_is_refused() {
    check_refused("child 2 does not exist", |tree| tree.right[0] = 2);
    check_refused("child -4 does not exist", |tree| tree.left[1] = !3);
    check_refused("child -2147483648 does not exist", |tree| tree.left[1] = i32::MIN);
    check_refused("child 2147483647 does not exist", |tree| tree.left[1] = i32::MAX);
}

#[test]
fn the_root_is_nobodys_child() {
    check_refused("is the root", |tree| tree.left[1] = 0);
}

#[test]
fn a_child_of_two_parents_is_refused() {
    check_refused("child -1 has two parents", |tree| tree.left[1] = !0);
    check_refused("child 1 has two parents", |tree| tree.left[0] = 1);
}

#[test]
fn a_ring_beside_the_root_is_refused() {
    check_refused("reached from the root", |tree| {
        *tree = Tree {
            feature: vec![0; 3],
            threshold: vec![0.0; 3],
            default_left: vec![true; 3],
            left: vec![!0, 2, 1],
            right: vec![!1, !2, !3],
            gain: vec![0.0; 3],
            leaf_value: vec![0.0; 4],
            leaf_cover: vec![0.0; 4],
        };
    });
}

#[test]
fn arrays_of_different_length_are_refused() {
    check_refused("lengths", |tree| tree.threshold.truncate(1));
    check_refused("lengths", |tree| tree.default_left.push(true));
    check_refused("lengths", |tree| tree.right.truncate(0));
    check_refused("2 leaf values", |tree| tree.leaf_value.truncate(2));
    check_refused("4 leaf covers", |tree| tree.leaf_cover.push(1.0));
    check_refused("0 leaf values", |tree| *tree = Tree::default());
}

#[test]
fn numbers_that_are_not_numbers_are_refused() {
    check_refused("threshold", |tree| tree.threshold[0] = f64::NAN);
    check_refused("threshold", |tree| tree.threshold[1] = f64::NEG_INFINITY);
    check_refused("leaf value", |tree| tree.leaf_value[2] = f64::INFINITY);
    check_refused("leaf value", |tree| tree.leaf_value[2] = -1e101);
    check_refused("leaf value", |tree| tree.gain[0] = f64::NAN);
    check_refused("cover", |tree| tree.leaf_cover[0] = -1.0);
    check_refused("cover", |tree| tree.leaf_cover[0] = f64::NAN);
}

#[test]
fn a_feature_that_does_not_exist_is_refused() {
    check_refused("feature 2 of 2", |tree| tree.feature[1] = 2);
}

#[test]
fn a_tree_that_is_too_deep_is_refused() {
    let chain = |splits: i32| Tree {
        feature: vec![0; splits as usize],
        threshold: vec![0.0; splits as usize],
        default_left: vec![true; splits as usize],
        left: (0..splits).map(|at| if at + 1 < splits { at + 1 } else { !splits }).collect(),
        right: (0..splits).map(|at| !at).collect(),
        gain: vec![0.0; splits as usize],
        leaf_value: vec![0.0; splits as usize + 1],
        leaf_cover: vec![0.0; splits as usize + 1],
    };
    let forest = Forest::new(names(1), vec![chain(DEPTH_MAX as i32)], Link::Identity, 0.0).unwrap();
    check_scores(&forest, 20, 3);
    let error = Forest::new(names(1), vec![chain(DEPTH_MAX as i32 + 1)], Link::Identity, 0.0).unwrap_err();
    assert!(error.to_string().contains("deeper than 1024"), "{error}");
}

#[test]
fn bad_names_links_and_base_scores_are_refused() {
    let build = |features: &[&str], link, base| {
        Forest::new(features.iter().map(|&name| name.to_owned()).collect(), vec![], link, base).map(|_| ())
    };
    assert!(build(&["a", "b"], Link::Identity, 0.0).is_ok());
    assert!(build(&["a", "a"], Link::Identity, 0.0).unwrap_err().to_string().contains("twice"));
    assert!(build(&[""], Link::Identity, 0.0).unwrap_err().to_string().contains("empty"));
    assert!(build(&[&"x".repeat(1025)], Link::Identity, 0.0).unwrap_err().to_string().contains("too long"));
    assert!(build(&["a"], Link::Logistic { slope: 0.0 }, 0.0).is_err());
    assert!(build(&["a"], Link::Logistic { slope: f64::INFINITY }, 0.0).is_err());
    assert!(build(&["a"], Link::Identity, f64::NAN).is_err());
}

#[test]
fn json_of_format_1_stays_readable() {
    let json = r#"{"format":1,"link":{"logistic":{"slope":1.0}},"base_score":-0.25,"features":["age","plan"],
        "trees":[{"feature":[1],"threshold":[null],"default_left":[false],"left":[-1],"right":[-2],"gain":[0.5],
        "leaf_value":[0.25,0.1],"leaf_cover":[3.0,1.0]}]}"#;
    let forest = Forest::from_json(json.as_bytes()).unwrap();
    assert_eq!(forest.link(), Link::Logistic { slope: 1.0 });
    assert_eq!(forest.predict(&[0.0, f64::INFINITY]).unwrap(), 0.5);
    assert_eq!(forest.raw_score(&[0.0, f64::NAN]).unwrap(), -0.25 + 0.1);
}

#[test]
fn a_newer_format_is_named_even_when_its_fields_are_unknown() {
    let error = Forest::from_json(br#"{"format":2,"shape":"oblivious"}"#).unwrap_err();
    assert!(matches!(error, crate::Error::Format { found: 2, known: FORMAT, .. }), "{error:?}");
}

#[test]
fn json_that_is_no_forest_is_refused() {
    let wide =
        format!(r#"{{"format":1,"link":"identity","base_score":0,"features":[],"trees":[],"x":{}}}"#, "[".repeat(1000));
    let cases = [
        "",
        "null",
        "[]",
        r#"{"format":-1}"#,
        r#"{"format":1}"#,
        r#"{"format":1,"link":"softplus","base_score":0,"features":[],"trees":[]}"#,
        r#"{"format":1,"link":"identity","base_score":null,"features":[],"trees":[]}"#,
        r#"{"format":1,"link":"identity","base_score":1e999,"features":[],"trees":[]}"#,
        r#"{"format":1,"link":"identity","base_score":0,"features":[],"trees":[],"trees":[]}"#,
        r#"{"format":1,"link":"identity","base_score":0,"features":[],"trees":[],"code":"rm"}"#,
        &wide,
    ];
    for json in cases {
        let error = Forest::from_json(json.as_bytes()).unwrap_err();
        assert!(matches!(error, crate::Error::Core(Core::InvalidData { .. })), "{json}: {error:?}");
    }
    assert!(
        serde_json::from_str::<Forest>(r#"{"format":9,"link":"identity","base_score":0,"features":[],"trees":[]}"#)
            .is_err()
    );
}
