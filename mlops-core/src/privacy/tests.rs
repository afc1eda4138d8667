mod guarding;

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, DictionaryArray, Float64Array, Int64Array, LargeStringArray, RecordBatch,
    StringArray, StringViewArray,
};
use arrow::datatypes::{DataType, Int32Type};
use proptest::prelude::*;

use super::Kind::{Cccd as C, Cmnd as M, Email as E, Phone as P};
use super::*;

fn detector() -> &'static Detector {
    static DETECTOR: LazyLock<Detector> = LazyLock::new(|| Detector::builder().today(2026).build().unwrap());
    &DETECTOR
}

fn key() -> PseudonymKey {
    PseudonymKey::new((0..32).collect()).unwrap()
}

#[track_caller]
fn check(text: &str, expected: &[(Kind, &str)]) {
    let found = detector().detect(text);
    let shown: Vec<_> = found.iter().map(|f| (f.kind, &text[f.bytes.clone()])).collect();
    assert_eq!(shown, expected, "{text:?}");
    let mut end = 0;
    for finding in &found {
        assert!(finding.bytes.start >= end && finding.confidence >= 0.5 && finding.confidence <= 1.0);
        let by_chars: String = text.chars().skip(finding.chars.start).take(finding.chars.len()).collect();
        assert_eq!(by_chars, text[finding.bytes.clone()]);
        end = finding.bytes.end;
    }
}

/// Labelled by hand: what a careful reader would mark.
#[test]
fn citizen_numbers_need_a_word_and_get_it_in_any_spelling() {
    check("CCCD: 001099012345", &[(C, "001099012345")]);
    check("Số căn cước công dân của tôi là 079203000123.", &[(C, "079203000123")]);
    check("so can cuoc 079203000123", &[(C, "079203000123")]);
    check("SỐ CĂN CƯỚC: 079203000123", &[(C, "079203000123")]);
    check("So\u{302}\u{301} ca\u{306}n cu\u{31b}o\u{31b}\u{301}c: 079203000123", &[(C, "079203000123")]);
    check("CCCD001099012345", &[(C, "001099012345")]);
    check("số định danh cá nhân 048 310 123456", &[(C, "048 310 123456")]);
    check("001099012345 (CCCD)", &[(C, "001099012345")]);
    check("citizen ID 036190004567 issued", &[(C, "036190004567")]);
    check("national id no. 036190004567", &[(C, "036190004567")]);
    check(
        "CCCD các con: 001209012345, 001310012345 và 001215012345",
        &[(C, "001209012345"), (C, "001310012345"), (C, "001215012345")],
    );
    check("CMND/CCCD 001099012345", &[(C, "001099012345")]);
    check("ID: 001099012345", &[(C, "001099012345")]);
    check("cccd=101090000001", &[(C, "101090000001")]); // registered abroad
}

#[test]
fn twelve_digits_that_are_something_else_stay() {
    for text in [
        "001099012345",
        "mã đơn hàng 001099012345",
        "order 001099012345 shipped",
        "CCCD: 003099012345",
        "CCCD: 001230012345",
        "CCCD: 111111111111",
        "CCCD: 0010990123456",
        "tracking no. 079203000123",
        "550e8400-e29b-41d4-a716-001099012345",
        "sha 001099012345ab",
        "số tài khoản 079203000123",
        "timestamp 202401150930",
        "CCCD của khách đã nhận. Mã vận đơn: 001099012345",
    ] {
        check(text, &[]);
    }
}

#[test]
fn old_identity_cards_need_a_word() {
    check("CMND số 012345678 cấp tại Hà Nội", &[(M, "012345678")]);
    check("chứng minh nhân dân: 271450123", &[(M, "271450123")]);
    check("chung minh thu 023 456 789", &[(M, "023 456 789")]);
    check("CHỨNG MINH NHÂN DÂN 271450123", &[(M, "271450123")]);
    check("012345678 là số CMND của tôi", &[(M, "012345678")]);
    check("identity card 024681012", &[(M, "024681012")]);
    check("CMND 012345678, mã đơn hàng 123456789", &[(M, "012345678")]);
    check("CMND: 012345678 nộp phí 123.456.789 đ", &[(M, "012345678")]);
    for text in [
        "012345678",
        "giá 123.456.789 đ",
        "customer id 123456789",
        "hoá đơn 012345678",
        "đã bán 234567890 gói",
        "CMND: 999999999",
        "CMND 01234567",
        "MST 0123456789",
    ] {
        check(text, &[]);
    }
}

#[test]
fn phones_are_found_by_carrier_in_every_usual_form() {
    check("gọi 0912345678 nhé", &[(P, "0912345678")]);
    check("0912 345 678", &[(P, "0912 345 678")]);
    check("091.234.5678", &[(P, "091.234.5678")]);
    check("0912-345-678", &[(P, "0912-345-678")]);
    check("Tel: +84 912 345 678", &[(P, "+84 912 345 678")]);
    check("(+84) 912 345 678", &[(P, "(+84) 912 345 678")]);
    check("+84 (0) 912 345 678", &[(P, "+84 (0) 912 345 678")]);
    check("+84912345678", &[(P, "+84912345678")]);
    check("84912345678", &[(P, "84912345678")]);
    check("0084912345678", &[(P, "0084912345678")]);
    check("(024) 3825 1234", &[(P, "(024) 3825 1234")]);
    check("ĐT bàn 02438251234", &[(P, "02438251234")]);
    check("0912\u{a0}345\u{a0}678", &[(P, "0912\u{a0}345\u{a0}678")]);
    check("０９１２３４５６７８", &[(P, "０９１２３４５６７８")]);
    check("0912345678/0987654321", &[(P, "0912345678"), (P, "0987654321")]);
    check("0912345678 - 0987654321", &[(P, "0912345678"), (P, "0987654321")]);
    check("0912 345 678 0987 654 321", &[(P, "0912 345 678"), (P, "0987 654 321")]);
    check("Nam-0912345678", &[(P, "0912345678")]);
    check("sđt 912345678", &[(P, "912345678")]);
    check("zalo: 01234567890", &[(P, "01234567890")]); // retired in 2018
    check("tel:0912345678;ext=1", &[(P, "0912345678")]);
    check("số nhà 12 0912345678", &[(P, "0912345678")]);
    check("SĐT0912345678", &[(P, "0912345678")]);
    check("0912345678,0987654321", &[(P, "0912345678"), (P, "0987654321")]);
    check("15-01-2024 0912345678", &[(P, "0912345678")]);
}

#[test]
fn numbers_that_are_no_phones_stay() {
    for text in [
        "0412345678",
        "0123456789",
        "19001234",
        "1800 1234",
        "912345678",
        "ORD-0912345678",
        "INV/2024/0912345678",
        "img_0912345678.jpg",
        "mã đơn 0912345678",
        "order no 0912345678",
        "0912345678 đ",
        "0912345678.55",
        "tổng 0912345678 VND",
        "2024-01-15 09:30:12",
        "1705312345",
        "1705312345678",
        "v1.0.912345678",
        "1.234.567.890 đ",
        "3f0912345678ab",
        "02-01-2024 12345",
        "+1 912 345 6789",
        "09123456789012345678",
        "10.0912345678",
    ] {
        check(text, &[]);
    }
}

#[test]
fn addresses_are_found_without_any_word() {
    check("an.nguyen@mail.com.vn", &[(E, "an.nguyen@mail.com.vn")]);
    check("Email: an@x.vn, sđt 0912345678.", &[(E, "an@x.vn"), (P, "0912345678")]);
    check("0912345678@gmail.com", &[(E, "0912345678@gmail.com")]);
    check("mailto:an+tag@x.vn?subject=1", &[(E, "an+tag@x.vn")]);
    check("user_name%x@host-name.co", &[(E, "user_name%x@host-name.co")]);
    check("trần@công-ty.vn", &[(E, "trần@công-ty.vn")]);
    check("a@b.vn;c@d.vn", &[(E, "a@b.vn"), (E, "c@d.vn")]);
    for text in [
        "an@localhost",
        "icon@2x.png",
        "npm i left-pad@1.3.0",
        "giá @ 5.000 đ",
        "git@github.com:a/b.git",
        "https://user@host.vn/",
        "@an",
        "main.rs",
        "a@b",
    ] {
        check(text, &[]);
    }
}

#[test]
fn provinces_are_no_people_and_say_nothing_of_a_column() {
    for text in ["Hồ Chí Minh", "Ho Chi Minh", "TP. Hồ Chí Minh", "Hà Nam", "Thái Bình", "Lâm Đồng", "Cao Bằng"]
    {
        check(text, &[]);
    }
    let homes = ["Hồ Chí Minh", "Hà Nội", "Đà Nẵng", "Hà Nam", "Cần Thơ", "Thái Nguyên"];
    check_column("province", &StringArray::from(homes.repeat(20)), None);
    let people = ["Nguyễn Văn An", "Trần Thị Bích", "Lê Hoàng Nam", "phạm minh đức", "VÕ THỊ SÁU"];
    check_column("ho_ten", &StringArray::from(people.repeat(4)), Some(Kind::PersonName));
    check_column("x1", &StringArray::from(people[..3].repeat(20)), Some(Kind::PersonName));
}

#[test]
fn byte_and_char_spans_agree_after_wide_characters() {
    let text = "Số điện thoại của bà Tư 👵 là 0912345678 ạ, thư: tu@x.vn";
    let found = detector().detect(text);
    assert_eq!(found[0].chars, 29..39);
    assert_eq!(&text[found[0].bytes.clone()], "0912345678");
    assert_eq!(found[1].kind, E);
}

#[test]
fn kinds_and_threshold_are_the_callers() {
    let text = "CCCD 001099012345, an@x.vn, 0912345678";
    let only = |kind| Detector::builder().kinds([kind]).today(2026).build().unwrap().detect(text);
    assert_eq!(only(E).iter().map(|f| f.kind).collect::<Vec<_>>(), [E]);
    assert_eq!(only(P).len(), 1);
    let eager = Detector::builder().threshold(0.3).today(2026).build().unwrap();
    assert_eq!(eager.detect("001099012345").len(), 1);
    for builder in [
        Detector::builder(),
        Detector::builder().today(26),
        Detector::builder().today(2026).threshold(f64::NAN),
        Detector::builder().today(2026).kinds([]),
    ] {
        assert!(matches!(builder.build(), Err(crate::Error::Invalid { .. })));
    }
}

#[test]
fn hostile_sizes_are_read_in_one_pass() {
    let detector = detector();
    let list = "sđt 0912345678,".repeat(50_000);
    assert_eq!(detector.detect(&list).len(), 50_000);
    let plain_list = "0912345678 ".repeat(50_000);
    assert_eq!(detector.detect(&plain_list).len(), 50_000);
    for (text, most) in [
        ("9".repeat(1_000_000), 0),
        ("@".repeat(1_000_000), 0),
        ("a@".repeat(500_000), 0),
        ("a@b.".repeat(250_000), 250_000),
        ("1 ".repeat(500_000), 0),
        ("cccd ".repeat(200_000), 0),
        ("+84".repeat(300_000), 0),
        ("０".repeat(300_000), 0),
        ("\u{301}".repeat(300_000), 0),
        ("a".repeat(1_000_000) + "@x.vn", 0),
        (".".repeat(500_000) + "@" + &"-.".repeat(250_000), 0),
        (":".repeat(500_000), 0),
        ("ab:".repeat(300_000), 0),
        ("ab-".repeat(300_000), 0),
        ("1.2.3.4.".repeat(100_000), 0),
        ("10.1234, ".repeat(100_000), 50_000),
        ("29A-".repeat(200_000), 0),
        ("DE89 ".repeat(200_000), 0),
        ("12/12/".repeat(150_000), 0),
        ("1 tháng ".repeat(100_000), 0),
        ("12 Lê Lợi, ".repeat(60_000), 60_000),
        ("ngõ 1 ".repeat(100_000), 100_000),
        ("Phường Bến ".repeat(60_000), 60_000),
        ("Nguyễn ".repeat(100_000), 100_000),
        ("x".repeat(1_000_000) + " 1", 0),
    ] {
        assert!(detector.detect(&text).len() <= most);
    }
}

proptest! {
    #[test]
    fn any_text_gives_ordered_spans_on_character_borders(text in "(cccd |sđt |đơn |[0-9]{1,14}|[ .@+()-]|\\PC){0,40}") {
        let found = detector().detect(&text);
        let mut end = 0;
        for finding in &found {
            prop_assert!(finding.bytes.start >= end && finding.bytes.end > finding.bytes.start);
            prop_assert!(text.get(finding.bytes.clone()).is_some());
            prop_assert_eq!(text[..finding.bytes.start].chars().count(), finding.chars.start);
            end = finding.bytes.end;
        }
        prop_assert!(found.len() <= text.len() / 6);
    }
}

fn cccds(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("0{}2{:02}{:06}", ["01", "79", "48"][i % 3], i % 25, i * 7919 % 1_000_000)).collect()
}

#[track_caller]
fn check_column(name: &str, values: &dyn Array, expected: Option<Kind>) {
    let verdict = detector().scan_column(name, values).unwrap();
    assert_eq!(verdict.kind, expected, "{name}: {verdict:?}");
}

#[test]
fn a_column_of_bare_citizen_numbers_is_found_by_agreement_in_every_string_layout() {
    let plain = cccds(40);
    check_column("x1", &StringArray::from(plain.clone()), Some(C));
    check_column("x1", &LargeStringArray::from(plain.clone()), Some(C));
    check_column("x1", &StringViewArray::from_iter_values(plain.clone()), Some(C));
    check_column("x1", &plain.iter().map(String::as_str).collect::<DictionaryArray<Int32Type>>(), Some(C));
    let mixed: StringArray = plain.iter().map(|v| Some(v.as_str())).chain([None, Some(""), Some("  ")]).collect();
    let verdict = detector().scan_column("x1", &mixed).unwrap();
    assert_eq!((verdict.kind, verdict.matched, verdict.examined), (Some(C), 40, 40));
}

#[test]
fn the_name_of_a_column_is_context() {
    let nine = |i: usize| format!("0{:08}", 12_345_678 + i * 7919);
    let numbers: StringArray = (0..50).map(|i| Some(nine(i))).collect();
    check_column("so_cmnd", &numbers, Some(M));
    check_column("quantity", &numbers, None);
    let one = StringArray::from(vec!["001099012345"]);
    check_column("Số CCCD", &one, Some(C));
    check_column("x1", &one, None);
    let few_good: StringArray = cccds(3).into_iter().chain((0..5).map(|i| format!("?{i}"))).map(Some).collect();
    check_column("cccd", &few_good, Some(C));
    check_column("x1", &few_good, None);
}

#[test]
fn integers_that_lost_their_zero_are_found_under_a_name() {
    let phones = Int64Array::from_iter_values((0..20).map(|i| 912_345_678 + i));
    check_column("phone", &phones, Some(P));
    check_column("amount", &phones, None);
    check_column("cccd", &Int64Array::from_iter_values((0..20).map(|i| 1_099_012_345 + i)), Some(C));
    check_column("price", &Float64Array::from(vec![0.5]), None);
}

#[test]
fn columns_of_other_numbers_are_not_personal() {
    let random = |n: usize, digits: usize| -> StringArray {
        let mut state = 42_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 20
        };
        (0..n).map(|_| Some(format!("{:0digits$}", next() % 10_u64.pow(digits as u32)))).collect()
    };
    for digits in 6..=13 {
        check_column("order", &random(500, digits), None);
        check_column("x1", &random(500, digits), None);
    }
    check_column("x1", &StringArray::from(Vec::<Option<&str>>::from([None, None])), None);
    check_column("x1", &StringArray::from(Vec::<&str>::new()), None);
}

fn people() -> RecordBatch {
    let note = ["gọi 0912 345 678", "thư an@x.vn hoặc +84987654321", "không có gì"];
    RecordBatch::try_from_iter([
        ("cccd", Arc::new(StringArray::from(vec![Some("001099012345"), None, Some("hỏng 12")])) as ArrayRef),
        ("phone", Arc::new(Int64Array::from(vec![912_345_678, 987_654_321, 356_789_012])) as ArrayRef),
        ("note", Arc::new(LargeStringArray::from(note.to_vec())) as ArrayRef),
        ("secret", Arc::new(Float64Array::from(vec![1.5, 2.5, 3.5])) as ArrayRef),
        ("blob", Arc::new(BinaryArray::from_vec(vec![b"0912345678", b"", b"x"])) as ArrayRef),
        ("age", Arc::new(Int64Array::from(vec![30, 40, 50])) as ArrayRef),
    ])
    .unwrap()
}

fn texts(batch: &RecordBatch, column: &str) -> Vec<Option<String>> {
    let values = batch.column_by_name(column).unwrap().as_string::<i32>();
    values.iter().map(|v| v.map(str::to_owned)).collect()
}

#[test]
fn a_policy_treats_columns_and_texts_and_the_audit_counts() {
    let policy = Policy::builder()
        .column("secret", Action::Drop)
        .kind(C, Action::Token)
        .kind(P, Action::Token)
        .kind(E, Action::Redact)
        .build()
        .unwrap();
    let (out, audit) = policy.apply(detector(), &people(), Some(&key())).unwrap();
    let token = |text: &str| key().token(Some(P), text);

    let names: Vec<_> = out.schema().fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(names, ["cccd", "phone", "note", "blob", "age"]);
    assert_eq!(out.schema().field(2).data_type(), &DataType::Utf8);
    // A column of numbers: a value that is not one is still somebody's, mistyped.
    let bad = key().token(Some(C), "hỏng 12");
    assert_eq!(texts(&out, "cccd"), [Some(key().token(Some(C), "001099012345")), None, Some(bad)]);
    assert_eq!(texts(&out, "phone")[0], Some(token("0912345678")));
    assert_eq!(
        texts(&out, "note"),
        [
            Some(format!("gọi {}", token("0912345678"))),
            Some(format!("thư [email] hoặc {}", token("0987654321"))),
            Some("không có gì".to_owned()),
        ]
    );
    assert_eq!(out.column_by_name("age").unwrap().data_type(), &DataType::Int64);

    assert_eq!(audit.rows, 3);
    assert_eq!(audit.treated["note"], Treated { cells: 2, kinds: [(P, 2), (E, 1)].into(), other: 0, unfit: 0 });
    assert_eq!(audit.treated["cccd"].cells, 2);
    assert!(audit.dropped.contains("secret") && audit.unscanned.contains("blob"));
    let mut sum = audit.clone();
    sum.merge(&audit);
    assert_eq!((sum.rows, sum.treated["note"].kinds[&P]), (6, 4));
}

#[test]
fn one_plan_treats_a_later_batch_alike_and_refuses_an_unknown_column() {
    let policy = Policy::builder().other_kinds(Action::Token).build().unwrap();
    let column = |values: Vec<String>| {
        RecordBatch::try_from_iter([("x1", Arc::new(StringArray::from(values)) as ArrayRef)]).unwrap()
    };
    let plan = policy.plan(detector(), &column(cccds(30))).unwrap();
    let text = serde_json::to_string(&plan).unwrap();
    let plan: Plan = serde_json::from_str(&text).unwrap();
    let (out, _) = plan.apply(detector(), &column(vec!["001099012345".to_owned()]), Some(&key())).unwrap();
    assert_eq!(texts(&out, "x1"), [Some(key().token(Some(C), "001099012345"))]);
    let error = plan.apply(detector(), &people(), Some(&key())).unwrap_err();
    assert!(matches!(error, crate::Error::Schema { ref column, .. } if column == "cccd"), "{error}");
}

#[test]
fn an_explicit_token_column_joins_with_one_that_was_found() {
    let tokens = |name: &str, values: Vec<&str>, policy: &Policy| {
        let array = Arc::new(StringArray::from(values)) as ArrayRef;
        let batch = RecordBatch::try_from_iter([(name, array)]).unwrap();
        texts(&policy.apply(detector(), &batch, Some(&key())).unwrap().0, name)
    };
    let by_kind = Policy::builder().other_kinds(Action::Token).build().unwrap();
    let by_name = Policy::builder().column("who", Action::Token).build().unwrap();
    for (column, here, there) in [
        ("phone", "0912345678", "+84 912 345 678"),
        ("cccd", "001099012345", "001 099 012345"),
        ("cmnd", "012345678", "012345678"),
        ("email", "An@X.vn", "an@x.vn"),
    ] {
        assert_eq!(tokens(column, vec![here], &by_kind), tokens("who", vec![there], &by_name), "{column}");
    }
}

#[test]
fn masks_keep_separators_and_never_more_than_half() {
    let masked = |value: &str, keep_last| {
        let policy = Policy::builder().column("x", Action::Mask { keep_last }).build().unwrap();
        let array = Arc::new(StringArray::from(vec![value])) as ArrayRef;
        let batch = RecordBatch::try_from_iter([("x", array)]).unwrap();
        texts(&policy.apply(detector(), &batch, None).unwrap().0, "x")[0].clone().unwrap()
    };
    assert_eq!(masked("0912 345 678", 3), "**** *** 678");
    assert_eq!(masked("an@x.vn", 2), "**@*.vn");
    assert_eq!(masked("123", 8), "**3");
    assert_eq!(masked("Nguyễn", 1), "*****n");
    assert_eq!(masked("Nguye\u{302}\u{303}n", 1), "*****n");
    assert_eq!(masked("", 4), "");
}

#[test]
fn dropping_a_kind_removes_its_column_and_nulls_texts_that_hold_it() {
    let policy = Policy::builder().kind(P, Action::Drop).other_kinds(Action::Keep).build().unwrap();
    let (out, audit) = policy.apply(detector(), &people(), None).unwrap();
    assert!(out.column_by_name("phone").is_none());
    assert!(audit.dropped.contains("phone"));
    assert_eq!(texts(&out, "note"), [None, None, Some("không có gì".to_owned())]);
}

#[test]
fn what_a_policy_cannot_do_is_said_before_anything_is_treated() {
    let batch = people();
    let missing = Policy::builder().column("nmae", Action::Redact).build().unwrap();
    assert!(matches!(missing.apply(detector(), &batch, None), Err(crate::Error::NotFound { .. })));
    let blob = Policy::builder().column("blob", Action::Redact).build().unwrap();
    assert!(matches!(blob.apply(detector(), &batch, None), Err(crate::Error::Schema { .. })));
    let token = Policy::builder().other_kinds(Action::Token).build().unwrap();
    assert!(matches!(token.apply(detector(), &batch, None), Err(crate::Error::Invalid { setting: "key", .. })));
    let mails = Detector::builder().kinds([E]).today(2026).build().unwrap();
    let phones = Policy::builder().kind(P, Action::Redact).build().unwrap();
    assert!(matches!(phones.apply(&mails, &batch, None), Err(crate::Error::Invalid { .. })));
    assert!(Policy::builder().column("x", Action::Mask { keep_last: 9 }).build().is_err());
}

#[test]
fn policy_files_are_checked() {
    let read = serde_json::from_str::<Policy>;
    let policy = read(r#"{"columns": {"a": {"mask": {"keep_last": 4}}}, "kinds": {"cccd": "token"}}"#).unwrap();
    let written = serde_json::to_string(&policy).unwrap();
    assert_eq!(read(&written).unwrap(), policy);
    for bad in [
        r#"{"colums": {}}"#,
        r#"{"kinds": {"fingerprint": "drop"}}"#,
        r#"{"columns": {"a": "burn"}}"#,
        r#"{"columns": {"a": {"mask": {"keep_last": 99}}}}"#,
        r#"{"columns": {"a": {"mask": {"keep_last": 2, "with": "x"}}}}"#,
    ] {
        assert!(read(bad).is_err(), "{bad}");
    }
}

/// Everything public that had raw values in its hands, and every error on the way, as text.
#[test]
fn no_raw_value_is_ever_shown() {
    let raw = ["001099012345", "0912345678", "912345678", "an@x.vn", "987654321", "hỏng 12"];
    let (detector, key, batch) = (detector(), key(), people());
    let policy = Policy::builder().other_kinds(Action::Token).build().unwrap();
    let plan = policy.plan(detector, &batch).unwrap();
    let (_, audit) = plan.apply(detector, &batch, Some(&key)).unwrap();
    let mut shown = vec![
        format!("{detector:?} {:?} {key:?} {policy:?} {plan:?} {audit:?}", Detector::builder()),
        serde_json::to_string(&audit).unwrap(),
        serde_json::to_string(&plan).unwrap(),
        format!("{:?}", detector.scan_column("phone", batch.column(1)).unwrap()),
        format!("{:?}", Cccd::parse("001099012345", 2026).unwrap()),
    ];
    for text in ["CCCD 001099012345 sđt 0912345678 an@x.vn", "CMND 987654321"] {
        shown.push(format!("{:?}", detector.detect(text)));
    }
    let errors = [
        Cccd::parse("hỏng 12", 2026).unwrap_err(),
        Cccd::parse("912345678", 2026).unwrap_err(),
        PseudonymKey::new(b"0912345678".to_vec()).unwrap_err(),
        policy.apply(detector, &batch, None).unwrap_err(),
        plan.apply(detector, &batch.project(&[0]).unwrap(), None).unwrap_err(),
        Policy::builder().column("blob", Action::Redact).build().unwrap().apply(detector, &batch, None).unwrap_err(),
    ];
    shown.extend(errors.iter().map(|e| format!("{e} {e:?}")));
    for text in shown {
        for value in raw {
            assert!(!text.contains(value), "{text}");
        }
    }
}
