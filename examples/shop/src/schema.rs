//! Arrow schema of every table.
//!
//! Money is in whole VND, event times are microseconds in UTC.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use mlops_core::EventTime;

/// One row a customer, as known on day 0, with a few flaws: missing values, outliers, repeated rows.
///
/// | column | type | nulls | |
/// |---|---|---|---|
/// | `customer_id` | Int64 | | from 1 |
/// | `full_name` | Utf8 | | surname, middle, given name |
/// | `cccd` | Utf8 | 3 % | citizen number, 12 digits; unique up to a million customers |
/// | `phone` | Utf8 | | `0…` or `+84…`, unique |
/// | `email` | Utf8 | 4 % | at domains reserved for examples |
/// | `birth_year` | Int64 | 3 % | 0.1 % say 1900 |
/// | `province` | Utf8 | 3 % | of residence |
/// | `plan` | Utf8 | | `prepaid`, `postpaid`, `family`, `business` |
/// | `tenure_days` | Int64 | | days since signup, on day 0 |
/// | `monthly_spend` | Float64 | 4 % | VND, log-normal; 0.2 % are 50 to 200 times too high |
/// | `data_gb` | Float64 | 5 % | GB a month; 0.2 % are -1 |
/// | `device` | Utf8 | 4 % | `smartphone_5g`, `smartphone_4g`, `feature_phone`, `tablet`, `router` |
/// | `signup_time` | Timestamp | | before day 0 |
pub fn customers() -> SchemaRef {
    table([
        int("customer_id"),
        text("full_name"),
        nullable(text("cccd")),
        text("phone"),
        nullable(text("email")),
        nullable(int("birth_year")),
        nullable(text("province")),
        text("plan"),
        int("tenure_days"),
        nullable(float("monthly_spend")),
        nullable(float("data_gb")),
        nullable(text("device")),
        time("signup_time"),
    ])
}

/// What the customer used lately, measured anew every seven days; `data_gb` is missing in 3 % of the rows.
///
/// `customer_id` Int64, `plan` Utf8, `tenure_days` Int64, `monthly_spend` Float64 (VND), `data_gb` Float64 (a month),
/// `device` Utf8, `event_time` Timestamp (the nightly run that measured it).
pub fn usage() -> SchemaRef {
    table([
        int("customer_id"),
        text("plan"),
        int("tenure_days"),
        float("monthly_spend"),
        nullable(float("data_gb")),
        text("device"),
        time("event_time"),
    ])
}

/// One row an offer, as it is from `event_time` on.
///
/// `offer_id` Int64 (from 1), `category` Utf8, `price` and `margin` Int64 (VND), `validity_days` Int64,
/// `data_gb` Float64 (null for offers without data), `provider` Utf8, `event_time` Timestamp.
pub fn offers() -> SchemaRef {
    table([
        int("offer_id"),
        text("category"),
        int("price"),
        int("margin"),
        int("validity_days"),
        nullable(float("data_gb")),
        text("provider"),
        time("event_time"),
    ])
}

/// One row per offer shown, with what finally came of it.
///
/// `request_id`, `customer_id`, `offer_id` Int64, `position` Int32 (from 0), `event_time` Timestamp (of the request),
/// `clicked`, `purchased`, `complained` Boolean, `revenue` Int64 (VND, the price when purchased, else 0), `propensity` Float64:
/// probability that the logging policy put this offer here, given the candidates and the offers above.
/// The labels are those that [`clicks`], [`purchases`] and [`complaints`] report later.
pub fn impressions() -> SchemaRef {
    table([
        int("request_id"),
        int("customer_id"),
        int("offer_id"),
        Field::new("position", DataType::Int32, false),
        time("event_time"),
        flag("clicked"),
        flag("purchased"),
        flag("complained"),
        int("revenue"),
        float("propensity"),
    ])
}

/// One row a click: `request_id`, `customer_id`, `offer_id` Int64, `event_time` Timestamp (of the click).
pub fn clicks() -> SchemaRef {
    table([int("request_id"), int("customer_id"), int("offer_id"), time("event_time")])
}

/// One row a purchase: as [`clicks`], with `revenue` Int64 (VND) at the end.
pub fn purchases() -> SchemaRef {
    table([int("request_id"), int("customer_id"), int("offer_id"), time("event_time"), int("revenue")])
}

/// One row a complaint: as [`clicks`].
pub fn complaints() -> SchemaRef {
    clicks()
}

/// The 21 columns of the public Telco churn file.
///
/// All Utf8 but `SeniorCitizen` (Int64, 0 or 1), `tenure` (Int64, months) and `MonthlyCharges` (Float64);
/// `TotalCharges` is text, a single blank when `tenure` is 0. Nothing is null.
pub fn churn() -> SchemaRef {
    table([
        text("customerID"),
        text("gender"),
        int("SeniorCitizen"),
        text("Partner"),
        text("Dependents"),
        int("tenure"),
        text("PhoneService"),
        text("MultipleLines"),
        text("InternetService"),
        text("OnlineSecurity"),
        text("OnlineBackup"),
        text("DeviceProtection"),
        text("TechSupport"),
        text("StreamingTV"),
        text("StreamingMovies"),
        text("Contract"),
        text("PaperlessBilling"),
        text("PaymentMethod"),
        float("MonthlyCharges"),
        text("TotalCharges"),
        text("Churn"),
    ])
}

fn table<const N: usize>(fields: [Field; N]) -> SchemaRef {
    Arc::new(Schema::new(fields.to_vec()))
}

fn int(name: &str) -> Field {
    Field::new(name, DataType::Int64, false)
}

fn float(name: &str) -> Field {
    Field::new(name, DataType::Float64, false)
}

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, false)
}

fn flag(name: &str) -> Field {
    Field::new(name, DataType::Boolean, false)
}

fn time(name: &str) -> Field {
    Field::new(name, EventTime::data_type(), false)
}

fn nullable(field: Field) -> Field {
    field.with_nullable(true)
}
