//! Actions on whole tables, guarded sources, and that no raw value ever shows.

use arrow::array::{Date32Array, TimestampMicrosecondArray};
use arrow::datatypes::{Date32Type, TimestampMicrosecondType};

use super::*;
use crate::source::{BatchStream, Comparison, DataSource, MemorySource, Predicate, ScanRequest, SourceInfo};
use crate::{Dataset, Schema, schema::Sensitivity};

fn text(values: Vec<Option<&str>>) -> ArrayRef {
    Arc::new(StringArray::from(values))
}

/// Visits of two people; the last row is of nobody.
fn visits() -> RecordBatch {
    let who = text(vec![Some("0912345678"), Some("+84 912 345 678"), Some("0987654321"), None]);
    let day = Date32Array::from(vec![Some(20_000), Some(20_010), Some(20_000), Some(20_000)]);
    let at = TimestampMicrosecondArray::from(vec![Some(1_700_000_000_000_000); 4]).with_timezone("+07:00");
    let born = text(vec![Some("24/12/1990"), Some("24/12/1990"), Some("hỏng"), Some("1/1/2000")]);
    let home = text(vec![Some("12 Lê Lợi, phường 4, Vũng Tàu"), None, Some("đâu đó"), Some("P. 7, Q. 3, TPHCM")]);
    RecordBatch::try_from_iter([
        ("phone", who),
        ("day", Arc::new(day) as ArrayRef),
        ("at", Arc::new(at) as ArrayRef),
        ("ngày sinh", born),
        ("địa chỉ", home),
        ("age", Arc::new(Int64Array::from(vec![Some(36), Some(19), Some(400), None])) as ArrayRef),
    ])
    .unwrap()
}

fn shifting() -> Policy {
    let shift = Action::ShiftDate { days_max: 200 };
    Policy::builder()
        .subject("phone")
        .column("day", shift)
        .column("at", shift)
        .column("ngày sinh", shift)
        .column("địa chỉ", Action::Generalise { to: Level::Province })
        .column("age", Action::Generalise { to: Level::AgeBand { years: 10 } })
        .kind(P, Action::Token)
        .build()
        .unwrap()
}

#[test]
fn dates_of_one_subject_keep_their_distance_and_their_type() {
    let (out, audit) = shifting().apply(detector(), &visits(), Some(&key())).unwrap();
    let days = out.column_by_name("day").unwrap().as_primitive::<Date32Type>();
    assert_eq!(days.value(1) - days.value(0), 10, "two spellings of one number are one person");
    let moved = i64::from(days.value(0)) - 20_000;
    assert!(moved != 0 && moved.abs() <= 200 && days.value(2) != days.value(0));
    assert!(days.is_null(3), "nobody's date cannot be moved");
    let at = out.column_by_name("at").unwrap();
    assert_eq!(at.data_type(), visits().column(2).data_type());
    let at = at.as_primitive::<TimestampMicrosecondType>();
    assert_eq!(at.value(0) - 1_700_000_000_000_000, moved * 86_400_000_000);
    let born = texts(&out, "ngày sinh");
    assert!(born[0] == born[1] && born[0].as_deref() != Some("24/12/1990"));
    assert!(born[0].as_deref().is_some_and(|b| b.len() == 10 && b.contains('/')));
    assert_eq!(born[2].as_deref(), Some("[birth_date]"));
    assert_eq!(audit.treated["day"], Treated { cells: 4, kinds: [(Kind::BirthDate, 4)].into(), other: 0, unfit: 1 });
}

#[test]
fn what_has_no_broader_value_is_redacted_and_counted() {
    let (out, audit) = shifting().apply(detector(), &visits(), Some(&key())).unwrap();
    let home: Vec<_> = texts(&out, "địa chỉ").into_iter().flatten().collect();
    assert_eq!(home, ["Bà Rịa - Vũng Tàu", "[postal_address]", "Thành phố Hồ Chí Minh"]);
    let age = texts(&out, "age");
    assert_eq!(age, [Some("30-39".to_owned()), Some("10-19".to_owned()), Some("[redacted]".to_owned()), None]);
    assert_eq!((audit.treated["địa chỉ"].unfit, audit.treated["age"].unfit), (1, 1));
}

#[cfg(feature = "fpe")]
#[test]
fn encrypted_columns_join_and_are_read_again_with_the_key() {
    let policy = Policy::builder().kind(P, Action::Encrypt).kind(C, Action::Encrypt).build().unwrap();
    let (out, audit) = policy.apply(detector(), &people(), Some(&key())).unwrap();
    let phones = texts(&out, "phone");
    let first = phones[0].as_deref().unwrap();
    assert!(first.len() == 10 && first.starts_with('0') && first != "0912345678");
    assert!(texts(&out, "note")[0].as_deref().unwrap().contains(first), "the same value, the same token");
    assert_eq!(key().decrypt(P, first).unwrap(), "0912345678");
    assert_eq!(texts(&out, "cccd")[2].as_deref(), Some("[cccd]"), "what has no shape is redacted");
    assert_eq!(audit.treated["cccd"].unfit, 1);
}

fn guard(policy: &Policy) -> Guard {
    let source = MemorySource::new("visits", &Dataset::from_batches([visits()]).unwrap()).unwrap();
    policy
        .guard(Arc::new(source), Arc::new(Detector::builder().today(2026).build().unwrap()), Some(Arc::new(key())))
        .unwrap()
}

#[cfg(feature = "testkit")]
#[test]
fn a_guarded_source_keeps_the_contract_of_sources() {
    let (expected, _) = shifting().apply(detector(), &visits(), Some(&key())).unwrap();
    crate::testkit::data_source(&guard(&shifting()), &Dataset::from_batches([expected]).unwrap());
}

#[test]
fn predicates_and_projections_see_treated_values_only() {
    let guarded = guard(&shifting());
    let count = |request: ScanRequest| Dataset::collect(guarded.scan(&request).unwrap()).unwrap().num_rows().unwrap();
    let token = key().token(Some(P), "0912345678");
    let equals =
        |value: &str| ScanRequest::all().columns(["age"]).filter(Predicate::new("phone", Comparison::Eq, value));
    assert_eq!((count(equals("0912345678")), count(equals(&token))), (0, 2));
    assert_eq!(count(ScanRequest::all().columns(["day"]).limit(1)), 1, "the subject is read without being asked for");
    assert!(guarded.scan(&ScanRequest::all().columns(["nmae"])).is_err());
    assert!(guarded.audit().rows >= 9);
    let dropped = guard(&Policy::builder().column("phone", Action::Drop).build().unwrap());
    assert!(matches!(dropped.scan(&ScanRequest::all().columns(["phone"])), Err(crate::Error::NotFound { .. })));
    assert!(dropped.scan(&ScanRequest::all().filter(Predicate::new("phone", Comparison::Eq, "x"))).is_err());
}

#[test]
fn a_plan_marks_what_others_must_hide() {
    let policy = Policy::builder().build().unwrap();
    let plan = policy.plan(detector(), &people()).unwrap();
    let marked = plan.annotate(&Schema::new(people().schema()).unwrap()).unwrap();
    assert_eq!(marked.hidden(), ["cccd", "phone", "note", "blob"]);
    assert_eq!(marked.sensitivity("blob").unwrap(), Sensitivity::Secret);
    assert!(plan.annotate(&Schema::new(visits().schema()).unwrap()).is_err());
}

/// Says in its errors what it could not read, as readers of files do.
#[derive(Debug)]
struct Chatty(String, Schema);

impl DataSource for Chatty {
    fn info(&self) -> crate::Result<SourceInfo> {
        Err(crate::Error::invalid("location", &self.0, "a location"))
    }

    fn schema(&self) -> crate::Result<Schema> {
        Ok(self.1.clone())
    }

    fn scan(&self, _: &ScanRequest) -> crate::Result<BatchStream> {
        let error = crate::Error::invalid_data("row 3", format!("cannot read `{}`", self.0));
        Ok(BatchStream::new(self.1.clone(), std::iter::once(Err(error))))
    }
}

/// Random values of every kind with the words that tell them, planted in columns and texts.
fn planted(seed: u64) -> Vec<(&'static str, String)> {
    let mut state = seed;
    let mut next = |bound: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    let fives = next(100_000);
    let mut card = format!("970436{:09}", next(1_000_000_000));
    let digit = (0..10).find(|d| super::super::card::scheme(format!("{card}{d}").as_bytes()).is_some()).unwrap();
    card.push_str(&digit.to_string());
    let tax = (0..10_000)
        .map(|i| format!("03{:08}", (next(99_999_999) + i) % 100_000_000))
        .find(|code| super::super::tax::is_valid(code.as_bytes()))
        .unwrap();
    vec![
        ("CCCD", format!("0792{:02}{:06}", next(25), next(1_000_000))),
        ("CMND", format!("02{:07}", next(10_000_000))),
        ("SĐT", format!("09{}{:07}", next(9), next(10_000_000))),
        ("email", format!("khach{fives}.{}@example.vn", next(1_000))),
        ("MST", tax),
        ("BHXH", format!("79{:08}", next(100_000_000))),
        ("hộ chiếu", format!("B{:07}", next(10_000_000))),
        ("biển số", format!("51G-{:03}.{:02}", next(1_000), next(100))),
        ("thẻ", card),
        ("IP", format!("14.{}.{}.{}", 100 + next(100), 10 + next(200), 10 + next(200))),
        ("MAC", format!("a4:5e:60:{:02x}:{:02x}:{:02x}", next(256), next(256), next(256))),
        ("toạ độ", format!("10.{:06}, 106.{:06}", next(1_000_000), next(1_000_000))),
        ("ngày sinh", format!("{:02}/{:02}/{}", 1 + next(28), 1 + next(12), 1950 + next(60))),
        ("họ tên", format!("Nguyễn Thị {}", ["Hoa", "Lan", "Mai", "Cúc"][next(4) as usize])),
        ("địa chỉ", format!("{} Lê Lợi, phường {}, quận {}", 1 + next(400), 1 + next(15), 1 + next(12))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Taint: what goes in raw comes out of nothing, whatever shows it.
    #[test]
    fn no_planted_value_comes_out_of_anything(seed in any::<u64>(), action in 0_usize..4) {
        let planted = planted(seed);
        let note = planted.iter().map(|(word, value)| format!("{word}: {value}")).collect::<Vec<_>>().join("; ");
        let columns = planted.iter().map(|(word, value)| (*word, text(vec![Some(value), None, Some(value)])));
        let notes = text(vec![Some(&note), Some("không có gì"), Some(&note)]);
        let batch = RecordBatch::try_from_iter(columns.chain([("note", notes)])).unwrap();
        let action = [Action::Redact, Action::Token, Action::Mask { keep_last: 0 }, Action::Drop][action];
        let policy = Policy::builder().other_kinds(action).build().unwrap();
        let detector = detector();
        let plan = policy.plan(detector, &batch).unwrap();
        let (out, audit) = plan.apply(detector, &batch, Some(&key())).unwrap();

        let mut measure = Anonymity::builder().quasi_identifiers(["CCCD", "IP"]).sensitive("note").build().unwrap();
        measure.update(&batch).unwrap();
        let chatty = Arc::new(Chatty(note.clone(), Schema::new(batch.schema()).unwrap()));
        let guarded = Guard::new(chatty, plan.clone(), Arc::new(Detector::builder().today(2026).build().unwrap()), Some(Arc::new(key()))).unwrap();
        let mut shown = vec![
            format!("{out:?} {audit:?} {plan:?} {policy:?} {measure:?}"),
            serde_json::to_string(&audit).unwrap(),
            detector.scrub(&note).into_owned(),
            format!("{:?}", detector.detect(&note)),
            format!("{:?} {:?}", guarded.info(), guarded.scan(&ScanRequest::all()).unwrap().next()),
            format!("{:?}", detector.survey_column("note", batch.column_by_name("note").unwrap(), None).unwrap()),
            format!("{:?}", Anonymity::builder().quasi_identifiers(["CCCD"]).classes_max(1).build().unwrap().update(&batch)),
        ];
        shown.push(format!("{:?}", measure.finish()));
        for kind in Kind::ALL {
            shown.extend(planted.iter().map(|(_, value)| format!("{:?}", Cccd::parse(&format!("{value}{kind}"), 2026).unwrap_err())));
        }
        for text in &shown {
            for (word, value) in &planted {
                prop_assert!(!text.contains(value.as_str()), "a value of {word} is shown: {text}");
            }
        }
    }

    #[test]
    fn whole_masks_done_twice_change_nothing(value in "\\PC{0,24}") {
        let policy = Policy::builder().column("x", Action::Mask { keep_last: 0 }).build().unwrap();
        let masked = |value: &str| {
            let batch = RecordBatch::try_from_iter([("x", text(vec![Some(value)]))]).unwrap();
            texts(&policy.apply(detector(), &batch, None).unwrap().0, "x")[0].clone().unwrap()
        };
        let once = masked(&value);
        prop_assert_eq!(masked(&once), once);
    }

    #[test]
    fn scrubbing_leaves_nothing_to_find(seed in any::<u64>()) {
        let note = planted(seed).iter().map(|(word, value)| format!("{word} {value}. ")).collect::<Vec<_>>().concat();
        let clean = detector().scrub(&note).into_owned();
        prop_assert_eq!(detector().scrub(&clean), clean.as_str());
    }
}

#[test]
fn what_was_masked_tells_by_which_plan_and_no_value() {
    let guard = Arc::new(guard(&shifting()));
    let masked = guard.dataset(crate::EventTime::from_secs(9)).unwrap();
    let told = masked.provenance().unwrap();
    let raw = Dataset::from_batches([visits()]).unwrap();
    assert_eq!((&told.parents, told.operation.as_str()), (&vec![raw.digest().unwrap()], "mask"));
    assert_eq!(told.at, crate::EventTime::from_secs(9));
    assert_eq!(told.parameters["plan"], serde_json::to_value(guard.plan()).unwrap());
    assert!(!told.parameters.to_string().contains("0912345678"));
    assert_eq!(masked.num_rows().unwrap(), 4);
}

#[test]
fn what_is_set_aside_reaches_its_place_as_the_plan_leaves_it() {
    use crate::source::{DataSink, MemorySink};
    use crate::validate::{Range, RunOptions, Suite};
    let detector = || Arc::new(Detector::builder().today(2026).build().unwrap());
    let plan = || shifting().plan(&detector(), &visits()).unwrap();
    let place = MemorySink::new("aside");
    let aside =
        |key: Option<PseudonymKey>| GuardedSink::new(Arc::new(place.clone()), plan(), detector(), key.map(Arc::new));
    assert!(matches!(aside(None), Err(crate::Error::Invalid { .. })), "a key is needed before the first row");
    let aside = aside(Some(key())).unwrap();
    let data = Dataset::from_batches([visits()]).unwrap();
    let suite = Suite::new().rule("age_sane", Range::of("age").at_most(130)).unwrap();
    suite.run_with(&data, &RunOptions::new().quarantine(&aside)).unwrap();
    let kept = place.dataset().unwrap().to_batch().unwrap();
    assert_eq!((kept.num_rows(), kept.num_columns()), (1, visits().num_columns() + 1), "the marks come along");
    let (expected, _) = shifting().apply(&detector(), &visits(), Some(&key())).unwrap();
    assert_eq!(texts(&kept, "phone")[0], texts(&expected, "phone")[2]);
    assert!(!format!("{kept:?}").contains("0987654321"));
    assert_eq!((aside.audit().rows, aside.audit().treated["phone"].cells), (1, 1));

    let phones = || text(vec![Some("0912345678")]);
    let more = RecordBatch::try_from_iter([("phone", phones()), ("unplanned", phones())]).unwrap();
    let refused = aside.begin(&Schema::new(more.schema()).unwrap()).map(drop).unwrap_err();
    assert!(matches!(&refused, crate::Error::Schema { column, .. } if column == "unplanned"), "{refused}");
}

#[cfg(feature = "testkit")]
#[test]
fn a_guarded_sink_keeps_the_contract_of_sinks() {
    let detector = Arc::new(Detector::builder().today(2026).build().unwrap());
    let keep = Policy::builder().other_kinds(Action::Keep).column("phone", Action::Keep).build().unwrap();
    let rows = RecordBatch::try_from_iter([("phone", text(vec![Some("0912345678"), None, Some("x")]))]).unwrap();
    let plan = keep.plan(&detector, &rows).unwrap();
    let place = crate::source::MemorySink::new("aside");
    let sink = GuardedSink::new(Arc::new(place.clone()), plan, detector, None).unwrap();
    crate::testkit::data_sink(&sink, || place.dataset(), &Dataset::from_batches([rows]).unwrap());
}
