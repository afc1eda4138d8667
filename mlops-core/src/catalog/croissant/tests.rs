use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};

use super::*;
use crate::catalog::{CatalogExt, MemoryCatalog, Readers};
use crate::source::{CsvSource, ParquetSink, ParquetSource};
use crate::{Dataset, Name, Schema};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// `printf 'offer,giá\n1,100\n2,250\n' | sha256sum` of coreutils 9.1.
const OFFERS: (&str, &str) =
    ("offer,giá\n1,100\n2,250\n", "2c75bd3e203969073096d339d35b8d5114cebea77ea34310f783679306918b5e");

#[test]
fn a_csv_file_is_told_with_its_size_checksum_and_columns() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("offers.csv");
    std::fs::write(&path, OFFERS.0).unwrap();
    let data = Dataset::from_source(Arc::new(CsvSource::open(&path).unwrap())).unwrap();
    let entry = Entry::of(name("offers"), "pricing", &data, EventTime::from_secs(1_704_067_200)).unwrap();
    let mut entry = entry.with_license("CC-BY-4.0").with_tag("gold").with_description("what may be bought");
    entry.source.modified = Some(EventTime::from_secs(1_704_153_600));
    let croissant = Croissant::of(&entry).unwrap().with_citation("ours").with_version("1.0.0");
    let value = croissant.with_url("https://data.example/").unwrap().to_value();
    for (member, expected) in [
        ("@type", "sc:Dataset"),
        ("name", "offers"),
        ("description", "what may be bought"),
        ("conformsTo", "http://mlcommons.org/croissant/1.0"),
        ("license", "https://spdx.org/licenses/CC-BY-4.0"),
        ("datePublished", "2024-01-01"),
        ("dateModified", "2024-01-02"),
        ("url", "https://data.example/"),
        ("version", "1.0.0"),
        ("citeAs", "ours"),
    ] {
        assert_eq!(value[member], expected, "{member}");
    }
    assert_eq!(value["creator"]["name"], "pricing");
    assert_eq!(value["keywords"], json!(["gold"]));
    let file = &value["distribution"][0];
    assert_eq!((&file["@type"], &file["encodingFormat"]), (&json!("cr:FileObject"), &json!("text/csv")));
    assert_eq!((&file["sha256"], &file["contentSize"]), (&json!(OFFERS.1), &json!("23 B")));
    let field = &value["recordSet"][0]["field"][1];
    assert_eq!((&field["@id"], &field["name"]), (&json!("rows/gi%C3%A1"), &json!("giá")));
    assert_eq!(field["source"], json!({"fileObject": {"@id": file["@id"]}, "extract": {"column": "giá"}}));
    assert_eq!(field["dataType"], "sc:Integer");

    std::fs::write(&path, "offer,giá\n").unwrap();
    assert!(matches!(Croissant::of(&entry), Err(Error::Corrupt { what, .. }) if what.ends_with("offers.csv")));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(Croissant::of(&entry), Err(Error::NotFound { kind: "file", .. })));
}

#[test]
fn columns_of_parquet_files_keep_their_meaning_and_those_without_a_word_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calls.parquet");
    let batch = RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from(vec![1])) as ArrayRef),
        ("phone", Arc::new(StringArray::from(vec!["0912345678"])) as ArrayRef),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![0])) as ArrayRef),
        ("voice", Arc::new(BinaryArray::from(vec![&b"\x00"[..]])) as ArrayRef),
    ])
    .unwrap();
    let schema = Schema::new(batch.schema())
        .and_then(|schema| schema.with_role("id", Role::Key))
        .and_then(|schema| schema.with_sensitivity("phone", Sensitivity::Personal));
    Dataset::held(schema.unwrap(), [batch]).unwrap().write_to(&ParquetSink::new(&path)).unwrap();
    let data = Dataset::from_source(Arc::new(ParquetSource::open(&path).unwrap())).unwrap();
    let entry = Entry::of(name("calls"), "network", &data, EventTime::EPOCH).unwrap();
    let croissant = Croissant::of(&entry).unwrap().with_content_url("https://u:hunter2@data.example/calls.parquet");
    let (value, text) = (croissant.to_value(), croissant.to_text());
    let set = &value["recordSet"][0];
    let types: Vec<&Value> = set["field"].as_array().unwrap().iter().map(|field| &field["dataType"]).collect();
    assert_eq!(types, ["sc:Integer", "sc:Text", "sc:DateTime"]);
    assert_eq!(set["description"], "1 rows; not described: voice");
    assert_eq!(set["key"], json!([{"@id": "rows/id"}]));
    assert_eq!(set["field"][1]["description"], "personal");
    assert_eq!(value["rai:personalSensitiveInformation"], json!(["phone"]));
    assert_eq!(value["distribution"][0]["encodingFormat"], "application/x-parquet");
    assert!(!text.contains("0912345678") && !text.contains("hunter2"), "{text}");
    assert!(croissant.with_url("javascript:alert(1)").is_err());
}

#[test]
fn other_formats_and_places_are_refused() {
    let batch = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]).unwrap();
    let data = Dataset::from_batches([batch]).unwrap();
    let entry = Entry::of(name("a"), "b", &data, EventTime::MAX).unwrap();
    for (format, location) in [("memory", "memory"), ("csv", "a.csv.gz"), ("csv", ""), ("csv", "/"), ("csv", "..")] {
        let source = crate::source::SourceInfo::new(format, location);
        let error = Croissant::of(&entry.clone().with_source(source)).unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{format} {location}: {error}");
    }
}

#[test]
fn an_index_tells_each_reader_what_it_may_know() {
    let batch = RecordBatch::try_from_iter([("wage", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]).unwrap();
    let data = Dataset::from_batches([batch]).unwrap();
    let catalog = MemoryCatalog::new();
    let entry =
        |text: &str| Entry::of(name(text), "hr", &data, EventTime::MAX).unwrap().with_description("sealed words");
    catalog.register(&entry("open")).unwrap();
    catalog.register(&entry("salaries").with_readers(Readers::only(["hr"]))).unwrap();
    let value = index(&catalog, "mina").unwrap();
    assert_eq!((&value["@type"], &value["dataset"][0]["name"]), (&json!("sc:DataCatalog"), &json!("open")));
    let sealed = value["dataset"][1].as_object().unwrap();
    assert_eq!(sealed.keys().collect::<Vec<_>>(), ["@type", "creator", "isAccessibleForFree", "name"]);
    assert_eq!(index(&catalog, "hr").unwrap()["dataset"][1]["description"], "sealed words");
    assert!(value["dataset"][0].get("datePublished").is_none(), "the end of time has no day of four digits");
}
