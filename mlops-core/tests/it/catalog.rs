//! Catalogs: the kit on ours, what processes and kills do to a folder, and documents that are not what they should be.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use mlops_core::catalog::{
    Catalog, CatalogExt, Column, Entry, FileCatalog, Freshness, Lineage, MemoryCatalog, Query, Readers, Refresh,
    Revision, Seen, SqliteCatalog,
};
use mlops_core::dataset::Provenance;
use mlops_core::schema::{Role, Sensitivity};
use mlops_core::source::SourceInfo;
use mlops_core::testkit::{self, FlakyCatalog};
use mlops_core::{Digest, Error, EventTime, Name, Result};
use proptest::prelude::*;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn entry(text: &str, content: &str) -> Entry {
    Entry {
        name: name(text),
        owner: "crm".to_owned(),
        description: "one row per customer".to_owned(),
        readers: Readers::only(["billing", "Lan"]),
        source: SourceInfo::new("parquet", "data/customers.parquet"),
        columns: vec![Column {
            name: "phone".to_owned(),
            data_type: "Utf8".to_owned(),
            nullable: true,
            role: Role::Key,
            sensitivity: Sensitivity::Personal,
            unit: None,
        }],
        rows: 12,
        digest: Digest::of(content),
        provenance: Some(Provenance {
            parents: vec![Digest::of("raw")],
            operation: name("mask"),
            parameters: serde_json::json!({"columns": ["phone"], "share": 0.25}),
            code_version: "1.4.0".to_owned(),
            at: EventTime::from_secs(1_704_067_200),
        }),
        created: EventTime::from_secs(1_704_067_200),
        modified: EventTime::from_secs(1_704_067_200),
        tags: vec!["gold".to_owned()],
        statistics: None,
        refresh: None,
        license: None,
    }
}

/// The documents of a catalog, and nothing else that can be seen in it.
fn documents(root: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for folder in fs::read_dir(root.join("entries")).unwrap() {
        all.extend(fs::read_dir(folder.unwrap().path()).unwrap().map(|file| file.unwrap().path()));
    }
    all.sort();
    all
}

/// Several handles on one catalog.
#[derive(Clone, Debug)]
struct Shared(Arc<FlakyCatalog<MemoryCatalog>>);

impl Catalog for Shared {
    fn put(&self, entry: &Entry, expected: Revision) -> Result<Revision> {
        self.0.put(entry, expected)
    }

    fn get(&self, name: &Name) -> Result<(Entry, Revision)> {
        self.0.get(name)
    }

    fn history(&self, name: &Name) -> Result<Vec<Entry>> {
        self.0.history(name)
    }

    fn list(&self) -> Result<Vec<Name>> {
        self.0.list()
    }

    fn by_digest(&self, digest: &Digest) -> Result<Entry> {
        self.0.by_digest(digest)
    }
}

#[test]
fn our_catalogs_pass_the_kit() {
    testkit::catalog(MemoryCatalog::new, Clone::clone);
    let folder = tempfile::tempdir().unwrap();
    let made = std::cell::Cell::new(0);
    let make = || {
        made.set(made.get() + 1);
        FileCatalog::open(folder.path().join(made.get().to_string())).unwrap()
    };
    testkit::catalog(make, |catalog| FileCatalog::open(catalog.root()).unwrap());
    testkit::catalog(make, Clone::clone);
    let make = || {
        made.set(made.get() + 1);
        SqliteCatalog::open(folder.path().join(format!("{}.db", made.get()))).unwrap()
    };
    testkit::catalog(make, |catalog| SqliteCatalog::open(catalog.path()).unwrap());
    testkit::catalog(make, Clone::clone);
    testkit::catalog(|| Shared(Arc::new(FlakyCatalog::new(MemoryCatalog::new()))), Clone::clone);
}

#[test]
fn registration_survives_lost_answers_and_is_never_doubled() {
    let catalog = FlakyCatalog::new(MemoryCatalog::new()).lose_put_every(1);
    let lost = catalog.register(&entry("customers", "a"));
    assert!(matches!(lost, Err(Error::External { system: "flaky answer", .. })), "{lost:?}");
    assert_eq!(catalog.register(&entry("customers", "a")).unwrap(), Revision(1), "the deed was done");
    assert_eq!(catalog.history(&name("customers")).unwrap().len(), 1);

    let catalog = FlakyCatalog::new(MemoryCatalog::new()).fail_every(3);
    let (mut failed, mut last) = (0, Revision(0));
    for content in 0..20 {
        loop {
            match catalog.register(&entry("customers", &content.to_string())) {
                Ok(revision) => {
                    assert_eq!(revision, last.next());
                    last = revision;
                    break;
                }
                Err(Error::External { .. }) => failed += 1,
                Err(other) => panic!("{other}"),
            }
            assert!(failed < 1_000, "it gets through");
        }
    }
    assert!(failed > 0 && catalog.calls() > 40);
}

const CHILD: &str = "MLOPS_CORE_CATALOG_CHILD";

/// The catalog in a folder, or in the SQLite file of that name.
fn open(place: &Path) -> Box<dyn Catalog> {
    match place.extension() {
        Some(_) => Box::new(SqliteCatalog::open(place).unwrap()),
        None => Box::new(FileCatalog::open(place).unwrap()),
    }
}

/// This very test in another process, which finds `root` in its environment.
fn child(test: &str, root: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, root)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn processes_that_change_one_entry_lose_nothing() {
    if let Some(place) = std::env::var_os(CHILD) {
        let catalog = open(Path::new(&place));
        for round in 0..25 {
            let tag = format!("{}/{round}", std::process::id());
            catalog.update(&name("customers"), |entry| entry.tags.push(tag.clone())).unwrap();
        }
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for place in ["folder", "file.db"].map(|place| folder.path().join(place)) {
        let catalog = open(&place);
        catalog.register(&entry("customers", "a")).unwrap();
        let test = "catalog::processes_that_change_one_entry_lose_nothing";
        let children: Vec<Child> = (0..4).map(|_| child(test, &place)).collect();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
        let (found, revision) = catalog.get(&name("customers")).unwrap();
        assert_eq!((found.tags.len(), revision), (101, Revision(101)));
        assert_eq!(catalog.history(&name("customers")).unwrap().len(), 101);
    }
}

#[test]
fn what_was_acknowledged_survives_a_kill_at_any_point() {
    if let Some(place) = std::env::var_os(CHILD) {
        let catalog = open(Path::new(&place));
        for round in 0.. {
            let content = format!("{}/{round}", std::process::id());
            let named = format!("set_{}", round % 7);
            let revision = catalog.register(&entry(&named, &content)).unwrap();
            println!("ACK {named} {revision} {content}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    for place in ["folder", "file.db"] {
        survive_kills(&folder.path().join(place));
    }
}

/// An acknowledgement, unless it was cut off in the pipe.
fn acknowledgement(line: &str) -> Option<(String, u64, String)> {
    match line.split(' ').collect::<Vec<_>>()[..] {
        [_, named, revision, content] => Some((named.to_owned(), revision.parse().unwrap(), content.to_owned())),
        _ => None,
    }
}

fn survive_kills(place: &Path) {
    let mut acknowledged: Vec<(String, u64, String)> = Vec::new();
    for round in 0..6 {
        let mut running = child("catalog::what_was_acknowledged_survives_a_kill_at_any_point", place);
        let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
        let mut more = 3 + round * 5;
        while more > 0 {
            let line = lines.next().expect("the child goes on").unwrap();
            let before = acknowledged.len();
            acknowledged.extend(acknowledgement(&line));
            more -= acknowledged.len() - before;
        }
        running.kill().unwrap(); // SIGKILL
        running.wait().unwrap();
        acknowledged.extend(lines.filter_map(|line| acknowledgement(&line.unwrap())));

        let catalog = open(place);
        let histories: BTreeMap<Name, Vec<Entry>> =
            catalog.list().unwrap().into_iter().map(|n| (n.clone(), catalog.history(&n).unwrap())).collect();
        for (named, revision, content) in &acknowledged {
            let kept = &histories[named.as_str()][usize::try_from(*revision).unwrap() - 1];
            assert_eq!(*kept, Entry { created: kept.created, ..entry(named, content) });
            assert_eq!(catalog.by_digest(&Digest::of(content)).unwrap().digest, Digest::of(content));
        }
        let next = catalog.register(&entry("set_0", &format!("after {round}"))).unwrap();
        acknowledged.push(("set_0".to_owned(), next.0, format!("after {round}")));
    }
    assert!(acknowledged.len() > 90);
}

#[test]
fn a_process_that_died_before_its_first_document_leaves_no_entry() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = FileCatalog::open(folder.path()).unwrap();
    catalog.register(&entry("customers", "a")).unwrap();
    let document = documents(folder.path()).remove(0);
    fs::rename(&document, document.with_file_name(".mlops-abc.tmp")).unwrap();
    let again = FileCatalog::open(folder.path()).unwrap();
    assert_eq!(again.list().unwrap(), []);
    assert!(matches!(again.get(&name("customers")), Err(Error::NotFound { .. })));
    assert_eq!(again.register(&entry("customers", "a")).unwrap(), Revision(1));
}

/// Whatever is done to one document: the error names it, other entries stay readable.
fn refused(root: &Path, document: &Path, variant: fn(&Error) -> bool, word: &str) {
    let catalog = FileCatalog::open(root).unwrap();
    let shown = document.display().to_string();
    let errors = [
        catalog.get(&name("customers")).unwrap_err(),
        catalog.history(&name("customers")).unwrap_err(),
        catalog.list().unwrap_err(),
        catalog.by_digest(&Digest::of("nowhere")).unwrap_err(),
        Lineage::of(&catalog).unwrap_err(),
        catalog.register(&entry("customers", "b")).unwrap_err(),
    ];
    for error in errors {
        let text = error.to_string();
        assert!(variant(&error) && text.contains(&shown) && text.contains(word), "{error:?}");
    }
    assert_eq!(catalog.get(&name("offers")).unwrap().0, entry("offers", "o"));
    assert_eq!(catalog.by_digest(&Digest::of("o")).unwrap(), entry("offers", "o"));
}

/// What was done, what the document holds then, the error, and a word of its message.
type Damage<'a> = (&'a str, String, fn(&Error) -> bool, &'a str);

#[test]
fn documents_that_are_not_what_was_written_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let catalog = FileCatalog::open(root).unwrap();
    catalog.register(&entry("customers", "a")).unwrap();
    let document = documents(root).remove(0);
    catalog.register(&entry("offers", "o")).unwrap();
    let other = documents(root).into_iter().find(|path| *path != document).unwrap();
    let text = fs::read_to_string(&document).unwrap();
    assert!(
        text.starts_with("{\n  \"format\": 2,\n  \"revision\": 1,\n  \"entry\": {\n    \"name\": \"customers\","),
        "{text}"
    );

    let corrupt = |error: &Error| matches!(error, Error::Corrupt { .. });
    let foreign = |error: &Error| matches!(error, Error::InvalidData { .. });
    let cases: [Damage<'_>; 8] = [
        ("empty", String::new(), corrupt, "EOF"),
        ("cut off", text[..text.len() / 2].to_owned(), corrupt, "EOF"),
        ("no JSON", "PAR1".to_owned(), corrupt, "line 1"),
        ("other JSON", "[]".to_owned(), corrupt, "format"),
        ("a later format", text.replace("\"format\": 2", "\"format\": 3"), foreign, "format 3"),
        ("changed by hand", text.replace("\"rows\": 12", "\"rows\": 13"), corrupt, "check"),
        ("a field more", text.replace("\"rows\": 12", "\"rows\": 12, \"more\": 1"), corrupt, "check"),
        ("another entry", fs::read_to_string(&other).unwrap(), corrupt, "`offers`"),
    ];
    for (case, content, variant, word) in cases {
        fs::write(&document, content).unwrap();
        refused(root, &document, variant, word);
        println!("{case}: refused");
    }
    fs::write(&document, vec![b' '; 17 << 20]).unwrap();
    refused(root, &document, corrupt, "longer than 16777216 bytes");

    // White space and the order of keys are free: tools may lay the text out anew.
    let relaid: serde_json::Value = serde_json::from_str(&text).unwrap();
    fs::write(&document, relaid.to_string()).unwrap();
    assert_eq!(FileCatalog::open(root).unwrap().get(&name("customers")).unwrap().0, entry("customers", "a"));
}

#[test]
fn no_byte_of_a_document_can_change_unseen() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = FileCatalog::open(folder.path()).unwrap();
    catalog.register(&entry("customers", "a")).unwrap();
    let document = documents(folder.path()).remove(0);
    let whole = fs::read(&document).unwrap();
    let get = || catalog.get(&name("customers")).map(|(entry, _)| entry);
    let expected = get().unwrap();
    for at in 0..whole.len() {
        for mask in [0x01, 0x20, 0x80] {
            let mut changed = whole.clone();
            changed[at] ^= mask;
            fs::write(&document, &changed).unwrap();
            match get() {
                Ok(entry) => assert_eq!(entry, expected, "byte {at}"),
                Err(error) => assert!(error.to_string().contains("00000001.json"), "{error}"),
            }
        }
        fs::write(&document, &whole[..at]).unwrap();
        assert_eq!(get().is_ok(), at + 1 == whole.len(), "cut at {at}: only the last line end can be missing");
    }
}

#[test]
fn files_that_are_no_part_of_a_catalog_are_named_and_hidden_ones_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let catalog = FileCatalog::open(root).unwrap();
    catalog.register(&entry("customers", "a")).unwrap();
    let document = documents(root).remove(0);
    for hidden in [root.join("entries/.DS_Store"), document.with_file_name(".gitkeep")] {
        fs::write(hidden, "").unwrap();
    }
    fs::write(root.join("README.md"), "ours").unwrap();
    assert_eq!(catalog.list().unwrap(), [name("customers")]);
    for foreign in ["1.json", "00000000.json", "00000002.json.orig", "notes.txt", "x00000002.json"] {
        let path = document.with_file_name(foreign);
        fs::write(&path, "").unwrap();
        let error = catalog.get(&name("customers")).unwrap_err();
        assert!(matches!(&error, Error::InvalidData { what, .. } if what.ends_with(foreign)), "{error}");
        fs::remove_file(path).unwrap();
    }
    fs::write(root.join("entries/notes.txt"), "").unwrap();
    let error = catalog.list().unwrap_err();
    assert!(matches!(&error, Error::InvalidData { what, .. } if what.ends_with("notes.txt")), "{error}");
    fs::remove_file(root.join("entries/notes.txt")).unwrap();

    catalog.register(&entry("customers", "b")).unwrap();
    catalog.register(&entry("customers", "c")).unwrap();
    fs::remove_file(document.with_file_name("00000002.json")).unwrap();
    let error = catalog.get(&name("customers")).unwrap_err();
    assert!(matches!(&error, Error::Corrupt { what, .. } if what.ends_with("00000002.json")), "{error}");
}

#[test]
fn folders_that_are_no_catalog_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let names = |path: &Path| fs::read_dir(path).unwrap().map(|f| f.unwrap().file_name()).collect::<Vec<_>>();
    let used = folder.path().join("used");
    fs::create_dir(&used).unwrap();
    fs::write(used.join("thesis.doc"), "").unwrap();
    let error = FileCatalog::open(&used).unwrap_err();
    assert!(matches!(&error, Error::InvalidData { what, .. } if what.ends_with("used")), "{error}");
    assert_eq!(names(&used), ["thesis.doc"]);

    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for place in [file.clone(), file.join("below"), folder.path().join("a\0b"), folder.path().join("n".repeat(10_000))]
    {
        let error = FileCatalog::open(&place).unwrap_err();
        assert!(matches!(&error, Error::Io { path, .. } if path.starts_with(folder.path())), "{error}");
    }
    let fresh = folder.path().join("deep/below/catalog");
    FileCatalog::open(&fresh).unwrap();
    for (marker, variant) in [("{", "Corrupt"), ("", "Corrupt"), ("{\"format\": 1, \"kind\": \"x\"}", "Corrupt")] {
        fs::write(fresh.join("catalog.json"), marker).unwrap();
        let error = FileCatalog::open(&fresh).unwrap_err();
        assert!(format!("{error:?}").starts_with(variant) && error.to_string().contains("catalog.json"), "{error:?}");
    }
    fs::write(fresh.join("catalog.json"), "{\"format\": 9, \"kind\": \"mlops catalog\"}").unwrap();
    let error = FileCatalog::open(&fresh).unwrap_err();
    assert!(matches!(&error, Error::InvalidData { reason, .. } if reason.contains("format 9")), "{error}");
}

#[test]
fn an_entry_that_is_too_long_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = FileCatalog::open(folder.path()).unwrap();
    let long = entry("customers", "a").with_description("x".repeat(17 << 20));
    let error = catalog.register(&long).unwrap_err();
    assert!(matches!(&error, Error::Invalid { value, .. } if value == "customers"), "{error}");
    assert_eq!(fs::read_dir(folder.path().join("entries")).unwrap().count(), 0);
}

/// Written by the first version of the layout; every later one reads it.
#[test]
fn a_catalog_of_format_1_is_read() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/catalog_1");
    let catalog = FileCatalog::open(root).unwrap();
    assert_eq!(catalog.list().unwrap(), [name("customers"), name("offers.v2")]);
    let first = entry("customers", "a");
    let second = Entry { digest: Digest::of("b"), modified: EventTime::from_secs(1_704_153_600), ..first.clone() };
    assert_eq!(catalog.history(&name("customers")).unwrap(), [first.clone(), second.clone()]);
    assert_eq!(catalog.get(&name("customers")).unwrap(), (second, Revision(2)));
    assert_eq!(catalog.by_digest(&Digest::of("a")).unwrap(), first);
    let bare = catalog.get(&name("offers.v2")).unwrap().0;
    assert_eq!((bare.readers, bare.provenance, bare.columns), (Readers::Everyone, None, Vec::new()));
}

/// Format 2 knows statistics, refresh periods and licences; every later version reads it.
#[test]
fn a_catalog_of_format_2_is_read() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/catalog_2");
    let catalog = FileCatalog::open(&root).unwrap();
    assert_eq!(catalog.get(&name("customers")).unwrap(), (profiled(), Revision(1)));
    let folder = tempfile::tempdir().unwrap();
    FileCatalog::open(folder.path()).unwrap().register(&profiled()).unwrap();
    for file in ["catalog.json", "entries/customers-8f27872d200dc6e8739e4814227970b1/00000001.json"] {
        let read = |root: &Path| fs::read_to_string(root.join(file)).unwrap();
        assert_eq!(read(folder.path()), read(&root), "{file} is written as ever");
    }
}

/// An entry with every field of format 2.
fn profiled() -> Entry {
    let day = std::time::Duration::from_hours(24);
    let numbers = mlops_core::catalog::ColumnStatistics {
        name: "phone".to_owned(),
        nulls: 3,
        nan: 0,
        distinct: Some(9),
        min: Some(-0.5),
        max: Some(1e300),
        mean: Some(1.0 / 3.0),
        standard_deviation: Some(0.25),
        quartiles: Some([0.0, 0.125, 2.0]),
    };
    let (profile, taken) = (Digest::of("profile"), EventTime::from_secs(1_704_067_200));
    let statistics = mlops_core::catalog::Statistics { profile, taken, rows: 12, columns: vec![numbers] };
    Entry { statistics: Some(statistics), ..entry("customers", "a") }
        .with_refresh(Refresh::every(day).unwrap().with_grace(day / 24))
        .with_license("CC-BY-4.0")
}

#[test]
fn every_catalog_is_searched_alike() {
    let folder = tempfile::tempdir().unwrap();
    let catalogs: [Box<dyn Catalog>; 3] =
        [Box::new(MemoryCatalog::new()), open(&folder.path().join("folder")), open(&folder.path().join("file.db"))];
    let answers = catalogs.map(|catalog| {
        for number in 0..20 {
            let mut entry = entry(&format!("set_{number}"), &number.to_string());
            if number % 3 == 0 {
                entry.readers = Readers::only(["Lan"]);
            }
            catalog.register(&entry).unwrap();
        }
        catalog.update(&name("set_7"), |entry| entry.description = "rows of phones".to_owned()).unwrap();
        let query = Query::new("customer set").unwrap().tag("gold").limit(9);
        [catalog.search_as(&query, "billing").unwrap(), catalog.search_as(&Query::new("12").unwrap(), "x").unwrap()]
    });
    assert_eq!(answers[0][0].len(), 9);
    let unseen = Seen::Sealed { name: name("set_12"), owner: "crm".to_owned() };
    assert_eq!(answers[0][1].iter().map(|hit| &hit.found).collect::<Vec<_>>(), [&unseen]);
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0], answers[2]);
    assert_eq!(entry("a", "a").freshness(EventTime::MAX), Freshness::Unknown);
}

#[test]
fn sqlite_files_that_are_not_what_was_written_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.db");
    let catalog = SqliteCatalog::open(&path).unwrap();
    catalog.register(&entry("customers", "a")).unwrap();
    catalog.register(&entry("customers", "b")).unwrap();
    catalog.register(&entry("offers", "o")).unwrap();
    let raw = rusqlite::Connection::open(&path).unwrap();
    let changes = [
        ("UPDATE entries SET document = replace(document, '\"rows\": 12', '\"rows\": 13') WHERE revision = 2", "check"),
        (
            "UPDATE entries SET document = (SELECT document FROM entries WHERE name = 'offers') WHERE revision = 2",
            "`offers`",
        ),
        ("UPDATE entries SET document = printf('%*d', 17000000, 1) WHERE revision = 2", "16 MiB"),
        ("UPDATE entries SET document = '' WHERE revision = 2", "EOF"),
        ("UPDATE entries SET document = CAST(x'ff7b' AS TEXT) WHERE revision = 2", "catalog.db"),
        ("UPDATE entries SET revision = 3 WHERE revision = 2", "revision"),
    ];
    let second = Digest::of("b").to_string();
    let read = "SELECT document FROM entries WHERE digest = ?1";
    let whole: String = raw.query_row(read, [&second], |row| row.get(0)).unwrap();
    for (change, word) in changes {
        let mend = "UPDATE entries SET document = ?2, revision = 2 WHERE digest = ?1";
        raw.execute(mend, [&second, &whole]).unwrap();
        raw.execute_batch(&format!("BEGIN; {change}")).unwrap();
        raw.execute_batch("COMMIT").unwrap();
        for error in [catalog.get(&name("customers")).unwrap_err(), catalog.history(&name("customers")).unwrap_err()] {
            assert!(matches!(&error, Error::Corrupt { what, .. } if what.contains("catalog.db")), "{change}: {error}");
            assert!(error.to_string().contains(word), "{change}: {error}");
        }
        assert_eq!(catalog.get(&name("offers")).unwrap().0, entry("offers", "o"));
    }
    raw.execute_batch("UPDATE entries SET name = '../x' WHERE name = 'offers'").unwrap();
    assert!(matches!(catalog.list(), Err(Error::Corrupt { .. })));
}

#[test]
fn files_that_are_no_sqlite_catalog_are_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let open = |file: &str| SqliteCatalog::open(folder.path().join(file)).unwrap_err();
    fs::write(folder.path().join("text.db"), "x".repeat(4_096)).unwrap();
    assert!(matches!(open("text.db"), Error::Corrupt { what, .. } if what.ends_with("text.db")));
    assert_eq!(fs::read(folder.path().join("text.db")).unwrap(), "x".repeat(4_096).as_bytes());
    fs::write(folder.path().join("cut.db"), "SQLite format 3").unwrap();
    assert!(matches!(open("cut.db"), Error::Corrupt { .. }));
    assert!(matches!(open("no/such/folder/a.db"), Error::Io { .. }));
    assert!(matches!(open("a\0b.db"), Error::Invalid { .. } | Error::Io { .. }));

    let other = rusqlite::Connection::open(folder.path().join("other.db")).unwrap();
    other.execute_batch("CREATE TABLE theirs (a); PRAGMA user_version = 1").unwrap();
    assert!(matches!(open("other.db"), Error::InvalidData { what, .. } if what.ends_with("other.db")));
    drop(SqliteCatalog::open(folder.path().join("later.db")).unwrap());
    let later = rusqlite::Connection::open(folder.path().join("later.db")).unwrap();
    later.pragma_update(None, "user_version", 9).unwrap();
    assert!(matches!(open("later.db"), Error::InvalidData { reason, .. } if reason.contains("format 9")));
}

#[test]
fn every_page_of_a_sqlite_catalog_that_is_spoilt_is_noticed_or_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.db");
    let catalog = SqliteCatalog::open(&path).unwrap();
    for number in 0..30 {
        catalog.register(&entry("customers", &number.to_string())).unwrap();
    }
    let history = catalog.history(&name("customers")).unwrap();
    drop(catalog);
    let whole = fs::read(&path).unwrap();
    for at in (0..whole.len()).step_by(173) {
        let mut spoilt = whole.clone();
        spoilt[at] ^= 0x55;
        fs::write(&path, spoilt).unwrap();
        let read = SqliteCatalog::open(&path).and_then(|catalog| catalog.history(&name("customers")));
        match read {
            Ok(found) => assert_eq!(found, history[..found.len()], "byte {at}: what is given is what was put"),
            Err(
                Error::Corrupt { .. } | Error::InvalidData { .. } | Error::NotFound { .. } | Error::External { .. },
            ) => {}
            Err(other) => panic!("byte {at}: {other:?}"),
        }
        for beside in ["catalog.db-wal", "catalog.db-shm"] {
            let _ = fs::remove_file(folder.path().join(beside));
        }
    }
}

#[test]
fn a_locked_sqlite_catalog_is_busy_after_the_stated_wait() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.db");
    let wait = std::time::Duration::from_millis(30);
    let catalog = SqliteCatalog::open_within(&path, wait).unwrap();
    catalog.register(&entry("customers", "a")).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = catalog.register(&entry("customers", "b"));
    assert!(matches!(&refused, Err(Error::Busy { what }) if what.ends_with("catalog.db")), "{refused:?}");
    assert_eq!(catalog.get(&name("customers")).unwrap().1, Revision(1), "readers go on while somebody writes");
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(catalog.register(&entry("customers", "b")).unwrap(), Revision(2));
    SqliteCatalog::open_within(&path, std::time::Duration::MAX).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn all_catalogs_answer_alike(
        puts in proptest::collection::vec((0_usize..3, 0_u64..4, 0_u8..5), 1..24),
        reopen_at in 0_usize..24,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let memory = MemoryCatalog::new();
        let mut file = FileCatalog::open(folder.path().join("folder")).unwrap();
        let sqlite = SqliteCatalog::open(folder.path().join("file.db")).unwrap();
        let contents: Vec<String> = (0..5).map(|c| c.to_string()).collect();
        for (step, (set, expected, content)) in puts.into_iter().enumerate() {
            if step == reopen_at {
                file = FileCatalog::open(folder.path().join("folder")).unwrap();
            }
            let entry = entry(["a", "b", "A"][set], &contents[usize::from(content)]);
            let all: [&dyn Catalog; 3] = [&memory, &file, &sqlite];
            let shown = all.map(|catalog| format!("{:?}", catalog.put(&entry, Revision(expected))));
            prop_assert_eq!(&shown[0], &shown[1]);
            prop_assert_eq!(&shown[0], &shown[2]);
            prop_assert_eq!(memory.list().unwrap(), file.list().unwrap());
            prop_assert_eq!(memory.list().unwrap(), sqlite.list().unwrap());
            for set in memory.list().unwrap() {
                prop_assert_eq!(memory.get(&set).unwrap(), file.get(&set).unwrap());
                prop_assert_eq!(memory.history(&set).unwrap(), file.history(&set).unwrap());
                prop_assert_eq!(memory.get(&set).unwrap(), sqlite.get(&set).unwrap());
                prop_assert_eq!(memory.history(&set).unwrap(), sqlite.history(&set).unwrap());
            }
            for content in &contents {
                let digest = Digest::of(content);
                let found = all.map(|catalog| catalog.by_digest(&digest).map(|e| e.digest).ok());
                prop_assert_eq!(found[0], found[1]);
                prop_assert_eq!(found[0], found[2]);
            }
        }
    }
}
