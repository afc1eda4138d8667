//! How fast the generator is: `cargo run --release -p shop --example throughput -- [TABLE]`.
//!
//! Without a name all tables are made, one after the other: a million customers, 200 000 requests.

use std::time::Instant;

use arrow::array::RecordBatch;
use mlops_core::{Error, Result};
use shop::churn::Churn;
use shop::{Settings, Shop};

const TABLES: [&str; 7] = ["impressions", "complaints", "customers", "usage", "churn", "requests", "outcomes"];

fn main() -> Result<()> {
    let settings = Settings::builder().customers(1_000_000).requests_per_day(20_000).days(10).build()?;
    let shop = Shop::new(settings);
    match std::env::args().nth(1) {
        Some(table) => measure(&shop, &table),
        None => TABLES.iter().try_for_each(|table| measure(&shop, table)),
    }
}

fn measure(shop: &Shop, table: &str) -> Result<()> {
    let started = Instant::now();
    let rows = match table {
        "impressions" => count(shop.impressions(shop.all_days())),
        "complaints" => count(shop.complaints(shop.all_days())),
        "customers" => count(shop.customers()),
        "usage" => count(shop.usage(0..7)),
        "churn" => count(Churn::new(1_000_000, 7)),
        "requests" => Ok(shop.requests(shop.all_days()).count()),
        "outcomes" => shop
            .requests(shop.all_days())
            .try_fold(0, |rows, request| Ok(rows + shop.respond(&request, &request.candidates)?.len())),
        _ => Err(Error::not_found("table", table)),
    }?;
    let seconds = started.elapsed().as_secs_f64();
    println!("{table}: {rows} rows in {seconds:.2} s, {:.0} a second", rows as f64 / seconds);
    Ok(())
}

fn count(mut batches: impl Iterator<Item = Result<RecordBatch>>) -> Result<usize> {
    batches.try_fold(0, |rows, batch| Ok(rows + batch?.num_rows()))
}
