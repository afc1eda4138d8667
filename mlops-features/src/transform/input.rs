//! What expressions of a view read, and where it comes from.

use std::collections::BTreeMap;

use mlops_core::Name;
use serde::{Deserialize, Serialize};

use crate::define::{FeatureRef, ValueType};

/// One column that the expressions of a view may name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// What expressions call it.
    pub name: Name,
    /// Its type, which its source must have.
    #[serde(rename = "type")]
    pub value_type: ValueType,
    /// Where it comes from.
    pub from: InputSource,
    /// For a feature: from key column of its view to column of the caller, where the two have different names. For one of
    /// another on-demand view: from column that this one asks for to column of the caller.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub keys: BTreeMap<Name, Name>,
}

/// Where an [`Input`] comes from.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum InputSource {
    /// A feature of a stored or of another on-demand view, `view:feature`.
    Feature(FeatureRef),
    /// A column of the caller: a key, or what only the request knows. Training rows have it as a column, too.
    Column(Name),
}
