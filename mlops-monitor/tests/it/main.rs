//! The public API, and the conformance kits on our own implementations.

mod kits;
mod loop_closes;
