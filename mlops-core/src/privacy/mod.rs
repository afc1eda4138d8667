//! Personal data: found in texts and columns, treated by a policy, and measured in what is left.
//!
//! * [`Detector`] finds sixteen [kinds](Kind) in one pass: [`Detector::detect`] in a text, [`Detector::scan_column`] and
//!   [`Detector::survey_column`] in columns; [`Detector::scrub`] is what log lines and messages go through.
//! * [`Policy`] says what is done ([`Action`]: mask, token, encryption that keeps the shape, broader values, shifted dates …),
//!   [`Policies`] says it per purpose; [`Policy::apply`] does it and hands back an [`Audit`] that counts and never quotes,
//!   [`Policy::guard`] puts it in front of a source, [`GuardedSink`] in front of a quarantine, and [`Plan::annotate`] tells profiles and checks what they must hide.
//! * [`Anonymity`] measures how well rows hide among each other.
//!
//! The Vietnamese identity numbers have no check digit, so a number alone is not enough: words around it, the column's name
//! or the agreement of a column's values decide.
//!
//! No raw value ever stands in an error, a log line or the `Debug` form of a type of this module.
//!
//! ```
//! use std::sync::Arc;
//! use mlops_core::arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
//! use mlops_core::privacy::{Action, Detector, Kind, Policy, PseudonymKey};
//!
//! let note = StringArray::from(vec![Some("gọi 0912 345 678 sau 17h"), None]);
//! let batch = RecordBatch::try_from_iter([("note", Arc::new(note) as ArrayRef)])?;
//! let detector = Detector::builder().today(2026).build()?;
//! let policy = Policy::builder().kind(Kind::Phone, Action::Mask { keep_last: 3 }).build()?;
//! let (masked, audit) = policy.apply(&detector, &batch, None)?;
//! assert_eq!(masked.column(0).as_string::<i32>().value(0), "gọi **** *** 678 sau 17h");
//! assert_eq!(audit.treated["note"].kinds[&Kind::Phone], 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod action;
mod address;
mod anonymity;
mod audit;
mod card;
mod cccd;
mod column;
mod context;
mod date;
mod detail;
mod detect;
mod fold;
mod forms;
mod geo;
mod guard;
mod key;
mod kind;
mod mail;
mod name;
mod net;
mod number;
mod phone;
mod plan;
mod plate;
mod policies;
mod policy;
mod scan;
#[cfg(feature = "fpe")]
mod shape;
mod sink;
mod tax;
#[cfg(test)]
mod tests;
mod vocabulary;
mod words;

pub use action::{Action, KEEP_LAST_MAX, Level, SHIFT_DAYS_MAX};
pub use anonymity::{Anonymity, AnonymityBuilder, AnonymityReport};
pub use audit::{Audit, Treated};
pub use cccd::{AGE_YEARS_MAX, Birthplace, Cccd, Sex};
pub use column::{ColumnSurvey, ColumnVerdict};
pub use detail::Detail;
pub use detect::{Detector, DetectorBuilder, Finding};
pub use guard::{Guard, SAMPLE_ROWS};
pub use key::{KEY_BYTES_MIN, PseudonymKey, TOKEN_CHARS};
pub use kind::Kind;
pub use plan::{Plan, Treatment};
pub use policies::{POLICIES_BYTES_MAX, Policies};
pub use policy::{Policy, PolicyBuilder};
#[cfg(feature = "fpe")]
pub use shape::SHAPE_DIGITS_MIN;
pub use sink::GuardedSink;
