//! How fast the generator is: `cargo run --release -p shop --example throughput`.

use std::time::Instant;

use shop::{Settings, Shop};

fn main() -> mlops_core::Result<()> {
    let settings = Settings::builder().customers(1_000_000).requests_per_day(20_000).days(10).build()?;
    let shop = Shop::new(settings);
    measure("impressions", shop.impressions(shop.all_days()))?;
    measure("complaints", shop.complaints(shop.all_days()))?;
    measure("customers", shop.customers())?;
    measure("usage", shop.usage(0..7))?;
    measure("churn", shop::churn::Churn::new(1_000_000, 7))?;
    let started = Instant::now();
    let requests = shop
        .requests(0..5)
        .try_fold(0_u32, |requests, request| shop.respond(&request, &request.candidates).map(|_| requests + 1))?;
    report("live requests", requests as usize, started);
    Ok(())
}

fn measure(
    name: &str,
    batches: impl Iterator<Item = mlops_core::Result<arrow::array::RecordBatch>>,
) -> mlops_core::Result<()> {
    let started = Instant::now();
    let mut rows = 0;
    for batch in batches {
        rows += batch?.num_rows();
    }
    report(name, rows, started);
    Ok(())
}

fn report(name: &str, rows: usize, started: Instant) {
    let seconds = started.elapsed().as_secs_f64();
    println!("{name}: {rows} in {seconds:.2} s, {:.0} a second", rows as f64 / seconds);
}
