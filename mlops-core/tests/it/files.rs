//! Public data sets through one door: dialects, patterns, partitions and conversions.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mlops_core::Dataset;
use mlops_core::arrow::array::AsArray;
use mlops_core::arrow::datatypes::Int64Type;
use mlops_core::source::{
    self, Comparison, ConvertOptions, CsvSource, DataSource, FileFormat, FilesSink, FilesSource, Predicate, ScanRequest,
};

/// A folder of public data sets, where there is one.
fn shared(path: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let shared = std::env::var_os("MLOPS_SHARED_DIR").map_or_else(|| root.join("../shared"), PathBuf::from);
    let found = shared.join("data").join(path);
    if found.is_dir() {
        return Some(found);
    }
    eprintln!("SKIPPED: {} is not there; set MLOPS_SHARED_DIR to the folder of public data sets", found.display());
    None
}

/// Rows of a scan, and the sum of one of its columns.
fn totals(source: &dyn DataSource, column: &str, request: &ScanRequest) -> (usize, i64) {
    let data = Dataset::collect(source.scan(&request.clone().columns([column])).unwrap()).unwrap();
    let batch = data.to_batch().unwrap();
    (batch.num_rows(), batch.column(0).as_primitive::<Int64Type>().iter().flatten().sum())
}

#[test]
fn dialects_of_public_files_are_found() {
    let Some(adult) = shared("adult") else { return };
    let source = CsvSource::builder(adult.join("adult.data")).sniff().build().unwrap();
    let found = source.sniffed().unwrap();
    assert_eq!((found.delimiter, found.header, found.fields), (b',', false, 15));
    assert!(found.delimiter_certain);
    for path in ["bike-sharing/hour.csv", "movielens-small/ratings.csv", "movielens-small/movies.csv"] {
        let Some(root) = shared("") else { return };
        let source = CsvSource::builder(root.join(path)).sniff().build().unwrap();
        let found = source.sniffed().unwrap();
        assert_eq!((found.delimiter, found.quote, found.header), (b',', b'"', true), "{path}");
    }
}

// polars 2.1.0: `read_csv(hour.csv).drop_nulls()` has 17,379 rows and `cnt.sum()` 3,292,679; by `yr`, 8,645 rows with 1,243,103 and 8,734
// with 2,049,576; `select("yr", "mnth").unique()` has 24 rows.
#[test]
fn bike_rides_are_the_same_in_every_format_and_by_month() {
    let Some(folder) = shared("bike-sharing") else { return };
    let rides = source::open(folder.join("hour.csv")).unwrap();
    assert_eq!(totals(rides.as_ref(), "cnt", &ScanRequest::all()), (17_379, 3_292_679));
    let place = tempfile::tempdir().unwrap();
    let mut digests = Vec::new();
    for name in ["a.parquet", "a.arrow", "a.csv.zst", "a.jsonl.gz"] {
        let path = place.path().join(name);
        let converted =
            source::convert(rides.as_ref(), source::create(&path).unwrap().as_ref(), ConvertOptions::new()).unwrap();
        let back = Dataset::from_source(source::open(&path).unwrap()).unwrap();
        assert_eq!(back.digest().unwrap(), converted.digest, "{name}");
        digests.push(converted.digest);
    }
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]));

    let months = place.path().join("months");
    let sink = FilesSink::builder(&months).partition_by(["yr", "mnth"]).format(FileFormat::Parquet).open_files(4);
    let converted = source::convert(rides.as_ref(), &sink.build().unwrap(), ConvertOptions::new()).unwrap();
    assert_eq!(converted.written.rows, 17_379);
    let months = FilesSource::open(&months).unwrap();
    let folders: BTreeSet<_> = months.files().map(|file| file.parent()).collect();
    assert_eq!(folders.len(), 24);
    assert_eq!(months.schema().unwrap(), rides.schema().unwrap());
    let year = |yr: i64| ScanRequest::all().filter(Predicate::new("yr", Comparison::Eq, yr));
    assert_eq!(totals(&months, "cnt", &year(0)), (8_645, 1_243_103));
    assert_eq!(totals(&months, "cnt", &year(1)), (8_734, 2_049_576));
}

// polars 2.1.0: 10,000 rows each; the sum of `click` is 46 for `bts` and 46 for `random`.
#[test]
fn logs_of_two_policies_are_one_source() {
    let Some(folder) = shared("open-bandit-women") else { return };
    let both = source::open(folder.join("*/women.csv")).unwrap();
    assert_eq!(both.schema().unwrap().len(), 56);
    let data = Dataset::from_source(Arc::clone(&both)).unwrap();
    assert_eq!(data.num_rows().unwrap(), 20_000);
    let (_, clicks) = totals(both.as_ref(), "click", &ScanRequest::all());
    assert_eq!(clicks, 92);
}
