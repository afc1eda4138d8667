//! From a CSV file to a gated churn model, with polars for the feature work.

fn main() {}
