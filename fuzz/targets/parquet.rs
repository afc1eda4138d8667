#![no_main]

mod file;

use libfuzzer_sys::fuzz_target;
use mlops_core::source::ParquetSource;

fuzz_target!(|bytes: &[u8]| file::read(bytes, ".parquet", |path| ParquetSource::open(path)));
