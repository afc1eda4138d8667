//! Fitting and applying each transform on a million rows, and one request's row through a chain.
//!
//! `cargo bench -p mlops-core --bench clean`

mod shared;

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mlops_core::Schema;
use mlops_core::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use mlops_core::clean::{
    Action, Bin, Bins, Chain, Dedup, Encode, Encoding, Fence, FittedTransform, FittedTransformExt, Impute, Keep,
    Outliers, Pick, Scale, ScaleBuilder, Select, Smooth, Strategy, Text, TextPart, Transform, TransformExt,
};
use mlops_core::schema::Role;
use shared::{ROWS, mix, table};

/// An id that comes about 1.1 times, four columns of floats with 2 % gaps, a column of text.
fn batch(first: usize, rows: usize) -> RecordBatch {
    let each = move |salt: u64| (first..first + rows).map(move |row| mix(row as u64 ^ salt << 32));
    let floats = |salt: u64| {
        let cell = |r: u64| (!r.is_multiple_of(50)).then_some((r % 1_000_000) as f64 / 7.0);
        Arc::new(each(salt).map(cell).collect::<Float64Array>()) as ArrayRef
    };
    let plans = ["prepaid", "postpaid", "business", "student"];
    let plan = |r: u64| (!r.is_multiple_of(50)).then_some(plans[(r % 4) as usize]);
    let columns: [(&str, ArrayRef, bool); 6] = [
        ("id", Arc::new(Int64Array::from_iter_values(each(0).map(|r| (r % (5 * ROWS as u64)) as i64))), false),
        ("a", floats(1), true),
        ("b", floats(2), true),
        ("c", floats(3), true),
        ("d", floats(4), true),
        ("plan", Arc::new(each(5).map(plan).collect::<StringArray>()), true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).expect("columns of one length")
}

fn with_key(schema: &Schema) -> Schema {
    schema.with_role("id", Role::Key).expect("the column exists")
}

fn transforms() -> Vec<(&'static str, Box<dyn Transform>)> {
    let impute = |strategy| Impute::builder().fill(Pick::Numbers, strategy).build().expect("sound settings");
    let mode = Impute::builder().fill("plan", Strategy::MostFrequent).build().expect("sound settings");
    let outliers = |fence| {
        let outliers = Outliers::builder().fence(Pick::Numbers, fence, Action::Clip);
        outliers.build().expect("sound settings")
    };
    let dedup = |keep| Dedup::builder().keys("id").keep(keep).build().expect("sound settings");
    let select = Select::builder().drop_constant(true).missing_max(0.5).build().expect("sound settings");
    let scale = Scale::builder().standard(Pick::Numbers).build().expect("sound settings");
    let scaling = |builder: ScaleBuilder| builder.build().expect("sound settings");
    let encode = |encoding| {
        let encode = Encode::builder().column("plan", encoding).label("id");
        encode.build().expect("sound settings")
    };
    let bin = Bin::builder().column(Pick::Numbers, Bins::Quantile(10));
    let text = Text::builder("plan").part(TextPart::Chars).part(TextPart::Bag { columns: 8 });
    vec![
        ("impute_mean_4_columns", Box::new(impute(Strategy::Mean))),
        ("impute_median_4_columns", Box::new(impute(Strategy::Median))),
        ("impute_most_frequent_text", Box::new(mode)),
        ("outliers_iqr_4_columns", Box::new(outliers(Fence::iqr()))),
        ("outliers_z_score_4_columns", Box::new(outliers(Fence::z_score()))),
        ("select", Box::new(select)),
        ("scale_standard_4_columns", Box::new(scale)),
        ("scale_quantile_4_columns", Box::new(scaling(Scale::builder().quantile(Pick::Numbers)))),
        ("scale_power_4_columns", Box::new(scaling(Scale::builder().power(Pick::Numbers)))),
        ("encode_one_hot_text", Box::new(encode(Encoding::OneHot { drop_first: false }))),
        ("encode_target_text", Box::new(encode(Encoding::Target { smooth: Smooth::Auto }))),
        ("bin_quantile_4_columns", Box::new(bin.build().expect("sound settings"))),
        ("text_length_and_bag", Box::new(text.build().expect("sound settings"))),
        ("dedup_first", Box::new(dedup(Keep::First))),
        ("dedup_last", Box::new(dedup(Keep::Last))),
    ]
}

fn benches(criterion: &mut Criterion) {
    let data = table(batch);
    let data = data.with_schema(with_key(data.schema())).expect("the same columns");

    let mut group = criterion.benchmark_group("clean_1m_rows");
    group.sample_size(10).throughput(Throughput::Elements(ROWS as u64));
    for (name, transform) in transforms() {
        let fitted = transform.fit(&data).expect("it fits");
        group.bench_function(format!("{name}/fit"), |b| b.iter(|| transform.fit(black_box(&data)).expect("it fits")));
        group.bench_function(format!("{name}/apply"), |b| {
            b.iter(|| fitted.changes_of(black_box(&data)).expect("it applies"));
        });
    }
    group.finish();

    let chain = Chain::builder()
        .then(Outliers::builder().fence(Pick::Numbers, Fence::iqr(), Action::Clip).build().expect("sound settings"))
        .then(Impute::builder().fill(Pick::Numbers, Strategy::Median).indicator(true).build().expect("sound settings"))
        .then(Scale::builder().standard(["a", "b", "c", "d"]).build().expect("sound settings"))
        .build()
        .expect("three stages");
    let fitted = chain.fit_shared(&data).expect("it fits");
    let row = with_key(data.schema()).attach(&batch(7, 1)).expect("the same columns");
    let schema = Schema::new(row.schema()).expect("a schema");
    let mut pass = fitted.begin(&schema).expect("the columns that it was fitted on");
    criterion.bench_function("clean_one_row/chain_of_3_pass", |b| {
        b.iter(|| pass.apply(black_box(&row)).expect("it applies"));
    });
    criterion.bench_function("clean_one_row/chain_of_3_apply_batch", |b| {
        b.iter(|| fitted.apply_batch(black_box(&row)).expect("it applies"));
    });
}

criterion_group!(clean, benches);
criterion_main!(clean);
