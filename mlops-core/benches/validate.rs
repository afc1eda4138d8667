//! Ten rules over a million rows in one pass, and one row on the request path.
//!
//! `cargo bench -p mlops-core --bench validate`

mod shared;

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mlops_core::arrow::array::{
    ArrayRef, DictionaryArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use mlops_core::arrow::datatypes::Int32Type;
use mlops_core::time::EventTime;
use mlops_core::validate::{Columns, NullRatio, OneOf, Pattern, Range, RowCount, Rule, Severity, Suite, Unique};
use shared::{ROWS, mix, table};

fn batch(first: usize, rows: usize) -> RecordBatch {
    let each = move || (first..first + rows).map(|row| mix(row as u64));
    let plans = ["prepaid", "postpaid", "business", "student"];
    let phone = |r: u64| format!("09{:08}", r % 100_000_000);
    let columns: [(&str, ArrayRef, bool); 7] = [
        ("id", Arc::new(Int64Array::from_iter_values((first..first + rows).map(|row| row as i64))), false),
        (
            "order",
            Arc::new(StringArray::from_iter_values((first..first + rows).map(|row| format!("order-{row:09}")))),
            false,
        ),
        ("age", Arc::new(each().map(|r| (r % 50 != 0).then_some((r % 90) as i64)).collect::<Int64Array>()), true),
        ("price", Arc::new(each().map(|r| Some((r % 1_000_000) as f64 / 7.0)).collect::<Float64Array>()), true),
        ("phone", Arc::new(StringArray::from_iter_values(each().map(phone))), false),
        ("plan", Arc::new(each().map(|r| plans[(r % 4) as usize]).collect::<DictionaryArray<Int32Type>>()), false),
        ("at", Arc::new(TimestampMicrosecondArray::from_iter_values(each().map(|r| (r >> 14) as i64))), false),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).expect("columns of one length")
}

fn rules() -> [(&'static str, Rule); 10] {
    [
        ("columns", Columns::of(["id", "order", "age", "price"]).into()),
        ("rows", RowCount::at_least(1).into()),
        ("id_unique", Unique::of(["id"]).into()),
        ("order_unique", Unique::of(["order"]).into()),
        ("age_known", NullRatio::of("age").max(0.05).into()),
        ("age_sane", Range::of("age").at_least(0).below(120).into()),
        ("price_sane", Range::of("price").at_least(0).at_most(1e9).into()),
        ("phone_form", Pattern::of("phone", "0[35789][0-9]{8}").into()),
        ("plan_known", OneOf::of("plan", ["prepaid", "postpaid", "business", "student"]).into()),
        ("at_sane", Range::of("at").at_least(EventTime::EPOCH).into()),
    ]
}

fn suite(rules: impl IntoIterator<Item = (&'static str, Rule)>) -> Suite {
    rules.into_iter().try_fold(Suite::new(), |suite, (id, rule)| suite.rule(id, rule)).expect("rules with names")
}

fn benches(criterion: &mut Criterion) {
    let data = table(batch);
    let all = suite(rules());
    assert!(all.run(&data).expect("it runs").passed(Severity::Info));

    let mut group = criterion.benchmark_group("validate_1m_rows");
    group.sample_size(10).throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("ten_rules", |b| b.iter(|| all.run(black_box(&data)).expect("it runs")));
    for (id, rule) in rules() {
        let one = suite([(id, rule)]);
        group.bench_function(id, |b| b.iter(|| one.run(black_box(&data)).expect("it runs")));
    }
    group.finish();

    let row = batch(7, 1);
    criterion.bench_function("validate_one_row", |b| b.iter(|| all.check_row(black_box(&row)).expect("it runs")));
}

criterion_group!(validate, benches);
criterion_main!(validate);
