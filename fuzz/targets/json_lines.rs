#![no_main]

mod file;

use libfuzzer_sys::fuzz_target;
use mlops_core::source::JsonSource;

fuzz_target!(|bytes: &[u8]| file::read(bytes, ".jsonl", |path| JsonSource::open(path)));
