//! The public API, and the conformance kits on our own implementations.

mod bad_input;
mod catalog;
mod data_kits;
mod kits;
mod pipeline;
mod rank;
mod sources;
mod stages;
mod validate;
