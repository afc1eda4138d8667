//! What features are about: an entity and its key.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use mlops_core::Name;
use serde::{Deserialize, Serialize};

use crate::define::KeyType;
use crate::error::{Core, Error, Result};
use crate::key::KeyLayout;

/// Most columns that one key may have.
const KEY_FIELDS_MAX: usize = 16;

/// One column of a key.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyField {
    /// Name of the column.
    pub name: Name,
    /// Type of its values.
    #[serde(rename = "type")]
    pub key_type: KeyType,
}

/// A kind of thing that features are about, named by one or more key columns.
///
/// Cloning is cheap.
///
/// # Examples
/// ```
/// use mlops_features::{Entity, KeyType};
/// let pair = Entity::builder("customer_offer").key("customer_id", KeyType::Int64).key("offer_id", KeyType::Utf8).build()?;
/// assert_eq!(pair.keys().len(), 2);
/// # Ok::<(), mlops_features::Error>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "EntityForm", into = "EntityForm")]
pub struct Entity(Arc<Checked>);

struct Checked {
    form: EntityForm,
    layout: KeyLayout,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntityForm {
    name: Name,
    keys: Vec<KeyField>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    description: String,
}

impl TryFrom<EntityForm> for Entity {
    type Error = Error;

    fn try_from(form: EntityForm) -> Result<Self> {
        if form.keys.is_empty() || form.keys.len() > KEY_FIELDS_MAX {
            return Err(Core::invalid("key columns", form.keys.len(), "1 to 16").into());
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = form.keys.iter().find(|key| !seen.insert(&key.name)) {
            return Err(Core::AlreadyExists { kind: "key column", name: twice.name.to_string() }.into());
        }
        let layout = KeyLayout::new(&form.keys);
        Ok(Self(Arc::new(Checked { form, layout })))
    }
}

impl From<Entity> for EntityForm {
    fn from(entity: Entity) -> Self {
        entity.0.form.clone()
    }
}

impl Entity {
    /// Starts an entity of this name.
    pub fn builder(name: impl Into<String>) -> EntityBuilder {
        EntityBuilder { name: name.into(), keys: Vec::new(), description: String::new() }
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.0.form.name
    }

    /// Columns of its key, in the order declared.
    pub fn keys(&self) -> &[KeyField] {
        &self.0.form.keys
    }

    /// What it is, for people.
    pub fn description(&self) -> &str {
        &self.0.form.description
    }

    pub(crate) fn layout(&self) -> &KeyLayout {
        &self.0.layout
    }
}

impl PartialEq for Entity {
    fn eq(&self, other: &Self) -> bool {
        self.0.form == other.0.form
    }
}

impl Eq for Entity {}

impl fmt::Debug for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.form.fmt(f)
    }
}

/// Collects the settings of an [`Entity`].
#[derive(Clone, Debug)]
pub struct EntityBuilder {
    name: String,
    keys: Vec<(String, KeyType)>,
    description: String,
}

impl EntityBuilder {
    /// Adds a column to the key.
    pub fn key(mut self, name: impl Into<String>, key_type: KeyType) -> Self {
        self.keys.push((name.into(), key_type));
        self
    }

    /// What it is, for people. Default empty.
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = text.into();
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// `Core(Invalid)` for a bad name or a key of no or more than 16 columns, `Core(AlreadyExists)` for a key column
    /// that is there twice.
    pub fn build(self) -> Result<Entity> {
        let keys = self.keys.into_iter().map(|(name, key_type)| Ok(KeyField { name: Name::new(name)?, key_type }));
        let keys = keys.collect::<Result<_>>()?;
        EntityForm { name: Name::new(self.name)?, keys, description: self.description }.try_into()
    }
}
