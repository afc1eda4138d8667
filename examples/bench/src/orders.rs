//! Orders that are made while they are read: the same rows at every scan, as many as are asked for, none of them stored.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, StringBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, TimeUnit};
use mlops_core::Schema;
use mlops_core::source::{BatchStream, DataSource, ScanRequest, SourceInfo};

/// Rows of one batch.
const BATCH: u64 = 8192;

/// 2020-09-13T12:26:40Z.
const START_S: i64 = 1_600_000_000;

/// Of so many rows, one has the key of a row long before it, and one the whole key of the row before it.
const CYCLE: u64 = 100_003;
const AGAIN_LATER: u64 = 50_001;
const AGAIN_AT_ONCE: u64 = 77_777;

/// A table of orders, of the columns of `valid.parquet`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Orders {
    pub(crate) rows: u64,
}

/// SplitMix64 (Vigna, public domain).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// A number in `0..1`.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Whether something happens that does so once in `rows` rows.
    fn once_in(&mut self, rows: u64) -> bool {
        self.below(rows) == 0
    }
}

impl Orders {
    /// As many rows as take `gb` · 10⁹ bytes in memory.
    pub(crate) fn of_gb(gb: f64) -> Self {
        let sample = Self { rows: BATCH }.batch(0);
        let bytes = sample.get_array_memory_size() as f64;
        Self { rows: (gb * 1e9 / bytes * BATCH as f64).round() as u64 }
    }

    fn is_again_later(row: u64) -> bool {
        row % CYCLE == AGAIN_LATER
    }

    /// How often `order_id` repeats one before it, and how often `order_id` and `ts` do.
    pub(crate) fn excess(self) -> (u64, u64) {
        let count = |rest: u64| (self.rows + CYCLE - 1 - rest) / CYCLE;
        // Half of the row's number is the id of that row, unless it repeats one itself.
        let later = (0..count(AGAIN_LATER)).map(|cycle| cycle * CYCLE + AGAIN_LATER);
        let later = later.filter(|row| !Self::is_again_later(row / 2) && (row / 2) % CYCLE != AGAIN_AT_ONCE).count();
        (later as u64 + count(AGAIN_AT_ONCE), count(AGAIN_AT_ONCE))
    }

    fn batch(self, first: u64) -> RecordBatch {
        let rows = first..(first + BATCH).min(self.rows);
        let (mut random, len) = (Random(first), rows.clone().count());
        let (order_id, ts) = keys(rows);
        let mut numbers =
            |end: u64, from: i64| -> Int64Array { (0..len).map(|_| from + random.below(end).cast_signed()).collect() };
        let (customer_id, start_s, durations) =
            (numbers(1_000_000, 1), numbers(100_000_000, START_S), numbers(7200, 0));
        let product_id: Int32Array = (0..len).map(|_| 1 + random.below(10_049) as i32).collect();
        let end_s: Int64Array = start_s.values().iter().zip(durations.values()).map(|(start, s)| start + s).collect();
        let [amount, tax, total] = amounts(&mut random, len);
        let status: Vec<&str> = (0..len).map(|_| status(random.below(100))).collect();
        let refund_reason: StringArray = status.iter().map(|status| (*status == "REFUND").then_some("why")).collect();
        let score: Float64Array = (0..len).map(|_| random.unit()).collect();
        let (phone, email) = (phones(&mut random, len), emails(&mut random, len));
        let columns: [ArrayRef; 14] = [
            Arc::new(order_id),
            Arc::new(customer_id),
            Arc::new(product_id),
            Arc::new(ts),
            Arc::new(start_s),
            Arc::new(end_s),
            Arc::new(amount),
            Arc::new(tax),
            Arc::new(total),
            Arc::new(phone),
            Arc::new(StringArray::from(status)),
            Arc::new(email),
            Arc::new(refund_reason),
            Arc::new(score),
        ];
        RecordBatch::try_new(schema().into(), columns.to_vec()).expect("columns of the schema")
    }
}

/// Ids and times that count up, save for those that repeat.
fn keys(rows: Range<u64>) -> (Int64Array, TimestampMicrosecondArray) {
    let origin = |row: u64| if row % CYCLE == AGAIN_AT_ONCE { row - 1 } else { row };
    let id = |row: u64| if Orders::is_again_later(row) { row / 2 } else { origin(row) };
    let micros = |row: u64| START_S * 1_000_000 + origin(row).cast_signed() * 1_000;
    let ids = Int64Array::from_iter_values(rows.clone().map(|row| id(row).cast_signed()));
    (ids, TimestampMicrosecondArray::from_iter_values(rows.map(micros)))
}

/// Amounts, a tenth of each, and both together, in cents.
fn amounts(random: &mut Random, len: usize) -> [Float64Array; 3] {
    let cents = |value: f64| (value * 100.0).round() / 100.0;
    let mut gamma = || cents(-40.0 * ((1.0 - random.unit()) * (1.0 - random.unit())).ln());
    let whole: Vec<f64> = (0..len).map(|_| gamma()).collect();
    let tax = |amount: f64| cents(amount * 0.1);
    [
        whole.iter().map(|amount| (!random.once_in(100)).then_some(*amount)).collect(),
        whole.iter().map(|amount| tax(*amount)).collect(),
        whole.iter().map(|amount| cents(amount + tax(*amount))).collect(),
    ]
}

fn status(percent: u64) -> &'static str {
    match percent {
        0..20 => "NEW",
        20..80 => "PAID",
        80..95 => "FAILED",
        _ => "REFUND",
    }
}

fn phones(random: &mut Random, rows: usize) -> StringArray {
    let mut phones = StringBuilder::with_capacity(rows, rows * 10);
    for _ in 0..rows {
        let mut phone = *b"0000000000";
        phone[1] = b"35789"[random.below(5) as usize];
        digits(&mut phone[2..], random.below(100_000_000));
        phones.append_option((!random.once_in(50)).then(|| str::from_utf8(&phone).unwrap_or_default()));
    }
    phones.finish()
}

fn emails(random: &mut Random, rows: usize) -> StringArray {
    let mut emails = StringBuilder::with_capacity(rows, rows * 18);
    for _ in 0..rows {
        let mut email = *b"u000000000@x.example";
        digits(&mut email[1..10], random.below(1_000_000_000));
        emails.append_value(str::from_utf8(&email).unwrap_or_default());
    }
    emails.finish()
}

fn digits(out: &mut [u8], mut number: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn schema() -> ArrowSchema {
    let times = DataType::Timestamp(TimeUnit::Microsecond, None);
    let field = |(name, data_type): (&str, DataType)| Field::new(name, data_type, true);
    let columns = [
        ("order_id", DataType::Int64),
        ("customer_id", DataType::Int64),
        ("product_id", DataType::Int32),
        ("ts", times),
        ("start_s", DataType::Int64),
        ("end_s", DataType::Int64),
        ("amount", DataType::Float64),
        ("tax", DataType::Float64),
        ("total", DataType::Float64),
        ("phone", DataType::Utf8),
        ("status", DataType::Utf8),
        ("email", DataType::Utf8),
        ("refund_reason", DataType::Utf8),
        ("score", DataType::Float64),
    ];
    ArrowSchema::new(columns.map(field).to_vec())
}

impl DataSource for Orders {
    fn info(&self) -> mlops_core::Result<SourceInfo> {
        Ok(SourceInfo::new("made", "made while it is read"))
    }

    fn schema(&self) -> mlops_core::Result<Schema> {
        Schema::new(schema())
    }

    fn scan(&self, request: &ScanRequest) -> mlops_core::Result<BatchStream> {
        let orders = *self;
        let batches = (0..self.rows).step_by(BATCH as usize).map(move |first| Ok(orders.batch(first)));
        request.finish(BatchStream::new(self.schema()?, batches))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_scan_gives_the_same_rows_and_keys_repeat_as_often_as_stated() {
        let orders = Orders { rows: 400_000 };
        let read = || orders.scan(&ScanRequest::all()).unwrap().collect::<mlops_core::Result<Vec<_>>>().unwrap();
        let batches = read();
        assert_eq!(read(), batches);
        let (mut ids, mut keys, mut rows) = (HashSet::new(), HashSet::new(), 0);
        for batch in &batches {
            let id: Int64Array = batch["order_id"].to_data().into();
            let ts: TimestampMicrosecondArray = batch["ts"].to_data().into();
            rows += batch.num_rows() as u64;
            ids.extend(id.values().iter().copied());
            keys.extend(id.values().iter().copied().zip(ts.values().iter().copied()));
        }
        assert_eq!((rows - ids.len() as u64, rows - keys.len() as u64), orders.excess());
        assert_eq!(orders.excess(), (8, 4));
    }
}
