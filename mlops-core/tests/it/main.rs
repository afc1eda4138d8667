//! The public API, and the conformance kits on our own implementations.

mod clean;
#[cfg(feature = "polars")]
mod interop;
mod kits;
mod pipeline;
mod rank;
mod stages;
mod validate;
