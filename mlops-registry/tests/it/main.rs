//! The crate's public API, as a host meets it.

mod gbdt;
