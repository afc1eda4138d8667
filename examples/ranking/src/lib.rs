//! The main job of the family, as a library so that its tests can run parts of it.

pub mod http;
