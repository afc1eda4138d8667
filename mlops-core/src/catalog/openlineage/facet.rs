//! Facets: what is known of runs, jobs and data sets, piece by piece, each with its own schema.

mod dataset;
mod job;
mod run;

pub use dataset::{
    Assertion, ColumnMetrics, DataQualityAssertions, DataQualityMetrics, DataSource, DatasetFacets, Documentation,
    InputFacets, InputMetrics, InputStatistics, Lifecycle, LifecycleStateChange, OutputFacets, OutputStatistics,
    SchemaFacet, SchemaField, Storage, Symlink, Symlinks, Version,
};
pub use job::{JobFacets, JobType, Owner, Ownership, SourceCodeLocation};
pub use run::{
    EXECUTION_PARAMETERS_MAX, ErrorMessage, ExecutionParameter, ExecutionParameters, NominalTime, Parent, ParentJob,
    ParentRun, ProcessingEngine, RunFacets,
};

use serde::{Deserialize, Serialize};

/// A piece of knowledge with an official schema.
pub trait FacetBody {
    /// Version and name of its schema, such as `1-2-0/SchemaDatasetFacet`.
    const SCHEMA: &'static str;
}

/// A piece of knowledge, who says so, and what its schema is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Facet<T> {
    /// Who says so: a URI.
    #[serde(rename = "_producer")]
    pub producer: String,
    /// The schema.
    #[serde(rename = "_schemaURL")]
    pub schema_url: String,
    /// What is said.
    #[serde(flatten)]
    pub body: T,
}

impl<T: FacetBody> Facet<T> {
    /// `producer` (a URI) says `body`.
    pub fn new(producer: impl Into<String>, body: T) -> Self {
        let name = T::SCHEMA.rsplit('/').next().unwrap_or_default();
        let schema_url = format!("https://openlineage.io/spec/facets/{}.json#/$defs/{name}", T::SCHEMA);
        Self { producer: producer.into(), schema_url, body }
    }
}

macro_rules! facet {
    ($($body:ty: $schema:literal),* $(,)?) => {$(
        impl $crate::catalog::openlineage::FacetBody for $body {
            const SCHEMA: &'static str = $schema;
        }
    )*};
}
use facet;

/// Times on the wire.
pub(super) mod rfc3339 {
    use serde::{Deserialize, Deserializer, Serializer, de, ser};

    use crate::time::EventTime;

    /// # Errors
    /// For times outside of the years 0 to 9999, which RFC 3339 cannot write.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    pub(in super::super) fn serialize<S: Serializer>(time: &EventTime, to: S) -> Result<S::Ok, S::Error> {
        let text = time.to_string();
        // Longer or with a sign: another year. Without a date: outside of what calendars reach.
        if text.len() != "2024-01-01T00:00:00.000000Z".len() || !text.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(ser::Error::custom(format!("time {text} is outside of the years 0 to 9999")));
        }
        to.serialize_str(&text)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<EventTime, D::Error> {
        EventTime::parse(&String::deserialize(from)?).map_err(de::Error::custom)
    }

    /// The same for times that may be missing.
    pub(in super::super) mod option {
        use super::{Deserialize, Deserializer, EventTime, Serializer, de};

        #[expect(clippy::ref_option, reason = "serde calls it so")]
        pub(in super::super::super) fn serialize<S: Serializer>(
            time: &Option<EventTime>,
            to: S,
        ) -> Result<S::Ok, S::Error> {
            match time {
                Some(time) => super::serialize(time, to),
                None => to.serialize_none(),
            }
        }

        pub(in super::super::super) fn deserialize<'de, D: Deserializer<'de>>(
            from: D,
        ) -> Result<Option<EventTime>, D::Error> {
            let text: Option<String> = Option::deserialize(from)?;
            text.map(|text| EventTime::parse(&text).map_err(de::Error::custom)).transpose()
        }
    }
}
