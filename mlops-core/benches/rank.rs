//! Overhead of the ranking engine: everything but the work of the stages.
//!
//! `cargo bench -p mlops-core --bench rank`

use std::hint::black_box;
use std::sync::Arc;

use async_trait::async_trait;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use mlops_core::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use mlops_core::arrow::datatypes::Field;
use mlops_core::rank::{
    Budget, FixedCandidates, Hydrator, Mmr, PredicateFilter, Query, RankPipeline, RankPipelineBuilder, RequestId,
    Scored, Scorer, Slate,
};
use mlops_core::source::{Comparison, Predicate};
use mlops_core::{EventTime, Name, Result, Schema};

/// A hydrator without columns, or a scorer that has its scores.
#[derive(Debug)]
struct Nothing(Name, Vec<f64>);

#[async_trait]
impl Hydrator for Nothing {
    fn name(&self) -> &Name {
        &self.0
    }
    fn fields(&self) -> Vec<Field> {
        Vec::new()
    }
    async fn hydrate(&self, _: &Query, _: &Slate, _: Budget) -> Result<Vec<ArrayRef>> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl Scorer for Nothing {
    fn name(&self) -> &Name {
        &self.0
    }
    fn check(&self, _: &Schema) -> Result<()> {
        Ok(())
    }
    async fn score(&self, _: &Query, slate: &Slate, _: Budget) -> Result<Scored> {
        Ok(Scored { scores: self.1[..slate.len()].to_vec(), version: "m/1".into() })
    }
}

fn nothing(name: &str, rows: usize) -> Arc<Nothing> {
    let scores = (0..rows).map(|row| (row * 7_919 % 1_009) as f64).collect();
    Arc::new(Nothing(Name::new(name).expect("a name"), scores))
}

fn table(from: i64, rows: i64) -> RecordBatch {
    let ids = || from..from + rows;
    let id: ArrayRef = Arc::new(Int64Array::from_iter_values(ids()));
    let price: ArrayRef = Arc::new(Float64Array::from_iter_values(ids().map(|id| id as f64)));
    let kind: ArrayRef = Arc::new(StringArray::from_iter_values(ids().map(|id| format!("kind {}", id % 8))));
    RecordBatch::try_from_iter([("id", id), ("price", price), ("kind", kind)]).expect("a table")
}

fn source(name: &str, from: i64, rows: i64) -> Arc<FixedCandidates> {
    Arc::new(FixedCandidates::new(name, table(from, rows)).expect("candidates"))
}

fn simple(rows: i64) -> RankPipelineBuilder {
    RankPipeline::builder("bench")
        .source(source("all", 0, rows), rows as usize)
        .hydrator(nothing("hydrator", 0))
        .scorer(nothing("scorer", rows as usize), 1.0)
}

fn full(rows: i64) -> RankPipelineBuilder {
    let dear = Predicate::new("price", Comparison::Lt, rows as f64 * 0.9);
    simple(rows)
        .source(source("more", rows / 2, rows / 2), rows as usize)
        .filter(Arc::new(PredicateFilter::new("dear", dear).expect("a filter")))
        .scorer(nothing("second", rows as usize), 0.5)
        .selector(Arc::new(Mmr::new("mmr", "kind", 0.7).expect("a selector")))
}

fn bench(criterion: &mut Criterion) {
    let user: ArrayRef = Arc::new(Int64Array::from(vec![7]));
    let context = RecordBatch::try_from_iter([("user", user)]).expect("a row");
    let query = Query::new(RequestId(1), EventTime::EPOCH, context, 10).expect("a query");
    let mut group = criterion.benchmark_group("rank");
    for rows in [10, 100, 1_000] {
        for (name, builder) in [("hydrate_score_top10", simple(rows)), ("two_sources_filter_blend_mmr10", full(rows))] {
            let pipeline = builder.build().expect("a pipeline");
            group.bench_function(BenchmarkId::new(name, rows), |bencher| {
                bencher.iter(|| pipeline.rank_now(black_box(query.clone())).expect("an answer"));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
