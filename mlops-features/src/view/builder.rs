//! Views in code.

use std::time::Duration;

use mlops_core::Name;
use mlops_core::schema::Sensitivity;

use super::{FeatureView, ViewForm};
use crate::about::{About, about_setters};
use crate::define::ValueType;
use crate::entity::Entity;
use crate::error::Result;
use crate::feature::Feature;
use crate::origin::{BatchOrigin, StreamOrigin};
use crate::policy::StatusPolicy;

/// Collects the settings of a [`FeatureView`].
#[derive(Clone, Debug)]
pub struct FeatureViewBuilder {
    name: String,
    entity: Entity,
    features: Vec<Part>,
    ttl: Option<Duration>,
    event_time: String,
    created: Option<String>,
    policy: StatusPolicy,
    freshness: Option<Duration>,
    batch: Option<BatchOrigin>,
    stream: Option<StreamOrigin>,
    about: About,
}

#[derive(Clone, Debug)]
enum Part {
    Named(String, ValueType, Sensitivity),
    Whole(Feature),
}

impl FeatureViewBuilder {
    pub(super) fn new(name: String, entity: Entity) -> Self {
        Self {
            name,
            entity,
            features: Vec::new(),
            ttl: None,
            event_time: "event_timestamp".to_owned(),
            created: None,
            policy: StatusPolicy::default(),
            freshness: None,
            batch: None,
            stream: None,
            about: About::default(),
        }
    }

    /// Adds a feature of sensitivity `Internal`.
    pub fn feature(self, name: impl Into<String>, value_type: ValueType) -> Self {
        self.sensitive(name, value_type, Sensitivity::default())
    }

    /// Adds a feature that not everyone may see.
    pub fn sensitive(mut self, name: impl Into<String>, value_type: ValueType, sensitivity: Sensitivity) -> Self {
        self.features.push(Part::Named(name.into(), value_type, sensitivity));
        self
    }

    /// Adds a feature with all that is known of it.
    pub fn with(mut self, feature: Feature) -> Self {
        self.features.push(Part::Whole(feature));
        self
    }

    /// How long a row stays valid, rounded down to microseconds. Default for ever.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Column that says when a row became true. Default `event_timestamp`.
    pub fn event_time(mut self, column: impl Into<String>) -> Self {
        self.event_time = column.into();
        self
    }

    /// Column that says when a row became known. Default none: rows are known as soon as they are true.
    pub fn created(mut self, column: impl Into<String>) -> Self {
        self.created = Some(column.into());
        self
    }

    /// What is served where no valid row is there. Default [`StatusPolicy::Null`].
    pub fn policy(mut self, policy: StatusPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// How old the newest row of a key may be, rounded down to microseconds. Default: nothing is promised.
    pub fn freshness(mut self, promise: Duration) -> Self {
        self.freshness = Some(promise);
        self
    }

    /// Where its history is read from. Default: the host appends it.
    pub fn batch(mut self, origin: BatchOrigin) -> Self {
        self.batch = Some(origin);
        self
    }

    /// Where rows come from as things happen. Default nowhere.
    pub fn stream(mut self, origin: StreamOrigin) -> Self {
        self.stream = Some(origin);
        self
    }

    about_setters!();

    /// Checks the settings.
    ///
    /// # Errors
    /// `Core(Invalid)` for a bad name or path, the history of a view as origin, a ttl or freshness below a microsecond, no or
    /// more than 65536 features, a vector of no or more than 16384 dimensions, or defaults without the policy that serves them
    /// and the other way round; `Core(AlreadyExists)` when two columns have one name; `Core(Schema)` for a default of another
    /// type than its feature.
    pub fn build(self) -> Result<FeatureView> {
        let feature = |part| match part {
            Part::Named(name, value_type, sensitivity) => Ok(Feature::new(name, value_type)?.sensitivity(sensitivity)),
            Part::Whole(feature) => Ok(feature),
        };
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        ViewForm {
            name: Name::new(self.name)?,
            entity: self.entity,
            features: self.features.into_iter().map(feature).collect::<Result<_>>()?,
            ttl_us: self.ttl.map(micros),
            event_time: Name::new(self.event_time)?,
            created: self.created.map(Name::new).transpose()?,
            policy: self.policy,
            freshness_us: self.freshness.map(micros),
            batch: self.batch,
            stream: self.stream,
            tags: self.about.tags,
            owner: self.about.owner,
            description: self.about.description,
        }
        .try_into()
    }
}
