//! The public API, and the conformance kits on our own implementations.

mod bad_input;
mod catalog;
mod clean;
mod croissant;
mod data_kits;
mod files;
mod hostile;
#[cfg(feature = "polars")]
mod interop;
mod kits;
mod odd_tables;
mod openlineage;
mod pipeline;
mod privacy;
mod rank;
mod sources;
mod stages;
mod validate;
