//! Which columns of which rows a training looks at.

use mlops_core::Dataset;
use mlops_core::arrow::array::{ArrayRef, RecordBatch};
use mlops_core::arrow::row::{RowConverter, SortField};
use mlops_core::interop::floats;
use mlops_core::model::Signature;
use mlops_core::schema::Role;

use crate::{Error, Result};

/// Rows to learn from, with the part that each column plays; rows to judge by, where there are any.
///
/// # Examples
/// ```
/// use std::sync::Arc;
///
/// use mlops_core::Dataset;
/// use mlops_core::arrow::array::{Float64Array, RecordBatch};
/// use mlops_registry::train::TrainData;
///
/// let column = |values: Vec<f64>| Arc::new(Float64Array::from(values)) as _;
/// let rows = RecordBatch::try_from_iter([("tenure", column(vec![1.0, 2.0])), ("churned", column(vec![1.0, 0.0]))])?;
/// let data = TrainData::builder(Dataset::from_batches([rows])?).features(["tenure"]).label("churned").build()?;
/// assert_eq!(data.features(), ["tenure"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct TrainData {
    rows: Dataset,
    valid: Option<Dataset>,
    columns: Columns,
}

#[derive(Clone, Debug, Default)]
struct Columns {
    features: Vec<String>,
    label: String,
    weight: Option<String>,
    group: Option<String>,
}

/// Settings of a [`TrainData`], checked by [`build`](Self::build).
#[derive(Clone, Debug)]
pub struct TrainDataBuilder {
    rows: Dataset,
    valid: Option<Dataset>,
    features: Option<Vec<String>>,
    label: Option<String>,
    weight: Option<String>,
    group: Option<String>,
}

impl TrainDataBuilder {
    /// The feature columns, in the order of the model. Default: the columns with [`Role::Feature`].
    pub fn features(mut self, features: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.features = Some(features.into_iter().map(Into::into).collect());
        self
    }

    /// The label column. Default: the one with [`Role::Label`].
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// The weight column. Default: the one with [`Role::Weight`], if there is one.
    pub fn weight(mut self, weight: impl Into<String>) -> Self {
        self.weight = Some(weight.into());
        self
    }

    /// The column whose equal, adjacent values make one query of a ranking. Default: none.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Rows to judge by, with the same columns. Default: none.
    pub fn valid(mut self, valid: Dataset) -> Self {
        self.valid = Some(valid);
        self
    }

    /// Checks that the columns exist on both sides.
    ///
    /// # Errors
    /// [`NotFound`](mlops_core::Error::NotFound) for a missing column, [`Schema`](mlops_core::Error::Schema) when there is
    /// no label or a validation column has another type, [`Invalid`](mlops_core::Error::Invalid) without features or when
    /// the label is among them.
    pub fn build(self) -> Result<TrainData> {
        let schema = self.rows.schema();
        let features =
            self.features.unwrap_or_else(|| schema.with(Role::Feature).into_iter().map(str::to_owned).collect());
        let label = self.label.map_or_else(|| schema.single(Role::Label).map(str::to_owned), Ok)?;
        let weight = self.weight.or_else(|| schema.with(Role::Weight).first().map(|name| (*name).to_owned()));
        if features.is_empty() {
            return Err(Error::invalid("features", "none", "at least one column"));
        }
        if features.contains(&label) {
            return Err(Error::invalid("features", format!("`{label}`"), "columns other than the label"));
        }
        let columns = Columns { features, label, weight, group: self.group };
        let wanted = schema.project(&columns.names())?;
        if let Some(valid) = &self.valid {
            valid.schema().ensure_provides(&wanted)?;
        }
        Ok(TrainData { rows: self.rows, valid: self.valid, columns })
    }
}

impl Columns {
    fn names(&self) -> Vec<&str> {
        let named = self.features.iter().chain([&self.label]).chain(&self.weight).chain(&self.group);
        named.map(String::as_str).collect()
    }
}

/// One side of a [`TrainData`] in memory.
pub(crate) struct Matrix {
    /// One vector per feature.
    pub(crate) features: Vec<Vec<f64>>,
    pub(crate) labels: Vec<f64>,
    pub(crate) weights: Option<Vec<f64>>,
    /// Rows per query, in order.
    pub(crate) groups: Option<Vec<u32>>,
}

impl TrainData {
    /// Starts from rows to learn from.
    pub fn builder(rows: Dataset) -> TrainDataBuilder {
        TrainDataBuilder { rows, valid: None, features: None, label: None, weight: None, group: None }
    }

    /// The feature columns, in order.
    pub fn features(&self) -> &[String] {
        &self.columns.features
    }

    /// The label column.
    pub fn label(&self) -> &str {
        &self.columns.label
    }

    /// The rows to learn from.
    pub fn rows(&self) -> &Dataset {
        &self.rows
    }

    /// The rows to judge by.
    pub fn valid(&self) -> Option<&Dataset> {
        self.valid.as_ref()
    }

    /// Signature of a model that is trained on this.
    ///
    /// # Errors
    /// [`Schema`](mlops_core::Error::Schema) naming a feature of a type that no model takes.
    pub fn signature(&self, output: &str) -> Result<Signature> {
        let mut signature = Signature::new(self.rows.schema(), &self.columns.features, output)?;
        // What is missing in one request may have been present in every row of training.
        signature.inputs.iter_mut().for_each(|input| input.nullable = true);
        Ok(signature)
    }

    pub(crate) fn train_matrix(&self) -> Result<Matrix> {
        self.columns.matrix(&self.rows)
    }

    pub(crate) fn valid_matrix(&self) -> Result<Option<Matrix>> {
        self.valid.as_ref().map(|rows| self.columns.matrix(rows)).transpose()
    }
}

impl Columns {
    fn matrix(&self, rows: &Dataset) -> Result<Matrix> {
        let mut matrix = Matrix {
            features: vec![Vec::new(); self.features.len()],
            labels: Vec::new(),
            weights: self.weight.as_ref().map(|_| Vec::new()),
            groups: None,
        };
        let mut groups = self.group.as_ref().map(|name| Groups::new(name));
        let request = mlops_core::source::ScanRequest::all().columns(self.names());
        for batch in rows.scan(&request)? {
            let batch = batch?;
            for (name, values) in self.features.iter().zip(&mut matrix.features) {
                values.extend_from_slice(&floats(name, column(&batch, name)?)?);
            }
            matrix.labels.extend_from_slice(&floats(&self.label, column(&batch, &self.label)?)?);
            if let (Some(name), Some(weights)) = (&self.weight, &mut matrix.weights) {
                weights.extend_from_slice(&floats(name, column(&batch, name)?)?);
            }
            if let Some(groups) = &mut groups {
                groups.add(column(&batch, groups.name)?)?;
            }
        }
        if let Some(row) = matrix.labels.iter().position(|label| !label.is_finite()) {
            return Err(Error::invalid_data(
                format!("label `{}` of row {row}", self.label),
                "it is null, NaN or infinite",
            ));
        }
        let bad_weight = |weight: &f64| !(weight.is_finite() && *weight >= 0.0);
        if let (Some(name), Some(weights)) = (&self.weight, &matrix.weights)
            && let Some(row) = weights.iter().position(bad_weight)
        {
            let reason = "it is null, NaN, infinite or below 0";
            return Err(Error::invalid_data(format!("weight `{name}` of row {row}"), reason));
        }
        matrix.groups = groups.map(|groups| groups.sizes);
        Ok(matrix)
    }
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    batch.column_by_name(name).ok_or_else(|| Error::not_found("column", name))
}

/// Counts runs of equal adjacent values.
struct Groups<'a> {
    name: &'a str,
    sizes: Vec<u32>,
    last: Option<Vec<u8>>,
    ended: std::collections::HashSet<u64, foldhash::fast::FixedState>,
}

impl<'a> Groups<'a> {
    fn new(name: &'a str) -> Self {
        Self { name, sizes: Vec::new(), last: None, ended: std::collections::HashSet::default() }
    }

    fn add(&mut self, array: &ArrayRef) -> Result<()> {
        let converter = RowConverter::new(vec![SortField::new(array.data_type().clone())])?;
        for row in &converter.convert_columns(std::slice::from_ref(array))? {
            let value: &[u8] = row.as_ref();
            if self.last.as_deref() == Some(value) {
                if let Some(size) = self.sizes.last_mut() {
                    *size += 1;
                }
                continue;
            }
            if !self.ended.insert(std::hash::BuildHasher::hash_one(self.ended.hasher(), value)) {
                let reason = "a group comes up again after another one; sort the rows by it";
                return Err(Error::invalid_data(format!("group column `{}`", self.name), reason));
            }
            self.last = Some(value.to_vec());
            self.sizes.push(1);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mlops_core::arrow::array::{Float64Array, Int64Array, StringArray};

    use super::*;

    fn rows(groups: Vec<i64>, labels: Vec<Option<f64>>) -> Dataset {
        let x: Vec<f64> = groups.iter().map(|g| *g as f64).collect();
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("query", Arc::new(Int64Array::from(groups.clone())) as ArrayRef, false),
            ("x", Arc::new(Float64Array::from(x)), true),
            ("text", Arc::new(StringArray::from(vec!["a"; groups.len()])), true),
            ("y", Arc::new(Float64Array::from(labels)), true),
        ]);
        Dataset::from_batches([batch.unwrap()]).unwrap()
    }

    #[test]
    fn adjacent_rows_of_one_group_make_a_query() {
        let data = rows(vec![7, 7, 3, 9, 9, 9], vec![Some(0.0); 6]);
        let data = TrainData::builder(data).features(["x"]).label("y").group("query").build().unwrap();
        assert_eq!(data.train_matrix().unwrap().groups, Some(vec![2, 1, 3]));
    }

    #[test]
    fn a_group_in_two_places_a_null_label_and_a_text_feature_are_named() {
        let torn =
            TrainData::builder(rows(vec![1, 2, 1], vec![Some(0.0); 3])).features(["x"]).label("y").group("query");
        let error = torn.build().unwrap().train_matrix().err().unwrap().to_string();
        assert!(error.contains("`query`"), "{error}");
        let null =
            TrainData::builder(rows(vec![1, 2], vec![Some(0.0), None])).features(["x"]).label("y").build().unwrap();
        let error = null.train_matrix().err().unwrap().to_string();
        assert!(error.contains("`y` of row 1"), "{error}");
        let text = TrainData::builder(rows(vec![1], vec![Some(0.0)])).features(["text"]).label("y").build().unwrap();
        let error = text.train_matrix().err().unwrap().to_string();
        assert!(error.contains("`text`"), "{error}");
    }

    #[test]
    fn columns_are_checked_before_training() {
        let data = || rows(vec![1], vec![Some(0.0)]);
        assert!(TrainData::builder(data()).features(["x"]).build().is_err(), "no label");
        assert!(TrainData::builder(data()).label("y").build().is_err(), "no features");
        assert!(
            TrainData::builder(data()).features(["x", "y"]).label("y").build().is_err(),
            "the label among the features"
        );
        assert!(TrainData::builder(data()).features(["z"]).label("y").build().is_err(), "a column that is not there");
    }
}
