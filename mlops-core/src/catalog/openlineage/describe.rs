//! What a catalog knows, as events.

use super::facet::{
    Assertion, ColumnMetrics, DataQualityAssertions, DataQualityMetrics, DataSource, DatasetFacets, Documentation,
    ExecutionParameter, ExecutionParameters, OutputStatistics, Owner, Ownership, SchemaFacet, SchemaField, Storage,
    Symlink, Symlinks, Version,
};
use super::origin::is_uri_byte;
use super::{
    Dataset, DatasetEvent, Event, EventSink, EventType, Job, Origin, OutputDataset, OutputFacets, Run, RunEvent,
    RunFacets, RunId,
};
use crate::catalog::escape::percent;
use crate::catalog::{Catalog, Column, Entry, Seen, Statistics};
use crate::dataset::{Provenance, without_secrets};
use crate::schema::{Role, Sensitivity};
use crate::validate::{Report, Severity};
use crate::{Digest, Error, Result};

impl Dataset {
    /// All that `entry` tells: schema, content digest, place, format, owner, words, and numbers of its columns.
    pub fn of(origin: &Origin, entry: &Entry) -> Self {
        let place = Place::of(&entry.source.location);
        let documentation = Documentation { description: entry.description.clone() };
        let facets = DatasetFacets {
            schema: Some(origin.facet(schema(&entry.columns))),
            version: Some(origin.facet(Version { dataset_version: entry.digest.to_string() })),
            data_source: place.as_ref().map(|place| origin.facet(place.data_source())),
            storage: Some(origin.facet(Storage {
                storage_layer: place.as_ref().map_or("memory", |place| &place.scheme).to_owned(),
                file_format: Some(entry.source.format.clone()),
            })),
            ownership: Some(origin.facet(ownership(&entry.owner))),
            documentation: (!entry.description.is_empty()).then(|| origin.facet(documentation)),
            symlinks: place.map(|place| origin.facet(place.symlinks())),
            data_quality_metrics: entry.statistics.as_ref().map(|numbers| origin.facet(metrics(entry, numbers))),
            ..DatasetFacets::default()
        };
        Self { facets, ..Self::named(origin, entry.name.as_str()) }
    }

    /// What may be told of `seen`: all, or its name and owner.
    pub fn seen(origin: &Origin, seen: &Seen) -> Self {
        match seen {
            Seen::Whole { entry, .. } => Self::of(origin, entry),
            Seen::Sealed { name, owner } => {
                let facets =
                    DatasetFacets { ownership: Some(origin.facet(ownership(owner))), ..DatasetFacets::default() };
                Self { facets, ..Self::named(origin, name.as_str()) }
            }
        }
    }
}

fn ownership(owner: &str) -> Ownership {
    Ownership { owners: vec![Owner { name: owner.to_owned(), kind: Some("OWNER".to_owned()) }] }
}

fn schema(columns: &[Column]) -> SchemaFacet {
    let field = |(place, column): (u64, &Column)| SchemaField {
        name: column.name.clone(),
        data_type: Some(column.data_type.clone()),
        description: Some(words_of(column)).filter(|words| !words.is_empty()),
        ordinal_position: Some(place),
    };
    SchemaFacet { fields: (1..).zip(columns).map(field).collect() }
}

/// Role, unit and sensitivity of a column, as far as they are not the usual ones.
pub(in crate::catalog) fn words_of(column: &Column) -> String {
    let word = |value: serde_json::Result<serde_json::Value>| {
        value.ok().and_then(|value| value.as_str().map(|text| text.replace('_', " "))).unwrap_or_default()
    };
    let mut words = Vec::new();
    if column.role != Role::default() {
        words.push(word(serde_json::to_value(column.role)));
    }
    words.extend(column.unit.as_ref().map(|unit| format!("in {unit}")));
    if column.sensitivity != Sensitivity::default() {
        words.push(word(serde_json::to_value(column.sensitivity)));
    }
    words.join(", ")
}

fn metrics(entry: &Entry, numbers: &Statistics) -> DataQualityMetrics {
    let column = |of: &crate::catalog::ColumnStatistics| {
        let quartiles = of.quartiles.into_iter().flat_map(|three| ["0.25", "0.5", "0.75"].into_iter().zip(three));
        let metrics = ColumnMetrics {
            null_count: Some(of.nulls),
            distinct_count: of.distinct,
            count: Some(numbers.rows.saturating_sub(of.nulls)),
            min: of.min,
            max: of.max,
            quantiles: quartiles.map(|(share, value)| (share.to_owned(), value)).collect(),
        };
        (of.name.clone(), metrics)
    };
    DataQualityMetrics {
        row_count: Some(numbers.rows),
        bytes: entry.source.size_bytes,
        column_metrics: numbers.columns.iter().map(column).collect(),
    }
}

/// What a suite found, as a facet of the data set that it read.
pub fn assertions(report: &Report) -> DataQualityAssertions {
    let assertion = |finding: &crate::validate::Finding| Assertion {
        assertion: finding.check.to_string(),
        success: finding.passed,
        severity: Some(
            match finding.severity {
                Severity::Info => "info",
                Severity::Warning => "warn",
                Severity::Error => "error",
            }
            .to_owned(),
        ),
        description: Some(finding.demand.clone()),
        actual: finding.observed.map(|value| value.to_string()),
    };
    DataQualityAssertions { assertions: report.findings.iter().map(assertion).collect() }
}

/// What `catalog` remembers of how the content of `entry` was made: `START` and `COMPLETE` of the run that made it, with the
/// data sets that went in; or what the data set is, where it was not made from anything.
///
/// Both events carry the time of the provenance, and a run id that is made of its content: telling them again is telling
/// the same. Parents that were never registered are told by their digest. All that entries say is told, whoever may read
/// them: what strangers may know, [`Dataset::seen`] tells.
///
/// # Errors
/// What the catalog fails with.
///
/// # Examples
/// ```
/// use mlops_core::arrow::array::{ArrayRef, Int64Array, RecordBatch};
/// use mlops_core::catalog::openlineage::{Event, Origin, tell_entry};
/// use mlops_core::catalog::{CatalogExt, Entry, MemoryCatalog};
/// use mlops_core::dataset::Provenance;
/// use mlops_core::{Dataset, EventTime, Name};
///
/// let rows = |n: i64| {
///     let ids = std::sync::Arc::new(Int64Array::from_iter_values(0..n)) as ArrayRef;
///     Dataset::from_batches([RecordBatch::try_from_iter([("id", ids)])?])
/// };
/// let (raw, at) = (rows(3)?, EventTime::EPOCH);
/// let made = Provenance::of(&[&raw], Name::new("dedup")?, at)?.with_code_version("1.4.0");
/// let catalog = MemoryCatalog::new();
/// catalog.register(&Entry::of(Name::new("raw")?, "crm", &raw, at)?)?;
/// let clean = Entry::of(Name::new("clean")?, "crm", &rows(2)?.with_provenance(made), at)?;
/// let events = tell_entry(&catalog, &clean, &Origin::builder("shop").build()?)?;
/// let Event::Run(end) = &events[1] else { panic!("a run made it") };
/// assert_eq!((end.job.name.as_str(), end.inputs[0].dataset.name.as_str()), ("dedup", "raw"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn tell_entry(catalog: &dyn Catalog, entry: &Entry, origin: &Origin) -> Result<Vec<Event>> {
    let Some(provenance) = &entry.provenance else {
        let event = DatasetEvent::new(origin, entry.modified, Dataset::of(origin, entry));
        return Ok(vec![event.into()]);
    };
    let mut inputs = Vec::new();
    for parent in &provenance.parents {
        let dataset = match catalog.by_digest(parent) {
            Ok(parent) => Dataset::of(origin, &parent),
            Err(Error::NotFound { .. }) => unregistered(origin, parent),
            Err(error) => return Err(error),
        };
        inputs.push(dataset.into());
    }
    let job = Job {
        namespace: origin.namespace().to_owned(),
        name: provenance.operation.to_string(),
        facets: origin.job_facets("TASK"),
    };
    let facets = RunFacets {
        processing_engine: Some(origin.engine()),
        execution_parameters: parameters_of(provenance).map(|parameters| origin.facet(parameters)),
        ..RunFacets::default()
    };
    let run = Run { run_id: run_of(entry, provenance)?, facets };
    let written = OutputStatistics { row_count: Some(entry.rows), size: entry.source.size_bytes };
    let output_facets = OutputFacets { output_statistics: Some(origin.facet(written)) };
    let output = OutputDataset { dataset: Dataset::of(origin, entry), output_facets };
    let mut start = RunEvent::new(origin, EventType::Start, provenance.at, run, job);
    start.inputs = inputs;
    let end = RunEvent { event_type: EventType::Complete, outputs: vec![output], ..start.clone() };
    Ok(vec![start.into(), end.into()])
}

/// Tells `sink` of everything that `catalog` remembers, past contents included, by name and revision: see [`tell_entry`].
/// Gives the number of events.
///
/// # Errors
/// What the catalog and the sink fail with; events before that were told.
pub fn tell_catalog(catalog: &dyn Catalog, origin: &Origin, sink: &dyn EventSink) -> Result<u64> {
    let mut told = 0;
    for name in catalog.list()? {
        for entry in catalog.history(&name)? {
            for event in tell_entry(catalog, &entry, origin)? {
                sink.emit(&event)?;
                told += 1;
            }
        }
    }
    Ok(told)
}

/// The settings of what made a content, and the version of its code, where there are any.
fn parameters_of(provenance: &Provenance) -> Option<ExecutionParameters> {
    let mut told = ExecutionParameters::of(&provenance.parameters);
    if !provenance.code_version.is_empty() {
        let value = Some(provenance.code_version.clone());
        told.parameters.push(ExecutionParameter { key: "code_version".to_owned(), value });
    }
    (!told.parameters.is_empty()).then_some(told)
}

fn unregistered(origin: &Origin, digest: &Digest) -> Dataset {
    let mut dataset = Dataset::named(origin, digest.to_string());
    dataset.facets.version = Some(origin.facet(Version { dataset_version: digest.to_string() }));
    dataset
}

fn run_of(entry: &Entry, provenance: &Provenance) -> Result<RunId> {
    let content = Digest::of_json(&(&entry.name, entry.digest, provenance))?;
    Ok(RunId::of(provenance.at, &content))
}

/// Where a data set is, in the words of the specification's naming rules.
struct Place {
    scheme: String,
    namespace: String,
    name: String,
    uri: String,
}

impl Place {
    /// None for what is only in memory.
    fn of(location: &str) -> Option<Self> {
        if location.is_empty() || location == "memory" {
            return None;
        }
        let location = without_secrets(location);
        if let Some((scheme, rest)) = location.split_once("://") {
            let (authority, name) = rest.split_once('/').unwrap_or((rest, ""));
            let (scheme, namespace) = (scheme.to_owned(), format!("{scheme}://{authority}"));
            return Some(Self { scheme, namespace, name: name.to_owned(), uri: percent(&location, is_uri_byte) });
        }
        let root = if location.starts_with('/') { "file://" } else { "file:" };
        // In a path some of what addresses are made of is a letter like any other.
        let path = percent(&location, |byte| is_uri_byte(byte) && !b"%?#".contains(&byte));
        let uri = format!("{root}{path}");
        Some(Self { scheme: "file".to_owned(), namespace: "file".to_owned(), name: location.into_owned(), uri })
    }

    fn data_source(&self) -> DataSource {
        DataSource { name: Some(self.namespace.clone()), uri: Some(self.uri.clone()) }
    }

    fn symlinks(self) -> Symlinks {
        Symlinks {
            identifiers: vec![Symlink { namespace: self.namespace, name: self.name, kind: "LOCATION".to_owned() }],
        }
    }
}
