use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Float64Array, Int64Array, StringArray, TimestampMicrosecondArray};
use proptest::prelude::*;

use super::super::super::fixture::{column, data, recut};
use super::super::super::{
    Action, Bin, Bins, Cast, CastTo, Chain, ChainBuilder, DatePart, Dates, Dedup, Encode, Encoding, Fence, FillForward,
    Impute, IsolationForest, Nearest, Outliers, Pick, Prune, Scale, Select, Smooth, Strategy as Fill, Text, TextPart,
    Transform, TransformState, Unknown,
};
use super::*;
use crate::schema::Role;
use crate::{Digest, Error};

/// Rows of two groups in order of time; numbers, texts and ids with gaps and repetitions, all drawn by `seed`.
fn table(rows: u64, seed: u64) -> Dataset {
    let draw = |row: u64, of: u64| crate::stats::hash::spread(seed ^ (row << 8) ^ of);
    let number = |of: u64| {
        let value = move |row| (!draw(row, of).is_multiple_of(4)).then(|| (draw(row, of + 1) % 50) as f64 / 4.0);
        column((0..rows).map(value).collect::<Float64Array>())
    };
    let text = |of: u64, words: u64| {
        let value = move |row| (!draw(row, of).is_multiple_of(6)).then(|| format!("w{}", draw(row, of + 1) % words));
        column((0..rows).map(value).collect::<StringArray>())
    };
    let whole =
        |of: u64, most: u64| column((0..rows).map(|row| Some((draw(row, of) % most) as i64)).collect::<Int64Array>());
    let times: TimestampMicrosecondArray = (0..rows as i64).map(|row| Some(row * 40_000_000_000)).collect();
    let columns = [
        ("id", whole(1, 9)),
        ("at", column(times)),
        ("a", number(2)),
        ("b", number(4)),
        ("c", whole(6, 30)),
        ("plan", text(7, 3)),
        ("note", text(9, 5)),
        ("label", whole(11, 2)),
    ];
    let data = data(columns);
    let schema = data.schema().with_role("id", Role::Key).and_then(|s| s.with_role("at", Role::EventTime));
    data.with_schema(schema.and_then(|s| s.with_role("label", Role::Label)).unwrap()).unwrap()
}

fn stage(number: usize) -> Arc<dyn Transform> {
    let impute = || Impute::builder().fill("a", Fill::Median);
    let target = Encoding::Target { smooth: Smooth::Rows(1.0) };
    let encode = || Encode::builder().unknown(Unknown::Missing);
    match number {
        0 => Arc::new(impute().build().unwrap()),
        1 => Arc::new(Impute::builder().fill(Pick::Numbers, Fill::Mean).build().unwrap()),
        2 => Arc::new(Impute::builder().fill("b", Fill::Mean).indicator(true).build().unwrap()),
        3 => Arc::new(Outliers::builder().fence("a", Fence::iqr(), Action::Clip).build().unwrap()),
        4 => Arc::new(Outliers::builder().fence("b", Fence::z_score(), Action::Flag).build().unwrap()),
        5 => Arc::new(Outliers::builder().fence("b", Fence::iqr(), Action::DropRow).build().unwrap()),
        6 => Arc::new(Scale::builder().standard("a").build().unwrap()),
        7 => Arc::new(Scale::builder().min_max(Pick::Numbers).build().unwrap()),
        8 => Arc::new(encode().column("plan", Encoding::OneHot { drop_first: false }).build().unwrap()),
        9 => Arc::new(encode().column("plan", target).label("label").build().unwrap()),
        10 => Arc::new(encode().column(Pick::Texts, Encoding::Ordinal).build().unwrap()),
        11 => Arc::new(Bin::builder().column("c", Bins::Quantile(4)).build().unwrap()),
        12 => Arc::new(Bin::builder().column("b", Bins::Supervised(3)).build().unwrap()),
        13 => Arc::new(Dates::builder("at").part(DatePart::Hour).build().unwrap()),
        14 => Arc::new(Text::builder("note").part(TextPart::TfIdf { words_max: 3 }).build().unwrap()),
        15 => Arc::new(Dedup::builder().keys("id").build().unwrap()),
        16 => Arc::new(Cast::builder().column("c", CastTo::Float).build().unwrap()),
        17 => Arc::new(Nearest::builder(["a", "b"]).neighbours(2).build().unwrap()),
        18 => Arc::new(FillForward::builder("a").indicator(true).build().unwrap()),
        19 => Arc::new(Select::builder().drop("note").first(["b"]).rename("c", "d").build().unwrap()),
        20 => Arc::new(Prune::builder().duplicates(true).build().unwrap()),
        21 => Arc::new(IsolationForest::builder(["b", "c"]).trees(3).contamination(0.1).build().unwrap()),
        24 => Arc::new(IsolationForest::builder(["b", "c"]).trees(3).score(true).build().unwrap()),
        22 => Arc::new(
            Impute::builder().fill("c", Fill::MostFrequent).fill("plan", Fill::constant("none")).build().unwrap(),
        ),
        _ => Arc::new(Chain::builder().then(impute().build().unwrap()).then_shared(stage(8)).build().unwrap()),
    }
}

fn chain(stages: &[usize]) -> Chain {
    stages
        .iter()
        .fold(Chain::builder(), |chain: ChainBuilder, number| chain.then_shared(stage(*number)))
        .build()
        .unwrap()
}

type Outcome = Result<(Vec<TransformState>, Digest)>;

/// Each stage fitted by itself on all rows that those before it put out.
fn one_after_another(stages: &[usize], data: &Dataset) -> Outcome {
    let (mut rows, mut states) = (data.clone(), Vec::new());
    for number in stages {
        let fitted: Arc<dyn FittedTransform> = stage(*number).fit(&rows)?.into();
        states.push(fitted.state()?);
        rows = treated(&rows, fitted)?.hold()?;
    }
    Ok((states, rows.digest()?))
}

fn together(stages: &[usize], data: &Dataset) -> Outcome {
    let (fitted, rows) = chain(stages).fit_apply(data)?;
    let states = fitted.stages().iter().map(FittedTransform::state).collect::<Result<_>>()?;
    Ok((states, rows.digest()?))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn stages_learn_and_put_out_together_what_they_do_one_after_another(
        stages in proptest::collection::vec(0_usize..25, 1..7),
        (rows, seed, cut) in (1_u64..40, any::<u64>(), 1_usize..20),
    ) {
        let data = table(rows, seed);
        match (one_after_another(&stages, &data), together(&stages, &recut(&data, cut))) {
            (Ok(expected), Ok(found)) => prop_assert_eq!(found, expected),
            (Err(_), Err(_)) => {}
            (expected, found) => prop_assert!(false, "{:?} instead of {:?}", found.err(), expected.err()),
        }
    }
}

#[test]
fn palettes_mostly_fit() {
    // Otherwise the law above would compare errors alone.
    let data = table(30, 7);
    let failed: Vec<usize> = (0..25).filter(|number| one_after_another(&[*number], &data).is_err()).collect();
    assert_eq!(failed, [0_usize; 0]);
}

#[track_caller]
fn check(stages: &[usize], expected: &[&[usize]]) -> Vec<FitPass> {
    let passes = chain(stages).explain(&table(30, 7)).unwrap().passes;
    let found: Vec<Vec<usize>> =
        passes.iter().map(|pass| pass.stages.iter().map(|stage| stages[stage.place - 1]).collect()).collect();
    assert_eq!(found, expected);
    passes
}

#[test]
fn stages_that_do_not_look_at_what_others_change_learn_from_one_reading() {
    let passes = check(&[0, 4, 8, 11, 13, 14], &[&[0, 4, 8, 11, 13, 14]]);
    let reads = ["a", "b", "c", "plan", "note"].map(str::to_owned).to_vec();
    assert_eq!(passes[0].reads, Some(reads), "in the order of the table, each once");
    // The later one learns from what the earlier one changes.
    check(&[0, 3, 6], &[&[0], &[3], &[6]]);
    check(&[0, 2, 17], &[&[0, 2], &[17]]);
    // It looks for numbers, and new columns may be some.
    check(&[8, 7], &[&[8], &[7]]);
    check(&[8, 6], &[&[8, 6]]);
    check(&[0, 10], &[&[0, 10]]);
    // It looks for the label by its role, and so at columns that an encoding makes.
    check(&[9, 12], &[&[9], &[12]]);
    check(&[12, 9], &[&[12, 9]]);
    // Rows go.
    check(&[15, 0], &[&[15], &[0]]);
    check(&[0, 5, 6], &[&[0, 5], &[6]]);
    check(&[13, 24, 6], &[&[13, 24, 6]]);
    // Those that read by themselves stand alone.
    let passes = check(&[0, 21, 23, 13], &[&[0], &[21], &[23], &[13]]);
    assert_eq!(
        passes.iter().map(|pass| pass.reads.as_ref().map(Vec::len)).collect::<Vec<_>>(),
        [Some(1), None, None, Some(0)]
    );
}

#[test]
fn an_explanation_is_for_people_and_survives_json() {
    let told = chain(&[0, 2, 15, 21]).explain(&table(30, 7)).unwrap();
    let text = told.to_string();
    assert!(
        text.starts_with(
            "fit: 1 impute, 2 impute, 3 dedup in one reading of [\"a\", \"b\"]\nfit: 4 isolation_forest by itself\n"
        ),
        "{text}"
    );
    assert!(text.contains("dedup: 30 rows in, 8 out"), "{text}");
    assert_eq!(serde_json::from_str::<Explanation>(&serde_json::to_string(&told).unwrap()).unwrap(), told);
}

#[test]
fn a_fit_stops_wherever_it_is() {
    let data = recut(&table(30, 7), 3);
    let chain = chain(&[0, 6, 7, 21, 23]);
    let run = |stop_at: u64| {
        let asked = Arc::new(AtomicU64::new(0));
        let count = asked.clone();
        let watch = Watch::new("nightly", move || count.fetch_add(1, Ordering::Relaxed) >= stop_at);
        (chain.fit_watched(&data, &watch).map(|fitted| fitted.state().unwrap()), asked.load(Ordering::Relaxed))
    };
    let (whole, asked) = run(u64::MAX);
    assert_eq!(whole.unwrap(), chain.fit(&data).unwrap().state().unwrap());
    assert!(asked > 4 * 10, "{asked} times for 10 batches and five readings");
    for stop_at in 0..asked {
        let (stopped, _) = run(stop_at);
        assert!(matches!(&stopped, Err(Error::Cancelled { stage }) if stage == "nightly"), "{stop_at}: {stopped:?}");
    }
}
