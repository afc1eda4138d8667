//! Croissant documents, judged and read by the package that the specification comes with, where it is installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use mlops_core::arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use mlops_core::catalog::Entry;
use mlops_core::catalog::croissant::Croissant;
use mlops_core::schema::{Role, Sensitivity};
use mlops_core::source::{CsvSink, CsvSource, DataSource, JsonSink, JsonSource, ParquetSink, ParquetSource};
use mlops_core::{Dataset, EventTime, Name, Schema};
use serde_json::{Value, json};

/// Two calls of odd subscribers.
fn calls() -> Dataset {
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(Int64Array::from(vec![1, -2])) as ArrayRef, false),
        ("số máy", Arc::new(StringArray::from(vec!["0912, \"345\"", "đ\n"])), true),
        ("seconds", Arc::new(Float64Array::from(vec![Some(0.5), None])), true),
        ("paid", Arc::new(BooleanArray::from(vec![true, false])), true),
        ("day", Arc::new(Date32Array::from(vec![19_723, 0])), true),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![1_704_067_200_000_000, 0]).with_timezone("UTC")), true),
    ])
    .unwrap();
    let schema = Schema::new(batch.schema())
        .and_then(|schema| schema.with_role("id", Role::Key))
        .and_then(|schema| schema.with_sensitivity("số máy", Sensitivity::Personal))
        .and_then(|schema| schema.with_unit("seconds", "s"));
    Dataset::held(schema.unwrap(), [batch]).unwrap()
}

/// Writes the document of the data set that `source` reads.
fn describe(folder: &Path, name: &str, source: Arc<dyn DataSource>) -> PathBuf {
    let data = Dataset::from_source(source).unwrap().with_schema(calls().schema().clone()).unwrap();
    let entry = Entry::of(Name::new(name).unwrap(), "network", &data, EventTime::from_secs(1_704_067_200)).unwrap();
    let entry = entry.with_description("calls of subscribers").with_license("CC-BY-4.0").with_tag("gold");
    let croissant = Croissant::of(&entry).unwrap().with_version("1.0.0").with_citation("@misc{calls}");
    let document = folder.join(format!("{name}.json"));
    fs::write(&document, croissant.with_url("https://data.example/calls").unwrap().to_text()).unwrap();
    document
}

#[test]
fn the_reference_implementation_accepts_documents_and_reads_their_rows() {
    let folder = tempfile::tempdir().unwrap();
    let [csv, json, parquet] = ["calls.csv", "calls.jsonl", "calls.parquet"].map(|file| folder.path().join(file));
    calls().write_to(&CsvSink::new(&csv)).unwrap();
    calls().write_to(&JsonSink::new(&json)).unwrap();
    calls().write_to(&ParquetSink::new(&parquet)).unwrap();
    let schema = || calls().schema().clone();
    let documents = [
        describe(folder.path(), "csv", Arc::new(CsvSource::builder(&csv).schema(schema()).build().unwrap())),
        describe(folder.path(), "json", Arc::new(JsonSource::builder(&json).schema(schema()).build().unwrap())),
        describe(folder.path(), "parquet", Arc::new(ParquetSource::open(&parquet).unwrap())),
    ];
    let broken = folder.path().join("broken.json");
    let text = fs::read_to_string(&documents[0]).unwrap();
    fs::write(&broken, text.replace("\"sha256\"", "\"sha255\"")).unwrap();

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/compare/croissant.py");
    let python = std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
    let output = match Command::new(&python).arg(script).args(&documents).arg(&broken).output() {
        Ok(output) if output.status.code() != Some(3) => output,
        absent => {
            eprintln!("SKIPPED: {} has no mlcroissant ({absent:?}); set PYTHON to one that has", python.display());
            return;
        }
    };
    let answers = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<Value> = answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), 4, "{}", String::from_utf8_lossy(&output.stderr));
    let row = |id, phone: &str, seconds: Value, paid, day: &str, at: &str| {
        json!({
            "rows/id": id, "rows/s%E1%BB%91%20m%C3%A1y": phone, "rows/seconds": seconds, "rows/paid": paid,
            "rows/day": day, "rows/at": at,
        })
    };
    let expected = json!([
        row(1, "0912, \"345\"", json!(0.5), true, "2024-01-01T00:00:00", "2024-01-01T00:00:00+00:00"),
        row(-2, "đ\n", Value::Null, false, "1970-01-01T00:00:00", "1970-01-01T00:00:00+00:00"),
    ]);
    for answer in &answers[..3] {
        assert_eq!(answer["wrong"], json!([]), "{}", answer["document"]);
        assert_eq!(answer["records"], expected, "{}", answer["document"]);
    }
    assert!(answers[3]["wrong"].to_string().contains("sha256"), "{}", answers[3]["wrong"]);
}
