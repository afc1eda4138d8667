//! Feature work, as one polars plan from raw columns to numbers.
//!
//! Every feature is a function of its own row, so a customer alone gets what the same customer gets in a table. What a
//! category can be is written down here and checked by the suite, not read off the data: the columns are always the same.

use mlops_core::interop::polars::polars::prelude::{DataType, Expr, NULL, col, lit, when};
use mlops_core::schema::{Role, Sensitivity};
use mlops_core::{Dataset, Result};

use crate::table::{AUDITED, KEY, LABEL};

/// Values of `InternetService`, and the features that say so.
pub(crate) const INTERNET: [(&str, &str); 3] =
    [("DSL", "internet_dsl"), ("Fiber optic", "internet_fiber"), ("No", "internet_none")];
/// Values of `Contract`, and the features that say so.
pub(crate) const CONTRACTS: [(&str, &str); 3] =
    [("Month-to-month", "contract_monthly"), ("One year", "contract_one_year"), ("Two year", "contract_two_years")];
/// Values of `PaymentMethod`, and the features that say so.
pub(crate) const PAYMENTS: [(&str, &str); 4] = [
    ("Electronic check", "pays_electronic_check"),
    ("Mailed check", "pays_mailed_check"),
    ("Bank transfer (automatic)", "pays_bank_transfer"),
    ("Credit card (automatic)", "pays_credit_card"),
];

/// Columns of yes and no (anything but `Yes` is no), and the features that say so.
const FLAGS: [(&str, &str); 11] = [
    ("Partner", "partner"),
    ("Dependents", "dependents"),
    ("PhoneService", "phone"),
    ("MultipleLines", "multiple_lines"),
    ("OnlineSecurity", "online_security"),
    ("OnlineBackup", "online_backup"),
    ("DeviceProtection", "device_protection"),
    ("TechSupport", "tech_support"),
    ("StreamingTV", "streaming_tv"),
    ("StreamingMovies", "streaming_movies"),
    ("PaperlessBilling", "paperless"),
];
/// The flags that are services on top of the line.
const EXTRAS: [&str; 6] =
    ["OnlineSecurity", "OnlineBackup", "DeviceProtection", "TechSupport", "StreamingTV", "StreamingMovies"];
/// Features that tell about a person.
const PERSONAL: [&str; 2] = ["partner", "dependents"];

/// First month of each band of tenure, and the features that say so; a band ends where the next begins.
const BANDS: [(i64, &str); 5] = [
    (0, "tenure_under_7"),
    (7, "tenure_7_to_12"),
    (13, "tenure_13_to_24"),
    (25, "tenure_25_to_48"),
    (49, "tenure_over_48"),
];

/// Names of the features, in the order in which models take them.
pub const FEATURES: [&str; 35] = [
    "tenure_months",
    "monthly_charges",
    "total_charges",
    "paid_per_month",
    "charge_change",
    "extras",
    "charge_per_service",
    "internet_dsl",
    "internet_fiber",
    "internet_none",
    "contract_monthly",
    "contract_one_year",
    "contract_two_years",
    "pays_electronic_check",
    "pays_mailed_check",
    "pays_bank_transfer",
    "pays_credit_card",
    "partner",
    "dependents",
    "phone",
    "multiple_lines",
    "online_security",
    "online_backup",
    "device_protection",
    "tech_support",
    "streaming_tv",
    "streaming_movies",
    "paperless",
    "tenure_under_7",
    "tenure_7_to_12",
    "tenure_13_to_24",
    "tenure_25_to_48",
    "tenure_over_48",
    "new_and_monthly",
    "fiber_and_monthly",
];

fn whether(condition: Expr) -> Expr {
    condition.cast(DataType::Int8)
}

fn is(column: &str, value: &str) -> Expr {
    whether(col(column).eq(lit(value)))
}

fn one_of_each<const N: usize>(column: &str, values: [(&str, &str); N]) -> Vec<Expr> {
    values.iter().map(|(value, name)| is(column, value).alias(*name)).collect()
}

/// Dollars billed so far; blank stands for nothing yet.
fn total_charges() -> Expr {
    let text = col("TotalCharges").str().strip_chars(lit(NULL));
    when(text.clone().eq(lit(""))).then(lit(0.0)).otherwise(text.cast(DataType::Float64))
}

/// Charges as numbers and as ratios.
fn charges() -> Vec<Expr> {
    let tenure = col("tenure").cast(DataType::Float64);
    let monthly = col("MonthlyCharges");
    let paid = when(col("tenure").gt(lit(0))).then(total_charges() / tenure.clone()).otherwise(monthly.clone());
    let extras = EXTRAS.iter().map(|name| is(name, "Yes").cast(DataType::Int32)).reduce(|a, b| a + b).unwrap_or(lit(0));
    let services = extras.clone() + is("PhoneService", "Yes").cast(DataType::Int32) + lit(1);
    vec![
        tenure.alias("tenure_months"),
        monthly.clone().alias("monthly_charges"),
        total_charges().alias("total_charges"),
        paid.clone().alias("paid_per_month"),
        // What the next bill is, against what a bill was on average: above 1 the customer pays more than before.
        when(paid.clone().gt(lit(0.0))).then(monthly.clone() / paid).otherwise(lit(1.0)).alias("charge_change"),
        extras.alias("extras"),
        (monthly / services.cast(DataType::Float64)).alias("charge_per_service"),
    ]
}

fn bands() -> Vec<Expr> {
    let ends = BANDS.iter().skip(1).map(|(first, _)| Some(*first)).chain([None]);
    let band = |((first, name), end): (&(i64, &str), Option<i64>)| {
        let from = col("tenure").gt_eq(lit(*first));
        whether(end.map_or(from.clone(), |end| from.and(col("tenure").lt(lit(end))))).alias(*name)
    };
    BANDS.iter().zip(ends).map(band).collect()
}

fn crossed() -> [Expr; 2] {
    let monthly = is("Contract", "Month-to-month");
    let new = whether(col("tenure").lt_eq(lit(6)));
    [
        (new * monthly.clone()).alias("new_and_monthly"),
        (is("InternetService", "Fiber optic") * monthly).alias("fiber_and_monthly"),
    ]
}

/// The columns of the result.
fn columns() -> Vec<Expr> {
    let mut columns = vec![col(KEY)];
    columns.extend(AUDITED.map(col));
    columns.extend(charges());
    columns.extend(one_of_each("InternetService", INTERNET));
    columns.extend(one_of_each("Contract", CONTRACTS));
    columns.extend(one_of_each("PaymentMethod", PAYMENTS));
    columns.extend(FLAGS.iter().map(|(column, name)| is(column, "Yes").alias(*name)));
    columns.extend(bands());
    columns.extend(crossed());
    columns.push(is(LABEL, "Yes").alias(LABEL));
    columns
}

/// The features of `customers`, held, beside their key, their label, and what models are held against.
///
/// Key, label and sensitivities of columns that keep their name come along from the raw table; the features are annotated
/// here. Nothing is null: who was never billed has paid 0.
///
/// # Errors
/// What polars says of a column that is missing or of another type.
pub fn features(customers: &Dataset) -> Result<Dataset> {
    let made = customers.map_lazy(|plan| plan.select(columns()))?.hold()?;
    let mut schema = made.schema().clone();
    for name in FEATURES {
        schema = schema.with_role(name, Role::Feature)?;
    }
    for name in PERSONAL {
        schema = schema.with_sensitivity(name, Sensitivity::Personal)?;
    }
    made.with_schema(schema.with_unit("tenure_months", "months")?.with_unit("monthly_charges", "USD/month")?)
}

#[cfg(test)]
mod tests {
    use mlops_core::arrow::array::{Array, RecordBatch};
    use mlops_core::interop::floats;

    use super::*;
    use crate::table::schema;

    fn customers(rows: u64) -> Dataset {
        let batches = shop::churn::Churn::new(rows, 3).collect::<Result<Vec<_>>>().unwrap();
        Dataset::held(schema().unwrap(), batches).unwrap()
    }

    fn value(batch: &RecordBatch, column: &str, row: usize) -> f64 {
        floats(column, batch.column_by_name(column).unwrap()).unwrap()[row]
    }

    #[test]
    fn names_roles_and_sensitivities_are_as_announced() {
        let made = features(&customers(50)).unwrap();
        assert_eq!(made.schema().with(Role::Feature), FEATURES);
        assert_eq!((made.schema().with(Role::Key), made.schema().with(Role::Label)), (vec![KEY], vec![LABEL]));
        assert_eq!(made.schema().hidden(), [KEY, "gender", "SeniorCitizen", "partner", "dependents"]);
    }

    #[test]
    fn nothing_is_null_and_each_category_is_in_one_column() {
        // Among 4,000 customers some have tenure 0 and no total.
        let rows = features(&customers(4_000)).unwrap().to_batch().unwrap();
        assert!(rows.columns().iter().all(|column| column.null_count() == 0));
        assert!((0..rows.num_rows()).any(|row| value(&rows, "tenure_months", row) == 0.0));
        for row in 0..rows.num_rows() {
            let sum = |names: &[&str]| -> f64 { names.iter().map(|name| value(&rows, name, row)).sum() };
            assert_eq!(sum(&CONTRACTS.map(|(_, name)| name)), 1.0);
            assert_eq!(sum(&INTERNET.map(|(_, name)| name)), 1.0);
            assert_eq!(sum(&PAYMENTS.map(|(_, name)| name)), 1.0);
            assert_eq!(sum(&BANDS.map(|(_, name)| name)), 1.0);
        }
    }

    #[test]
    fn a_customer_alone_gets_what_the_same_customer_gets_in_a_table() {
        let customers = customers(40);
        let table = features(&customers).unwrap().to_batch().unwrap();
        let rows = customers.to_batch().unwrap();
        for row in 0..40 {
            let alone = Dataset::held(customers.schema().clone(), [rows.slice(row, 1)]).unwrap();
            assert_eq!(features(&alone).unwrap().to_batch().unwrap(), table.slice(row, 1));
        }
    }

    #[test]
    fn ratios_are_what_their_names_say() {
        let customers = customers(300);
        let (raw, made) = (customers.to_batch().unwrap(), features(&customers).unwrap().to_batch().unwrap());
        for row in 0..300 {
            let (tenure, monthly) = (value(&raw, "tenure", row), value(&raw, "MonthlyCharges", row));
            let total = value(&made, "total_charges", row);
            let paid = if tenure > 0.0 { total / tenure } else { monthly };
            assert_eq!(value(&made, "paid_per_month", row), paid);
            assert_eq!(value(&made, "charge_change", row), monthly / paid);
            let services = value(&made, "extras", row) + value(&made, "phone", row) + 1.0;
            assert_eq!(value(&made, "charge_per_service", row), monthly / services);
        }
    }
}
