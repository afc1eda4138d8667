//! What one model is fed with: a set of features from several views.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mlops_core::{Digest, Name};
use serde::{Deserialize, Serialize};

use crate::about::{About, about_accessors, about_setters};
use crate::define::FeatureRef;
use crate::definitions::{AnyView, service_fingerprint};
use crate::error::{Core, Error, Result};
use crate::feature::Feature;
use crate::view::FeatureView;

/// Some features of one view, under one mapping of its keys.
///
/// Names are checked when a [`FeatureService`] or a [`ViewJoin`] is made of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewUse {
    view: Name,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alias: Option<Name>,
    /// Empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    features: Vec<Name>,
    /// From key column to column of the caller.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    keys: BTreeMap<Name, Name>,
}

impl ViewUse {
    /// All features of `view`, keys under their own names.
    ///
    /// # Errors
    /// `Core(Invalid)` for a bad name.
    pub fn all(view: &str) -> Result<Self> {
        Ok(Self { view: Name::new(view)?, alias: None, features: Vec::new(), keys: BTreeMap::new() })
    }

    /// These features of `view`, in this order, keys under their own names.
    ///
    /// # Errors
    /// `Core(Invalid)` for a bad name.
    pub fn of<'a>(view: &str, features: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let features = features.into_iter().map(Name::new).collect::<Result<_, _>>()?;
        Ok(Self { features, ..Self::all(view)? })
    }

    /// Called `alias` instead of the view's name, so that one view can be used twice.
    ///
    /// # Errors
    /// `Core(Invalid)` for a bad name.
    pub fn alias(mut self, alias: &str) -> Result<Self> {
        self.alias = Some(Name::new(alias)?);
        Ok(self)
    }

    /// The caller has the key column `key` under the name `column`.
    ///
    /// # Errors
    /// `Core(Invalid)` for a bad name.
    pub fn key(mut self, key: &str, column: &str) -> Result<Self> {
        self.keys.insert(Name::new(key)?, Name::new(column)?);
        Ok(self)
    }

    /// The alias, or the view's name.
    pub fn label(&self) -> &Name {
        self.alias.as_ref().unwrap_or(&self.view)
    }

    /// The view.
    pub fn view(&self) -> &Name {
        &self.view
    }

    /// The features that are selected, in order; empty for all.
    pub fn features(&self) -> &[Name] {
        &self.features
    }

    /// From key column to column of the caller, where the two have different names.
    pub fn keys(&self) -> &BTreeMap<Name, Name> {
        &self.keys
    }
}

/// A [`ViewUse`] with its view at hand: what offline joins and online reads run on.
#[derive(Clone, Debug)]
pub struct ViewJoin {
    view: FeatureView,
    label: Name,
    features: Arc<[usize]>,
    keys: Arc<[Name]>,
}

impl ViewJoin {
    /// All features of `view`, keys under their own names.
    pub fn new(view: &FeatureView) -> Self {
        Self {
            view: view.clone(),
            label: view.name().clone(),
            features: (0..view.features().len()).collect(),
            keys: view.entity().keys().iter().map(|key| key.name.clone()).collect(),
        }
    }

    /// What `used` selects of `view`.
    ///
    /// # Errors
    /// `Core(NotFound)` for a feature or key that the view does not have, `Core(AlreadyExists)` for a feature that is selected
    /// twice, `Core(Invalid)` when `used` is about another view.
    pub fn of(view: &FeatureView, used: &ViewUse) -> Result<Self> {
        if used.view != *view.name() {
            return Err(Core::invalid("view", view.name(), "the view that is used").into());
        }
        let entity = view.entity();
        if let Some(unknown) = used.keys.keys().find(|key| !entity.keys().iter().any(|k| k.name == **key)) {
            return Err(Core::not_found("key", format!("{}:{unknown}", entity.name())).into());
        }
        let whole = Self::new(view);
        let features = match used.features.as_slice() {
            [] => whole.features,
            named => named.iter().map(|name| view.feature_index(name.as_str())).collect::<Result<_>>()?,
        };
        let mut seen = BTreeSet::new();
        if let Some(twice) = features.iter().find(|feature| !seen.insert(**feature)) {
            let name = format!("{}:{}", used.label(), view.features()[*twice].name);
            return Err(Core::AlreadyExists { kind: "feature", name }.into());
        }
        let keys = whole.keys.iter().map(|key| used.keys.get(key).unwrap_or(key).clone()).collect();
        Ok(Self { view: whole.view, label: used.label().clone(), features, keys })
    }

    /// These features (positions in `view`), keys from these columns in the entity's order.
    pub(crate) fn selecting(view: &FeatureView, label: Name, features: Vec<usize>, keys: Vec<Name>) -> Self {
        Self { view: view.clone(), label, features: features.into(), keys: keys.into() }
    }

    /// The view.
    pub fn view(&self) -> &FeatureView {
        &self.view
    }

    /// Its alias, or its name.
    pub fn label(&self) -> &Name {
        &self.label
    }

    /// Positions of the selected features in the view.
    pub fn feature_indices(&self) -> &[usize] {
        &self.features
    }

    /// The selected features.
    pub fn features(&self) -> impl ExactSizeIterator<Item = &Feature> {
        self.features.iter().map(|i| &self.view.features()[*i])
    }

    /// The caller's column for each key column of the entity, in the entity's order.
    pub fn key_columns(&self) -> &[Name] {
        &self.keys
    }
}

impl From<&FeatureView> for ViewJoin {
    fn from(view: &FeatureView) -> Self {
        Self::new(view)
    }
}

/// Names of the columns that `joins` make, per join: `feature`, or `label__feature` with `full_names`.
///
/// # Errors
/// [`Error::Collision`] when two have one name, or one has a name of `reserved`.
pub(crate) fn output_names<'j, 'r>(
    joins: impl IntoIterator<Item = &'j ViewJoin>,
    full_names: bool,
    reserved: impl IntoIterator<Item = &'r str>,
) -> Result<Vec<Vec<String>>> {
    let mut taken: BTreeMap<String, String> =
        reserved.into_iter().map(|name| (name.to_owned(), "the entity rows".to_owned())).collect();
    let mut names = Vec::new();
    for join in joins {
        let mut of_join = Vec::with_capacity(join.features.len());
        for feature in join.features() {
            let name = if full_names { format!("{}__{}", join.label, feature.name) } else { feature.name.to_string() };
            let origin = format!("`{}:{}`", join.label, feature.name);
            if let Some(first) = taken.get(&name) {
                return Err(Error::Collision { column: name, first: first.clone(), second: origin });
            }
            taken.insert(name.clone(), origin);
            of_join.push(name);
        }
        names.push(of_join);
    }
    Ok(names)
}

/// The features that one model is fed with, in order.
///
/// # Examples
/// ```
/// use mlops_features::{FeatureService, ViewUse};
/// let service = FeatureService::builder("ranker")
///     .feature("customer_clicks:ctr_7d")
///     .using(ViewUse::all("offer_stats")?)
///     .build()?;
/// let text = serde_json::to_string(&service)?;
/// assert_eq!(serde_json::from_str::<FeatureService>(&text)?, service);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "ServiceForm", into = "ServiceForm")]
pub struct FeatureService(ServiceForm);

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceForm {
    name: Name,
    views: Vec<ViewUse>,
    #[serde(default)]
    full_names: bool,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    owner: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    description: String,
}

impl TryFrom<ServiceForm> for FeatureService {
    type Error = Error;

    fn try_from(form: ServiceForm) -> Result<Self> {
        if form.views.is_empty() {
            return Err(Core::invalid("views of a service", 0, "at least one").into());
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = form.views.iter().find(|used| !seen.insert(used.label())) {
            return Err(Core::AlreadyExists { kind: "view or alias", name: twice.label().to_string() }.into());
        }
        Ok(Self(form))
    }
}

impl From<FeatureService> for ServiceForm {
    fn from(service: FeatureService) -> Self {
        service.0
    }
}

impl FeatureService {
    /// Starts a service of this name.
    pub fn builder(name: impl Into<String>) -> FeatureServiceBuilder {
        FeatureServiceBuilder { name: name.into(), parts: Vec::new(), full_names: false, about: About::default() }
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.0.name
    }

    /// What it takes from each view, in order.
    pub fn views(&self) -> &[ViewUse] {
        &self.0.views
    }

    /// Whether its columns are called `view__feature` instead of `feature`.
    pub fn full_names(&self) -> bool {
        self.0.full_names
    }

    about_accessors!();

    /// Looks its views up among `views`.
    ///
    /// # Errors
    /// `Core(NotFound)` for a view, feature or key that is not there; [`Error::Collision`] when two columns would have one name.
    pub fn joins(&self, views: &[FeatureView]) -> Result<Vec<ViewJoin>> {
        let find = |used: &ViewUse| {
            let view = views.iter().find(|view| *view.name() == used.view);
            ViewJoin::of(view.ok_or_else(|| Core::not_found("view", used.view.as_str()))?, used)
        };
        let joins = self.views().iter().map(find).collect::<Result<Vec<_>>>()?;
        output_names(&joins, self.full_names(), [])?;
        Ok(joins)
    }

    /// Digest of all that shapes what the service gives, where all of its views are stored ones: equal digests give equal
    /// columns. It is that of its [`ServiceVersion`](crate::definitions::ServiceVersion), which covers views of all kinds.
    ///
    /// # Errors
    /// As [`joins`](Self::joins).
    pub fn fingerprint(&self, views: &[FeatureView]) -> Result<Digest> {
        self.joins(views)?;
        service_fingerprint(self, |name| views.iter().find(|view| view.name() == name).map(AnyView::Stored))
    }
}

/// Collects the settings of a [`FeatureService`].
#[derive(Clone, Debug)]
pub struct FeatureServiceBuilder {
    name: String,
    parts: Vec<Part>,
    full_names: bool,
    about: About,
}

#[derive(Clone, Debug)]
enum Part {
    One(String),
    Use(ViewUse),
}

impl FeatureServiceBuilder {
    /// Adds one feature, written `view:feature`. Features of one view stand together, where its first one was added.
    pub fn feature(mut self, reference: impl Into<String>) -> Self {
        self.parts.push(Part::One(reference.into()));
        self
    }

    /// Adds several features of a view, under an alias or other key columns if need be.
    pub fn using(mut self, used: ViewUse) -> Self {
        self.parts.push(Part::Use(used));
        self
    }

    /// Calls columns `view__feature`, or `alias__feature`, instead of `feature`. Default false.
    pub fn full_names(mut self, full_names: bool) -> Self {
        self.full_names = full_names;
        self
    }

    about_setters!();

    /// Checks the settings.
    ///
    /// # Errors
    /// `Core(Invalid)` for a bad name or reference, or when nothing is selected; `Core(AlreadyExists)` when two uses
    /// have one name.
    pub fn build(self) -> Result<FeatureService> {
        let mut views: Vec<ViewUse> = Vec::new();
        let mut by_reference: BTreeMap<Name, usize> = BTreeMap::new();
        for part in self.parts {
            match part {
                Part::Use(used) => views.push(used),
                Part::One(text) => {
                    let FeatureRef { view, feature } = text.parse()?;
                    let at = *by_reference.entry(view.clone()).or_insert(views.len());
                    if at == views.len() {
                        views.push(ViewUse { view, alias: None, features: Vec::new(), keys: BTreeMap::new() });
                    }
                    views[at].features.push(feature);
                }
            }
        }
        ServiceForm {
            name: Name::new(self.name)?,
            views,
            full_names: self.full_names,
            tags: self.about.tags,
            owner: self.about.owner,
            description: self.about.description,
        }
        .try_into()
    }
}
