use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::UInt64Type;

use super::{column, table};
use crate::schema::{Role, Sensitivity};
use crate::source::{Comparison, DataSink, Predicate, ScanRequest, SinkWriter, Written};
use crate::validate::{
    Check, CheckRun, Columns, Finding, MARKS_COLUMN, MARKS_METADATA, NullRatio, OneOf, Pattern, Range, Report,
    RowCount, RunOptions, Scope, Severity, Shown, Suite, Unique,
};
use crate::{Dataset, Error, Name, Result, Schema};

/// Keeps what was committed.
#[derive(Debug, Default)]
pub(super) struct Kept(Arc<Mutex<Option<Dataset>>>);

struct Writer(Schema, Vec<RecordBatch>, Arc<Mutex<Option<Dataset>>>);

impl DataSink for Kept {
    fn begin(&self, schema: &Schema) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(Writer(schema.clone(), Vec::new(), self.0.clone())))
    }
}

impl SinkWriter for Writer {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        assert_eq!(batch.schema_ref(), self.0.arrow());
        self.1.push(batch.clone());
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<Written> {
        let data = Dataset::held(self.0, self.1)?;
        let rows = data.num_rows()?;
        *self.2.lock().unwrap() = Some(data);
        Ok(Written { rows, size_bytes: 0 })
    }
}

impl Kept {
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().unwrap().is_none()
    }

    pub(super) fn rows(&self) -> RecordBatch {
        self.0.lock().unwrap().as_ref().expect("committed").to_batch().unwrap()
    }
}

fn shop() -> Dataset {
    let data = table([
        ("id", Arc::new(Int64Array::from(vec![1, 2, 3, 4, 4])) as ArrayRef),
        (
            "phone",
            Arc::new(StringArray::from(vec![
                Some("0901234567"),
                Some("secret-x"),
                None,
                Some("12"),
                Some("0907654321"),
            ])),
        ),
        ("price", Arc::new(Int64Array::from(vec![Some(10), Some(-5), Some(20), None, Some(30)]))),
    ]);
    let schema = data.schema().with_role("id", Role::Key).unwrap();
    data.with_schema(schema.with_sensitivity("phone", Sensitivity::Personal).unwrap()).unwrap()
}

fn rules() -> Suite {
    Suite::new()
        .rule("phone_form", Pattern::of("phone", "0[0-9]{9}"))
        .and_then(|s| s.rule_at(Severity::Warning, "price_known", NullRatio::of("price")))
        .and_then(|s| s.rule("price_sane", Range::of("price").at_least(0)))
        .and_then(|s| s.rule("id_unique", Unique::of(["id"])))
        .and_then(|s| s.rule("enough", RowCount::at_least(1)))
        .unwrap()
}

#[test]
fn one_pass_gives_one_finding_per_check_in_order() {
    let report = rules().run(&shop()).unwrap();
    let found: Vec<_> = report.findings.iter().map(|f| (f.check.as_str(), f.passed, f.failed_rows)).collect();
    let expected = [
        ("phone_form", false, 2),
        ("price_known", false, 1),
        ("price_sane", false, 1),
        ("id_unique", false, 1),
        ("enough", true, 0),
    ];
    assert_eq!(found, expected);
    assert_eq!((report.rows, report.rejected_rows), (5, 3));
    assert_eq!(report.schema, shop().schema().fingerprint());
    assert_eq!(report.dataset, None);
}

#[test]
fn the_digest_is_that_of_the_data() {
    let outcome = rules().run_with(&shop(), &RunOptions::new().digest()).unwrap();
    assert_eq!(outcome.report.dataset, Some(shop().digest().unwrap()));
}

#[test]
fn an_id_comes_once() {
    let twice = rules().rule("enough", RowCount::at_least(2));
    assert!(matches!(twice, Err(Error::AlreadyExists { kind: "check", name }) if name == "enough"));
    assert!(matches!(Suite::new().rule("../x", RowCount::at_least(2)), Err(Error::Invalid { .. })));
}

#[test]
fn failing_rows_go_to_quarantine_with_the_checks_they_failed_and_the_rest_goes_on() {
    let (bad, good) = (Kept::default(), Kept::default());
    let outcome = rules().run_with(&shop(), &RunOptions::new().quarantine(&bad).passed(&good)).unwrap();
    let bits: Vec<_> = outcome.report.mark_bits.iter().map(Name::as_str).collect();
    assert_eq!(bits, ["phone_form", "price_sane", "id_unique"]);
    assert_eq!(outcome.quarantined.unwrap().rows + outcome.passed.unwrap().rows, 5);
    let bad = bad.rows();
    assert_eq!(bad.column_by_name("id").unwrap().as_primitive::<arrow::datatypes::Int64Type>().values(), &[2, 4, 4]);
    let marks = bad.column_by_name(MARKS_COLUMN).unwrap().as_primitive::<UInt64Type>();
    assert_eq!(marks.values(), &[0b011, 0b001, 0b100]);
    let field = bad.schema().field_with_name(MARKS_COLUMN).unwrap().clone();
    assert_eq!(field.metadata()[MARKS_METADATA], "phone_form,price_sane,id_unique");
    assert_eq!(Schema::new(bad.schema()).unwrap().hidden(), ["phone"]);
    let good = good.rows();
    assert_eq!(good.schema_ref(), shop().schema().arrow());
    assert_eq!(good.column(0).as_primitive::<arrow::datatypes::Int64Type>().values(), &[1, 3]);
}

#[test]
fn what_passes_can_be_scanned_without_a_copy() {
    let passing = rules().passing(&shop()).unwrap();
    assert!(!passing.is_held());
    assert_eq!(passing.num_rows().unwrap(), 2);
    let asked = ScanRequest::all().columns(["price"]).filter(Predicate::new("id", Comparison::Gt, 1)).batch_rows(1);
    let batches: Vec<_> = passing.scan(&asked).unwrap().collect::<Result<_>>().unwrap();
    assert_eq!(batches.len(), 1);
    assert_eq!(batches[0].column(0).as_primitive::<arrow::datatypes::Int64Type>().values(), &[20]);
    assert!(rules().run(&passing).unwrap().passed(Severity::Info));
    let lacking = column(Int64Array::from(vec![1]));
    assert!(rules().passing(&lacking).unwrap_err().to_string().contains("check `phone_form`"));
}

#[test]
fn nothing_is_committed_when_a_check_cannot_go_on() {
    let (bad, good) = (Kept::default(), Kept::default());
    let suite = rules().rule("few", Unique::of(["price"]).distinct_max(2)).unwrap();
    let error = suite.run_with(&shop(), &RunOptions::new().quarantine(&bad).passed(&good)).unwrap_err();
    assert!(error.to_string().contains("check `few`"), "{error}");
    assert!(bad.0.lock().unwrap().is_none() && good.0.lock().unwrap().is_none());
}

#[test]
fn a_quarantine_needs_a_free_column_and_marks_up_to_64_bits_in_one_number() {
    let sink = Kept::default();
    let taken = table([(MARKS_COLUMN, Arc::new(Int64Array::from(vec![1])) as ArrayRef)]);
    let suite = Suite::new().rule("r", NullRatio::of(MARKS_COLUMN)).unwrap();
    let error = suite.run_with(&taken, &RunOptions::new().quarantine(&sink)).unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
    let data = column(Int64Array::from(vec![Some(1), None]));
    let many = |n: usize| (0..n).try_fold(Suite::new(), |s, i| s.rule(format!("r{i}"), NullRatio::of("x"))).unwrap();
    assert!(many(64).run_with(&data, &RunOptions::new().quarantine(&sink)).is_ok());
    let marks = sink.rows().column(1).as_primitive::<UInt64Type>().value(0);
    assert_eq!(marks, u64::MAX);
}

#[test]
fn samples_are_few_and_hide_what_is_sensitive() {
    let report = rules().run_with(&shop(), &RunOptions::new().samples(1)).unwrap().report;
    let shown: Vec<_> = report.samples.iter().map(|s| (s.check.as_str(), s.row)).collect();
    assert_eq!(shown, [("phone_form", 1), ("price_known", 3), ("price_sane", 1), ("id_unique", 4)]);
    let phone = &report.samples[0];
    let cells: Vec<_> = phone.cells.iter().map(|c| (c.column.as_str(), &c.value)).collect();
    assert_eq!(cells, [("id", &Shown::Text("2".into())), ("phone", &Shown::Hidden)]);
    assert_eq!(report.samples[1].cells[1].value, Shown::Null);
    let everything = [serde_json::to_string(&report).unwrap(), report.to_string(), report.to_html()];
    for text in everything {
        assert!(!text.contains("secret-x") && !text.contains("0901234567"), "{text}");
    }
    assert!(rules().run_with(&shop(), &RunOptions::new().samples(0)).unwrap().report.samples.is_empty());
}

#[test]
fn long_and_unprintable_values_are_cut_and_escaped() {
    let hostile = format!("\u{1b}[31m{}", "é".repeat(1_000_000));
    let data = column(StringArray::from(vec![hostile.as_str()]));
    let report = Suite::new().rule("r", OneOf::of("x", ["a"])).unwrap().run(&data).unwrap();
    let Shown::Text(text) = &report.samples[0].cells[0].value else { panic!() };
    assert!(text.starts_with(r"\u{1b}[31mé") && text.chars().count() < 100, "{text}");
}

#[test]
fn the_page_holds_no_markup_of_the_data() {
    let hostile = "<script>alert('x')</script>&\"";
    let batch =
        RecordBatch::try_from_iter([(hostile, Arc::new(StringArray::from(vec![hostile])) as ArrayRef)]).unwrap();
    let data = Dataset::from_batches([batch]).unwrap();
    let suite = Suite::new().rule("r", OneOf::of(hostile, ["a"])).unwrap();
    let page = suite.rule("c", Columns::of(["<b>"])).unwrap().run(&data).unwrap().to_html();
    assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
    assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&quot;"), "{page}");
}

#[test]
fn a_gate_names_what_failed_at_its_severity() {
    let report = rules().run(&shop()).unwrap();
    let Err(Error::Rejected { failed, .. }) = report.gate(Severity::Error) else { panic!("it must not pass") };
    assert_eq!(failed, ["phone_form", "price_sane", "id_unique"]);
    let Err(Error::Rejected { failed, .. }) = report.gate(Severity::Info) else { panic!("it must not pass") };
    assert_eq!(failed.len(), 4);
    let mild = Suite::new().rule_at(Severity::Warning, "w", NullRatio::of("price")).unwrap().run(&shop()).unwrap();
    assert!(mild.gate(Severity::Error).is_ok() && mild.passed(Severity::Error) && !mild.passed(Severity::Warning));
}

#[test]
fn suites_and_reports_survive_json_and_unknown_fields_do_not() {
    let suite = rules()
        .rule("columns", Columns::like(shop().schema()).ordered().exact())
        .and_then(|s| s.rule("plans", OneOf::of("price", [10_i64, 20])))
        .unwrap();
    let text = suite.to_json().unwrap();
    let again = Suite::from_json(&text).unwrap();
    assert_eq!(again.settings().unwrap(), suite.settings().unwrap());
    assert_eq!(again.run(&shop()).unwrap(), suite.run(&shop()).unwrap());
    let report = suite.run(&shop()).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&serde_json::to_string(&report).unwrap()).unwrap(), report);
    let bad = [
        text.replace("\"format\": 1", "\"format\": 2"),
        text.replace("\"price_known\"", "\"price_sane\""),
        text.replace("\"kind\": \"range\"", "\"kind\": \"python\""),
        text.replace("\"kind\": \"range\"", "\"kind\": \"range\", \"mostly\": 1"),
        text.replace("\"severity\": \"warning\"", "\"severity\": \"warning\", \"owner\": \"x\""),
        text.replace("0[0-9]{9}", "("),
    ];
    for bad in bad {
        assert_ne!(bad, text);
        assert!(Suite::from_json(&bad).is_err(), "{bad}");
    }
}

/// A host's own check: even numbers only; answers with as many marks as it was told to.
#[derive(Debug)]
struct Even(Name, Option<usize>);

impl Check for Even {
    fn id(&self) -> &Name {
        &self.0
    }

    fn severity(&self) -> Severity {
        Severity::Error
    }

    fn scope(&self) -> Scope {
        Scope::Row
    }

    fn columns(&self) -> Vec<&str> {
        vec!["x"]
    }

    fn begin(&self, schema: &Schema) -> Result<Box<dyn CheckRun>> {
        schema.field("x")?;
        Ok(Box::new(EvenRun(self.0.clone(), self.1)))
    }
}

struct EvenRun(Name, Option<usize>);

impl CheckRun for EvenRun {
    fn update(&mut self, batch: &RecordBatch) -> Result<Option<BooleanArray>> {
        let values = batch.column_by_name("x").unwrap().as_primitive::<arrow::datatypes::Int64Type>();
        let marks: BooleanArray = values.iter().map(|v| v.map(|v| v % 2 != 0)).collect();
        Ok(Some(self.1.map_or(marks.clone(), |len| marks.slice(0, len))))
    }

    fn finish(self: Box<Self>) -> Result<Finding> {
        Ok(Finding {
            check: self.0,
            demand: "even".to_owned(),
            severity: Severity::Error,
            passed: false,
            rows: 0,
            failed_rows: 0,
            observed: None,
            measures: std::collections::BTreeMap::new(),
            detail: String::new(),
        })
    }
}

#[test]
fn a_hosts_own_check_runs_beside_the_rules_but_cannot_be_stored() {
    let data = column(Int64Array::from(vec![Some(1), None, Some(2)]));
    let name = Name::new("even").unwrap();
    let suite = Suite::new().check(Even(name.clone(), None)).unwrap();
    let report = suite.run(&data).unwrap();
    assert_eq!(report.rejected_rows, 1); // a null mark counts as false
    assert!(suite.settings().unwrap_err().to_string().contains("even"));
    let broken = Suite::new().check(Even(name, Some(2))).unwrap().run(&data).unwrap_err().to_string();
    assert_eq!(broken, "check `even`: answer: 2 marks instead of 3 marks");
}

#[test]
fn requests_are_judged_by_the_same_rules_row_by_row() {
    let batch = shop().to_batch().unwrap();
    let verdicts = rules().check_row(&batch).unwrap();
    let failed = |row| verdicts.failed(row).map(|(id, _)| id.to_string()).collect::<Vec<_>>();
    assert_eq!(failed(0), Vec::<String>::new());
    assert_eq!(failed(1), ["phone_form", "price_sane"]);
    assert_eq!(failed(3), ["phone_form", "price_known"]);
    assert_eq!(failed(4), Vec::<String>::new()); // a duplicate shows only in a table
    assert!(
        verdicts.passed(2, Severity::Info)
            && !verdicts.passed(1, Severity::Error)
            && !verdicts.passed(9, Severity::Info)
    );
    assert_eq!(verdicts.keep(Severity::Error).iter().collect::<Vec<_>>(), [true, false, true, false, true]);
    let lacking = column(Int64Array::from(vec![1])).to_batch().unwrap();
    assert!(rules().check_row(&lacking).unwrap_err().to_string().contains("check `phone_form`: column `phone`"));
}

#[test]
fn the_table_for_a_terminal_reads_well() {
    insta::assert_snapshot!(rules().run(&shop()).unwrap().to_string(), @r"
    5 checks over 5 rows: 4 failed
          check            failed    observed  demand
    FAIL  phone_form            2      0.4000  `phone` matches 0[0-9]{9} from end to end (misfits in 2 of 5 rows)
    warn  price_known           1      0.2000  `price` has no nulls (nulls in 1 of 5 rows)
    FAIL  price_sane            1      0.2000  `price` >= 0 (misfits in 1 of 5 rows)
    FAIL  id_unique             1      0.2000  `id` is unique (rows in duplicate groups: 2, rows in excess: 1)
    ok    enough                0           5  row count of at least 1
    ");
}

#[test]
fn a_suite_without_checks_counts_rows() {
    let report = Suite::new().run(&shop()).unwrap();
    assert_eq!((report.rows, report.findings.len(), report.passed(Severity::Info)), (5, 0, true));
}
