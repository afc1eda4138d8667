//! One definition of any kind.

use std::collections::BTreeMap;
use std::fmt;

use mlops_core::Name;
use mlops_core::schema::Sensitivity;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::define::ValueType;
use crate::entity::Entity;
use crate::error::{Core, Result};
use crate::service::FeatureService;
use crate::transform::OnDemandView;
use crate::version::family_and_version;
use crate::view::FeatureView;
use crate::window::WindowView;

/// What a definition is. Views of all kinds share their names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// An [`Entity`].
    Entity,
    /// A [`FeatureView`].
    View,
    /// A [`WindowView`].
    WindowView,
    /// An [`OnDemandView`].
    OnDemandView,
    /// A [`FeatureService`].
    Service,
}

impl Kind {
    /// What it is called in messages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Entity => "entity",
            Self::View => "view",
            Self::WindowView => "window view",
            Self::OnDemandView => "on-demand view",
            Self::Service => "service",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A definition of any kind. Cloning is cheap.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Definition {
    /// What features are about.
    Entity(Entity),
    /// Features that are known together.
    View(FeatureView),
    /// Features that are aggregates of events.
    WindowView(WindowView),
    /// Features that are computed from others.
    OnDemandView(OnDemandView),
    /// What one model is fed with.
    Service(FeatureService),
}

/// One feature of a view of any kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Shown<'a> {
    pub(super) name: &'a Name,
    pub(super) value_type: ValueType,
    pub(super) sensitivity: Sensitivity,
    pub(super) description: &'a str,
}

impl Definition {
    /// What it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Entity(_) => Kind::Entity,
            Self::View(_) => Kind::View,
            Self::WindowView(_) => Kind::WindowView,
            Self::OnDemandView(_) => Kind::OnDemandView,
            Self::Service(_) => Kind::Service,
        }
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        match self {
            Self::Entity(entity) => entity.name(),
            Self::View(view) => view.name(),
            Self::WindowView(view) => view.name(),
            Self::OnDemandView(view) => view.name(),
            Self::Service(service) => service.name(),
        }
    }

    /// Its family and version; see [`family_and_version`].
    pub fn version(&self) -> (&str, u32) {
        family_and_version(self.name())
    }

    /// Who answers for it; empty for entities.
    pub fn owner(&self) -> &str {
        match self {
            Self::Entity(_) => "",
            Self::View(view) => view.owner(),
            Self::WindowView(view) => view.owner(),
            Self::OnDemandView(view) => view.owner(),
            Self::Service(service) => service.owner(),
        }
    }

    /// What it is, for people.
    pub fn description(&self) -> &str {
        match self {
            Self::Entity(entity) => entity.description(),
            Self::View(view) => view.description(),
            Self::WindowView(view) => view.description(),
            Self::OnDemandView(view) => view.description(),
            Self::Service(service) => service.description(),
        }
    }

    /// Its labels, by key; none for entities.
    pub fn tags(&self) -> Option<&BTreeMap<String, String>> {
        match self {
            Self::Entity(_) => None,
            Self::View(view) => Some(view.tags()),
            Self::WindowView(view) => Some(view.tags()),
            Self::OnDemandView(view) => Some(view.tags()),
            Self::Service(service) => Some(service.tags()),
        }
    }

    /// The entity that it is about, where it is about one.
    pub fn entity(&self) -> Option<&Entity> {
        match self {
            Self::Entity(entity) => Some(entity),
            Self::View(view) => Some(view.entity()),
            Self::WindowView(view) => Some(view.entity()),
            Self::OnDemandView(_) | Self::Service(_) => None,
        }
    }

    /// The features of a view, in order; none of the others has any of its own.
    pub(super) fn features(&self) -> Vec<Shown<'_>> {
        match self {
            Self::View(view) => stored_features(view),
            Self::WindowView(view) => stored_features(view.feature_view()),
            Self::OnDemandView(view) => {
                let features = view.features().iter().enumerate().filter_map(|(at, feature)| {
                    let (name, sensitivity) = (&feature.name, feature.sensitivity);
                    Some(Shown { name, value_type: view.value_type(at)?, sensitivity, description: "" })
                });
                features.collect()
            }
            Self::Entity(_) | Self::Service(_) => Vec::new(),
        }
    }

    /// Its form in a document: entities by their name, aggregates with theirs.
    pub(super) fn document(&self) -> Result<Value> {
        let made = match self {
            Self::Entity(entity) => serde_json::to_value(entity),
            Self::View(view) => serde_json::to_value(view),
            Self::WindowView(view) => serde_json::to_value(view),
            Self::OnDemandView(view) => serde_json::to_value(view),
            Self::Service(service) => serde_json::to_value(service),
        };
        let mut value = made.map_err(|e| Core::invalid_data(self.to_string(), e))?;
        if let (Some(members), Some(entity)) = (value.as_object_mut(), self.entity())
            && members.contains_key("entity")
        {
            members.insert("entity".to_owned(), entity.name().as_str().into());
        }
        if let Self::WindowView(view) = self
            && let Some(aggregates) = value.get_mut("aggregates").and_then(Value::as_array_mut)
        {
            // Names that are made by default are written out, so that each has one whatever the default will be.
            for (aggregate, feature) in aggregates.iter_mut().zip(view.feature_view().features()) {
                aggregate["name"] = feature.name.as_str().into();
            }
        }
        Ok(value)
    }
}

fn stored_features(view: &FeatureView) -> Vec<Shown<'_>> {
    let shown = view.features().iter().map(|feature| Shown {
        name: &feature.name,
        value_type: feature.value_type,
        sensitivity: feature.sensitivity,
        description: &feature.description,
    });
    shown.collect()
}

impl fmt::Display for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.kind(), self.name())
    }
}

impl From<Entity> for Definition {
    fn from(entity: Entity) -> Self {
        Self::Entity(entity)
    }
}

impl From<FeatureView> for Definition {
    fn from(view: FeatureView) -> Self {
        Self::View(view)
    }
}

impl From<WindowView> for Definition {
    fn from(view: WindowView) -> Self {
        Self::WindowView(view)
    }
}

impl From<OnDemandView> for Definition {
    fn from(view: OnDemandView) -> Self {
        Self::OnDemandView(view)
    }
}

impl From<FeatureService> for Definition {
    fn from(service: FeatureService) -> Self {
        Self::Service(service)
    }
}
