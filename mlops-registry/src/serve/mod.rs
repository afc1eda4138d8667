//! Serving a registered model, and swapping it while requests are running.

mod handle;

pub use handle::ServedModel;
