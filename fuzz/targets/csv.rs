#![no_main]

mod file;

use libfuzzer_sys::fuzz_target;
use mlops_core::source::CsvSource;

fuzz_target!(|bytes: &[u8]| file::read(bytes, ".csv", |path| CsvSource::open(path)));
