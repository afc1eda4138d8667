//! Definitions as one document.

use mlops_core::Name;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::definition::{Definition, Kind};
use super::set::{Definitions, DefinitionsBuilder};
use super::strict::Strict;
use crate::entity::Entity;
use crate::error::{Core, Error, Result};

/// Format of documents as they are written.
pub const DEFINITIONS_FORMAT: u64 = 1;

/// Bytes of one document at the most.
pub const DEFINITIONS_BYTES_MAX: usize = 64 << 20;

/// What a document holds, not yet put together: views name their entity, or hold it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Form {
    format: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    entities: Vec<Strict>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    views: Vec<Strict>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    window_views: Vec<Strict>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    on_demand_views: Vec<Strict>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    services: Vec<Strict>,
}

impl TryFrom<Form> for Definitions {
    type Error = Error;

    fn try_from(form: Form) -> Result<Self> {
        if form.format != DEFINITIONS_FORMAT {
            let reason =
                format!("written in format {}, and this version reads format {DEFINITIONS_FORMAT}", form.format);
            return Err(Core::invalid_data("definitions", reason).into());
        }
        let mut builder = Self::builder();
        let mut entities: Vec<(Name, Value)> = Vec::new();
        for (at, Strict(value)) in form.entities.into_iter().enumerate() {
            let entity: Entity = read(Kind::Entity, at, value.clone())?;
            entities.push((entity.name().clone(), value));
            builder = builder.with(entity);
        }
        entities.sort_by(|a, b| a.0.cmp(&b.0));
        let lists = [
            (Kind::View, form.views),
            (Kind::WindowView, form.window_views),
            (Kind::OnDemandView, form.on_demand_views),
            (Kind::Service, form.services),
        ];
        for (kind, values) in lists {
            for (at, Strict(mut value)) in values.into_iter().enumerate() {
                insert_entity(kind, at, &mut value, &entities)?;
                builder = add(builder, kind, at, value)?;
            }
        }
        builder.build()
    }
}

fn add(builder: DefinitionsBuilder, kind: Kind, at: usize, value: Value) -> Result<DefinitionsBuilder> {
    let definition = match kind {
        Kind::Entity => Definition::Entity(read(kind, at, value)?),
        Kind::View => Definition::View(read(kind, at, value)?),
        Kind::WindowView => Definition::WindowView(read(kind, at, value)?),
        Kind::OnDemandView => Definition::OnDemandView(read(kind, at, value)?),
        Kind::Service => Definition::Service(read(kind, at, value)?),
    };
    Ok(builder.with(definition))
}

/// What the `at`-th definition of its kind is called in errors.
fn called(kind: Kind, at: usize, value: &Value) -> String {
    match value.get("name").and_then(Value::as_str) {
        Some(name) => format!("{kind} `{}`", name.chars().take(128).flat_map(char::escape_debug).collect::<String>()),
        None => format!("{kind} number {}", at + 1),
    }
}

fn read<T: serde::de::DeserializeOwned>(kind: Kind, at: usize, value: Value) -> Result<T> {
    let what = called(kind, at, &value);
    serde_path_to_error::deserialize(value).map_err(|e| {
        let member: String = e.path().to_string().chars().take(256).flat_map(char::escape_debug).collect();
        let reason = if member == "." { e.inner().to_string() } else { format!("{member}: {}", e.inner()) };
        Core::invalid_data(what, reason).into()
    })
}

/// Puts the entity in the place of its name.
fn insert_entity(kind: Kind, at: usize, value: &mut Value, entities: &[(Name, Value)]) -> Result<()> {
    let what = called(kind, at, value);
    let Some(place @ Value::String(_)) = value.get_mut("entity") else { return Ok(()) };
    let name = place.as_str().unwrap_or_default();
    let Ok(found) = entities.binary_search_by(|(entity, _)| entity.as_str().cmp(name)) else {
        return Err(Core::stage(what, Core::not_found(Kind::Entity.word(), name)).into());
    };
    *place = entities[found].1.clone();
    Ok(())
}

impl From<Definitions> for Form {
    fn from(definitions: Definitions) -> Self {
        let of = |kind: Kind| {
            let documents = definitions.documents().iter().filter(|((other, _), _)| *other == kind);
            documents.map(|(_, document)| Strict(document.clone())).collect()
        };
        Self {
            format: DEFINITIONS_FORMAT,
            entities: of(Kind::Entity),
            views: of(Kind::View),
            window_views: of(Kind::WindowView),
            on_demand_views: of(Kind::OnDemandView),
            services: of(Kind::Service),
        }
    }
}

impl Definitions {
    /// One indented JSON document, each kind by name.
    ///
    /// # Errors
    /// `Core(InvalidData)` when there is no such form, which is not so for sets that were built.
    pub fn to_json(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self).map_err(|e| Core::invalid_data("definitions", e))?;
        Ok(text + "\n")
    }

    /// Reads a document of at most [`DEFINITIONS_BYTES_MAX`] bytes. Unknown members are refused.
    ///
    /// # Errors
    /// `Core(InvalidData)` when it is no such document or of a later format, and as
    /// [`build`](DefinitionsBuilder::build); both name the definition.
    pub fn from_json(text: &str) -> Result<Self> {
        ensure_short(text)?;
        let form: Form = serde_json::from_str(text).map_err(|e| Core::invalid_data("definitions", e))?;
        form.try_into()
    }

    /// One YAML document; see [`to_json`](Self::to_json).
    ///
    /// # Errors
    /// As [`to_json`](Self::to_json).
    #[cfg(feature = "yaml")]
    pub fn to_yaml(&self) -> Result<String> {
        Ok(serde_saphyr::to_string(self).map_err(|e| Core::invalid_data("definitions", e))?)
    }

    /// As [`from_json`](Self::from_json), in YAML. Text whose anchors unfold to much more than it is long is refused.
    ///
    /// # Errors
    /// As [`from_json`](Self::from_json).
    ///
    /// # Examples
    /// ```
    /// use mlops_features::definitions::Definitions;
    /// let definitions = Definitions::from_yaml(r#"
    /// format: 1
    /// entities:
    /// - name: customer
    ///   keys: [{name: customer_id, type: int64}]
    /// views:
    /// - name: profile
    ///   entity: customer
    ///   event_time: at
    ///   ttl_us: 604800000000
    ///   owner: growth
    ///   features: [{name: age, type: int64}, {name: city, type: utf8}]
    /// window_views:
    /// - name: orders
    ///   entity: customer
    ///   event_time: at
    ///   columns: [{name: amount, type: float64}]
    ///   aggregates:
    ///   - {column: amount, op: sum, window: {mode: exact, length_us: 3600000000}}
    ///   - {op: count, window: {mode: lifetime}}
    /// on_demand_views:
    /// - name: basket
    ///   inputs:
    ///   - {name: spent, type: float64, from: {feature: 'orders:amount_sum_1h'}}
    ///   - {name: budget, type: float64, from: {column: budget}}
    ///   features: [{name: left, expr: 'budget - coalesce(spent, 0.0)'}]
    /// services:
    /// - name: ranker
    ///   views:
    ///   - {view: profile, features: [age]}
    ///   - {view: orders}
    ///   - {view: basket}
    /// "#)?;
    /// let plan = definitions.serving_plan("ranker")?;
    /// assert_eq!(plan.schema().fields().len(), 4);
    /// assert_eq!(Definitions::from_yaml(&definitions.to_yaml()?)?, definitions);
    /// # Ok::<(), mlops_features::Error>(())
    /// ```
    #[cfg(feature = "yaml")]
    pub fn from_yaml(text: &str) -> Result<Self> {
        ensure_short(text)?;
        let form: Form = serde_saphyr::from_str(text).map_err(|e| Core::invalid_data("definitions", e))?;
        form.try_into()
    }
}

fn ensure_short(text: &str) -> Result<()> {
    if text.len() <= DEFINITIONS_BYTES_MAX {
        return Ok(());
    }
    Err(Core::invalid("definitions", format!("{} bytes", text.len()), "at most 64 MiB").into())
}
