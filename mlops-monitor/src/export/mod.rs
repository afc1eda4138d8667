//! What the monitor knows, for the systems that watch services.
//!
//! [`openmetrics`] writes the text that Prometheus and its kin scrape. Nothing here opens a port: a host answers its
//! `/metrics` with [`Exposition::to_text`](openmetrics::Exposition::to_text).

pub mod openmetrics;
