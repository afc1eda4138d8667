//! The public API, and the conformance kits on our own implementations.

mod bad_input;
mod catalog;
mod clean;
mod data_kits;
mod files;
mod hostile;
#[cfg(feature = "polars")]
mod interop;
mod kits;
mod pipeline;
mod rank;
mod sources;
mod stages;
mod validate;
