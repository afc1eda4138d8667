//! The public API, and the conformance kits on our own implementations.

mod bad_input;
mod catalog;
mod clean;
mod data_kits;
#[cfg(feature = "polars")]
mod interop;
mod kits;
mod pipeline;
mod privacy;
mod rank;
mod sources;
mod stages;
mod validate;
