//! The contract of [`AsOfEngine`], and the law read aloud.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::Int64Type;
use mlops_core::Dataset;

use super::times;
use crate::columns::{cast_exactly, ensure_no_nulls, micros};
use crate::error::Result;
use crate::key::pick;
use crate::offline::asof::{output_schema, time_column};
use crate::offline::{AgeQuantiles, AsOfEngine, AsOfOptions, JoinReport, TrainingSet};
use crate::service::ViewJoin;
use crate::{Entity, Error, FeatureView, KeyType, Keys, ValueType};

/// Rows of either side of a random case.
const ROWS_MAX: u64 = 40;

/// Random cases.
const CASES: u64 = 150;

/// Checks the contract of [`AsOfEngine`] on `engine`: by examples, and on random tables against [`NestedLoopEngine`].
///
/// # Panics
/// With the sentence of the contract that does not hold.
pub fn as_of_engine(engine: &dyn AsOfEngine) {
    an_age_of_exactly_the_ttl_is_valid(engine);
    the_latest_created_wins_and_then_the_last_in_order(engine);
    what_was_not_known_yet_is_left_out_when_asked(engine);
    the_ends_of_time_are_instants_like_any_other(engine);
    entity_rows_stay_as_they_are(engine);
    bad_input_is_refused_by_name(engine);
    for seed in 0..CASES {
        agrees_with_the_law_read_aloud(engine, seed);
    }
}

/// The law of the as-of join, word by word: every entity row is held against every history row. For tests only.
#[derive(Clone, Copy, Debug, Default)]
pub struct NestedLoopEngine;

impl AsOfEngine for NestedLoopEngine {
    fn join(&self, spine: &Dataset, views: &[(ViewJoin, Dataset)], options: &AsOfOptions) -> Result<TrainingSet> {
        let schema = output_schema(spine.schema(), views.iter().map(|(join, _)| join), options)?;
        let time = time_column(spine.schema(), options)?;
        let rows = spine.to_batch()?;
        ensure_no_nulls(&rows[time.as_str()], &time)?;
        let instants = micros(&rows[time.as_str()], &time)?;
        let mut columns = rows.columns().to_vec();
        let mut reports = Vec::new();
        for (join, history) in views {
            let history = Known::read(join, history)?;
            let keys = keys(&Keys::new(join.view().entity(), &pick(&rows, join.key_columns())?)?);
            let asked = keys.iter().zip(instants.values());
            let fates: Vec<Fate> = asked.map(|(key, t)| history.fate(key.as_deref(), *t, options)).collect();
            let chosen: UInt64Array = fates.iter().map(|fate| fate.matched().map(|(row, _)| row as u64)).collect();
            for values in &history.features {
                columns.push(take(values, &chosen, None)?);
            }
            reports.push(report(join, &fates, &history));
        }
        let batch = RecordBatch::try_new(schema.arrow().clone(), columns)?;
        Ok(TrainingSet::new(Dataset::held(schema, [batch])?, reports))
    }
}

/// The bytes of each key.
fn keys(keys: &Keys) -> Vec<Option<Vec<u8>>> {
    let bytes = |row| {
        let mut bytes = Vec::new();
        keys.encode(row, &mut bytes).then_some(bytes)
    };
    (0..keys.len()).map(bytes).collect()
}

/// All history of a view.
struct Known {
    keys: Vec<Option<Vec<u8>>>,
    event_times: Vec<i64>,
    /// `None` for a view without such a column.
    created: Option<Vec<Option<i64>>>,
    ttl: Option<u64>,
    features: Vec<ArrayRef>,
}

/// What became of one entity row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// History row and age.
    Matched(usize, u64),
    Expired,
    FutureOnly,
    UnknownKey,
    NullKey,
}

struct Fate {
    outcome: Outcome,
    leaked: bool,
}

impl Fate {
    fn matched(&self) -> Option<(usize, u64)> {
        if let Outcome::Matched(row, age) = self.outcome { Some((row, age)) } else { None }
    }
}

impl Known {
    fn read(join: &ViewJoin, history: &Dataset) -> Result<Self> {
        let (view, rows) = (join.view(), history.to_batch()?);
        let column = |name: &str| {
            let missing = || mlops_core::Error::schema(name, "a column", "no such column");
            Ok::<_, Error>(rows.column_by_name(name).ok_or_else(missing)?.clone())
        };
        let time = column(view.event_time())?;
        ensure_no_nulls(&time, view.event_time())?;
        let created = view.created().map(|name| micros(&column(name)?, name)).transpose()?;
        let feature = |feature: &crate::Feature| {
            cast_exactly(&column(feature.name.as_str())?, &feature.value_type.data_type(), feature.name.as_str())
        };
        Ok(Self {
            keys: keys(&Keys::of(view.entity(), &rows)?),
            event_times: micros(&time, view.event_time())?.values().to_vec(),
            created: created.map(|created| created.iter().collect()),
            ttl: view.ttl().map(|ttl| u64::try_from(ttl.as_micros()).unwrap_or(u64::MAX)),
            features: join.features().map(feature).collect::<Result<_>>()?,
        })
    }

    fn fate(&self, key: Option<&[u8]>, t: i64, options: &AsOfOptions) -> Fate {
        let Some(key) = key else { return Fate { outcome: Outcome::NullKey, leaked: false } };
        let of_key: Vec<usize> = (0..self.keys.len()).filter(|row| self.keys[*row].as_deref() == Some(key)).collect();
        let created = |row: usize| self.created.as_ref().and_then(|created| created[row]);
        let age = |row: usize| i128::from(t) - i128::from(self.event_times[row]);
        let alive = |row: &usize| self.ttl.is_none_or(|ttl| age(*row) <= i128::from(ttl));
        let known = |row: &usize| {
            !options.is_as_known() || self.created.is_none() || created(*row).is_some_and(|created| created <= t)
        };
        let best =
            |rows: &[usize]| rows.iter().copied().max_by_key(|row| (self.event_times[*row], created(*row), *row));
        let past: Vec<usize> = of_key.iter().copied().filter(|row| age(*row) >= 0).collect();
        let past_known: Vec<usize> = past.iter().copied().filter(known).collect();
        let candidates: Vec<usize> = past_known.iter().copied().filter(alive).collect();
        let latest = best(&past).filter(alive);
        let outcome = match best(&candidates) {
            Some(row) => Outcome::Matched(row, age(row) as u64),
            None if of_key.is_empty() => Outcome::UnknownKey,
            None if past_known.is_empty() => Outcome::FutureOnly,
            None => Outcome::Expired,
        };
        Fate { outcome, leaked: latest.and_then(created).is_some_and(|created| created > t) }
    }
}

fn report(join: &ViewJoin, fates: &[Fate], history: &Known) -> JoinReport {
    let count = |outcome| fates.iter().filter(|fate| fate.outcome == outcome).count() as u64;
    let mut ages: Vec<u64> = fates.iter().filter_map(|fate| fate.matched().map(|(_, age)| age)).collect();
    ages.sort_unstable();
    let rank = |percent: usize| ages[((ages.len() * percent).div_ceil(100)).max(1) - 1];
    let age = (!ages.is_empty()).then(|| AgeQuantiles {
        min_us: ages[0],
        p50_us: rank(50),
        p90_us: rank(90),
        p99_us: rank(99),
        max_us: ages[ages.len() - 1],
    });
    JoinReport {
        view: join.label().clone(),
        rows: fates.len() as u64,
        matched: ages.len() as u64,
        expired: count(Outcome::Expired),
        future_only: count(Outcome::FutureOnly),
        unknown_key: count(Outcome::UnknownKey),
        null_key: count(Outcome::NullKey),
        leaked: fates.iter().filter(|fate| fate.leaked).count() as u64,
        age,
        history_rows: history.keys.len() as u64,
        history_null_keys: history.keys.iter().filter(|key| key.is_none()).count() as u64,
    }
}

/// One row of either side: key, instant, created, value.
type Row = (Option<i64>, i64, Option<i64>, Option<i64>);

fn numbers(ttl: Option<Duration>) -> FeatureView {
    let user = Entity::builder("user").key("user_id", KeyType::Int64).build().expect("a valid entity");
    let builder = FeatureView::builder("numbers", user).created("created").feature("value", ValueType::Int64);
    let builder = builder.feature("share", ValueType::Float64);
    ttl.into_iter().fold(builder, crate::FeatureViewBuilder::ttl).build().expect("a valid view")
}

fn words() -> FeatureView {
    let pair = Entity::builder("pair").key("word", KeyType::Utf8).key("user_id", KeyType::Int64);
    let builder =
        FeatureView::builder("words", pair.build().expect("a valid entity")).feature("word_of", ValueType::Utf8);
    builder.ttl(Duration::from_micros(3)).build().expect("a valid view")
}

fn table(rows: &[Row]) -> Dataset {
    let ints = |value: fn(&Row) -> Option<i64>| Arc::new(rows.iter().map(value).collect::<Int64Array>()) as ArrayRef;
    let word = |row: &Row| row.0.filter(|key| *key != 3).map(|key| format!("w{}", key.rem_euclid(2)));
    let share = |row: &Row| row.3.map(|v| if v % 5 == 0 { f64::NAN } else { 1.0 / v as f64 });
    let columns: [(&str, ArrayRef, bool); 7] = [
        ("user_id", ints(|row| row.0), true),
        ("word", Arc::new(rows.iter().map(word).collect::<StringArray>()), true),
        ("event_timestamp", times(rows.iter().map(|row| Some(row.1))), true),
        ("created", times(rows.iter().map(|row| row.2)), true),
        ("value", ints(|row| row.3), true),
        ("share", Arc::new(rows.iter().map(share).collect::<Float64Array>()), true),
        ("word_of", Arc::new(rows.iter().map(|row| row.3.map(|v| format!("{v}"))).collect::<StringArray>()), true),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns).expect("columns of one length");
    Dataset::from_batches([batch]).expect("one batch")
}

fn spine(rows: &[Row]) -> Dataset {
    let request = mlops_core::source::ScanRequest::all().columns(["word", "user_id", "event_timestamp"]);
    let stream = table(rows).scan(&request).expect("columns of the table");
    Dataset::collect(stream).expect("rows in memory")
}

/// Values for keys and instants, from a view of numbers.
fn values(engine: &dyn AsOfEngine, rows: &[Row], asked: &[(i64, i64)], ttl_us: Option<u64>) -> Vec<Option<i64>> {
    known_values(engine, rows, asked, ttl_us, false)
}

fn known_values(
    engine: &dyn AsOfEngine,
    rows: &[Row],
    asked: &[(i64, i64)],
    ttl_us: Option<u64>,
    as_known: bool,
) -> Vec<Option<i64>> {
    let asked: Vec<Row> = asked.iter().map(|(key, t)| (Some(*key), *t, None, None)).collect();
    let views = [(ViewJoin::new(&numbers(ttl_us.map(Duration::from_micros))), table(rows))];
    let set = engine.join(&spine(&asked), &views, &AsOfOptions::new().as_known(as_known)).expect("a join succeeds");
    set.dataset.to_batch().expect("rows")["value"].as_primitive::<Int64Type>().iter().collect()
}

fn an_age_of_exactly_the_ttl_is_valid(engine: &dyn AsOfEngine) {
    let rows = [(Some(1), 100, None, Some(7))];
    let found = values(engine, &rows, &[(1, 99), (1, 100), (1, 110), (1, 111)], Some(10));
    assert_eq!(found, [None, Some(7), Some(7), None], "both ends of the ttl are inside");
}

fn the_latest_created_wins_and_then_the_last_in_order(engine: &dyn AsOfEngine) {
    let rows = [
        (Some(1), 5, Some(9), Some(1)),
        (Some(1), 5, Some(8), Some(2)),
        (Some(2), 5, Some(9), Some(3)),
        (Some(2), 5, Some(9), Some(4)),
        (Some(3), 5, Some(i64::MIN), Some(5)),
        (Some(3), 5, None, Some(6)),
        (Some(4), 6, None, None),
        (Some(4), 5, Some(9), Some(8)),
    ];
    let found = values(engine, &rows, &[(1, 50), (2, 50), (3, 50), (4, 50)], None);
    assert_eq!(found, [Some(1), Some(4), Some(5), None], "event time, then created, then the order of the rows decide");
}

fn what_was_not_known_yet_is_left_out_when_asked(engine: &dyn AsOfEngine) {
    let rows = [(Some(1), 5, Some(6), Some(1)), (Some(1), 7, Some(90), Some(2)), (Some(1), 4, None, Some(3))];
    let asked = [(1, 50), (1, 90), (1, 4)];
    assert_eq!(known_values(engine, &rows, &asked, None, true), [Some(1), Some(2), None]);
    assert_eq!(known_values(engine, &rows, &asked, None, false), [Some(2), Some(2), Some(3)]);
}

fn the_ends_of_time_are_instants_like_any_other(engine: &dyn AsOfEngine) {
    let rows =
        [(Some(1), i64::MIN, None, Some(1)), (Some(1), i64::MAX, None, Some(2)), (Some(i64::MIN), -1, None, Some(3))];
    let asked = [(1, i64::MIN), (1, 0), (1, i64::MAX - 1), (1, i64::MAX), (i64::MIN, -1), (i64::MAX, 0)];
    let forever = [Some(1), Some(1), Some(1), Some(2), Some(3), None];
    assert_eq!(values(engine, &rows, &asked, None), forever);
    assert_eq!(values(engine, &rows, &asked, Some(u64::MAX)), forever, "a ttl longer than time never expires");
    assert_eq!(values(engine, &rows, &asked, Some(1)), [Some(1), None, None, Some(2), Some(3), None]);
}

fn entity_rows_stay_as_they_are(engine: &dyn AsOfEngine) {
    let rows = [(Some(1), 5, None, Some(1))];
    let asked: Vec<Row> =
        [(Some(1), 9), (None, 9), (Some(2), 9), (Some(1), 9), (Some(1), 4)].map(|(k, t)| (k, t, None, None)).into();
    let views = [(ViewJoin::new(&numbers(None)), table(&rows))];
    let set = engine.join(&spine(&asked), &views, &AsOfOptions::new()).expect("a join succeeds");
    let joined = set.dataset.to_batch().expect("rows");
    let before = spine(&asked).to_batch().expect("rows");
    assert_eq!(joined.columns()[..3], before.columns()[..], "no entity row is dropped, duplicated or moved");
    assert_eq!(joined["value"].null_count(), 3, "an entity row without a candidate has nulls");
    let none = engine.join(&spine(&[]), &views, &AsOfOptions::new()).expect("a join of no rows succeeds");
    assert_eq!(none.dataset.num_rows().expect("rows"), 0);
    let alone = engine.join(&spine(&asked), &[], &AsOfOptions::new()).expect("a join with no view succeeds");
    assert_eq!(alone.dataset.schema().len(), 3);
}

fn bad_input_is_refused_by_name(engine: &dyn AsOfEngine) {
    let join = |spine: &Dataset, history: &Dataset, twice: bool| {
        let one = (ViewJoin::new(&numbers(None)), history.clone());
        let views = if twice { vec![one.clone(), one] } else { vec![one] };
        engine.join(spine, &views, &AsOfOptions::new()).map(|_| ())
    };
    let rows = [(Some(1), 5, None, Some(1))];
    let without = |data: &Dataset, column: &str| {
        let kept: Vec<&str> = data.schema().names().filter(|name| *name != column).collect();
        let stream = data.scan(&mlops_core::source::ScanRequest::all().columns(kept)).expect("columns of the table");
        Dataset::collect(stream).expect("rows in memory")
    };
    for column in ["user_id", "event_timestamp"] {
        let error =
            join(&without(&spine(&rows), column), &table(&rows), false).expect_err("a missing column is refused");
        assert!(matches!(error, Error::Core(mlops_core::Error::Schema { .. })), "{error}");
    }
    for column in ["user_id", "event_timestamp", "created", "value"] {
        let error =
            join(&spine(&rows), &without(&table(&rows), column), false).expect_err("a missing column is refused");
        assert!(error.to_string().contains(column), "{error}");
    }
    let error = join(&spine(&rows), &table(&rows), true).expect_err("two columns of one name are refused");
    assert!(matches!(error, Error::Collision { .. }), "{error}");
}

/// A small repeatable generator: Knuth's constants, the high bits.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn key(&mut self) -> Option<i64> {
        match self.below(12) {
            0 => None,
            1 => Some(i64::MIN),
            2 => Some(i64::MAX),
            other => Some(other as i64 - 5),
        }
    }

    fn instant(&mut self) -> i64 {
        match self.below(20) {
            0 => i64::MIN,
            1 => i64::MAX,
            _ => self.below(16) as i64 - 8,
        }
    }

    fn rows(&mut self) -> Vec<Row> {
        let count = self.below(ROWS_MAX);
        let row = |_| {
            let created = (self.below(4) > 0).then(|| self.instant());
            (self.key(), self.instant(), created, (self.below(6) > 0).then(|| self.below(1_000) as i64))
        };
        (0..count).map(row).collect()
    }
}

fn agrees_with_the_law_read_aloud(engine: &dyn AsOfEngine, seed: u64) {
    let mut random = Random(seed);
    let (asked, rows) = (spine(&random.rows()), table(&random.rows()));
    let ttl = [None, Some(Duration::from_micros(1 + random.below(6))), Some(Duration::MAX)][random.below(3) as usize];
    let views = [(ViewJoin::new(&numbers(ttl)), rows.clone()), (ViewJoin::new(&words()), rows.clone())];
    let options = AsOfOptions::new().as_known(seed.is_multiple_of(2)).full_names(seed.is_multiple_of(3));
    let expected = NestedLoopEngine.join(&asked, &views, &options).expect("the law holds for all tables");
    let found = engine.join(&asked, &views, &options).expect("a join succeeds");
    assert_eq!(found.reports, expected.reports, "reports are exact (case {seed})");
    assert_eq!(
        found.dataset.schema(),
        expected.dataset.schema(),
        "columns are named and annotated alike (case {seed})"
    );
    let rows = |set: &TrainingSet| set.dataset.to_batch().expect("rows");
    assert_eq!(rows(&found), rows(&expected), "values are the same, bit for bit (case {seed})");
}
