//! Customers who leave: a table with the columns of the public Telco churn file.
//!
//! Columns: [`schema::churn`]. Services, contracts and charges are drawn with shares close to that file's. A customer leaves
//! with probability `σ(score)`, where the score is the sum of
//!
//! * −1.35, and −1.6 per six years of tenure, and 0.9 in the first half year;
//! * contract: 0.9 by the month, −0.5 for one year, −1.7 for two;
//! * internet: 0.8 by fibre, −1.0 without; −0.45 each for online security and technical support, 0.2 each for films and TV;
//! * 0.45 who pays by electronic check, 0.3 without paper, 0.25 seniors, −0.25 with dependents.
//!
//! About 27 % leave. The best classifier that there can be, which knows the probability, has an AUC of about 0.85. Who has
//! tenure 0 (0.16 %) has a blank for `TotalCharges` and stays.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use mlops_core::source::{CsvSink, DataSink};
use mlops_core::{Result, Schema};
use rand::Rng;
use rand::rngs::SmallRng;

use crate::customer::hundredths;
use crate::random::{Permutation, Stream, chance, normal, pick, rng, sigmoid, stream_key, unit};
use crate::schema;

const BATCH_ROWS: u64 = 8_192;
const CONTRACTS: [&str; 3] = ["Month-to-month", "One year", "Two year"];
const PAYMENTS: [&str; 4] =
    ["Electronic check", "Mailed check", "Bank transfer (automatic)", "Credit card (automatic)"];
const LETTERS: u64 = 26 * 26 * 26 * 26 * 26;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Internet {
    Dsl,
    Fiber,
    Without,
}

/// A row before it is written down.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "the public file has as many yes-or-no columns")]
struct Row {
    female: bool,
    senior: bool,
    partner: bool,
    dependents: bool,
    tenure: i64,
    phone: bool,
    lines: bool,
    internet: Internet,
    /// Online security, online backup, device protection, technical support, TV, films.
    extras: [bool; 6],
    contract: usize,
    paperless: bool,
    payment: usize,
    monthly: f64,
    total: f64,
    leaves: bool,
}

impl Row {
    fn at(seed: u64, index: u64) -> Self {
        let rng = &mut rng(seed, Stream::Churn, index);
        let contract = pick(rng, [0.55, 0.21, 0.24].into_iter());
        let partner = chance(rng, 0.48);
        let phone = chance(rng, 0.9);
        let internet = match pick(rng, [0.30, 0.48, 0.22].into_iter()) {
            _ if !phone => Internet::Dsl,
            0 => Internet::Dsl,
            1 => Internet::Fiber,
            _ => Internet::Without,
        };
        let online = internet != Internet::Without;
        let loyal = 0.13 * contract as f64;
        let extras = [0.25, 0.33, 0.32, 0.25, 0.42, 0.42].map(|share| chance(rng, share + loyal) && online);
        let fiber = internet == Internet::Fiber;
        let check = if fiber { 0.5 } else { 0.22 };
        let rest = (1.0 - check) / 3.0;
        let mut row = Self {
            female: chance(rng, 0.495),
            senior: chance(rng, 0.16),
            partner,
            dependents: chance(rng, if partner { 0.5 } else { 0.09 }),
            tenure: Self::tenure(rng, contract),
            phone,
            lines: chance(rng, 0.47) && phone,
            internet,
            extras,
            contract,
            paperless: chance(rng, if fiber { 0.75 } else { 0.46 }),
            payment: pick(rng, [check, rest, rest, rest].into_iter()),
            monthly: 0.0,
            total: 0.0,
            leaves: false,
        };
        row.monthly = hundredths((row.fee() + normal(rng)).max(18.0));
        row.total = hundredths(row.monthly * row.tenure as f64 * (1.0 + 0.03 * normal(rng)));
        row.leaves = chance(rng, row.probability());
        row
    }

    fn tenure(rng: &mut SmallRng, contract: usize) -> i64 {
        let fresh = chance(rng, 0.0016);
        let share = unit(rng.r#gen()).powf([2.0, 0.8, 0.4][contract]);
        if fresh { 0 } else { 1 + (72.0 * share) as i64 }
    }

    /// Monthly fee by the list.
    fn fee(&self) -> f64 {
        let base = match self.internet {
            Internet::Dsl => 25.0,
            Internet::Fiber => 50.0,
            Internet::Without => 0.0,
        };
        let extras: f64 =
            self.extras.iter().zip([5.0, 5.0, 5.0, 5.0, 10.0, 10.0]).filter(|(has, _)| **has).map(|(_, fee)| fee).sum();
        base + extras + if self.phone { 20.0 } else { 0.0 } + if self.lines { 5.0 } else { 0.0 }
    }

    /// The sum in the module's documentation.
    fn score(&self) -> f64 {
        let when = |holds: bool, weight: f64| if holds { weight } else { 0.0 };
        let [security, _, _, support, tv, films] = self.extras;
        let internet = match self.internet {
            Internet::Dsl => 0.0,
            Internet::Fiber => 0.8,
            Internet::Without => -1.0,
        };
        -1.35 - 1.6 * self.tenure as f64 / 72.0
            + when(self.tenure <= 6, 0.9)
            + [0.9, -0.5, -1.7][self.contract]
            + internet
            + when(security, -0.45)
            + when(support, -0.45)
            + when(tv, 0.2)
            + when(films, 0.2)
            + when(self.payment == 0, 0.45)
            + when(self.paperless, 0.3)
            + when(self.senior, 0.25)
            + when(self.dependents, -0.25)
    }

    fn probability(&self) -> f64 {
        if self.tenure == 0 { 0.0 } else { sigmoid(self.score()) }
    }

    fn extra(&self, index: usize) -> &'static str {
        if self.internet == Internet::Without { "No internet service" } else { yes(self.extras[index]) }
    }
}

/// Rows of the churn table in batches of at most 8 192; the same `seed` gives the same rows, whatever their number.
#[derive(Debug, Clone)]
pub struct Churn {
    seed: u64,
    next: u64,
    rows: u64,
}

impl Churn {
    /// `rows` customers. Ids are unique up to 10^11 rows.
    pub fn new(rows: u64, seed: u64) -> Self {
        Self { seed, next: 0, rows }
    }

    fn batch(&self, rows: std::ops::Range<u64>) -> Result<RecordBatch> {
        let ids = Permutation::new(10_000 * LETTERS, stream_key(self.seed, Stream::Churn));
        let names = rows.clone().map(|index| customer_id(ids.at(index)));
        let names: ArrayRef = Arc::new(StringArray::from_iter_values(names));
        let rows: Vec<Row> = rows.map(|index| Row::at(self.seed, index)).collect();
        let text = |value: &dyn Fn(&Row) -> &'static str| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(rows.iter().map(value)))
        };
        let int = |value: fn(&Row) -> i64| -> ArrayRef { Arc::new(rows.iter().map(value).collect::<Int64Array>()) };
        let extra = |index: usize| text(&|row| row.extra(index));
        let columns = vec![
            names,
            text(&|row| if row.female { "Female" } else { "Male" }),
            int(|row| i64::from(row.senior)),
            text(&|row| yes(row.partner)),
            text(&|row| yes(row.dependents)),
            int(|row| row.tenure),
            text(&|row| yes(row.phone)),
            text(&|row| if row.phone { yes(row.lines) } else { "No phone service" }),
            text(&|row| match row.internet {
                Internet::Dsl => "DSL",
                Internet::Fiber => "Fiber optic",
                Internet::Without => "No",
            }),
            extra(0),
            extra(1),
            extra(2),
            extra(3),
            extra(4),
            extra(5),
            text(&|row| CONTRACTS[row.contract]),
            text(&|row| yes(row.paperless)),
            text(&|row| PAYMENTS[row.payment]),
            Arc::new(rows.iter().map(|row| Some(row.monthly)).collect::<Float64Array>()),
            Arc::new(StringArray::from_iter_values(rows.iter().map(total_charges))),
            text(&|row| yes(row.leaves)),
        ];
        Ok(RecordBatch::try_new(schema::churn(), columns)?)
    }
}

impl Iterator for Churn {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let rows = self.next..self.rows.min(self.next.saturating_add(BATCH_ROWS));
        self.next = rows.end;
        (!rows.is_empty()).then(|| self.batch(rows))
    }
}

/// Writes the churn table with `rows` customers as CSV with a header; the file appears whole or not at all.
///
/// # Errors
/// [`mlops_core::Error::Io`] when `path` cannot be written.
pub fn write_churn_csv(path: impl AsRef<Path>, rows: u64, seed: u64) -> Result<()> {
    let mut writer = CsvSink::new(path.as_ref()).begin(&Schema::new(schema::churn())?)?;
    for batch in Churn::new(rows, seed) {
        writer.write(&batch?)?;
    }
    writer.commit()?;
    Ok(())
}

/// Four digits, a dash, five letters: `0042-ABCDE`.
fn customer_id(number: u64) -> String {
    let letters = (0..5).scan(number % LETTERS, |rest, _| {
        let letter = char::from(b'A' + (*rest % 26) as u8);
        *rest /= 26;
        Some(letter)
    });
    format!("{:04}-{}", number / LETTERS, letters.collect::<String>())
}

fn total_charges(row: &Row) -> String {
    if row.tenure == 0 { " ".to_owned() } else { row.total.to_string() }
}

fn yes(holds: bool) -> &'static str {
    if holds { "Yes" } else { "No" }
}

#[cfg(test)]
mod tests;
