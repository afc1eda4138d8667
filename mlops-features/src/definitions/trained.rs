//! From models to what they were trained on.

use mlops_core::Name;
use mlops_core::catalog::{Catalog, Entry};

use super::{ModelLink, ServiceVersion};
use crate::error::{Core, Result};
use crate::offline::TrainingLineage;

impl ModelLink {
    /// A model that was trained on a set of this lineage.
    ///
    /// # Errors
    /// `Core(Invalid)` when the set was not made for a service.
    pub fn trained_on(lineage: &TrainingLineage, model: Name, version: impl Into<String>) -> Result<Self> {
        let unknown = || Core::invalid("service of a training set", "unknown", "told by the plan that makes the set");
        let features = lineage.service.clone().ok_or_else(unknown)?;
        Ok(Self { features, model, version: version.into() })
    }
}

impl ServiceVersion {
    /// The training sets that `catalog` knows to have been made for the service as it is here, later versions of one data set
    /// behind earlier ones, by name.
    ///
    /// # Errors
    /// What the catalog fails with, and as [`TrainingLineage::of`].
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use mlops_core::arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampSecondArray};
    /// use mlops_core::catalog::{CatalogExt, FileCatalog};
    /// use mlops_core::source::{DataSource, ParquetSink, ParquetSource};
    /// use mlops_core::{Dataset, EventTime, Name};
    /// use mlops_features::definitions::{DefinitionStoreExt, Definitions, MemoryDefinitions, ModelLink};
    /// use mlops_features::offline::{AsOfOptions, ParquetStore, SaveOptions};
    /// use mlops_features::{Entity, FeatureService, FeatureView, KeyType, ValueType};
    ///
    /// let customer = Entity::builder("customer").key("customer_id", KeyType::Int64).build()?;
    /// let clicks = FeatureView::builder("clicks", customer).feature("ctr", ValueType::Float64).build()?;
    /// let ranker = FeatureService::builder("ranker").feature("clicks:ctr").build()?;
    /// let store = MemoryDefinitions::new();
    /// store.apply_now(&Definitions::builder().with(clicks).with(ranker).build()?)?;
    ///
    /// // A training set is made by the plan of a service, and kept.
    /// let folder = tempfile::tempdir()?;
    /// let (history, path) = (ParquetStore::open(folder.path().join("history"))?, folder.path().join("training.parquet"));
    /// let rows = [
    ///     ("customer_id", Arc::new(Int64Array::from(vec![7])) as ArrayRef),
    ///     ("at", Arc::new(TimestampSecondArray::from(vec![9]))),
    /// ];
    /// let spine = Dataset::from_batches([RecordBatch::try_from_iter(rows)?])?;
    /// let plan = store.definitions()?.serving_plan("ranker")?;
    /// let set = plan.training_set(&history, &spine, &AsOfOptions::new())?;
    /// let now = EventTime::from_secs(10);
    /// let saved = set.save(&ParquetSink::new(&path), &SaveOptions::new(now))?;
    /// let catalog = FileCatalog::open(folder.path().join("catalog"))?;
    /// let source = ParquetSource::open(&path)?.info()?;
    /// catalog.register(&saved.entry(Name::new("training")?, "growth", source, now)?)?;
    ///
    /// // The model says what it was trained on …
    /// let model = Name::new("ctr_model")?;
    /// store.link(&ModelLink::trained_on(&saved.lineage, model.clone(), "7")?)?;
    ///
    /// // … so that it leads back to its features and to their training sets.
    /// let features = store.features_of(&model, "7")?;
    /// assert_eq!(features, [plan.version()]);
    /// let sets = features[0].training_sets(&catalog)?;
    /// assert_eq!(sets[0].digest, saved.dataset.digest()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn training_sets(&self, catalog: &dyn Catalog) -> Result<Vec<Entry>> {
        let mut sets = Vec::new();
        for name in catalog.list()? {
            for entry in catalog.history(&name)? {
                let lineage = entry.provenance.as_ref().map(TrainingLineage::of).transpose()?.flatten();
                if lineage.and_then(|lineage| lineage.service).as_ref() == Some(self) {
                    sets.push(entry);
                }
            }
        }
        Ok(sets)
    }
}
