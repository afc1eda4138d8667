//! The rows that a forest is trained or judged on.

use crate::forest::check_features;
use crate::{Error, Result};

/// Greatest magnitude of a label: squares of sums of them stay finite.
pub const LABEL_MAX: f64 = 1e60;
/// Greatest weight of a row.
pub const WEIGHT_MAX: f64 = 1e30;

/// Feature columns, labels, and where asked for weights and queries, of equal lengths.
///
/// In features NaN is a missing value and infinities are extreme values.
///
/// # Examples
/// ```
/// use mlops_registry::gbdt::TrainingMatrix;
///
/// let names = vec!["price".to_owned(), "margin".to_owned()];
/// let columns = vec![vec![5.0, 7.0, f64::NAN], vec![0.1, 0.4, 0.2]];
/// let matrix = TrainingMatrix::new(names, columns, vec![0.0, 2.0, 1.0])?.with_groups(vec![2, 1])?;
/// assert_eq!(matrix.rows(), 3);
/// # Ok::<(), mlops_registry::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingMatrix {
    names: Vec<String>,
    columns: Vec<Vec<f64>>,
    labels: Vec<f64>,
    weights: Option<Vec<f64>>,
    groups: Option<Vec<u32>>,
}

impl TrainingMatrix {
    /// Checks features and labels.
    ///
    /// * `names`: one per column, distinct; the forest will ask for them in this order.
    /// * `columns`: one value per row each; there may be none.
    /// * `labels`: one per row, at least one, finite and at most [`LABEL_MAX`] in magnitude.
    ///
    /// # Errors
    /// [`mlops_core::Error::InvalidData`] naming the column or row at fault.
    pub fn new(names: Vec<String>, columns: Vec<Vec<f64>>, labels: Vec<f64>) -> Result<Self> {
        check_features(&names)?;
        if names.len() != columns.len() {
            return Err(refuse(format!("{} names for {} columns", names.len(), columns.len())));
        }
        if labels.is_empty() {
            return Err(refuse("there are no rows".to_owned()));
        }
        if u32::try_from(labels.len()).is_err() {
            return Err(refuse(format!("{} rows are more than {}", labels.len(), u32::MAX)));
        }
        for (name, column) in names.iter().zip(&columns) {
            if column.len() != labels.len() {
                return Err(refuse(format!("column `{name}` has {} values for {} labels", column.len(), labels.len())));
            }
        }
        if let Some(row) = labels.iter().position(|label| !(-LABEL_MAX..=LABEL_MAX).contains(label)) {
            return Err(refuse(format!("label {} of row {row} is not finite and at most 1e60", labels[row])));
        }
        Ok(Self { names, columns, labels, weights: None, groups: None })
    }

    /// Gives each row a weight: finite, at least 0, at most [`WEIGHT_MAX`], not all 0.
    ///
    /// # Errors
    /// [`mlops_core::Error::InvalidData`] when the length or a weight is wrong.
    pub fn with_weights(mut self, weights: Vec<f64>) -> Result<Self> {
        if weights.len() != self.rows() {
            return Err(refuse(format!("{} weights for {} rows", weights.len(), self.rows())));
        }
        if let Some(row) = weights.iter().position(|weight| !(0.0..=WEIGHT_MAX).contains(weight)) {
            return Err(refuse(format!("weight {} of row {row} is not between 0 and 1e30", weights[row])));
        }
        if weights.iter().all(|&weight| weight == 0.0) {
            return Err(refuse("all weights are 0".to_owned()));
        }
        self.weights = Some(weights);
        Ok(self)
    }

    /// Says which consecutive rows belong to one query: sizes of the queries in row order, each at least 1.
    ///
    /// # Errors
    /// [`mlops_core::Error::InvalidData`] when a query is empty or the sizes do not add up to the rows.
    pub fn with_groups(mut self, groups: Vec<u32>) -> Result<Self> {
        if let Some(query) = groups.iter().position(|&size| size == 0) {
            return Err(refuse(format!("query {query} has no rows")));
        }
        let sum: u64 = groups.iter().map(|&size| u64::from(size)).sum();
        if sum != self.rows() as u64 {
            return Err(refuse(format!("queries of {sum} rows in all for {} rows", self.rows())));
        }
        self.groups = Some(groups);
        Ok(self)
    }

    /// Number of rows, at least 1.
    pub fn rows(&self) -> usize {
        self.labels.len()
    }

    /// Names of the feature columns.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The feature columns.
    pub fn columns(&self) -> &[Vec<f64>] {
        &self.columns
    }

    /// The labels, one per row.
    pub fn labels(&self) -> &[f64] {
        &self.labels
    }

    /// The weights, one per row, where they were given.
    pub fn weights(&self) -> Option<&[f64]> {
        self.weights.as_deref()
    }

    /// The sizes of the queries, where they were given.
    pub fn groups(&self) -> Option<&[u32]> {
        self.groups.as_deref()
    }
}

pub(super) fn refuse(reason: String) -> Error {
    Error::invalid_data("training matrix", reason)
}
