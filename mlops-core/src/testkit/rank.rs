//! Kits of the stages of ranking.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use arrow::array::{Array, ArrayRef, RecordBatch};

use crate::rank::{
    Budget, CandidateSource, Filter, FixedCandidates, Hydrator, Observer, Query, Scorer, Selector, Served, Slate,
};
use crate::{Result, Schema};

const NO_LIMIT: Budget = Budget { left: None };
const NO_TIME: Budget = Budget { left: Some(Duration::ZERO) };

/// Checks the contract of [`CandidateSource`] on a fresh source made by `make`. `query` is one that it answers.
///
/// # Panics
/// With the sentence that does not hold.
pub async fn candidate_source<S: CandidateSource>(make: impl Fn() -> S, query: &Query) {
    let source = make();
    assert_eq!(source.name(), make().name(), "the name does not change");
    let fields = source.fields();
    assert!(!fields.is_empty(), "the key column is announced");
    for limit in [1, 2, 7, 100_000] {
        let found = source.retrieve(query, limit, NO_LIMIT).await;
        let found = found.unwrap_or_else(|e| panic!("the source answers the query of the kit: {e}"));
        assert!(found.num_rows() <= limit, "at most `limit` candidates: {} of {limit}", found.num_rows());
        let announced: Vec<_> = fields.iter().map(|f| (f.name(), f.data_type())).collect();
        let have: Vec<_> = found.schema_ref().fields().iter().map(|f| (f.name(), f.data_type())).collect();
        assert_eq!(have, announced, "candidates have the columns that were announced");
        assert_eq!(found.column(0).null_count(), 0, "keys are never null");
        FixedCandidates::new("kit", found).expect("keys come once");
    }
    drop_early(source.retrieve(query, 1, NO_TIME));
    assert!(source.retrieve(query, 1, NO_LIMIT).await.is_ok(), "a call that is dropped does no harm to the next");
}

/// Checks the contract of [`Hydrator`] on a fresh hydrator made by `make`. `slate` is one that it has features for.
///
/// # Panics
/// With the sentence that does not hold.
pub async fn hydrator<S: Hydrator>(make: impl Fn() -> S, query: &Query, slate: &Slate) {
    let hydrator = make();
    assert_eq!(hydrator.name(), make().name(), "the name does not change");
    let whole = columns(&hydrator, query, slate).await;
    for positions in samples(slate.len()) {
        let part = slate.take(&positions).expect("positions of the slate");
        let alone = columns(&hydrator, query, &part).await;
        assert_eq!(alone, take(&whole, &positions), "a candidate's features do not depend on the others");
    }
    drop_early(hydrator.hydrate(query, slate, NO_TIME));
    assert_eq!(columns(&hydrator, query, slate).await, whole, "a call that is dropped does no harm to the next");
}

async fn columns(hydrator: &impl Hydrator, query: &Query, slate: &Slate) -> Vec<ArrayRef> {
    let columns = hydrator.hydrate(query, slate, NO_LIMIT).await;
    let columns = columns.unwrap_or_else(|e| panic!("the hydrator answers for {} candidates: {e}", slate.len()));
    let fields = hydrator.fields();
    assert_eq!(columns.len(), fields.len(), "one array per field");
    for (field, column) in fields.iter().zip(&columns) {
        assert_eq!(column.len(), slate.len(), "`{}` has one value per candidate", field.name());
        assert_eq!(column.data_type(), field.data_type(), "`{}` has the type of its field", field.name());
        assert!(field.is_nullable() || column.null_count() == 0, "`{}` has nulls only where it may", field.name());
    }
    columns
}

/// Checks the contract of [`Filter`] on a fresh filter made by `make`. `slate` has the columns that it reads.
///
/// # Panics
/// With the sentence that does not hold.
pub async fn filter<S: Filter>(make: impl Fn() -> S, query: &Query, slate: &Slate) {
    let filter = make();
    assert_eq!(filter.name(), make().name(), "the name does not change");
    accepts(slate, |columns| filter.check(columns));
    let whole = keep(&filter, query, slate).await;
    for positions in samples(slate.len()) {
        let part = slate.take(&positions).expect("positions of the slate");
        let expected: Vec<bool> = positions.iter().map(|p| whole[*p]).collect();
        let alone = keep(&filter, query, &part).await;
        assert_eq!(alone, expected, "a candidate stays or goes whatever the others are");
    }
    drop_early(filter.keep(query, slate, NO_TIME));
    assert_eq!(keep(&filter, query, slate).await, whole, "a call that is dropped does no harm to the next");
}

async fn keep(filter: &impl Filter, query: &Query, slate: &Slate) -> Vec<bool> {
    let keep = filter.keep(query, slate, NO_LIMIT).await;
    let keep = keep.unwrap_or_else(|e| panic!("the filter answers for {} candidates: {e}", slate.len()));
    assert_eq!(keep.len(), slate.len(), "one value per candidate");
    assert_eq!(keep.null_count(), 0, "no value is null");
    keep.values().iter().collect()
}

/// Checks the contract of [`Scorer`] on a fresh scorer made by `make`. `slate` has the columns that it reads.
///
/// # Panics
/// With the sentence that does not hold.
pub async fn scorer<S: Scorer>(make: impl Fn() -> S, query: &Query, slate: &Slate) {
    let scorer = make();
    assert_eq!(scorer.name(), make().name(), "the name does not change");
    accepts(slate, |columns| scorer.check(columns));
    let whole = scores(&scorer, query, slate).await;
    for positions in samples(slate.len()) {
        let part = slate.take(&positions).expect("positions of the slate");
        let expected: Vec<u64> = positions.iter().map(|p| whole[*p]).collect();
        let alone = scores(&scorer, query, &part).await;
        assert_eq!(alone, expected, "a candidate's score does not depend on the others, bit for bit");
    }
    drop_early(scorer.score(query, slate, NO_TIME));
    assert_eq!(scores(&scorer, query, slate).await, whole, "a call that is dropped does no harm to the next");
}

async fn scores(scorer: &impl Scorer, query: &Query, slate: &Slate) -> Vec<u64> {
    let scored = scorer.score(query, slate, NO_LIMIT).await;
    let scored = scored.unwrap_or_else(|e| panic!("the scorer answers for {} candidates: {e}", slate.len()));
    assert_eq!(scored.scores.len(), slate.len(), "one score per candidate");
    scored.scores.iter().map(|score| score.to_bits()).collect()
}

/// Checks the contract of [`Selector`] on a fresh selector made by `make`. `slate` has the columns that it reads.
///
/// # Panics
/// With the sentence that does not hold.
pub fn selector<S: Selector>(make: impl Fn() -> S, query: &Query, slate: &Slate) {
    let selector = make();
    assert_eq!(selector.name(), make().name(), "the name does not change");
    let rising = |row: usize| row as f64;
    let with_gaps = |row: usize| if row.is_multiple_of(3) { f64::NAN } else { -(row as f64) };
    let kinds: [&dyn Fn(usize) -> f64; 4] = [&rising, &with_gaps, &|_| f64::NAN, &|_| f64::INFINITY];
    for size in [0, 1, slate.len() / 2, slate.len()] {
        let part = slate.take(&(0..size.min(slate.len())).collect::<Vec<_>>()).expect("positions of the slate");
        for (kind, limit) in kinds.iter().flat_map(|kind| [1, 2, part.len() + 1].map(|limit| (kind, limit))) {
            let scores: Vec<f64> = (0..part.len()).map(kind).collect();
            let select = |selector: &S| {
                let chosen = selector.select(query, &part, &scores, limit);
                chosen.unwrap_or_else(|e| panic!("the selector chooses from {} candidates: {e}", part.len()))
            };
            let chosen = select(&selector);
            assert!(chosen.len() <= limit, "at most `limit` positions: {chosen:?}");
            assert!(chosen.iter().all(|p| *p < part.len()), "positions of the slate: {chosen:?}");
            let mut distinct = chosen.clone();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!(distinct.len(), chosen.len(), "no position comes twice: {chosen:?}");
            let number = |p: &&usize| !scores[**p].is_nan();
            if let (Some(first), true) = (chosen.first(), scores.iter().any(|s| !s.is_nan())) {
                assert!(number(&first), "a NaN score is below every number: {chosen:?}");
            }
            assert_eq!(chosen, select(&selector), "equal slates give equal answers");
            assert_eq!(chosen, select(&make()), "equal slates give equal answers");
        }
    }
}

/// Checks the contract of [`Observer`] on a fresh observer made by `make`: it takes answers of any size from any number of
/// threads, more than it has room for, and without a panic.
///
/// # Panics
/// With the sentence that does not hold.
pub fn observer<S: Observer>(make: impl Fn() -> S, query: &Query, slate: &Slate) {
    let observer = make();
    assert_eq!(observer.name(), make().name(), "the name does not change");
    let served = |slate: Slate| {
        Arc::new(Served {
            query: query.clone(),
            scores: vec![f64::NAN; slate.len()],
            slate,
            versions: Vec::new(),
            filtered: Vec::new(),
            degraded: Vec::new(),
            took: Duration::from_micros(5),
        })
    };
    let empty = served(slate.take(&[]).expect("nothing of the slate"));
    let whole = served(slate.clone());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..2_500).for_each(|_| [&empty, &whole].into_iter().for_each(|s| observer.observe(s))));
        }
    });
}

/// Which rows to ask for on their own: each alone (up to 20), all backwards, none.
fn samples(rows: usize) -> Vec<Vec<usize>> {
    let mut samples: Vec<Vec<usize>> = (0..rows.min(20)).map(|row| vec![row]).collect();
    samples.push((0..rows).rev().collect());
    samples.push(Vec::new());
    samples
}

fn take(columns: &[ArrayRef], positions: &[usize]) -> Vec<ArrayRef> {
    let positions: arrow::array::UInt32Array = positions.iter().map(|p| *p as u32).collect::<Vec<_>>().into();
    let take = |column: &ArrayRef| arrow::compute::take(column, &positions, None).expect("positions of the column");
    columns.iter().map(take).collect()
}

fn accepts(slate: &Slate, check: impl Fn(&Schema) -> Result<()>) {
    let schema = |rows: &RecordBatch| Schema::new(rows.schema()).expect("the slate has a schema");
    check(&schema(slate.rows())).unwrap_or_else(|e| panic!("the columns of the kit's slate suffice: {e}"));
}

/// Polls once, then drops, as a late stage is.
fn drop_early(call: impl Future) {
    let _ = pin!(call).poll(&mut Context::from_waker(Waker::noop()));
}
