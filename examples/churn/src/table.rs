//! The table of customers: its columns, and how it is read.

use std::path::Path;
use std::sync::Arc;

use mlops_core::schema::{Role, Sensitivity};
use mlops_core::source::CsvSource;
use mlops_core::{Dataset, Error, Result, Schema};

/// Names the customer.
pub(crate) const KEY: &str = "customerID";
/// Whether the customer left.
pub(crate) const LABEL: &str = "Churn";
/// What models are held against and do not learn from.
pub(crate) const AUDITED: [&str; 2] = ["gender", "SeniorCitizen"];

const PERSONAL: [&str; 5] = [KEY, "gender", "SeniorCitizen", "Partner", "Dependents"];

/// The 21 columns of the public Telco churn file, with what each is for.
///
/// `tenure` is in months, charges are in US dollars. `TotalCharges` is text: it is blank for who was never billed.
///
/// # Errors
/// None in practice: the columns are fixed.
pub fn schema() -> Result<Schema> {
    let mut schema = Schema::new(shop::schema::churn())?
        .with_role(KEY, Role::Key)?
        .with_role(LABEL, Role::Label)?
        .with_unit("tenure", "months")?
        .with_unit("MonthlyCharges", "USD/month")?
        .with_unit("TotalCharges", "USD")?;
    for column in PERSONAL {
        schema = schema.with_sensitivity(column, Sensitivity::Personal)?;
    }
    Ok(schema)
}

/// The customers in the CSV file at `path`, read anew at each scan.
///
/// # Errors
/// [`Error::Stage`] saying which file is expected, around [`Error::NotFound`], [`Error::InvalidData`] or
/// [`Error::Schema`] saying what is wrong with this one.
pub fn open(path: &Path) -> Result<Dataset> {
    let schema = schema()?;
    let expected = schema.names().collect::<Vec<_>>().join(",");
    let source = CsvSource::builder(path).schema(schema).build();
    let told = |e| Error::stage(format!("{} is not a Telco churn file with the header {expected}", path.display()), e);
    Dataset::from_source(Arc::new(source.map_err(told)?))
}
