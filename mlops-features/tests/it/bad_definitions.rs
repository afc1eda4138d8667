//! Documents of definitions that are none: JSON and YAML alike, each refused by name.

use mlops_features::definitions::Definitions;
use mlops_features::{Error, FEATURES_MAX};

/// A document with these members of the view `v` after its name and entity.
fn with_view(members: &str) -> String {
    format!(
        r#"{{"format": 1,
"entities": [{{"name": "user", "keys": [{{"name": "user_id", "type": "int64"}}]}}],
"views": [{{"name": "v", "entity": "user", "event_time": "at", {members}}}]}}"#
    )
}

/// Both readings of a document; JSON is YAML, too.
fn read(text: &str) -> [Result<Definitions, Error>; 2] {
    [Definitions::from_json(text), Definitions::from_yaml(text)]
}

#[track_caller]
fn refused(text: &str, words: &[&str]) {
    for outcome in read(text) {
        let shown: String = text.chars().take(300).collect();
        let Err(error) = outcome else { panic!("taken: {shown}") };
        let error = error.to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}\n{shown}");
        assert!(error.len() < 2_000, "an error is no copy of what was read: {} bytes", error.len());
    }
}

const ONE: &str = r#""features": [{"name": "f", "type": "float64"}]"#;

#[test]
fn the_document_that_the_others_are_made_of_is_taken() {
    for outcome in read(&with_view(ONE)) {
        assert_eq!(outcome.unwrap().view("v").unwrap().features().len(), 1);
    }
}

#[test]
fn a_ttl_is_a_whole_number_of_microseconds_above_zero() {
    for ttl in ["0", "-1", "-9223372036854775808", "1.5", "1e30", "18446744073709551616", "true", "\"7d\"", "[]"] {
        refused(&with_view(&format!("{ONE}, \"ttl_us\": {ttl}")), &["view `v`", "ttl"]);
        refused(&with_view(&format!("{ONE}, \"freshness_us\": {ttl}")), &["view `v`"]);
    }
    for ttl in ["1", "9223372036854775808", "18446744073709551615"] {
        for outcome in read(&with_view(&format!("{ONE}, \"ttl_us\": {ttl}"))) {
            let ttl_us = outcome.unwrap().view("v").unwrap().ttl().unwrap().as_micros();
            assert_eq!(ttl_us.to_string(), ttl);
        }
    }
}

#[test]
fn features_are_some_and_have_names_of_their_own() {
    let feature = |name: &str| format!(r#"{{"name": "{name}", "type": "float64"}}"#);
    let features = |names: &[&str]| {
        let all: Vec<String> = names.iter().map(|name| feature(name)).collect();
        with_view(&format!("\"features\": [{}]", all.join(", ")))
    };
    refused(&features(&[]), &["view `v`", "features = 0"]);
    refused(&features(&["f", "g", "f"]), &["view `v`", "`v:f`"]);
    for name in ["user_id", "at"] {
        refused(&features(&["f", name]), &["view `v`", name]);
    }
    for name in ["", "..", "a/b", "a:b", "a\\u0000b", &"x".repeat(100_000)] {
        refused(&features(&[name]), &["view `v`"]);
    }
    refused(&with_view("\"tags\": {}"), &["view `v`", "features"]);
    let names: Vec<String> = (0..=FEATURES_MAX).map(|at| format!("f{at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let error = Definitions::from_json(&features(&names)).unwrap_err().to_string();
    assert!(error.contains("view `v`") && error.contains("65536"), "{error}");
}

#[test]
fn a_member_that_stands_twice_is_refused_and_not_the_last_one_taken() {
    refused(&with_view(&format!("{ONE}, \"ttl_us\": 5, \"ttl_us\": 7")), &["ttl_us"]);
    refused(&with_view(r#""features": [{"name": "f", "type": "float64", "name": "g"}]"#), &["name"]);
    refused(&with_view(&format!("{ONE}, \"tags\": {{\"a\": \"1\", \"a\": \"2\"}}")), &["a"]);
}

#[test]
fn a_value_that_does_not_fit_is_told_with_the_path_to_it() {
    let second = r#""features": [{"name": "f", "type": "float64"}, {"name": "g", "type": "float46"}]"#;
    refused(&with_view(second), &["view `v`", "features[1].type", "float46"]);
    refused(&with_view(&format!("{ONE}, \"ttl_us\": \"7d\"")), &["view `v`", "ttl_us"]);
}

#[test]
fn what_is_no_document_is_refused_without_a_panic() {
    for text in ["", " ", "null", "7", "\"format\"", "{", "{}", "{\"format\": -1}", "{\"format\": 1e9}", "\u{0}"] {
        refused(text, &[]);
    }
    for text in ["{\"format\": 1, \"views\": {}}", "{\"format\": 1, \"views\": [[]]}", "{\"format\": 1, \"more\": []}"]
    {
        refused(text, &[]);
    }
    refused(&"[".repeat(100_000), &[]);
    refused(&format!("{{\"format\": 1, \"views\": {}", "[".repeat(100_000)), &[]);
    refused(&format!("{{\"format\": 1, \"views\": [{}7{}]}}", "{\"a\":".repeat(100_000), "}".repeat(100_000)), &[]);
}

#[test]
fn yaml_that_unfolds_or_repeats_itself_is_refused() {
    let layer = |at: usize| format!("a{at}: &a{at} [{}]\n", vec![format!("*a{}", at - 1); 8].join(", "));
    let bomb = format!("a0: &a0 [x, x, x, x, x, x, x, x]\n{}", (1..12).map(layer).collect::<String>());
    for text in [
        bomb.as_str(),
        "format: 1\nformat: 1\n",
        "format: 1\nviews: &v\n- *v\n",
        "format: 1\nviews: *nobody\n",
        "format: 1\n--- \nformat: 1\n",
        "format: !!python/object/apply:os.system [ls]\n",
    ] {
        assert!(Definitions::from_yaml(text).is_err(), "{text}");
    }
}
