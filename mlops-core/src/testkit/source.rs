//! The contract of [`DataSource`].

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType};

use crate::schema::logical_type;
use crate::source::{BatchStream, Comparison, DataSource, Predicate, Scalar, ScanRequest, is_text};
use crate::time::EventTime;
use crate::{Dataset, Error, Schema};

/// Threads that scan at once.
const THREADS: usize = 4;

const COMPARISONS: [Comparison; 6] =
    [Comparison::Eq, Comparison::NotEq, Comparison::Lt, Comparison::LtEq, Comparison::Gt, Comparison::GtEq];

/// Checks the contract of [`DataSource`] on `source`, which must hold exactly the rows of `expected`, a small table.
///
/// What rows come is compared with what [`ScanRequest::finish`] makes of them. Memory is not measured: see to it that
/// a stream holds a few batches and no more. [`unreadable_source`] and [`missing_source`] check the rest.
///
/// # Panics
/// With the sentence that does not hold.
pub fn data_source(source: &dyn DataSource, expected: &Dataset) {
    let info = source.info().expect("a source that is there describes itself");
    assert!(!info.format.is_empty() && !info.location.is_empty(), "a source states its format and its place");
    let schema = source.schema().expect("a source that is there has a schema");
    same_columns(&schema, expected.schema(), "the schema is that of the rows");
    for request in requests(expected) {
        honours(source, expected, &request);
    }
    unknown_columns_are_named(source, expected);
    predicates_of_another_type_are_refused(source, expected);
    streams_do_not_disturb_each_other(source, expected);
    assert_eq!(source.info().expect("still there"), info, "scans do not change the source");
}

/// Checks that `source`, which must hold at least one row that cannot be read, says so.
///
/// # Panics
/// With the sentence that does not hold.
pub fn unreadable_source(source: &dyn DataSource) {
    for _ in 0..2 {
        let Ok(mut stream) = source.scan(&ScanRequest::all().batch_rows(1)) else {
            continue; // noticed before the first row
        };
        let failed = stream.by_ref().any(|batch| batch.is_err());
        assert!(failed, "a row that cannot be read is an error, never dropped in silence");
        assert!(stream.next().is_none(), "a stream ends with its first error");
    }
}

/// Checks that `source`, at whose place there must be nothing, says so.
///
/// # Panics
/// With the sentence that does not hold.
pub fn missing_source(source: &dyn DataSource) {
    let missing = |error: Option<Error>| matches!(error, Some(Error::NotFound { .. }));
    assert!(missing(source.info().err()), "`info` is `NotFound` where there is nothing");
    assert!(missing(source.schema().err()), "`schema` is `NotFound` where there is nothing");
    assert!(missing(source.scan(&ScanRequest::all()).err()), "`scan` is `NotFound` where there is nothing");
}

fn same_columns(found: &Schema, expected: &Schema, law: &str) {
    assert!(found.names().eq(expected.names()), "{law}: {found:?}, not {expected:?}");
    assert_eq!(found.fingerprint(), expected.fingerprint(), "{law}, annotations included: {found:?}, not {expected:?}");
}

/// One scan to its end, with every batch looked at.
fn read(source: &dyn DataSource, request: &ScanRequest) -> Dataset {
    let stream = source.scan(request).unwrap_or_else(|e| panic!("a good request is answered: {e} for {request:?}"));
    collect(stream, request)
}

fn collect(mut stream: BatchStream, request: &ScanRequest) -> Dataset {
    let schema = stream.schema().clone();
    let mut batches = Vec::new();
    for batch in stream.by_ref() {
        let batch = batch.unwrap_or_else(|e| panic!("good rows are read: {e} for {request:?}"));
        assert_eq!(batch.schema_ref(), schema.arrow(), "every batch has exactly the schema that the stream announces");
        assert!(batch.num_rows() <= request.rows_per_batch(), "no batch is above `batch_rows`: {request:?}");
        batches.push(batch);
    }
    assert!(stream.next().is_none(), "a stream that ended stays at its end");
    Dataset::held(schema, batches).expect("batches of one schema")
}

fn honours(source: &dyn DataSource, expected: &Dataset, request: &ScanRequest) {
    let wanted = expected.scan(request).and_then(Dataset::collect).expect("the request fits the rows");
    let first = read(source, request);
    same_columns(first.schema(), wanted.schema(), "a stream has the columns asked for, in the order asked");
    same_rows(&first, &wanted, &format!("a scan honours the whole request: {request:?}"));
    same_rows(&read(source, request), &first, "two scans give the same rows in the same order");
}

/// Equal bit for bit: NaN equals itself, and what lies under a null does not count.
pub(super) fn same_rows(found: &Dataset, expected: &Dataset, law: &str) {
    let count = |data: &Dataset| data.num_rows().expect("held rows are counted");
    assert_eq!(count(found), count(expected), "{law}");
    assert_eq!(found.digest().expect("readable"), expected.digest().expect("readable"), "{law}");
}

/// Requests of every kind that the columns and rows of `data` allow.
fn requests(data: &Dataset) -> Vec<ScanRequest> {
    let names: Vec<&str> = data.schema().names().collect();
    let rows = data.num_rows().expect("the data of a kit can be read");
    let turned = || names.iter().rev().copied();
    let mut all = vec![
        ScanRequest::all(),
        ScanRequest::all().columns(turned()),
        ScanRequest::all().columns(turned()).batch_rows(3).limit(rows.div_ceil(2)),
        ScanRequest::all().columns(std::iter::empty::<&str>()),
        ScanRequest::all().columns(std::iter::empty::<&str>()).limit(1),
    ];
    all.extend([1, 2, 7].map(|size| ScanRequest::all().batch_rows(size)));
    all.extend([0, 1, rows.saturating_sub(1), rows, rows + 1].map(|limit| ScanRequest::all().limit(limit)));
    all.extend(names.iter().map(|name| ScanRequest::all().columns([*name])));
    let (first, last) = (names.first().copied().unwrap_or_default(), names.last().copied().unwrap_or_default());
    let batch = data.to_batch().expect("the data of a kit can be read");
    for (name, array) in names.iter().zip(batch.columns()) {
        let predicates = predicates(name, array);
        // A predicate may name a column that is not asked for.
        let elsewhere = if *name == first { last } else { first };
        for (index, predicate) in predicates.iter().enumerate() {
            let request = ScanRequest::all().filter(predicate.clone());
            all.push(if index % 2 == 0 { request.clone() } else { request.columns([elsewhere]).batch_rows(2) });
        }
        let several = predicates.iter().rev().take(2).fold(ScanRequest::all(), |r, p| r.filter(p.clone()));
        all.push(several.limit(2));
    }
    all
}

fn predicates(column: &str, array: &ArrayRef) -> Vec<Predicate> {
    let mut all =
        vec![Predicate::IsNull { column: column.to_owned() }, Predicate::IsNotNull { column: column.to_owned() }];
    for value in values(array) {
        all.extend(COMPARISONS.map(|comparison| Predicate::new(column, comparison, value.clone())));
    }
    all
}

/// Some values of `array` and some beyond them, as far as predicates can have them.
fn values(array: &ArrayRef) -> Vec<Scalar> {
    let rows = [0, array.len() / 2, array.len().saturating_sub(1)];
    let pick = |array: &ArrayRef, value: &dyn Fn(usize) -> Scalar| -> Vec<Scalar> {
        rows.iter().filter(|row| **row < array.len() && array.is_valid(**row)).map(|row| value(*row)).collect()
    };
    let to = |data_type: &DataType| cast(array, data_type).expect("a cast between numbers, texts or times");
    match array.data_type() {
        DataType::Boolean => vec![Scalar::Bool(true), Scalar::Bool(false)],
        whole if whole.is_integer() => {
            let ints = to(&DataType::Int64);
            let mut values = pick(&ints, &|row| ints.as_primitive::<Int64Type>().value(row).into());
            values.extend([Scalar::Int(i64::MIN), Scalar::Int(i64::MAX), Scalar::Float(0.5)]);
            values
        }
        real if real.is_floating() => {
            let floats = to(&DataType::Float64);
            let mut values = pick(&floats, &|row| floats.as_primitive::<Float64Type>().value(row).into());
            values.extend([Scalar::Int(0), Scalar::Float(f64::NAN), Scalar::Float(f64::NEG_INFINITY)]);
            values
        }
        text if is_text(text) => {
            let texts = to(&DataType::Utf8);
            let mut values = pick(&texts, &|row| texts.as_string::<i32>().value(row).into());
            values.extend([Scalar::from(""), Scalar::from("\u{10ffff}")]);
            values
        }
        DataType::Timestamp(..) | DataType::Date32 => {
            let times = to(&EventTime::data_type());
            let time = |row| EventTime::from_micros(times.as_primitive::<TimestampMicrosecondType>().value(row));
            pick(&times, &|row| time(row).into())
        }
        _ => Vec::new(),
    }
}

fn unknown_columns_are_named(source: &dyn DataSource, expected: &Dataset) {
    let unknown = expected.schema().names().collect::<String>() + "_testkit";
    let projected = ScanRequest::all().columns([&unknown]);
    let filtered = ScanRequest::all().filter(Predicate::IsNull { column: unknown.clone() });
    for request in [projected, filtered] {
        match source.scan(&request) {
            Err(Error::NotFound { name, .. }) => assert_eq!(name, unknown, "a column that is not there is named"),
            other => panic!("a column that is not there is `NotFound`: {:?}", other.err()),
        }
    }
}

fn predicates_of_another_type_are_refused(source: &dyn DataSource, expected: &Dataset) {
    for field in expected.schema().arrow().fields() {
        let value = if is_text(field.data_type()) { Scalar::Int(1) } else { Scalar::from("text") };
        let request = ScanRequest::all().filter(Predicate::new(field.name(), Comparison::Eq, value));
        let error = source.scan(&request).err();
        let named = matches!(&error, Some(Error::Schema { column, .. }) if column == field.name());
        let kind = logical_type(field.data_type());
        assert!(named, "a predicate that does not fit a column of {kind} is `Schema`: {error:?}");
    }
}

fn streams_do_not_disturb_each_other(source: &dyn DataSource, expected: &Dataset) {
    let request = ScanRequest::all().batch_rows(2);
    let open = || source.scan(&request).expect("a good request is answered");
    drop(open().next());
    let (mut one, mut other) = (open(), open());
    let mut turns: [Vec<RecordBatch>; 2] = [Vec::new(), Vec::new()];
    loop {
        let (a, b) = (one.next(), other.next());
        let ended = a.is_none() && b.is_none();
        turns[0].extend(a.map(|batch| batch.expect("good rows are read")));
        turns[1].extend(b.map(|batch| batch.expect("good rows are read")));
        if ended {
            break;
        }
    }
    for batches in turns {
        let found = Dataset::held(one.schema().clone(), batches).expect("batches of one schema");
        same_rows(&found, expected, "streams that are open at once do not disturb each other");
    }
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            let law = "any number of threads may scan at once";
            scope.spawn(|| same_rows(&read(source, &ScanRequest::all()), expected, law));
        }
    });
}
