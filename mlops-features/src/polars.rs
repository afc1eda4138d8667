//! Views whose history a closure on a polars plan makes.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use mlops_core::Dataset;
use mlops_core::interop::polars::LazyFrameSource;
use mlops_core::interop::polars::polars::prelude::{Expr, LazyFrame, col};

use crate::error::{Core, Result};
use crate::origin::BatchOrigin;
use crate::view::FeatureView;

type Work = dyn Fn(LazyFrame) -> LazyFrame + Send + Sync;

/// A view, and the closure on a [`LazyFrame`] that makes its history.
///
/// What the closure gives must have the view's columns: keys, event time, created time where the view has one, and features.
/// Others are left out, and columns of a type that holds the same values are cast, as for any history. Code has no digest: the
/// caller states its version, and changes it whenever the code or something that it captured changes; the view then says
/// [`BatchOrigin::Code`] with its own name and that version, so that a plan of [definitions](crate::definitions) sees the
/// change. Needs the feature `polars`.
///
/// # Examples
/// ```
/// use std::sync::Arc;
///
/// use mlops_core::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
/// use mlops_core::interop::polars::polars::prelude::{col, lit};
/// use mlops_core::Dataset;
/// use mlops_features::offline::{OfflineStore, ParquetStore};
/// use mlops_features::{BatchOrigin, Entity, FeatureView, KeyType, PolarsView, ValueType};
///
/// let customer = Entity::builder("customer").key("customer_id", KeyType::Int64).build()?;
/// let spend = FeatureView::builder("spend", customer).feature("thousands", ValueType::Float64).build()?;
/// let spend = PolarsView::new(spend, "1", |frame| {
///     frame.with_columns([(col("amount") / lit(1_000.0)).alias("thousands")])
/// })?;
/// assert_eq!(spend.view().batch(), Some(&BatchOrigin::code("spend", "1")?));
///
/// let times = TimestampMicrosecondArray::from(vec![1_000_000, 2_000_000]).with_timezone("UTC");
/// let payments = Dataset::from_batches([RecordBatch::try_from_iter([
///     ("customer_id", Arc::new(Int64Array::from(vec![7, 8])) as ArrayRef),
///     ("event_timestamp", Arc::new(times)),
///     ("amount", Arc::new(Float64Array::from(vec![500.0, 2_000.0]))),
/// ])?])?;
/// let folder = tempfile::tempdir()?;
/// let offline = ParquetStore::open(folder.path())?;
/// offline.append(spend.view(), &spend.history(&payments)?)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct PolarsView {
    view: FeatureView,
    work: Arc<Work>,
}

impl PolarsView {
    /// The history of `view` is what `work` makes; `version` stands for its code and for what it captured.
    ///
    /// # Errors
    /// `Core(Invalid)` when the version is empty, or the view says that its history is read from something else.
    pub fn new(
        view: FeatureView,
        version: impl Into<String>,
        work: impl Fn(LazyFrame) -> LazyFrame + Send + Sync + 'static,
    ) -> Result<Self> {
        let origin = BatchOrigin::code(view.name(), version)?;
        let view = match view.batch() {
            None => view.with_batch(origin)?,
            Some(told) if *told == origin => view,
            Some(other) => {
                let domain = "none, or the code of the view's name and this version";
                return Err(Core::invalid("batch origin of the view", other, domain).into());
            }
        };
        Ok(Self { view, work: Arc::new(work) })
    }

    /// The view, which says of which code its history is.
    pub fn view(&self) -> &FeatureView {
        &self.view
    }

    /// What the closure makes of `rows`, run anew at each scan; the rows that go in are read now and held.
    ///
    /// # Errors
    /// `Core(NotFound)` naming a column that the closure asks for or that the view needs and that is not there, `Core(Schema)`
    /// for one of another type, the first error of the scan of `rows`, `Core(External)` when polars refuses the plan.
    pub fn history(&self, rows: &Dataset) -> Result<Dataset> {
        self.checked(rows.map_lazy(|frame| self.plan(frame))?)
    }

    /// As [`history`](Self::history), of a plan that reads its rows itself, such as a scan of files that are larger than
    /// memory.
    ///
    /// # Errors
    /// As [`history`](Self::history).
    pub fn history_of(&self, frame: LazyFrame) -> Result<Dataset> {
        let source = LazyFrameSource::new(self.view.name().as_str(), self.plan(frame))?;
        let source = source.annotated_like(self.view.schema())?;
        self.checked(Dataset::from_source(Arc::new(source))?)
    }

    fn plan(&self, frame: LazyFrame) -> LazyFrame {
        let columns: Vec<Expr> = self.view.schema().names().map(col).collect();
        (self.work)(frame).select(columns)
    }

    /// `made` under the view's annotations, where its columns are of the view's types or hold the same values.
    fn checked(&self, made: Dataset) -> Result<Dataset> {
        self.view.conform(&RecordBatch::new_empty(made.schema().arrow().clone()))?;
        Ok(made.with_schema(made.schema().annotated_like(self.view.schema())?)?)
    }
}

impl fmt::Debug for PolarsView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolarsView")
            .field("view", &self.view)
            .field("batch", &self.view.batch())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
