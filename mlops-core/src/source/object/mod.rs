//! Objects of S3, Google Cloud Storage, Azure and local folders, in any of the file formats.

mod failure;
mod files;
mod parquet;
mod reader;
mod remote;
mod runner;
mod sink;
mod source;
mod store;

pub use sink::ObjectStoreSink;
pub use source::ObjectStoreSource;
pub use store::{ObjectStore, ObjectStoreBuilder};

/// How failures of a store are told.
const SYSTEM: &str = "object store";

#[cfg(test)]
mod tests;
