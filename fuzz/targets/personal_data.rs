#![no_main]

use libfuzzer_sys::fuzz_target;
use mlops_core::privacy::Detector;

fuzz_target!(|text: &str| {
    let detector = Detector::builder().today(2026).build().expect("the defaults are valid");
    for finding in detector.detect(text) {
        assert!(text.get(finding.bytes.clone()).is_some_and(|found| !found.is_empty()), "spans lie on characters");
        let before = text[..finding.bytes.start].chars().count();
        assert_eq!(before, finding.chars.start, "both spans name the same place");
    }
});
