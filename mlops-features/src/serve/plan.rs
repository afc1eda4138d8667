//! A service, compiled: what is read, what is computed of it, and which of that is returned.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::datatypes::{Field, Schema as ArrowSchema, SchemaRef};
use mlops_core::schema::{Role, Sensitivity};
use mlops_core::{Digest, Name};

use super::answer::repeat;
use super::resolve::Resolver;
use crate::define::ValueType;
use crate::definitions::{AnyView, ServiceVersion, service_fingerprint};
use crate::entity::Entity;
use crate::error::{Core, Error, Result};
use crate::key::Keys;
use crate::service::{FeatureService, ViewJoin};
use crate::stream::WindowStates;
use crate::transform::{Input, OnDemandView};
use crate::view::{FeatureView, annotate};
use crate::window::WindowView;

/// A feature service with its views looked up, its computed features in order and its columns named: all that can go wrong
/// before a request has not. Cloning is cheap.
///
/// Features that are only read by computed ones are read along and not returned.
#[derive(Clone)]
pub struct ServingPlan(Arc<Plan>);

#[derive(Clone)]
pub(super) struct Plan {
    pub(super) service: FeatureService,
    pub(super) reads: Vec<Read>,
    pub(super) joins: Vec<ViewJoin>,
    /// Distinct keys; several reads may share one.
    pub(super) keys: Vec<KeyColumns>,
    pub(super) steps: Vec<Step>,
    /// What the caller brings besides keys.
    pub(super) columns: Vec<CallerColumn>,
    /// All columns of the caller, keys first.
    callers: SchemaRef,
    pub(super) outputs: Vec<Origin>,
    /// The outputs are all columns that are read, in their order.
    pub(super) outputs_are_reads: bool,
    /// Per output, whose ages its values have: those of a read, or behind all of these those of a computed column.
    pub(super) ages_of: Vec<usize>,
    /// Columns that are read and computed, returned or not.
    pub(super) width: usize,
    pub(super) schema: SchemaRef,
    /// The strictest of the outputs.
    sensitivity: Sensitivity,
    fingerprint: Digest,
}

/// What is read of one view.
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub(super) join: ViewJoin,
    /// Position in [`Plan::keys`].
    pub(super) keys: usize,
    /// `i64::MAX` for ever.
    pub(super) ttl_us: i64,
    /// `i64::MAX` where nothing is promised.
    pub(super) freshness_us: i64,
    /// Per feature read.
    pub(super) defaults: Vec<Option<ArrayRef>>,
    /// The window view that its values are aggregates of, where that is known.
    windows: Option<WindowView>,
    /// The states that its values are read from, where it is a window view that a stream keeps.
    pub(super) live: Option<WindowStates>,
}

/// An entity, and the caller's columns with its key.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct KeyColumns {
    pub(super) entity: Entity,
    pub(super) columns: Vec<Name>,
}

/// A column of the caller that computed features read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct CallerColumn {
    pub(super) name: Name,
    pub(super) value_type: ValueType,
}

impl CallerColumn {
    pub(super) fn missing(&self) -> Error {
        Core::schema(self.name.as_str(), self.value_type.data_type(), "no such column").into()
    }
}

/// Features of one on-demand view, under one naming of the caller's columns.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) label: Name,
    pub(super) view: OnDemandView,
    /// Positions of the features that are computed.
    pub(super) wanted: Vec<usize>,
    /// Per input of the view; none where no wanted feature reads it.
    pub(super) inputs: Vec<Option<Origin>>,
}

impl Step {
    /// The wanted features, one row per instant. `source` gives the column of an input, and whether it has one value for
    /// all rows.
    pub(super) fn run<'a>(
        &self,
        source: impl Fn(Origin) -> (&'a ArrayRef, bool),
        instants: &ArrayRef,
    ) -> Result<Vec<ArrayRef>> {
        let rows = instants.len();
        let input = |(input, origin): (&Input, &Option<Origin>)| match origin {
            None => Ok(new_null_array(&input.value_type.data_type(), rows)),
            Some(origin) => match source(*origin) {
                (array, true) => repeat(array, rows),
                (array, false) => Ok(array.clone()),
            },
        };
        let inputs = self.view.inputs().iter().zip(&self.inputs).map(input).collect::<Result<Vec<_>>>()?;
        self.view.run(inputs, instants, &self.wanted)
    }
}

/// Where a column comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    /// Of a read, by position of read and column.
    Read(usize, usize),
    /// Of a step, by position of step and wanted feature.
    Step(usize, usize),
    /// Of the caller, by position in [`Plan::columns`].
    Caller(usize),
}

/// One returned column: its name, type and sensitivity, and where it comes from.
pub(super) struct Output {
    pub(super) name: String,
    pub(super) value_type: ValueType,
    pub(super) sensitivity: Sensitivity,
    pub(super) origin: Origin,
}

impl ServingPlan {
    /// Compiles `service`, whose views are among `views`.
    ///
    /// # Errors
    /// As [`FeatureService::joins`].
    pub fn compile(service: &FeatureService, views: &[FeatureView]) -> Result<Self> {
        Self::compile_with(service, views, &[])
    }

    /// Compiles `service`, whose views are among `views` and `on_demand`.
    ///
    /// A use of an on-demand view names the features that are returned; what those read is found by itself, through other
    /// on-demand views, too. The keys of such a use rename the columns that the caller must have.
    ///
    /// # Errors
    /// As [`FeatureService::joins`]; `Core(AlreadyExists)` when two views have one name, `Core(Schema)` for an input whose
    /// source is of another type, `Core(Invalid)` for on-demand views that lead back to themselves, that are chained more
    /// than 64 deep, or that make more than 4096 steps.
    pub fn compile_with(service: &FeatureService, views: &[FeatureView], on_demand: &[OnDemandView]) -> Result<Self> {
        let stored = |name: &Name| views.iter().find(|view| view.name() == name).map(AnyView::Stored);
        let computed = |name: &Name| on_demand.iter().find(|view| view.name() == name).map(AnyView::OnDemand);
        Self::compile_by(service, views, on_demand, |name| stored(name).or_else(|| computed(name)))
    }

    /// As [`compile_with`](Self::compile_with), where `find` knows more of the views than their rows tell: how values were
    /// aggregated. Window views that a stream keeps are live.
    pub(crate) fn compile_by<'a>(
        service: &FeatureService,
        views: &[FeatureView],
        on_demand: &[OnDemandView],
        find: impl Fn(&Name) -> Option<AnyView<'a>>,
    ) -> Result<Self> {
        let mut resolver = Resolver::new(views, on_demand)?;
        let outputs = resolver.service(service)?;
        let field = |output: &Output| {
            let field = Field::new(&output.name, output.value_type.data_type(), true);
            annotate(field, Role::Feature, output.sensitivity)
        };
        let fields = outputs.iter().map(field).collect::<Result<Vec<_>>>()?;
        let sensitivity = outputs.iter().map(|output| output.sensitivity).max().unwrap_or(Sensitivity::Public);
        let (opened, steps, columns) = resolver.finish();
        let mut keys: Vec<KeyColumns> = Vec::new();
        let reads = opened.into_iter().map(|join| {
            let windows = match find(join.view().name()) {
                Some(AnyView::Window(windows)) => Some(windows),
                _ => None,
            };
            Read::new(join, &mut keys, windows)
        });
        let reads = reads.collect::<Result<Vec<_>>>()?;
        let fingerprint = service_fingerprint(service, find)?;
        let width = reads.iter().map(|read| read.defaults.len()).sum::<usize>()
            + steps.iter().map(|step| step.wanted.len()).sum::<usize>();
        let outputs: Vec<Origin> = outputs.into_iter().map(|output| output.origin).collect();
        Ok(Self(Arc::new(Plan {
            width,
            service: service.clone(),
            outputs_are_reads: outputs.iter().copied().eq(columns_of(&reads)),
            ages_of: ages_of(&outputs, reads.len(), &steps),
            callers: callers(&keys, &columns),
            joins: reads.iter().map(|read| read.join.clone()).collect(),
            reads,
            keys,
            steps,
            columns,
            outputs,
            schema: Arc::new(ArrowSchema::new(fields)),
            sensitivity,
            fingerprint,
        })))
    }

    /// The same plan, with the features of `windows` read from the [states](WindowStates) that a stream keeps, at the instant
    /// of each request, instead of rows that were stored. A plan of
    /// [`Definitions`](crate::definitions::Definitions::serving_plan) is so by itself, and has the same fingerprint.
    ///
    /// A window moves on while nothing comes in: its values are those of the instant, not of the last event. A key of which no
    /// event came has empty windows: [`NotFound`](crate::Status::NotFound), with counts of 0 and nulls.
    ///
    /// # Errors
    /// `Core(NotFound)` for a window view that the service does not read, `Core(Schema)` when the service was compiled with
    /// another view of that name than its [`feature_view`](WindowView::feature_view).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use mlops_features::window::{Op, TimeWindow, WindowView};
    /// use mlops_features::{Entity, FeatureService, KeyType, ServingPlan, ValueType};
    ///
    /// let customer = Entity::builder("customer").key("customer_id", KeyType::Int64).build()?;
    /// let orders = WindowView::builder("orders", customer)
    ///     .column("amount", ValueType::Float64)
    ///     .aggregate("amount", Op::Sum, TimeWindow::exact(Duration::from_secs(3_600)))
    ///     .build()?;
    /// let service = FeatureService::builder("ranker").feature("orders:amount_sum_1h").build()?;
    /// let plan = ServingPlan::compile(&service, &[orders.feature_view().clone()])?.live(&[orders])?;
    /// # Ok::<(), mlops_features::Error>(())
    /// ```
    pub fn live(&self, windows: &[WindowView]) -> Result<Self> {
        let mut plan = Plan::clone(&self.0);
        for view in windows {
            let mut found = false;
            for read in plan.reads.iter_mut().filter(|read| read.join.view().name() == view.name()) {
                if read.join.view().fingerprint() != view.feature_view().fingerprint() {
                    let found = "another view of that name";
                    return Err(Core::schema(view.name().as_str(), "the features of the window view", found).into());
                }
                read.windows = Some(view.clone());
                read.live = Some(WindowStates::new(view)?);
                found = true;
            }
            if !found {
                let name = format!("{}` of service `{}", view.name(), plan.service.name());
                return Err(Core::not_found("window view", name).into());
            }
        }
        plan.fingerprint = service_fingerprint(&plan.service, |name| plan.view(name))?;
        Ok(Self(Arc::new(plan)))
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.0
    }

    /// The service.
    pub fn service(&self) -> &Name {
        self.0.service.name()
    }

    /// The service and the digest of what it gives: what a training set and a model are told by.
    pub fn version(&self) -> ServiceVersion {
        ServiceVersion { service: self.service().clone(), fingerprint: self.fingerprint() }
    }

    /// What is read of each view: the service's stored views in order, then those that only computed features read. A
    /// feature that only those read stands behind the ones that are returned.
    pub fn joins(&self) -> &[ViewJoin] {
        &self.0.joins
    }

    /// Per [join](Self::joins), the window view that it is read from live.
    pub(crate) fn windows(&self) -> impl Iterator<Item = Option<&WindowView>> {
        self.0.reads.iter().map(|read| read.live.as_ref().map(WindowStates::windows))
    }

    /// Whether the returned column at `position` is read from the states of a window view.
    pub(crate) fn is_live(&self, position: usize) -> bool {
        matches!(self.0.outputs.get(position), Some(Origin::Read(read, _)) if self.0.reads[*read].live.is_some())
    }

    /// Columns of a feature vector, annotated.
    pub fn schema(&self) -> &SchemaRef {
        &self.0.schema
    }

    /// Names of the returned columns with their views or aliases before them, `view__feature`; `None` where the service has them
    /// so already.
    #[cfg(feature = "server")]
    pub(crate) fn full_names(&self) -> Option<Vec<String>> {
        let plan = &self.0;
        let named = plan.outputs.iter().zip(plan.schema.fields()).map(|(origin, field)| {
            let label = match origin {
                Origin::Read(read, _) => plan.reads[*read].join.label(),
                Origin::Step(step, _) => &plan.steps[*step].label,
                Origin::Caller(_) => return field.name().clone(),
            };
            format!("{label}__{}", field.name())
        });
        (!plan.service.full_names()).then(|| named.collect())
    }

    /// Digest of all that shapes what the service gives; see [`ServiceVersion`](crate::definitions::ServiceVersion).
    pub fn fingerprint(&self) -> Digest {
        self.0.fingerprint
    }

    /// Columns that a caller must have to be looked up: the keys of all views, each once, in order of first use.
    pub fn key_columns(&self) -> Vec<&Name> {
        let mut seen = BTreeSet::new();
        self.0.keys.iter().flat_map(|keys| &keys.columns).filter(|name| seen.insert(*name)).collect()
    }

    /// Columns that computed features read from the caller, with their types. Keys may be among them.
    pub fn request_columns(&self) -> impl ExactSizeIterator<Item = (&Name, ValueType)> {
        self.0.columns.iter().map(|column| (&column.name, column.value_type))
    }

    /// All columns of the caller, keys first, each once, as the types that they are read as.
    pub(crate) fn caller_schema(&self) -> &SchemaRef {
        &self.0.callers
    }

    /// The keys of `entities`, one per distinct entity and naming of its columns.
    pub(crate) fn keys_of(&self, entities: &RecordBatch) -> Result<Vec<Keys>> {
        self.0.keys.iter().map(|keys| Keys::named(&keys.entity, &keys.columns, entities)).collect()
    }

    /// Whether a feature depends on the instant of the request beyond its age.
    pub fn uses_instant(&self) -> bool {
        let uses = |step: &Step| step.wanted.iter().any(|feature| step.view.features()[*feature].expr.uses_now());
        self.0.steps.iter().any(uses)
    }

    /// Checks that `reader` may see every column.
    ///
    /// # Errors
    /// `Core(Forbidden)`, naming the reader and the columns that are too sensitive.
    pub fn ensure_readable_by(&self, reader: &Reader) -> Result<()> {
        if self.0.sensitivity <= reader.clearance {
            return Ok(());
        }
        let schema = mlops_core::Schema::new(self.0.schema.clone())?;
        let hidden = schema.names().filter(|name| schema.sensitivity(name).is_ok_and(|s| s > reader.clearance));
        let hidden: Vec<String> = hidden.map(|name| format!("`{name}`")).collect();
        let what = format!("{} of service `{}`", hidden.join(", "), self.service());
        Err(Error::Core(Core::Forbidden { who: format!("`{}`", reader.name), action: "read", what }))
    }
}

impl Plan {
    /// A view that is read or computed.
    fn view(&self, name: &Name) -> Option<AnyView<'_>> {
        match self.reads.iter().find(|read| read.join.view().name() == name) {
            Some(Read { windows: Some(windows), .. }) => Some(AnyView::Window(windows)),
            Some(Read { join, .. }) => Some(AnyView::Stored(join.view())),
            None => self.steps.iter().map(|step| &step.view).find(|view| view.name() == name).map(AnyView::OnDemand),
        }
    }
}

/// The columns of the caller, each once.
fn callers(keys: &[KeyColumns], columns: &[CallerColumn]) -> SchemaRef {
    let keys = keys.iter().flat_map(|keys| keys.columns.iter().zip(keys.entity.keys()));
    let keys = keys.map(|(name, key)| (name, key.key_type.data_type()));
    let others = columns.iter().map(|column| (&column.name, column.value_type.data_type()));
    let mut seen = BTreeSet::new();
    let fresh = keys.chain(others).filter(|(name, _)| seen.insert(*name));
    Arc::new(ArrowSchema::new(fresh.map(|(name, of)| Field::new(name.as_str(), of, true)).collect::<Vec<_>>()))
}

/// All columns that are read, in order.
fn columns_of(reads: &[Read]) -> impl Iterator<Item = Origin> {
    let columns = |(at, read): (usize, &Read)| (0..read.defaults.len()).map(move |column| Origin::Read(at, column));
    reads.iter().enumerate().flat_map(columns)
}

/// Per output, the position of its ages among those of all reads and then of all computed columns.
fn ages_of(outputs: &[Origin], reads: usize, steps: &[Step]) -> Vec<usize> {
    let before = |step: usize| steps[..step].iter().map(|step| step.wanted.len()).sum::<usize>();
    let of = |origin: &Origin| match *origin {
        Origin::Read(read, _) => read,
        Origin::Step(step, column) => reads + before(step) + column,
        Origin::Caller(_) => unreachable!("columns of the caller are no outputs"),
    };
    outputs.iter().map(of).collect()
}

impl Read {
    fn new(join: ViewJoin, all: &mut Vec<KeyColumns>, windows: Option<&WindowView>) -> Result<Self> {
        let wanted = KeyColumns { entity: join.view().entity().clone(), columns: join.key_columns().to_vec() };
        let keys = all.iter().position(|keys| *keys == wanted).unwrap_or_else(|| {
            all.push(wanted);
            all.len() - 1
        });
        let micros = |time: Option<u64>| time.map_or(i64::MAX, |us| i64::try_from(us).unwrap_or(i64::MAX));
        let freshness = join.view().freshness().map(|promise| u64::try_from(promise.as_micros()).unwrap_or(u64::MAX));
        let ttl_us = micros(join.view().ttl_us());
        let defaults = join.features().map(crate::feature::Feature::default_array).collect::<Result<_>>()?;
        let live = windows.filter(|view| view.stream().is_some()).map(WindowStates::new).transpose()?;
        let windows = windows.cloned();
        Ok(Self { keys, ttl_us, freshness_us: micros(freshness), defaults, join, windows, live })
    }
}

impl fmt::Debug for ServingPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels: Vec<&Name> = self.0.joins.iter().map(ViewJoin::label).collect();
        let steps: Vec<&Name> = self.0.steps.iter().map(|step| &step.label).collect();
        f.debug_struct("ServingPlan")
            .field("service", self.service())
            .field("reads", &labels)
            .field("computes", &steps)
            .field("columns", &self.0.outputs.len())
            .finish()
    }
}

/// Who asks, and how sensitive a value they may see.
///
/// # Examples
/// ```
/// use mlops_core::schema::Sensitivity;
/// use mlops_features::{Entity, FeatureService, FeatureView, KeyType, Reader, ServingPlan, ValueType};
///
/// let customer = Entity::builder("customer").key("customer_id", KeyType::Int64).build()?;
/// let view = FeatureView::builder("person", customer).sensitive("age", ValueType::Int64, Sensitivity::Personal).build()?;
/// let service = FeatureService::builder("ranker").feature("person:age").build()?;
/// let plan = ServingPlan::compile(&service, &[view])?;
/// assert!(plan.ensure_readable_by(&Reader::new("ranking", Sensitivity::Personal)).is_ok());
/// let refused = plan.ensure_readable_by(&Reader::new("reporting", Sensitivity::Internal)).unwrap_err();
/// assert_eq!(refused.to_string(), "`reporting` may not read `age` of service `ranker`");
/// # Ok::<(), mlops_features::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reader {
    name: Cow<'static, str>,
    clearance: Sensitivity,
}

impl Reader {
    /// Somebody who may see values up to this sensitivity.
    pub fn new(name: impl Into<String>, clearance: Sensitivity) -> Self {
        Self { name: Cow::Owned(name.into()), clearance }
    }

    /// The host itself, which sees all but what is secret: that is read by a reader who is cleared for it.
    pub fn host() -> Self {
        Self { name: Cow::Borrowed("the host"), clearance: Sensitivity::Personal }
    }

    /// Who it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The most sensitive values that may be seen.
    pub fn clearance(&self) -> Sensitivity {
        self.clearance
    }
}
