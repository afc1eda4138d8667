use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, TimeUnit};

use super::*;
use crate::dataset::Provenance;
use crate::schema::{Role, Sensitivity};
use crate::source::{CsvSink, DataSink, JsonSink, MemorySource, ParquetSink};
use crate::{Dataset, EventTime, Schema};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn at(seconds: i64) -> EventTime {
    EventTime::from_secs(seconds)
}

/// Two customers whose phone is personal.
fn customers() -> Dataset {
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef, false),
        ("phone", Arc::new(StringArray::from(vec![Some("0900"), None])), true),
        ("spent", Arc::new(Float64Array::from(vec![0.5, 2.0])), true),
    ])
    .unwrap();
    let schema = Schema::new(batch.schema())
        .and_then(|s| s.with_role("id", Role::Key))
        .and_then(|s| s.with_sensitivity("phone", Sensitivity::Personal))
        .and_then(|s| s.with_unit("spent", "VND"))
        .unwrap();
    Dataset::held(schema, [batch]).unwrap()
}

fn made_from(parents: Vec<Digest>) -> Provenance {
    let (operation, parameters) = (name("load"), serde_json::json!({"days": 7}));
    Provenance { parents, operation, parameters, code_version: "1".to_owned(), at: at(1) }
}

#[test]
fn an_entry_tells_what_a_data_set_is() {
    let data = customers().with_provenance(made_from(vec![Digest::of("raw")]));
    let entry = Entry::of(name("customers"), "crm", &data, at(5)).unwrap().with_tag("gold").with_tag("daily");
    assert_eq!((entry.rows, entry.digest), (2, data.digest().unwrap()));
    assert_eq!((entry.created, entry.modified), (at(5), at(5)));
    assert_eq!(entry.tags, ["gold", "daily"]);
    assert_eq!(entry.provenance.as_ref().unwrap().parents, [Digest::of("raw")]);
    let told: Vec<_> = entry.columns.iter().map(|c| (c.name.as_str(), c.data_type.as_str(), c.nullable)).collect();
    assert_eq!(told, [("id", "Int64", false), ("phone", "Utf8", true), ("spent", "Float64", true)]);
    assert_eq!(entry.columns[1].sensitivity, Sensitivity::Personal);
    assert_eq!(entry.columns[2].unit.as_deref(), Some("VND"));
    assert_eq!(entry.schema().unwrap(), *data.schema());
    entry.verify(&data).unwrap();
    let other = Dataset::empty(data.schema().clone());
    let error = entry.verify(&other).unwrap_err();
    assert!(matches!(&error, Error::Corrupt { what, .. } if what.contains("`customers`")), "{error}");
}

#[test]
fn types_survive_their_text() {
    let item = |data_type| Arc::new(Field::new_list_field(data_type, true));
    let types = [
        DataType::Boolean,
        DataType::UInt8,
        DataType::Float32,
        DataType::LargeUtf8,
        DataType::Utf8View,
        DataType::Date32,
        EventTime::data_type(),
        DataType::Timestamp(TimeUnit::Nanosecond, None),
        DataType::Timestamp(TimeUnit::Second, Some("Asia/Ho_Chi_Minh".into())),
        DataType::Decimal128(38, -2),
        DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
        DataType::List(item(DataType::List(item(DataType::Int16)))),
        DataType::Struct(
            vec![Field::new("a b, (c)", DataType::Int8, false), Field::new("đ", DataType::Utf8, true)].into(),
        ),
    ];
    let fields: Vec<Field> =
        types.iter().enumerate().map(|(i, t)| Field::new(i.to_string(), t.clone(), i % 2 == 0)).collect();
    let schema = Schema::new(arrow::datatypes::Schema::new(fields)).unwrap();
    let entry = Entry::of(name("types"), "o", &Dataset::empty(schema.clone()), at(0)).unwrap();
    assert_eq!(entry.schema().unwrap(), schema);

    for unreadable in ["Int65", "Struct(\"a\\\"b\": Int8)", ""] {
        let mut unknown = entry.clone();
        unknown.columns[3].data_type = unreadable.to_owned();
        let error = unknown.schema().unwrap_err();
        assert!(matches!(&error, Error::Schema { column, .. } if column == "3"), "{error}");
    }
}

#[test]
fn registering_keeps_the_first_time_and_is_idempotent() {
    let catalog = MemoryCatalog::new();
    let entry = |time| Entry::of(name("customers"), "crm", &customers(), at(time)).unwrap();
    assert_eq!(catalog.register(&entry(1)).unwrap(), Revision(1));
    assert_eq!(catalog.register(&entry(2)).unwrap(), Revision(1), "nothing but the time differs");
    assert_eq!(catalog.register(&entry(3).with_description("words")).unwrap(), Revision(2));
    let (found, _) = catalog.get(&name("customers")).unwrap();
    assert_eq!((found.created, found.modified), (at(1), at(3)));
}

#[test]
fn an_update_reads_changes_and_puts() {
    let catalog = MemoryCatalog::new();
    let it = name("it");
    assert!(matches!(catalog.update(&it, |_| {}), Err(Error::NotFound { .. })));
    catalog.register(&Entry::of(it.clone(), "crm", &customers(), at(1)).unwrap()).unwrap();
    assert_eq!(catalog.update(&it, |entry| entry.tags.push("a".to_owned())).unwrap(), Revision(2));
    assert_eq!(catalog.update(&it, |_| {}).unwrap(), Revision(2), "nothing is put where nothing changed");
    let renamed = catalog.update(&it, |entry| entry.name = name("other"));
    assert!(matches!(renamed, Err(Error::Invalid { .. })), "{renamed:?}");
    let catalog: &dyn Catalog = &catalog;
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let it = &it;
            scope.spawn(move || {
                for round in 0..10 {
                    catalog.update(it, |entry| entry.tags.push(format!("{thread}/{round}"))).unwrap();
                }
            });
        }
    });
    assert_eq!(catalog.get(&it).unwrap().0.tags.len(), 41, "no change is lost");
}

#[test]
fn conflicts_are_retried_a_bounded_number_of_times() {
    /// Somebody else is always faster.
    #[derive(Debug)]
    struct Contended(MemoryCatalog);

    impl Catalog for Contended {
        fn put(&self, entry: &Entry, expected: Revision) -> Result<Revision> {
            self.0.put(entry, expected)?;
            self.0.put(entry, expected)
        }

        fn get(&self, name: &Name) -> Result<(Entry, Revision)> {
            let (mut entry, revision) = self.0.get(name)?;
            entry.owner = "somebody else".to_owned();
            Ok((entry, revision))
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

    let catalog = Contended(MemoryCatalog::new());
    let refused = catalog.register(&Entry::of(name("it"), "crm", &customers(), at(1)).unwrap());
    assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
    assert_eq!(catalog.history(&name("it")).unwrap().len(), CONFLICT_TRIES_MAX);
}

#[test]
fn only_readers_may_open_and_they_get_the_rows_with_every_annotation() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = MemoryCatalog::new();
    let data = customers().with_provenance(made_from(Vec::new()));
    let place = |file: &str| folder.path().join(file);
    let sinks: [(&str, &str, Box<dyn DataSink>); 3] = [
        ("c.csv", "csv", Box::new(CsvSink::new(place("c.csv")))),
        ("c.jsonl", "json_lines", Box::new(JsonSink::new(place("c.jsonl")))),
        ("c.parquet", "parquet", Box::new(ParquetSink::new(place("c.parquet")))),
    ];
    for (file, format, sink) in sinks {
        data.write_to(sink.as_ref()).unwrap();
        let source = crate::source::SourceInfo::new(format, place(file).display().to_string());
        let entry = Entry::of(name(file), "crm", &data, at(1)).unwrap().with_source(source);
        catalog.register(&entry.with_readers(Readers::only(["billing"]))).unwrap();
        for outsider in ["marketing", "crm", "", "Billing"] {
            match catalog.open_as(&name(file), outsider) {
                Err(Error::Forbidden { who, action: "read", what }) => {
                    assert!(who.contains(outsider) && what.contains(file), "{who} {what}");
                }
                other => panic!("{outsider} must not read: {other:?}"),
            }
        }
        let opened = catalog.open_as(&name(file), "billing").unwrap();
        assert_eq!(opened.schema(), data.schema());
        assert_eq!(opened.digest().unwrap(), data.digest().unwrap(), "{file}");
        assert_eq!(opened.provenance(), data.provenance());
    }
    std::fs::write(place("c.csv"), "id,phone\n1,0900\n").unwrap();
    let error = catalog.open_as(&name("c.csv"), "billing").unwrap_err();
    assert!(matches!(&error, Error::Schema { column, .. } if column == "spent"), "{error}");
    std::fs::remove_file(place("c.parquet")).unwrap();
    let error = catalog.open_as(&name("c.parquet"), "billing").unwrap_err();
    assert!(matches!(&error, Error::NotFound { kind: "file", .. }), "{error}");
    assert!(matches!(catalog.open_as(&name("unknown"), "billing"), Err(Error::NotFound { kind: "data set", .. })));
}

#[test]
fn other_places_are_opened_with_a_source() {
    let catalog = MemoryCatalog::new();
    let data = customers();
    catalog.register(&Entry::of(name("held"), "crm", &data, at(1)).unwrap()).unwrap();
    let error = catalog.open_as(&name("held"), "anyone").unwrap_err();
    assert!(matches!(&error, Error::Invalid { setting: "format", value, .. } if value == "memory"), "{error}");
    let plain = Dataset::from_batches([data.to_batch().unwrap()]).unwrap();
    let bare = Schema::new(arrow::datatypes::Schema::new(
        plain
            .schema()
            .arrow()
            .fields()
            .iter()
            .map(|f| Field::new(f.name(), f.data_type().clone(), true))
            .collect::<Vec<_>>(),
    ));
    let plain = plain.with_schema(bare.unwrap()).unwrap();
    let source = Arc::new(MemorySource::new("plain", &plain).unwrap());
    let opened = catalog.open_with(&name("held"), "anyone", source).unwrap();
    assert_eq!(
        opened.digest().unwrap(),
        data.digest().unwrap(),
        "roles, sensitivities, units and nullability come back"
    );
    let other = Dataset::empty(data.schema().project(&["id", "phone"]).unwrap());
    let refused = catalog.open_with(&name("held"), "anyone", Arc::new(other));
    assert!(matches!(refused, Err(Error::Schema { .. })), "{refused:?}");
}

/// A profile of the two customers.
fn profile() -> crate::profile::Profile {
    let batch = customers().to_batch().unwrap();
    let mut profiler =
        crate::profile::Profiler::new(&batch.schema(), &crate::profile::ProfileOptions::default()).unwrap();
    profiler.update(&batch).unwrap();
    profiler.finish()
}

#[test]
fn an_entry_carries_the_numbers_of_a_profile_but_no_value_of_a_person() {
    let entry = Entry::of(name("customers"), "crm", &customers(), at(5)).unwrap();
    let mut personal = entry.clone();
    personal.columns[2].sensitivity = Sensitivity::Personal;
    let entry = entry.with_profile(&profile(), at(6)).unwrap();
    let statistics = entry.statistics.as_ref().unwrap();
    assert_eq!((statistics.profile, statistics.taken), (Digest::of(profile().to_bytes()), at(6)));
    // Of 0.5 and 2: mean 1.25, deviation sqrt(2 * 0.75²) = 1.0606601717798212.
    let spent = statistics.column("spent").unwrap();
    assert_eq!((spent.min, spent.max, spent.mean, spent.distinct), (Some(0.5), Some(2.0), Some(1.25), Some(2)));
    assert!((spent.standard_deviation.unwrap() - 1.0606601717798212).abs() < 1e-12);
    let phone = statistics.column("phone").unwrap();
    assert_eq!((phone.nulls, phone.min, phone.quartiles), (1, None, None));

    let hidden = personal.with_profile(&profile(), at(6)).unwrap().statistics.unwrap();
    let spent = hidden.column("spent").unwrap();
    assert_eq!(
        (spent.min, spent.max, spent.mean, spent.standard_deviation, spent.quartiles),
        (None, None, None, None, None)
    );
    assert!(!serde_json::to_string(&hidden).unwrap().contains("0.5"));
}

#[test]
fn a_profile_of_something_else_is_refused() {
    let entry = Entry::of(name("customers"), "crm", &customers(), at(5)).unwrap();
    let mut fewer = entry.clone();
    fewer.columns.pop();
    assert!(matches!(fewer.with_profile(&profile(), at(6)), Err(Error::Schema { column, .. }) if column == "spent"));
    let mut renamed = entry.clone();
    renamed.columns[0].name = "key".to_owned();
    assert!(matches!(renamed.with_profile(&profile(), at(6)), Err(Error::Schema { column, .. }) if column == "key"));
    let more = Entry { rows: 3, ..entry };
    assert!(matches!(more.with_profile(&profile(), at(6)), Err(Error::Invalid { value, .. }) if value == "2"));
}

#[test]
fn freshness_counts_from_what_is_known_of_the_content() {
    let day = std::time::Duration::from_hours(24);
    let mut entry = Entry::of(name("customers"), "crm", &customers(), at(100)).unwrap();
    assert_eq!(entry.freshness(at(1_000_000)), Freshness::Unknown);
    entry = entry.with_refresh(Refresh::every(day).unwrap());
    assert_eq!((entry.updated(), entry.freshness(at(86_500))), (at(100), Freshness::Fresh { age_us: 86_400_000_000 }));
    entry.provenance = Some(made_from(Vec::new()));
    assert_eq!(entry.updated(), at(1));
    entry.source.modified = Some(at(2));
    assert_eq!(entry.updated(), at(2), "the place knows best");
    assert!(matches!(entry.freshness(at(86_403)), Freshness::Late { overdue_us: 1_000_000, .. }));
}

#[test]
fn secrets_do_not_get_into_data_sets_or_catalogs() {
    let secret = || {
        let mut made = made_from(Vec::new());
        made.parameters = serde_json::json!({"password": "hunter2", "from": "https://a:hunter2@host/"});
        made
    };
    let data = customers().with_provenance(secret());
    assert!(!format!("{:?}", data.provenance()).contains("hunter2"));
    let catalog = MemoryCatalog::new();
    let mut entry = Entry::of(name("customers"), "crm", &customers(), at(1)).unwrap();
    entry.provenance = Some(secret());
    catalog.register(&entry).unwrap();
    assert_eq!(catalog.register(&entry).unwrap(), Revision(1), "registering is idempotent with secrets, too");
    catalog.update(&entry.name, |entry| entry.provenance = Some(secret())).unwrap();
    assert!(!format!("{:?}", catalog.history(&entry.name).unwrap()).contains("hunter2"));
}

#[test]
fn a_permission_that_is_taken_back_ends_what_was_opened_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("c.parquet");
    customers().write_to(&ParquetSink::new(&place)).unwrap();
    let data = customers().with_provenance(made_from(Vec::new()));
    let source = crate::source::SourceInfo::new("parquet", place.display().to_string());
    let entry = Entry::of(name("customers"), "crm", &data, at(1)).unwrap().with_source(source);
    let catalog = Arc::new(MemoryCatalog::new());
    catalog.register(&entry.with_readers(Readers::only(["billing"]))).unwrap();
    let refused = guarded(catalog.clone(), &name("customers"), "sales");
    assert!(matches!(refused, Err(Error::Forbidden { .. })), "{refused:?}");
    let opened = guarded(catalog.clone(), &name("customers"), "billing").unwrap();
    assert_eq!((opened.to_batch().unwrap().num_rows(), opened.provenance()), (2, data.provenance()));
    catalog.update(&name("customers"), |entry| entry.readers = Readers::only(["sales"])).unwrap();
    let error = opened.to_batch().unwrap_err();
    assert!(matches!(&error, Error::Forbidden { who, .. } if who == "`billing`"), "{error}");
}
