//! The contract of [`Catalog`].

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::time::Duration;

use crate::catalog::{Catalog, Column, ColumnStatistics, Entry, Readers, Refresh, Revision, Statistics};
use crate::dataset::Provenance;
use crate::schema::{Role, Sensitivity};
use crate::source::SourceInfo;
use crate::{Digest, Error, EventTime, Name};

/// Threads that write and read at once.
const THREADS: usize = 4;

/// Entries that each of them puts.
const ROUNDS: u64 = 12;

/// Checks the contract of [`Catalog`] on fresh, empty catalogs made by `make`; `again` opens the storage of one anew, as
/// another process would.
///
/// That a put survives a crash can only be seen from outside: kill a process after its put returned.
///
/// # Panics
/// With the sentence that does not hold.
pub fn catalog<C: Catalog>(make: impl Fn() -> C, again: impl Fn(&C) -> C) {
    an_empty_catalog_knows_nothing(&make());
    entries_come_back_as_they_were_put(&make(), &again);
    a_put_needs_the_revision_that_is_there(&make());
    nothing_is_forgotten(&make(), &again);
    names_are_told_apart_and_sorted(&make());
    one_of_many_writers_wins(&make(), &again);
    a_reader_sees_whole_entries(&make(), &again);
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a good name")
}

fn digest(number: u64) -> Digest {
    Digest::of(number.to_le_bytes())
}

/// An entry with something in every field; all of them depend on `number`.
fn entry(text: &str, number: u64) -> Entry {
    let column = |name: String, data_type: &str, nullable| Column {
        name,
        data_type: data_type.to_owned(),
        nullable,
        role: Role::Key,
        sensitivity: Sensitivity::Personal,
        unit: Some("VND".to_owned()),
    };
    let parameters = serde_json::json!({
        "number": number, "least": i64::MIN, "most": u64::MAX, "third": 1.0 / 3.0, "tiny": 5e-324, "minus": -0.0,
        "list": [null, true, "\u{0}\"\\\n\u{2028}"], "": {},
    });
    let mut source = SourceInfo::new("parquet", format!("/kho/dữ liệu/{number}.parquet"));
    source.size_bytes = Some(u64::MAX - number);
    source.modified = Some(EventTime::MIN);
    Entry {
        name: name(text),
        owner: format!("chị \"Lan\" {number}"),
        description: format!("line {number}\r\nline two\t\u{1f4be}"),
        readers: Readers::only([number.to_string(), String::new()]),
        source,
        columns: vec![column(format!("cột {number}"), "Int64", false), column(String::new(), "Utf8", true)],
        rows: number,
        digest: digest(number),
        provenance: Some(Provenance {
            parents: vec![digest(number + 1), digest(number + 2)],
            operation: name("kit.step"),
            parameters,
            code_version: "1.0-β".to_owned(),
            at: EventTime::MAX,
        }),
        created: EventTime::from_micros(-1),
        modified: EventTime::from_secs(i64::try_from(number).expect("kits count small")),
        tags: vec![String::new(), format!("tag {number}")],
        statistics: Some(statistics(number)),
        refresh: Some(
            Refresh::every(Duration::from_micros(number + 1)).expect("a good period").with_grace(Duration::MAX),
        ),
        license: Some("CC-BY-4.0 \u{a9}".to_owned()),
    }
}

fn statistics(number: u64) -> Statistics {
    let column = ColumnStatistics {
        name: format!("cột {number}"),
        nulls: number,
        nan: u64::MAX,
        distinct: None,
        min: Some(-1.0 / 3.0),
        max: Some(f64::MAX),
        mean: Some(5e-324),
        standard_deviation: None,
        quartiles: Some([0.1, 0.2, 0.30000000000000004]),
    };
    Statistics { profile: digest(number), taken: EventTime::MIN, rows: number, columns: vec![column] }
}

fn put(catalog: &dyn Catalog, entry: &Entry, expected: u64) -> Revision {
    catalog.put(entry, Revision(expected)).unwrap_or_else(|e| panic!("a put over the present revision succeeds: {e}"))
}

fn an_empty_catalog_knows_nothing(catalog: &dyn Catalog) {
    let missing = |error: Option<Error>| matches!(error, Some(Error::NotFound { .. }));
    let unknown = name("unknown");
    assert_eq!(catalog.list().expect("names are listed"), [], "an empty catalog has no names");
    assert!(missing(catalog.get(&unknown).err()), "a name that was never put is `NotFound`");
    assert!(missing(catalog.history(&unknown).err()), "a name that was never put has no history");
    assert!(missing(catalog.by_digest(&digest(1)).err()), "content that was never put is `NotFound`");
    let early = catalog.put(&entry("unknown", 1), Revision(1));
    assert!(matches!(early, Err(Error::Conflict { .. })), "a put over a revision that never was is `Conflict`");
    assert!(missing(catalog.get(&unknown).err()), "a refused put leaves nothing");
    assert!(missing(catalog.by_digest(&digest(1)).err()), "the content of a refused put is `NotFound`");
}

fn entries_come_back_as_they_were_put<C: Catalog>(catalog: &C, again: &impl Fn(&C) -> C) {
    let mut bare = Entry { columns: Vec::new(), provenance: None, tags: Vec::new(), ..entry("bare", 2) };
    (bare.statistics, bare.refresh, bare.license) = (None, None, None);
    bare.readers = Readers::Everyone;
    bare.source.size_bytes = None;
    bare.source.modified = None;
    for put_entry in [entry("full", 1), bare] {
        assert_eq!(put(catalog, &put_entry, 0), Revision(1), "the first put gives revision 1");
        let reopened = again(catalog);
        for catalog in [catalog, &reopened] {
            let found = catalog.get(&put_entry.name).expect("an entry that was put is there");
            assert_eq!(found, (put_entry.clone(), Revision(1)), "an entry is exactly as it was put");
            let by_digest = catalog.by_digest(&put_entry.digest).expect("its content is known");
            assert_eq!(by_digest, put_entry, "an entry is exactly as it was put, by its digest too");
        }
    }
}

fn a_put_needs_the_revision_that_is_there(catalog: &dyn Catalog) {
    put(catalog, &entry("it", 1), 0);
    assert_eq!(put(catalog, &entry("it", 2), 1), Revision(2), "a put gives the next revision");
    for stale in [0, 1, 3, u64::MAX] {
        match catalog.put(&entry("it", 3), Revision(stale)) {
            Err(Error::Conflict { name, expected, found, .. }) => {
                assert_eq!(name, "it", "a conflict names the entry");
                assert_eq!((expected, found), (stale.to_string(), "2".to_owned()), "a conflict tells both revisions");
            }
            other => panic!("a put over another revision than the present one is `Conflict`: {other:?}"),
        }
    }
    let found = catalog.get(&name("it")).expect("it is there");
    assert_eq!(found, (entry("it", 2), Revision(2)), "a refused put changes nothing");
    assert_eq!(catalog.history(&name("it")).expect("it is there").len(), 2, "a refused put leaves no history");
}

fn nothing_is_forgotten<C: Catalog>(catalog: &C, again: &impl Fn(&C) -> C) {
    let entries: Vec<Entry> = (1..=5).map(|number| entry("it", number)).collect();
    for (index, entry) in entries.iter().enumerate() {
        assert!(catalog.by_digest(&entry.digest).is_err(), "content is not known before it was put");
        put(catalog, entry, index as u64);
    }
    // The words change, the content is the one of the first revision again.
    let words = Entry { description: "in other words".to_owned(), ..entries[0].clone() };
    put(catalog, &words, 5);
    put(catalog, &Entry { name: name("copy"), ..entries[1].clone() }, 0);
    let reopened = again(catalog);
    for catalog in [catalog, &reopened] {
        let history = catalog.history(&name("it")).expect("it is there");
        let expected: Vec<Entry> = entries.iter().cloned().chain([words.clone()]).collect();
        assert_eq!(history, expected, "a history is everything that was put, oldest first");
        for entry in &entries {
            let found = catalog.by_digest(&entry.digest).expect("every digest that was ever put stays resolvable");
            assert_eq!(found.digest, entry.digest, "an entry that is found by a digest has it");
            let same = found == *entry || found == words || found.name == name("copy");
            assert!(same, "an entry that is found by a digest is one that was put");
        }
    }
}

fn names_are_told_apart_and_sorted(catalog: &dyn Catalog) {
    let long = "n".repeat(128);
    let other_long = format!("{}m", &long[1..]);
    let names = ["b", "B", "a.b", "a-b", "a_b", "con", "NUL", "x.json", "z.", "_", "0", &long, &other_long];
    for (number, text) in names.iter().enumerate() {
        put(catalog, &entry(text, number as u64), 0);
    }
    let expected: BTreeSet<Name> = names.iter().map(|text| name(text)).collect();
    let found = catalog.list().expect("names are listed");
    assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "all names are listed once, sorted");
    for (number, text) in names.iter().enumerate() {
        let found = catalog.get(&name(text)).expect("it is there");
        assert_eq!(found, (entry(text, number as u64), Revision(1)), "names are told apart to the letter");
    }
}

fn one_of_many_writers_wins<C: Catalog>(catalog: &C, again: &impl Fn(&C) -> C) {
    let handles: Vec<C> = (0..THREADS).map(|_| again(catalog)).collect();
    let barrier = Barrier::new(THREADS);
    for round in 0..ROUNDS {
        let attempt = |index: usize, handle| {
            let entry = entry("it", round * 100 + index as u64);
            barrier.wait();
            let outcome = C::put(handle, &entry, Revision(round));
            (entry, outcome)
        };
        let attempt = &attempt;
        let attempts = std::thread::scope(|scope| {
            let running = handles.iter().enumerate().map(|(index, handle)| scope.spawn(move || attempt(index, handle)));
            let running: Vec<_> = running.collect();
            running.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Vec<_>>()
        });
        let mut won = Vec::new();
        for (entry, outcome) in attempts {
            match outcome {
                Ok(revision) => won.push((entry, revision)),
                Err(Error::Conflict { .. }) => {}
                Err(other) => panic!("whoever was not first gets `Conflict`: {other}"),
            }
        }
        assert_eq!(won.len(), 1, "of several writers with the same expectation one wins");
        assert_eq!(catalog.get(&name("it")).expect("it is there"), won[0], "what the winner put is there");
    }
}

fn a_reader_sees_whole_entries<C: Catalog>(catalog: &C, again: &impl Fn(&C) -> C) {
    put(catalog, &entry("it", 1), 0);
    let handles: Vec<C> = (0..THREADS).map(|_| again(catalog)).collect();
    std::thread::scope(|scope| {
        for handle in &handles {
            scope.spawn(|| {
                let mut last = Revision(0);
                while last.0 < ROUNDS {
                    let (found, revision) = handle.get(&name("it")).expect("it is there all the time");
                    assert_eq!(found, entry("it", revision.0), "a reader sees a whole entry");
                    assert!(revision >= last, "a reader never goes back");
                    last = revision;
                    let history = handle.history(&name("it")).expect("it is there all the time");
                    let whole = history.iter().zip(1..).all(|(found, number)| *found == entry("it", number));
                    assert!(whole && history.len() as u64 >= last.0, "a history is whole at any time");
                }
            });
        }
        for number in 2..=ROUNDS {
            put(catalog, &entry("it", number), number - 1);
        }
    });
}
