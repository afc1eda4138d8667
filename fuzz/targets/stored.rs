#![no_main]

use libfuzzer_sys::fuzz_target;
use mlops_core::catalog::Entry;
use mlops_core::clean::{Recipe, TransformState, restore};
use mlops_core::privacy::Policy;
use mlops_core::profile::Profile;
use mlops_core::validate::SuiteSettings;

// Everything that is read back from a file: bytes of profiles, and documents in JSON.
fuzz_target!(|bytes: &[u8]| {
    if let Ok(profile) = Profile::from_bytes(bytes) {
        let again = Profile::from_bytes(&profile.to_bytes()).expect("what was read is written");
        assert_eq!(again.to_bytes(), profile.to_bytes());
        let _ = profile.to_html("fuzz");
    }
    let _ = serde_json::from_slice::<Profile>(bytes);
    let _ = serde_json::from_slice::<Policy>(bytes);
    let _ = serde_json::from_slice::<SuiteSettings>(bytes);
    let _ = serde_json::from_slice::<Recipe>(bytes);
    let _ = serde_json::from_slice::<Entry>(bytes);
    if let Ok(state) = serde_json::from_slice::<TransformState>(bytes) {
        let _ = restore(&state);
    }
});
