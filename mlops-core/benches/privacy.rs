//! Speed of the detector with all kinds, of pseudonyms and of the anonymity measure: `cargo bench -p mlops-core --bench privacy`.

#![allow(missing_docs, reason = "criterion's macros write an undocumented function")]

use std::fmt::Write;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mlops_core::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use mlops_core::privacy::{Action, Anonymity, Detector, Kind, Policy, PseudonymKey};

/// Deterministic numbers below `bound`.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Something personal or nearly so every twenty bytes.
fn dense(bytes: usize) -> String {
    let (mut text, mut numbers) = (String::new(), Numbers(1));
    while text.len() < bytes {
        let (a, b) = (numbers.below(10_000_000), numbers.below(10_000));
        let written = match numbers.below(6) {
            0 => write!(text, "0792{:02}{:06}. ", b % 25, a % 1_000_000),
            1 => write!(text, "091{a:07}. "),
            2 => write!(text, "+84 91{a:07}. "),
            3 => write!(text, "nguyen.van{b}@mail{}.com. ", b % 50),
            4 => write!(text, "order {a:08}. "),
            _ => write!(text, "{a:012}. "),
        };
        assert!(written.is_ok());
    }
    text
}

/// Contact lines: a name, an address and four numbers each.
fn contacts(bytes: usize) -> String {
    let (mut text, mut numbers) = (String::new(), Numbers(3));
    let names = ["Nguyễn Văn An", "Trần Thị Bích Ngọc", "Lê Hoàng Nam", "Phạm Minh Đức"];
    while text.len() < bytes {
        let (name, a, b) = (names[numbers.below(4) as usize], numbers.below(10_000_000), numbers.below(400));
        let line = writeln!(
            text,
            "{name}, {b} Lê Lợi, phường {}, quận {}, TP.HCM. Sinh ngày 0{}/1{}/1990, xe 51G-{:03}.{:02}, 091{a:07}",
            1 + b % 15,
            1 + b % 12,
            1 + b % 9,
            b % 3,
            b % 1_000,
            b % 100,
        );
        assert!(line.is_ok());
    }
    text
}

/// Vietnamese sentences, one number every few hundred bytes.
fn prose(bytes: usize) -> String {
    let (mut text, mut numbers) = (String::new(), Numbers(2));
    while text.len() < bytes {
        text.push_str("Khách hàng hỏi về gói cước dữ liệu tháng này, đã được tư vấn và hẹn gọi lại vào buổi chiều. ");
        text.push_str("Đề nghị bộ phận kỹ thuật kiểm tra đường truyền ở phường Bến Nghé trước thứ Sáu.\n");
        if numbers.below(2) == 0 {
            assert!(write!(text, "SĐT liên hệ 091{:07}. ", numbers.below(10_000_000)).is_ok());
        }
    }
    text
}

fn bench(c: &mut Criterion) {
    let detector = Detector::builder().today(2026).build().expect("valid settings");
    let key = PseudonymKey::new((0..32).collect()).expect("32 bytes");
    let mut group = c.benchmark_group("privacy");
    for (name, text) in [
        ("dense text", dense(1_000_000)),
        ("prose", prose(1_000_000)),
        ("contacts", contacts(1_000_000)),
        ("digits", "9".repeat(1_000_000)),
    ] {
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |b| b.iter(|| black_box(detector.detect(black_box(&text)).len())));
    }

    let values: Vec<String> = (0..50_000).map(|i| format!("0792{:02}{:06}", i % 25, i * 7919 % 1_000_000)).collect();
    let column = StringArray::from(values);
    group.throughput(Throughput::Bytes(column.value_data().len() as u64));
    group.bench_function("column verdict", |b| {
        b.iter(|| black_box(detector.scan_column("x1", black_box(&column)).expect("strings").matched));
    });

    let policy = Policy::builder().other_kinds(Action::Token).build().expect("valid policy");
    let batch = RecordBatch::try_from_iter([("cccd", Arc::new(column) as ArrayRef)]).expect("one column");
    let plan = policy.plan(&detector, &batch).expect("a plan");
    group.throughput(Throughput::Elements(batch.num_rows() as u64));
    group.bench_function("tokens of a column", |b| {
        b.iter(|| black_box(plan.apply(&detector, black_box(&batch), Some(&key)).expect("treated").0.num_rows()));
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("one token", |b| {
        b.iter(|| black_box(key.token(Some(Kind::Phone), black_box("+84 912 345 678"))));
    });
    group.bench_function("one encryption", |b| {
        b.iter(|| black_box(key.encrypt(Kind::Cccd, black_box("001099012345")).expect("twelve digits")));
    });

    let age = Int64Array::from_iter_values((0..100_000).map(|i| i * 7919 % 60));
    let home = StringArray::from_iter_values((0..100_000).map(|i| format!("province {}", i * 104_729 % 63)));
    let plan = StringArray::from_iter_values((0..100_000).map(|i| format!("plan {}", i % 7)));
    let columns: [(&str, ArrayRef); 3] = [("age", Arc::new(age)), ("home", Arc::new(home)), ("plan", Arc::new(plan))];
    let rows = RecordBatch::try_from_iter(columns).expect("three columns");
    group.throughput(Throughput::Elements(rows.num_rows() as u64));
    group.bench_function("anonymity of three columns", |b| {
        b.iter(|| {
            let builder = Anonymity::builder().quasi_identifiers(["age", "home"]).sensitive("plan");
            let mut anonymity = builder.build().expect("valid settings");
            anonymity.update(black_box(&rows)).expect("columns are there");
            black_box(anonymity.finish().k)
        });
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
