//! Finding definitions by words and by what they are.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use mlops_core::Name;
use mlops_core::catalog::{HITS_DEFAULT, HITS_MAX, Words};
use mlops_core::schema::{Schema, Sensitivity};
use serde::{Deserialize, Serialize};

use super::definition::{Definition, Kind};
use super::set::{Definitions, made_of};
use crate::error::Result;
use crate::service::ViewUse;

/// What to look for. Everything that is set must hold.
///
/// # Examples
/// ```
/// use mlops_features::definitions::{DefinitionQuery, Definitions};
/// use mlops_features::{Entity, FeatureView, KeyType, ValueType};
///
/// let customer = Entity::builder("customer").key("customer_id", KeyType::Int64).build()?;
/// let clicks = FeatureView::builder("clicks", customer).feature("ctr_7d", ValueType::Float64).tag("tier", "gold").build()?;
/// let definitions = Definitions::builder().with(clicks).build()?;
/// let hits = definitions.search(&DefinitionQuery::new("ctr")?.entity("customer").tag("tier", "gold"));
/// assert_eq!(hits[0].name.as_str(), "clicks");
/// # Ok::<(), mlops_features::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct DefinitionQuery {
    words: Words,
    kind: Option<Kind>,
    tags: Vec<(String, String)>,
    owner: Option<String>,
    entity: Option<String>,
    feature: Option<String>,
    sensitivity: Option<Sensitivity>,
    limit: Option<usize>,
}

/// A definition that was found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefinitionHit {
    /// How well the words fit, dimensionless: greater is better. 0 for a query without words.
    pub score: u32,
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: Name,
}

impl DefinitionQuery {
    /// Definitions that have every word of `text` in their name, owner, tags, feature names or descriptions, whole or as a
    /// part of another word, whatever its case. No words: all definitions.
    ///
    /// # Errors
    /// `Core(Invalid)` when the text is longer than [`QUERY_BYTES_MAX`](mlops_core::catalog::QUERY_BYTES_MAX).
    pub fn new(text: &str) -> Result<Self> {
        Ok(Self { words: Words::new(text)?, ..Self::default() })
    }

    /// Only those of this kind.
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Only those with this label, to the letter; several calls demand several labels.
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.push((key.into(), value.into()));
        self
    }

    /// Only those of this owner, to the letter.
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    /// Only this entity and what is about it, to the letter; on-demand views and services through the views that they take.
    pub fn entity(mut self, entity: impl Into<String>) -> Self {
        self.entity = Some(entity.into());
        self
    }

    /// Only views with a feature of this name, to the letter.
    pub fn feature(mut self, feature: impl Into<String>) -> Self {
        self.feature = Some(feature.into());
        self
    }

    /// Only views with a feature, and services with a column, that is at least this sensitive.
    pub fn at_least(mut self, sensitivity: Sensitivity) -> Self {
        self.sensitivity = Some(sensitivity);
        self
    }

    /// At most so many hits, the best of all. Default [`HITS_DEFAULT`]; more than [`HITS_MAX`] count as so many.
    pub fn limit(mut self, hits: usize) -> Self {
        self.limit = Some(hits.min(HITS_MAX));
        self
    }

    /// How well `definition` fits; none where it does not.
    fn score(&self, all: &Definitions, definition: &Definition) -> Option<u32> {
        let features = definition.features();
        let tagged = |(key, value): &(String, String)| {
            definition.tags().is_some_and(|tags| tags.get(key).is_some_and(|found| found == value))
        };
        let fits = self.kind.is_none_or(|kind| kind == definition.kind())
            && self.tags.iter().all(tagged)
            && self.owner.as_ref().is_none_or(|owner| owner == definition.owner())
            && self.feature.as_ref().is_none_or(|wanted| features.iter().any(|f| f.name.as_str() == wanted))
            && self.entity.as_ref().is_none_or(|entity| is_about(all, definition, entity))
            && self.sensitivity.is_none_or(|least| strictest(all, definition) >= Some(least));
        if !fits {
            return None;
        }
        let mut fields = vec![
            (definition.name().as_str(), NAME),
            (definition.owner(), OWNER),
            (definition.description(), DESCRIPTION),
        ];
        for (key, value) in definition.tags().into_iter().flatten() {
            fields.extend([(key.as_str(), TAG), (value.as_str(), TAG)]);
        }
        for feature in &features {
            fields.extend([(feature.name.as_str(), FEATURE), (feature.description, DESCRIPTION)]);
        }
        self.words.score(&fields)
    }
}

/// What a word is worth by where it stands.
const NAME: u32 = 8;
const TAG: u32 = 4;
const FEATURE: u32 = 3;
const OWNER: u32 = 2;
const DESCRIPTION: u32 = 1;

/// Whether `definition` is `entity`, about it, or made of a view that is.
fn is_about(all: &Definitions, definition: &Definition, entity: &str) -> bool {
    let mut seen: BTreeSet<&Name> = BTreeSet::new();
    let mut open = vec![definition];
    while let Some(definition) = open.pop() {
        let read: Vec<&Name> = match definition {
            Definition::OnDemandView(_) => made_of(definition),
            Definition::Service(service) => service.views().iter().map(ViewUse::view).collect(),
            other if other.entity().is_some_and(|found| found.name().as_str() == entity) => return true,
            _ => continue,
        };
        let new = read.into_iter().filter(|name| seen.insert(*name));
        open.extend(new.filter_map(|name| all.any_view(name)));
    }
    false
}

/// How sensitive the most sensitive feature, or column of a service, is.
fn strictest(all: &Definitions, definition: &Definition) -> Option<Sensitivity> {
    let Definition::Service(service) = definition else {
        return definition.features().iter().map(|feature| feature.sensitivity).max();
    };
    let plan = all.serving_plan(service.name().as_str()).ok()?;
    let schema = Schema::new(plan.schema().clone()).ok()?;
    schema.names().filter_map(|column| schema.sensitivity(column).ok()).max()
}

impl Definitions {
    /// What fits `query`, the best first, of equals by kind and name.
    pub fn search(&self, query: &DefinitionQuery) -> Vec<DefinitionHit> {
        let hits = self.all().filter_map(|definition| {
            let score = query.score(self, definition)?;
            Some(DefinitionHit { score, kind: definition.kind(), name: definition.name().clone() })
        });
        let mut hits: Vec<DefinitionHit> = hits.collect();
        hits.sort_by(|a, b| (Reverse(a.score), a.kind, &a.name).cmp(&(Reverse(b.score), b.kind, &b.name)));
        hits.truncate(query.limit.unwrap_or(HITS_DEFAULT));
        hits
    }
}
