//! Our side of every comparison in `examples/compare`.
//!
//! `bench NAME --data DIR --json` runs one job and prints one JSON object: processor and wall seconds, peak memory, rows, and
//! the checksum of the result, which must be that of the peers. Jobs that make their rows themselves take `--gb`.

mod as_of_join;
mod clean;
mod csv;
mod drift;
mod flat;
mod materialize;
mod online_read;
mod orders;
mod pii;
mod postgres;
mod profile;
mod redis_read;
mod serve;
mod usage;
mod validate;
mod vector_search;
mod windows;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use serde_json::{Map, Value, json};

use usage::Usage;

/// Runs one side of a comparison.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// What to run.
    name: Job,
    /// The folder with the data that the peers' generator wrote.
    #[arg(long, value_name = "DIR", default_value = ".")]
    data: PathBuf,
    /// Size in memory of the rows of `flat-profile` and `flat-validate`, in gigabytes.
    #[arg(long, value_name = "GB", default_value_t = 1.0)]
    gb: f64,
    /// Where `materialize` brings rows to.
    #[arg(long, value_enum, default_value = "redb")]
    store: materialize::Store,
    /// Keys of one chunk of `materialize`. Default that of the library.
    #[arg(long)]
    chunk_rows: Option<usize>,
    /// Memory for pages of redb, in MiB.
    #[arg(long, default_value_t = 256)]
    cache_mb: usize,
    /// The server of jobs that need Redis.
    #[arg(long, value_name = "URL", default_value = "redis://127.0.0.1:6379")]
    redis: String,
    /// Prints one line of JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Memory that the join or the materialization may hold, in MiB. Default that of the library.
    #[arg(long, value_name = "MIB")]
    memory_mb: Option<u64>,
    /// Serves on this port of the loopback interface until the end of standard input.
    #[arg(long)]
    port: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Job {
    /// Point-in-time join of entity.parquet with fv_a, fv_b and fv_c.
    AsOfJoin,
    /// Twelve cleaning steps, fitted on and applied to clean.parquet.
    Clean,
    /// Reading of rows.csv with types inferred, and its digest.
    Csv,
    /// Drift of every column from drift_ref.parquet to drift_cur.parquet.
    Drift,
    /// Profile of orders that are made while they are read.
    FlatProfile,
    /// Twenty-five rules over orders that are made while they are read.
    FlatValidate,
    /// Reads of 20 features in 3 views from stores in this process; DIR is only where the durable one has its file.
    OnlineRead,
    /// The latest rows of fv_a, fv_b and fv_c, from history to an online store.
    Materialize,
    /// Personal data in pii_text.txt and pii_col.parquet.
    Pii,
    /// Reading of the table bench_rows at the URL in postgres.url.
    Postgres,
    /// Profile of profile.parquet, with all relations.
    Profile,
    /// Profile of the rows of profile.parquet, pushed one at a time.
    ProfileRows,
    /// Reads of 100 entities from Redis, beside a plain `MGET`.
    RedisRead,
    /// Twenty-five rules over valid.parquet.
    Validate,
    /// Feast's HTTP interface over rows in memory, asked over one connection; with `--port` a server for others to ask.
    Serve,
    /// Ten nearest of vectors.f32 to each of queries.f32, by comparing everything and by a graph.
    VectorSearch,
    /// Nine aggregates of fv_a.parquet over three sliding windows, per row of entity.parquet.
    Windows,
}

/// What a job did.
struct Outcome {
    rows: u64,
    /// Further figures, the result's checksum among them.
    figures: Map<String, Value>,
}

fn run(options: &Options) -> Result<Value, Box<dyn std::error::Error>> {
    let start = Usage::now()?;
    let outcome = match options.name {
        Job::AsOfJoin => as_of_join::run(&options.data, options.memory_mb)?,
        Job::Clean => clean::run(&options.data)?,
        Job::Csv => csv::run(&options.data)?,
        Job::Drift => drift::run(&options.data)?,
        Job::FlatProfile => flat::profile(options.gb)?,
        Job::FlatValidate => flat::validate(options.gb)?,
        Job::OnlineRead => online_read::run(&options.data)?,
        Job::Materialize => materialize::run(options)?,
        Job::Pii => pii::run(&options.data)?,
        Job::Postgres => postgres::run(&options.data)?,
        Job::Profile => profile::run(&options.data)?,
        Job::ProfileRows => profile::run_rows(&options.data)?,
        Job::RedisRead => redis_read::run(&options.data, &options.redis)?,
        Job::Serve => serve::run(options.port)?,
        Job::Validate => validate::run(&options.data)?,
        Job::VectorSearch => vector_search::run(&options.data)?,
        Job::Windows => windows::run(&options.data)?,
    };
    let used = Usage::now()?.since(&start);
    let mut all = outcome.figures;
    all.insert("rows".into(), json!(outcome.rows));
    all.insert("cpu_s".into(), json!(used.cpu_s));
    all.insert("wall_s".into(), json!(used.wall_s));
    all.insert("peak_rss_mb".into(), json!(used.peak_rss_mb));
    Ok(Value::Object(all))
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(figures) if options.json => println!("{figures}"),
        Ok(figures) => {
            for (name, value) in figures.as_object().into_iter().flatten() {
                println!("{name:>14}  {value}");
            }
        }
        Err(error) => {
            eprintln!("bench: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
