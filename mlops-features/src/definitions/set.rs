//! Definitions that fit together.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use mlops_core::Name;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::definition::{Definition, Kind};
use super::fingerprint::{AnyView, CHAIN_MAX, ServiceVersion};
use super::form::Form;
use crate::entity::Entity;
use crate::error::{Core, Error, Result};
use crate::origin::BatchOrigin;
use crate::serve::ServingPlan;
use crate::service::{FeatureService, ViewUse};
use crate::transform::{DerivedView, InputSource, OnDemandView};
use crate::version::family_and_version;
use crate::view::FeatureView;
use crate::window::{Events, WindowView};

/// Most definitions in one set.
pub const DEFINITIONS_MAX: usize = 100_000;

/// Entities, views of all kinds and services that fit together: every reference leads somewhere, to the right type, and
/// never in a circle.
///
/// In code they are put together by a [builder](Self::builder), in files they are one document in which views name their
/// entity. Views of all kinds share their names. A name may end with a version, see
/// [`family_and_version`]; versions lie side by side. Cloning is cheap.
///
/// # Examples
/// ```
/// use mlops_features::definitions::Definitions;
///
/// let definitions = Definitions::from_json(r#"{
///     "format": 1,
///     "entities": [{"name": "customer", "keys": [{"name": "customer_id", "type": "int64"}]}],
///     "views": [{
///         "name": "clicks", "entity": "customer", "event_time": "at", "ttl_us": 604800000000,
///         "features": [{"name": "ctr", "type": "float64"}, {"name": "clicks_7d", "type": "int64"}],
///         "batch": {"kind": "catalog", "name": "clicks.daily"}, "owner": "growth"
///     }],
///     "services": [{"name": "ranker", "views": [{"view": "clicks", "features": ["ctr"]}]}]
/// }"#)?;
/// assert_eq!(definitions.view("clicks")?.entity().name().as_str(), "customer");
/// assert_eq!(definitions.serving_plan("ranker")?.schema().fields().len(), 1);
///
/// // What does not fit is refused by name.
/// let text = definitions.to_json()?.replace("\"ctr\"\n", "\"crt\"\n");
/// let error = Definitions::from_json(&text).unwrap_err().to_string();
/// assert!(error.contains("service `ranker`") && error.contains("clicks:crt"), "{error}");
/// # Ok::<(), mlops_features::Error>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "Form", into = "Form")]
pub struct Definitions(pub(super) Arc<Checked>);

#[derive(Default)]
pub(super) struct Checked {
    entities: BTreeMap<Name, Definition>,
    /// Of all kinds.
    pub(super) views: BTreeMap<Name, Definition>,
    services: BTreeMap<Name, Definition>,
    documents: BTreeMap<(Kind, Name), Value>,
    pub(super) plans: BTreeMap<Name, ServingPlan>,
}

impl Definitions {
    /// Starts a set.
    pub fn builder() -> DefinitionsBuilder {
        DefinitionsBuilder::default()
    }

    /// All of them: entities, views of all kinds, services, each by name.
    pub fn all(&self) -> impl Iterator<Item = &Definition> {
        self.0.entities.values().chain(self.0.views.values()).chain(self.0.services.values())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.documents.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The definition of this kind and name.
    ///
    /// # Errors
    /// `Core(NotFound)` when there is none.
    pub fn get(&self, kind: Kind, name: &str) -> Result<&Definition> {
        let of = match kind {
            Kind::Entity => &self.0.entities,
            Kind::Service => &self.0.services,
            Kind::View | Kind::WindowView | Kind::OnDemandView => &self.0.views,
        };
        let found = of.get(name).filter(|definition| definition.kind() == kind);
        Ok(found.ok_or_else(|| Core::not_found(kind.word(), name))?)
    }

    /// The entity of this name.
    ///
    /// # Errors
    /// `Core(NotFound)` when there is none.
    pub fn entity(&self, name: &str) -> Result<&Entity> {
        match self.get(Kind::Entity, name)? {
            Definition::Entity(entity) => Ok(entity),
            other => Err(other.is_no(Kind::Entity)),
        }
    }

    /// The stored view of this name.
    ///
    /// # Errors
    /// `Core(NotFound)` when there is none.
    pub fn view(&self, name: &str) -> Result<&FeatureView> {
        match self.get(Kind::View, name)? {
            Definition::View(view) => Ok(view),
            other => Err(other.is_no(Kind::View)),
        }
    }

    /// The view of aggregates of this name.
    ///
    /// # Errors
    /// `Core(NotFound)` when there is none.
    pub fn window_view(&self, name: &str) -> Result<&WindowView> {
        match self.get(Kind::WindowView, name)? {
            Definition::WindowView(view) => Ok(view),
            other => Err(other.is_no(Kind::WindowView)),
        }
    }

    /// The on-demand view of this name.
    ///
    /// # Errors
    /// `Core(NotFound)` when there is none.
    pub fn on_demand_view(&self, name: &str) -> Result<&OnDemandView> {
        match self.get(Kind::OnDemandView, name)? {
            Definition::OnDemandView(view) => Ok(view),
            other => Err(other.is_no(Kind::OnDemandView)),
        }
    }

    /// The service of this name.
    ///
    /// # Errors
    /// `Core(NotFound)` when there is none.
    pub fn service(&self, name: &str) -> Result<&FeatureService> {
        match self.get(Kind::Service, name)? {
            Definition::Service(service) => Ok(service),
            other => Err(other.is_no(Kind::Service)),
        }
    }

    /// The view of this name that is derived from others, ready to be [extended](DerivedView::extend).
    ///
    /// # Errors
    /// `Core(NotFound)` when there is no such view, or it is not derived.
    pub fn derived_view(&self, name: &str) -> Result<DerivedView> {
        self.0.derive(self.view(name)?)
    }

    /// The service, compiled: what a [`FeatureServer`](crate::FeatureServer) answers by.
    ///
    /// Features of window views that have a [stream](WindowView::stream) are read [live](ServingPlan::live), from the states
    /// that an ingest [of the same definitions](Self::stream_ingest) keeps; those of other window views are rows that the
    /// host wrote. Training rows of live features are made of [events](Self::window_events).
    ///
    /// # Errors
    /// `Core(NotFound)` when there is no such service.
    pub fn serving_plan(&self, service: &str) -> Result<ServingPlan> {
        Ok(self.plan(service)?.clone())
    }

    /// What the service gives, as a digest to keep beside training sets and models.
    ///
    /// # Errors
    /// `Core(NotFound)` when there is no such service.
    pub fn service_version(&self, service: &str) -> Result<ServiceVersion> {
        Ok(self.plan(service)?.version())
    }

    pub(super) fn plan(&self, service: &str) -> Result<&ServingPlan> {
        let found = self.0.plans.get(service);
        Ok(found.ok_or_else(|| Core::not_found(Kind::Service.word(), service))?)
    }

    /// Views whose rows are stored, those of aggregates too: what an as-of join and a store are told of.
    pub fn stored_views(&self) -> Vec<FeatureView> {
        self.0.views.values().filter_map(|definition| stored_view(definition).cloned()).collect()
    }

    /// All versions of a family, the first one first.
    ///
    /// # Errors
    /// `Core(NotFound)` when there is none.
    pub fn versions(&self, kind: Kind, family: &str) -> Result<Vec<&Definition>> {
        let of_family = |definition: &&Definition| definition.kind() == kind && definition.version().0 == family;
        let mut versions: Vec<&Definition> = self.all().filter(of_family).collect();
        if versions.is_empty() {
            return Err(Core::not_found(kind.word(), family).into());
        }
        versions.sort_by_key(|definition| definition.version().1);
        Ok(versions)
    }

    /// The view of this name, whatever its kind.
    pub(super) fn any_view(&self, name: &Name) -> Option<&Definition> {
        self.0.views.get(name)
    }

    /// Documents by kind and name, in which views name their entity.
    pub(super) fn documents(&self) -> &BTreeMap<(Kind, Name), Value> {
        &self.0.documents
    }
}

impl Default for Definitions {
    fn default() -> Self {
        Self(Arc::new(Checked::default()))
    }
}

impl PartialEq for Definitions {
    fn eq(&self, other: &Self) -> bool {
        self.0.documents == other.0.documents
    }
}

impl fmt::Debug for Definitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.all().map(|definition| (definition.kind(), definition.name()));
        f.debug_list().entries(names).finish()
    }
}

impl Definition {
    fn is_no(&self, kind: Kind) -> Error {
        Core::not_found(kind.word(), self.name().as_str()).into()
    }
}

pub(super) fn stored_view(definition: &Definition) -> Option<&FeatureView> {
    match definition {
        Definition::View(view) => Some(view),
        Definition::WindowView(view) => Some(view.feature_view()),
        _ => None,
    }
}

/// Collects definitions.
#[derive(Clone, Debug, Default)]
pub struct DefinitionsBuilder {
    all: Vec<Definition>,
}

impl DefinitionsBuilder {
    /// Adds one. The entity of a view comes along.
    pub fn with(mut self, definition: impl Into<Definition>) -> Self {
        self.all.push(definition.into());
        self
    }

    /// Checks that all fits together.
    ///
    /// # Errors
    /// Around each error stands the definition that it is about, as `Core(Stage)`:
    /// * `Core(AlreadyExists)` when two views, entities or services have one name or are the same version of a family, and
    ///   when a view is about another entity than the one of that name;
    /// * `Core(NotFound)` for an entity, view, feature or key that is not there;
    /// * `Core(Schema)` for an input of another type than its feature, and for events of other columns than their view;
    /// * `Core(Invalid)` for views that lead back to themselves, and for more than 100000 definitions;
    /// * [`Error::Collision`] when a service would give two columns of one name.
    pub fn build(self) -> Result<Definitions> {
        if self.all.len() > DEFINITIONS_MAX {
            return Err(Core::invalid("definitions", self.all.len(), "at most 100000").into());
        }
        let mut checked = Checked::default();
        let (entities, others): (Vec<_>, Vec<_>) =
            self.all.into_iter().partition(|definition| definition.kind() == Kind::Entity);
        for definition in entities.into_iter().chain(others) {
            checked.add(definition)?;
        }
        checked.check_versions()?;
        let order = checked.order()?;
        for name in order {
            let Some(view) = checked.views.get(&name) else { continue };
            checked.check_made(view).map_err(|e| in_definition(view, e))?;
        }
        let mut plans = BTreeMap::new();
        for definition in checked.services.values() {
            let Definition::Service(service) = definition else { continue };
            let made = checked.compile(service).map_err(|e| in_definition(definition, e))?;
            plans.insert(service.name().clone(), made);
        }
        checked.plans = plans;
        Ok(Definitions(Arc::new(checked)))
    }
}

/// A failure about one definition.
fn in_definition(definition: &Definition, error: Error) -> Error {
    Core::stage(definition.to_string(), error).into()
}

impl Checked {
    fn add(&mut self, definition: Definition) -> Result<()> {
        if let (Some(entity), false) = (definition.entity(), definition.kind() == Kind::Entity) {
            let declared = match self.entities.get(entity.name()) {
                None => {
                    self.insert(Definition::Entity(entity.clone()))?;
                    entity
                }
                Some(Definition::Entity(declared)) => declared,
                Some(_) => entity,
            };
            if declared.keys() != entity.keys() {
                let taken = Core::AlreadyExists { kind: "entity with other keys", name: entity.name().to_string() };
                return Err(in_definition(&definition, taken.into()));
            }
        }
        self.insert(definition)
    }

    fn insert(&mut self, definition: Definition) -> Result<()> {
        let (kind, name) = (definition.kind(), definition.name().clone());
        let document = definition.document()?;
        let (of, word) = match kind {
            Kind::Entity => (&mut self.entities, kind.word()),
            Kind::Service => (&mut self.services, kind.word()),
            Kind::View | Kind::WindowView | Kind::OnDemandView => (&mut self.views, Kind::View.word()),
        };
        if of.contains_key(&name) {
            return Err(Core::AlreadyExists { kind: word, name: name.to_string() }.into());
        }
        of.insert(name.clone(), definition);
        self.documents.insert((kind, name), document);
        Ok(())
    }

    /// `clicks` and `clicks.v1` would both be the first version.
    fn check_versions(&self) -> Result<()> {
        for of in [&self.views, &self.services] {
            let mut seen = BTreeSet::new();
            for definition in of.values() {
                let (family, version) = family_and_version(definition.name());
                if !seen.insert((family, version)) {
                    let name = format!("version {version} of {family}");
                    return Err(in_definition(definition, Core::AlreadyExists { kind: "definition", name }.into()));
                }
            }
        }
        Ok(())
    }

    /// The views that are made of others, each behind those that it is made of.
    fn order(&self) -> Result<Vec<Name>> {
        let is_made = |name: &Name| self.views.get(name).is_some_and(|definition| !made_of(definition).is_empty());
        let mut open: BTreeMap<&Name, BTreeSet<&Name>> = BTreeMap::new();
        for (name, definition) in self.views.iter().filter(|(name, _)| is_made(name)) {
            open.insert(name, made_of(definition).into_iter().filter(|read| is_made(read)).collect());
        }
        let mut order: Vec<Name> = Vec::with_capacity(open.len());
        for _ in 0..CHAIN_MAX {
            let ready: BTreeSet<&Name> =
                open.iter().filter(|(_, reads)| reads.is_empty()).map(|(name, _)| *name).collect();
            if ready.is_empty() {
                break;
            }
            open.retain(|_, reads| !reads.is_empty());
            for reads in open.values_mut() {
                reads.retain(|read| !ready.contains(read));
            }
            order.extend(ready.into_iter().cloned());
        }
        let Some(name) = open.keys().next() else { return Ok(order) };
        let (found, domain) = match circle(&open) {
            Some(circle) => (circle, "free of circles; a view must not lead back to itself"),
            None => (format!("more than 64 links up to `{name}`"), "at most 64 long"),
        };
        Err(Core::invalid("chain of views", found, domain).into())
    }

    /// Checks a view that is made of others.
    fn check_made(&self, definition: &Definition) -> Result<()> {
        match definition {
            Definition::View(view) => self.derive(view).map(drop),
            Definition::WindowView(view) => self.check_events(view),
            other => {
                let alone = ViewUse::all(other.name().as_str())?;
                let alone = FeatureService::builder(other.name().as_str()).using(alone).full_names(true).build()?;
                self.compile(&alone).map(drop)
            }
        }
    }

    /// Checks that the rows of the view that has its events are events of `view`.
    fn check_events(&self, view: &WindowView) -> Result<()> {
        let Some(history) = self.events_view(view)? else { return Ok(()) };
        if history.entity().name() != view.entity().name() {
            let found = format!("{} of `{}`", history.entity().name(), history.name());
            return Err(Core::invalid("entity of the events", found, "that of the window view").into());
        }
        // No row has all columns and types, too.
        Events::read(view, &RecordBatch::new_empty(history.schema().arrow().clone())).map(drop)
    }

    /// The stored view whose history has the events of `view`, if there is one.
    pub(super) fn events_view(&self, view: &WindowView) -> Result<Option<&FeatureView>> {
        let Some(BatchOrigin::History { view: name }) = view.batch() else { return Ok(None) };
        match self.views.get(name) {
            Some(Definition::View(history)) => Ok(Some(history)),
            _ => Err(Core::not_found(Kind::View.word(), name.as_str()).into()),
        }
    }

    fn derive<'a>(&'a self, view: &'a FeatureView) -> Result<DerivedView> {
        let Some(BatchOrigin::Derived { driver, views }) = view.batch() else {
            return Err(Core::not_found("derived view", view.name().as_str()).into());
        };
        let (stored, computed) = self.reached(views.iter().chain([driver]).collect());
        DerivedView::new(view.clone(), driver.as_str(), &stored, &computed)
    }

    /// The stored and the on-demand views that are read where these are.
    fn reached<'a>(&'a self, mut open: Vec<&'a Name>) -> (Vec<FeatureView>, Vec<OnDemandView>) {
        let mut stored = BTreeMap::new();
        let mut computed = BTreeMap::new();
        while let Some(name) = open.pop() {
            let Some((name, definition)) = self.views.get_key_value(name) else { continue };
            if let Definition::OnDemandView(view) = definition {
                if computed.insert(name, view.clone()).is_none() {
                    open.extend(made_of(definition));
                }
            } else if let Some(view) = stored_view(definition) {
                stored.insert(name, view.clone());
            }
        }
        (stored.into_values().collect(), computed.into_values().collect())
    }

    fn compile<'a>(&'a self, service: &'a FeatureService) -> Result<ServingPlan> {
        let (stored, computed) = self.reached(service.views().iter().map(ViewUse::view).collect());
        ServingPlan::compile_by(service, &stored, &computed, |name| self.any_view(name))
    }

    fn any_view(&self, name: &Name) -> Option<AnyView<'_>> {
        match self.views.get(name)? {
            Definition::View(view) => Some(AnyView::Stored(view)),
            Definition::WindowView(view) => Some(AnyView::Window(view)),
            Definition::OnDemandView(view) => Some(AnyView::OnDemand(view)),
            Definition::Entity(_) | Definition::Service(_) => None,
        }
    }
}

/// The views that a view of any kind is made of; none for one whose rows come from elsewhere.
pub(super) fn made_of(definition: &Definition) -> Vec<&Name> {
    match definition {
        Definition::OnDemandView(view) => {
            let read = view.inputs().iter().filter_map(|input| match &input.from {
                InputSource::Feature(reference) => Some(&reference.view),
                InputSource::Column(_) => None,
            });
            read.collect()
        }
        Definition::View(view) => match view.batch() {
            Some(BatchOrigin::Derived { driver, views }) => views.iter().chain([driver]).collect(),
            _ => Vec::new(),
        },
        Definition::WindowView(view) => match view.batch() {
            Some(BatchOrigin::History { view }) => vec![view],
            _ => Vec::new(),
        },
        Definition::Entity(_) | Definition::Service(_) => Vec::new(),
    }
}

/// One way around among views that were not put in order, if there is one.
fn circle(open: &BTreeMap<&Name, BTreeSet<&Name>>) -> Option<String> {
    let mut path: Vec<&Name> = open.keys().take(1).copied().collect();
    let mut places: BTreeMap<&Name, usize> = path.iter().map(|name| (*name, 0)).collect();
    // Each of them reads another one that was not put in order either, but for those at the bottom of a long chain.
    while let Some(next) = open.get(*path.last()?).and_then(|reads| reads.first()).copied() {
        path.push(next);
        if let Some(start) = places.insert(next, path.len() - 1) {
            let names: Vec<&str> = path[start..].iter().map(|name| name.as_str()).take(12).collect();
            return Some(names.join(" → "));
        }
    }
    None
}
