//! Stored views that are computed from the history of others.

use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, new_null_array};
use mlops_core::{Dataset, Name};
use serde::{Deserialize, Serialize};

use super::OnDemandView;
use crate::columns::cast_exactly;
use crate::error::{Core, Result};
use crate::offline::{AsOfOptions, HistoryRequest, OfflineStore, Watermark};
use crate::serve::ServingPlan;
use crate::service::{FeatureService, ViewUse};
use crate::view::FeatureView;

/// A stored view whose history is computed from that of others, by the expressions of an on-demand view.
///
/// Each row of the *driver*, one of the stored views, makes one row: its key, its event and created time, and the computed
/// features as of its event time, for which the other views are joined as [`OfflineStore::as_of`] joins them. So the view
/// says what its expressions gave whenever the driver changed; a change of another view alone makes no row.
///
/// # Examples
/// ```
/// use mlops_features::{DerivedView, Entity, FeatureView, KeyType, OnDemandView, ValueType};
///
/// let customer = Entity::builder("customer").key("customer_id", KeyType::Int64).build()?;
/// let spent = FeatureView::builder("spent", customer.clone())
///     .feature("sum_30d", ValueType::Float64)
///     .feature("orders_30d", ValueType::Int64)
///     .build()?;
/// let basket = OnDemandView::builder("basket")
///     .input("sum", ValueType::Float64, "spent:sum_30d")
///     .input("orders", ValueType::Int64, "spent:orders_30d")
///     .feature("mean_basket", "sum / orders")
///     .build()?;
/// let target = FeatureView::builder("basket_size", customer).feature("mean_basket", ValueType::Float64).build()?;
/// let derived = DerivedView::new(target, "spent", &[spent], &[basket])?;
/// assert_eq!(derived.driver().name().as_str(), "spent");
/// # Ok::<(), mlops_features::Error>(())
/// ```
#[derive(Clone)]
pub struct DerivedView {
    target: FeatureView,
    driver: FeatureView,
    plan: ServingPlan,
}

/// What [`DerivedView::extend`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Derived {
    /// Rows that were added to the derived view.
    pub rows: u64,
    /// Position in the driver's history after the last row that was read: where the next call goes on.
    pub end: Option<Watermark>,
}

impl DerivedView {
    /// The view `target`, whose features are those of the same names of the on-demand views, computed whenever `driver`
    /// has a row. `views` are the stored views that are read, the driver among them.
    ///
    /// # Errors
    /// `Core(NotFound)` when the driver, or a feature of the target, is nowhere; `Core(Invalid)` when two on-demand views
    /// have a feature of that name, or the target has another entity than the driver; `Core(Schema)` when a feature has
    /// another type, a column of the caller is none of the driver's keys, or the target is less sensitive than what it is
    /// made of; as [`ServingPlan::compile_with`].
    pub fn new(target: FeatureView, driver: &str, views: &[FeatureView], on_demand: &[OnDemandView]) -> Result<Self> {
        let found = views.iter().find(|view| view.name().as_str() == driver);
        let driver = found.ok_or_else(|| Core::not_found("view", driver))?.clone();
        if driver.entity() != target.entity() {
            return Err(Core::invalid("entity of a derived view", target.entity().name(), "that of its driver").into());
        }
        let mut uses: Vec<(&Name, Vec<&str>)> = Vec::new();
        for feature in target.features() {
            let view = source_of(&target, &feature.name, on_demand)?;
            match uses.iter_mut().find(|(name, _)| *name == view.name()) {
                Some((_, features)) => features.push(feature.name.as_str()),
                None => uses.push((view.name(), vec![feature.name.as_str()])),
            }
        }
        let mut service = FeatureService::builder(target.name().as_str());
        for (view, features) in uses {
            service = service.using(ViewUse::of(view.as_str(), features)?);
        }
        let plan = ServingPlan::compile_with(&service.build()?, views, on_demand)?;
        let derived = Self { target, driver, plan };
        derived.check()?;
        Ok(derived)
    }

    fn check(&self) -> Result<()> {
        let keys: Vec<&Name> = self.driver.entity().keys().iter().map(|key| &key.name).collect();
        let asked = self.plan.key_columns().into_iter().chain(self.plan.request_columns().map(|(name, _)| name));
        if let Some(other) = asked.into_iter().find(|name| !keys.contains(name)) {
            let expected = format!("a key of `{}`", self.driver.entity().name());
            return Err(Core::schema(other.as_str(), expected, "a column that only a request brings").into());
        }
        let made = mlops_core::Schema::new(self.plan.schema().clone())?;
        for feature in self.target.features() {
            let column = format!("{}:{}", self.target.name(), feature.name);
            let (of, sensitivity) = (made.field(feature.name.as_str())?, made.sensitivity(feature.name.as_str())?);
            if *of.data_type() != feature.value_type.data_type() {
                return Err(Core::schema(column, feature.value_type.data_type(), of.data_type()).into());
            }
            if feature.sensitivity < sensitivity {
                let (expected, found) = (format!("{sensitivity:?} at the least"), format!("{:?}", feature.sensitivity));
                return Err(Core::schema(column, expected, found).into());
            }
        }
        Ok(())
    }

    /// The stored view.
    pub fn target(&self) -> &FeatureView {
        &self.target
    }

    /// The view whose rows make rows of it.
    pub fn driver(&self) -> &FeatureView {
        &self.driver
    }

    /// Appends to the target's history a row for each row of the driver that came in after `after`, in chunks of about
    /// `chunk_rows` rows: each is one append.
    ///
    /// A driver's row that arrives late makes a row then; rows that were made before stay as they are. Whoever keeps
    /// [`Derived::end`] and gives it to the next call computes each row once; after a crash in between, rows of the last
    /// chunks may be there twice, with the same values, which changes no join.
    ///
    /// # Errors
    /// As [`OfflineStore::scan`], [`OfflineStore::as_of`] and [`OfflineStore::append`]. Chunks before the failure stay.
    pub fn extend(&self, offline: &dyn OfflineStore, after: Option<Watermark>, chunk_rows: usize) -> Result<Derived> {
        let request = HistoryRequest::all().features([]);
        let request = after.map_or(request.clone(), |after| request.after(after));
        let mut done = Derived { rows: 0, end: after };
        let mut waiting: Vec<RecordBatch> = Vec::new();
        let mut rows = 0;
        for batch in offline.scan(&self.driver, &request)? {
            let batch = batch?;
            rows += batch.rows.num_rows();
            done.end = Some(batch.end);
            waiting.push(batch.rows);
            if rows >= chunk_rows.max(1) {
                done.rows += self.append(offline, &std::mem::take(&mut waiting))?;
                rows = 0;
            }
        }
        done.rows += self.append(offline, &waiting)?;
        Ok(done)
    }

    fn append(&self, offline: &dyn OfflineStore, batches: &[RecordBatch]) -> Result<u64> {
        let Some(first) = batches.first() else { return Ok(0) };
        let spine = arrow::compute::concat_batches(&first.schema(), batches)?;
        if spine.num_rows() == 0 {
            return Ok(0);
        }
        let options = AsOfOptions::new().event_time(self.driver.event_time());
        let computed = self.plan.training_set(offline, &Dataset::from_batches([spine])?, &options)?;
        let rows = self.as_target(&computed.dataset.to_batch()?)?;
        Ok(offline.append(&self.target, &Dataset::from_batches([rows])?)?.rows)
    }

    /// The rows in the columns of the target, whose times may have other names.
    fn as_target(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let fields = self.target.schema().arrow().fields();
        let column = |name: &str| {
            let source = match name {
                name if name == self.target.event_time() => Some(self.driver.event_time()),
                name if Some(name) == self.target.created() => self.driver.created(),
                name => Some(name),
            };
            source.and_then(|source| rows.column_by_name(source)).cloned()
        };
        let columns = fields.iter().map(|field| match column(field.name()) {
            Some(found) => cast_exactly(&found, field.data_type(), field.name()),
            None => Ok(new_null_array(field.data_type(), rows.num_rows())),
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        Ok(RecordBatch::try_new(Arc::clone(self.target.schema().arrow()), columns)?)
    }
}

/// The one on-demand view that has the feature `name`.
fn source_of<'a>(target: &FeatureView, name: &Name, on_demand: &'a [OnDemandView]) -> Result<&'a OnDemandView> {
    let mut having = on_demand.iter().filter(|view| view.feature_index(name.as_str()).is_ok());
    let first =
        having.next().ok_or_else(|| Core::not_found("computed feature", format!("{}:{name}", target.name())))?;
    match having.next() {
        None => Ok(first),
        Some(second) => {
            let both = format!("`{name}` of `{}` and `{}`", first.name(), second.name());
            Err(Core::invalid("feature of a derived view", both, "computed by one view only").into())
        }
    }
}

impl fmt::Debug for DerivedView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DerivedView")
            .field("target", &self.target)
            .field("driver", self.driver.name())
            .finish_non_exhaustive()
    }
}
