//! The public API, and the conformance kits on our own implementations.

mod kits;
mod pipeline;
mod rank;
mod stages;
mod validate;
