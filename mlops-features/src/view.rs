//! What is known of an entity over time: feature views.

mod builder;

pub use builder::FeatureViewBuilder;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema as ArrowSchema};
use mlops_core::schema::{Finder, Role, Sensitivity};
use mlops_core::{Digest, EventTime, Name, Schema};
use serde::{Deserialize, Serialize};

use crate::about::about_accessors;
use crate::columns;
use crate::define::ValueType;
use crate::entity::{Entity, KeyField};
use crate::error::{Core, Error, Result};
use crate::feature::Feature;
use crate::online::row::RowLayout;
use crate::origin::{BatchOrigin, StreamOrigin};
use crate::places::Places;
use crate::policy::StatusPolicy;

/// Most features that one view may have.
pub const FEATURES_MAX: usize = 65_536;

/// Features of one entity that are known together, over time.
///
/// A row of a view says: from its event time on, this key has these values, nulls included. Cloning is cheap.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use mlops_features::{Entity, FeatureView, KeyType, ValueType};
///
/// let customer = Entity::builder("customer").key("customer_id", KeyType::Int64).build()?;
/// let clicks = FeatureView::builder("customer_clicks", customer)
///     .feature("clicks_7d", ValueType::Int64)
///     .feature("ctr_7d", ValueType::Float64)
///     .created("computed_at")
///     .ttl(Duration::from_secs(7 * 86_400))
///     .owner("growth")
///     .build()?;
/// assert_eq!(clicks.event_time(), "event_timestamp");
/// # Ok::<(), mlops_features::Error>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "ViewForm", into = "ViewForm")]
pub struct FeatureView(Arc<Checked>);

struct Checked {
    form: ViewForm,
    schema: Schema,
    layout: Arc<RowLayout>,
    places: Places,
    fingerprint: Digest,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ViewForm {
    name: Name,
    entity: Entity,
    features: Vec<Feature>,
    /// Microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl_us: Option<u64>,
    event_time: Name,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created: Option<Name>,
    #[serde(default, skip_serializing_if = "is_default")]
    policy: StatusPolicy,
    /// Microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    freshness_us: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    batch: Option<BatchOrigin>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stream: Option<StreamOrigin>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    owner: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    description: String,
}

/// What of a feature shapes its values.
#[derive(Serialize)]
struct ToldFeature<'a> {
    name: &'a Name,
    #[serde(rename = "type")]
    value_type: ValueType,
    sensitivity: Sensitivity,
}

impl<'a> ToldFeature<'a> {
    fn of(feature: &'a Feature) -> Self {
        Self { name: &feature.name, value_type: feature.value_type, sensitivity: feature.sensitivity }
    }
}

/// What of an entity does.
#[derive(Serialize)]
struct ToldEntity<'a> {
    name: &'a Name,
    keys: &'a [KeyField],
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl ViewForm {
    fn check(&self) -> Result<()> {
        if self.features.is_empty() || self.features.len() > FEATURES_MAX {
            return Err(Core::invalid("features", self.features.len(), "1 to 65536").into());
        }
        if self.ttl_us == Some(0) {
            let domain = "at least a microsecond; leave it out for values that never expire";
            return Err(Core::invalid("ttl", "0", domain).into());
        }
        if self.freshness_us == Some(0) {
            let domain = "at least a microsecond; leave it out where nothing is promised";
            return Err(Core::invalid("freshness", "0", domain).into());
        }
        self.features.iter().try_for_each(|feature| feature.value_type.ensure_bounded())?;
        let keys = self.entity.keys().iter().map(|key| &key.name);
        let times = std::iter::once(&self.event_time).chain(&self.created);
        let mut seen = BTreeSet::new();
        let mut all = keys.chain(times).chain(self.features.iter().map(|feature| &feature.name));
        if let Some(twice) = all.find(|name| !seen.insert(*name)) {
            return Err(Core::AlreadyExists { kind: "column", name: format!("{}:{twice}", self.name) }.into());
        }
        self.features.iter().try_for_each(Feature::check)?;
        let has_default = self.features.iter().any(|feature| feature.default.is_some());
        if has_default != (self.policy == StatusPolicy::Default) {
            let domain = "`default` exactly where a feature has a default";
            return Err(Core::invalid("status policy", self.policy, domain).into());
        }
        Ok(())
    }

    /// Digest of all that shapes values and what is served of them. Settings that say what was always so are left out, so
    /// that the digest of a definition does not change when the crate learns new ones.
    fn fingerprint(&self) -> Result<Digest> {
        let features: Vec<_> = self.features.iter().map(ToldFeature::of).collect();
        let entity = ToldEntity { name: self.entity.name(), keys: self.entity.keys() };
        let told = (&self.name, entity, features, self.ttl_us, &self.event_time, &self.created);
        if self.policy == StatusPolicy::default() {
            return Ok(Digest::of_json(&told)?);
        }
        let defaults: Vec<_> = self.features.iter().map(|feature| &feature.default).collect();
        Ok(Digest::of_json(&(told, self.policy, defaults))?)
    }
}

impl TryFrom<ViewForm> for FeatureView {
    type Error = Error;

    fn try_from(mut form: ViewForm) -> Result<Self> {
        form.batch = form.batch.map(BatchOrigin::checked).transpose()?;
        if let Some(origin @ BatchOrigin::History { .. }) = &form.batch {
            let domain = "a file, a data set, code or other views; the history of a view is for window views";
            return Err(Core::invalid("batch origin of rows", origin, domain).into());
        }
        form.check()?;
        let schema = schema_of(&form)?;
        let layout = Arc::new(RowLayout::new(form.features.iter().map(|f| (f.name.clone(), f.value_type)).collect()));
        let places = Places::new(form.features.len(), |at| form.features[at].name.as_str());
        let fingerprint = form.fingerprint()?;
        Ok(Self(Arc::new(Checked { form, schema, layout, places, fingerprint })))
    }
}

fn schema_of(form: &ViewForm) -> Result<Schema> {
    let time = |name: &Name, nullable| Field::new(name.as_str(), EventTime::data_type(), nullable);
    let keys = form.entity.keys().iter().map(|key| Field::new(key.name.as_str(), key.key_type.data_type(), true));
    let mut fields: Vec<Field> = keys.collect();
    let key_count = fields.len();
    fields.push(time(&form.event_time, false));
    fields.extend(form.created.iter().map(|name| time(name, true)));
    fields.extend(form.features.iter().map(|f| Field::new(f.name.as_str(), f.value_type.data_type(), true)));
    let roles = fields.iter().enumerate().map(|(i, field)| match i {
        i if i < key_count => Role::Key,
        i if i == key_count => Role::EventTime,
        _ if form.created.as_ref().is_some_and(|c| c.as_str() == field.name()) => Role::CreatedTime,
        _ => Role::Feature,
    });
    let roles: Vec<Role> = roles.collect();
    let sensitivities: BTreeMap<&str, Sensitivity> =
        form.features.iter().map(|f| (f.name.as_str(), f.sensitivity)).collect();
    let annotated = fields.into_iter().zip(roles).map(|(field, role)| {
        let sensitivity = sensitivities.get(field.name().as_str()).copied().unwrap_or_default();
        annotate(field, role, sensitivity)
    });
    Ok(Schema::new(ArrowSchema::new(annotated.collect::<Result<Vec<_>>>()?))?)
}

/// `field` with core's annotations in its metadata.
pub(crate) fn annotate(field: Field, role: Role, sensitivity: Sensitivity) -> Result<Field> {
    let name = field.name().clone();
    let one = Schema::new(ArrowSchema::new(vec![field]))?.with_role(&name, role)?;
    let one = if sensitivity == Sensitivity::default() { one } else { one.with_sensitivity(&name, sensitivity)? };
    Ok(one.field(&name)?.clone())
}

impl From<FeatureView> for ViewForm {
    fn from(view: FeatureView) -> Self {
        view.0.form.clone()
    }
}

impl FeatureView {
    /// Starts a view of `entity`.
    pub fn builder(name: impl Into<String>, entity: Entity) -> FeatureViewBuilder {
        FeatureViewBuilder::new(name.into(), entity)
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.0.form.name
    }

    /// What its rows are about.
    pub fn entity(&self) -> &Entity {
        &self.0.form.entity
    }

    /// Its features, in the order declared.
    pub fn features(&self) -> &[Feature] {
        &self.0.form.features
    }

    /// Position of a feature.
    ///
    /// # Errors
    /// `Core(NotFound)` when the view has no such feature.
    pub fn feature_index(&self, feature: &str) -> Result<usize> {
        let found = self.0.places.find(feature, |at| self.features()[at].name.as_str());
        Ok(found.ok_or_else(|| Core::not_found("feature", format!("{}:{feature}", self.name())))?)
    }

    /// How long a row stays valid; `None` for ever. A row whose age is exactly this is still valid.
    pub fn ttl(&self) -> Option<Duration> {
        self.0.form.ttl_us.map(Duration::from_micros)
    }

    pub(crate) fn ttl_us(&self) -> Option<u64> {
        self.0.form.ttl_us
    }

    /// Column that says when a row became true.
    pub fn event_time(&self) -> &str {
        self.0.form.event_time.as_str()
    }

    /// Column that says when a row became known, if there is one.
    pub fn created(&self) -> Option<&str> {
        self.0.form.created.as_ref().map(Name::as_str)
    }

    /// What is served where no valid row is there.
    pub fn policy(&self) -> StatusPolicy {
        self.0.form.policy
    }

    /// How old the newest row of a key may be before a promise is broken, if one was given. Nothing is refused or changed by
    /// it: monitors compare it with the ages that are served.
    pub fn freshness(&self) -> Option<Duration> {
        self.0.form.freshness_us.map(Duration::from_micros)
    }

    /// Where its history is read from, if a definition says it.
    pub fn batch(&self) -> Option<&BatchOrigin> {
        self.0.form.batch.as_ref()
    }

    /// The same view, whose history is read from `origin`.
    ///
    /// # Errors
    /// `Core(Invalid)` for an origin that no view can have.
    pub fn with_batch(&self, origin: BatchOrigin) -> Result<Self> {
        ViewForm { batch: Some(origin), ..self.0.form.clone() }.try_into()
    }

    /// Where rows come from as things happen, if they do.
    pub fn stream(&self) -> Option<&StreamOrigin> {
        self.0.form.stream.as_ref()
    }

    about_accessors!(form);

    /// Columns of its history: keys, event time, created time, features, with roles and sensitivities.
    pub fn schema(&self) -> &Schema {
        &self.0.schema
    }

    /// Digest of all that shapes its values and what is served of them: not of where they come from, the promise of freshness,
    /// tags, owner and descriptions.
    pub fn fingerprint(&self) -> Digest {
        self.0.fingerprint
    }

    /// Identifies names and types of the features, in order, in stored rows.
    pub fn schema_id(&self) -> u32 {
        self.0.layout.schema_id()
    }

    pub(crate) fn layout(&self) -> &Arc<RowLayout> {
        &self.0.layout
    }

    /// `rows` as history of this view: its columns in the order of [`schema`](Self::schema), cast where no value changes.
    ///
    /// Columns that the view does not name are left out.
    ///
    /// # Errors
    /// `Core(Schema)` for a missing column or one of another type, `Core(InvalidData)` for a value that its type cannot hold or
    /// an event time that is null. Null keys are no error here.
    pub fn conform(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let fields = self.schema().arrow().fields();
        let mut finder = Finder::of(rows.schema_ref().fields());
        let columns = fields.iter().map(|field| {
            let missing =
                || Core::schema(field.name(), field.data_type(), format!("no such column for `{}`", self.name()));
            let found = rows.column(finder.find(field.name()).ok_or_else(missing)?);
            columns::cast_exactly(found, field.data_type(), field.name())
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let time = &columns[self.entity().keys().len()];
        columns::ensure_no_nulls(time, self.event_time())?;
        Ok(RecordBatch::try_new(self.schema().arrow().clone(), columns)?)
    }
}

impl PartialEq for FeatureView {
    fn eq(&self, other: &Self) -> bool {
        self.0.form == other.0.form
    }
}

impl Eq for FeatureView {}

impl fmt::Debug for FeatureView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("FeatureView");
        shown.field("name", self.name()).field("entity", self.entity().name());
        shown.field("features", &self.features().len()).field("ttl", &self.ttl()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
