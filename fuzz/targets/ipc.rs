#![no_main]

mod file;

use libfuzzer_sys::fuzz_target;
use mlops_core::source::IpcSource;

fuzz_target!(|bytes: &[u8]| file::read(bytes, ".arrow", |path| IpcSource::open(path)));
