//! What an apply would do.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use mlops_core::Name;
use mlops_core::catalog::Revision;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::diff::{self, Effect, FieldChange};
use super::{Definitions, Deployment, Kind};
use crate::error::{Error, Result};
use crate::version::{family_and_version, versioned};

/// What becomes of one definition.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is new, or comes back.
    Add,
    /// It is there and differs.
    Change,
    /// It is there and no longer wanted.
    Remove,
}

/// One definition that differs.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// What becomes of it.
    pub action: Action,
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: Name,
    /// The worst that the change does.
    pub effect: Effect,
    /// Settings that differ; for one that comes back, from those that it had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldChange>,
    /// For a service that breaks although its own settings stay: because what its views give changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<String>,
    /// Where it breaks: the name that the new definition may have instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_version: Option<Name>,
}

/// What an apply would do to what is stored. `Display` is for people: a line per definition, and one per setting below it.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use mlops_features::definitions::{Definitions, DefinitionStoreExt, Effect, MemoryDefinitions};
/// use mlops_features::{Entity, FeatureView, KeyType, ValueType};
///
/// let define = |days: u64| {
///     let customer = Entity::builder("customer").key("customer_id", KeyType::Int64).build()?;
///     let clicks = FeatureView::builder("clicks", customer).feature("ctr", ValueType::Float64);
///     Definitions::builder().with(clicks.ttl(Duration::from_secs(days * 86_400)).build()?).build()
/// };
/// let store = MemoryDefinitions::new();
/// store.apply_now(&define(7)?)?;
/// let plan = store.plan(&define(8)?)?;
/// assert_eq!(plan.effect(), Some(Effect::Breaking));
/// assert_eq!(
///     plan.to_string(),
///     "~ view `clicks`: BREAKING, define `clicks.v2` instead\n    ttl_us: 604800000000 → 691200000000\n1 as it was\n"
/// );
/// # Ok::<(), mlops_features::Error>(())
/// ```
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What was stored when the plan was made.
    pub base: Revision,
    /// What differs, by kind and name.
    pub changes: Vec<Change>,
    /// How many definitions stay as they are.
    pub unchanged: usize,
}

impl Plan {
    /// What brings `stored` to `wanted`.
    ///
    /// # Errors
    /// `Core(Invalid)` when the name of a next version would be too long.
    pub fn new(stored: &Deployment, base: Revision, wanted: &Definitions) -> Result<Self> {
        let (before, after) = (stored.definitions.documents(), wanted.documents());
        let mut changes = Vec::new();
        for ((kind, name), document) in after {
            changes.extend(change(stored, wanted, *kind, name, document));
        }
        let stays = |kind: Kind, name: &Name| VIEWS.contains(&kind) && other_kind(wanted, kind, name).is_some();
        let gone = before.keys().filter(|key| !after.contains_key(key) && !stays(key.0, &key.1));
        changes.extend(gone.map(|(kind, name)| Change::of(Action::Remove, *kind, name, Effect::Breaking)));
        changes.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        let touched = changes.iter().filter(|change| after.contains_key(&(change.kind, change.name.clone()))).count();
        let mut plan = Self { base, changes, unchanged: after.len() - touched };
        plan.advise(stored, wanted)?;
        Ok(plan)
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The worst that it does; none where nothing differs.
    pub fn effect(&self) -> Option<Effect> {
        self.changes.iter().map(|change| change.effect).max()
    }

    /// Changes of what is served, which no apply makes.
    pub fn broken(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| change.action != Action::Remove && change.effect == Effect::Breaking)
    }

    /// What would be removed.
    pub fn removed(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| change.action == Action::Remove)
    }

    /// Names the next free version where a definition breaks.
    fn advise(&mut self, stored: &Deployment, wanted: &Definitions) -> Result<()> {
        let mut last: BTreeMap<(bool, &str), u32> = BTreeMap::new();
        let names = stored.definitions.documents().keys().chain(wanted.documents().keys());
        for (kind, name) in names.chain(stored.retired.iter().map(|retired| &retired.key)) {
            let (family, version) = family_and_version(name);
            let last = last.entry((*kind == Kind::Service, family)).or_default();
            *last = version.max(*last);
        }
        for change in &mut self.changes {
            if change.effect < Effect::Breaking || change.action == Action::Remove || change.kind == Kind::Entity {
                continue;
            }
            let family = family_and_version(&change.name).0;
            let taken = last.get(&(change.kind == Kind::Service, family)).copied().unwrap_or(1);
            change.next_version = Some(versioned(family, taken.saturating_add(1))?);
        }
        Ok(())
    }

    /// # Errors
    /// [`Error::Breaking`] naming everything that would become another thing.
    pub(super) fn ensure_unbroken(&self) -> Result<()> {
        let broken: Vec<String> = self.broken().map(Change::summary).collect();
        if broken.is_empty() { Ok(()) } else { Err(Error::Breaking { changes: broken }) }
    }
}

/// Kinds that share their names.
const VIEWS: [Kind; 3] = [Kind::View, Kind::WindowView, Kind::OnDemandView];

/// The other kind of view that has this name in `definitions`.
fn other_kind(definitions: &Definitions, kind: Kind, name: &Name) -> Option<Kind> {
    let is_other = |other: &Kind| VIEWS.contains(&kind) && *other != kind;
    VIEWS.into_iter().filter(is_other).find(|other| definitions.get(*other, name.as_str()).is_ok())
}

/// What becomes of one definition that is wanted; none where it stays as it is.
fn change(stored: &Deployment, wanted: &Definitions, kind: Kind, name: &Name, document: &Value) -> Option<Change> {
    let present = stored.definitions.documents().get(&(kind, name.clone()));
    let other = other_kind(&stored.definitions, kind, name);
    let is_there = present.is_some() || other.is_some();
    let was_other =
        |other: &Kind| VIEWS.contains(&kind) && *other != kind && stored.retired_form(*other, name).is_some();
    let other = other.or_else(|| VIEWS.into_iter().find(was_other));
    let fields = match (other, present.or_else(|| stored.retired_form(kind, name))) {
        (Some(other), None) => vec![FieldChange {
            path: "kind".to_owned(),
            before: Value::from(other.word()),
            after: Value::from(kind.word()),
            effect: Effect::Breaking,
        }],
        (_, Some(before)) => diff::fields(kind, before, document),
        (None, None) => Vec::new(),
    };
    let columns = if kind == Kind::Service { changed_columns(stored, wanted, name) } else { None };
    if is_there && fields.is_empty() && columns.is_none() {
        return None;
    }
    let effect = fields.iter().map(|field| field.effect).max().unwrap_or(Effect::Compatible);
    let effect = if columns.is_some() { Effect::Breaking } else { effect };
    let action = if is_there { Action::Change } else { Action::Add };
    Some(Change { fields, columns, ..Change::of(action, kind, name, effect) })
}

/// Why a service does not give what it gave, if it does not.
fn changed_columns(stored: &Deployment, wanted: &Definitions, name: &Name) -> Option<String> {
    let before = stored.fingerprint(name)?;
    let after = wanted.service_version(name.as_str()).ok()?.fingerprint;
    if before == after {
        return None;
    }
    let columns = |definitions: &Definitions| {
        let plan = definitions.serving_plan(name.as_str()).ok()?;
        let fields = plan.schema().fields().iter();
        Some(fields.map(|field| (field.name().clone(), field.data_type().clone())).collect::<Vec<_>>())
    };
    let (old, new) = (columns(&stored.definitions), columns(wanted));
    let (Some(old), Some(new)) = (old, new) else { return Some("it was another one before it was retired".to_owned()) };
    let (olds, news): (HashSet<_>, HashSet<_>) = (old.iter().collect(), new.iter().collect());
    let more = new.iter().filter(|column| !olds.contains(column)).map(|(name, _)| format!("+{name}"));
    let less = old.iter().filter(|column| !news.contains(column)).map(|(name, _)| format!("-{name}"));
    let listed: Vec<String> = more.chain(less).take(20).collect();
    Some(match listed.as_slice() {
        [] if old == new => "columns of the same names and types have other values".to_owned(),
        [] => "columns stand in another order".to_owned(),
        listed => format!("columns {}", listed.join(" ")),
    })
}

impl Change {
    fn of(action: Action, kind: Kind, name: &Name, effect: Effect) -> Self {
        Self { action, kind, name: name.clone(), effect, fields: Vec::new(), columns: None, next_version: None }
    }

    /// The change in one line.
    fn summary(&self) -> String {
        let reasons = self.fields.iter().filter(|field| field.effect == Effect::Breaking).map(ToString::to_string);
        let reasons: Vec<String> = reasons.chain(self.columns.clone()).collect();
        let advice = self.next_version.as_ref().map(|next| format!(", define `{next}` instead")).unwrap_or_default();
        format!("{} `{}` ({}){advice}", self.kind, self.name, reasons.join(", "))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.action {
            Action::Add => '+',
            Action::Change => '~',
            Action::Remove => '-',
        };
        write!(f, "{sign} {} `{}`", self.kind, self.name)?;
        if self.action != Action::Remove && (self.action == Action::Change || self.effect == Effect::Breaking) {
            write!(f, ": {}", self.effect)?;
        }
        if let Some(next) = &self.next_version {
            write!(f, ", define `{next}` instead")?;
        }
        writeln!(f)?;
        for field in &self.fields {
            writeln!(f, "    {field}")?;
        }
        self.columns.iter().try_for_each(|columns| writeln!(f, "    {columns}"))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.changes.iter().try_for_each(|change| write!(f, "{change}"))?;
        writeln!(f, "{} as it was", self.unchanged)
    }
}
