//! The expression language of row checks and on-demand features: small, typed, total.
//!
//! An [`Expr`] is data: a tree that is stored as JSON or as text, never code. [`Expr::compile`] checks it against a schema and
//! gives a [`Program`], which computes whole columns and cannot fail on values: what has no answer is null.
//!
//! * **Types**: [`Type`]. Columns of integers, floats, decimals, booleans, text, dates and timestamps are taken as one of these;
//!   an integer beside a float counts as a float (exact up to 2^53). Decimals and unsigned integers above 2^63 − 1 are read as
//!   floats and as null.
//! * **Null**: an operation on a null gives null, save for `and`, `or` (three-valued, as in SQL), `is null`, `coalesce`,
//!   `case` and `null_if`. Also null: division by zero, an integer that overflows, `sqrt` and `ln` outside of their domain, a cast that does
//!   not fit, a text built of more than [`TEXT_RESULT_BYTES_MAX`] bytes, a time outside of ±292 000 years.
//! * **NaN**: comes only from columns; it compares false with everything and differs from everything, as in IEEE 754.
//! * **Row = table**: a value depends on its row and on `now`, never on other rows.
//!
//! Text form, strongest first: `-x`; `* / %`; `+ -`; `= != < <= > >=`, `[not] between a and b`, `[not] in (…)`,
//! `is [not] null`; `not`; `and`; `or`. Columns are written as they are or in backquotes, text in single quotes (doubled
//! inside), times as `time '2025-01-31T00:00:00Z'`. Functions: [`Function`].
//!
//! # Examples
//! ```
//! use std::sync::Arc;
//!
//! use mlops_core::arrow::array::{AsArray, Float64Array, RecordBatch, StringArray};
//! use mlops_core::{EventTime, Schema, expr::Expr};
//!
//! let batch = RecordBatch::try_from_iter([
//!     ("amount", Arc::new(Float64Array::from(vec![12.0, -1.0])) as _),
//!     ("status", Arc::new(StringArray::from(vec!["PAID", "REFUND"])) as _),
//! ])?;
//! let expr: Expr = "amount >= 0 or status in ('REFUND', 'VOID')".parse()?;
//! let program = expr.compile(&Schema::new(batch.schema())?)?;
//! assert_eq!(program.evaluate(&batch, EventTime::EPOCH)?.as_boolean().true_count(), 2);
//!
//! let mistake = Expr::parse("amount >= 0 && status = 'PAID'").unwrap_err().to_string();
//! assert!(mistake.contains("at 13") && mistake.contains("write `and`"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod calendar;
mod compile;
mod eval;
mod function;
mod geo;
mod lex;
mod number;
mod parse;
mod pattern;
mod show;
mod text;
mod tree;
mod value;

pub use self::compile::{Program, Type};
pub use self::function::Function;
pub(crate) use self::pattern::{PATTERN_BYTES_MAX, whole};
pub use self::text::TEXT_RESULT_BYTES_MAX;
pub(crate) use self::text::characters;
pub(crate) use self::tree::as_text;
pub use self::tree::{DEPTH_MAX, Expr, NODES_MAX, TEXT_BYTES_MAX};
pub(crate) use self::value::micros;

#[cfg(test)]
mod tests;
