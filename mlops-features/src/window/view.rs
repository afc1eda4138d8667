//! Features that are aggregates of events: their definition.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mlops_core::schema::Sensitivity;
use mlops_core::{Digest, Name};
use serde::{Deserialize, Serialize};

use super::op::Op;
use super::plan::Plan;
use super::span::TimeWindow;
use super::value::Kind;
use crate::about::{About, about_accessors, about_setters};
use crate::define::ValueType;
use crate::entity::Entity;
use crate::error::{Core, Error, Result};
use crate::origin::{BatchOrigin, StreamOrigin};
use crate::places::Places;
use crate::view::{FEATURES_MAX, FeatureView};

/// Raw events that a state may hold where nothing was said.
const EVENTS_DEFAULT: u32 = 10_000;

/// One column of events that is aggregated.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventColumn {
    /// Its name.
    pub name: Name,
    /// Type of its values: `bool`, `int64`, `float64` or `utf8`. Narrower numbers are read as these.
    #[serde(rename = "type")]
    pub value_type: ValueType,
    /// Who may see its values; features that are made of it inherit this.
    #[serde(default)]
    pub sensitivity: Sensitivity,
}

/// One feature: an op over a window of a column.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aggregate {
    /// Name of the feature; by default `<column>_<op>_<length>`, `<op>_<length>` for whole events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// The column; `None` for whole events, which can be counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<Name>,
    /// What is computed.
    pub op: Op,
    /// Over which stretch of time.
    pub window: TimeWindow,
}

impl Aggregate {
    /// Its name, or the default one.
    fn feature(&self) -> Result<Name> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        let column = self.column.as_ref().map(|column| format!("{column}_")).unwrap_or_default();
        Ok(Name::new(format!("{column}{}{}", self.op.word(), self.window.suffix()))?)
    }
}

/// Features of one entity that are aggregates of its events over windows of time.
///
/// Events have the entity's key columns, an event time, the columns that are aggregated and, where deliveries may repeat, an
/// id. An event is the same as another when key, event time and id are equal; it counts once. Events with a null key are
/// nobody's.
///
/// An event is known when it happens: there is no created time of events. A stream leaves out what comes later than the
/// [lateness](Self::lateness); history has it, and a [`window_join`](super::window_join) counts it, so a training row of before
/// it came knows more than was served then. An [audit](crate::skew::audit_with) tells such values as differing.
///
/// The same definition gives [`window_join`](super::window_join) over history and [`WindowState`](super::WindowState) over a
/// stream, with the same values. Cloning is cheap.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use mlops_features::window::{Op, TimeWindow, WindowView};
/// use mlops_features::{Entity, KeyType, ValueType};
///
/// let days = |days: u64| Duration::from_secs(days * 86_400);
/// let customer = Entity::builder("customer").key("customer_id", KeyType::Int64).build()?;
/// let orders = WindowView::builder("orders", customer)
///     .column("amount", ValueType::Float64)
///     .column("shop", ValueType::Utf8)
///     .event_id("order_id")
///     .aggregates("amount", [Op::Sum, Op::Mean], [TimeWindow::exact(days(1)), TimeWindow::sawtooth(days(30))])
///     .aggregate("shop", Op::LastNDistinct { n: 3 }, TimeWindow::lifetime())
///     .count(TimeWindow::exact(days(1)))
///     .build()?;
/// let names: Vec<_> = orders.feature_view().features().iter().map(|feature| feature.name.to_string()).collect();
/// assert_eq!(
///     names,
///     ["amount_sum_1d", "amount_mean_1d", "amount_sum_30d", "amount_mean_30d", "shop_last3_distinct", "count_1d"]
/// );
/// # Ok::<(), mlops_features::Error>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "WindowForm", into = "WindowForm")]
pub struct WindowView(Arc<Checked>);

struct Checked {
    form: WindowForm,
    output: FeatureView,
    plan: Plan,
    fingerprint: Digest,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WindowForm {
    name: Name,
    entity: Entity,
    columns: Vec<EventColumn>,
    aggregates: Vec<Aggregate>,
    event_time: Name,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event_id: Option<Name>,
    /// Microseconds.
    #[serde(default)]
    lateness_us: u64,
    #[serde(default = "events_default")]
    events_max: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    batch: Option<BatchOrigin>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stream: Option<StreamOrigin>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    owner: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    description: String,
}

fn events_default() -> u32 {
    EVENTS_DEFAULT
}

impl WindowForm {
    fn check_columns(&self) -> Result<()> {
        let keys = self.entity.keys().iter().map(|key| &key.name);
        let told = std::iter::once(&self.event_time).chain(&self.event_id);
        let mut seen = BTreeSet::new();
        let mut all = keys.chain(told).chain(self.columns.iter().map(|column| &column.name));
        if let Some(twice) = all.find(|name| !seen.insert(*name)) {
            return Err(Core::AlreadyExists { kind: "column", name: format!("{}:{twice}", self.name) }.into());
        }
        for column in &self.columns {
            if Kind::of(column.value_type).is_none() {
                let found = format!("{} of `{}`", column.value_type, column.name);
                return Err(Core::invalid("type of an event column", found, "bool, int64, float64 or utf8").into());
            }
        }
        Ok(())
    }

    /// Per aggregate, the position of its column.
    fn columns_of_aggregates(&self) -> Result<Vec<Option<usize>>> {
        let name = |at: usize| self.columns[at].name.as_str();
        let places = Places::new(self.columns.len(), name);
        let of = |aggregate: &Aggregate| {
            let Some(column) = &aggregate.column else { return Ok(None) };
            let found = places.find(column.as_str(), name);
            Ok(Some(found.ok_or_else(|| Core::not_found("event column", format!("{}:{column}", self.name)))?))
        };
        self.aggregates.iter().map(of).collect()
    }

    fn output(&self, columns: &[Option<usize>]) -> Result<FeatureView> {
        let mut view = FeatureView::builder(self.name.as_str(), self.entity.clone())
            .owner(self.owner.as_str())
            .description(self.description.as_str());
        for (key, value) in &self.tags {
            view = view.tag(key.as_str(), value.as_str());
        }
        for (aggregate, at) in self.aggregates.iter().zip(columns) {
            aggregate.op.check()?;
            aggregate.window.check()?;
            let name = aggregate.feature()?;
            let column = at.map(|at| &self.columns[at]);
            let kind = column.and_then(|column| Kind::of(column.value_type));
            let Some(value_type) = aggregate.op.output(kind) else {
                let of = column.map_or("whole events".to_owned(), |column| format!("{} values", column.value_type));
                let value = format!("{} of {of} for `{name}`", aggregate.op.word());
                return Err(Core::invalid("op", value, "one that the column has").into());
            };
            let sensitivity = column.map(|column| column.sensitivity).unwrap_or_default();
            view = view.sensitive(name.as_str(), value_type, sensitivity);
        }
        view.build()
    }
}

impl TryFrom<WindowForm> for WindowView {
    type Error = Error;

    fn try_from(mut form: WindowForm) -> Result<Self> {
        form.batch = form.batch.map(BatchOrigin::checked).transpose()?;
        if let Some(origin @ BatchOrigin::Derived { .. }) = &form.batch {
            return Err(Core::invalid(
                "batch origin of events",
                origin,
                "a file, a data set, code or the history of a view",
            )
            .into());
        }
        if form.aggregates.is_empty() || form.aggregates.len() > FEATURES_MAX {
            return Err(Core::invalid("aggregates", form.aggregates.len(), "1 to 65536").into());
        }
        if form.events_max == 0 {
            return Err(Core::invalid("events_max", 0, "at least 1").into());
        }
        form.check_columns()?;
        let columns = form.columns_of_aggregates()?;
        let output = form.output(&columns)?;
        let kinds = form.columns.iter().filter_map(|column| Kind::of(column.value_type)).collect();
        let parts = form.aggregates.iter().zip(columns).map(|(of, column)| (column, of.op.clone(), of.window));
        let plan = Plan::new(kinds, parts.collect());
        let told = (&form.name, &form.entity, &form.columns, &form.aggregates, &form.event_time, &form.event_id);
        let fingerprint = Digest::of_json(&told)?;
        Ok(Self(Arc::new(Checked { form, output, plan, fingerprint })))
    }
}

impl From<WindowView> for WindowForm {
    fn from(view: WindowView) -> Self {
        view.0.form.clone()
    }
}

impl WindowView {
    /// Starts a view of `entity`.
    pub fn builder(name: impl Into<String>, entity: Entity) -> WindowViewBuilder {
        WindowViewBuilder {
            name: name.into(),
            entity,
            columns: Vec::new(),
            aggregates: Vec::new(),
            event_time: "event_timestamp".to_owned(),
            event_id: None,
            lateness: Duration::ZERO,
            events_max: EVENTS_DEFAULT,
            batch: None,
            stream: None,
            about: About::default(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.0.form.name
    }

    /// Whose events are aggregated.
    pub fn entity(&self) -> &Entity {
        &self.0.form.entity
    }

    /// The columns of events that are aggregated, in the order declared.
    pub fn columns(&self) -> &[EventColumn] {
        &self.0.form.columns
    }

    /// One per feature, in the order declared.
    pub fn aggregates(&self) -> &[Aggregate] {
        &self.0.form.aggregates
    }

    /// Column that says when an event happened.
    pub fn event_time(&self) -> &str {
        self.0.form.event_time.as_str()
    }

    /// Column that tells events at one instant apart, if there is one.
    pub fn event_id(&self) -> Option<&str> {
        self.0.form.event_id.as_ref().map(Name::as_str)
    }

    /// How late an event of a stream may come and still count.
    pub fn lateness(&self) -> Duration {
        Duration::from_micros(self.0.form.lateness_us)
    }

    /// Most raw events, and ids of events, that the state of one key may hold.
    pub fn events_max(&self) -> usize {
        self.0.form.events_max as usize
    }

    /// Where the history of its events is read from, if a definition says it.
    pub fn batch(&self) -> Option<&BatchOrigin> {
        self.0.form.batch.as_ref()
    }

    /// Where events come from as they happen, if they do.
    pub fn stream(&self) -> Option<&StreamOrigin> {
        self.0.form.stream.as_ref()
    }

    about_accessors!(form);

    /// The view that its values are rows of: offline as columns of a training set, online as rows of a store.
    ///
    /// It has the same name, one feature per aggregate, and no ttl: a row says at its event time what was computed then.
    pub fn feature_view(&self) -> &FeatureView {
        &self.0.output
    }

    /// Digest of all that shapes its values: not of lateness, bounds, tags, owner and description.
    pub fn fingerprint(&self) -> Digest {
        self.0.fingerprint
    }

    pub(crate) fn lateness_us(&self) -> i64 {
        i64::try_from(self.0.form.lateness_us).unwrap_or(i64::MAX)
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.0.plan
    }
}

impl PartialEq for WindowView {
    fn eq(&self, other: &Self) -> bool {
        self.0.form == other.0.form
    }
}

impl fmt::Debug for WindowView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("WindowView");
        shown.field("name", self.name()).field("entity", self.entity().name());
        shown.field("aggregates", &self.aggregates().len()).finish_non_exhaustive()
    }
}

/// Collects the settings of a [`WindowView`].
#[derive(Clone, Debug)]
pub struct WindowViewBuilder {
    name: String,
    entity: Entity,
    columns: Vec<(String, ValueType, Sensitivity)>,
    aggregates: Vec<(Option<String>, Option<String>, Op, TimeWindow)>,
    event_time: String,
    event_id: Option<String>,
    lateness: Duration,
    events_max: u32,
    batch: Option<BatchOrigin>,
    stream: Option<StreamOrigin>,
    about: About,
}

impl WindowViewBuilder {
    /// Adds a column of events of sensitivity `Internal`: `Bool`, `Int64`, `Float64` or `Utf8`.
    pub fn column(self, name: impl Into<String>, value_type: ValueType) -> Self {
        self.sensitive(name, value_type, Sensitivity::default())
    }

    /// Adds a column of events that not everyone may see.
    pub fn sensitive(mut self, name: impl Into<String>, value_type: ValueType, sensitivity: Sensitivity) -> Self {
        self.columns.push((name.into(), value_type, sensitivity));
        self
    }

    /// Adds a feature under its default name.
    pub fn aggregate(mut self, column: impl Into<String>, op: Op, window: TimeWindow) -> Self {
        self.aggregates.push((None, Some(column.into()), op, window));
        self
    }

    /// Adds a feature under the name `name`.
    pub fn named(mut self, name: impl Into<String>, column: impl Into<String>, op: Op, window: TimeWindow) -> Self {
        self.aggregates.push((Some(name.into()), Some(column.into()), op, window));
        self
    }

    /// Adds a feature for each op over each window: all ops of the first window, then of the next.
    pub fn aggregates(
        mut self,
        column: impl Into<String>,
        ops: impl IntoIterator<Item = Op>,
        windows: impl IntoIterator<Item = TimeWindow>,
    ) -> Self {
        let (column, ops) = (column.into(), ops.into_iter().collect::<Vec<_>>());
        for window in windows {
            self.aggregates.extend(ops.iter().map(|op| (None, Some(column.clone()), op.clone(), window)));
        }
        self
    }

    /// Adds the number of events in `window`, as `count_<length>`.
    pub fn count(mut self, window: TimeWindow) -> Self {
        self.aggregates.push((None, None, Op::Count, window));
        self
    }

    /// Column that says when an event happened. Default `event_timestamp`.
    pub fn event_time(mut self, column: impl Into<String>) -> Self {
        self.event_time = column.into();
        self
    }

    /// Column, integer or text, that tells events at one instant apart: of those with equal key, event time and id only
    /// the first counts. Default none: every row is an event.
    pub fn event_id(mut self, column: impl Into<String>) -> Self {
        self.event_id = Some(column.into());
        self
    }

    /// How late an event of a stream may come and still count. Default 0: not after the state has moved past it.
    pub fn lateness(mut self, lateness: Duration) -> Self {
        self.lateness = lateness;
        self
    }

    /// Most raw events, and ids of events, that the state of one key may hold. Default 10000.
    pub fn events_max(mut self, events: u32) -> Self {
        self.events_max = events;
        self
    }

    /// Where the history of events is read from. Default: the host brings it.
    pub fn batch(mut self, origin: BatchOrigin) -> Self {
        self.batch = Some(origin);
        self
    }

    /// Where events come from as they happen. Default nowhere.
    pub fn stream(mut self, origin: StreamOrigin) -> Self {
        self.stream = Some(origin);
        self
    }

    about_setters!();

    /// Checks the settings.
    ///
    /// # Errors
    /// `Core(Invalid)` for a bad name, a column of a type that is not aggregated, an op that its column does not have or whose
    /// parameters are outside of their domains, a window that is none, or no or more than 65536 aggregates;
    /// `Core(NotFound)` for an aggregate of a column that was not declared; `Core(AlreadyExists)` when two columns or two
    /// features have one name.
    pub fn build(self) -> Result<WindowView> {
        let column = |(name, value_type, sensitivity): (String, _, _)| {
            Ok(EventColumn { name: Name::new(name)?, value_type, sensitivity })
        };
        let aggregate = |(name, column, op, window): (Option<String>, Option<String>, Op, TimeWindow)| {
            let name = name.map(Name::new).transpose()?;
            Ok(Aggregate { name, column: column.map(Name::new).transpose()?, op, window })
        };
        WindowForm {
            name: Name::new(self.name)?,
            entity: self.entity,
            columns: self.columns.into_iter().map(column).collect::<Result<_>>()?,
            aggregates: self.aggregates.into_iter().map(aggregate).collect::<Result<_>>()?,
            event_time: Name::new(self.event_time)?,
            event_id: self.event_id.map(Name::new).transpose()?,
            lateness_us: u64::try_from(self.lateness.as_micros()).unwrap_or(u64::MAX),
            events_max: self.events_max,
            batch: self.batch,
            stream: self.stream,
            tags: self.about.tags,
            owner: self.about.owner,
            description: self.about.description,
        }
        .try_into()
    }
}

#[cfg(test)]
mod tests;
