use super::*;
use crate::catalog::{CatalogExt, Column, MemoryCatalog, Readers, Refresh, Revision};
use crate::schema::Role;
use crate::source::SourceInfo;
use crate::{Digest, Error, Name};

fn entry(name: &str, owner: &str, description: &str, columns: &[(&str, Sensitivity)], tags: &[&str]) -> Entry {
    let column = |(name, sensitivity): &(&str, Sensitivity)| Column {
        name: (*name).to_owned(),
        data_type: "Utf8".to_owned(),
        nullable: true,
        role: Role::Other,
        sensitivity: *sensitivity,
        unit: None,
    };
    Entry {
        name: Name::new(name).unwrap(),
        owner: owner.to_owned(),
        description: description.to_owned(),
        readers: Readers::Everyone,
        source: SourceInfo::new("memory", "memory"),
        columns: columns.iter().map(column).collect(),
        rows: 1,
        digest: Digest::of(name),
        provenance: None,
        created: EventTime::EPOCH,
        modified: EventTime::EPOCH,
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        statistics: None,
        refresh: None,
        license: None,
    }
}

/// Five data sets, of which `salaries` is for `hr` alone.
fn catalog() -> MemoryCatalog {
    let catalog = MemoryCatalog::new();
    let personal = Sensitivity::Personal;
    let calls = entry("calls.daily", "network", "Cuộc gọi theo ngày", &[("msisdn", personal)], &["gold", "daily"]);
    let offers = entry("offers", "pricing", "what callers may buy daily", &[("price", Sensitivity::Public)], &["gold"]);
    let towers = entry("towers", "network", "places of masts", &[("call_drop_rate", Sensitivity::Internal)], &[]);
    let clicks = entry("clicks", "web", "", &[("offer", Sensitivity::Internal)], &["daily"]);
    let mut salaries =
        entry("salaries", "hr", "what we call wages", &[("bank_account", Sensitivity::Secret)], &["gold"]);
    salaries.readers = Readers::only(["hr"]);
    let day = std::time::Duration::from_hours(24);
    let entries = [calls.with_refresh(Refresh::every(day).unwrap()), offers, towers, clicks, salaries];
    for entry in entries {
        catalog.register(&entry).unwrap();
    }
    catalog
}

#[track_caller]
fn check(query: Query, reader: &str, expected: &[&str]) {
    let hits = catalog().search_as(&query, reader).unwrap();
    let found: Vec<&str> = hits.iter().map(|hit| hit.found.name().as_str()).collect();
    assert_eq!(found, expected, "{query:?}");
}

fn words_of(text: &str) -> Query {
    Query::new(text).unwrap()
}

#[test]
fn words_are_found_wherever_they_stand_and_the_best_place_comes_first() {
    // `calls`: prefix of a word of the name, 8 × 2; a word of a column name, 3 × 4; prefix in a description, 1 × 2.
    check(words_of("call"), "mina", &["calls.daily", "towers", "offers"]);
    check(words_of("CALL network"), "mina", &["calls.daily", "towers"]);
    check(words_of("ngày"), "mina", &["calls.daily"]);
    check(words_of("NGÀY, gọi!"), "mina", &["calls.daily"]);
    check(words_of("call nothing"), "mina", &[]);
    check(words_of(" -,. "), "mina", &["calls.daily", "clicks", "offers", "salaries", "towers"]);
    let scores: Vec<u32> =
        catalog().search_as(&words_of("call"), "mina").unwrap().iter().map(|hit| hit.score).collect();
    assert_eq!(scores, [16, 12, 2]);
}

#[test]
fn every_condition_must_hold() {
    check(words_of("").tag("gold"), "hr", &["calls.daily", "offers", "salaries"]);
    check(words_of("").tag("gold").tag("daily"), "hr", &["calls.daily"]);
    check(words_of("daily").tag("gold"), "hr", &["calls.daily", "offers"]);
    check(words_of("").owner("network"), "hr", &["calls.daily", "towers"]);
    check(words_of("").owner("Network"), "hr", &[]);
    check(words_of("").column("offer"), "hr", &["clicks"]);
    check(words_of("").at_least(Sensitivity::Personal), "hr", &["calls.daily", "salaries"]);
    check(words_of("").at_least(Sensitivity::Public).owner("pricing"), "hr", &["offers"]);
}

#[test]
fn late_and_fresh_data_is_told_apart_and_what_promised_nothing_is_neither() {
    let soon = EventTime::from_secs(10);
    let late = EventTime::from_secs(1_000_000);
    check(words_of("").late_at(late), "mina", &["calls.daily"]);
    check(words_of("").fresh_at(soon), "mina", &["calls.daily"]);
    check(words_of("").late_at(soon), "mina", &[]);
    check(words_of("").fresh_at(late), "mina", &[]);
}

#[test]
fn no_query_tells_a_stranger_more_than_name_and_owner() {
    check(words_of("salaries"), "mina", &["salaries"]);
    check(words_of("hr"), "mina", &["salaries"]);
    check(words_of("").owner("hr"), "mina", &["salaries"]);
    for inside in ["wages", "bank", "account", "gold", "salaries wages"] {
        let found = catalog().search_as(&words_of(inside), "mina").unwrap();
        assert!(found.iter().all(|hit| hit.found.name().as_str() != "salaries"), "{inside}");
    }
    let empty = || words_of("").owner("hr");
    check(empty().tag("gold"), "mina", &[]);
    check(empty().column("bank_account"), "mina", &[]);
    check(empty().at_least(Sensitivity::Public), "mina", &[]);
    check(empty().late_at(EventTime::MAX), "mina", &[]);
    check(empty().column("bank_account"), "hr", &["salaries"]);

    let hits = catalog().search_as(&words_of("salaries"), "mina").unwrap();
    let shown = format!("{:?} {}", hits, serde_json::to_string(&hits[0].found).unwrap());
    for hidden in ["wages", "bank", "gold", "memory", "Utf8", &Digest::of("salaries").short()] {
        assert!(!shown.contains(hidden), "{shown}");
    }
    assert_eq!(catalog().look_as(&Name::new("salaries").unwrap(), "mina").unwrap(), hits[0].found);
    let whole = catalog().look_as(&Name::new("salaries").unwrap(), "hr").unwrap();
    assert_eq!(whole.entry().unwrap().columns[0].name, "bank_account");
}

#[test]
fn the_best_are_kept_whatever_the_order_of_names() {
    let catalog = MemoryCatalog::new();
    for number in 0..40 {
        let words = if number == 37 { "needle" } else { "a needlework" };
        let entry = entry(&format!("set_{number:02}"), "o", words, &[], &[]);
        catalog.put(&entry, Revision(0)).unwrap();
    }
    let found = |query: Query| {
        let hits = catalog.search_as(&query, "mina").unwrap();
        hits.iter().map(|hit| hit.found.name().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(found(words_of("needle").limit(3)), ["set_37", "set_00", "set_01"]);
    assert_eq!(found(words_of("needle").limit(0)), [""; 0]);
    assert_eq!(found(words_of("").limit(usize::MAX)).len(), 40);
}

#[test]
fn words_without_end_are_refused() {
    let error = Query::new(&"a ".repeat(1_000)).unwrap_err();
    assert!(matches!(&error, Error::Invalid { setting: "bytes of the query", .. }), "{error}");
}
