//! Views whose features are expressions.

mod builder;

pub use self::builder::OnDemandViewBuilder;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{Field, Schema as ArrowSchema};
use mlops_core::expr::{Expr, Function, Program, Type};
use mlops_core::schema::Sensitivity;
use mlops_core::{Digest, EventTime, Name, Schema};
use serde::{Deserialize, Serialize, Serializer};

use super::{Input, InputSource};
use crate::about::about_accessors;
use crate::define::ValueType;
use crate::error::{Core, Error, Result};
use crate::places::Places;
use crate::view::FEATURES_MAX;

/// The column that stands for `now()` while a view is computed. No [`Name`] can be it.
const INSTANT: &str = "now()";

/// One feature of an [`OnDemandView`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DerivedFeature {
    /// Its name, which is the name of its column.
    pub name: Name,
    /// What it is, over the names of the inputs. `now()` is the instant of the request, or of the training row.
    #[serde(serialize_with = "as_text")]
    pub expr: Expr,
    /// Who may see its values, at the least: what it is made of can only make it stricter.
    #[serde(default)]
    pub sensitivity: Sensitivity,
}

fn as_text<S: Serializer>(expr: &Expr, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(expr)
}

/// Features that are computed when they are asked for, from those of other views and from what the request brings.
///
/// * Checked when it is built: every expression is typed against the inputs; then it cannot fail on a value. What has no
///   answer (a division by zero, an overflow, a null operand) is null, by the rules of [`mlops_core::expr`]; a NaN of an
///   input is computed on as IEEE 754 says.
/// * Types of results: `Bool`, `Int64`, `Float64`, `Utf8` or `Timestamp`.
/// * An input may be a feature of another on-demand view. Whoever puts views together refuses circles.
/// * A feature is at least as sensitive as each input that it reads.
///
/// Cloning is cheap.
///
/// # Examples
/// ```
/// use mlops_core::{EventTime, arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch}};
/// use mlops_core::arrow::datatypes::Float64Type;
/// use mlops_features::{OnDemandView, ValueType};
///
/// let view = OnDemandView::builder("bargain")
///     .input("usual", ValueType::Float64, "customer:mean_price_30d")
///     .input("price", ValueType::Float64, "offer:price")
///     .column("discount", ValueType::Float64)
///     .feature("ratio", "price * (1 - coalesce(discount, 0)) / usual")
///     .build()?;
///
/// let column = |value: f64| std::sync::Arc::new(Float64Array::from(vec![value])) as ArrayRef;
/// let row = [("usual", column(20.0)), ("price", column(10.0)), ("discount", column(0.5))];
/// let values = view.compute(&RecordBatch::try_from_iter(row)?, &[EventTime::EPOCH])?;
/// assert_eq!(values[0].as_primitive::<Float64Type>().value(0), 0.25);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "Form", into = "Form")]
pub struct OnDemandView(Arc<Checked>);

struct Checked {
    form: Form,
    /// The inputs, then the instant.
    schema: Schema,
    compiled: Vec<Compiled>,
    /// Of the features.
    places: Places,
    fingerprint: Digest,
}

/// One feature, ready to run.
struct Compiled {
    program: Program,
    value_type: ValueType,
    /// Positions of the inputs that it reads.
    reads: Vec<usize>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    name: Name,
    inputs: Vec<Input>,
    features: Vec<DerivedFeature>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    owner: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    description: String,
}

impl TryFrom<Form> for OnDemandView {
    type Error = Error;

    fn try_from(form: Form) -> Result<Self> {
        if form.features.is_empty() || form.features.len() > FEATURES_MAX {
            return Err(Core::invalid("features", form.features.len(), "1 to 65536").into());
        }
        if form.inputs.len() > FEATURES_MAX {
            return Err(Core::invalid("inputs", form.inputs.len(), "at most 65536").into());
        }
        once("input", &form.name, form.inputs.iter().map(|input| &input.name))?;
        once("feature", &form.name, form.features.iter().map(|feature| &feature.name))?;
        let mapped = |input: &&Input| matches!(input.from, InputSource::Column(_)) && !input.keys.is_empty();
        if let Some(column) = form.inputs.iter().find(mapped) {
            let what = format!("input `{}:{}`", form.name, column.name);
            return Err(Core::invalid_data(what, "a column of the caller has no keys to map").into());
        }
        let column = |input: &Input| Field::new(input.name.as_str(), input.value_type.data_type(), true);
        let instant = Field::new(INSTANT, EventTime::data_type(), false);
        let fields: Vec<Field> = form.inputs.iter().map(column).chain([instant]).collect();
        let schema = Schema::new(ArrowSchema::new(fields))?;
        let inputs = Places::new(form.inputs.len(), |at| form.inputs[at].name.as_str());
        let compiled = form.features.iter().map(|feature| Compiled::new(&form, &inputs, feature, &schema));
        let compiled = compiled.collect::<Result<Vec<_>>>()?;
        let places = Places::new(form.features.len(), |at| form.features[at].name.as_str());
        let fingerprint = Digest::of_json(&(&form.name, &form.inputs, &form.features))?;
        Ok(Self(Arc::new(Checked { form, schema, compiled, places, fingerprint })))
    }
}

/// Refuses a name that is there twice.
fn once<'a>(kind: &'static str, view: &Name, names: impl Iterator<Item = &'a Name>) -> Result<()> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(Core::AlreadyExists { kind, name: format!("{view}:{name}") }.into());
        }
    }
    Ok(())
}

impl Compiled {
    fn new(form: &Form, inputs: &Places, feature: &DerivedFeature, schema: &Schema) -> Result<Self> {
        let refuse = |error: Core| {
            let shown: String = feature.expr.to_string().chars().take(200).collect();
            Core::invalid_data(format!("feature `{}:{}`", form.name, feature.name), format!("{error}, in `{shown}`"))
        };
        // Checks the size, too, without which a tree must not be walked.
        let mut program = feature.expr.compile(schema).map_err(refuse)?;
        if feature.expr.columns().contains(INSTANT) {
            return Err(refuse(Core::not_found("column", INSTANT)).into());
        }
        if feature.expr.uses_now() {
            program = instant_as_column(&feature.expr).compile(schema).map_err(refuse)?;
        }
        let value_type = match program.output() {
            Type::Bool => ValueType::Bool,
            Type::Int => ValueType::Int64,
            Type::Float => ValueType::Float64,
            Type::Text => ValueType::Utf8,
            Type::Time => ValueType::Timestamp,
        };
        let read = |name: &str| inputs.find(name, |at| form.inputs[at].name.as_str());
        let reads = program.columns().filter_map(read).collect();
        Ok(Self { program, value_type, reads })
    }
}

/// `expr` with `now()` as a column, because every row of a training table has its own.
fn instant_as_column(expr: &Expr) -> Expr {
    match expr {
        Expr::Call { function: Function::Now, .. } => Expr::column(INSTANT),
        Expr::Call { function, args } => Expr::call(*function, args.iter().map(instant_as_column)),
        other => other.clone(),
    }
}

impl From<OnDemandView> for Form {
    fn from(view: OnDemandView) -> Self {
        view.0.form.clone()
    }
}

impl OnDemandView {
    /// Starts a view of this name.
    pub fn builder(name: impl Into<String>) -> OnDemandViewBuilder {
        OnDemandViewBuilder::new(name.into())
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.0.form.name
    }

    /// What its expressions read.
    pub fn inputs(&self) -> &[Input] {
        &self.0.form.inputs
    }

    /// Its features, in the order declared.
    pub fn features(&self) -> &[DerivedFeature] {
        &self.0.form.features
    }

    /// Position of a feature.
    ///
    /// # Errors
    /// `Core(NotFound)` when the view has no such feature.
    pub fn feature_index(&self, feature: &str) -> Result<usize> {
        let found = self.0.places.find(feature, |at| self.features()[at].name.as_str());
        Ok(found.ok_or_else(|| Core::not_found("feature", format!("{}:{feature}", self.name())))?)
    }

    /// Type of the values of the feature at `index`; `None` beyond the last.
    pub fn value_type(&self, index: usize) -> Option<ValueType> {
        self.0.compiled.get(index).map(|feature| feature.value_type)
    }

    /// Positions of the inputs that the feature at `index` reads; empty beyond the last.
    pub fn reads(&self, index: usize) -> &[usize] {
        self.0.compiled.get(index).map_or(&[], |feature| feature.reads.as_slice())
    }

    about_accessors!(form);

    /// Digest of all that shapes its values: not of tags, owner and description.
    pub fn fingerprint(&self) -> Digest {
        self.0.fingerprint
    }

    /// One column per feature, as long as `inputs`.
    ///
    /// * `inputs`: a column for every input, by its name and of its type.
    /// * `instants`: what `now()` is: one instant per row, or one for all of them.
    ///
    /// # Errors
    /// `Core(Schema)` for a missing column, one of another type, or another number of instants; `Core(Invalid)` when the
    /// texts that are built exceed a gibibyte. Never for a value.
    pub fn compute(&self, inputs: &RecordBatch, instants: &[EventTime]) -> Result<Vec<ArrayRef>> {
        let columns = self.inputs().iter().map(|input| {
            let missing = || Core::schema(input.name.as_str(), input.value_type.data_type(), "no such column");
            Ok(inputs.column_by_name(input.name.as_str()).ok_or_else(missing)?.clone())
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let instants = instants_of(instants, inputs.num_rows())?;
        self.run(columns, &instants, &(0..self.features().len()).collect::<Vec<_>>())
    }

    /// The `wanted` features over `columns`, one per input in order, with an instant per row.
    pub(crate) fn run(
        &self,
        mut columns: Vec<ArrayRef>,
        instants: &ArrayRef,
        wanted: &[usize],
    ) -> Result<Vec<ArrayRef>> {
        columns.push(instants.clone());
        let options = RecordBatchOptions::new().with_row_count(Some(instants.len()));
        let batch = RecordBatch::try_new_with_options(self.0.schema.arrow().clone(), columns, &options)?;
        let one = |index: &usize| {
            let feature = &self.0.compiled[*index];
            // `now()` was made a column, so the clock given here is never looked at.
            let values = feature.program.evaluate(&batch, EventTime::EPOCH)?;
            let wanted = feature.value_type.data_type();
            Ok(if *values.data_type() == wanted { values } else { cast(&values, &wanted)? })
        };
        wanted.iter().map(one).collect()
    }
}

/// One instant per row.
pub(crate) fn instants_of(instants: &[EventTime], rows: usize) -> Result<ArrayRef> {
    let micros = match instants {
        [one] => vec![one.as_micros(); rows],
        all if all.len() == rows => all.iter().map(|at| at.as_micros()).collect(),
        other => {
            let found = format!("{} for {rows} rows", other.len());
            return Err(Core::schema(INSTANT, "one instant per row, or one for all", found).into());
        }
    };
    Ok(Arc::new(arrow::array::TimestampMicrosecondArray::from(micros).with_timezone("UTC")))
}

impl PartialEq for OnDemandView {
    fn eq(&self, other: &Self) -> bool {
        self.0.form == other.0.form
    }
}

impl fmt::Debug for OnDemandView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("OnDemandView");
        shown.field("name", self.name()).field("inputs", &self.inputs().len());
        shown.field("features", &self.features().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
