#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use mlops_core::arrow::array::{BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use mlops_core::expr::Expr;
use mlops_core::{EventTime, Schema};

fuzz_target!(|text: &str| {
    let Ok(expr) = Expr::parse(text) else { return };
    let shown = expr.to_string();
    assert_eq!(Expr::parse(&shown).as_ref().ok(), Some(&expr), "what is shown reads back: {shown}");
    let batch = RecordBatch::try_from_iter([
        ("a", Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(i64::MAX)])) as _),
        ("b", Arc::new(Float64Array::from(vec![f64::NAN, f64::INFINITY, -0.0])) as _),
        ("c", Arc::new(StringArray::from(vec![Some(""), None, Some("é 12")])) as _),
        ("d", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])) as _),
    ])
    .expect("columns of one length");
    let schema = Schema::new(batch.schema()).expect("names differ");
    let Ok(program) = expr.compile(&schema) else { return };
    let table = program.evaluate(&batch, EventTime::EPOCH).expect("a program fails on no value");
    for row in 0..batch.num_rows() {
        let alone = program.evaluate(&batch.slice(row, 1), EventTime::EPOCH).expect("as in the table");
        assert_eq!(alone.to_data(), table.slice(row, 1).to_data(), "a row alone is a row in a table");
    }
});
