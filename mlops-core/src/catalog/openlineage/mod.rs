//! OpenLineage 2-0-2: what is known of data sets and runs, told to lineage servers in their own words.
//!
//! * A run of a pipeline tells of itself while it goes on: [`Recorder`].
//! * What a catalog remembers is told afterwards: [`tell_catalog`], [`tell_entry`].
//! * Events go to an [`EventSink`]: a file ([`FileSink`]), a function ([`CallbackSink`]), a server (`HttpSink`, with the
//!   feature `http`).
//! * Which column came from which: [`ColumnLineage`].
//!
//! Only what stands in an entry is told: no values of rows, and no numbers of columns that tell about people.
//!
//! # Source
//! The OpenLineage specification, `spec/OpenLineage.json` 2-0-2 and the facets beside it; their JSON schemas judge the
//! events in our tests.
//!
//! # Examples
//! ```
//! use std::sync::{Arc, Mutex};
//! use mlops_core::catalog::openlineage::{CallbackSink, Event, Origin, Recorder};
//! use mlops_core::pipeline::{FnStep, Pipeline, RunOptions};
//! use mlops_core::{ManualClock, EventTime};
//!
//! let load = FnStep::new("load", "v1", |_, _| Ok(serde_json::json!(1).into()))?;
//! let pipeline = Pipeline::builder("daily").step(load, &[]).build()?;
//!
//! let told: Arc<Mutex<Vec<Event>>> = Arc::default();
//! let keep = told.clone();
//! let sink = Arc::new(CallbackSink::new(move |event: &Event| {
//!     keep.lock().unwrap().push(event.clone());
//!     Ok(())
//! }));
//! let clock = Arc::new(ManualClock::at(EventTime::from_secs(1_704_067_200)));
//! let recorder = Recorder::builder(Origin::builder("shop").build()?, sink, clock).start(&pipeline)?;
//! let folder = tempfile::tempdir()?;
//! let run = pipeline.run(folder.path(), &RunOptions::default().on_event(recorder.listener()))?;
//! recorder.finish(run.report())?;
//! // START of the run, START and COMPLETE of the step, COMPLETE of the run.
//! assert_eq!(told.lock().unwrap().len(), 4);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod column;
mod describe;
mod event;
mod facet;
mod origin;
mod record;
mod run_id;
mod sink;

pub use column::{ColumnLineage, FieldLineage, InputField, Transformation, TransformationType};
pub(super) use describe::words_of;
pub use describe::{assertions, tell_catalog, tell_entry};
pub use event::{Dataset, DatasetEvent, Event, EventType, InputDataset, Job, OutputDataset, Run, RunEvent};
pub use facet::{
    Assertion, ColumnMetrics, DataQualityAssertions, DataQualityMetrics, DataSource, DatasetFacets, Documentation,
    EXECUTION_PARAMETERS_MAX, ErrorMessage, ExecutionParameter, ExecutionParameters, Facet, FacetBody, InputFacets,
    InputMetrics, InputStatistics, JobFacets, JobType, Lifecycle, LifecycleStateChange, NominalTime, OutputFacets,
    OutputStatistics, Owner, Ownership, Parent, ParentJob, ParentRun, ProcessingEngine, RunFacets, SchemaFacet,
    SchemaField, SourceCodeLocation, Storage, Symlink, Symlinks, Version,
};
pub use origin::{Origin, OriginBuilder};
pub use record::{Recorder, RecorderBuilder};
pub use run_id::RunId;
#[cfg(feature = "http")]
pub use sink::{ATTEMPTS_MAX, HttpSink, HttpSinkBuilder};
pub use sink::{CallbackSink, EVENT_BYTES_MAX, EventSink, FileSink};
