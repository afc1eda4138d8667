//! What must hold of the customers before anything is learned from them.

use mlops_core::Result;
use mlops_core::validate::{OneOf, Pattern, Range, RowCount, Severity, Suite, Unique};

use crate::features::{CONTRACTS, INTERNET, PAYMENTS};
use crate::table::{KEY, LABEL};

/// Fewest customers that three models can be trained and judged on.
const ROWS_MIN: u64 = 1_000;

const YES_NO: [&str; 2] = ["Yes", "No"];

/// The checks of the raw table. All but one stop the job; a long tenure is worth a look only.
///
/// # Errors
/// None in practice: the rules are fixed.
pub fn suite() -> Result<Suite> {
    let mut suite = Suite::new()
        .rule("enough_rows", RowCount::at_least(ROWS_MIN))?
        .rule("customers_unique", Unique::of([KEY]))?
        .rule("gender_known", OneOf::of("gender", ["Female", "Male"]))?
        .rule("senior_flag", OneOf::of("SeniorCitizen", [0_i64, 1]))?
        .rule("tenure_range", Range::of("tenure").at_least(0))?
        .rule_at(Severity::Warning, "tenure_long", Range::of("tenure").at_most(72))?
        .rule("monthly_charges_range", Range::of("MonthlyCharges").above(0.0).at_most(1_000.0))?
        .rule("total_charges_form", Pattern::of("TotalCharges", r" *|\d+(\.\d+)?"))?
        .rule("internet_known", OneOf::of("InternetService", INTERNET.map(|(value, _)| value)))?
        .rule("contract_known", OneOf::of("Contract", CONTRACTS.map(|(value, _)| value)))?
        .rule("payment_known", OneOf::of("PaymentMethod", PAYMENTS.map(|(value, _)| value)))?
        .rule("churn_known", OneOf::of(LABEL, YES_NO))?;
    for column in ["Partner", "Dependents", "PhoneService", "PaperlessBilling"] {
        suite = suite.rule(format!("{}_known", column.to_lowercase()), OneOf::of(column, YES_NO))?;
    }
    Ok(suite)
}
