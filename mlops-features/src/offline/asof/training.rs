//! What a join makes, and what it was made of.

use std::fmt;
use std::sync::Arc;

use mlops_core::catalog::Entry;
use mlops_core::dataset::Provenance;
use mlops_core::source::{DataSink, SourceInfo, Written};
use mlops_core::{Dataset, Digest, EventTime, Name};
use serde::{Deserialize, Serialize};

use super::{AsOfOptions, JoinReport};
use crate::definitions::ServiceVersion;
use crate::error::{Core, Result};
use crate::offline::ViewHistory;
use crate::service::{FeatureService, ViewJoin};
use crate::view::FeatureView;

/// What makes training sets is called in their provenance.
const OPERATION: &str = "as_of_join";

/// Entity rows with features joined to them, and how that went.
#[derive(Clone)]
pub struct TrainingSet {
    /// The columns of the entity rows, then those of each view; as many rows, in the same order, as there were
    /// entity rows.
    pub dataset: Dataset,
    /// One report per join, in their order.
    pub reports: Vec<JoinReport>,
    made_of: Option<Arc<MadeOf>>,
    service: Option<ServiceVersion>,
}

#[derive(Clone, Debug)]
struct MadeOf {
    spine: Dataset,
    views: Vec<Origin>,
    options: AsOfOptions,
}

/// The history that a view was joined from.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    join: ViewJoin,
    /// Of the definition that says what the values are.
    fingerprint: Digest,
    history: History,
}

#[derive(Clone, Debug)]
enum History {
    Data(Dataset),
    Stored(ViewHistory),
}

impl Origin {
    pub(crate) fn data(join: &ViewJoin, history: &Dataset) -> Self {
        Self::windows(join, join.view().fingerprint(), history)
    }

    /// Of a window view, whose definition has this fingerprint.
    pub(crate) fn windows(join: &ViewJoin, fingerprint: Digest, history: &Dataset) -> Self {
        Self { join: join.clone(), fingerprint, history: History::Data(history.clone()) }
    }

    pub(crate) fn stored(join: &ViewJoin, history: &ViewHistory) -> Self {
        let fingerprint = join.view().fingerprint();
        Self { join: join.clone(), fingerprint, history: History::Stored(history.clone()) }
    }

    fn lineage(&self) -> Result<ViewLineage> {
        let join = &self.join;
        Ok(ViewLineage {
            label: join.label().clone(),
            view: join.view().name().clone(),
            fingerprint: self.fingerprint,
            features: join.features().map(|feature| feature.name.clone()).collect(),
            keys: join.key_columns().to_vec(),
            history: match &self.history {
                History::Data(data) => data.digest()?,
                History::Stored(history) => history.version()?,
            },
        })
    }
}

/// What a training set was made of, by content.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingLineage {
    /// The entity rows.
    pub spine: Digest,
    /// What was joined to them, in order.
    pub views: Vec<ViewLineage>,
    /// Whether feature rows must have been known.
    pub as_known: bool,
    /// Whether columns are called `view__feature`.
    pub full_names: bool,
    /// The service that it was made for, as it was then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceVersion>,
}

impl TrainingLineage {
    /// What a saved training set says of itself; `None` for data that is no training set.
    ///
    /// # Errors
    /// `Core(InvalidData)` for a training set whose lineage cannot be read.
    pub fn of(provenance: &Provenance) -> Result<Option<Self>> {
        if provenance.operation.as_str() != OPERATION {
            return Ok(None);
        }
        let told = provenance.parameters.get("lineage").cloned();
        let read = told.map(|told| serde_json::from_value(told).map_err(|e| Core::invalid_data("training lineage", e)));
        Ok(read.transpose()?)
    }
}

/// What was joined of one view.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewLineage {
    /// The view, or its alias.
    pub label: Name,
    /// The view.
    pub view: Name,
    /// Its definition: see [`FeatureView::fingerprint`], or that of the window view.
    pub fingerprint: Digest,
    /// Features, in order.
    pub features: Vec<Name>,
    /// Columns of the entity rows that hold its key.
    pub keys: Vec<Name>,
    /// Its history as it was: the digest of the rows, or [`ViewHistory::version`].
    pub history: Digest,
}

/// What is told of a training set besides what it was made of.
#[derive(Clone, Debug)]
pub struct SaveOptions {
    at: EventTime,
    code_version: String,
    service: Option<ServiceVersion>,
}

impl SaveOptions {
    /// It is made at `now`.
    pub fn new(now: EventTime) -> Self {
        Self { at: now, code_version: String::new(), service: None }
    }

    /// Version of the code that makes it. Default empty.
    pub fn code_version(mut self, version: impl Into<String>) -> Self {
        self.code_version = version.into();
        self
    }

    /// The service that it is made for, whose views are among `views`. Default the one whose plan
    /// [made it](crate::ServingPlan::training_set), if one did.
    ///
    /// # Errors
    /// As [`FeatureService::fingerprint`].
    pub fn service(mut self, service: &FeatureService, views: &[FeatureView]) -> Result<Self> {
        self.service =
            Some(ServiceVersion { service: service.name().clone(), fingerprint: service.fingerprint(views)? });
        Ok(self)
    }
}

impl TrainingSet {
    /// What an engine made.
    pub fn new(dataset: Dataset, reports: Vec<JoinReport>) -> Self {
        Self { dataset, reports, made_of: None, service: None }
    }

    /// The service whose [plan](crate::ServingPlan::training_set) made it, as it was; `None` when it was made of views alone.
    pub fn service(&self) -> Option<&ServiceVersion> {
        self.service.as_ref()
    }

    /// The same, made for `service` under its names of columns.
    pub(crate) fn made_for(mut self, service: ServiceVersion, full_names: bool) -> Self {
        let named = |made: &MadeOf| {
            let options = made.options.clone().full_names(full_names);
            Arc::new(MadeOf { options, ..made.clone() })
        };
        self.made_of = self.made_of.as_deref().map(named);
        self.service = Some(service);
        self
    }

    /// The rows of `live`, which was joined to these, with what is told of both; `is_live` says whose turn it is.
    pub(crate) fn followed_by(self, live: Self, is_live: impl Iterator<Item = bool>) -> Self {
        let is_live: Vec<bool> = is_live.collect();
        let made_of = self.made_of.zip(live.made_of).map(|(mine, theirs)| {
            let views = in_turn(mine.views.clone(), theirs.views.clone(), &is_live);
            Arc::new(MadeOf { views, ..MadeOf::clone(&mine) })
        });
        let reports = in_turn(self.reports, live.reports, &is_live);
        Self { dataset: live.dataset, reports, made_of, service: None }
    }

    /// The same, with what it was made of; keeps hold of that data, but reads it only when the
    /// [lineage](Self::lineage) is asked for.
    pub fn made_of(self, spine: &Dataset, views: &[(ViewJoin, Dataset)], options: &AsOfOptions) -> Self {
        self.with_origins(spine, views.iter().map(|(join, history)| Origin::data(join, history)).collect(), options)
    }

    pub(crate) fn with_origins(mut self, spine: &Dataset, views: Vec<Origin>, options: &AsOfOptions) -> Self {
        self.made_of = Some(Arc::new(MadeOf { spine: spine.clone(), views, options: options.clone() }));
        self
    }

    /// What it was made of. Costs one scan of the entity rows and of each history whose digest is not known already; history
    /// of a store costs its footers.
    ///
    /// # Errors
    /// `Core(Invalid)` when the engine did not say, and whatever keeps the data from being read.
    pub fn lineage(&self) -> Result<TrainingLineage> {
        let unsaid = || Core::invalid("lineage", "unknown", "told by `TrainingSet::made_of`");
        let MadeOf { spine, views, options } = self.made_of.as_deref().ok_or_else(unsaid)?;
        Ok(TrainingLineage {
            spine: spine.digest()?,
            views: views.iter().map(Origin::lineage).collect::<Result<_>>()?,
            as_known: options.is_as_known(),
            full_names: options.has_full_names(),
            service: self.service.clone(),
        })
    }

    /// Writes the rows to `sink`, with their digest and lineage at hand.
    ///
    /// The data set that comes back has a [`Provenance`]: its parents are the entity rows and the histories, its parameters
    /// the [`TrainingLineage`] and the reports. Costs two scans of the rows, and what [`lineage`](Self::lineage) costs.
    ///
    /// # Errors
    /// As [`lineage`](Self::lineage); `Core(InvalidData)` when `options` name another service than the one that it was made
    /// for; what keeps the sink from its work, of which nothing is visible then.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use mlops_core::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
    /// use mlops_core::source::MemorySink;
    /// use mlops_core::{Dataset, EventTime, Name};
    /// use mlops_features::offline::{AsOfOptions, SaveOptions, as_of_join};
    /// # use mlops_features::{Entity, FeatureView, KeyType, ValueType, ViewJoin};
    /// # let user = Entity::builder("user").key("user_id", KeyType::Int64).build()?;
    /// # let clicks = FeatureView::builder("clicks", user).feature("ctr", ValueType::Float64).build()?;
    /// # let ids = || Arc::new(Int64Array::from(vec![7])) as ArrayRef;
    /// # let at = |t| Arc::new(TimestampMicrosecondArray::from(vec![t]).with_timezone("UTC")) as ArrayRef;
    /// # let rate = Arc::new(Float64Array::from(vec![0.1])) as ArrayRef;
    /// # let history = RecordBatch::try_from_iter([("user_id", ids()), ("event_timestamp", at(1)), ("ctr", rate)])?;
    /// # let history = Dataset::from_batches([history])?;
    /// # let spine = RecordBatch::try_from_iter([("user_id", ids()), ("event_timestamp", at(9))])?;
    /// # let spine = Dataset::from_batches([spine])?;
    /// let set = as_of_join(&spine, &[(ViewJoin::new(&clicks), history)], &AsOfOptions::new())?;
    /// let sink = MemorySink::new("training");
    /// let saved = set.save(&sink, &SaveOptions::new(EventTime::EPOCH).code_version("1.4.0"))?;
    /// assert_eq!(saved.dataset.provenance().unwrap().parents[0], spine.digest()?);
    /// let entry = saved.entry(Name::new("training")?, "growth", saved.dataset.info()?, EventTime::EPOCH)?;
    /// assert_eq!((entry.rows, entry.digest), (1, sink.dataset()?.digest()?));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn save(&self, sink: &dyn DataSink, options: &SaveOptions) -> Result<SavedTrainingSet> {
        let mut lineage = self.lineage()?;
        if let Some(told) = &options.service {
            lineage.service.iter().try_for_each(|made_for| made_for.ensure_same(told))?;
            lineage.service = Some(told.clone());
        }
        let parameters = serde_json::json!({ "lineage": lineage, "reports": self.reports });
        let mut parents = vec![lineage.spine];
        parents.extend(lineage.views.iter().map(|view| view.history));
        let provenance = Provenance {
            parents,
            operation: Name::new(OPERATION)?,
            parameters,
            code_version: options.code_version.clone(),
            at: options.at,
        };
        let dataset = self.dataset.clone().with_provenance(provenance);
        dataset.digest()?;
        let written = dataset.write_to(sink)?;
        Ok(SavedTrainingSet { dataset, written, lineage, reports: self.reports.clone() })
    }
}

/// The next of `theirs` where it is their turn, of `mine` else.
fn in_turn<T>(mine: Vec<T>, theirs: Vec<T>, is_theirs: &[bool]) -> Vec<T> {
    let (mut mine, mut theirs) = (mine.into_iter(), theirs.into_iter());
    is_theirs.iter().filter_map(|is_theirs| if *is_theirs { theirs.next() } else { mine.next() }).collect()
}

impl fmt::Debug for TrainingSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrainingSet")
            .field("dataset", &self.dataset)
            .field("reports", &self.reports)
            .finish_non_exhaustive()
    }
}

/// A training set that was written.
#[derive(Clone, Debug)]
pub struct SavedTrainingSet {
    /// The rows, with their provenance.
    pub dataset: Dataset,
    /// What was written.
    pub written: Written,
    /// What they were made of.
    pub lineage: TrainingLineage,
    /// One report per join, in their order.
    pub reports: Vec<JoinReport>,
}

impl SavedTrainingSet {
    /// What a catalog is told of it; `source` says where the rows were written to.
    ///
    /// # Errors
    /// As [`Entry::of`].
    pub fn entry(&self, name: Name, owner: &str, source: SourceInfo, now: EventTime) -> Result<Entry> {
        let report = self.reports.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        Ok(Entry::of(name, owner, &self.dataset, now)?.with_source(source).with_description(report))
    }
}

#[cfg(test)]
mod tests {
    use mlops_core::catalog::{Catalog, CatalogExt, FileCatalog};
    use mlops_core::source::{DataSource, ParquetSink, ParquetSource};

    use super::*;
    use crate::offline::asof::tests::{history, spine, view};
    use crate::offline::{OfflineStore, ParquetStore, as_of_join};

    #[test]
    fn what_was_saved_leads_back_to_what_it_was_made_of() {
        let folder = tempfile::tempdir().unwrap();
        let (view, rows) = (view(None), history(&[(Some(1), 5, None, Some(7))]));
        let views = std::slice::from_ref(&view);
        let service = FeatureService::builder("ranker").feature("stats:value").build().unwrap();
        let joins = service.joins(views).unwrap();
        let asked = spine(&[(Some(1), 9), (Some(2), 9)]);
        let set = as_of_join(&asked, &[(joins[0].clone(), rows.clone())], &AsOfOptions::new().as_known(true)).unwrap();
        let path = folder.path().join("training.parquet");
        let now = EventTime::from_secs(5);
        let options = SaveOptions::new(now).code_version("2").service(&service, views).unwrap();
        let saved = set.save(&ParquetSink::new(&path), &options).unwrap();

        let read = Dataset::from_source(Arc::new(ParquetSource::open(&path).unwrap())).unwrap();
        assert_eq!(read.digest().unwrap(), saved.dataset.digest().unwrap());
        assert_eq!(saved.written.rows, 2);
        let provenance = saved.dataset.provenance().unwrap();
        assert_eq!(provenance.parents, [asked.digest().unwrap(), rows.digest().unwrap()]);
        let told: TrainingLineage = serde_json::from_value(provenance.parameters["lineage"].clone()).unwrap();
        assert_eq!(told, saved.lineage);
        assert_eq!(told.service.unwrap().fingerprint, service.fingerprint(views).unwrap());
        assert!(told.as_known && told.views[0].fingerprint == view.fingerprint());
        let reports: Vec<JoinReport> = serde_json::from_value(provenance.parameters["reports"].clone()).unwrap();
        assert_eq!(reports, set.reports);

        let catalog = FileCatalog::open(folder.path().join("catalog")).unwrap();
        let source = ParquetSource::open(&path).unwrap().info().unwrap();
        let name = Name::new("training").unwrap();
        catalog.register(&saved.entry(name.clone(), "growth", source, now).unwrap()).unwrap();
        assert_eq!(catalog.open_as(&name, "mina").unwrap().digest().unwrap(), read.digest().unwrap());
        assert_eq!(catalog.get(&name).unwrap().0.provenance.as_ref(), Some(provenance));
    }

    #[test]
    fn a_set_made_for_one_service_is_not_saved_for_another() {
        let set = || as_of_join(&spine(&[(Some(1), 9)]), &[], &AsOfOptions::new()).unwrap();
        let version = |fingerprint: &str| ServiceVersion {
            service: Name::new("ranker").unwrap(),
            fingerprint: Digest::of(fingerprint),
        };
        let told = SaveOptions { service: Some(version("told")), ..SaveOptions::new(EventTime::EPOCH) };
        let sink = mlops_core::source::MemorySink::new("training");
        let error = set().made_for(version("made"), false).save(&sink, &told).unwrap_err().to_string();
        assert!(error.contains("these are not the features of ranker@"), "{error}");
        let saved = set().made_for(version("told"), false).save(&sink, &told).unwrap();
        assert_eq!(saved.lineage.service, Some(version("told")));
        assert!(set().made_for(version("made"), true).lineage().unwrap().full_names);
        // As it was told before.
        let before = serde_json::json!({"name": "ranker", "fingerprint": Digest::of("told")});
        assert_eq!(serde_json::from_value::<ServiceVersion>(before).unwrap(), version("told"));
    }

    #[test]
    fn history_of_a_store_is_known_by_its_appends() {
        let folder = tempfile::tempdir().unwrap();
        let store = ParquetStore::open(folder.path()).unwrap();
        let (view, asked) = (view(None), spine(&[(Some(1), 9)]));
        let lineage = || {
            let set = store.as_of(&asked, &[ViewJoin::new(&view)], &AsOfOptions::new()).unwrap();
            set.lineage().unwrap().views[0].history
        };
        let empty = lineage();
        store.append(&view, &history(&[(Some(1), 5, None, Some(7))])).unwrap();
        let one = lineage();
        assert_eq!(one, lineage());
        store.append(&view, &history(&[(Some(1), 5, None, Some(7))])).unwrap();
        assert!(one != empty && lineage() != one);
    }

    #[test]
    fn an_engine_that_says_nothing_of_its_inputs_leaves_no_lineage() {
        let set = TrainingSet::new(spine(&[(Some(1), 9)]), Vec::new());
        assert!(set.lineage().unwrap_err().to_string().contains("lineage"));
    }
}
