//! What a crossing to polars and back costs per row, by type.
//!
//! `cargo bench -p mlops-core --features polars --bench interop` (the first build of polars in release takes half an hour
//! on two cores). Numbers and views share their buffers, so their time must not depend on the number of rows: even without
//! optimisation (`cargo bench --workspace --profile dev --features mlops-core/polars --bench interop`, which uses what the
//! tests have built) a million of them cross in 12 µs, one way or the other.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mlops_core::Dataset;
use mlops_core::arrow::array::{
    ArrayRef, DictionaryArray, Float64Array, Int64Array, RecordBatch, StringArray, StringViewArray,
};
use mlops_core::arrow::datatypes::UInt32Type;

const ROWS: usize = 1_000_000;

fn columns() -> Vec<(&'static str, ArrayRef)> {
    let text = |row: usize| format!("customer number {row}");
    let category = |row: usize| ["month", "year", "two years"][row % 3];
    let categories: DictionaryArray<UInt32Type> = (0..ROWS).map(|row| Some(category(row))).collect();
    vec![
        ("int", Arc::new(Int64Array::from_iter_values(0..ROWS as i64))),
        ("float", Arc::new(Float64Array::from_iter_values((0..ROWS).map(|row| row as f64)))),
        ("text_view", Arc::new(StringViewArray::from_iter_values((0..ROWS).map(text)))),
        ("text", Arc::new(StringArray::from_iter_values((0..ROWS).map(text)))),
        ("categories", Arc::new(categories)),
    ]
}

fn crossings(c: &mut Criterion) {
    for (name, array) in columns() {
        let batch = RecordBatch::try_from_iter([(name, array)]).expect("one column makes a batch");
        let data = Dataset::from_batches([batch]).expect("one batch makes a data set");
        let frame = data.to_polars().expect("the type crosses");
        let mut group = c.benchmark_group(format!("interop/{name}"));
        group.throughput(Throughput::Elements(ROWS as u64)).sample_size(10);
        group.bench_function("to_polars", |b| b.iter(|| black_box(&data).to_polars().expect("as above")));
        group.bench_function("from_polars", |b| {
            b.iter(|| Dataset::from_polars(black_box(&frame).clone()).expect("the type crosses back"));
        });
        group.finish();
    }
}

criterion_group!(benches, crossings);
criterion_main!(benches);
