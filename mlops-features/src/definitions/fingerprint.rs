//! What a service gives, as one digest.

use std::collections::BTreeMap;
use std::fmt;

use mlops_core::{Digest, Name};
use serde::{Deserialize, Serialize};

use crate::error::{Core, Result};
use crate::service::{FeatureService, ViewUse};
use crate::transform::{InputSource, OnDemandView};
use crate::version::family_and_version;
use crate::view::FeatureView;
use crate::window::WindowView;

/// Longest chain of views that read each other.
pub(super) const CHAIN_MAX: usize = 64;

/// A service, and the digest of all that shapes what it gives: kept beside a training set, a model and a serving plan, it
/// proves that they are about the same features.
///
/// The digest covers the columns in their order, and for each of them everything that its values depend on: keys, times, ttl,
/// policy, default, expressions and, through them, other views. It covers neither words for people nor sources nor
/// sensitivities, nor features that the service does not take.
///
/// # Examples
/// ```
/// use mlops_features::definitions::Definitions;
/// use mlops_features::{Entity, FeatureService, FeatureView, KeyType, ValueType};
///
/// let define = |owner: &str| {
///     let customer = Entity::builder("customer").key("customer_id", KeyType::Int64).build()?;
///     let clicks = FeatureView::builder("clicks", customer).feature("ctr", ValueType::Float64).owner(owner).build()?;
///     let ranker = FeatureService::builder("ranker.v2").feature("clicks:ctr").build()?;
///     Definitions::builder().with(clicks).with(ranker).build()
/// };
/// let trained_on = define("growth")?.service_version("ranker.v2")?;
/// let served = define("search")?.service_version("ranker.v2")?;
/// assert_eq!(trained_on.version(), 2);
/// served.ensure_same(&trained_on)?;
/// # Ok::<(), mlops_features::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceVersion {
    /// The service, with its version.
    #[serde(alias = "name")]
    pub service: Name,
    /// Digest of what it gives.
    pub fingerprint: Digest,
}

impl ServiceVersion {
    /// The version that the name tells.
    pub fn version(&self) -> u32 {
        family_and_version(&self.service).1
    }

    /// Checks that `other` is about the same features.
    ///
    /// # Errors
    /// `Core(InvalidData)` naming both where it is not.
    pub fn ensure_same(&self, other: &Self) -> Result<()> {
        if self == other {
            return Ok(());
        }
        Err(Core::invalid_data(format!("service {self}"), format!("these are not the features of {other}")).into())
    }
}

impl fmt::Display for ServiceVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.service, self.fingerprint.short())
    }
}

/// A view of any kind, where it is used.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AnyView<'a> {
    Stored(&'a FeatureView),
    Window(&'a WindowView),
    OnDemand(&'a OnDemandView),
}

impl<'a> AnyView<'a> {
    fn feature_names(&self) -> Vec<&'a Name> {
        match self {
            Self::Stored(view) => view.features().iter().map(|feature| &feature.name).collect(),
            Self::Window(view) => view.feature_view().features().iter().map(|feature| &feature.name).collect(),
            Self::OnDemand(view) => view.features().iter().map(|feature| &feature.name).collect(),
        }
    }
}

/// Digest of what `service` gives, whose views `find` knows.
///
/// # Errors
/// `Core(NotFound)` for a view or feature that is not there, `Core(Invalid)` for a chain of views that does not end.
pub(crate) fn service_fingerprint<'a>(
    service: &FeatureService,
    find: impl Fn(&Name) -> Option<AnyView<'a>>,
) -> Result<Digest> {
    let mut features = Features { find, known: BTreeMap::new(), places: BTreeMap::new() };
    let mut parts = vec![Digest::of_json(&service.full_names())?];
    for used in service.views() {
        parts.push(features.of_use(used)?);
    }
    Ok(Digest::of_parts(parts.iter().map(|digest| digest.as_bytes().as_slice())))
}

struct Features<'a, F> {
    find: F,
    known: BTreeMap<(Name, Name), Digest>,
    /// Positions of features, by view.
    places: BTreeMap<Name, BTreeMap<&'a Name, usize>>,
}

impl<'a, F: Fn(&Name) -> Option<AnyView<'a>>> Features<'a, F> {
    fn view(&self, name: &Name) -> Result<AnyView<'a>> {
        Ok((self.find)(name).ok_or_else(|| Core::not_found("view", name.as_str()))?)
    }

    fn of_use(&mut self, used: &ViewUse) -> Result<Digest> {
        let view = self.view(used.view())?;
        let all: Vec<Name> = match used.features() {
            [] => view.feature_names().into_iter().cloned().collect(),
            some => some.to_vec(),
        };
        let digests = all.iter().map(|feature| self.of_feature(used.view(), feature, 0));
        let digests = digests.collect::<Result<Vec<_>>>()?;
        Ok(Digest::of_json(&(used.label(), used.keys(), all, digests))?)
    }

    fn of_feature(&mut self, view: &Name, feature: &Name, depth: usize) -> Result<Digest> {
        let key = (view.clone(), feature.clone());
        if let Some(known) = self.known.get(&key) {
            return Ok(*known);
        }
        if depth > CHAIN_MAX {
            return Err(
                Core::invalid("chain of views", format!("more than 64 up to `{view}`"), "at most 64 long").into()
            );
        }
        let found = self.view(view)?;
        let at = self.place(view, found, feature)?;
        let digest = match found {
            AnyView::Stored(view) => stored(view, at)?,
            AnyView::Window(view) => aggregate(view, at)?,
            AnyView::OnDemand(view) => self.computed(view, at, depth)?,
        };
        self.known.insert(key, digest);
        Ok(digest)
    }

    fn place(&mut self, name: &Name, view: AnyView<'a>, feature: &Name) -> Result<usize> {
        let number = || view.feature_names().into_iter().enumerate().map(|(at, name)| (name, at)).collect();
        let places = self.places.entry(name.clone()).or_insert_with(number);
        let found = places.get(feature).copied();
        Ok(found.ok_or_else(|| Core::not_found("feature", format!("{name}:{feature}")))?)
    }

    fn computed(&mut self, view: &OnDemandView, at: usize, depth: usize) -> Result<Digest> {
        let mut inputs = Vec::new();
        for input in view.reads(at).iter().map(|at| &view.inputs()[*at]) {
            let source = match &input.from {
                InputSource::Column(name) => Digest::of_json(&("column", name))?,
                InputSource::Feature(read) => self.of_feature(&read.view, &read.feature, depth + 1)?,
            };
            inputs.push((&input.name, input.value_type, &input.keys, source));
        }
        let told = &view.features()[at];
        Ok(Digest::of_json(&("on demand", view.name(), &told.name, told.expr.to_string(), inputs))?)
    }
}

fn stored(view: &FeatureView, at: usize) -> Result<Digest> {
    let told = &view.features()[at];
    let entity = (view.entity().name(), view.entity().keys());
    let times = (view.event_time(), view.created(), view.ttl());
    let value = (&told.name, told.value_type, &told.default);
    Ok(Digest::of_json(&("stored", view.name(), entity, times, view.policy(), value))?)
}

fn aggregate(view: &WindowView, at: usize) -> Result<Digest> {
    let (aggregate, feature) = (&view.aggregates()[at], &view.feature_view().features()[at].name);
    let column = view.columns().iter().find(|column| Some(&column.name) == aggregate.column.as_ref());
    let entity = (view.entity().name(), view.entity().keys());
    let events = (view.event_time(), view.event_id(), column.map(|column| (&column.name, column.value_type)));
    let value = (feature, &aggregate.op, &aggregate.window);
    Ok(Digest::of_json(&("window", view.name(), entity, events, value))?)
}
